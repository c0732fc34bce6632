/**
 * @file Tensor: a shape, a dtype and either elements (on the host, on a device, or on their way there) or, while a
 * function is being traced, a place in its graph. Lifetimes are not the user's job: device bytes go back to their
 * backend when the handle is collected, or at once with `dispose()` / `using`.
 */
import type { Backend, DeviceBuffer } from "./backend.ts";
import { kindOf } from "./check.ts";
import type { Node } from "./graph.ts";
import { allocate, bytesOf, dtypeOf, view } from "./dtype.ts";
import type { DType, HostArray, Storage, TypedArray } from "./dtype.ts";
import { ArgumentError, DataError, DTypeError, LockstepError, ShapeError } from "./errors.ts";
import { showShape, sizeOf } from "./shape.ts";
import type { Shape } from "./shape.ts";

/** Nested arrays of numbers or booleans, all rows of one level equally long. */
export type NestedArray = number | boolean | readonly NestedArray[];

/** What every op takes for a tensor. A number becomes a constant of the other operand's dtype. */
export type TensorLike = Tensor | number;

/** @internal Where a tensor's elements are on a backend. */
interface Device {
  readonly backend: Backend;
  readonly buffer: DeviceBuffer;
}

/** Where a concrete tensor's elements are. `host` is null when the device has newer ones. */
interface Elements {
  host: HostArray | null;
  device: Device | null;
  pending: Promise<void> | null;
  disposed: boolean;
  /** Counts changes of the elements: what was read before one must not pass for the elements after it. */
  version: number;
}

const collected = new FinalizationRegistry<Device>(({ backend, buffer }) => backend.free(buffer));

/** `host` as bytes or as words. @throws DataError for an element that is no byte. */
function storedAs(host: HostArray, storage: Storage | undefined): HostArray {
  if (storage === undefined) return host instanceof Uint8Array ? new Int32Array(host) : host;
  const bytes = Uint8Array.from(host);
  const wrong = bytes.findIndex((v, i) => v !== host[i]);
  if (wrong >= 0) throw new DataError(`set: a tensor made from bytes holds 0 to 255, got ${host[wrong]} in element ${wrong}; make it from an Int32Array`);
  return bytes;
}

/**
 * An array of numbers of one shape and dtype, row-major: f32, i32, u32 or bool. Made by `tensor()`, `zeros()` … and returned by ops and models. Elements may be on a device;
 * `await data()`, `array()` or `item()` bring them to the host. Nothing has to be disposed of. While a function is traced, a tensor is a place in its graph without elements.
 */
export class Tensor {
  readonly shape: Shape;
  readonly dtype: DType;
  /** The graph node that computes this tensor while tracing; null for a tensor with elements. */
  readonly node: Node | null;
  /** Which output of `node` this is. */
  readonly index: number;
  readonly #storage: Elements;

  /** Use `tensor()`, `zeros()` … to make one. */
  constructor(shape: Shape, dtype: DType, node: Node | null, index: number, host: HostArray | null) {
    this.shape = shape;
    this.dtype = dtype;
    this.node = node;
    this.index = index;
    this.#storage = { host, device: null, pending: null, disposed: false, version: 0 };
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** Number of dimensions. */
  get rank(): number {
    return this.shape.length;
  }

  /**
   * The elements, row-major, as a typed array (f32: Float32Array, i32: Int32Array, u32 and bool: Uint32Array; of a tensor made from bytes a new
   * Int32Array each time). Treat it as read-only.
   * @throws LockstepError while tracing and after `dispose()`.
   */
  async data(): Promise<TypedArray> {
    const s = this.#concrete("data()");
    if (s.pending !== null) await s.pending;
    if (s.host !== null) return s.host instanceof Uint8Array ? new Int32Array(s.host) : s.host;
    if (s.device === null) throw this.#empty();
    const { version } = s;
    const bytes = await s.device.backend.read(s.device.buffer, 0, bytesOf(this.size));
    const host = view(this.dtype, bytes, 0, this.size);
    if (s.version === version) s.host = host;
    return host;
  }

  /** The single element. @throws ShapeError unless `size` is 1. */
  async item(): Promise<number> {
    if (this.size !== 1) throw new ShapeError(`item: expected a tensor of one element, got ${showShape(this.shape)}; use data()`);
    return (await this.data())[0];
  }

  /** The elements as nested arrays (a number for a scalar). */
  async array(): Promise<NestedArray> {
    const data = await this.data();
    const nest = (dim: number, at: number, step: number): NestedArray => {
      if (dim === this.rank) return data[at];
      const inner = step / this.shape[dim];
      return Array.from({ length: this.shape[dim] }, (_, i) => nest(dim + 1, at + i * inner, inner));
    };
    return nest(0, 0, this.size);
  }

  /** Gives the elements back now instead of when the handle is collected. Harmless when repeated. */
  dispose(): void {
    const s = this.#storage;
    this.#leave();
    s.host = null;
    s.disposed = this.node === null;
  }

  /** `dispose()` at the end of a block: `using t = tensor(...)`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Dtype and shape, such as `f32[2, 3]`; `i32:u8[2, 3]` where the elements are kept as bytes. */
  toString(): string {
    return `${this.dtype}${this.storage ? `:${this.storage}` : ""}${showShape(this.shape)}`;
  }

  /** Catches `x > 0` and `${+x}`: JavaScript would read a tensor as a number. */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === "string") return this.toString();
    throw new LockstepError(`tensor ${this} was used as a JavaScript number: write ops such as add(a, b), greater(a, b), where(c, a, b), or await item()`);
  }

  /** @internal Elements already on the host, without waiting. */
  get host(): HostArray | null {
    return this.#storage.host;
  }

  /** @internal How the elements lie in memory, if not as words; of an input or capture of a graph, those of the tensor that it stands for. It never changes. */
  get storage(): Storage | undefined {
    if (this.node !== null) return this.node.attrs.storage as Storage | undefined;
    return this.#storage.host instanceof Uint8Array ? "u8" : undefined;
  }

  /** @internal Elements on `backend`, or null. */
  on(backend: Backend): DeviceBuffer | null {
    const { device } = this.#storage;
    return device !== null && device.backend === backend ? device.buffer : null;
  }

  /** @internal Makes sure the elements are on `backend` and returns their buffer, which this tensor then owns. */
  upload(backend: Backend): DeviceBuffer {
    const s = this.#concrete("upload");
    const there = this.on(backend);
    if (there !== null) return there;
    if (s.host === null) throw s.device === null ? this.#empty() : new LockstepError(`tensor ${this}: its elements are on the backend "${s.device.backend.name}" that was used before; await data() first, or keep to one backend`);
    const buffer = backend.alloc(bytesOf(this.size, this.storage));
    backend.write(buffer, 0, s.host);
    this.adopt({ backend, buffer });
    return buffer;
  }

  /** @internal Takes ownership of a device buffer that holds the elements. */
  adopt(device: Device): void {
    this.#leave();
    this.#storage.device = device;
    collected.register(this, device, this);
  }

  /** @internal Leaves its device, which may be lost; `host` takes the place of what was on it. Without it the host's own elements stay. */
  recover(host: TypedArray | null = null): void {
    const s = this.#storage;
    this.#leave();
    s.pending = null;
    if (host !== null) s.host = host;
  }

  /** @internal The device copy is newer than the host's. */
  markDeviceNewer(): void {
    this.#storage.host = null;
    this.#storage.version++;
  }

  /** @internal Elements will be there once `pending` resolves. */
  fulfil(pending: Promise<TypedArray>): void {
    const s = this.#storage;
    const arrived = pending.then((host) => {
      // set() may have replaced the elements in the meantime.
      if (s.pending !== arrived) return;
      s.host = host;
      s.pending = null;
    });
    arrived.catch(() => {});
    s.pending = arrived;
  }

  /** @internal Waits for an eager result. */
  async ready(): Promise<void> {
    await this.#storage.pending;
  }

  /**
   * Replaces the elements, on the host and wherever they are held. `data` as for `tensor()`, with this shape.
   * @throws ShapeError for another shape, DataError where a tensor made from bytes is to hold what is no byte.
   */
  set(data: TypedArray | NestedArray): void {
    const s = this.#concrete("set()");
    const next = tensor(data, ArrayBuffer.isView(data) ? this.shape : undefined, this.dtype);
    if (showShape(next.shape) !== showShape(this.shape)) throw new ShapeError(`set: expected ${showShape(this.shape)}, got ${showShape(next.shape)}`);
    s.host = storedAs(next.host as HostArray, this.storage);
    s.version++;
    s.pending = null;
    if (s.device !== null && s.host !== null) s.device.backend.write(s.device.buffer, 0, s.host);
  }

  #empty(): LockstepError {
    return new LockstepError(`tensor ${this}: its elements are gone, or it is a weight that was never loaded; use loadModel(), loadWeights() or setWeights() first`);
  }

  /** Gives back the bytes on its device. */
  #leave(): void {
    const { device } = this.#storage;
    if (device === null) return;
    collected.unregister(this);
    device.backend.free(device.buffer);
    this.#storage.device = null;
  }

  #concrete(what: string): Elements {
    if (this.node !== null) {
      throw new LockstepError(`${what} was called on ${this} while its function is being traced: elements do not exist yet; return the tensor and read it afterwards`);
    }
    if (this.#storage.disposed) throw new LockstepError(`${what}: tensor ${this} was disposed`);
    return this.#storage;
  }
}

/** True for typed arrays, false for DataView. */
function isTypedArray(data: unknown): data is ArrayLike<number> & ArrayBufferView {
  return ArrayBuffer.isView(data) && !(data instanceof DataView);
}

/** The shape of nested arrays, by the first item at each depth, and their first number. */
function measure(data: NestedArray): { shape: number[]; first: NestedArray | undefined } {
  const shape: number[] = [];
  let first: NestedArray | undefined = data;
  for (; Array.isArray(first); first = first[0]) shape.push(first.length);
  return { shape, first };
}

function flatten(data: NestedArray, shape: readonly number[], dim: number, out: TypedArray, at: number): number {
  if (dim === shape.length) {
    if (typeof data !== "number" && typeof data !== "boolean") throw new DataError(`tensor: expected a number at depth ${dim}, got ${typeof data === "string" ? data : kindOf(data)}; rows must all have one depth`);
    out[at] = Number(data);
    return at + 1;
  }
  if (!Array.isArray(data) || data.length !== shape[dim]) {
    throw new ShapeError(`tensor: rows must be equally long: expected ${shape[dim]} items at depth ${dim}, got ${Array.isArray(data) ? data.length : kindOf(data)}`);
  }
  for (const item of data) at = flatten(item, shape, dim + 1, out, at);
  return at;
}

/** @throws ShapeError unless every dimension is a non-negative integer. */
export function checkShape(who: string, shape: Shape): void {
  for (const d of shape) {
    if (!Number.isInteger(d) || d < 0) throw new ShapeError(`${who}: a dimension must be a non-negative integer, got ${showShape(shape)}`);
  }
}

/**
 * A tensor from nested arrays, a number, or a typed array with a shape.
 * @param data nested arrays (`[[1, 2], [3, 4]]`), a number or boolean, or a typed array. A typed array that already has the dtype's type is not copied: do not change it afterwards.
 *   Bytes (Uint8Array, Uint8ClampedArray) are i32 elements that are kept as they are, also not copied, and take one byte each on a device.
 * @param shape required to give a typed array more than one dimension; default: the array's own.
 * @param dtype default: `f32`, or for typed arrays what they hold (Int32Array: i32, Uint32Array: u32, other integers i32), for booleans `bool`.
 * @throws ShapeError when lengths and shape disagree, DataError when an item is no number.
 */
export function tensor(data: TypedArray | ArrayBufferView | NestedArray, shape?: Shape, dtype?: DType): Tensor {
  if (shape !== undefined) checkShape("tensor", shape);
  const fit = (length: number): void => {
    if (shape !== undefined && sizeOf(shape) !== length) throw new ShapeError(`tensor: shape ${showShape(shape)} has ${sizeOf(shape)} elements, the data has ${length}`);
  };
  if (isTypedArray(data)) {
    if (data instanceof BigInt64Array || data instanceof BigUint64Array) throw new DTypeError(`tensor: 64-bit integers cannot be kept, got a ${data.constructor.name}; convert with Int32Array.from(data, Number)`);
    fit(data.length);
    const known = data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint32Array;
    const type = dtype ?? (known ? dtypeOf(data) : data instanceof Float64Array ? "f32" : "i32");
    // A pixel or class number stays a byte up to the kernel that reads it.
    if (type === "i32" && (data instanceof Uint8Array || data instanceof Uint8ClampedArray)) return new Tensor(shape ?? [data.length], type, null, 0, new Uint8Array(data.buffer, data.byteOffset, data.length));
    let host = data as TypedArray;
    if (!known || dtypeOf(data) !== (type === "bool" ? "u32" : type)) {
      host = allocate(type, data.length);
      for (let i = 0; i < data.length; i++) host[i] = type === "bool" ? Number(data[i] !== 0) : data[i];
    }
    return new Tensor(shape ?? [data.length], type, null, 0, host);
  }
  if (typeof data !== "number" && typeof data !== "boolean" && !Array.isArray(data)) throw new ArgumentError(`tensor: expected numbers, nested arrays or a typed array, got ${kindOf(data)}`);
  const { shape: own, first } = measure(data as NestedArray);
  const type = dtype ?? (typeof first === "boolean" ? "bool" : "f32");
  const host = allocate(type, sizeOf(own));
  flatten(data as NestedArray, own, 0, host, 0);
  fit(host.length);
  return new Tensor(shape ?? own, type, null, 0, host);
}

/** A tensor with every element `value`. Default dtype f32. */
export function full(shape: Shape, value: number, dtype: DType = "f32"): Tensor {
  checkShape("full", shape);
  return new Tensor(shape, dtype, null, 0, allocate(dtype, sizeOf(shape)).fill(value));
}

/** A tensor of zeros. Default dtype f32. */
export function zeros(shape: Shape, dtype: DType = "f32"): Tensor {
  return full(shape, 0, dtype);
}

/** A tensor of ones. Default dtype f32. */
export function ones(shape: Shape, dtype: DType = "f32"): Tensor {
  return full(shape, 1, dtype);
}

/** @throws DTypeError unless `x` has one of `allowed`. */
export function checkDType(who: string, x: Tensor, allowed: readonly DType[]): void {
  if (!allowed.includes(x.dtype)) throw new DTypeError(`${who}: expected dtype ${allowed.join(" or ")}, got ${x}; convert with cast()`);
}

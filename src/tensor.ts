/// <reference lib="esnext.disposable" preserve="true" />
/**
 * @file Tensor: a shape, a dtype and either elements (on the host, on a device, or on their way there) or, while a
 * function is being traced, a place in its graph. Lifetimes are not the user's job: device bytes go back to their
 * backend when the handle is collected, or at once with `dispose()` / `using`.
 */
import type { Device, DeviceBuffer } from "./device.ts";
import { once } from "./cache.ts";
import { checkCount, kindOf } from "./check.ts";
import type { NodeOf } from "./op.ts";
import { allocate, bytesOf, dtypeOf, view } from "./dtype.ts";
import type { DType, HostArray, PackedStorage, Storage, TypedArray } from "./dtype.ts";
import { checkDTypeName, checkKind, checkShape, defaultType, dtypeBeside, elements, isHalf, isTypedArray, readNested } from "./elements.ts";
import { ArgumentError, DataError, DTypeError, LockstepError, ShapeError } from "./errors.ts";
import { showShape, sizeOf } from "./shape.ts";
import type { Shape } from "./shape.ts";
import { show } from "./show.ts";
import { TRAINING } from "./training.ts";

/** Nested arrays of numbers or booleans, all rows of one level equally long. */
export type NestedArray = number | boolean | readonly NestedArray[];

/**
 * What every op takes for a tensor: also numbers, booleans, nested arrays of them and typed arrays. Numbers follow the dtype of the other
 * operand (docs/numbers.md); alone they are f32.
 */
export type TensorLike = Tensor | NestedArray | TypedArray;

/** @internal Where a tensor's elements are on a backend. */
interface Held {
  readonly backend: Device;
  readonly buffer: DeviceBuffer;
  /** They are nowhere else. */
  only: boolean;
  /** What was there when the backend was closed. */
  home: Promise<ArrayBuffer> | null;
}

/** Where a concrete tensor's elements are. `host` is null when the device has newer ones. */
interface Elements {
  host: HostArray | null;
  device: Held | null;
  pending: Promise<void> | null;
  disposed: boolean;
  /** Counts changes of the elements: what was read before one must not pass for the elements after it. */
  version: number;
}

const INSPECT: unique symbol = Symbol.for("nodejs.util.inspect.custom");

/** What tensors have on each backend. Not the tensors: those that nobody has are to be collected. */
const devices = new WeakMap<Device, Set<Held>>();

function giveBack(device: Held): void {
  devices.get(device.backend)?.delete(device);
  device.backend.free(device.buffer);
}

const collected = new FinalizationRegistry<Held>(giveBack);

/**
 * @internal For backends that are about to be closed: reads what tensors have only there, at once or in commands that `backend` enqueues
 * before this returns. Null: there is nothing.
 */
export function bringHome(backend: Device): Promise<unknown> | null {
  const reads: Promise<ArrayBuffer>[] = [];
  for (const device of devices.get(backend) ?? [])
    if (device.only) reads.push((device.home = backend.read(device.buffer, 0, device.buffer.bytes)));
  return reads.length > 0 ? Promise.allSettled(reads) : null;
}

/** Of tensors in a graph, which have no elements: one for all, since a large graph has many. */
const NOTHING: Elements = { host: null, device: null, pending: null, disposed: false, version: 0 };

/** `host` as bytes or as words. @throws DataError for an element that is no byte. */
function storedAs(host: HostArray, storage: Storage | undefined): HostArray {
  if (storage === undefined) return host instanceof Uint8Array ? new Int32Array(host) : host;
  const bytes = Uint8Array.from(host);
  const wrong = bytes.findIndex((v, i) => v !== host[i]);
  if (wrong >= 0)
    throw new DataError(`set: a tensor made from bytes holds 0 to 255, got ${host[wrong]} in element ${wrong}; make it from an Int32Array`);
  return bytes;
}

/**
 * An array of numbers of one shape and dtype, row-major: f32, i32, u32 or bool. Made by `tensor()`, `zeros()` … and returned by ops and
 * models. Elements may be on a device; `await data()`, `array()` or `item()` bring them to the host. Nothing has to be disposed of. While a
 * function is traced, a tensor is a place in its graph without elements.
 */
export class Tensor {
  readonly shape: Shape;
  readonly dtype: DType;
  /** The graph node that computes this tensor while tracing; null for a tensor with elements. */
  readonly node: NodeOf<Tensor> | null;
  /** Which output of `node` this is. */
  readonly index: number;
  readonly #storage: Elements;
  readonly #packed: PackedStorage | null;

  /** Use `tensor()`, `zeros()` … to make one. `packed`: how the bytes in `host` lie. */
  constructor(
    shape: Shape,
    dtype: DType,
    node: NodeOf<Tensor> | null,
    index: number,
    host: HostArray | null,
    packed: PackedStorage | null = null,
  ) {
    this.shape = shape;
    this.dtype = dtype;
    this.node = node;
    this.index = index;
    this.#packed = packed;
    this.#storage = node === null ? { host, device: null, pending: null, disposed: false, version: 0 } : NOTHING;
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
   * The elements, row-major, as a typed array (f32: Float32Array, i32: Int32Array, u32 and bool: Uint32Array; of a tensor made from bytes a
   * new Int32Array each time). Treat it as read-only.
   * @throws LockstepError while tracing and after `dispose()`.
   */
  async data(): Promise<TypedArray> {
    const s = this.#concrete("data()");
    if (s.pending !== null) await s.pending;
    const packed = this.#packed;
    // Words of what is packed take many times its bytes: they are not kept.
    if (packed !== null) return packed.unpack((s.host ?? new Uint8Array((await this.#fetch(s)).bytes)) as Uint8Array);
    if (s.host !== null) return s.host instanceof Uint8Array ? new Int32Array(s.host) : s.host;
    return this.#keep(s, (bytes) => view(this.dtype, bytes, 0, this.size));
  }

  /** The bytes on its device. */
  async #fetch(s: Elements): Promise<{ device: Held; bytes: ArrayBuffer }> {
    const { device } = s;
    if (device === null) throw this.#empty();
    return { device, bytes: await (device.home ?? device.backend.read(device.buffer, 0, bytesOf(this.size, this.storage))) };
  }

  /** What is only on its device, on the host too. */
  async #keep<H extends HostArray>(s: Elements, from: (bytes: ArrayBuffer) => H): Promise<H> {
    const { version } = s;
    const { device, bytes } = await this.#fetch(s);
    const host = from(bytes);
    if (s.version === version && !s.disposed) {
      s.host = host;
      device.only = false;
    }
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

  /**
   * Puts the elements on `backend`, and there alone: for the weights of large models, of which the host need not keep a copy. What reads
   * them, reads them from there; a device that is lost takes them with it. Gives the tensor itself.
   * @throws LockstepError where they are on another backend or still on their way there, OutOfMemoryError
   */
  moveTo(backend: Device): this {
    this.upload(backend);
    const s = this.#storage;
    s.host = null;
    if (s.device !== null) s.device.only = true;
    return this;
  }

  /** `dispose()` at the end of a block: `using t = tensor(...)`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Dtype and shape, such as `f32[2, 3]`; `i32:u8[2, 3]` where the elements are kept as bytes, `f32:q8[32, 3]` where they are packed. */
  toString(): string {
    return `${this.dtype}${this.storage ? `:${this.storage}` : ""}${showShape(this.shape)}`;
  }

  /** Catches `x > 0` and `${+x}`: JavaScript would read a tensor as a number. */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === "string") return this.toString();
    throw new LockstepError(`tensor ${this} was used as a JavaScript number: write ops such as add(a, b), or await item()`);
  }

  /** Prints what `console.log` shows, with the elements wherever they are. */
  async print(): Promise<void> {
    console.log(show(this, await this.data()));
  }

  /** JSON would have no elements without a word. @throws LockstepError always. */
  toJSON(): never {
    throw new LockstepError(`tensor ${this}: JSON has no tensors; write what await array() gives`);
  }

  /** What `console.log` shows in Node, Deno and Bun: dtype, shape and, where they are on the host, elements. */
  [INSPECT](): string {
    return show(this, this.host);
  }

  /** @internal Elements already on the host, without waiting. Null for what is packed. */
  get host(): HostArray | null {
    return this.#packed === null ? this.#storage.host : null;
  }

  /**
   * @internal How the elements lie in memory, if not as words; of an input or capture of a graph, those of the tensor that it stands for.
   * It never changes.
   */
  get storage(): Storage | undefined {
    if (this.node !== null) return this.node.attrs.storage as Storage | undefined;
    return this.#packed ?? (this.#storage.host instanceof Uint8Array ? "u8" : undefined);
  }

  /** @internal How often its elements were replaced. */
  get version(): number {
    return this.#storage.version;
  }

  /** @internal Elements on `backend`, or null. */
  on(backend: Device): DeviceBuffer | null {
    const { device } = this.#storage;
    return device !== null && device.backend === backend ? device.buffer : null;
  }

  /**
   * @internal What to wait for before `backend` can take the elements: an op that computes them, or another backend that alone has them.
   * Null: nothing.
   */
  arrival(backend: Device): Promise<unknown> | null {
    const { pending, host, device } = this.#storage;
    if (pending !== null || host !== null || device === null || device.backend === backend) return pending;
    return this.#packed === null ? this.data() : this.#keep(this.#storage, (bytes) => new Uint8Array(bytes));
  }

  /** @internal Makes sure the elements are on `backend` and returns their buffer, which this tensor then owns. */
  upload(backend: Device): DeviceBuffer {
    const s = this.#concrete("upload");
    const there = this.on(backend);
    if (there !== null) return there;
    if (s.host === null)
      throw s.device === null
        ? this.#empty()
        : new LockstepError(
            `tensor ${this}: its elements are on the backend "${s.device.backend.name}"; await data() first, or keep to one backend`,
          );
    const buffer = backend.alloc(bytesOf(this.size, this.storage));
    try {
      backend.write(buffer, 0, s.host);
    } catch (error) {
      backend.free(buffer);
      throw error;
    }
    // Weights that are packed are large, and programs do not write them: one copy is enough.
    if (this.#packed !== null) s.host = null;
    this.adopt(backend, buffer);
    return buffer;
  }

  /** @internal Takes ownership of a device buffer that holds the elements. */
  adopt(backend: Device, buffer: DeviceBuffer): void {
    this.#leave();
    const device: Held = { backend, buffer, only: this.#storage.host === null, home: null };
    this.#storage.device = device;
    once(devices, backend, () => new Set<Held>()).add(device);
    collected.register(this, device, this);
  }

  /** @internal Leaves its device, which may be lost; `host` takes the place of what was on it. Without it the host's own elements stay. */
  recover(host: TypedArray | null = null): void {
    if (!TRAINING) return;
    const s = this.#storage;
    this.#leave();
    s.pending = null;
    if (host !== null) s.host = host;
  }

  /** @internal The device copy is newer than the host's. */
  markDeviceNewer(): void {
    const s = this.#storage;
    s.host = null;
    s.version++;
    if (s.device !== null) s.device.only = true;
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

  /**
   * Replaces the elements, on the host and wherever they are held. `data` as for `tensor()`, with this shape; or, with an `offset` in
   * elements, part of them from there on, as a typed array's `set`: elements in the array of the tensor's dtype.
   * @throws ShapeError for another shape and for more elements than there are, DataError where a tensor made from bytes is to hold what is
   * no byte, DTypeError for another kind of array, ArgumentError for an offset that is none.
   */
  set(data: TypedArray | NestedArray, offset?: number): void {
    const s = this.#concrete("set()");
    if (offset !== undefined) return this.#setPart(s, data as TypedArray, offset);
    const next = make("set", data, ArrayBuffer.isView(data) ? this.shape : undefined, this.dtype);
    if (showShape(next.shape) !== showShape(this.shape))
      throw new ShapeError(`set: expected ${showShape(this.shape)}, got ${showShape(next.shape)}`);
    s.host = this.#packed?.pack(next.host as Float32Array) ?? storedAs(next.host as HostArray, this.storage);
    s.version++;
    s.pending = null;
    if (s.device === null || s.host === null) return;
    s.device.only = false;
    if (s.device.backend.closed) this.#leave();
    else s.device.backend.write(s.device.buffer, 0, s.host);
  }

  #setPart(s: Elements, data: TypedArray, offset: number): void {
    checkCount("set", "offset", offset, 0);
    const { host, device } = s;
    if (this.storage !== undefined || !isTypedArray(data) || data.constructor !== allocate(this.dtype, 0).constructor)
      throw new DTypeError(`set: part of ${this} is set from an array of its own kind, got ${kindOf(data)}`);
    if (offset + data.length > this.size)
      throw new ShapeError(`set: ${data.length} elements from ${offset} on are more than the ${this.size} of ${this}`);
    if (s.pending !== null || (host === null && device === null)) throw this.#empty();
    s.version++;
    if (host !== null) {
      // Those who have it from data() keep what they read.
      s.host = host.slice();
      (s.host as TypedArray).set(data, offset);
    }
    if (device?.backend.closed && host !== null) this.#leave();
    else device?.backend.write(device.buffer, bytesOf(offset), data);
  }

  #empty(): LockstepError {
    return new LockstepError(
      `tensor ${this}: its elements are gone or were never loaded; use loadModel(), loadWeights() or setWeights() first`,
    );
  }

  /** Gives back the bytes on its device. */
  #leave(): void {
    const { device } = this.#storage;
    if (device === null) return;
    collected.unregister(this);
    giveBack(device);
    this.#storage.device = null;
  }

  #concrete(what: string): Elements {
    if (this.node !== null) {
      throw new LockstepError(`${what} was called on ${this} while its function is being traced; return the tensor and read it afterwards`);
    }
    if (this.#storage.disposed) throw new LockstepError(`${what}: tensor ${this} was disposed`);
    return this.#storage;
  }
}

/**
 * A tensor from nested arrays, a number, or a typed array with a shape.
 * @param data nested arrays (`[[1, 2], [3, 4]]`, rows may be typed arrays), a number or boolean, or a typed array. A typed array that
 *   already has the dtype's type is not copied: do not change it afterwards.
 * @param shape required to give a typed array more than one dimension; default: the array's own.
 * @param dtype default: `f32`, or for typed arrays what they hold (Int32Array: i32, Uint32Array: u32, other integers i32), for booleans
 *   alone `bool`. Fractions become integers by truncation.
 * @throws ShapeError when lengths and shape disagree or for 2^30 elements and more, DataError when an item is no number, an integer is
 *   out of the dtype's range, or, where no dtype is given, integers alone have one that f32 cannot hold (beyond 2^24).
 */
export function tensor(data: TypedArray | ArrayBufferView | NestedArray, shape?: Shape, dtype?: DType): Tensor {
  return make("tensor", data, shape, dtype);
}

/** The dtype of numbers that came without one. `data`: what they are read from. */
type Choose = (who: string, values: Float64Array, data: unknown) => DType;

/** @internal What `tensor` does, for `who`. `rows`: typed arrays of one kind that are rows give what one of them does. */
export function make(who: string, data: unknown, shape?: Shape, dtype?: DType, choose: Choose = defaultType, rows = false): Tensor {
  if (shape !== undefined) checkShape(who, shape);
  if (dtype !== undefined) checkDTypeName(who, dtype);
  const made = (own: Shape, length: number, type: DType, host: HostArray): Tensor => {
    if (sizeOf(own) !== length) throw new ShapeError(`${who}: shape ${showShape(own)} has ${sizeOf(own)} elements, the data has ${length}`);
    return new Tensor(own, type, null, 0, host);
  };
  if (isTypedArray(data)) {
    checkKind(who, data);
    const own = shape ?? [data.length];
    checkShape(who, own);
    const known = data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint32Array;
    const type = dtype ?? (known ? dtypeOf(data) : data instanceof Float64Array ? choose(who, data, data) : isHalf(data) ? "f32" : "i32");
    // A pixel or class number stays a byte up to the kernel that reads it.
    if (type === "i32" && (data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
      return made(own, data.length, type, new Uint8Array(data.buffer, data.byteOffset, data.length));
    }
    const kept = known && (type === "bool" ? dtypeOf(data) === "u32" && (data as Uint32Array).every((v) => v < 2) : dtypeOf(data) === type);
    return made(own, data.length, type, kept ? (data as TypedArray) : elements(who, data, type));
  }
  const scalar = typeof data === "number" || typeof data === "boolean";
  if (!scalar && !Array.isArray(data))
    throw new ArgumentError(`${who}: expected a tensor, numbers, nested arrays or a typed array, got ${kindOf(data)}`);
  const { shape: own, values, bools, kind } = readNested(who, scalar ? [data] : data);
  if (rows && kind !== null) return make(who, new kind(values), shape ?? own, dtype, choose);
  const type = dtype ?? (bools ? "bool" : choose(who, values, data));
  return made(shape ?? (scalar ? [] : own), values.length, type, elements(who, values, type));
}

/** @internal A tensor from what `tensor` takes, whose numbers stand beside elements of `dtype`. */
export function tensorBeside(who: string, data: unknown, dtype: DType): Tensor {
  return make(
    who,
    data,
    undefined,
    undefined,
    dtype === "f32"
      ? defaultType
      : (_, values) => (values === data ? defaultType(who, values) : dtypeBeside(values.every(Number.isInteger), dtype)),
  );
}

function filled(who: string, shape: Shape, value: number | boolean, dtype?: DType): Tensor {
  checkShape(who, shape);
  if (typeof value !== "number" && typeof value !== "boolean") throw new ArgumentError(`${who}: expected a number, got ${kindOf(value)}`);
  const { dtype: type, host } = make(who, value, [], dtype);
  return new Tensor(shape, type, null, 0, allocate(type, sizeOf(shape)).fill((host as TypedArray)[0]));
}

/** A tensor with every element `value`. Default dtype f32, for true and false bool. @throws as `tensor`. */
export function full(shape: Shape, value: number | boolean, dtype?: DType): Tensor {
  return filled("full", shape, value, dtype);
}

/** A tensor of zeros. Default dtype f32. @throws ShapeError for 2^30 elements and more. */
export function zeros(shape: Shape, dtype: DType = "f32"): Tensor {
  return filled("zeros", shape, 0, dtype);
}

/** A tensor of ones. Default dtype f32. @throws ShapeError for 2^30 elements and more. */
export function ones(shape: Shape, dtype: DType = "f32"): Tensor {
  return filled("ones", shape, 1, dtype);
}

/** @internal @throws DTypeError unless `x` has one of `allowed`. */
export function checkDType(who: string, x: Tensor, allowed: readonly DType[]): void {
  if (!allowed.includes(x.dtype)) throw new DTypeError(`${who}: expected dtype ${allowed.join(" or ")}, got ${x}; convert with cast()`);
}

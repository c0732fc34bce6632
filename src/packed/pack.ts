/** @file Weights in few bits: packed whole, or row by row while they arrive. */
import { checkCount, checkOptions, kindOf } from "../check.ts";
import type { Device, DeviceBuffer } from "../device.ts";
import { ArgumentError, DataError, ShapeError } from "../errors.ts";
import { normalizeAxis, showShape, sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { block, quantize4, quantize4m, quantize8 } from "./quantize.ts";
import type { Block } from "./quantize.ts";
import { BLOCK, checkBlocks, checkFormat, GROUP, isHalves, layoutOf, toBfloat, toHalf, unitOf } from "./layout.ts";
import type { Layout, PackedFormat } from "./layout.ts";
import { packedStorage } from "./storage.ts";

/** Options of `pack`. */
export interface PackOptions {
  /**
   * The axis that products sum over, along which 32 elements share a scale. 0 (default): kernels [in, out], as `dense` has them. 1:
   * embeddings, and what is read with `transposeB`.
   */
  readonly axis?: number;
}

/**
 * `x` [rows, columns] f32, with its elements packed in few bits. The result is an f32 tensor whose `matmul` (as the right operand) and
 * `gather` (rows, axis 1) read the bits as they are; other ops get a copy as f32 each time. `set` packs other numbers into it, `assign`
 * refuses it; gradients go through it to what it is multiplied with.
 * @param format `f16`, `bf16`, `q8`, `q4` or `q4m`; see `PackedFormat`
 * @throws ShapeError unless it is a matrix, ArgumentError for an unknown format or an axis of no whole blocks of 32, DataError for numbers
 *   beyond the format
 * @example const kernel = await pack(layer.weights[0].tensor, "q8");
 */
export async function pack(x: Tensor, format: PackedFormat, options: PackOptions = {}): Promise<Tensor> {
  checkOptions("pack", options, ["axis"]);
  if (!(x instanceof Tensor)) throw new ArgumentError(`pack: expected a tensor, got ${kindOf(x)}`);
  if (x.rank !== 2 || x.dtype !== "f32") throw new ShapeError(`pack: expected a matrix of f32, got ${x}`);
  const transposed = normalizeAxis("pack", options.axis ?? 0, 2) === 0;
  const [outer, inner] = x.shape;
  const [rows, k] = transposed ? [inner, outer] : [outer, inner];
  return packerOf("pack", format, rows, k, transposed, (await x.data()) as Float32Array).tensor({ transposed });
}

/** All rows, or columns where `transposed`, of `data`. */
function packerOf(who: string, format: PackedFormat, rows: number, k: number, transposed: boolean, data: Float32Array): Packer {
  const packer = new Packer(format, rows, k, {}, who);
  const row = new Float32Array(k);
  for (let r = 0; r < rows; r++) {
    if (transposed) for (let i = 0; i < k; i++) row[i] = data[i * rows + r];
    packer.row(r, transposed ? row : data.subarray(r * k, (r + 1) * k));
  }
  return packer;
}

const packAll = (format: PackedFormat, rows: number, k: number, transposed: boolean, data: Float32Array): Uint8Array =>
  packerOf("set", format, rows, k, transposed, data).bytes;

/** Options of `Packer.tensor`. */
export interface PackedTensorOptions {
  /** The rows are columns of the tensor: [k, rows], the shape of kernels [in, out]. Default false: [rows, k]. */
  readonly transposed?: boolean;
  /** Where that is no matrix, such as [features, heads, size] of attention: a shape with the same elements in the same order. */
  readonly shape?: Shape;
}

/** Options of `Packer`. */
export interface PackerOptions {
  /**
   * Where the tensor is to be: rows, which must then come in order, are written there as they are packed, and the host holds a few of them.
   * Default: the packed bytes stay on the host.
   */
  readonly backend?: Device;
  /**
   * With a backend: what the host holds them in, so that matrices packed one after another need it once. Rows may come in any order where
   * all of them fit (`Packer.bytes` of their number rounded up to a multiple of 4). Default: 128 KiB of its own.
   */
  readonly memory?: ArrayBuffer;
}

/** Arrays that numbers come in. */
type Kind = Float32ArrayConstructor | Int8ArrayConstructor | Uint16ArrayConstructor;

/** Bytes that are written to a backend at once. */
const WINDOW_BYTES = 2 ** 17;

/**
 * Packs a matrix whose rows, of `k` elements each, come one after another, such as those of a file: products sum over `k`. Nothing is held
 * but the packed bytes, and with a `backend` a few rows.
 * @example const packer = new Packer("q4", 1000, 64); rows.forEach((values, r) => packer.row(r, values)); packer.tensor();
 */
export class Packer {
  readonly format: PackedFormat;
  readonly rows: number;
  readonly k: number;
  readonly #who: string;
  /** Of all rows, and of those from `#first` on that are held. */
  readonly #whole: Layout;
  readonly #layout: Layout;
  readonly #window: number;
  #first = 0;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #halves: Uint16Array;
  readonly #block = block();
  /** A block of a row: a view of each would be as much again for the collector. */
  readonly #values = new Float32Array(BLOCK);
  /** Blocks of each row that have come. */
  readonly #done: Uint32Array;
  readonly #backend: Device | null;
  #buffer: DeviceBuffer | null = null;
  #closed = false;

  /** Bytes of `rows` rows of `k` elements. */
  static bytes(format: PackedFormat, rows: number, k: number): number {
    return layoutOf(format, rows, k).bytes;
  }

  /**
   * @throws ArgumentError for an unknown format, or a `k` of no whole blocks of 32 where it has blocks; BackendError where the backend has
   * no room
   */
  constructor(format: PackedFormat, rows: number, k: number, options: PackerOptions = {}, who = "Packer") {
    checkFormat(who, format);
    checkCount(who, "rows", rows);
    checkCount(who, "k", k);
    checkBlocks(who, format, k);
    const { backend = null, memory = null } = checkOptions(who, options, ["backend", "memory"]);
    if (memory !== null && !(memory instanceof ArrayBuffer))
      throw new ArgumentError(`${who}: memory must be an ArrayBuffer, got ${kindOf(memory)}`);
    this.format = format;
    this.rows = rows;
    this.k = k;
    this.#who = who;
    this.#backend = backend;
    this.#whole = layoutOf(format, rows, k);
    const group = layoutOf(format, GROUP, k).bytes;
    const most = memory?.byteLength ?? WINDOW_BYTES;
    this.#window = backend === null ? rows : Math.min(rows, GROUP * Math.max(1, Math.floor(most / group)));
    this.#layout = layoutOf(format, this.#window, k);
    const { bytes } = this.#layout;
    const given = backend !== null && memory !== null && bytes <= most;
    this.#bytes = given ? new Uint8Array(memory, 0, bytes).fill(0) : new Uint8Array(bytes);
    this.#halves = new Uint16Array(this.#bytes.buffer, 0, bytes / 2);
    this.#done = new Uint32Array(rows);
    if (backend !== null) this.#buffer = backend.alloc(this.#whole.bytes);
  }

  /** @internal What is packed so far. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Row `r` of f32 numbers. @throws ShapeError unless there are k, DataError for one beyond the format */
  row(r: number, values: Float32Array): void {
    this.#check(r, values, this.k);
    const at = this.#placeOf(r);
    // Nothing of a row counts that has a number beyond the format.
    this.#done[r] = 0;
    for (let b = 0; b < this.#blocks; b++) {
      const size = this.#sizeOf(b);
      for (let i = 0; i < size; i++) this.#values[i] = values[b * BLOCK + i];
      this.#pack(at, b, this.#values, size);
    }
    this.#done[r] = this.#blocks;
  }

  /**
   * Block `b` of row `r` (elements 32 b to 32 b + 31, or to the row's end) of f32 numbers, for matrices whose columns come one after
   * another. The blocks of a row come in order, from 0 to its last.
   * @throws ShapeError for another number of numbers or no such block, ArgumentError for one out of order, DataError for one beyond the
   * format
   */
  part(r: number, b: number, values: Float32Array): void {
    const at = this.#next(r, b, values, Float32Array);
    this.#pack(at, b, values, values.length);
    this.#done[r] = b + 1;
  }

  /** Row `r` as it is stored elsewhere: bits of f16 or bf16, as this packs them. @throws ShapeError unless there are k */
  halves(r: number, bits: Uint16Array): void {
    this.#check(r, bits, this.k, Uint16Array);
    if (!isHalves(this.format)) throw new ArgumentError(`${this.#who}: halves() is for f16 and bf16, this packs ${this.format}`);
    this.#halves.set(bits, this.#placeOf(r) * this.k);
    this.#done[r] = this.#blocks;
  }

  /**
   * Block `b` (elements 32 b to 32 b + 31) of row `r`, as it is stored elsewhere: 32 integers (q8: -127 to 127; 4 bits: 0 to 15), scale and
   * minimum as bits of f16. The blocks of a row come in order, from 0 to its last.
   * @throws ShapeError for another number of integers or no such block, ArgumentError for one out of order, DataError for integers that do
   * not fit
   */
  block(r: number, b: number, q: Int8Array, scale: number, minimum = 0): void {
    const at = this.#next(r, b, q, Int8Array);
    if (isHalves(this.format)) throw new ArgumentError(`${this.#who}: block() is for integers, this packs ${this.format}`);
    const wrong = this.format === "q8" ? -1 : q.findIndex((v) => v < 0 || v > 15);
    if (wrong >= 0) throw new DataError(`${this.#who}: row ${r}: 4 bits hold 0 to 15, got ${q[wrong]} in block ${b}`);
    this.#done[r] = b + 1;
    this.#put(at, b, { q, scale, minimum });
  }

  /**
   * What was packed, as a tensor.
   * @throws ArgumentError where a row has not come, ShapeError for a shape of another size
   */
  tensor(options: PackedTensorOptions = {}): Tensor {
    const { transposed = false, shape = transposed ? [this.k, this.rows] : [this.rows, this.k] } = checkOptions(
      `${this.#who}: tensor`,
      options,
      ["transposed", "shape"],
    );
    const missing = this.#done.findIndex((n) => n < this.#blocks);
    if (missing >= 0) {
      const part = this.#done[missing] ? `block ${this.#done[missing]} of ` : "";
      throw new ArgumentError(`${this.#who}: ${part}row ${missing} of ${this.rows} is missing`);
    }
    if (sizeOf(shape) !== this.rows * this.k)
      throw new ShapeError(`${this.#who}: ${this.rows} rows of ${this.k} elements are no ${showShape(shape)}`);
    // Bytes on the host may be those of several tensors, which all leave them as they are.
    if (this.#backend !== null && this.#buffer === null) throw this.#gone();
    this.#closed = true;
    const { format, rows, k } = this;
    const storage = packedStorage(format, rows, k, transposed, (values) => packAll(format, rows, k, transposed, values));
    if (this.#backend === null) return new Tensor(shape, "f32", null, 0, this.#bytes, storage);
    this.#flush();
    const made = new Tensor(shape, "f32", null, 0, null, storage);
    made.adopt(this.#backend, this.#buffer as DeviceBuffer);
    made.markDeviceNewer();
    this.#buffer = null;
    return made;
  }

  get #blocks(): number {
    return Math.ceil(this.k / BLOCK);
  }

  /** Elements of block `b`. */
  #sizeOf(b: number): number {
    return Math.min(BLOCK, this.k - b * BLOCK);
  }

  /** Gives back what it has on a backend, where no tensor was made of it. Harmless when repeated. */
  dispose(): void {
    this.#closed = true;
    if (this.#buffer !== null) this.#backend?.free(this.#buffer);
    this.#buffer = null;
  }

  /** Where row `r` is among those that are held; what comes before goes to the backend. @throws ArgumentError for one that is there */
  #placeOf(r: number): number {
    if (r < this.#first) throw new ArgumentError(`${this.#who}: with a backend rows come in order, got ${r} behind ${this.#first}`);
    while (r >= this.#first + this.#window) {
      this.#flush();
      this.#first += this.#window;
    }
    return r - this.#first;
  }

  /** Writes the rows that are held to the backend. */
  #flush(): void {
    const [backend, buffer] = [this.#backend as Device, this.#buffer as DeviceBuffer];
    const count = Math.min(this.#window, this.rows - this.#first);
    const write = (to: number, from: number, bytes: number): void => {
      if (bytes > 0) backend.write(buffer, to, this.#bytes.subarray(from, from + bytes));
    };
    const { blocks, unit, scales, minimums } = this.#layout;
    if (isHalves(this.format)) write(this.#first * this.k * 2, 0, Math.ceil((count * this.k) / 2) * 4);
    else {
      const [before, units] = [(this.#first / GROUP) * blocks, Math.ceil(count / GROUP) * blocks];
      write(before * unit, 0, units * unit);
      write(this.#whole.scales + before * GROUP * 2, scales, units * GROUP * 2);
      if (this.format === "q4m") write(this.#whole.minimums + before * GROUP * 2, minimums, units * GROUP * 2);
    }
    this.#bytes.fill(0);
  }

  #gone(): ArgumentError {
    return new ArgumentError(`${this.#who}: it was made a tensor or disposed of`);
  }

  #check(r: number, values: ArrayLike<number>, expected: number, kind: Kind = Float32Array): void {
    if (!(values instanceof kind)) throw new ArgumentError(`${this.#who}: row ${r} must be a ${kind.name}, got ${kindOf(values)}`);
    if (this.#closed) throw this.#gone();
    if (!(Number.isInteger(r) && r >= 0 && r < this.rows))
      throw new ShapeError(`${this.#who}: expected a row of ${showShape([this.rows, this.k])}, got ${r}`);
    if (values.length !== expected) throw new ShapeError(`${this.#who}: row ${r}: expected ${expected} elements, got ${values.length}`);
  }

  /** Where row `r` is, of which block `b` is to come. */
  #next(r: number, b: number, values: ArrayLike<number>, kind: Kind): number {
    if (!(b >= 0 && b < this.#blocks)) throw new ShapeError(`${this.#who}: row ${r} has ${this.#blocks} blocks, got ${b}`);
    this.#check(r, values, this.#sizeOf(b), kind);
    const next = this.#done[r] % this.#blocks;
    if (b !== next) throw new ArgumentError(`${this.#who}: row ${r}: blocks come in order, expected block ${next}, got ${b}`);
    return this.#placeOf(r);
  }

  /** `size` numbers, block `b` of the row that is held at `at`. */
  #pack(at: number, b: number, values: Float32Array, size: number): void {
    if (isHalves(this.format)) {
      const convert = this.format === "f16" ? toHalf : toBfloat;
      for (let i = 0; i < size; i++) this.#halves[at * this.k + b * BLOCK + i] = convert(this.#who, values[i]);
      return;
    }
    const quantize = this.format === "q8" ? quantize8 : this.format === "q4" ? quantize4 : quantize4m;
    quantize(this.#who, values, this.#block);
    this.#put(at, b, this.#block);
  }

  #put(r: number, b: number, { q, scale, minimum }: Block): void {
    const { scales, minimums, unit } = this.#layout;
    const at = unitOf(this.#layout, r, b);
    const lane = r % GROUP;
    const bytes = this.#bytes;
    let to = at * unit + lane * 4;
    // As byteOf and isUpper say, four bytes at a time.
    if (this.format === "q8") for (let i = 0; i < BLOCK; i += 4, to += 16) for (let n = 0; n < 4; n++) bytes[to + n] = q[i + n];
    else
      for (let i = 0; i < BLOCK; i += 8, to += 16) for (let n = 0; n < 4; n++) bytes[to + n] = (q[i + n] & 15) | ((q[i + 4 + n] & 15) << 4);
    this.#halves[scales / 2 + at * GROUP + lane] = scale;
    if (this.format === "q4m") this.#halves[minimums / 2 + at * GROUP + lane] = minimum;
  }
}

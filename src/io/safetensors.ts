/**
 * @file The safetensors container over bytes in memory: eight bytes of header length, a JSON header, then the tensors'
 * elements back to back. Format: https://huggingface.co/docs/safetensors. Nothing of a file is believed before it is
 * checked, and nothing is allocated that is not backed by bytes which are really there. Elements are little-endian, as
 * typed arrays are on every platform that has WebAssembly.
 */
import type { TypedArray } from "../dtype.ts";
import { ArgumentError, DTypeError, FileError, ShapeError } from "../errors.ts";
import { naming } from "../naming.ts";
import type { Shape } from "../shape.ts";
import { showShape, sizeOf } from "../shape.ts";

/** A tensor to be written. `shape` in elements, `data` row-major. */
export interface HostTensor {
  readonly shape: Shape;
  readonly data: TypedArray;
}

/** A tensor that was read. `dtype` is the file's; `data` is a copy in the nearest dtype that Lockstep has. */
export interface SafeTensor extends HostTensor {
  readonly dtype: string;
}

export interface SafeTensorsFile {
  readonly metadata: Record<string, string>;
  /** By name, in the order of the header. */
  readonly tensors: Map<string, SafeTensor>;
}

const METADATA = "__metadata__";
const LENGTH_BYTES = 8;
const ALIGNMENT = 8;
/** The most that the reference implementation accepts. */
const MAX_HEADER_BYTES = 100_000_000;
const SPACE = 0x20;
const OPENING_BRACE = 0x7b;

/**
 * Writes tensors as F32, I32 or U32, ordered by name, so that equal contents give equal bytes.
 * @throws ArgumentError for a reserved name or metadata that is not text, DTypeError and ShapeError for a tensor that
 * does not fit, each naming it.
 */
export const encodeSafetensors = (tensors: Record<string, HostTensor>, metadata: Record<string, string> = {}): Uint8Array => naming("safetensors", () => {
  const named = Object.entries(tensors).sort(([a], [b]) => (a < b ? -1 : 1));
  const entries: string[] = [];
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string") throw new ArgumentError(`metadata "${key}" must be a string, got ${typeof value}; use JSON.stringify for anything else`);
  }
  if (Object.keys(metadata).length > 0) entries.push(`"${METADATA}":${JSON.stringify(metadata)}`);
  let end = 0;
  for (const [name, { shape, data }] of named) {
    const dtype = fileDType(name, data);
    checkShape(name, shape, data.length);
    const begin = end;
    end += data.byteLength;
    entries.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
  }
  const header = new TextEncoder().encode(`{${entries.join(",")}}`);
  const headerBytes = Math.ceil(header.length / ALIGNMENT) * ALIGNMENT;
  if (headerBytes > MAX_HEADER_BYTES) {
    throw new ArgumentError(`the header may have at most ${MAX_HEADER_BYTES} bytes, names and metadata here need ${headerBytes}`);
  }
  const file = new Uint8Array(LENGTH_BYTES + headerBytes + end);
  new DataView(file.buffer).setUint32(0, headerBytes, true);
  file.fill(SPACE, LENGTH_BYTES, LENGTH_BYTES + headerBytes);
  file.set(header, LENGTH_BYTES);
  let at = LENGTH_BYTES + headerBytes;
  for (const [, { data }] of named) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return file;
});

function fileDType(name: string, data: TypedArray): string {
  if (name === METADATA) throw new ArgumentError(`"${METADATA}" is reserved by the format, give the tensor another name`);
  if (data instanceof Float32Array) return "F32";
  if (data instanceof Int32Array) return "I32";
  if (data instanceof Uint32Array) return "U32";
  throw new DTypeError(`tensor "${name}" must hold a Float32Array, Int32Array or Uint32Array, got ${Object.prototype.toString.call(data).slice(8, -1)}`);
}

function checkShape(name: string, shape: Shape, length: number): void {
  if (!shape.every(isSize) || sizeOf(shape) !== length) {
    throw new ShapeError(`tensor "${name}" of shape ${showShape(shape)} must have ${sizeOf(shape)} elements, got ${length}`);
  }
}

/**
 * Reads a whole file. F32, I32 and U32 are kept; F16, BF16 and F64 become f32; I8, I16, U8 and U16 become i32; I64
 * becomes i32 and U64 u32 where every element fits; BOOL becomes u32 of 0 and 1.
 * @param who what the bytes are, usually a path, for error texts
 * @throws FileError for every departure from the format, naming the tensor, what was expected and what was found
 */
export const decodeSafetensors = (bytes: Uint8Array, who = "safetensors"): SafeTensorsFile => naming(who, () => {
  const headerBytes = headerLength(bytes);
  const header = parseHeader(bytes.subarray(LENGTH_BYTES, LENGTH_BYTES + headerBytes));
  // Without what Node's Buffer puts over the methods of Uint8Array.
  const body = new Uint8Array(bytes.buffer, bytes.byteOffset + LENGTH_BYTES + headerBytes, bytes.length - LENGTH_BYTES - headerBytes);
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name !== METADATA) entries.push(checkEntry(name, value, body.length));
  }
  checkCoverage(entries, body.length);
  const tensors = new Map<string, SafeTensor>();
  for (const { name, dtype, shape, begin, end } of entries) {
    const { buffer } = body.slice(begin, end);
    tensors.set(name, { dtype, shape, data: naming(`tensor "${name}"`, () => FORMATS[dtype].read(buffer)) });
  }
  return { metadata: checkMetadata(header), tensors };
});

interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

function headerLength(bytes: Uint8Array): number {
  if (bytes.length < LENGTH_BYTES) {
    throw new FileError(`a safetensors file starts with ${LENGTH_BYTES} bytes of header length, the file has ${bytes.length} bytes`);
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > bytes.length - LENGTH_BYTES) {
    throw new FileError(`the file is truncated or not safetensors: it begins with ${JSON.stringify(String.fromCharCode(...bytes.subarray(0, LENGTH_BYTES)))}`);
  }
  if (length > MAX_HEADER_BYTES) {
    throw new FileError(`the header may have at most ${MAX_HEADER_BYTES} bytes, this one says ${length}`);
  }
  return Number(length);
}

type JsonObject = { readonly [key: string]: unknown };

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function parseHeader(header: Uint8Array): JsonObject {
  if (header[0] !== OPENING_BRACE) {
    throw new FileError(`the header must start with "{", found ${header.length === 0 ? "an empty header" : `byte ${header[0]}`}`);
  }
  const own = new Uint8Array(header); // a decoder refuses shared memory
  let text = "";
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(own);
  } catch (cause) {
    throw new FileError(`the header must be UTF-8, found: ${(cause as Error).message}`, { cause });
  }
  const value = parseObject("the header", text);
  // Text that comes out again as it went in has no key twice, and most writers write such: to look at each character takes 0.5 ms of a program's start.
  const twice = JSON.stringify(value) === text.trimEnd() ? null : repeatedKey(text);
  if (twice !== null) throw new FileError(`every key of the header must be unique, found "${twice}" twice`);
  return value;
}

/** @throws FileError for what is no JSON or no object. */
export function parseObject(what: string, text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FileError(`${what} is no JSON: ${(cause as Error).message}`, { cause });
  }
  if (!isObject(value)) throw new FileError(`${what} must be an object, found ${show(value)}`);
  return value;
}

/**
 * The first key that stands twice in one of the two outer levels of valid JSON text (names; metadata keys and tensor
 * fields), or null. JSON.parse would silently keep the last.
 */
function repeatedKey(text: string): string | null {
  const seen = [new Set<string>(), new Set<string>()];
  let depth = -1;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "{") {
      depth++;
      seen[depth]?.clear();
    } else if (c === "}") {
      depth--;
    } else if (c === '"') {
      const start = i++;
      while (text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
      let next = i + 1;
      while (text[next] <= " ") next++;
      if (text[next] !== ":" || depth >= seen.length) continue;
      const key = JSON.parse(text.slice(start, i + 1)) as string;
      if (seen[depth].has(key)) return key;
      seen[depth].add(key);
    }
  }
  return null;
}

function checkMetadata(header: JsonObject): Record<string, string> {
  if (!Object.hasOwn(header, METADATA)) return {};
  const metadata = header[METADATA];
  if (!isObject(metadata)) throw new FileError(`${METADATA} must be an object of strings, found ${show(metadata)}`);
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string") throw new FileError(`${METADATA} "${key}" must be a string, found ${show(value)}`);
  }
  return metadata as Record<string, string>;
}

function checkEntry(name: string, value: unknown, bodyBytes: number): Entry {
  const fault = (expected: string, found: unknown): FileError =>
    new FileError(`tensor "${name}": ${expected}, found ${show(found)}`);
  if (!isObject(value)) throw fault("must be an object with dtype, shape and data_offsets", value);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(FORMATS, dtype)) {
    throw fault(`dtype must be one of ${Object.keys(FORMATS).join(", ")}`, dtype);
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) throw fault("shape must be a list of sizes", shape);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) throw fault("data_offsets must be [begin, end]", offsets);
  const [begin, end] = offsets as number[];
  if (begin > end || end > bodyBytes) throw fault(`data_offsets must be ordered and inside the ${bodyBytes} bytes of data`, offsets);
  // A product too large to be exact is larger than any file, so the comparison still tells.
  const expected = shape.includes(0) ? 0 : sizeOf(shape) * FORMATS[dtype].bytes;
  if (end - begin !== expected) {
    throw fault(`${dtype} of shape ${showShape(shape)} needs ${expected} bytes`, `${end - begin} bytes (data_offsets ${show(offsets)})`);
  }
  return { name, dtype, shape, begin, end };
}

/** The tensors must lie back to back and fill the data, in whatever order the header lists them. */
function checkCoverage(entries: readonly Entry[], bodyBytes: number): void {
  let at = 0;
  for (const { name, begin, end } of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== at) {
      throw new FileError(`tensor "${name}" must begin at byte ${at} of the data, where the one before ends, found ${begin}: ${begin > at ? "a hole" : "an overlap"}`);
    }
    at = end;
  }
  if (at !== bodyBytes) throw new FileError(`the tensors must fill the data, they end at byte ${at} of ${bodyBytes}`);
}

/** A value for an error text, cut short: a header may hold megabytes. */
function show(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? "nothing";
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

interface Format {
  readonly bytes: number;
  /** `raw` is a whole number of elements in memory of its own. */
  read(raw: ArrayBuffer): TypedArray;
}

/** The file's dtypes that can be read. */
const FORMATS: { readonly [dtype: string]: Format } = {
  BOOL: { bytes: 1, read: (raw) => convert(new Uint8Array(raw), new Uint32Array(raw.byteLength), (x) => x <= 1, "0 or 1") },
  U8: { bytes: 1, read: (raw) => Int32Array.from(new Uint8Array(raw)) },
  I8: { bytes: 1, read: (raw) => Int32Array.from(new Int8Array(raw)) },
  U16: { bytes: 2, read: (raw) => Int32Array.from(new Uint16Array(raw)) },
  I16: { bytes: 2, read: (raw) => Int32Array.from(new Int16Array(raw)) },
  F16: { bytes: 2, read: (raw) => fromBits(new Uint16Array(raw), halfBits) },
  BF16: { bytes: 2, read: (raw) => fromBits(new Uint16Array(raw), (bits) => bits << 16) },
  U32: { bytes: 4, read: (raw) => new Uint32Array(raw) },
  I32: { bytes: 4, read: (raw) => new Int32Array(raw) },
  F32: { bytes: 4, read: (raw) => new Float32Array(raw) },
  F64: { bytes: 8, read: (raw) => convert(new Float64Array(raw), new Float32Array(raw.byteLength / 8), fitsFloat, "in the range of f32") },
  U64: { bytes: 8, read: (raw) => convert(new BigUint64Array(raw), new Uint32Array(raw.byteLength / 8), (x) => x < 2n ** 32n, "below 2^32") },
  I64: { bytes: 8, read: (raw) => convert(new BigInt64Array(raw), new Int32Array(raw.byteLength / 8), fitsInt, "in [-2^31, 2^31)") },
};

function fitsInt(x: bigint): boolean {
  return x >= -0x80000000n && x <= 0x7fffffffn;
}

function fitsFloat(x: number): boolean {
  return Number.isFinite(Math.fround(x)) || !Number.isFinite(x);
}

/** Copies `from` into `to`. @throws FileError at the first element that does not fit. */
function convert<T extends number | bigint>(
  from: ArrayLike<T>, to: TypedArray, fits: (x: T) => boolean, expected: string): TypedArray {
  for (let i = 0; i < to.length; i++) {
    if (!fits(from[i])) throw new FileError(`elements must be ${expected}, found ${from[i]} at ${i}`);
    to[i] = Number(from[i]);
  }
  return to;
}

function fromBits(from: Uint16Array, widen: (bits: number) => number): Float32Array {
  const bits = new Uint32Array(from.length);
  for (let i = 0; i < from.length; i++) bits[i] = widen(from[i]);
  return new Float32Array(bits.buffer);
}

/** The bits of the f32 equal to an IEEE 754 half: every half is exact in f32, NaNs keep their payload. */
function halfBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 31;
  const fraction = half & 0x3ff;
  if (exponent === 31) return sign | 0x7f800000 | (fraction << 13);
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  const shift = Math.clz32(fraction) - 21; // moves the leading one to where the hidden bit belongs
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13);
}

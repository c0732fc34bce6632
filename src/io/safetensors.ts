/**
 * @file The safetensors container over bytes in memory: eight bytes of header length, a JSON header, then the tensors'
 * elements back to back. Format: https://huggingface.co/docs/safetensors. Nothing of a file is believed before it is
 * checked, and nothing is allocated that is not backed by bytes which are really there. Elements are little-endian, as
 * typed arrays are on every platform that has WebAssembly. Here is what model files need; `lockstep/safetensors` reads and writes all
 * else.
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

/** A tensor as bytes: a dtype of the format, a shape in elements, and the elements, row-major and little-endian. */
export interface RawTensor {
  /** The format's name: F32, BF16, I64 … */
  readonly dtype: string;
  readonly shape: Shape;
  readonly bytes: Uint8Array;
}

/** What a header says of a tensor: its bytes are `[begin, end)` of the data. */
export interface Entry {
  readonly dtype: string;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

/** Metadata, and tensors by name in the order of the header. */
export interface Header {
  readonly metadata: { readonly [key: string]: string };
  readonly tensors: ReadonlyMap<string, Entry>;
}

/** A whole file; `data` is what `begin` and `end` of its tensors count in. */
export interface SafeTensorsFile extends Header {
  readonly data: Uint8Array;
}

const METADATA = "__metadata__";
export const LENGTH_BYTES = 8;
const ALIGNMENT = 8;
/** The most that the reference implementation accepts. */
const MAX_HEADER_BYTES = 100_000_000;
const SPACE = 0x20;
const OPENING_BRACE = 0x7b;

/** The dtypes of the format, and bits of an element (https://docs.rs/safetensors, enum Dtype). */
export const BITS: { readonly [dtype: string]: number } = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U16: 16,
  I16: 16,
  F16: 16,
  BF16: 16,
  U32: 32,
  I32: 32,
  F32: 32,
  U64: 64,
  I64: 64,
  F64: 64,
  C64: 64,
};

/** Bytes of a tensor. A product too large to be exact is larger than any file, so that comparisons still tell. */
const bytesIn = (dtype: string, shape: Shape): number => (shape.includes(0) ? 0 : (sizeOf(shape) * BITS[dtype]) / 8);

/**
 * Writes tensors: larger elements first, so that all are aligned, then by name, so that equal contents give equal bytes.
 * @throws ArgumentError for a reserved or repeated name, metadata that is not text and a dtype that the format does not have, ShapeError
 * for bytes that do not fit the shape, each naming it.
 */
export const encodeRaw = (
  tensors: readonly (readonly [name: string, tensor: RawTensor])[],
  metadata: { readonly [key: string]: string } = {},
): Uint8Array =>
  naming("safetensors", () => {
    const order = [...tensors].sort(([a, { dtype: x }], [b, { dtype: y }]) => BITS[y] - BITS[x] || (a < b ? -1 : 1));
    const entries: string[] = [];
    for (const [key, value] of Object.entries(metadata)) {
      if (typeof value !== "string") throw new ArgumentError(`metadata "${key}" must be a string, got ${typeof value}; use JSON.stringify`);
    }
    if (Object.keys(metadata).length > 0) entries.push(`"${METADATA}":${JSON.stringify(metadata)}`);
    const names = new Set([METADATA]);
    let end = 0;
    for (const [name, { dtype, shape, bytes }] of order) {
      if (name === METADATA) throw new ArgumentError(`"${METADATA}" is reserved by the format, give the tensor another name`);
      if (names.has(name)) throw new ArgumentError(`two tensors are named "${name}"; names must differ`);
      names.add(name);
      if (!Object.hasOwn(BITS, dtype)) {
        throw new ArgumentError(`tensor "${name}": dtype must be one of ${Object.keys(BITS).join(", ")}, got ${show(dtype)}`);
      }
      if (!shape.every(isSize) || bytesIn(dtype, shape) !== bytes.length) {
        throw new ShapeError(
          `tensor "${name}" of shape ${showShape(shape)} must have ${bytesIn(dtype, shape)} bytes of ${dtype}, got ${bytes.length}`,
        );
      }
      const begin = end;
      end += bytes.length;
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
    for (const [, { bytes }] of order) {
      file.set(bytes, at);
      at += bytes.length;
    }
    return file;
  });

/** The bytes of a view. */
const bytesOfView = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array => new Uint8Array(buffer, byteOffset, byteLength);

/** Writes tensors as F32, I32 or U32. @throws as `encodeRaw`, and DTypeError for other elements. */
export const encodeSafetensors = (tensors: Record<string, HostTensor>, metadata: Record<string, string> = {}): Uint8Array =>
  encodeRaw(
    naming("safetensors", () => Object.entries(tensors).map(([name, tensor]) => [name, rawOf(name, tensor)] as const)),
    metadata,
  );

/** A tensor of a model as bytes. @throws DTypeError, ShapeError */
export function rawOf(name: string, { shape, data }: HostTensor): RawTensor {
  checkShape(name, shape, data.length);
  return { dtype: fileDType(name, data), shape, bytes: bytesOfView(data) };
}

function fileDType(name: string, data: TypedArray): string {
  if (data instanceof Float32Array) return "F32";
  if (data instanceof Int32Array) return "I32";
  if (data instanceof Uint32Array) return "U32";
  throw new DTypeError(
    `tensor "${name}" must hold a Float32Array, Int32Array or Uint32Array, got ${Object.prototype.toString.call(data).slice(8, -1)}`,
  );
}

function checkShape(name: string, shape: Shape, length: number): void {
  if (!shape.every(isSize) || sizeOf(shape) !== length) {
    throw new ShapeError(`tensor "${name}" of shape ${showShape(shape)} must have ${sizeOf(shape)} elements, got ${length}`);
  }
}

/**
 * Reads the header of a whole file; of its data only the size is looked at.
 * @param who what the bytes are, usually a path, for error texts
 * @throws FileError for every departure from the format, naming the tensor, what was expected and what was found
 */
export const decodeSafetensors = (bytes: Uint8Array, who = "safetensors"): SafeTensorsFile =>
  naming(who, () => {
    const start = LENGTH_BYTES + headerLength(bytes, bytes.length);
    // Without what Node's Buffer puts over the methods of Uint8Array.
    const data = new Uint8Array(bytes.buffer, bytes.byteOffset + start, bytes.length - start);
    return { ...readHeader(bytes.subarray(LENGTH_BYTES, start), data.length), data };
  });

/** Reads a header; `dataBytes` are the bytes behind it, null where nobody knows how many. @throws FileError */
export function readHeader(bytes: Uint8Array, dataBytes: number | null): Header {
  const tensors = new Map<string, Entry>();
  let metadata: { readonly [key: string]: string } | null = null;
  forEachEntry(headerText(bytes), (name, value) => {
    if (name === METADATA ? metadata !== null : tensors.has(name)) throw repeated(name);
    if (name === METADATA) metadata = checkMetadata(value);
    else tensors.set(name, checkEntry(name, value));
  });
  checkCoverage(tensors, dataBytes);
  return { metadata: metadata ?? {}, tensors };
}

/** Bytes of the header, from the first bytes of a file that has `fileBytes`. @throws FileError */
export function headerLength(bytes: Uint8Array, fileBytes: number | null): number {
  if (bytes.length < LENGTH_BYTES) {
    throw new FileError(`a safetensors file starts with ${LENGTH_BYTES} bytes of header length, it has ${bytes.length} bytes`);
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > (fileBytes ?? 2 ** 50) - LENGTH_BYTES) {
    throw new FileError(
      `it is truncated or not safetensors: it begins with ${JSON.stringify(String.fromCharCode(...bytes.subarray(0, LENGTH_BYTES)))}`,
    );
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

function headerText(header: Uint8Array): string {
  if (header[0] !== OPENING_BRACE) {
    throw new FileError(`the header must start with "{", found ${header.length === 0 ? "an empty header" : `byte ${header[0]}`}`);
  }
  const own = new Uint8Array(header); // a decoder refuses shared memory
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(own);
  } catch (cause) {
    throw new FileError(`the header must be UTF-8, found: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Calls `visit` with the keys and values of the object that a header is, one after another: as one value a million of them is as much
 * again in memory and three times as slow.
 * @throws FileError for what is no JSON, and for a key that stands twice in a value: JSON.parse would silently keep the last
 */
function forEachEntry(text: string, visit: (name: string, value: unknown) => void): void {
  let at = 1;
  const next = (): string => {
    while (/[ \n\r\t]/.test(text.charAt(at))) at++;
    return text.charAt(at);
  };
  const expect = (characters: string): string => {
    const found = next();
    if (found === "" || !characters.includes(found)) {
      throw new FileError(
        `the header is no JSON: expected ${[...characters].join(" or ")} at character ${at}, found ${found || "its end"}`,
      );
    }
    at++;
    return found;
  };
  const textHere = (): string => {
    const begin = at;
    at = textEnd(text, at);
    return parsed("the header", text.slice(begin, at)) as string;
  };
  // Behind a value: before the comma or the bracket that are not its own.
  const skipValue = (): void => {
    const keys = new Set<string>();
    for (let depth = 0; at < text.length; at++) {
      const c = text.charAt(at);
      if (c === '"') {
        const key = depth === 1 ? textHere() : (at = textEnd(text, at));
        if (typeof key === "string" && next() === ":" && keys.size === keys.add(key).size) throw repeated(key);
        at--;
      } else if (c === "{" || c === "[") depth++;
      else if (c === "}" || c === "]" ? depth-- === 0 : c === "," && depth === 0) return;
    }
  };
  for (let found = next() === "}" ? expect("}") : ""; found !== "}"; found = expect(",}")) {
    expect('"');
    at--;
    const name = textHere();
    expect(":");
    const begin = at;
    skipValue();
    visit(name, parsed("the header", text.slice(begin, at)));
  }
  if (next() !== "") throw new FileError(`the header is no JSON: expected its end at character ${at}, found ${next()}`);
}

const repeated = (key: string): FileError => new FileError(`every key of the header must be unique, found "${cut(key)}" twice`);

/** Behind the text in JSON that begins at `at`; the end of `text` where it has no end. */
function textEnd(text: string, at: number): number {
  for (let end = text.indexOf('"', at + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let before = end;
    while (text.charAt(before - 1) === "\\") before--;
    if ((end - before) % 2 === 0) return end + 1;
  }
  return text.length;
}

/** @throws FileError for what is no JSON. */
function parsed(what: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FileError(`${what} is no JSON: ${(cause as Error).message}`, { cause });
  }
}

/** @throws FileError for what is no JSON or no object. */
export function parseObject(what: string, text: string): JsonObject {
  const value = parsed(what, text);
  if (!isObject(value)) throw new FileError(`${what} must be an object, found ${show(value)}`);
  return value;
}

function checkMetadata(metadata: unknown): { readonly [key: string]: string } {
  if (!isObject(metadata)) throw new FileError(`${METADATA} must be an object of strings, found ${show(metadata)}`);
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string") throw new FileError(`${METADATA} "${cut(key)}" must be a string, found ${show(value)}`);
  }
  return metadata as { readonly [key: string]: string };
}

function checkEntry(name: string, value: unknown): Entry {
  const fault = (expected: string, found: unknown): FileError => new FileError(`tensor "${cut(name)}": ${expected}, found ${show(found)}`);
  if (!isObject(value)) throw fault("must be an object", value);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(BITS, dtype)) {
    throw fault(`dtype must be one of ${Object.keys(BITS).join(", ")}`, dtype);
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) throw fault("shape must be a list of sizes", shape);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) throw fault("data_offsets must be [begin, end]", offsets);
  const [begin, end] = offsets as number[];
  if (begin > end) throw fault("data_offsets must be ordered", offsets);
  const expected = bytesIn(dtype, shape);
  if (end - begin !== expected) {
    throw fault(
      `${dtype} of shape ${cut(showShape(shape))} needs ${expected} bytes`,
      `${end - begin} bytes (data_offsets ${show(offsets)})`,
    );
  }
  return { dtype, shape, begin, end };
}

/** The tensors must lie back to back and fill the data, in whatever order the header lists them. */
function checkCoverage(tensors: ReadonlyMap<string, Entry>, dataBytes: number | null): void {
  let at = 0;
  let ordered = true;
  for (const { begin, end } of tensors.values()) {
    ordered &&= begin === at;
    at = end;
  }
  at = 0;
  for (const [name, { begin, end }] of ordered ? tensors : [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== at) {
      throw new FileError(
        `tensor "${cut(name)}" must begin at byte ${at} of the data, where the one before ends, found ${begin}: ` +
          `${begin > at ? "a hole" : "an overlap"}`,
      );
    }
    at = end;
  }
  if (dataBytes !== null && at !== dataBytes) {
    throw new FileError(
      `the header promises ${at} bytes of data, there are ${dataBytes}${at > dataBytes ? ": the file is truncated" : ""}`,
    );
  }
}

/** A text for an error, cut short: a header may hold megabytes. */
export const cut = (text: string, most = 80): string => (text.length > most ? `${text.slice(0, most - 3)}...` : text);

/** A value for an error text. Engines read JSON that they cannot write, since it is nested too deep. */
export function show(value: unknown): string {
  try {
    return cut(typeof value === "string" ? value : (JSON.stringify(value) ?? "nothing"));
  } catch {
    return "what is nested too deep";
  }
}

/** Copies the elements that bytes are. */
export type ReadElements = (bytes: Uint8Array) => TypedArray;

/** Elements in the place of bytes; those that do not lie at a multiple of their size are moved first. */
export function elements<T extends ArrayBufferView>(
  of: new (buffer: ArrayBufferLike, offset: number, length: number) => T,
  size: number,
  bytes: Uint8Array,
): T {
  const { buffer, byteOffset, length } = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  return new of(buffer, byteOffset, length / size);
}

/** The dtypes that files of models hold: weights as floats of any width, counters. */
export const MODEL_DTYPES: { readonly [dtype: string]: ReadElements } = {
  F16: (b) => fromBits(elements(Uint16Array, 2, b), halfBits),
  BF16: (b) => fromBits(elements(Uint16Array, 2, b), (bits) => bits << 16),
  U32: (b) => new Uint32Array(elements(Uint32Array, 4, b)),
  I32: (b) => new Int32Array(elements(Int32Array, 4, b)),
  F32: (b) => new Float32Array(elements(Float32Array, 4, b)),
  F64: (b) => convert(elements(Float64Array, 8, b), new Float32Array(b.length / 8), fitsFloat, "in the range of f32"),
};

function fitsFloat(x: number): boolean {
  return Number.isFinite(Math.fround(x)) || !Number.isFinite(x);
}

/** Copies `from` into `to`. @throws FileError at the first element that does not fit. */
export function convert<T extends number | bigint>(
  from: ArrayLike<T>,
  to: TypedArray,
  fits: (x: T) => boolean,
  expected: string,
): TypedArray {
  for (let i = 0; i < to.length; i++) {
    if (!fits(from[i])) throw new FileError(`elements must be ${expected}, found ${from[i]} at ${i}`);
    to[i] = Number(from[i]);
  }
  return to;
}

/** Floats from shorter ones, whose bits `widen` makes those of the equal f32. */
export function fromBits(from: Uint8Array | Uint16Array, widen: (bits: number) => number): Float32Array {
  const bits = new Uint32Array(from.length);
  for (let i = 0; i < from.length; i++) bits[i] = widen(from[i]);
  return new Float32Array(bits.buffer);
}

/**
 * The bits of the f32 equal to a finite number of a shorter format, all of which are exact in f32: `size` bits of fraction below an
 * exponent, whose bias is given.
 */
export function finiteBits(bits: number, sign: number, size: number, bias: number): number {
  const exponent = bits >> size;
  const fraction = bits & ((1 << size) - 1);
  if (exponent > 0) return sign | ((exponent + 127 - bias) << 23) | (fraction << (23 - size));
  if (fraction === 0) return sign;
  const shift = Math.clz32(fraction) - 31 + size; // moves the leading one to where the hidden bit belongs
  return sign | ((128 - bias - shift) << 23) | (((fraction << shift) & ((1 << size) - 1)) << (23 - size));
}

/** Those of an IEEE 754 half. NaNs keep their payload. */
export function halfBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  return (half & 0x7c00) === 0x7c00 ? sign | 0x7f800000 | ((half & 0x3ff) << 13) : finiteBits(half & 0x7fff, sign, 10, 15);
}

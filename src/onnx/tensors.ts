/** @file Elements of tensors in files. */
import { DataError, FileError } from "../index.ts";
import type { Ranges } from "../io/ranges.ts";
import type { Place } from "./outline.ts";
import type { TensorProto } from "./proto.ts";
import { powerOfTwo, smallFloat, smallFloatOf } from "./small.ts";
import { bitsOf, elementType, isFloat } from "./types.ts";
import type { ElementType } from "./types.ts";

/** Elements as JavaScript has them: numbers (floats, bools as 0 and 1, integers, of which those beyond 2^53 are rounded), or strings. */
export type Elements = ArrayLike<number> | readonly string[];

/** A tensor whose elements are known. */
export interface Constant {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly elements: Elements;
}

/** The most elements of one tensor. */
const MOST_ELEMENTS = 2 ** 31 - 1;

/** Files beside a model, by the names that it calls them. */
export type Files = ReadonlyMap<string, Ranges>;

/** A tensor of a file. Its elements are here, or still in a file. */
export interface Stored {
  /** What errors call it. */
  readonly who: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly elements: Elements | null;
  readonly raw: Uint8Array | null;
  readonly place: Place | null;
}

/** IEEE half precision. */
function half(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

const WORD = new DataView(new ArrayBuffer(4));
function brain(bits: number): number {
  WORD.setUint32(0, bits << 16);
  return WORD.getFloat32(0);
}

/** Of integers that stand for floats of 16 bits and fewer; null for what stands for itself. */
function decoderOf(type: ElementType): ((v: number) => number) | null {
  if (type === "float16") return half;
  if (type === "bfloat16") return brain;
  if (type === "float8e8m0") return powerOfTwo;
  const small = smallFloatOf(type);
  return small && ((code) => smallFloat(small, code));
}

/** Elements of little-endian bytes. */
export function decoded(type: ElementType, bytes: Uint8Array, count: number): ArrayLike<number> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (type === "float32") {
    const out = new Float32Array(count);
    if (bytes.byteOffset % 4 === 0) out.set(new Float32Array(bytes.buffer, bytes.byteOffset, count));
    else for (let i = 0; i < count; i++) out[i] = view.getFloat32(4 * i, true);
    return out;
  }
  const read: { readonly [type: string]: (i: number) => number } = {
    float64: (i) => view.getFloat64(8 * i, true),
    float16: (i) => half(view.getUint16(2 * i, true)),
    bfloat16: (i) => brain(view.getUint16(2 * i, true)),
    bool: (i) => Number(bytes[i] !== 0),
    uint8: (i) => bytes[i],
    int8: (i) => view.getInt8(i),
    uint16: (i) => view.getUint16(2 * i, true),
    int16: (i) => view.getInt16(2 * i, true),
    uint32: (i) => view.getUint32(4 * i, true),
    int32: (i) => view.getInt32(4 * i, true),
    uint64: (i) => Number(view.getBigUint64(8 * i, true)),
    int64: (i) => Number(view.getBigInt64(8 * i, true)),
    uint4: (i) => (bytes[i >> 1] >> (4 * (i & 1))) & 15,
    int4: (i) => (((bytes[i >> 1] >> (4 * (i & 1))) & 15) << 28) >> 28,
    uint2: (i) => (bytes[i >> 2] >> (2 * (i & 3))) & 3,
    int2: (i) => (((bytes[i >> 2] >> (2 * (i & 3))) & 3) << 30) >> 30,
  };
  const decode = decoderOf(type) ?? Number;
  const at = read[type] ?? ((i: number): number => decode(read[bitsOf(type) === 4 ? "uint4" : "uint8"](i)));
  const out = new Float64Array(count);
  for (let i = 0; i < count; i++) out[i] = at(i);
  return out;
}

/** A float's half precision, to the nearest, ties to even. */
function halfBits(x: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const a = Math.abs(x);
  if (Number.isNaN(x)) return 0x7e00;
  const exponent = Math.max(-14, Math.floor(Math.log2(a || 2 ** -20)));
  const steps = a / 2 ** (exponent - 10);
  const low = Math.floor(steps);
  const rounded = steps - low > 0.5 || (steps - low === 0.5 && low % 2 === 1) ? low + 1 : low;
  // What rounds up to the next power of two carries over into the exponent.
  const bits = rounded < 1024 ? rounded : ((exponent + 15) << 10) + (rounded - 1024);
  return sign | (a >= 65520 ? 0x7c00 : bits);
}

/** Bytes of elements of whole bytes: the reverse of `decoded`. */
export function encoded(type: ElementType, elements: ArrayLike<number>): Uint8Array {
  const size = bitsOf(type) / 8;
  const view = new DataView(new ArrayBuffer(size * elements.length));
  const brainBits = (x: number): number => {
    WORD.setFloat32(0, x);
    const bits = WORD.getUint32(0);
    return Number.isNaN(x) ? 0x7fc0 : ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
  };
  for (let i = 0; i < elements.length; i++) {
    const [at, x] = [i * size, elements[i]];
    if (type === "float32") view.setFloat32(at, x, true);
    else if (type === "float64") view.setFloat64(at, x, true);
    else if (type === "float16") view.setUint16(at, halfBits(x), true);
    else if (type === "bfloat16") view.setUint16(at, brainBits(x), true);
    else if (size === 8) view.setBigUint64(at, BigInt.asUintN(64, BigInt(x)), true);
    else if (size === 4) view.setUint32(at, x, true);
    else if (size === 2) view.setUint16(at, x, true);
    else view.setUint8(at, x);
  }
  return new Uint8Array(view.buffer);
}

/** A size or place that the text of an external tensor gives. */
function placeOf(who: string, given: string | undefined, absent: number): number {
  if (given === undefined) return absent;
  if (!/^\d{1,15}$/.test(given)) throw new FileError(`${who}: offset and length of external data are numbers, got ${given.slice(0, 40)}`);
  return Number(given);
}

/** @throws FileError where elements are not those that the shape asks for, DTypeError for types that are not known */
export function storedOf(t: TensorProto, owner: string, files: Files): Stored {
  const who = `${owner}: tensor "${t.name.slice(0, 80)}"`;
  const type = elementType(who, t.type);
  const shape = t.dims;
  if (shape.some((d) => !Number.isSafeInteger(d) || d < 0)) throw new FileError(`${who}: its shape is [${shape.join()}]`);
  const count = shape.reduce((n, d) => n * d, 1);
  if (count > MOST_ELEMENTS) throw new FileError(`${who}: [${shape.join()}] has more than ${MOST_ELEMENTS} elements`);
  const here = (elements: Elements): Stored => {
    if (elements.length !== count) throw new FileError(`${who}: [${shape.join()}] needs ${count} elements, ${elements.length} are there`);
    return { who, type, shape, elements, raw: null, place: null };
  };
  if (type === "string") return here(t.strings ?? []);
  const place = t.external === null ? t.place : externalPlace(who, t.external, files);
  if (place !== null || t.raw !== null) {
    const bytes = Math.ceil((count * bitsOf(type)) / 8);
    const given = place?.length ?? (t.raw as Uint8Array).length;
    if (given !== bytes) throw new FileError(`${who}: [${shape.join()}] of ${type} takes ${bytes} bytes, ${given} are there`);
    return { who, type, shape, elements: null, raw: place === null ? t.raw : null, place };
  }
  if (t.longs !== null) return here(Float64Array.from(t.longs, Number));
  const values = t.values ?? [];
  const perByte = 8 / bitsOf(type);
  if (perByte > 1) return here(decoded(type, Uint8Array.from(values), Math.min(count, perByte * values.length)));
  const decode = decoderOf(type);
  const elements = decode === null ? values : values.map(decode);
  return here(type === "float32" ? Float32Array.from(elements) : Float64Array.from(elements));
}

function externalPlace(who: string, external: ReadonlyMap<string, string>, files: Files): Place {
  const location = external.get("location");
  const file = location === undefined ? undefined : files.get(location);
  if (file === undefined || file.size === null) throw new FileError(`${who}: its elements are in another file, which is not named`);
  const offset = placeOf(who, external.get("offset"), 0);
  const length = placeOf(who, external.get("length"), file.size - offset);
  if (length < 0 || offset + length > file.size)
    throw new FileError(`${who}: bytes ${offset} to ${offset + length} of "${file.who}" are wanted, it has ${file.size}`);
  return { file, offset, length };
}

/** @throws FileError for elements that are still in a file: attributes have no such */
export function constantOf({ who, type, shape, elements, raw }: Stored): Constant {
  if (elements !== null) return { type, shape, elements };
  if (raw === null) throw new FileError(`${who}: an attribute has too many elements`);
  return {
    type,
    shape,
    elements: decoded(
      type,
      raw,
      shape.reduce((n, d) => n * d, 1),
    ),
  };
}

/** Words for a device. @throws DataError for integers that have no place in 32 bits */
export function wordsOf(who: string, { type, elements }: Constant): Float32Array | Int32Array | Uint32Array {
  const numbers = elements as ArrayLike<number>;
  if (isFloat(type)) return numbers instanceof Float32Array ? numbers : Float32Array.from(numbers);
  const unsigned = type === "uint32" || type === "uint64";
  const [least, most] = unsigned ? [0, 2 ** 32 - 1] : [-(2 ** 31), 2 ** 31 - 1];
  for (let i = 0; i < numbers.length; i++) {
    if (!(numbers[i] >= least && numbers[i] <= most))
      throw new DataError(`${who}: ${numbers[i]} of ${type} at place ${i} is beyond 32 bits, in which integers are computed`);
  }
  return unsigned ? Uint32Array.from(numbers) : Int32Array.from(numbers);
}

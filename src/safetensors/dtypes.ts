/** @file Elements of safetensors files, and the typed arrays that they become. */
import type { TypedArray } from "../dtype.ts";
import { ArgumentError, DTypeError } from "../errors.ts";
import { convert, cut, elements, finiteBits, fromBits, halfBits, MODEL_DTYPES, show } from "../io/safetensors.ts";
import type { RawTensor, ReadElements } from "../io/safetensors.ts";
import { naming } from "../naming.ts";

/**
 * The dtypes of the format. F4 and F6 are OCP's microscaling floats, packed; F8_E4M3 has no infinities, as in machine learning elsewhere
 * (E4M3FN); F8_E8M0 are powers of two; C64 are pairs of F32.
 */
export type SafetensorsDType =
  | "BOOL"
  | "U8"
  | "I8"
  | "U16"
  | "I16"
  | "U32"
  | "I32"
  | "U64"
  | "I64"
  | "F16"
  | "BF16"
  | "F32"
  | "F64"
  | "C64"
  | "F8_E4M3"
  | "F8_E5M2"
  | "F8_E8M0"
  | "F8_E4M3FNUZ"
  | "F8_E5M2FNUZ"
  | "F6_E2M3"
  | "F6_E3M2"
  | "F4";

const NAN_BITS = 0x7fc00000;

/** Bytes as floats: `nan` tells which are none, the others are finite, of `size` bits of fraction and an exponent with `bias`. */
const bytewise =
  (size: number, bias: number, nan: (bits: number) => boolean): ReadElements =>
  (b) =>
    fromBits(b, (bits) => (nan(bits) ? NAN_BITS : finiteBits(bits & 0x7f, (bits & 0x80) << 24, size, bias)));

const fitsInt = (x: bigint): boolean => x >= -0x80000000n && x <= 0x7fffffffn;

const READ: { readonly [dtype: string]: ReadElements } = Object.assign({}, MODEL_DTYPES, {
  BOOL: (b) => convert(b, new Uint32Array(b.length), (x) => x <= 1, "0 or 1"),
  U8: (b) => new Int32Array(b),
  I8: (b) => new Int32Array(elements(Int8Array, 1, b)),
  U16: (b) => new Int32Array(elements(Uint16Array, 2, b)),
  I16: (b) => new Int32Array(elements(Int16Array, 2, b)),
  U64: (b) => convert(elements(BigUint64Array, 8, b), new Uint32Array(b.length / 8), (x) => x < 2n ** 32n, "below 2^32"),
  I64: (b) => convert(elements(BigInt64Array, 8, b), new Int32Array(b.length / 8), fitsInt, "in [-2^31, 2^31)"),
  F8_E4M3: bytewise(3, 7, (bits) => (bits & 0x7f) === 0x7f),
  // The upper half of an IEEE half.
  F8_E5M2: (b) => fromBits(b, (bits) => halfBits(bits << 8)),
  F8_E4M3FNUZ: bytewise(3, 8, (bits) => bits === 0x80),
  F8_E5M2FNUZ: bytewise(2, 16, (bits) => bits === 0x80),
  // An exponent alone: 2^-127 is no normal f32.
  F8_E8M0: (b) => fromBits(b, (bits) => (bits === 255 ? NAN_BITS : bits === 0 ? 0x400000 : bits << 23)),
} satisfies { readonly [dtype: string]: ReadElements });

/**
 * A copy of the elements in the nearest dtype that tensors have.
 * @throws DTypeError for a dtype that has none, FileError for elements that do not fit it
 */
export const converted = (name: string, dtype: string, bytes: Uint8Array): TypedArray =>
  naming(`tensor "${cut(name)}"`, () => {
    if (!Object.hasOwn(READ, dtype)) {
      throw new DTypeError(`no dtype of a tensor holds ${dtype}; read its bytes, with raw: true or readRaw()`);
    }
    return READ[dtype](bytes);
  });

/** Typed arrays that can be written, and the dtype of each. Half floats only where the engine has such. */
const ARRAYS: { readonly [type: string]: SafetensorsDType } = {
  Float32Array: "F32",
  Float64Array: "F64",
  Float16Array: "F16",
  Int8Array: "I8",
  Uint8Array: "U8",
  Uint8ClampedArray: "U8",
  Int16Array: "I16",
  Uint16Array: "U16",
  Int32Array: "I32",
  Uint32Array: "U32",
  BigInt64Array: "I64",
  BigUint64Array: "U64",
};

const words = new Uint32Array(1);
const float = new Float32Array(words.buffer);

/** The bits of the half nearest to the f32 in `words`, of two the even one. */
function nearestHalf(): number {
  const [bits] = words;
  const sign = (bits >>> 16) & 0x8000;
  const size = bits & 0x7fffffff;
  if (size > 0x7f800000) return sign | 0x7e00;
  if (size >= 0x47800000) return sign | 0x7c00;
  // Below 2^-25, or equal to it, is 0; up to 2^-14 halves are multiples of 2^-24, which f32 rounds to when 1/2 is added.
  if (size < 0x38800000) {
    float[0] = Math.abs(float[0]) + 0.5;
    return sign | (words[0] - 0x3f000000);
  }
  return sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13);
}

/** The bits of the bf16 nearest to the f32 in `words`, of two the even one. */
function nearestBf16(): number {
  const [bits] = words;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** f32 as shorter floats. @throws ArgumentError for a number that would become infinite. */
function shorter(data: ArrayLike<number>, dtype: string): Uint8Array {
  const out = new Uint16Array(data.length);
  const infinity = dtype === "F16" ? 0x7c00 : 0x7f80;
  for (let i = 0; i < data.length; i++) {
    float[0] = data[i];
    out[i] = dtype === "F16" ? nearestHalf() : nearestBf16();
    if ((out[i] & 0x7fff) >= infinity && Number.isFinite(data[i])) {
      throw new ArgumentError(`${data[i]} at ${i} is out of the range of ${dtype}`);
    }
  }
  return new Uint8Array(out.buffer);
}

type Integers = { readonly length: number; [i: number]: number | bigint; readonly buffer: ArrayBufferLike };

const INTEGERS: { readonly [dtype: string]: new (length: number) => Integers } = {
  BOOL: Uint8Array,
  U8: Uint8Array,
  I8: Int8Array,
  U16: Uint16Array,
  I16: Int16Array,
  U32: Uint32Array,
  I32: Int32Array,
  U64: BigUint64Array,
  I64: BigInt64Array,
};

/** Integers as those of another size. @throws ArgumentError for one that does not fit. */
function integers(data: Integers, dtype: string): Uint8Array {
  const out = new INTEGERS[dtype](data.length);
  for (let i = 0; i < data.length; i++) {
    const value = /64/.test(dtype) ? BigInt(data[i]) : Number(data[i]);
    out[i] = value;
    if (out[i] !== value || (dtype === "BOOL" && value > 1)) throw new ArgumentError(`${value} at ${i} is out of the range of ${dtype}`);
  }
  return new Uint8Array(out.buffer);
}

/** Numbers as f32 or f64. @throws ArgumentError for one that would become infinite. */
function floats(data: ArrayLike<number>, dtype: string): Uint8Array {
  const out = dtype === "F64" ? Float64Array.from(data) : Float32Array.from(data);
  const at = out.findIndex((x, i) => !Number.isFinite(x) && Number.isFinite(data[i]));
  if (at >= 0) throw new ArgumentError(`${data[at]} at ${at} is out of the range of ${dtype}`);
  return new Uint8Array(out.buffer);
}

/** What elements of an array may be written as, besides what they are. */
const OTHERS: { readonly [own: string]: readonly string[] } = { F32: ["F16", "BF16", "F64"], F64: ["F32"] };

/**
 * Elements of a typed array as bytes of a file.
 * @param dtype what they become, default what the array holds; F16, BF16 and F64 from Float32Array, F32 from Float64Array, rounded to
 * the nearest; integers from other integers
 * @throws DTypeError for other conversions and other arrays, ArgumentError for elements that do not fit
 */
export const packed = (name: string, data: ArrayBufferView, dtype?: string): Pick<RawTensor, "dtype" | "bytes"> =>
  naming(`tensor "${cut(name)}"`, () => {
    const type = Object.prototype.toString.call(data).slice(8, -1);
    if (!Object.hasOwn(ARRAYS, type)) {
      throw new DTypeError(`expected data in a typed array, got ${type}; nested arrays become one with tensor(...)`);
    }
    const own = ARRAYS[type];
    if (dtype === undefined || dtype === own) return { dtype: own, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
    const others = Object.hasOwn(INTEGERS, own) ? Object.keys(INTEGERS) : (OTHERS[own] ?? []);
    if (!others.includes(dtype)) {
      const known = [own, ...others].join(", ");
      throw new DTypeError(`a ${type} is written as ${known}, got dtype ${show(dtype)}; give other dtypes as { dtype, shape, bytes }`);
    }
    if (Object.hasOwn(INTEGERS, own)) return { dtype, bytes: integers(data as unknown as Integers, dtype) };
    return { dtype, bytes: (dtype === "F16" || dtype === "BF16" ? shorter : floats)(data as Float32Array, dtype) };
  });

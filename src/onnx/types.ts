/** @file Element types of ONNX, and what elements of each compute as. */
import { DTypeError } from "../index.ts";
import type { DType } from "../index.ts";

/** Element types by the names that NumPy and ONNX's tools use. */
export type ElementType =
  | "float32"
  | "uint8"
  | "int8"
  | "uint16"
  | "int16"
  | "int32"
  | "int64"
  | "string"
  | "bool"
  | "float16"
  | "float64"
  | "uint32"
  | "uint64"
  | "bfloat16"
  | "uint4"
  | "int4"
  | "uint2"
  | "int2"
  | "float8e4m3fn"
  | "float8e4m3fnuz"
  | "float8e5m2"
  | "float8e5m2fnuz"
  | "float8e8m0"
  | "float4e2m1";

/** Names by `TensorProto.DataType`. */
const CODES: { readonly [code: number]: ElementType } = {
  1: "float32",
  2: "uint8",
  3: "int8",
  4: "uint16",
  5: "int16",
  6: "int32",
  7: "int64",
  8: "string",
  9: "bool",
  10: "float16",
  11: "float64",
  12: "uint32",
  13: "uint64",
  16: "bfloat16",
  17: "float8e4m3fn",
  18: "float8e4m3fnuz",
  19: "float8e5m2",
  20: "float8e5m2fnuz",
  21: "uint4",
  22: "int4",
  23: "float4e2m1",
  24: "float8e8m0",
  25: "uint2",
  26: "int2",
};

/** What a code names. @throws DTypeError for one that nothing here computes with */
export function elementType(who: string, code: number): ElementType {
  const type = CODES[code];
  if (type === undefined)
    throw new DTypeError(`${who}: element type ${code} of ONNX is not known here; known: ${Object.values(CODES).join(", ")}`);
  return type;
}

/** The code of a type. */
export const codeOf = (type: ElementType): number => Number(Object.keys(CODES).find((code) => CODES[Number(code)] === type));

/** What an integer type holds. */
export interface IntegerRange {
  readonly bits: number;
  readonly least: number;
  readonly most: number;
}

const range = (bits: number, signed: boolean): IntegerRange =>
  signed ? { bits, least: -(2 ** (bits - 1)), most: 2 ** (bits - 1) - 1 } : { bits, least: 0, most: 2 ** bits - 1 };

/** Ranges of the integer types. */
export const INTEGERS: { readonly [type: string]: IntegerRange | undefined } = {
  uint2: range(2, false),
  int2: range(2, true),
  uint4: range(4, false),
  int4: range(4, true),
  uint8: range(8, false),
  int8: range(8, true),
  uint16: range(16, false),
  int16: range(16, true),
  uint32: range(32, false),
  int32: range(32, true),
  uint64: range(64, false),
  int64: range(64, true),
};

export const isFloat = (type: ElementType): boolean => /float/.test(type);

/** Bits of an element; 0 for strings. */
export function bitsOf(type: ElementType): number {
  if (type === "bool") return 8;
  if (!isFloat(type)) return INTEGERS[type]?.bits ?? 0;
  return type === "bfloat16" ? 16 : Number(/float(\d+)/.exec(type)?.[1]);
}

/**
 * What elements compute as: floats of any width as f32, integers as i32 (64 bits too: values are checked where they come in), 32 and 64
 * unsigned bits as u32. @throws DTypeError for strings
 */
export function dtypeOf(who: string, type: ElementType): DType {
  if (type === "string") throw new DTypeError(`${who}: strings are not computed with`);
  if (type === "bool") return "bool";
  if (isFloat(type)) return "f32";
  return type === "uint32" || type === "uint64" ? "u32" : "i32";
}

/** The type that a tensor of one's own is taken for. */
export const typeOf = (dtype: DType): ElementType => ({ f32: "float32", i32: "int32", u32: "uint32", bool: "bool" })[dtype] as ElementType;

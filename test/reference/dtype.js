/** @file Element types over float64 values: f32 is any number (unrounded), i32 and u32 are exact integers, bool is 0 or 1. */

const I32 = { min: -(2 ** 31), max: 2 ** 31 - 1 };
const U32 = { min: 0, max: 2 ** 32 - 1 };

/** An integer of any size taken modulo 2^32 into the range of i32 or u32. */
export const wrap = (value, dtype) => (dtype === "u32" ? value >>> 0 : value | 0);

/** Truncation toward zero, clamped to the range; NaN gives 0 (as WASM's saturating truncation). */
function truncate(value, { min, max }) {
  if (Number.isNaN(value)) return 0;
  return Math.min(Math.max(Math.trunc(value), min), max) + 0;
}

/** The value of element type `from` as an element of type `to`. */
export function convert(value, from, to) {
  if (to === "bool") return value !== 0 ? 1 : 0;
  if (to === "f32") return value;
  if (from === "f32") return truncate(value, to === "u32" ? U32 : I32);
  return wrap(value, to);
}

/** A number written in a plan (a constant, padding, fill) as an element of type `dtype`. */
export function constantOf(value, dtype) {
  if (dtype === "bool") return value !== 0 ? 1 : 0;
  return dtype === "f32" ? value : wrap(value, dtype);
}

/** A float64 array as the four-byte elements that a backend would hold. */
export function encode(values, dtype) {
  switch (dtype) {
    case "f32":
      return Float32Array.from(values);
    case "i32":
      return Int32Array.from(values);
    case "u32":
    case "bool":
      return Uint32Array.from(values);
    default:
      throw new Error(`internal: no dtype "${dtype}"`);
  }
}

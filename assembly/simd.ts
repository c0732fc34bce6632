/**
 * @file The only file that knows plain from relaxed SIMD. `madd(a, b, c)` = a * b + c: one rounding where the build
 * has relaxed SIMD and the machine has FMA, two otherwise. Write `acc = madd(x, y, acc)` and let the old acc die
 * there: V8 then needs no move.
 */

// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** c - a * b, rounded as `madd` is. */
// @ts-ignore: decorator
@inline
export function msub(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_nmadd(a, b, c);
  return f32x4.sub(c, f32x4.mul(a, b));
}

/** c + products of 16-bit lanes, added up in pairs: exact as long as the sums fit 32 bits. */
// @ts-ignore: decorator
@inline
export function dot16(a: v128, b: v128, c: v128): v128 {
  return i32x4.add(c, i32x4.dot_i16x8_s(a, b));
}

/** Whether the build has `dot8`. */
export const DOT8: bool = ASC_FEATURE_RELAXED_SIMD;

/** c + products of 8-bit lanes, added up in fours. Lanes of b are 0 to 127: then every machine gives the exact sums. */
// @ts-ignore: decorator
@inline
export function dot8(a: v128, b: v128, c: v128): v128 {
  if (DOT8) return i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c);
  return unreachable();
}

/** `dot8` for machines where it is not one instruction, with `ones` in all lanes of 16 bits: V8 would make these anew each time. */
// @ts-ignore: decorator
@inline
export function slowDot8(a: v128, b: v128, ones: v128, c: v128): v128 {
  if (DOT8) return dot16(i16x8.relaxed_dot_i8x16_i7x16_s(a, b), ones, c);
  return unreachable();
}

/**
 * Whether `dot8` is one instruction here. Where it is several, sums of two products end at 2^15, which lanes of b above 127 show; results
 * are the same.
 */
export function fastDot8(): bool {
  return DOT8 && i32x4.extract_lane(dot8(i8x16.splat(127), i8x16.splat(-1), i32x4.splat(0)), 0) != 65534;
}

/** Largest of each lane; when either is NaN the result is b. One instruction on x64 and arm64. */
// @ts-ignore: decorator
@inline
export function vmax(a: v128, b: v128): v128 {
  return f32x4.pmax(b, a);
}

// @ts-ignore: decorator
@inline
export function vmin(a: v128, b: v128): v128 {
  return f32x4.pmin(b, a);
}

/** Sum of the four lanes as (0 + 2) + (1 + 3). */
// @ts-ignore: decorator
@inline
export function hsum(v: v128): f32 {
  const s = f32x4.add(v, i32x4.shuffle(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 1);
}

/** Stores the first `n` (1 to 3) lanes. Reading past a tensor's end is legal (allocations are padded), writing is not. */
// @ts-ignore: decorator
@inline
export function storeTail(p: usize, v: v128, n: u32): void {
  v128.store32_lane(p, v, 0);
  if (n > 1) v128.store32_lane(p, v, 1, 4);
  if (n > 2) v128.store32_lane(p, v, 2, 8);
}

/** Stores the first `n` lanes, all four when n > 4. */
// @ts-ignore: decorator
@inline
export function storeUpTo(p: usize, v: v128, n: u32): void {
  if (n >= 4) v128.store(p, v);
  else storeTail(p, v, n);
}

/** Lanes below `n` set to all ones, the rest zero. */
// @ts-ignore: decorator
@inline
export function tailMask(n: u32): v128 {
  return i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(<i32>n));
}

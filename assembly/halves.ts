/** @file Keys and values as f16, two in a word: how scatterUpdate writes them and attention reads them. */
import { vmin } from "./simd";

/** The bits of the f16 nearest to x, of two equally near the even one; beyond 65504 infinity. */
function halfOf(x: f32): u32 {
  const bits = reinterpret<u32>(x);
  const sign = (bits >> 16) & 0x8000;
  const size = bits & 0x7fffffff;
  if (size > 0x477fe000) return sign | (size > 0x7f800000 ? 0x7e00 : 0x7c00);
  // Below the normal ones: of numbers from 0.5 on the last place is that of the least f16.
  if (size < 0x38800000) return sign | (reinterpret<u32>(reinterpret<f32>(size) + 0.5) - 0x3f000000);
  return sign | ((size - 0x38000000 + 0xfff + ((size >> 13) & 1)) >> 13);
}

/** to[n] words = from[2 n] f32. */
export function narrow(to: usize, from: usize, n: u32): void {
  for (const end = to + ((<usize>n) << 2); to < end; to += 4, from += 8) {
    store<u32>(to, halfOf(load<f32>(from)) | (halfOf(load<f32>(from, 4)) << 16));
  }
}

/**
 * to[rows, n] = the f16 of `rows` rows, a multiple of four in each, `step` bytes apart, as f32. Exponents go up by 224, where those of
 * infinity and NaN are what they are in f32, and down by a multiplication; below the normal f16 the leading bit that this assumes is too
 * much (see `half` in packed/halves.ts).
 */
export function widen(to: usize, from: usize, step: usize, rows: u32, n: u32): void {
  const mask = i32x4.splat(0x0fffe000);
  const up = i32x4.splat(0x70000000);
  const down = f32x4.splat(1.925929944387236e-34);
  const normal = f32x4.splat(6.103515625e-5);
  const nothing = f32x4.splat(0);
  const bytes = (<usize>n) << 2;
  for (; rows; rows--, from += step) {
    let p = from;
    for (const end = to + bytes; to < end; to += 16, p += 8) {
      const x = v128.load16x4_s(p);
      const size = f32x4.mul(i32x4.add(v128.and(i32x4.shl(x, 13), mask), up), down);
      const exact = f32x4.add(size, vmin(f32x4.sub(size, normal), nothing));
      v128.store(to, v128.or(exact, v128.and(x, i32x4.splat(0x80000000))));
    }
  }
}

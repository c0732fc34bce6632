/**
 * @file Pairs of features turned by the angle of their position. x and y are [outer, time, heads, dim], cos and sin [time, half].
 *
 * rotary      x, cos, sin, y, rows, time, heads, dim, half, neighbours, back, rowsPerPiece
 *             rows = outer * time * heads; a piece is a run of rows. With `neighbours` pairs are (2i, 2i + 1), else (i, i + half);
 *             features behind the first 2 half are copied. `back`: by the negative angle.
 */
import { copyWords } from "./move";
import { madd, msub, storeUpTo } from "./simd";

/** The first of a turned pair. */
// @ts-ignore: decorator
@inline
function first(a: v128, b: v128, c: v128, s: v128): v128 {
  return msub(b, s, f32x4.mul(a, c));
}

// @ts-ignore: decorator
@inline
function second(a: v128, b: v128, c: v128, s: v128): v128 {
  return madd(a, s, f32x4.mul(b, c));
}

export function rotary(c: usize, piece: u32, scratch: usize): void {
  const x = <usize>load<u32>(c);
  const cos = <usize>load<u32>(c, 4);
  const sin = <usize>load<u32>(c, 8);
  const y = <usize>load<u32>(c, 12);
  const rows = load<u32>(c, 16);
  const time = load<u32>(c, 20);
  const heads = load<u32>(c, 24);
  const dim = load<u32>(c, 28);
  const half = load<u32>(c, 32);
  const neighbours = load<u32>(c, 36);
  const perPiece = load<u32>(c, 44);
  const sign = f32x4.splat(load<u32>(c, 40) ? -1 : 1);
  const last = min(rows, (piece + 1) * perPiece);
  for (let row = piece * perPiece; row < last; row++) {
    const t = (row / heads) % time;
    const from = x + ((row * dim) << 2);
    const to = y + ((row * dim) << 2);
    const cs = cos + ((t * half) << 2);
    const sn = sin + ((t * half) << 2);
    if (neighbours) {
      for (let i: u32 = 0; i < half; i += 4) {
        const n = half - i;
        const p = from + (i << 3);
        const q = to + (i << 3);
        const u = v128.load(p);
        const v = v128.load(p, 16);
        const a = i32x4.shuffle(u, v, 0, 2, 4, 6);
        const b = i32x4.shuffle(u, v, 1, 3, 5, 7);
        const co = v128.load(cs + (i << 2));
        const si = f32x4.mul(v128.load(sn + (i << 2)), sign);
        const d = first(a, b, co, si);
        const e = second(a, b, co, si);
        storeUpTo(q, i32x4.shuffle(d, e, 0, 4, 1, 5), n << 1);
        if (n > 2) storeUpTo(q + 16, i32x4.shuffle(d, e, 2, 6, 3, 7), (n - 2) << 1);
      }
    } else {
      const over = half << 2;
      for (let i: u32 = 0; i < half; i += 4) {
        const n = half - i;
        const p = from + (i << 2);
        const q = to + (i << 2);
        const a = v128.load(p);
        const b = v128.load(p + over);
        const co = v128.load(cs + (i << 2));
        const si = f32x4.mul(v128.load(sn + (i << 2)), sign);
        storeUpTo(q, first(a, b, co, si), n);
        storeUpTo(q + over, second(a, b, co, si), n);
      }
    }
    const rest = dim - (half << 1);
    if (rest > 0) copyWords(to + (half << 3), from + (half << 3), rest);
  }
}

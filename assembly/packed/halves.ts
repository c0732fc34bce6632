/**
 * @file Weights of 16 bits, f16 and bf16, rows [n, k] as they are.
 *
 * packedDots   0 a  1 W  2 bias?  3 y  4 m  5 n  6 k  7 whether bf16  8 columns of a piece  9 activation
 *     y[m, n] = activation(a W^T + bias) for few rows: dot products, since every weight is used only m times. A piece is a run of columns.
 *
 * f16 to f32: a multiplication that takes numbers below the normal ones, or gives them, costs x64 100 cycles, and such weights are common.
 * So exponents go up by 224, where those of infinity and NaN are what they are in f32, and down by a multiplication. Below the normal f16
 * the leading bit that this assumes is too much: it gives numbers from 2^-15 to 2^-14, too large by their distance to 2^-14.
 */
import { epilogue } from "../epilogue";
import { dots } from "../matmul";
import { hsum, madd, storeUpTo, tailMask, vmin } from "../simd";

/** Columns that a product of one row takes at once, each far from the next: memory gives streams of their own more. */
const STREAMS: u32 = 4;
/** k's of four columns that are widened at once for several rows. */
const CHUNK: u32 = 1024;

/** Where `openHalves` puts constants: V8 makes those in code anew at each use, with three instructions. */
const MASK: usize = 16;
const UP: usize = 32;
const DOWN: usize = 48;
const NORMAL: usize = 64;
const SIGN: usize = 80;
const KEPT: usize = 96;
const BIAS: usize = 112;
/** Free from here on. */
export const HALVES_SCRATCH: usize = 128;

/** Writes the constants of `half`. */
export function openHalves(scratch: usize): void {
  v128.store(scratch, i32x4.splat(0x0fffe000), MASK);
  v128.store(scratch, i32x4.splat(0x70000000), UP);
  v128.store(scratch, f32x4.splat(1.925929944387236e-34), DOWN);
  v128.store(scratch, f32x4.splat(6.103515625e-5), NORMAL);
  v128.store(scratch, i32x4.splat(0x80000000), SIGN);
  v128.store(scratch, i16x8.splat(<i16>0x8fff), KEPT);
  v128.store(scratch, i16x8.splat(0x3800), BIAS);
}

/** Four f16, which have their sign in the upper half of a lane too, as f32. */
// @ts-ignore: decorator
@inline
function half(x: v128, mask: v128, up: v128, down: v128, normal: v128, sign: v128): v128 {
  const n = f32x4.mul(i32x4.add(v128.and(i32x4.shl(x, 13), mask), up), down);
  return v128.or(f32x4.add(n, vmin(f32x4.sub(n, normal), f32x4.splat(0))), v128.and(x, sign));
}

/** Four elements at `p`. */
// @ts-ignore: decorator
@inline
function four(brain: bool, p: usize, mask: v128, up: v128, down: v128, normal: v128, sign: v128): v128 {
  return brain ? i32x4.shl(v128.load16x4_u(p), 16) : half(v128.load16x4_s(p), mask, up, down, normal, sign);
}

/** One f16 in all lanes. */
export function splatHalf(p: usize, s: usize): v128 {
  return half(
    i32x4.splat(load<i16>(p)),
    v128.load(s, MASK),
    v128.load(s, UP),
    v128.load(s, DOWN),
    v128.load(s, NORMAL),
    v128.load(s, SIGN),
  );
}

// @ts-ignore: decorator
@inline
function widenAs(brain: bool, to: usize, from: usize, n: u32, scratch: usize): void {
  const mask = v128.load(scratch, MASK);
  const up = v128.load(scratch, UP);
  const down = v128.load(scratch, DOWN);
  const normal = v128.load(scratch, NORMAL);
  const sign = v128.load(scratch, SIGN);
  for (; n >= 4; n -= 4, to += 16, from += 8) v128.store(to, four(brain, from, mask, up, down, normal, sign));
  if (n) storeUpTo(to, four(brain, from, mask, up, down, normal, sign), n);
}

/** to[n] = the f16, or bf16, at `from`. */
export function widen(to: usize, from: usize, n: u32, brain: bool, scratch: usize): void {
  if (brain) widenAs(true, to, from, n, scratch);
  else widenAs(false, to, from, n, scratch);
}

/**
 * The same of scales of weights: f16, a multiple of four of them; up to four more may be written. Normal numbers are f32 when their bits
 * are moved and the exponent is counted from where f32 does; where there are others, all are made anew.
 */
export function widenScales(to: usize, from: usize, n: u32, scratch: usize): void {
  const kept = v128.load(scratch, KEPT);
  const bias = v128.load(scratch, BIAS);
  let p = from;
  let most = i32x4.splat(0);
  let least = i32x4.splat(-1);
  let q = to;
  for (const end = to + n * 4; q < end; q += 32, p += 16) {
    const x = v128.load(p);
    const upper = i16x8.add(v128.and(i16x8.shr_s(x, 3), kept), bias);
    const lower = i16x8.shl(x, 13);
    const size = i16x8.shl(x, 1);
    most = i16x8.max_u(most, size);
    least = i16x8.min_u(least, size);
    v128.store(q, v128.shuffle<i16>(lower, upper, 0, 8, 1, 9, 2, 10, 3, 11));
    v128.store(q, v128.shuffle<i16>(lower, upper, 4, 12, 5, 13, 6, 14, 7, 15), 16);
  }
  const others = v128.or(i16x8.ge_u(most, i16x8.splat(<i16>0xf800)), i16x8.lt_u(least, i16x8.splat(0x800)));
  if (v128.any_true(others)) widen(to, from, n, false, scratch);
}

export function packedDots(c: usize, piece: u32, scratch: usize): void {
  const m = load<u32>(c, 16);
  const n = load<u32>(c, 20);
  const k = load<u32>(c, 24);
  const brain = load<u32>(c, 28);
  const perPiece = load<u32>(c, 32);
  const activation = load<u32>(c, 36);
  const first = piece * perPiece;
  const columns = min(perPiece, n - first);
  const w: usize = load<u32>(c, 4) + first * k * 2;
  const y: usize = load<u32>(c, 12) + first * 4;
  let bias: usize = load<u32>(c, 8);
  if (bias) bias += first * 4;
  openHalves(scratch);
  if (m == 1) {
    if (brain) multiplyRow(true, load<u32>(c), w, bias, y, columns, k, scratch);
    else multiplyRow(false, load<u32>(c), w, bias, y, columns, k, scratch);
  } else multiplyRows(load<u32>(c), w, bias, y, n, m, columns, k, brain != 0, scratch);
  if (activation) epilogue(y, n * 4, m, columns, activation);
}

/** Several rows: weights are made f32 once for all. */
function multiplyRows(a: usize, w: usize, bias: usize, y: usize, n: u32, m: u32, columns: u32, k: u32, brain: bool, scratch: usize): void {
  const p = scratch + HALVES_SCRATCH;
  for (let column: u32 = 0; column < columns; column += 4) {
    const wide = min(4, columns - column);
    const start = bias ? v128.load(bias + column * 4) : f32x4.splat(0);
    for (let from: u32 = 0; from < k; from += CHUNK) {
      const size = min(CHUNK, k - from);
      for (let i: u32 = 0; i < wide; i++) widen(p + i * CHUNK * 4, w + ((column + i) * k + from) * 2, size, brain, scratch);
      let to = y + column * 4;
      for (let row: u32 = 0; row < m; row++, to += n * 4) {
        const sums = dots(a + (row * k + from) * 4, p, p + CHUNK * 4, p + CHUNK * 8, p + CHUNK * 12, size);
        storeUpTo(to, f32x4.add(from ? v128.load(to) : start, sums), wide);
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function multiplyRow(brain: bool, a: usize, w: usize, bias: usize, y: usize, columns: u32, k: u32, scratch: usize): void {
  const mask = v128.load(scratch, MASK);
  const up = v128.load(scratch, UP);
  const down = v128.load(scratch, DOWN);
  const normal = v128.load(scratch, NORMAL);
  const sign = v128.load(scratch, SIGN);
  const length = (columns + STREAMS - 1) / STREAMS;
  // Where there are not enough for all streams, some are computed twice.
  const far = columns - length;
  const c1 = min(length, far);
  const c2 = min(2 * length, far);
  const c3 = min(3 * length, far);
  const rest = k & 3;
  const tail = tailMask(rest);
  for (let i: u32 = 0; i < length; i++, w += k * 2, y += 4) {
    let p0 = w;
    let p1 = w + c1 * k * 2;
    let p2 = w + c2 * k * 2;
    let p3 = w + c3 * k * 2;
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let p = a;
    for (const end = a + (k - rest) * 4; p != end; p += 16, p0 += 8, p1 += 8, p2 += 8, p3 += 8) {
      const x = v128.load(p);
      s0 = madd(x, four(brain, p0, mask, up, down, normal, sign), s0);
      s1 = madd(x, four(brain, p1, mask, up, down, normal, sign), s1);
      s2 = madd(x, four(brain, p2, mask, up, down, normal, sign), s2);
      s3 = madd(x, four(brain, p3, mask, up, down, normal, sign), s3);
    }
    if (rest) {
      const x = v128.and(tail, v128.load(p));
      s0 = madd(x, v128.and(tail, four(brain, p0, mask, up, down, normal, sign)), s0);
      s1 = madd(x, v128.and(tail, four(brain, p1, mask, up, down, normal, sign)), s1);
      s2 = madd(x, v128.and(tail, four(brain, p2, mask, up, down, normal, sign)), s2);
      s3 = madd(x, v128.and(tail, four(brain, p3, mask, up, down, normal, sign)), s3);
    }
    put(y, bias, i, s0);
    put(y + c1 * 4, bias, i + c1, s1);
    put(y + c2 * 4, bias, i + c2, s2);
    put(y + c3 * 4, bias, i + c3, s3);
  }
}

function put(y: usize, bias: usize, column: u32, sums: v128): void {
  store<f32>(y, hsum(sums) + (bias ? load<f32>(bias + column * 4) : 0));
}

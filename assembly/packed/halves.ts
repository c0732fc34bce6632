/**
 * @file Weights of 16 bits, f16 and bf16, rows [n, k] as they are.
 *
 * packedDots   0 a  1 W  2 bias?  3 y  4 m  5 n  6 k  7 whether bf16  8 columns of a piece  9 activation
 *     y[m, n] = activation(a W^T + bias) for few rows: dot products, since every weight is used only m times. A piece is a run of columns.
 *
 * A normal f16 is an f32 when its bits are moved and the exponent is counted from where f32 does. Eight are moved at once, as 16-bit lanes;
 * where one of some is not normal, zero for example, these are made anew (`half`).
 */
import { epilogue } from "../epilogue";
import { dots } from "../matmul";
import { madd, storeUpTo, tailMask, vmin } from "../simd";

/** Columns that are taken at once, each far from the next: memory gives streams of their own more. */
const STREAMS: u32 = 4;
/** k's of these columns that are widened at once for several rows, and the bytes between columns then: no power of two, by caches' sets. */
const CHUNK: u32 = 1024;
const COLUMN: usize = 4352;
/** Elements that are made anew together. */
const BLOCK: u32 = 32;

/** Where `openHalves` puts constants: V8 makes those in code anew at each use, with three instructions. */
const KEPT: usize = 16;
const BIAS: usize = 32;
const LEAST: usize = 48;
const OTHER: usize = 64;
const MASK: usize = 80;
const UP: usize = 96;
const DOWN: usize = 112;
const NORMAL: usize = 128;
const SIGN: usize = 144;
/** Free from here on. */
export const HALVES_SCRATCH: usize = 192;

/** Writes the constants of `widen`. */
export function openHalves(scratch: usize): void {
  v128.store(scratch, i16x8.splat(<i16>0x8fff), KEPT);
  v128.store(scratch, i16x8.splat(0x3800), BIAS);
  v128.store(scratch, i16x8.splat(0x800), LEAST);
  v128.store(scratch, i16x8.splat(<i16>0xf000), OTHER);
  v128.store(scratch, i32x4.splat(0x0fffe000), MASK);
  v128.store(scratch, i32x4.splat(0x70000000), UP);
  v128.store(scratch, f32x4.splat(1.925929944387236e-34), DOWN);
  v128.store(scratch, f32x4.splat(6.103515625e-5), NORMAL);
  v128.store(scratch, i32x4.splat(0x80000000), SIGN);
}

/**
 * Four f16 of any kind, which have their sign in the upper half of a lane too, as f32. A multiplication that takes numbers below the normal
 * ones, or gives them, costs x64 100 cycles, and such weights are common. So exponents go up by 224, where those of infinity and NaN are
 * what they are in f32, and down by a multiplication. Below the normal f16 the leading bit that this assumes is too much: it gives numbers
 * from 2^-15 to 2^-14, too large by their distance to 2^-14.
 */
// @ts-ignore: decorator
@inline
function half(x: v128, scratch: usize): v128 {
  const up = i32x4.add(v128.and(i32x4.shl(x, 13), v128.load(scratch, MASK)), v128.load(scratch, UP));
  const n = f32x4.mul(up, v128.load(scratch, DOWN));
  const size = f32x4.add(n, vmin(f32x4.sub(n, v128.load(scratch, NORMAL)), f32x4.splat(0)));
  return v128.or(size, v128.and(x, v128.load(scratch, SIGN)));
}

// @ts-ignore: decorator
@inline
function halfFour(p: usize, scratch: usize): v128 {
  return half(v128.load16x4_s(p), scratch);
}

/** One f16 in all lanes. */
export function splatHalf(p: usize, scratch: usize): v128 {
  return half(i32x4.splat(load<i16>(p)), scratch);
}

/** to[n] = the elements at `from`, of any kind. */
function widenAny(brain: bool, to: usize, from: usize, n: u32, scratch: usize): void {
  for (const end = to + n * 4; to < end; to += 16, from += 8) {
    storeUpTo(to, brain ? i32x4.shl(v128.load16x4_u(from), 16) : halfFour(from, scratch), <u32>(end - to) / 4);
  }
}

/** The lower and the upper halves of eight elements as f32, of which f16 are normal numbers. */
// @ts-ignore: decorator
@inline
function lower(brain: bool, x: v128): v128 {
  return brain ? i32x4.splat(0) : i16x8.shl(x, 13);
}

// @ts-ignore: decorator
@inline
function upper(brain: bool, x: v128, kept: v128, bias: v128): v128 {
  return brain ? x : i16x8.add(v128.and(i16x8.shr_s(x, 3), kept), bias);
}

/** Four of eight f32, of their halves. */
// @ts-ignore: decorator
@inline
function first(lower: v128, upper: v128): v128 {
  return v128.shuffle<i16>(lower, upper, 0, 8, 1, 9, 2, 10, 3, 11);
}

// @ts-ignore: decorator
@inline
function second(lower: v128, upper: v128): v128 {
  return v128.shuffle<i16>(lower, upper, 4, 12, 5, 13, 6, 14, 7, 15);
}

/** Twice the sizes of eight f16 less that of the least normal one, so that those of others are `other` or more. */
// @ts-ignore: decorator
@inline
function sizes(x: v128, least: v128): v128 {
  return i16x8.sub(i16x8.shl(x, 1), least);
}

/** Whether any is. */
// @ts-ignore: decorator
@inline
function any(sizes: v128, other: v128): bool {
  return v128.any_true(i16x8.eq(i16x8.max_u(sizes, other), sizes));
}

// @ts-ignore: decorator
@inline
function widenAs(brain: bool, to: usize, from: usize, n: u32, scratch: usize): void {
  const kept = v128.load(scratch, KEPT);
  const bias = v128.load(scratch, BIAS);
  const least = v128.load(scratch, LEAST);
  const other = v128.load(scratch, OTHER);
  while (n >= 8) {
    const count = min(n & ~7, BLOCK);
    let most = i32x4.splat(0);
    for (const end = from + count * 2; from != end; from += 16, to += 32) {
      const x = v128.load(from);
      const l = lower(brain, x);
      const u = upper(brain, x, kept, bias);
      if (!brain) most = i16x8.max_u(most, sizes(x, least));
      v128.store(to, first(l, u));
      v128.store(to, second(l, u), 16);
    }
    if (!brain && any(most, other)) widenAny(brain, to - count * 4, from - count * 2, count, scratch);
    n -= count;
  }
  widenAny(brain, to, from, n, scratch);
}

/** to[n] = the f16, or bf16, at `from`. */
export function widen(to: usize, from: usize, n: u32, brain: bool, scratch: usize): void {
  if (brain) widenAs(true, to, from, n, scratch);
  else widenAs(false, to, from, n, scratch);
}

export function packedDots(c: usize, piece: u32, scratch: usize): void {
  const n = load<u32>(c, 20);
  const k = load<u32>(c, 24);
  const perPiece = load<u32>(c, 32);
  const activation = load<u32>(c, 36);
  const begin = piece * perPiece;
  const columns = min(perPiece, n - begin);
  const y: usize = load<u32>(c, 12) + begin * 4;
  openHalves(scratch);
  const length = (columns + STREAMS - 1) / STREAMS;
  // Where there are not enough for all streams, some are computed twice.
  const far = columns - length;
  const c1 = min(length, far);
  const c2 = min(2 * length, far);
  const c3 = min(3 * length, far);
  for (let i: u32 = 0; i < length; i++) multiply(c, begin + i, begin + i + c1, begin + i + c2, begin + i + c3, k, scratch);
  if (activation) epilogue(y, n * 4, load<u32>(c, 16), columns, activation);
}

/** Columns c0 to c3 of y. */
function multiply(c: usize, c0: u32, c1: u32, c2: u32, c3: u32, k: u32, scratch: usize): void {
  const w: usize = load<u32>(c, 4);
  const bias: usize = load<u32>(c, 8);
  const m = load<u32>(c, 16);
  const step = load<u32>(c, 20) * 4;
  const brain = load<u32>(c, 28) != 0;
  const wide = scratch + HALVES_SCRATCH;
  const sums = wide + STREAMS * COLUMN;
  const chunk = m == 1 ? k : CHUNK;
  for (let from: u32 = 0; from < k; from += chunk) {
    const size = min(chunk, k - from);
    const p0 = w + (c0 * k + from) * 2;
    const p1 = w + (c1 * k + from) * 2;
    const p2 = w + (c2 * k + from) * 2;
    const p3 = w + (c3 * k + from) * 2;
    let a = load<u32>(c) + from * 4;
    let y: usize = load<u32>(c, 12);
    if (m == 1) {
      put(y, bias, c0, c1, c2, c3, brain ? brainRow(a, p0, p1, p2, p3, k, scratch) : halfRow(a, p0, p1, p2, p3, k, scratch));
      return;
    }
    widen(wide, p0, size, brain, scratch);
    widen(wide + COLUMN, p1, size, brain, scratch);
    widen(wide + 2 * COLUMN, p2, size, brain, scratch);
    widen(wide + 3 * COLUMN, p3, size, brain, scratch);
    for (let rows = m; rows; a += k * 8) {
      const both = min(rows, 2);
      twoRows(a, (both - 1) * k * 4, wide, size, sums);
      for (let s = sums; s != sums + both * 16; s += 16, y += step) put(y, from ? y : bias, c0, c1, c2, c3, v128.load(s));
      rows -= both;
    }
  }
}

/** Four sums into a row of y, added to what is at `start`, if anything is. Columns may be the same. */
function put(y: usize, start: usize, c0: u32, c1: u32, c2: u32, c3: u32, sums: v128): void {
  if (start) {
    let begin = v128.load32_zero(start + c0 * 4);
    begin = v128.load32_lane(start + c1 * 4, begin, 1);
    begin = v128.load32_lane(start + c2 * 4, begin, 2);
    begin = v128.load32_lane(start + c3 * 4, begin, 3);
    sums = f32x4.add(begin, sums);
  }
  v128.store32_lane(y + c0 * 4, sums, 0);
  v128.store32_lane(y + c1 * 4, sums, 1);
  v128.store32_lane(y + c2 * 4, sums, 2);
  v128.store32_lane(y + c3 * 4, sums, 3);
}

/** Two rows of `k` elements, at `a` and `next` bytes on, times four columns at `w`: sums of products, to `sums`. */
function twoRows(a: usize, next: usize, w: usize, k: u32, sums: usize): void {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let t0 = s0;
  let t1 = s0;
  let t2 = s0;
  let t3 = s0;
  for (; k >= 4; k -= 4, a += 16, w += 16) {
    const x = v128.load(a);
    const z = v128.load(a + next);
    let v = v128.load(w);
    s0 = madd(x, v, s0);
    t0 = madd(z, v, t0);
    v = v128.load(w, COLUMN);
    s1 = madd(x, v, s1);
    t1 = madd(z, v, t1);
    v = v128.load(w, 2 * COLUMN);
    s2 = madd(x, v, s2);
    t2 = madd(z, v, t2);
    v = v128.load(w, 3 * COLUMN);
    s3 = madd(x, v, s3);
    t3 = madd(z, v, t3);
  }
  let s = lanes(s0, s1, s2, s3);
  let t = lanes(t0, t1, t2, t3);
  if (k) {
    s = f32x4.add(s, dots(a, w, w + COLUMN, w + 2 * COLUMN, w + 3 * COLUMN, k));
    t = f32x4.add(t, dots(a + next, w, w + COLUMN, w + 2 * COLUMN, w + 3 * COLUMN, k));
  }
  v128.store(sums, s);
  v128.store(sums, t, 16);
}

/** The sums of the lanes of four vectors. */
function lanes(s0: v128, s1: v128, s2: v128, s3: v128): v128 {
  const u = f32x4.add(v128.shuffle<i32>(s0, s1, 0, 4, 1, 5), v128.shuffle<i32>(s0, s1, 2, 6, 3, 7));
  const v = f32x4.add(v128.shuffle<i32>(s2, s3, 0, 4, 1, 5), v128.shuffle<i32>(s2, s3, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<i64>(u, v, 0, 2), v128.shuffle<i64>(u, v, 1, 3));
}

/** One row of `k` elements at `a` times those at each w: four sums of products. */
// @ts-ignore: decorator
@inline
function row(brain: bool, a: usize, w0: usize, w1: usize, w2: usize, w3: usize, k: u32, scratch: usize): v128 {
  const kept = v128.load(scratch, KEPT);
  const bias = v128.load(scratch, BIAS);
  const least = v128.load(scratch, LEAST);
  const other = v128.load(scratch, OTHER);
  const wide = scratch + HALVES_SCRATCH;
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (; k >= 8; k -= 8, a += 32, w0 += 16, w1 += 16, w2 += 16, w3 += 16) {
    const x = v128.load(a);
    const z = v128.load(a, 16);
    const v0 = v128.load(w0);
    const v1 = v128.load(w1);
    const v2 = v128.load(w2);
    const v3 = v128.load(w3);
    if (!brain) {
      const most = i16x8.max_u(i16x8.max_u(sizes(v0, least), sizes(v1, least)), i16x8.max_u(sizes(v2, least), sizes(v3, least)));
      if (any(most, other)) {
        s0 = madd(z, halfFour(w0 + 8, scratch), madd(x, halfFour(w0, scratch), s0));
        s1 = madd(z, halfFour(w1 + 8, scratch), madd(x, halfFour(w1, scratch), s1));
        s2 = madd(z, halfFour(w2 + 8, scratch), madd(x, halfFour(w2, scratch), s2));
        s3 = madd(z, halfFour(w3 + 8, scratch), madd(x, halfFour(w3, scratch), s3));
        continue;
      }
    }
    s0 = eight(brain, x, z, v0, kept, bias, s0);
    s1 = eight(brain, x, z, v1, kept, bias, s1);
    s2 = eight(brain, x, z, v2, kept, bias, s2);
    s3 = eight(brain, x, z, v3, kept, bias, s3);
  }
  const sums = lanes(s0, s1, s2, s3);
  if (!k) return sums;
  widenRow(brain, wide, w0, w1, w2, w3, k, scratch);
  return f32x4.add(sums, dots(a, wide, wide + 32, wide + 64, wide + 96, k));
}

// @ts-ignore: decorator
@inline
function eight(brain: bool, x: v128, z: v128, w: v128, kept: v128, bias: v128, sum: v128): v128 {
  const l = lower(brain, w);
  const u = upper(brain, w, kept, bias);
  return madd(z, second(l, u), madd(x, first(l, u), sum));
}

/** Up to eight elements at each w, in 32 bytes each. */
function widenRow(brain: bool, to: usize, w0: usize, w1: usize, w2: usize, w3: usize, n: u32, scratch: usize): void {
  widenAny(brain, to, w0, n, scratch);
  widenAny(brain, to + 32, w1, n, scratch);
  widenAny(brain, to + 64, w2, n, scratch);
  widenAny(brain, to + 96, w3, n, scratch);
}

function brainRow(a: usize, w0: usize, w1: usize, w2: usize, w3: usize, k: u32, scratch: usize): v128 {
  return row(true, a, w0, w1, w2, w3, k, scratch);
}
function halfRow(a: usize, w0: usize, w1: usize, w2: usize, w3: usize, k: u32, scratch: usize): v128 {
  return row(false, a, w0, w1, w2, w3, k, scratch);
}

/**
 * @file Scaled dot-product attention and its gradient (what they compute stands in src/plan/kernels.ts): what their ways have in common.
 * attention/forward.ts has tiles of queries, attention/rows.ts few queries as in decoding, attention/grad.ts the gradient.
 *
 * All begin with
 *   0 b  1 tq  2 tk  3 heads  4 kvHeads  5 dim  6 valueDim  7 scale  8 causal  9 window  10 offset
 *   11 mask?  12 offset?  13 lengths?  14 key?  15 whether the mask is bool  16 .. 19 the mask's strides
 *   20 words >> 8 below this are kept  21 factor of what is kept  22 stream
 */
import { EXP } from "./constants";
import { A_STEP, MR, NR, multiplyTiles, packRows, setTiles } from "./gemm";
import { LN2, LOG2E, ONE, ROUND_BIASED, at, c as constant, log } from "./math";
import { madd, msub, vmax } from "./simd";

/** Offsets count as the nearest number within this distance of 0, so that nothing overflows. */
const FARTHEST: i32 = 1 << 29;

// In scratch: the fields of products, zeros that they begin with, the words that dropout starts from, and blocks of random words.
const ZEROS: usize = 128;
export const SEED: usize = 192;
export const WORDS: usize = 256;
/** Free from here on. */
export const OWN: usize = 512;

// @ts-ignore: decorator
@inline
export function word(c: usize, i: u32): u32 {
  return load<u32>(c + (i << 2));
}

/** The address that word `i` of `c` is, and `elements` further. */
// @ts-ignore: decorator
@inline
export function address(c: usize, i: u32, elements: u32): usize {
  return <usize>load<u32>(c + (i << 2)) + (elements << 2);
}

/** The same of elements of 16 bits. */
// @ts-ignore: decorator
@inline
export function halves(c: usize, i: u32, elements: u32): usize {
  return <usize>load<u32>(c + (i << 2)) + (elements << 1);
}

/** The next multiple of `to`, a power of two. */
// @ts-ignore: decorator
@inline
export function up(n: u32, to: u32): u32 {
  return (n + to - 1) & ~(to - 1);
}

/** The factor of the scores. */
// @ts-ignore: decorator
@inline
export function scaleOf(c: usize): f32 {
  return load<f32>(c, 7 << 2);
}

/** Position of the first query of sequence `b` among the keys. */
export function positionOf(c: usize, b: u32): i32 {
  const given = word(c, 12);
  const offset = <i32>(given ? load<u32>(given + (b << 2)) : word(c, 10));
  return max(-FARTHEST, min(FARTHEST, offset));
}

/** As far as from anywhere to anywhere. */
const ALL: i32 = 1 << 30;

/** How many keys sequence `b` has. */
export function keysOf(c: usize, b: u32): i32 {
  const given = word(c, 13);
  const all = <i32>word(c, 2);
  return given ? min(all, load<i32>(given + (b << 2))) : all;
}

/** The first position behind a query that it does not see, as a distance. */
export function reachOf(c: usize): i32 {
  const window = <i32>word(c, 9);
  return word(c, 8) ? 1 : window ? window : ALL;
}

/** How far back a query sees. */
export function backOf(c: usize): i32 {
  const window = <i32>word(c, 9);
  return window ? window - 1 : ALL;
}

/** One more than the last of `keys` keys that a query at `position` sees. */
// @ts-ignore: decorator
@inline
export function endOf(position: i32, keys: i32, reach: i32): i32 {
  return min(keys, position + reach);
}

/** The first key that a query at `position` sees. */
// @ts-ignore: decorator
@inline
export function startOf(position: i32, back: i32): i32 {
  return max(0, position - back);
}

/** x as a number of `from` and up that is at most `to`. */
// @ts-ignore: decorator
@inline
export function within(x: i32, from: u32, to: u32): u32 {
  return max(<i32>from, min(<i32>to, x));
}

/** exp x for x below about 80, 0 below the normal floats; NaN stays. Errors are 1e-7 and what rounding n ln 2 makes: 1e-7 |x|. */
// @ts-ignore: decorator
@inline
export function power(x: v128): v128 {
  // At the least the scale is 0.
  const z = vmax(f32x4.splat(-88.02969), x);
  const round = constant(ROUND_BIASED);
  const t = madd(z, constant(LOG2E), round);
  const r = msub(f32x4.sub(t, round), constant(LN2), z);
  let q = madd(at(EXP, 0), r, at(EXP, 1));
  q = madd(q, r, at(EXP, 2));
  q = madd(q, r, at(EXP, 3));
  q = madd(q, r, at(EXP, 4));
  q = madd(q, r, constant(ONE));
  q = madd(q, r, constant(ONE));
  return f32x4.mul(q, i32x4.shl(t, 23));
}

/** log(sum of exponentials) of a row of the scores to word 29, if it is there; infinity where nothing was seen. */
export function keepLse(c: usize, row: u32, largest: f32, sum: f32): void {
  if (!word(c, 29)) return;
  store<f32>(address(c, 29, row), sum == 0 ? Infinity : largest + f32x4.extract_lane(log(f32x4.splat(sum)), 0));
}

/** The zeros that products begin with. */
export function open(scratch: usize): void {
  memory.fill(scratch + ZEROS, 0, 64);
}

/**
 * y[rows, cols] = A B, or y + A B where `add`. A has panels of MR rows, `aPanel` bytes apart, with `aStep` bytes between k's; B has
 * panels of NR columns, `bPanel` bytes apart. `ldc` bytes between rows of y.
 */
export function product(
  scratch: usize,
  a: usize,
  aStep: u32,
  aPanel: u32,
  b: usize,
  bPanel: u32,
  y: usize,
  ldc: u32,
  rows: u32,
  cols: u32,
  k: u32,
  add: bool,
): void {
  const tiles = rows / MR;
  const rest = rows - tiles * MR;
  const aRest = a + tiles * aPanel;
  const below = tiles * MR * ldc;
  setTiles(scratch, k, aStep, aPanel, NR * 4, add ? ldc : 0, ldc);
  for (let col: u32 = 0; col < cols; col += NR, b += bPanel, y += NR * 4) {
    const width = min(NR, cols - col);
    if (tiles) multiplyTiles(MR, scratch, tiles, a, b, y, add ? y : scratch + ZEROS, width);
    if (rest) multiplyTiles(rest, scratch, 1, aRest, b, y + below, add ? y + below : scratch + ZEROS, width);
  }
}

/** `rows` rows of `k` elements, `ld` bytes apart, as panels of MR rows. */
export function packA(dst: usize, a: usize, ld: u32, rows: u32, k: u32): void {
  for (let row: u32 = 0; row < rows; row += MR, dst += k * A_STEP) {
    const p = a + row * ld;
    const last = a + (rows - 1) * ld;
    packRows(dst, k, p, min(p + ld, last), min(p + 2 * ld, last), min(p + 3 * ld, last), min(p + 4 * ld, last), min(p + 5 * ld, last));
  }
}

/** `rows` rows of `k` elements, `ld` bytes apart, times `scale`, as panels of which they are the columns. */
export function packColumnsOf(dst: usize, b: usize, ld: u32, rows: u32, k: u32, scale: f32): void {
  const last = b + (rows - 1) * ld;
  for (let row: u32 = 0; row < rows; row += NR, dst += k * NR * 4) {
    const p = b + row * ld;
    turn(dst, k, p, min(p + ld, last), min(p + 2 * ld, last), min(p + 3 * ld, last), scale);
    if (rows - row <= 4) break;
    turn(dst + 16, k, p + 4 * ld, min(p + 5 * ld, last), min(p + 6 * ld, last), min(p + 7 * ld, last), scale);
  }
}

/** Four rows of `k` elements, times `scale`, as four columns, with NR columns between k's. */
function turn(dst: usize, k: u32, p0: usize, p1: usize, p2: usize, p3: usize, scale: f32): void {
  const s = f32x4.splat(scale);
  for (; k >= 4; k -= 4) {
    const r0 = f32x4.mul(v128.load(p0), s);
    const r1 = f32x4.mul(v128.load(p1), s);
    const r2 = f32x4.mul(v128.load(p2), s);
    const r3 = f32x4.mul(v128.load(p3), s);
    const t0 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
    const t1 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
    const t2 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
    const t3 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
    v128.store(dst, v128.shuffle<i64>(t0, t2, 0, 2));
    v128.store(dst, v128.shuffle<i64>(t0, t2, 1, 3), 32);
    v128.store(dst, v128.shuffle<i64>(t1, t3, 0, 2), 64);
    v128.store(dst, v128.shuffle<i64>(t1, t3, 1, 3), 96);
    p0 += 16;
    p1 += 16;
    p2 += 16;
    p3 += 16;
    dst += 128;
  }
  for (; k; k--, dst += 32) {
    store<f32>(dst, load<f32>(p0) * scale);
    store<f32>(dst, load<f32>(p1) * scale, 4);
    store<f32>(dst, load<f32>(p2) * scale, 8);
    store<f32>(dst, load<f32>(p3) * scale, 12);
    p0 += 4;
    p1 += 4;
    p2 += 4;
    p3 += 4;
  }
}

/** b[k, cols], with `ld` bytes between rows, times `scale`, as panels of NR columns. */
export function packB(dst: usize, b: usize, ld: u32, k: u32, cols: u32, scale: f32): void {
  const s = f32x4.splat(scale);
  for (let col: u32 = 0; col < cols; col += NR, b += NR * 4) {
    const wide = cols - col > 4;
    let p = b;
    for (let i: u32 = 0; i < k; i++, p += ld, dst += NR * 4) {
      v128.store(dst, f32x4.mul(v128.load(p), s));
      if (wide) v128.store(dst, f32x4.mul(v128.load(p, 16), s), 16);
    }
  }
}

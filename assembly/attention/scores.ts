/** @file What is done to scores before they become weights, and to weights: masks and, in training alone, dropout. */
import { SEED, WORDS, word } from "../attention";
import { philox } from "../random";

/** Where the word 21 is: the factor of what is kept. */
const FACTOR: usize = 21 << 2;

/** Four scores with words of the mask, -infinity where it is bool and 0. */
// @ts-ignore: decorator
@inline
function masked(s: v128, w: v128, bool: bool): v128 {
  return bool ? v128.bitselect(f32x4.splat(-Infinity), s, i32x4.eq(w, i32x4.splat(0))) : f32x4.add(s, w);
}

/** Four words, `step` bytes apart; what lies behind `last` is it. */
// @ts-ignore: decorator
@inline
function four(p: usize, step: u32, last: usize): v128 {
  let v = v128.load32_splat(p);
  v = v128.load32_lane(min(p + step, last), v, 1);
  v = v128.load32_lane(min(p + 2 * step, last), v, 2);
  return v128.load32_lane(min(p + 3 * step, last), v, 3);
}

/** Where the mask has what belongs to head h of sequence b, query i and key j. */
// @ts-ignore: decorator
@inline
function maskAt(c: usize, b: u32, h: u32, i: u32, j: u32): usize {
  return word(c, 11) + ((b * word(c, 16) + h * word(c, 17) + i * word(c, 18) + j * word(c, 19)) << 2);
}

/**
 * Adds the mask to scores s[n, count] whose columns are up to eight queries from i on and whose rows, `ld` bytes apart, are keys from j on.
 */
export function maskColumns(c: usize, s: usize, ld: u32, b: u32, h: u32, i: u32, count: u32, j: u32, n: u32): void {
  const bool = word(c, 15) != 0;
  const step = word(c, 18) << 2;
  const next = word(c, 19) << 2;
  let p = maskAt(c, b, h, i, j);
  for (; n; n--, s += ld, p += next) {
    const last = p + (count - 1) * step;
    v128.store(s, masked(v128.load(s), four(p, step, last), bool));
    if (count > 4) v128.store(s, masked(v128.load(s, 16), four(p + 4 * step, step, last), bool), 16);
  }
}

/** Adds the mask to `n` scores of a query, for keys from j on. */
export function maskRow(c: usize, s: usize, b: u32, h: u32, i: u32, j: u32, n: u32): void {
  const bool = word(c, 15) != 0;
  const step = word(c, 19) << 2;
  let p = maskAt(c, b, h, i, j);
  const last = p + (n - 1) * step;
  for (const end = s + (n << 2); s < end; s += 16, p += 4 * step) {
    const w = step == 4 ? v128.load(p) : four(p, step, last);
    v128.store(s, masked(v128.load(s), w, bool));
  }
}

/** Makes the words that dropout starts from. */
export function seed(c: usize, scratch: usize): void {
  const key = word(c, 14);
  if (!key) return;
  const to = scratch + WORDS;
  philox(to, i32x4.splat(0x80000008), i32x4.splat(word(c, 22)), key + 8, key);
  for (let i: usize = 0; i < 4; i++) store<u32>(scratch + SEED + (i << 2), load<u32>(to + (i << 4)));
}

/** 0 or the factor of what is kept. */
// @ts-ignore: decorator
@inline
function factors(words: v128, least: v128, factor: v128): v128 {
  return v128.and(i32x4.lt_s(i32x4.shr_u(words, 8), least), factor);
}

/**
 * Multiplies weights s[n, 8] by dropout's factors: columns are rows of the scores from `row` on, rows, `ld` bytes apart, keys from j on.
 */
export function dropColumns(c: usize, s: usize, ld: u32, row: u32, j: u32, n: u32, scratch: usize): void {
  const words = scratch + WORDS;
  const least = i32x4.splat(word(c, 20));
  const factor = v128.load32_splat(c, FACTOR);
  const end = j + n;
  while (j < end) {
    const block = j >> 2;
    for (let half: u32 = 0; half < 8; half += 4) {
      const rows = i32x4.add(i32x4.splat(row + half), i32x4(0, 1, 2, 3));
      philox(words + (half << 4), i32x4.splat(block), rows, scratch + SEED + 8, scratch + SEED);
    }
    for (const last = min(end, (block + 1) << 2); j < last; j++, s += ld) {
      const w = words + ((j & 3) << 4);
      v128.store(s, f32x4.mul(v128.load(s), factors(v128.load(w), least, factor)));
      v128.store(s, f32x4.mul(v128.load(s, 16), factors(v128.load(w, 64), least, factor)), 16);
    }
  }
}

/** Dropout's factors of a row of the scores for keys j .. j + n - 1, to `to`. */
export function dropRow(c: usize, to: usize, row: u32, j: u32, n: u32, scratch: usize): void {
  const words = scratch + WORDS;
  const least = word(c, 20);
  const factor = load<f32>(c, FACTOR);
  const end = j + n;
  while (j < end) {
    const block = j >> 2;
    philox(words, i32x4.add(i32x4.splat(block), i32x4(0, 1, 2, 3)), i32x4.splat(row), scratch + SEED + 8, scratch + SEED);
    for (const last = min(end, (block + 4) << 2); j < last; j++, to += 4) {
      const w = load<u32>(words + ((j & 3) << 4) + (((j >> 2) - block) << 2));
      store<f32>(to, w >> 8 < least ? factor : 0);
    }
  }
}

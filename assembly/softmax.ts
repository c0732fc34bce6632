/**
 * @file softmax, logSoftmax and their gradients over the last axis of [rows, cols].
 *
 * softmax, logSoftmax            x, y, rows, cols, rowsPerPiece
 * softmaxGrad, logSoftmaxGrad    dy, y, dx, rows, cols, rowsPerPiece
 *
 * A piece is a run of rows. Exponentials are taken less the row's maximum, or about that, so that nothing overflows; the maximum of the
 * next row is found in the same loop, which computes while memory is read. A NaN in a row makes the row NaN; -inf gives probability 0, and
 * a row of nothing but -inf is NaN.
 */
import { EXP_TIMES } from "./constants";
import { LN2, LOG2E, MINUS_LN2_HIGH, MINUS_LN2_LOW, at, c, exp, log } from "./math";
import { hsum, madd, msub, storeTail, storeUpTo, tailMask, vmax } from "./simd";

/** Most rows that are taken together. */
const ROWS: u32 = 16;
/** Bytes of a row that are added one after another before they join the sum. */
const SERIAL: usize = 2048;
/** In scratch: where what nobody reads is put, then a word each of what is known of ROWS rows and one more, then a part of a row. */
const NOWHERE: usize = 0;
const LARGEST: usize = 16;
const SUMS: usize = LARGEST + 4 * ROWS + 16;
const POWERS: usize = SUMS + 4 * ROWS + 16;
const TOPS: usize = POWERS + 4 * ROWS + 16;
const PART: usize = TOPS + 4 * ROWS + 16;
/** Columns of that part. */
const PART_COLS: u32 = 4096;

/** The largest lane, NaN passed over. */
// @ts-ignore: decorator
@inline
function hmax(a: v128): f32 {
  a = vmax(i32x4.shuffle(a, a, 2, 3, 0, 1), a);
  return f32x4.extract_lane(vmax(i32x4.shuffle(a, a, 1, 0, 3, 2), a), 0);
}

/** The largest element, NaN passed over; -inf of none. */
export function rowMax(x: usize, cols: u32): f32 {
  const lowest = f32x4.splat(-Infinity);
  let a = lowest;
  for (; cols >= 4; cols -= 4, x += 16) a = vmax(v128.load(x), a);
  if (cols) a = vmax(v128.bitselect(v128.load(x), lowest, tailMask(cols)), a);
  return hmax(a);
}

/** Up to here an element's multiple n of ln 2 takes nine bits, so that its product with 15 bits of ln 2 is exact. */
const MOST: f32 = 256;

/** Whether `madd` rounds once: the square of 1 + 2^-12 takes 25 bits. */
// @ts-ignore: decorator
@inline
function fused(): bool {
  return f32x4.extract_lane(madd(at(EXP_TIMES, 5), at(EXP_TIMES, 5), at(EXP_TIMES, 6)), 0) != 0;
}

/**
 * The power of two that stands for exp of a row's maximum; NaN where x less the maximum must be taken first, that is for large ones, and
 * for all but 0 where the relaxed build runs on a machine whose madd rounds twice.
 */
function powerOf(largest: f32): f32 {
  return abs(largest) <= (!ASC_FEATURE_RELAXED_SIMD || fused() ? MOST : 0) ? nearest<f32>(largest * <f32>1.44269504088896341) : NaN;
}

/**
 * Of `n` rows of x, whose first one's maximum is `largest`: as words of scratch the maximum, the power and the sum of FACTOR exp(x) /
 * 2^power. The exponentials go to y or, where yStep is not 16 but 0, nowhere. Where there is no such power, x less the maximum takes the
 * place of x; its own maximum, a word of TOPS, is 0. Returns the maximum of the row at `after`, which follows the last one. Exponentials
 * below the normal floats are 0; relative errors are at most 2.5e-7.
 *
 * x less a multiple n of ln 2 is what the polynomial takes; 2^(n - power) goes into the exponent, so that subtracting the maximum costs
 * nothing. Where madd rounds once, ln 2 takes one step: its error, 1.9e-9 n, is common to a row but for what n differs by. The 12
 * operations of a vector take 4.6 cycles of Zen 5, and each further one 0.3 to 1. V8 has 15 registers; constants in them cost nothing.
 */
export function expRows(x: usize, y: usize, yStep: usize, cols: u32, n: u32, largest: f32, after: usize, word: usize, scratch: usize): f32 {
  const log2e = c(LOG2E);
  const ln2 = c(LN2);
  const c4 = at(EXP_TIMES, 0);
  const c3 = at(EXP_TIMES, 1);
  const c2 = at(EXP_TIMES, 2);
  const c1 = at(EXP_TIMES, 3);
  const c0 = at(EXP_TIMES, 4);
  const rest = cols & 3;
  for (; n; n--, word += 4) {
    let next = n > 1 ? x + ((<usize>cols) << 2) : after;
    const power = powerOf(largest);
    store<f32>(word, largest, LARGEST);
    if (power != power) {
      const m = f32x4.splat(largest);
      let total: f32 = 0;
      largest = -Infinity;
      for (let left = cols; left;) {
        const some = min(left, PART_COLS);
        const bytes = (<usize>some) << 2;
        for (let i: usize = 0; i < bytes; i += 16) v128.store(scratch + i, f32x4.sub(v128.load(x + i), m), PART);
        largest = max(largest, expRows(scratch + PART, y, yStep, some, 1, 0, next, scratch + 4 * ROWS, scratch));
        total += load<f32>(scratch + 4 * ROWS, SUMS);
        left -= some;
        x += bytes;
        next += bytes;
        if (yStep) y += bytes;
      }
      store<f32>(word, total, SUMS);
      store<f32>(word, 0, POWERS);
      store<f32>(word, 0, TOPS);
      continue;
    }
    const low = lowOf(f32x4.splat(power));
    const round = roundOf(f32x4.splat(power));
    const lowest = f32x4.splat(-Infinity);
    let sum = f32x4.splat(0);
    let a = lowest;
    let total: f32 = 0;
    let lost: f32 = 0;
    for (const full = x + ((<usize>(cols & ~3)) << 2); ;) {
      for (const end = min(full, x + SERIAL); x < end; x += 16, next += 16, y += yStep) {
        a = vmax(v128.load(next), a);
        const e = expOf(v128.load(x), low, log2e, round, ln2, c4, c3, c2, c1, c0);
        v128.store(y, e);
        sum = f32x4.add(sum, e);
      }
      if (x >= full) break;
      // With what rounding lost before (Kahan, "Further Remarks on Reducing Truncation Errors", 1965).
      const part = hsum(sum) - lost;
      const grown: f32 = total + part;
      lost = grown - total - part;
      total = grown;
      sum = f32x4.splat(0);
    }
    if (rest) {
      const mask = tailMask(rest);
      a = vmax(v128.bitselect(v128.load(next), lowest, mask), a);
      const e = expOf(v128.bitselect(v128.load(x), lowest, mask), low, log2e, round, ln2, c4, c3, c2, c1, c0);
      storeTail(y, e, rest);
      sum = f32x4.add(sum, e);
      x += rest << 2;
      if (yStep) y += rest << 2;
    }
    store<f32>(word, total + (hsum(sum) - lost), SUMS);
    store<f32>(word, power, POWERS);
    store<f32>(word, largest, TOPS);
    largest = hmax(a);
  }
  return largest;
}

// @ts-ignore: decorator
@inline
function expOf(x: v128, low: v128, log2e: v128, round: v128, ln2: v128, c4: v128, c3: v128, c2: v128, c1: v128, c0: v128): v128 {
  // At the least the scale is 0.
  let r = vmax(low, x);
  const t = madd(r, log2e, round);
  const n = f32x4.sub(t, round);
  if (ASC_FEATURE_RELAXED_SIMD) r = msub(n, ln2, r);
  else r = madd(n, c(MINUS_LN2_LOW), madd(n, c(MINUS_LN2_HIGH), r));
  let q = f32x4.add(r, c4);
  q = madd(q, r, c3);
  q = madd(q, r, c2);
  q = madd(q, r, c1);
  q = madd(q, r, c0);
  return f32x4.mul(q, i32x4.shl(t, 23));
}

/** Below it FACTOR exp(x) / 2^power is 0. */
// @ts-ignore: decorator
@inline
function lowOf(power: v128): v128 {
  return f32x4.mul(f32x4.sub(power, f32x4.splat(127)), c(LN2));
}

/** Adding this rounds to an integer n and leaves n - power + 127 in the low bits. */
// @ts-ignore: decorator
@inline
function roundOf(power: v128): v128 {
  return f32x4.sub(f32x4.splat(12583039), power);
}

/**
 * In place of the sums of `n` rows in scratch: log(sum exp(x - largest)), by what is found for x = largest, so that it is 0 where nothing
 * else counts.
 */
export function logSums(n: u32, scratch: usize): void {
  for (const end = scratch + (n << 2); scratch < end; scratch += 16) {
    const power = v128.load(scratch, POWERS);
    const e = expOf(
      v128.load(scratch, TOPS),
      lowOf(power),
      c(LOG2E),
      roundOf(power),
      c(LN2),
      at(EXP_TIMES, 0),
      at(EXP_TIMES, 1),
      at(EXP_TIMES, 2),
      at(EXP_TIMES, 3),
      at(EXP_TIMES, 4),
    );
    v128.store(scratch, log(f32x4.div(v128.load(scratch, SUMS), e)), SUMS);
  }
}

// @ts-ignore: decorator
@inline
export function largestOf(word: usize): f32 {
  return load<f32>(word, LARGEST);
}

// @ts-ignore: decorator
@inline
export function sumOf(word: usize): f32 {
  return load<f32>(word, SUMS);
}

/** y /= sum in `n` rows */
export function divideRows(y: usize, cols: u32, n: u32, word: usize): void {
  for (; n; n--, word += 4) {
    const s = f32x4.splat(1 / sumOf(word));
    let left = <i32>cols;
    for (; left >= 8; left -= 8, y += 32) {
      v128.store(y, f32x4.mul(v128.load(y), s));
      v128.store(y, f32x4.mul(v128.load(y, 16), s), 16);
    }
    for (; left > 0; left -= 4, y += 16) storeUpTo(y, f32x4.mul(v128.load(y), s), left);
    y += left << 2;
  }
}

/** y = x - largest - log sum in `n` rows */
function subtractRows(x: usize, y: usize, cols: u32, n: u32, word: usize): void {
  for (; n; n--, word += 4) {
    const m = f32x4.splat(largestOf(word));
    const l = f32x4.splat(sumOf(word));
    let left = <i32>cols;
    for (; left >= 8; left -= 8, x += 32, y += 32) {
      v128.store(y, f32x4.sub(f32x4.sub(v128.load(x), m), l));
      v128.store(y, f32x4.sub(f32x4.sub(v128.load(x, 16), m), l), 16);
    }
    for (; left > 0; left -= 4, x += 16, y += 16) storeUpTo(y, f32x4.sub(f32x4.sub(v128.load(x), m), l), left);
    x += left << 2;
    y += left << 2;
  }
}

/** Rows that are taken together: two KB. */
// @ts-ignore: decorator
@inline
export function together(cols: u32): u32 {
  return max<u32>(1, min<u32>(ROWS, 512 / max<u32>(1, cols)));
}

function rowwise(c: usize, piece: u32, scratch: usize, logarithm: bool): void {
  const rows = load<u32>(c, 8);
  const cols = load<u32>(c, 12);
  const perPiece = load<u32>(c, 16);
  const some = together(cols);
  const first = piece * perPiece;
  const offset = (<usize>first * cols) << 2;
  let x = <usize>load<u32>(c) + offset;
  let y = <usize>load<u32>(c, 4) + offset;
  let largest = rowMax(x, cols);
  for (let left = min(perPiece, rows - first); left;) {
    const n = min(some, left);
    const bytes = (<usize>n * cols) << 2;
    left -= n;
    largest = expRows(x, logarithm ? scratch + NOWHERE : y, logarithm ? 0 : 16, cols, n, largest, left ? x + bytes : x, scratch, scratch);
    if (logarithm) {
      logSums(n, scratch);
      subtractRows(x, y, cols, n, scratch);
    } else divideRows(y, cols, n, scratch);
    x += bytes;
    y += bytes;
  }
}

export function softmax(c: usize, piece: u32, scratch: usize): void {
  rowwise(c, piece, scratch, false);
}

export function logSoftmax(c: usize, piece: u32, scratch: usize): void {
  rowwise(c, piece, scratch, true);
}

function softmaxGradRow(dy: usize, y: usize, dx: usize, cols: u32): void {
  const full = (<usize>(cols & ~3)) << 2;
  const rest = cols & 3;
  let dot = f32x4.splat(0);
  for (let i: usize = 0; i < full; i += 16) dot = f32x4.add(dot, f32x4.mul(v128.load(dy + i), v128.load(y + i)));
  if (rest) dot = f32x4.add(dot, v128.and(f32x4.mul(v128.load(dy + full), v128.load(y + full)), tailMask(rest)));
  const s = f32x4.splat(hsum(dot));
  for (let i: usize = 0; i < full; i += 16) v128.store(dx + i, f32x4.mul(f32x4.sub(v128.load(dy + i), s), v128.load(y + i)));
  if (rest) storeTail(dx + full, f32x4.mul(f32x4.sub(v128.load(dy + full), s), v128.load(y + full)), rest);
}

export function softmaxGrad(c: usize, piece: u32, scratch: usize): void {
  const dy = <usize>load<u32>(c);
  const y = <usize>load<u32>(c, 4);
  const dx = <usize>load<u32>(c, 8);
  const rows = load<u32>(c, 12);
  const cols = load<u32>(c, 16);
  const perPiece = load<u32>(c, 20);
  const first = piece * perPiece;
  const last = min(first + perPiece, rows);
  for (let row = first; row < last; row++) {
    const offset = (<usize>row * cols) << 2;
    softmaxGradRow(dy + offset, y + offset, dx + offset, cols);
  }
}

function logSoftmaxGradRow(dy: usize, y: usize, dx: usize, cols: u32): void {
  const full = (<usize>(cols & ~3)) << 2;
  const rest = cols & 3;
  let total = f32x4.splat(0);
  for (let i: usize = 0; i < full; i += 16) total = f32x4.add(total, v128.load(dy + i));
  if (rest) total = f32x4.add(total, v128.and(v128.load(dy + full), tailMask(rest)));
  const s = f32x4.splat(hsum(total));
  for (let i: usize = 0; i < full; i += 16) v128.store(dx + i, f32x4.sub(v128.load(dy + i), f32x4.mul(exp(v128.load(y + i)), s)));
  if (rest) storeTail(dx + full, f32x4.sub(v128.load(dy + full), f32x4.mul(exp(v128.load(y + full)), s)), rest);
}

export function logSoftmaxGrad(c: usize, piece: u32, scratch: usize): void {
  const dy = <usize>load<u32>(c);
  const y = <usize>load<u32>(c, 4);
  const dx = <usize>load<u32>(c, 8);
  const rows = load<u32>(c, 12);
  const cols = load<u32>(c, 16);
  const perPiece = load<u32>(c, 20);
  const first = piece * perPiece;
  const last = min(first + perPiece, rows);
  for (let row = first; row < last; row++) {
    const offset = (<usize>row * cols) << 2;
    logSoftmaxGradRow(dy + offset, y + offset, dx + offset, cols);
  }
}

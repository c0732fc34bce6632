/**
 * @file softmax, logSoftmax and their gradients over the last axis of [rows, cols].
 *
 * softmax, logSoftmax            x, y, rows, cols, rowsPerPiece
 * softmaxGrad, logSoftmaxGrad    dy, y, dx, rows, cols, rowsPerPiece
 *
 * A piece is a run of rows. A row takes three passes: its maximum, exponentials and their sum, the result; the
 * maximum is subtracted first, so that nothing overflows and the sum is at least 1. A NaN in a row makes the row NaN;
 * -inf gives probability 0, and a row of nothing but -inf is NaN.
 */
import { EXP_ZERO, LOG2E, MINUS_LN2_HIGH, MINUS_LN2_LOW, ONE, ROUND_BIASED, at, c, exp, log } from "./math";
import { hsum, madd, storeTail, storeUpTo, tailMask, vmax } from "./simd";

/** The largest element, NaN passed over; -inf of none. */
export function rowMax(x: usize, cols: u32): f32 {
  const lowest = f32x4.splat(-Infinity);
  let a = lowest, b = lowest;
  for (; cols >= 8; cols -= 8, x += 32) {
    a = vmax(v128.load(x), a);
    b = vmax(v128.load(x, 16), b);
  }
  if (cols >= 4) {
    a = vmax(v128.load(x), a);
    cols -= 4;
    x += 16;
  }
  if (cols) b = vmax(v128.bitselect(v128.load(x), lowest, tailMask(cols)), b);
  a = vmax(b, a);
  a = vmax(i32x4.shuffle(a, a, 2, 3, 0, 1), a);
  return f32x4.extract_lane(vmax(i32x4.shuffle(a, a, 1, 0, 3, 2), a), 0);
}

/** exp r for |r| <= ln(2) / 2 with an error of 1e-7, without the powers 0 and 1, whose coefficients are 1 (fitted as those of math.ts are). */
const EXP_DOWN: usize = memory.data<f32>([0.00831246841698885, 0.041890256106853485, 0.16667115688323975, 0.499992311000824]);

/**
 * y = exp(x - largest) for whole vectors, and their sum. What is below the normal floats is 0. math.ts says how exp is computed; here the
 * constants wait in registers, and the polynomial is one shorter: 1.4 ns a vector instead of 2.1. V8 has 15 registers, all of them in use.
 */
function expVectors(x: usize, end: usize, y: usize, yStep: usize, largest: f32): v128 {
  const m = f32x4.splat(largest), low = c(EXP_ZERO), log2e = c(LOG2E), round = c(ROUND_BIASED), ln2High = c(MINUS_LN2_HIGH), ln2Low = c(MINUS_LN2_LOW), one = c(ONE);
  const c5 = at(EXP_DOWN, 0), c4 = at(EXP_DOWN, 1), c3 = at(EXP_DOWN, 2), c2 = at(EXP_DOWN, 3);
  let sum = f32x4.splat(0);
  for (; x < end; x += 16, y += yStep) {
    let r = vmax(low, f32x4.sub(v128.load(x), m));
    // At EXP_ZERO the scale is 0.
    const t = madd(r, log2e, round), n = f32x4.sub(t, round);
    r = madd(n, ln2High, r);
    r = madd(n, ln2Low, r);
    let q = madd(c5, r, c4);
    q = madd(q, r, c3);
    q = madd(q, r, c2);
    q = madd(q, r, one);
    q = madd(q, r, one);
    q = f32x4.mul(q, i32x4.shl(t, 23));
    v128.store(y, q);
    sum = f32x4.add(sum, q);
  }
  return sum;
}

/** y = exp(x - largest) and its sum; y may be 0, for the sum alone. */
export function expRow(x: usize, y: usize, cols: u32, largest: f32, scratch: usize): f32 {
  const end = x + (<usize>(cols & ~3) << 2), rest = cols & 3;
  const kept = y ? y : scratch;
  let sum = expVectors(x, end, kept, y ? 16 : 0, largest);
  if (rest) {
    v128.store(scratch, v128.bitselect(v128.load(end), f32x4.splat(-Infinity), tailMask(rest)));
    sum = f32x4.add(sum, expVectors(scratch, scratch + 16, scratch, 0, largest));
    if (y) storeTail(y + (end - x), v128.load(scratch), rest);
  }
  return hsum(sum);
}

/** y *= scale */
export function scaleRow(y: usize, cols: u32, scale: f32): void {
  const s = f32x4.splat(scale);
  for (; cols >= 16; cols -= 16, y += 64) {
    v128.store(y, f32x4.mul(v128.load(y), s));
    v128.store(y, f32x4.mul(v128.load(y, 16), s), 16);
    v128.store(y, f32x4.mul(v128.load(y, 32), s), 32);
    v128.store(y, f32x4.mul(v128.load(y, 48), s), 48);
  }
  for (let left = <i32>cols; left > 0; left -= 4, y += 16) storeUpTo(y, f32x4.mul(v128.load(y), s), left);
}

export function softmax(c: usize, piece: u32, scratch: usize): void {
  const x = <usize>load<u32>(c), y = <usize>load<u32>(c, 4), rows = load<u32>(c, 8), cols = load<u32>(c, 12), perPiece = load<u32>(c, 16);
  const first = piece * perPiece, last = min(first + perPiece, rows);
  for (let row = first; row < last; row++) {
    const offset = <usize>row * cols << 2;
    const sum = expRow(x + offset, y + offset, cols, rowMax(x + offset, cols), scratch);
    scaleRow(y + offset, cols, 1 / sum);
  }
}

function logSoftmaxRow(x: usize, y: usize, cols: u32, scratch: usize): void {
  const largest = rowMax(x, cols);
  const m = f32x4.splat(largest), logSum = log(f32x4.splat(expRow(x, 0, cols, largest, scratch)));
  for (; cols >= 4; cols -= 4, x += 16, y += 16) v128.store(y, f32x4.sub(f32x4.sub(v128.load(x), m), logSum));
  if (cols) storeTail(y, f32x4.sub(f32x4.sub(v128.load(x), m), logSum), cols);
}

export function logSoftmax(c: usize, piece: u32, scratch: usize): void {
  const x = <usize>load<u32>(c), y = <usize>load<u32>(c, 4), rows = load<u32>(c, 8), cols = load<u32>(c, 12), perPiece = load<u32>(c, 16);
  const first = piece * perPiece, last = min(first + perPiece, rows);
  for (let row = first; row < last; row++) {
    const offset = <usize>row * cols << 2;
    logSoftmaxRow(x + offset, y + offset, cols, scratch);
  }
}

function softmaxGradRow(dy: usize, y: usize, dx: usize, cols: u32): void {
  const full = <usize>(cols & ~3) << 2, rest = cols & 3;
  let dot = f32x4.splat(0);
  for (let i: usize = 0; i < full; i += 16) dot = f32x4.add(dot, f32x4.mul(v128.load(dy + i), v128.load(y + i)));
  if (rest) dot = f32x4.add(dot, v128.and(f32x4.mul(v128.load(dy + full), v128.load(y + full)), tailMask(rest)));
  const s = f32x4.splat(hsum(dot));
  for (let i: usize = 0; i < full; i += 16) v128.store(dx + i, f32x4.mul(f32x4.sub(v128.load(dy + i), s), v128.load(y + i)));
  if (rest) storeTail(dx + full, f32x4.mul(f32x4.sub(v128.load(dy + full), s), v128.load(y + full)), rest);
}

export function softmaxGrad(c: usize, piece: u32, scratch: usize): void {
  const dy = <usize>load<u32>(c), y = <usize>load<u32>(c, 4), dx = <usize>load<u32>(c, 8);
  const rows = load<u32>(c, 12), cols = load<u32>(c, 16), perPiece = load<u32>(c, 20);
  const first = piece * perPiece, last = min(first + perPiece, rows);
  for (let row = first; row < last; row++) {
    const offset = <usize>row * cols << 2;
    softmaxGradRow(dy + offset, y + offset, dx + offset, cols);
  }
}

function logSoftmaxGradRow(dy: usize, y: usize, dx: usize, cols: u32): void {
  const full = <usize>(cols & ~3) << 2, rest = cols & 3;
  let total = f32x4.splat(0);
  for (let i: usize = 0; i < full; i += 16) total = f32x4.add(total, v128.load(dy + i));
  if (rest) total = f32x4.add(total, v128.and(v128.load(dy + full), tailMask(rest)));
  const s = f32x4.splat(hsum(total));
  for (let i: usize = 0; i < full; i += 16) v128.store(dx + i, f32x4.sub(v128.load(dy + i), f32x4.mul(exp(v128.load(y + i)), s)));
  if (rest) storeTail(dx + full, f32x4.sub(v128.load(dy + full), f32x4.mul(exp(v128.load(y + full)), s)), rest);
}

export function logSoftmaxGrad(c: usize, piece: u32, scratch: usize): void {
  const dy = <usize>load<u32>(c), y = <usize>load<u32>(c, 4), dx = <usize>load<u32>(c, 8);
  const rows = load<u32>(c, 12), cols = load<u32>(c, 16), perPiece = load<u32>(c, 20);
  const first = piece * perPiece, last = min(first + perPiece, rows);
  for (let row = first; row < last; row++) {
    const offset = <usize>row * cols << 2;
    logSoftmaxGradRow(dy + offset, y + offset, dx + offset, cols);
  }
}

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
import { exp, expDown, log } from "./math";
import { hsum, storeTail, tailMask, vmax } from "./simd";

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

/** y = exp(x - largest) and its sum; y may be 0, for the sum alone. */
export function expRow(x: usize, y: usize, cols: u32, largest: f32): f32 {
  const m = f32x4.splat(largest);
  let sum = f32x4.splat(0), sum1 = sum;
  for (; cols >= 8; cols -= 8, x += 32) {
    const e0 = expDown(f32x4.sub(v128.load(x), m)), e1 = expDown(f32x4.sub(v128.load(x, 16), m));
    sum = f32x4.add(sum, e0);
    sum1 = f32x4.add(sum1, e1);
    if (y) {
      v128.store(y, e0);
      v128.store(y, e1, 16);
      y += 32;
    }
  }
  sum = f32x4.add(sum, sum1);
  for (; cols >= 4; cols -= 4, x += 16) {
    const e = expDown(f32x4.sub(v128.load(x), m));
    sum = f32x4.add(sum, e);
    if (y) {
      v128.store(y, e);
      y += 16;
    }
  }
  if (cols) {
    const e = v128.and(expDown(f32x4.sub(v128.load(x), m)), tailMask(cols));
    sum = f32x4.add(sum, e);
    if (y) storeTail(y, e, cols);
  }
  return hsum(sum);
}

/** y *= scale */
export function scaleRow(y: usize, cols: u32, scale: f32): void {
  const s = f32x4.splat(scale);
  for (; cols >= 4; cols -= 4, y += 16) v128.store(y, f32x4.mul(v128.load(y), s));
  if (cols) storeTail(y, f32x4.mul(v128.load(y), s), cols);
}

export function softmax(c: usize, piece: u32, scratch: usize): void {
  const x = <usize>load<u32>(c), y = <usize>load<u32>(c, 4), rows = load<u32>(c, 8), cols = load<u32>(c, 12), perPiece = load<u32>(c, 16);
  const first = piece * perPiece, last = min(first + perPiece, rows);
  for (let row = first; row < last; row++) {
    const offset = <usize>row * cols << 2;
    const sum = expRow(x + offset, y + offset, cols, rowMax(x + offset, cols));
    scaleRow(y + offset, cols, 1 / sum);
  }
}

function logSoftmaxRow(x: usize, y: usize, cols: u32): void {
  const largest = rowMax(x, cols);
  const m = f32x4.splat(largest), logSum = log(f32x4.splat(expRow(x, 0, cols, largest)));
  for (; cols >= 4; cols -= 4, x += 16, y += 16) v128.store(y, f32x4.sub(f32x4.sub(v128.load(x), m), logSum));
  if (cols) storeTail(y, f32x4.sub(f32x4.sub(v128.load(x), m), logSum), cols);
}

export function logSoftmax(c: usize, piece: u32, scratch: usize): void {
  const x = <usize>load<u32>(c), y = <usize>load<u32>(c, 4), rows = load<u32>(c, 8), cols = load<u32>(c, 12), perPiece = load<u32>(c, 16);
  const first = piece * perPiece, last = min(first + perPiece, rows);
  for (let row = first; row < last; row++) {
    const offset = <usize>row * cols << 2;
    logSoftmaxRow(x + offset, y + offset, cols);
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

/**
 * @file layerNorm and its gradient over the last axis of [rows, cols].
 *
 * layerNorm      x, gamma?, beta?, y, mean?, rstd?, rows, cols, epsilon, centered, rowsPerPiece
 * layerNormGrad  dy, x, gamma?, mean, rstd, dx, sums, rows, cols, centered, rowsPerPiece, sumsBytes
 *
 * A piece is a run of rows. A row takes three passes, of which the last two find it in L1: its mean, its squared distances from
 * that (a sum of squares less the square of the sum would cancel), the result. Where `centered` is 0 the mean is taken to be 0.
 * sums gets what each piece adds to dgamma, [pieces][cols], and sumsBytes further on what it adds to dbeta: a sum over pieces follows.
 * An absent gamma or beta is a few vectors in scratch that a step of 0 reads again and again.
 */
import { hsum, madd, msub, storeUpTo, tailMask } from "./simd";

/** What stands for absent operands, in scratch: NEUTRAL bytes of ones, then of zeros. */
const NEUTRAL: usize = 64;
function neutral(scratch: usize): void {
  for (let at: usize = 0; at < NEUTRAL; at += 16) {
    v128.store(scratch + at, f32x4.splat(1));
    v128.store(scratch + at, f32x4.splat(0), NEUTRAL);
  }
}

function rowSum(x: usize, cols: u32): f32 {
  let a = f32x4.splat(0), b = a, c = a, d = a;
  for (; cols >= 16; cols -= 16, x += 64) {
    a = f32x4.add(a, v128.load(x));
    b = f32x4.add(b, v128.load(x, 16));
    c = f32x4.add(c, v128.load(x, 32));
    d = f32x4.add(d, v128.load(x, 48));
  }
  for (; cols >= 4; cols -= 4, x += 16) a = f32x4.add(a, v128.load(x));
  if (cols) b = f32x4.add(b, v128.and(v128.load(x), tailMask(cols)));
  return hsum(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
}

/** Sum of (x - mean)^2. */
function squaredDistances(x: usize, cols: u32, mean: f32): f32 {
  const m = f32x4.splat(mean);
  let a = f32x4.splat(0), b = a, c = a, d = a;
  for (; cols >= 16; cols -= 16, x += 64) {
    const x0 = f32x4.sub(v128.load(x), m), x1 = f32x4.sub(v128.load(x, 16), m), x2 = f32x4.sub(v128.load(x, 32), m), x3 = f32x4.sub(v128.load(x, 48), m);
    a = madd(x0, x0, a);
    b = madd(x1, x1, b);
    c = madd(x2, x2, c);
    d = madd(x3, x3, d);
  }
  for (; cols >= 4; cols -= 4, x += 16) {
    const v = f32x4.sub(v128.load(x), m);
    a = madd(v, v, a);
  }
  if (cols) {
    const v = v128.and(f32x4.sub(v128.load(x), m), tailMask(cols));
    b = madd(v, v, b);
  }
  return hsum(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
}

// @ts-ignore: decorator
@inline
function scaled(x: v128, m: v128, s: v128, gamma: v128, beta: v128): v128 {
  return madd(f32x4.mul(f32x4.sub(x, m), s), gamma, beta);
}

/** y = (x - mean) * scale * gamma + beta; gamma and beta advance by their steps every four vectors. */
function scaleAndShift(x: usize, y: usize, cols: u32, mean: f32, scale: f32, gamma: usize, gammaStep: u32, beta: usize, betaStep: u32): void {
  const m = f32x4.splat(mean), s = f32x4.splat(scale);
  for (; cols >= 16; cols -= 16, x += 64, y += 64, gamma += gammaStep, beta += betaStep) {
    v128.store(y, scaled(v128.load(x), m, s, v128.load(gamma), v128.load(beta)));
    v128.store(y, scaled(v128.load(x, 16), m, s, v128.load(gamma, 16), v128.load(beta, 16)), 16);
    v128.store(y, scaled(v128.load(x, 32), m, s, v128.load(gamma, 32), v128.load(beta, 32)), 32);
    v128.store(y, scaled(v128.load(x, 48), m, s, v128.load(gamma, 48), v128.load(beta, 48)), 48);
  }
  for (let at: usize = 0, left = <i32>cols; left > 0; at += 16, left -= 4) storeUpTo(y + at, scaled(v128.load(x + at), m, s, v128.load(gamma + at), v128.load(beta + at)), left);
}

export function layerNorm(c: usize, piece: u32, scratch: usize): void {
  const x = <usize>load<u32>(c), y = <usize>load<u32>(c, 12), means = <usize>load<u32>(c, 16), scales = <usize>load<u32>(c, 20);
  const rows = load<u32>(c, 24), cols = load<u32>(c, 28), perPiece = load<u32>(c, 40);
  const epsilon = load<f32>(c, 32), centered = load<u32>(c, 36);
  let gamma = <usize>load<u32>(c, 4), beta = <usize>load<u32>(c, 8);
  const gammaStep: u32 = gamma ? 64 : 0, betaStep: u32 = beta ? 64 : 0;
  neutral(scratch);
  if (!gamma) gamma = scratch;
  if (!beta) beta = scratch + NEUTRAL;
  const last = min((piece + 1) * perPiece, rows);
  const part: f32 = 1 / <f32>cols;
  for (let row = piece * perPiece; row < last; row++) {
    const offset = <usize>row * cols << 2;
    const mean: f32 = centered ? rowSum(x + offset, cols) * part : 0;
    const scale: f32 = 1 / sqrt<f32>(squaredDistances(x + offset, cols, mean) * part + epsilon);
    if (means) store<f32>(means + (<usize>row << 2), mean);
    if (scales) store<f32>(scales + (<usize>row << 2), scale);
    scaleAndShift(x + offset, y + offset, cols, mean, scale, gamma, gammaStep, beta, betaStep);
  }
}

/**
 * One row of dx = scale * (g - mean(g) - z mean(g z)) with g = dy * gamma and z = (x - mean) * scale, and of what is added to dgamma and dbeta:
 * dy * z and dy.
 */
function gradRow(
  dy: usize, x: usize, dx: usize, cols: u32, part: f32, mean: f32, scale: f32, centered: bool, gamma: usize, gammaStep: u32, dgamma: usize, dbeta: usize,
): void {
  const m = f32x4.splat(mean), s = f32x4.splat(scale);
  let sum = f32x4.splat(0), dot = sum, w = gamma;
  for (let at: usize = 0, left = <i32>cols; left > 0; at += 16, left -= 4, w += gammaStep) {
    const d = v128.load(dy + at), z = f32x4.mul(f32x4.sub(v128.load(x + at), m), s);
    let g = f32x4.mul(d, v128.load(w));
    const toGamma = madd(d, z, v128.load(dgamma + at)), toBeta = f32x4.add(d, v128.load(dbeta + at));
    storeUpTo(dgamma + at, toGamma, left);
    storeUpTo(dbeta + at, toBeta, left);
    let gz = f32x4.mul(g, z);
    if (left < 4) {
      g = v128.and(g, tailMask(left));
      gz = v128.and(gz, tailMask(left));
    }
    sum = f32x4.add(sum, g);
    dot = f32x4.add(dot, gz);
  }
  // dx = g * scale - shift - (x - mean) * slope
  const shift = f32x4.splat(centered ? hsum(sum) * part * scale : 0), slope = f32x4.splat(hsum(dot) * part * scale * scale);
  for (let at: usize = 0, left = <i32>cols; left > 0; at += 16, left -= 4, gamma += gammaStep) {
    const g = f32x4.sub(f32x4.mul(f32x4.mul(v128.load(dy + at), v128.load(gamma)), s), shift);
    storeUpTo(dx + at, msub(f32x4.sub(v128.load(x + at), m), slope, g), left);
  }
}

export function layerNormGrad(c: usize, piece: u32, scratch: usize): void {
  const dy = <usize>load<u32>(c), x = <usize>load<u32>(c, 4), means = <usize>load<u32>(c, 12), scales = <usize>load<u32>(c, 16);
  const dx = <usize>load<u32>(c, 20), rows = load<u32>(c, 28), cols = load<u32>(c, 32), perPiece = load<u32>(c, 40);
  const centered = load<u32>(c, 36) != 0;
  let gamma = <usize>load<u32>(c, 8), sums = <usize>load<u32>(c, 24);
  const gammaStep: u32 = gamma ? 16 : 0;
  neutral(scratch);
  if (!gamma) gamma = scratch;
  const last = min((piece + 1) * perPiece, rows);
  const part: f32 = 1 / <f32>cols;
  const bytes = <usize>cols << 2;
  sums += <usize>piece * bytes;
  const betaSums = sums + <usize>load<u32>(c, 44);
  memory.fill(sums, 0, bytes);
  memory.fill(betaSums, 0, bytes);
  for (let row = piece * perPiece; row < last; row++) {
    const offset = <usize>row * bytes, at = <usize>row << 2;
    const mean = load<f32>(means + at), scale = load<f32>(scales + at);
    gradRow(dy + offset, x + offset, dx + offset, cols, part, mean, scale, centered, gamma, gammaStep, sums, betaSums);
  }
}

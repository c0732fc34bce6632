/**
 * @file layerNorm and its gradient over the last axis of [rows, cols].
 *
 * layerNorm      x, gamma?, beta?, y, mean?, rstd?, rows, cols, epsilon, centered, rowsPerPiece
 * layerNormGrad  dy, x, gamma?, mean, rstd, dx, sums, rows, cols, centered, rowsPerPiece, sumsBytes
 *
 * A piece is a run of rows. Where `centered` is 0 the mean is taken to be 0. sums gets what each piece adds to dgamma, [pieces][cols], and
 * sumsBytes further on what it adds to dbeta: a sum over pieces follows. An absent gamma or beta is a few vectors in scratch that a step of
 * 0 reads again and again.
 *
 * Memory decides. A core has a few hundred instructions under way, and what it reads ahead is what these read: a loop takes a cache line a
 * round (with 16 bytes a round memory is read at three fourths of the speed), and nothing in it waits for a result of the same row, such as
 * a shift for the variance from the first elements (twice the time at 512 columns).
 */
import { hsum, madd, storeUpTo, tailMask } from "./simd";

/** What stands for absent operands, in scratch: NEUTRAL bytes of ones, then of zeros. */
const NEUTRAL: usize = 64;
/** Most rows that are taken together. */
const ROWS: u32 = 16;
/** Behind the neutral vectors: two vectors of sums for each of ROWS rows, then a word each of what is known of them. */
const SUMS: usize = 2 * NEUTRAL;
const MEANS: usize = SUMS + 32 * ROWS;
const SCALES: usize = MEANS + 4 * ROWS;
const OFFSETS: usize = SCALES + 4 * ROWS;
const SOURCES: usize = OFFSETS + 4 * ROWS;
const SLOPES: usize = SOURCES;

function neutral(scratch: usize): void {
  for (let at: usize = 0; at < NEUTRAL; at += 16) {
    v128.store(scratch + at, f32x4.splat(1));
    v128.store(scratch + at, f32x4.splat(0), NEUTRAL);
  }
}

/** Most elements of a row that are added one after another. */
const SERIAL: u32 = 4096;

/** Of each of `n` rows the sum and that of the squares, four lanes each; of long ones in halves, for the rounding. */
function moments(x: usize, cols: u32, n: u32, to: usize): void {
  if (cols > SERIAL) {
    const half = ((cols >> 1) + 15) & ~15;
    for (; n; n--, x += cols << 2, to += 32) {
      moments(x, half, 1, to);
      const sum = v128.load(to);
      const squares = v128.load(to, 16);
      moments(x + (half << 2), cols - half, 1, to);
      v128.store(to, f32x4.add(sum, v128.load(to)));
      v128.store(to, f32x4.add(squares, v128.load(to, 16)), 16);
    }
    return;
  }
  for (; n; n--, to += 32) {
    let a = f32x4.splat(0);
    let b = a;
    let c = a;
    let d = a;
    let a2 = a;
    let b2 = a;
    let c2 = a;
    let d2 = a;
    let left = <i32>cols;
    for (; left >= 16; left -= 16, x += 64) {
      const x0 = v128.load(x);
      const x1 = v128.load(x, 16);
      const x2 = v128.load(x, 32);
      const x3 = v128.load(x, 48);
      a = f32x4.add(a, x0);
      b = f32x4.add(b, x1);
      c = f32x4.add(c, x2);
      d = f32x4.add(d, x3);
      a2 = madd(x0, x0, a2);
      b2 = madd(x1, x1, b2);
      c2 = madd(x2, x2, c2);
      d2 = madd(x3, x3, d2);
    }
    for (; left >= 4; left -= 4, x += 16) {
      const v = v128.load(x);
      a = f32x4.add(a, v);
      a2 = madd(v, v, a2);
    }
    if (left) {
      const v = v128.and(v128.load(x), tailMask(left));
      b = f32x4.add(b, v);
      b2 = madd(v, v, b2);
      x += left << 2;
    }
    v128.store(to, f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
    v128.store(to, f32x4.add(f32x4.add(a2, b2), f32x4.add(c2, d2)), 16);
  }
}

/** The sums over the lanes of vectors 32 bytes apart, each as hsum has it. */
// @ts-ignore: decorator
@inline
function sums4(p: usize): v128 {
  const a = v128.load(p);
  const b = v128.load(p, 32);
  const c = v128.load(p, 64);
  const d = v128.load(p, 96);
  const ab = f32x4.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
  return f32x4.add(i32x4.shuffle(ab, cd, 0, 1, 4, 5), i32x4.shuffle(ab, cd, 2, 3, 6, 7));
}

// @ts-ignore: decorator
@inline
function scaled(x: v128, s: v128, k: v128, gamma: v128, beta: v128): v128 {
  return madd(madd(x, s, k), gamma, beta);
}

/**
 * y = (x - offset) * scale * gamma + beta in `cols` columns from column `at` / 4 of `n` rows; gamma and beta advance by their steps every
 * four vectors.
 */
function scaleAndShift(
  word: usize,
  n: u32,
  y: usize,
  bytes: usize,
  at: usize,
  cols: u32,
  gammas: usize,
  gammaStep: u32,
  betas: usize,
  betaStep: u32,
): void {
  for (const end = word + (n << 2); word < end; word += 4, y += bytes) {
    const scale = load<f32>(word, SCALES);
    const s = f32x4.splat(scale);
    const k = f32x4.splat(-load<f32>(word, OFFSETS) * scale);
    let from = <usize>load<u32>(word, SOURCES) + at;
    let to = y + at;
    let gamma = gammas;
    let beta = betas;
    let left = <i32>cols;
    for (; left >= 16; left -= 16, from += 64, to += 64, gamma += gammaStep, beta += betaStep) {
      v128.store(to, scaled(v128.load(from), s, k, v128.load(gamma), v128.load(beta)));
      v128.store(to, scaled(v128.load(from, 16), s, k, v128.load(gamma, 16), v128.load(beta, 16)), 16);
      v128.store(to, scaled(v128.load(from, 32), s, k, v128.load(gamma, 32), v128.load(beta, 32)), 32);
      v128.store(to, scaled(v128.load(from, 48), s, k, v128.load(gamma, 48), v128.load(beta, 48)), 48);
    }
    for (; left > 0; left -= 4, from += 16, to += 16, gamma += 16, beta += 16)
      storeUpTo(to, scaled(v128.load(from), s, k, v128.load(gamma), v128.load(beta)), left);
  }
}

/** Variances below this part of the mean's square are those of x less the mean. */
const CANCELS: f32 = 1 / 8;

/**
 * Of `n` rows: the mean, the scale, where to read the row and what to subtract there. A sum of squares less the square of the sum loses
 * (1 + mean^2 / variance) times the rounding of the sums; where that would be more than 9 times, x less the mean takes the place of y and
 * its mean, which is small, is subtracted in turn.
 */
function statistics(x: usize, y: usize, cols: u32, n: u32, epsilon: f32, centered: bool, scratch: usize): void {
  moments(x, cols, n, scratch + SUMS);
  const part: f32 = 1 / <f32>cols;
  const bytes = (<usize>cols) << 2;
  for (let i: u32 = 0; i < n; i += 4, x += 4 * bytes, y += 4 * bytes) {
    const sums = scratch + SUMS + (i << 5);
    const word = scratch + (i << 2);
    const mean = centered ? f32x4.mul(sums4(sums), f32x4.splat(part)) : f32x4.splat(0);
    const square = f32x4.mul(mean, mean);
    let variance = f32x4.sub(f32x4.mul(sums4(sums + 16), f32x4.splat(part)), square);
    v128.store(word, mean, MEANS);
    v128.store(word, mean, OFFSETS);
    v128.store(word, i32x4.add(i32x4.splat(<i32>x), i32x4.mul(i32x4(0, 1, 2, 3), i32x4.splat(<i32>bytes))), SOURCES);
    // NaN fails the comparison.
    if (!i32x4.all_true(f32x4.ge(variance, f32x4.mul(square, f32x4.splat(CANCELS))))) {
      v128.store(word, variance, SCALES);
      for (let j: u32 = 0; j < min<u32>(4, n - i); j++) {
        const at = word + (j << 2);
        const to = y + <usize>j * bytes;
        const m = load<f32>(at, MEANS);
        if (load<f32>(at, SCALES) >= m * m * CANCELS) continue;
        store<f32>(at, 1, SCALES);
        scaleAndShift(at, 1, to, bytes, 0, cols, scratch, 0, scratch + NEUTRAL, 0);
        moments(to, cols, 1, sums);
        const rest: f32 = hsum(v128.load(sums)) * part;
        store<f32>(at, m + rest, MEANS);
        store<f32>(at, rest, OFFSETS);
        store<f32>(at, max<f32>(0, hsum(v128.load(sums, 16)) * part - rest * rest), SCALES);
        store<u32>(at, <u32>to, SOURCES);
      }
      variance = v128.load(word, SCALES);
    }
    v128.store(word, f32x4.div(f32x4.splat(1), f32x4.sqrt(f32x4.add(variance, f32x4.splat(epsilon)))), SCALES);
  }
}

/**
 * Bytes of short rows that are taken together, and of the longest row that is taken by itself: beyond it gamma, beta, x and y leave L1, and
 * while y is fetched each further miss costs some 6 cycles, those that hit L2 too. Of longer rows ROWS are taken together, a BLOCK of
 * columns at a time.
 */
const TOGETHER: u32 = 2048;
const LONG: u32 = 8192;
const BLOCK: u32 = 1024;

export function layerNorm(c: usize, piece: u32, scratch: usize): void {
  const x = <usize>load<u32>(c);
  const y = <usize>load<u32>(c, 12);
  const means = <usize>load<u32>(c, 16);
  const scales = <usize>load<u32>(c, 20);
  const rows = load<u32>(c, 24);
  const cols = load<u32>(c, 28);
  const perPiece = load<u32>(c, 40);
  const epsilon = load<f32>(c, 32);
  const centered = load<u32>(c, 36) != 0;
  let gamma = <usize>load<u32>(c, 4);
  let beta = <usize>load<u32>(c, 8);
  const gammaStep: u32 = gamma ? 64 : 0;
  const betaStep: u32 = beta ? 64 : 0;
  neutral(scratch);
  if (!gamma) gamma = scratch;
  if (!beta) beta = scratch + NEUTRAL;
  const last = min((piece + 1) * perPiece, rows);
  const bytes = cols << 2;
  const some = bytes > LONG ? ROWS : max<u32>(1, min(ROWS, TOGETHER / bytes));
  const block = bytes > LONG ? BLOCK : cols;
  for (let row = piece * perPiece; row < last; row += some) {
    const n = min(some, last - row);
    const to = y + <usize>row * bytes;
    statistics(x + <usize>row * bytes, to, cols, n, epsilon, centered, scratch);
    for (let i: u32 = 0; i < n; i++) {
      if (means) store<f32>(means + ((row + i) << 2), load<f32>(scratch + (i << 2), MEANS));
      if (scales) store<f32>(scales + ((row + i) << 2), load<f32>(scratch + (i << 2), SCALES));
    }
    for (let col: u32 = 0; col < cols; col += block) {
      const at = col << 2;
      const g = gammaStep ? gamma + at : gamma;
      const b = betaStep ? beta + at : beta;
      scaleAndShift(scratch, n, to, bytes, at, min(block, cols - col), g, gammaStep, b, betaStep);
    }
  }
}

/**
 * Of each of `n` rows sum(g) and sum(g z) with g = dy * gamma and z = x * scale + offset, both words of scratch; dgamma and dbeta grow by
 * dy * z and dy. These are not stored beside dx: stores leave a core in order, and would wait for those that miss the caches. Calls of this
 * and of `gradRows` take 4 % of the time where rows are short.
 */
// @ts-ignore: decorator
@inline
function gradSums(
  word: usize,
  sums: usize,
  n: u32,
  dy: usize,
  x: usize,
  bytes: usize,
  cols: u32,
  gammas: usize,
  gammaStep: u32,
  dgammas: usize,
  dbetas: usize,
): void {
  for (const end = word + (n << 2); word < end; word += 4, sums += 32, dy += bytes, x += bytes) {
    const s = v128.load32_splat(word, SCALES);
    const k = v128.load32_splat(word, OFFSETS);
    let a = f32x4.splat(0);
    let a2 = a;
    let b = a;
    let b2 = a;
    let at: usize = 0;
    let gamma = gammas;
    let left = <i32>cols;
    for (; left >= 8; left -= 8, at += 32, gamma += gammaStep) {
      const y = dy + at;
      const p = x + at;
      const dgamma = dgammas + at;
      const dbeta = dbetas + at;
      let d = v128.load(y);
      let z = madd(v128.load(p), s, k);
      let g = f32x4.mul(d, v128.load(gamma));
      a = f32x4.add(a, g);
      a2 = madd(g, z, a2);
      v128.store(dgamma, madd(d, z, v128.load(dgamma)));
      v128.store(dbeta, f32x4.add(d, v128.load(dbeta)));
      d = v128.load(y, 16);
      z = madd(v128.load(p, 16), s, k);
      g = f32x4.mul(d, v128.load(gamma, 16));
      b = f32x4.add(b, g);
      b2 = madd(g, z, b2);
      v128.store(dgamma, madd(d, z, v128.load(dgamma, 16)), 16);
      v128.store(dbeta, f32x4.add(d, v128.load(dbeta, 16)), 16);
    }
    for (; left > 0; left -= 4, at += 16, gamma += 16) {
      const d = v128.load(dy + at);
      const dgamma = dgammas + at;
      const dbeta = dbetas + at;
      let z = madd(v128.load(x + at), s, k);
      let g = f32x4.mul(d, v128.load(gamma));
      storeUpTo(dgamma, madd(d, z, v128.load(dgamma)), left);
      storeUpTo(dbeta, f32x4.add(d, v128.load(dbeta)), left);
      if (left < 4) {
        g = v128.and(g, tailMask(left));
        z = v128.and(z, tailMask(left));
      }
      a = f32x4.add(a, g);
      a2 = madd(g, z, a2);
    }
    v128.store(sums, f32x4.add(a, b));
    v128.store(sums, f32x4.add(a2, b2), 16);
  }
}

/**
 * Of each of `n` rows dx = scale (g - mean(g) - z mean(g z)), as dy * scale * gamma + x * slope + shift; scale, slope and shift are words
 * of scratch.
 */
// @ts-ignore: decorator
@inline
function gradRows(word: usize, n: u32, dy: usize, x: usize, dx: usize, bytes: usize, cols: u32, gammas: usize, gammaStep: u32): void {
  for (const end = word + (n << 2); word < end; word += 4, dy += bytes, x += bytes, dx += bytes) {
    const s = v128.load32_splat(word, SCALES);
    const shift = v128.load32_splat(word, OFFSETS);
    const slope = v128.load32_splat(word, SLOPES);
    let at: usize = 0;
    let gamma = gammas;
    let left = <i32>cols;
    for (; left >= 8; left -= 8, at += 32, gamma += gammaStep) {
      const y = dy + at;
      const p = x + at;
      const to = dx + at;
      v128.store(to, madd(f32x4.mul(v128.load(y), s), v128.load(gamma), madd(v128.load(p), slope, shift)));
      v128.store(to, madd(f32x4.mul(v128.load(y, 16), s), v128.load(gamma, 16), madd(v128.load(p, 16), slope, shift)), 16);
    }
    for (; left > 0; left -= 4, at += 16, gamma += 16) {
      storeUpTo(dx + at, madd(f32x4.mul(v128.load(dy + at), s), v128.load(gamma), madd(v128.load(x + at), slope, shift)), left);
    }
  }
}

/**
 * Bytes of short rows that the gradient takes together: more wait for memory longer, and those of L1 are shared with gamma, dgamma and
 * dbeta.
 */
const TOGETHER_GRAD: u32 = 512;

export function layerNormGrad(c: usize, piece: u32, scratch: usize): void {
  const rows = load<u32>(c, 28);
  const cols = load<u32>(c, 32);
  const perPiece = load<u32>(c, 40);
  const bytes = (<usize>cols) << 2;
  const centered = load<u32>(c, 36) != 0;
  const first = piece * perPiece;
  const last = min(first + perPiece, rows);
  const dy = <usize>load<u32>(c);
  const x = <usize>load<u32>(c, 4);
  const means = <usize>load<u32>(c, 12);
  const scales = <usize>load<u32>(c, 16);
  const dx = <usize>load<u32>(c, 20);
  const sums = <usize>load<u32>(c, 24) + <usize>piece * bytes;
  const betaSums = sums + <usize>load<u32>(c, 44);
  let gamma = <usize>load<u32>(c, 8);
  const gammaStep: u32 = gamma ? 32 : 0;
  neutral(scratch);
  if (!gamma) gamma = scratch;
  memory.fill(sums, 0, bytes);
  memory.fill(betaSums, 0, bytes);
  const some = max<u32>(1, min(ROWS, TOGETHER_GRAD / <u32>bytes));
  const part = f32x4.splat(1 / <f32>cols);
  const part0 = centered ? part : f32x4.splat(0);
  for (let row = first; row < last; row += some) {
    const n = min(some, last - row);
    const at = <usize>row * bytes;
    for (let i: u32 = 0; i < n; i += 4) {
      const word = scratch + (i << 2);
      const from = (row + i) << 2;
      const s = v128.load(scales + from);
      v128.store(word, s, SCALES);
      v128.store(word, f32x4.neg(f32x4.mul(v128.load(means + from), s)), OFFSETS);
    }
    gradSums(scratch, scratch + SUMS, n, dy + at, x + at, bytes, cols, gamma, gammaStep, sums, betaSums);
    for (let i: u32 = 0; i < n; i += 4) {
      const word = scratch + (i << 2);
      const s = v128.load(word, SCALES);
      const sum = scratch + SUMS + (i << 5);
      const dot = f32x4.neg(f32x4.mul(f32x4.mul(sums4(sum + 16), part), s));
      v128.store(word, f32x4.sub(f32x4.mul(dot, v128.load(word, OFFSETS)), f32x4.mul(f32x4.mul(sums4(sum), part0), s)), OFFSETS);
      v128.store(word, f32x4.mul(dot, s), SLOPES);
    }
    gradRows(scratch, n, dy + at, x + at, dx + at, bytes, cols, gamma, gammaStep);
  }
}

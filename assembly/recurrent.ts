/**
 * @file What the recurrent kernels (lstm, gru, simple-rnn) share: the product of one time step.
 *
 * `product`: c[rows, n] += a[rows, k] w[k, n]. w is read in panels of 8 columns: w + panel*panelStride + i*kStride is row i of a panel.
 * Packed weights have kStride 32 and panelStride 32*k; a plain row-major matrix of ld columns has kStride 4*ld and panelStride 32, which is
 * as good when there are too few rows to pay for packing. c's rows are written in whole panels: they must be working memory with n rounded
 * up to 8. Every element of c sums over k in order, whichever tile computes it, so that a sequence's result does not depend on the batch it
 * is in.
 *
 * Where a kernel has `factors` [B,U], recurrent dropout (constant over steps), products read h * factors, and gradients come back
 * through the same.
 *
 * Weights are packed by `pack` of matmul.ts. What is in columns of the last panel that w does not have, nobody looks at: sums of them go
 * into padding.
 *
 * Method: register tiles of 4 rows x 8 columns (8 accumulators cover 2 FMA units of latency 4) as in GotoBLAS: Goto and van de
 * Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008. No blocking: a panel fits L1, the weights L2.
 */
import { copyWords } from "./move";
import { madd } from "./simd";

/** Columns of a panel. */
const PANEL: u32 = 8;
/** Bytes of a packed panel's row. */
const PANEL_BYTES: usize = 32;

/** Bytes from row to row of working memory with n columns that `product` adds to. */
// @ts-ignore: decorator
@inline
export function paddedBytes(n: u32): usize {
  return (<usize>((n + (PANEL - 1)) & ~(PANEL - 1))) << 2;
}

/** to[0..n) = from[0..n); zero when `from` is absent (0). */
// @ts-ignore: decorator
@inline
export function copyRow(to: usize, from: usize, n: u32): void {
  if (from) copyWords(to, from, n);
  else memory.fill(to, 0, (<usize>n) << 2);
}

/** to[0..n) += from[0..n) in working memory (whole vectors are written). */
export function addRow(to: usize, from: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i += 4) {
    const at = (<usize>i) << 2;
    v128.store(to + at, f32x4.add(v128.load(to + at), v128.load(from + at)));
  }
}

/** to[r] = from[r] * factors[r] for rows of n, what a step reads of its states. `to` is working memory, factors are dense. */
export function dropRows(rows: u32, n: u32, from: usize, fromStride: usize, factors: usize, to: usize, toStride: usize): void {
  for (let r: u32 = 0; r < rows; r++) {
    for (let i: u32 = 0; i < n; i += 4) {
      const at = (<usize>i) << 2;
      v128.store(to + at, f32x4.mul(v128.load(from + at), v128.load(factors + at)));
    }
    from += fromStride;
    factors += (<usize>n) << 2;
    to += toStride;
  }
}

/** The way back: to[r] += from[r] * factors[r], and from[r] = 0 for the next product. Both are working memory with the same stride. */
export function addDropped(rows: u32, n: u32, from: usize, factors: usize, to: usize, stride: usize): void {
  for (let r: u32 = 0; r < rows; r++) {
    for (let i: u32 = 0; i < n; i += 4) {
      const at = (<usize>i) << 2;
      v128.store(to + at, madd(v128.load(from + at), v128.load(factors + at), v128.load(to + at)));
      v128.store(from + at, f32x4.splat(0));
    }
    from += stride;
    factors += (<usize>n) << 2;
    to += stride;
  }
}

/** Four rows of a times one panel: 8 sums, 2 of w and a splat are within the 15 vectors that V8 keeps in registers. */
function tile(k: u32, a0: usize, aStride: usize, w: usize, kStride: usize, c0: usize, cStride: usize): void {
  let a1 = a0 + aStride;
  let a2 = a1 + aStride;
  let a3 = a2 + aStride;
  const c1 = c0 + cStride;
  const c2 = c1 + cStride;
  const c3 = c2 + cStride;
  let s00 = v128.load(c0);
  let s01 = v128.load(c0, 16);
  let s10 = v128.load(c1);
  let s11 = v128.load(c1, 16);
  let s20 = v128.load(c2);
  let s21 = v128.load(c2, 16);
  let s30 = v128.load(c3);
  let s31 = v128.load(c3, 16);
  for (const end = a0 + ((<usize>k) << 2); a0 < end; a0 += 4) {
    const w0 = v128.load(w);
    const w1 = v128.load(w, 16);
    let x = v128.load_splat<f32>(a0);
    s00 = madd(x, w0, s00);
    s01 = madd(x, w1, s01);
    x = v128.load_splat<f32>(a1);
    s10 = madd(x, w0, s10);
    s11 = madd(x, w1, s11);
    x = v128.load_splat<f32>(a2);
    s20 = madd(x, w0, s20);
    s21 = madd(x, w1, s21);
    x = v128.load_splat<f32>(a3);
    s30 = madd(x, w0, s30);
    s31 = madd(x, w1, s31);
    a1 += 4;
    a2 += 4;
    a3 += 4;
    w += kStride;
  }
  v128.store(c0, s00);
  v128.store(c0, s01, 16);
  v128.store(c1, s10);
  v128.store(c1, s11, 16);
  v128.store(c2, s20);
  v128.store(c2, s21, 16);
  v128.store(c3, s30);
  v128.store(c3, s31, 16);
}

/**
 * One row, three panels. V8 loads all of a step's vectors before it adds, 6 beside the 6 sums; with a fourth panel they would
 * spill and the plain build run at half speed.
 */
function row24(k: u32, a: usize, w0: usize, kStride: usize, panelStride: usize, c: usize): void {
  let w1 = w0 + panelStride;
  let w2 = w1 + panelStride;
  let s0 = v128.load(c);
  let s1 = v128.load(c, 16);
  let s2 = v128.load(c, 32);
  let s3 = v128.load(c, 48);
  let s4 = v128.load(c, 64);
  let s5 = v128.load(c, 80);
  for (const end = a + ((<usize>k) << 2); a < end; a += 4) {
    const x = v128.load_splat<f32>(a);
    s0 = madd(x, v128.load(w0), s0);
    s1 = madd(x, v128.load(w0, 16), s1);
    s2 = madd(x, v128.load(w1), s2);
    s3 = madd(x, v128.load(w1, 16), s3);
    s4 = madd(x, v128.load(w2), s4);
    s5 = madd(x, v128.load(w2, 16), s5);
    w0 += kStride;
    w1 += kStride;
    w2 += kStride;
  }
  v128.store(c, s0);
  v128.store(c, s1, 16);
  v128.store(c, s2, 32);
  v128.store(c, s3, 48);
  v128.store(c, s4, 64);
  v128.store(c, s5, 80);
}

function row8(k: u32, a: usize, w: usize, kStride: usize, c: usize): void {
  let s0 = v128.load(c);
  let s1 = v128.load(c, 16);
  for (const end = a + ((<usize>k) << 2); a < end; a += 4) {
    const x = v128.load_splat<f32>(a);
    s0 = madd(x, v128.load(w), s0);
    s1 = madd(x, v128.load(w, 16), s1);
    w += kStride;
  }
  v128.store(c, s0);
  v128.store(c, s1, 16);
}

/** Half a panel: never reads more than 12 bytes past a plain matrix. */
function row4(k: u32, a: usize, w: usize, kStride: usize, c: usize): void {
  let s = v128.load(c);
  for (const end = a + ((<usize>k) << 2); a < end; a += 4) {
    s = madd(v128.load_splat<f32>(a), v128.load(w), s);
    w += kStride;
  }
  v128.store(c, s);
}

function row(n: u32, k: u32, a: usize, w: usize, kStride: usize, panelStride: usize, c: usize): void {
  let j: u32 = 0;
  for (; j + 24 <= n; j += 24) {
    row24(k, a, w, kStride, panelStride, c);
    w += panelStride * 3;
    c += 96;
  }
  for (; j + 4 < n; j += PANEL) {
    row8(k, a, w, kStride, c);
    w += panelStride;
    c += PANEL_BYTES;
  }
  if (j < n) row4(k, a, w, kStride, c);
}

/** c[rows, n] += a[rows, k] w[k, n]; strides in bytes, c's rows padded to whole panels. Four rows or more need packed weights. */
export function product(
  rows: u32,
  n: u32,
  k: u32,
  a: usize,
  aStride: usize,
  w: usize,
  kStride: usize,
  panelStride: usize,
  c: usize,
  cStride: usize,
): void {
  const tiled = rows & ~3;
  if (tiled) {
    let panel = w;
    for (let j: u32 = 0; j < n; j += PANEL) {
      let ar = a;
      let cr = c + ((<usize>j) << 2);
      for (let r: u32 = 0; r < tiled; r += 4) {
        tile(k, ar, aStride, panel, kStride, cr, cStride);
        ar += aStride << 2;
        cr += cStride << 2;
      }
      panel += panelStride;
    }
  }
  for (let r = tiled; r < rows; r++) {
    row(n, k, a + <usize>r * aStride, w, kStride, panelStride, c + <usize>r * cStride);
  }
}

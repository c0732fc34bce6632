/**
 * @file Convolution by 3x3 filters with stride 1 as in Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016):
 * F(4x4, 3x3). y = A^T [(G w G^T) . (B^T x B)] A for tiles of 4x4 pixels of y and 6x6 of x, so that 36 products of [tiles, C] by [C, F] do
 * the work of 144: the elements of 6x6 are called xi here. The matrices interpolate at 0, +-3/4, +-3/2 and infinity. These points have
 * exact coefficients and a third of the error of 0, +-1, +-2 (Barabasz et al., "Error analysis and improving the accuracy of Winograd
 * convolution", 2018, tells what to look for); the mean error is about twice that of a direct sum.
 *
 * The gradients are the transposes of these maps: with dM = A dy A^T, dx is the sum of overlapping tiles B (dM U^T) B^T, and
 * dw = G^T (sum over tiles of V . dM) G. So they need no more tiles than y has.
 *
 * `filters(w[3,3,C,F]) -> u`: 0 w  1 u  2 C  3 F  4 transposed  5 channels of a piece. u[xi][ceil(F / 8)][C][8], or, transposed,
 *   u[xi][ceil(C / 8)][F][8],
 *    with 64 bytes between one xi and the next, so that the 36 stores of an element do not meet in one set of L1. Columns past the last are
 *    undefined.
 * `winograd(x, u, bias?) -> y`: 0 x  1 u  2 bias  3 y, then
 *   4 image rows  5 image columns  6 channels of the image  7 rows of tiles  8 tiles of a row  9 tiles  10 padTop  11 padLeft
 *   12 y's rows  13 y's columns  14 F  15 tiles of a piece  16 columns of a piece  17 column blocks  18 activation
 *   Pieces: tile blocks x column blocks. C and F are multiples of 4.
 */
import { ACT_RELU } from "../../src/wasm/opcodes";
import { epilogue } from "../epilogue";
import { MR, NR } from "../gemm";
import { madd, vmax } from "../simd";

export const XI: u32 = 36;
// Scratch: a tile between its two passes; zeros for rows outside the image; the tiles' V and, for some columns, their M.
export const TEMP: usize = 0;
const ZEROS: usize = 1024;
const MAX_CHANNELS: u32 = 512;
export const TILES: usize = ZEROS + MAX_CHANNELS * 24;
/** Columns whose products are kept before they are transformed. */
export const COLUMNS: u32 = 64;
/** Bytes of a pixel that are transformed at a time. */
const CHUNK: u32 = 128;
/** Bytes between xi's that keep their lines in different sets of L1. */
export const GAP: u32 = 64;

// @ts-ignore: decorator
@inline
export function f(x: f32): v128 {
  return f32x4.splat(x);
}

/** B^T of `count` lines of six: from p_i + next * line to `to` + step * i + nextTo * line. */
function inputLines(
  count: u32,
  p0: usize,
  p1: usize,
  p2: usize,
  p3: usize,
  p4: usize,
  p5: usize,
  next: u32,
  to: usize,
  step: u32,
  nextTo: u32,
): void {
  for (let o: usize = 0; count; count--, o += next, to += nextTo) {
    const d0 = v128.load(p0 + o);
    const d1 = v128.load(p1 + o);
    const d2 = v128.load(p2 + o);
    const d3 = v128.load(p3 + o);
    const d4 = v128.load(p4 + o);
    const d5 = v128.load(p5 + o);
    let q = to;
    v128.store(q, madd(f(1.265625), d0, madd(f(-2.8125), d2, d4)));
    q += step;
    putPair(q, step, f(0.75), madd(f(-2.25), d1, d3), madd(f(-2.25), d2, d4));
    q += 2 * step;
    putPair(q, step, f(1.5), madd(f(-0.5625), d1, d3), madd(f(-0.5625), d2, d4));
    v128.store(q + 2 * step, madd(f(1.265625), d1, madd(f(-2.8125), d3, d5)));
  }
}

/** even + x * odd and even - x * odd, `step` bytes apart. */
// @ts-ignore: decorator
@inline
function putPair(to: usize, step: u32, x: v128, odd: v128, even: v128): void {
  odd = f32x4.mul(x, odd);
  v128.store(to, f32x4.add(even, odd));
  v128.store(to + step, f32x4.sub(even, odd));
}

/** G of `count` lines of three, `stride` bytes apart in a line: from `from` + next * line to `to` + step * i + nextTo * line. */
function filterLines(count: u32, from: usize, stride: u32, next: u32, to: usize, step: u32, nextTo: u32): void {
  for (; count; count--, from += next, to += nextTo) {
    const g0 = v128.load(from);
    const g1 = v128.load(from + stride);
    const g2 = v128.load(from + 2 * stride);
    let q = to;
    v128.store(q, f32x4.mul(f(64.0 / 81), g0));
    q += step;
    putPair(q, step, f(-32.0 / 81), g1, f32x4.mul(f(-128.0 / 243), madd(f(0.5625), g2, g0)));
    q += 2 * step;
    putPair(q, step, f(16.0 / 81), g1, f32x4.mul(f(32.0 / 243), madd(f(2.25), g2, g0)));
    v128.store(q + 2 * step, g2);
  }
}

export function winogradFilters(c: usize, piece: u32, scratch: usize): void {
  const channels = load<u32>(c, 8);
  const columns = load<u32>(c, 12);
  const transposed = TRAINING ? load<u32>(c, 16) != 0 : false;
  const perPiece = load<u32>(c, 20);
  const step = transposed ? ((channels + NR - 1) / NR) * columns * 32 + GAP : ((columns + NR - 1) / NR) * channels * 32 + GAP;
  const u: usize = load<u32>(c, 4);
  const first = piece * perPiece;
  const end = min(first + perPiece, channels);
  // Panel by panel, since that writes whole lines to each of the 36 xi's.
  const filters = transposed ? 4 : NR;
  const rows = transposed ? NR : perPiece;
  for (let row = first; row < end; row += rows) {
    for (let column: u32 = 0; column < columns; column += filters) {
      for (let i = row; i < min(row + rows, end); i++) {
        for (let j = column; j < min(column + filters, columns); j += 4) {
          const to = transposed ? u + ((i / NR) * columns + j) * 32 + (i % NR) * 4 : u + ((j / NR) * channels + i) * 32 + (j % NR) * 4;
          transformFilter(load<u32>(c) + (i * columns + j) * 4, channels * columns * 4, scratch + TEMP, transposed, to, step);
        }
      }
    }
  }
}

/** U = G w G^T of four neighbouring filters, whose taps are `tap` bytes apart. */
function transformFilter(w: usize, tap: u32, temp: usize, transposed: bool, to: usize, step: u32): void {
  filterLines(3, w, 3 * tap, tap, temp, 48, 16);
  if (!transposed) return filterLines(6, temp, 16, 48, to, step, 6 * step);
  filterLines(6, temp, 16, 48, temp + 288, 16, 96);
  for (let p = temp + 288; p != temp + 288 + XI * 16; p += 16, to += step) {
    const v = v128.load(p);
    v128.store32_lane(to, v, 0);
    v128.store32_lane(to, v, 1, 32);
    v128.store32_lane(to, v, 2, 64);
    v128.store32_lane(to, v, 3, 96);
  }
}

/** A of `count` lines of four, as inputLines. */
function gradLines(count: u32, p0: usize, p1: usize, p2: usize, p3: usize, next: u32, to: usize, step: u32, nextTo: u32): void {
  for (let o: usize = 0; count; count--, o += next, to += nextTo) {
    const y0 = v128.load(p0 + o);
    const y1 = v128.load(p1 + o);
    const y2 = v128.load(p2 + o);
    const y3 = v128.load(p3 + o);
    let q = to;
    v128.store(q, y0);
    q += step;
    putPair(q, step, f(0.75), madd(f(0.5625), y3, y1), madd(f(0.5625), y2, y0));
    q += 2 * step;
    putPair(q, step, f(1.5), madd(f(2.25), y3, y1), madd(f(2.25), y2, y0));
    v128.store(q + 2 * step, y3);
  }
}

/**
 * Transforms `count` tiles from `first` on: V = B^T x B, or, with `grad`, dM = A dy A^T. Element xi of channel k of the t-th is at
 * to + xi * step + t / MR * panelStep + t % MR * tileStep + k / 8 * pairStep + k / 4 % 2 * oddStep + k % 4 * 4.
 */
export function transformTiles(
  c: usize,
  scratch: usize,
  first: u32,
  count: u32,
  grad: bool,
  to: usize,
  step: u32,
  panelStep: u32,
  tileStep: u32,
  pairStep: u32,
  oddStep: u32,
): void {
  const bytes = load<u32>(c, 24) * 4;
  const none = scratch + ZEROS;
  memory.fill(none, 0, bytes * 6);
  // Some channels of all tiles, then the next: where neighbouring tiles share lines of `to`, the lines of 36 xi's then stay in L1.
  for (let k: u32 = 0; k < bytes; k += CHUNK) {
    transformChannels(
      c,
      scratch,
      first,
      count,
      grad,
      k,
      min(CHUNK, bytes - k),
      to + (k / 32) * pairStep,
      step,
      panelStep,
      tileStep,
      pairStep,
      oddStep,
    );
  }
}

/** The bytes [k, k + run) of each pixel. */
function transformChannels(
  c: usize,
  scratch: usize,
  first: u32,
  count: u32,
  grad: bool,
  k: u32,
  run: u32,
  to: usize,
  step: u32,
  panelStep: u32,
  tileStep: u32,
  pairStep: u32,
  oddStep: u32,
): void {
  const h = load<i32>(c, 16);
  const w = load<i32>(c, 20);
  const bytes = load<u32>(c, 24) * 4;
  const tileRows = load<u32>(c, 28);
  const rowTiles = load<u32>(c, 32);
  const none = scratch + ZEROS;
  const line = w * bytes;
  let column = first % rowTiles;
  let row = first / rowTiles;
  let image = load<u32>(c) + (row / tileRows) * <u32>h * line + k;
  row %= tileRows;
  for (let t: u32 = 0; t < count; t++) {
    const y = <i32>(row * 4) - load<i32>(c, 40);
    const x = <i32>(column * 4) - load<i32>(c, 44);
    const p = image + (y * w + x) * bytes;
    const p0 = select<usize>(p, none, <u32>y < <u32>h);
    const p1 = select<usize>(p + line, none, <u32>(y + 1) < <u32>h);
    const p2 = select<usize>(p + 2 * line, none, <u32>(y + 2) < <u32>h);
    const p3 = select<usize>(p + 3 * line, none, <u32>(y + 3) < <u32>h);
    const v = to + (t / MR) * panelStep + (t % MR) * tileStep;
    if (TRAINING && grad) transformGrad(scratch, p0, p1, p2, p3, min(4, w - x), bytes, run, v, step, pairStep, oddStep);
    else {
      const p4 = select<usize>(p + 4 * line, none, <u32>(y + 4) < <u32>h);
      const p5 = select<usize>(p + 5 * line, none, <u32>(y + 5) < <u32>h);
      transformInput(scratch, p0, p1, p2, p3, p4, p5, max(0, -x), min(6, w - x), bytes, run, v, step, pairStep, oddStep);
    }
    if (++column < rowTiles) continue;
    column = 0;
    if (++row < tileRows) continue;
    row = 0;
    image += h * line;
  }
}

/** One tile of x: six rows, of which the columns [from, end) are in the image. */
function transformInput(
  scratch: usize,
  p0: usize,
  p1: usize,
  p2: usize,
  p3: usize,
  p4: usize,
  p5: usize,
  from: i32,
  end: i32,
  bytes: u32,
  run: u32,
  to: usize,
  step: u32,
  pairStep: u32,
  oddStep: u32,
): void {
  const temp = scratch + TEMP;
  if (from > 0 || end < 6) memory.fill(temp, 0, XI * 16);
  for (let k: u32 = 0; k < run; k += 16) {
    const o: usize = k + from * bytes;
    inputLines(end - from, p0 + o, p1 + o, p2 + o, p3 + o, p4 + o, p5 + o, bytes, temp + from * 16, 96, 16);
    inputLines(6, temp, temp + 16, temp + 32, temp + 48, temp + 64, temp + 80, 96, to, step, 6 * step);
    to += k & 16 ? pairStep - oddStep : oddStep;
  }
}

/** One tile of dy: four rows, of which the columns [0, end) are in the image. */
function transformGrad(
  scratch: usize,
  p0: usize,
  p1: usize,
  p2: usize,
  p3: usize,
  end: i32,
  bytes: u32,
  run: u32,
  to: usize,
  step: u32,
  pairStep: u32,
  oddStep: u32,
): void {
  const temp = scratch + TEMP;
  if (end < 4) memory.fill(temp, 0, XI * 16);
  for (let k: u32 = 0; k < run; k += 16) {
    gradLines(end, p0 + k, p1 + k, p2 + k, p3 + k, bytes, temp, 96, 16);
    gradLines(6, temp, temp + 16, temp + 32, temp + 48, 96, to, step, 6 * step);
    to += k & 16 ? pairStep - oddStep : oddStep;
  }
}

/** Tiles as `multiply` reads them. */
// @ts-ignore: decorator
@inline
export function transformForProduct(c: usize, scratch: usize, first: u32, count: u32, grad: bool, to: usize, step: u32): void {
  transformTiles(c, scratch, first, count, grad, to, step, load<u32>(c, 24) * MR * 4, 16, MR * 32, MR * 16);
}

/**
 * m[MR panels rows, 8] = V U for `panels` panels of tiles; `u` is a panel of K rows of 8 columns that ends at `end`, rows of m are `ldm`
 * bytes apart.
 */
function multiply(panels: u32, v: usize, u: usize, end: usize, m: usize, ldm: u32): void {
  for (; panels; panels--) {
    let c00 = f(0);
    let c01 = c00;
    let c10 = c00;
    let c11 = c00;
    let c20 = c00;
    let c21 = c00;
    let c30 = c00;
    let c31 = c00;
    let c40 = c00;
    let c41 = c00;
    let c50 = c00;
    let c51 = c00;
    for (let b = u; b != end; v += MR * 16 - 16) {
      for (const stop = v + 16; v != stop; v += 4, b += 32) {
        const b0 = v128.load(b);
        const b1 = v128.load(b, 16);
        const a0 = v128.load_splat<f32>(v);
        c00 = madd(a0, b0, c00);
        c01 = madd(a0, b1, c01);
        const a1 = v128.load_splat<f32>(v, 16);
        c10 = madd(a1, b0, c10);
        c11 = madd(a1, b1, c11);
        const a2 = v128.load_splat<f32>(v, 32);
        c20 = madd(a2, b0, c20);
        c21 = madd(a2, b1, c21);
        const a3 = v128.load_splat<f32>(v, 48);
        c30 = madd(a3, b0, c30);
        c31 = madd(a3, b1, c31);
        if (MR > 4) {
          const a4 = v128.load_splat<f32>(v, 64);
          c40 = madd(a4, b0, c40);
          c41 = madd(a4, b1, c41);
          const a5 = v128.load_splat<f32>(v, 80);
          c50 = madd(a5, b0, c50);
          c51 = madd(a5, b1, c51);
        }
      }
    }
    v128.store(m, c00);
    v128.store(m, c01, 16);
    m += ldm;
    v128.store(m, c10);
    v128.store(m, c11, 16);
    m += ldm;
    v128.store(m, c20);
    v128.store(m, c21, 16);
    m += ldm;
    v128.store(m, c30);
    v128.store(m, c31, 16);
    m += ldm;
    if (MR > 4) {
      v128.store(m, c40);
      v128.store(m, c41, 16);
      m += ldm;
      v128.store(m, c50);
      v128.store(m, c51, 16);
      m += ldm;
    }
  }
}

/** M = V U for all xi: `tiles` tiles (of panels of MR) by K channels, `columns` columns from the panel at `u` on. */
export function multiplyAll(v: usize, stepV: u32, u: usize, stepU: u32, m: usize, stepM: u32, panels: u32, k: u32, columns: u32): void {
  const ldm = ((columns + NR - 1) / NR) * 32;
  for (let xi: u32 = 0; xi < XI; xi++, v += stepV, u += stepU, m += stepM) {
    for (let j: u32 = 0; j < ldm; j += 32) multiply(panels, v, u + j * k, u + (j + 32) * k, m + j, ldm);
  }
}

export function winograd(c: usize, piece: u32, scratch: usize): void {
  const channels = load<u32>(c, 24);
  const tileRows = load<u32>(c, 28);
  const rowTiles = load<u32>(c, 32);
  const filters = load<u32>(c, 56);
  const columnBlocks = load<u32>(c, 68);
  const perColumns = load<u32>(c, 64);
  const first = (piece / columnBlocks) * load<u32>(c, 60);
  const count = min(load<u32>(c, 60), load<u32>(c, 36) - first);
  const panels = (count + MR - 1) / MR;
  const v = scratch + TILES;
  const stepV = panels * MR * channels * 4 + GAP;
  const stepU = ((filters + NR - 1) / NR) * channels * 32 + GAP;
  const m = v + XI * stepV;
  transformForProduct(c, scratch, first, count, false, v, stepV);
  const start = (piece % columnBlocks) * perColumns;
  const end = min(start + perColumns, filters);
  for (let j = start; j < end; j += COLUMNS) {
    const columns = min(COLUMNS, end - j);
    const ldm = ((columns + NR - 1) / NR) * 32;
    const stepM = panels * MR * ldm + GAP;
    multiplyAll(v, stepV, load<u32>(c, 4) + j * channels * 4, stepU, m, stepM, panels, channels, columns);
    const bias: usize = load<u32>(c, 8);
    for (let t: u32 = 0; t < count; t++) {
      const tile = first + t;
      const column = (tile % rowTiles) * 4;
      const row = ((tile / rowTiles) % tileRows) * 4;
      const pixel = ((tile / rowTiles / tileRows) * load<u32>(c, 48) + row) * load<u32>(c, 52) + column;
      untransformTile(
        c,
        scratch,
        m + t * ldm,
        stepM,
        columns,
        bias ? bias + j * 4 : bias,
        load<u32>(c, 12) + (pixel * filters + j) * 4,
        min(4, load<u32>(c, 48) - row),
        min(4, load<u32>(c, 52) - column),
      );
    }
  }
}

/** y = activation(A^T m A + bias) of one tile, of which `rows` and `width` columns are in the image. */
function untransformTile(c: usize, scratch: usize, m: usize, step: u32, columns: u32, bias: usize, y: usize, rows: u32, width: u32): void {
  const temp = scratch + TEMP;
  const pixelBytes: u32 = load<u32>(c, 56) * 4;
  const lineBytes = load<u32>(c, 52) * pixelBytes;
  const activation = load<u32>(c, 72);
  const low = f(activation == ACT_RELU ? 0 : -Infinity);
  const sixth = 6 * step;
  for (let k: u32 = 0; k < columns * 4; k += 16) {
    let p = m + k;
    for (let t = temp; t != temp + 96; t += 16, p += step) {
      let q = p;
      const m0 = v128.load(q);
      q += sixth;
      const m1 = v128.load(q);
      q += sixth;
      const m2 = v128.load(q);
      q += sixth;
      const m3 = v128.load(q);
      q += sixth;
      const m4 = v128.load(q);
      const m5 = v128.load(q + sixth);
      const s1 = f32x4.add(m1, m2);
      const t1 = f32x4.sub(m1, m2);
      const s2 = f32x4.add(m3, m4);
      const t2 = f32x4.sub(m3, m4);
      v128.store(t, f32x4.add(m0, f32x4.add(s1, s2)));
      v128.store(t, madd(f(1.5), t2, f32x4.mul(f(0.75), t1)), 96);
      v128.store(t, madd(f(2.25), s2, f32x4.mul(f(0.5625), s1)), 192);
      v128.store(t, madd(f(3.375), t2, madd(f(0.421875), t1, m5)), 288);
    }
    const start = bias ? v128.load(bias + k) : f(0);
    let to = y + k;
    for (let t = temp; t != temp + rows * 96; t += 96, to += lineBytes) {
      const m1 = v128.load(t, 16);
      const m2 = v128.load(t, 32);
      const m3 = v128.load(t, 48);
      const m4 = v128.load(t, 64);
      const s1 = f32x4.add(m1, m2);
      const t1 = f32x4.sub(m1, m2);
      const s2 = f32x4.add(m3, m4);
      const t2 = f32x4.sub(m3, m4);
      v128.store(to, vmax(low, f32x4.add(f32x4.add(start, v128.load(t)), f32x4.add(s1, s2))));
      if (width > 1) v128.store(to + pixelBytes, vmax(low, madd(f(1.5), t2, madd(f(0.75), t1, start))));
      if (width > 2) v128.store(to + 2 * pixelBytes, vmax(low, madd(f(2.25), s2, madd(f(0.5625), s1, start))));
      if (width > 3)
        v128.store(to + 3 * pixelBytes, vmax(low, madd(f(3.375), t2, madd(f(0.421875), t1, f32x4.add(start, v128.load(t, 80))))));
    }
  }
  if (<i32>activation > ACT_RELU) {
    for (; rows; rows--, y += lineBytes) epilogue(y, pixelBytes, width, columns, activation);
  }
}

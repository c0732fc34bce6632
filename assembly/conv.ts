/**
 * @file Convolution as a product whose A is gathered while it is packed, so that no im2col buffer exists.
 *
 * `conv2d`: rows of A are the pixels (n, p, q) of a grid, its columns the (tap row, tap column, channel) of their windows on an image:
 *    for the forward pass A = windows of x, B = w[R*S*C, F]; for the gradient of x the grid is x's pixels, the image is dy, taps run
 *    backwards (dilation < 0) and B = w with C and F exchanged. Image row of grid row p and tap r: p * mul + add + r * dilation, zero
 *    outside the image. With a stride of t the gradient is t * t such products, one for each phase of x's rows and columns, since each sees
 *    only every t-th tap; their grid's pixels are then spread over c.
 * `conv2dFilterGrad`: A is the transpose: its rows are (tap row, tap column, channel), its columns the pixels; B = dy.
 * Both take the words of gemm.ts, then
 *   22 image rows  23 image columns  24 bytes between pixels of the image  25 grid rows  26 grid columns
 *   27 tap rows  28 tap columns  29 channels of a tap  30 mul  31 add  32 dilation of rows  33 mul  34 add  35 dilation of columns
 * and conv2d: 36 rows of c's image (0: c's rows are the grid's pixels)  37 its columns  38 first row  39 first column  40 row step
 *   41 column step.
 * A tap may stand for a whole row of taps (channels = S * C, one tap column) where windows never cross the image's sides.
 */
import {
  A_STEP,
  GEMM_SCRATCH,
  GEMM_WORDS,
  MR,
  blockK,
  endK,
  firstK,
  firstRow,
  multiplyBlock,
  openPiece,
  packColumns,
  packRows,
  pieceA,
  pieceB,
  pieceC,
  pieceColumns,
  pieceRows,
  pieceStep,
  redirect,
  tileCount,
  tileStart,
  zeros,
} from "./gemm";
import { storeTail } from "./simd";

const GEOMETRY: u32 = GEMM_WORDS * 4;
// Scratch: for each row of a tile, the address of its window and the image row and column where that starts.
const TABLE: usize = GEMM_SCRATCH;
const SPREAD: usize = TABLE + 128;

export function conv2d(c: usize, piece: u32, scratch: usize): void {
  openPiece(c, piece, scratch);
  const g = c + GEOMETRY;
  const y = pieceC(scratch);
  const ldc = pieceStep(scratch);
  const spread = load<u32>(g, 56) != 0;
  if (spread) redirect(scratch, scratch + SPREAD, pieceColumns(scratch) * 4);
  const end = endK(scratch);
  let k = firstK(scratch);
  do {
    const kc = blockK(end - k);
    packPatches(g, scratch, k, kc);
    multiplyBlock(c, scratch, scratch, A_STEP, kc * A_STEP, pieceB(scratch), k, kc);
    k += kc;
  } while (k < end);
  if (spread) spreadPixels(g, scratch, y - firstRow(scratch) * ldc, ldc);
}

/** Copies the piece's rows to their pixels of c, which starts at `y`. */
function spreadPixels(g: usize, scratch: usize, y: usize, ldc: u32): void {
  const gridH = load<u32>(g, 12);
  const gridW = load<u32>(g, 16);
  const rows = pieceRows(scratch);
  const cols = pieceColumns(scratch);
  let from = scratch + SPREAD;
  for (let i: u32 = 0; i < rows; i++) {
    const pixel = firstRow(scratch) + i;
    const row = ((pixel / gridW) % gridH) * load<u32>(g, 72) + load<u32>(g, 64);
    const column = (pixel % gridW) * load<u32>(g, 76) + load<u32>(g, 68);
    let to = y + (((pixel / gridW / gridH) * load<u32>(g, 56) + row) * load<u32>(g, 60) + column) * ldc;
    let n = cols;
    for (; n >= 4; n -= 4, from += 16, to += 16) v128.store(to, v128.load(from));
    if (n) storeTail(to, v128.load(from), n);
    from += n * 4;
  }
}

export function conv2dFilterGrad(c: usize, piece: u32, scratch: usize): void {
  openPiece(c, piece, scratch);
  const end = endK(scratch);
  let k = firstK(scratch);
  do {
    const kc = blockK(end - k);
    packPatchColumns(c + GEOMETRY, scratch, k, kc);
    multiplyBlock(c, scratch, scratch, A_STEP, kc * A_STEP, pieceB(scratch), k, kc);
    k += kc;
  } while (k < end);
}

function packPatches(g: usize, scratch: usize, k: u32, kc: u32): void {
  const h = load<i32>(g);
  const w = load<i32>(g, 4);
  const pixelBytes = load<i32>(g, 8);
  const gridH = load<u32>(g, 12);
  const gridW = load<u32>(g, 16);
  const mulH = load<i32>(g, 32);
  const addH = load<i32>(g, 36);
  const mulW = load<i32>(g, 44);
  const addW = load<i32>(g, 48);
  const spanH = (load<i32>(g, 20) - 1) * load<i32>(g, 40);
  const spanW = (load<i32>(g, 24) - 1) * load<i32>(g, 52);
  // Windows are inside the image where their first tap has row in [top, bottom) and column in [left, right).
  const top = max(0, -spanH);
  const bottom = h - max(0, spanH);
  const left = max(0, -spanW);
  const right = w - max(0, spanW);
  const stepX = mulW * pixelBytes;
  const rows = pieceRows(scratch);
  const tiles = tileCount(rows);
  const pixel = firstRow(scratch);
  let q = pixel % gridW;
  let p = pixel / gridW;
  let image = pieceA(scratch) + (p / gridH) * <u32>(h * w * pixelBytes);
  p %= gridH;
  let y = <i32>p * mulH + addH;
  let x = <i32>q * mulW + addW;
  let dst = scratch;
  for (let t: u32 = 0; t < tiles; t++, dst += kc * A_STEP) {
    const count = tileStart(rows, t + 1) - tileStart(rows, t);
    let inside = true;
    let entry = scratch + TABLE;
    for (let done: u32 = 0; done < count;) {
      if (q == gridW) {
        q = 0;
        x = addW;
        y += mulH;
        if (++p == gridH) {
          p = 0;
          y = addH;
          image += h * w * pixelBytes;
        }
      }
      const n = min(count - done, gridW - q);
      inside = inside && y >= top && y < bottom && x >= left && x + <i32>(n - 1) * mulW < right;
      let window = image + (y * w + x) * pixelBytes;
      for (let i: u32 = 0; i < n; i++, entry += 16) {
        store<usize>(entry, window);
        store<i32>(entry, y, 4);
        store<i32>(entry, x, 8);
        window += stepX;
        x += mulW;
      }
      q += n;
      done += n;
    }
    // Rows that the tile lacks repeat its last.
    for (let i = count; i < MR; i++, entry += 16) v128.store(entry, v128.load(entry - 16));
    packTile(g, scratch, dst, count, inside, k, kc);
  }
}

// @ts-ignore: decorator
@inline
function entryOf(scratch: usize, i: u32): usize {
  return scratch + TABLE + min(i, MR - 1) * 16;
}

/** Packs k's [k, k + kc) of a tile whose pixels are in the table; `inside` says that no window leaves the image. */
function packTile(g: usize, scratch: usize, dst: usize, count: u32, inside: bool, k: u32, kc: u32): void {
  const e0 = entryOf(scratch, 0);
  const e1 = entryOf(scratch, 1);
  const e2 = entryOf(scratch, 2);
  const e3 = entryOf(scratch, 3);
  const e4 = entryOf(scratch, 4);
  const e5 = entryOf(scratch, 5);
  const h = load<u32>(g);
  const w = load<u32>(g, 4);
  const pixelBytes = load<i32>(g, 8);
  const tapsW = load<u32>(g, 24);
  const run = load<u32>(g, 28);
  const dilationH = load<i32>(g, 40);
  const dilationW = load<i32>(g, 52);
  // Windows one float apart: the rows of the panel lie next to each other.
  const adjacent = inside && count == MR && load<u32>(entryOf(scratch, MR - 1)) - load<u32>(e0) == MR * 4 - 4;
  const tap = k / run;
  let channel = k % run;
  let s = tap % tapsW;
  let dy = <i32>(tap / tapsW) * dilationH;
  let dx = <i32>s * dilationW;
  while (kc) {
    const n = min(run - channel, kc);
    const offset = <u32>((dy * <i32>w + dx) * pixelBytes) + channel * 4;
    if (adjacent) packColumns(dst, load<u32>(e0) + offset, 4, n, MR);
    else if (inside) {
      packRows(
        dst,
        n,
        load<u32>(e0) + offset,
        load<u32>(e1) + offset,
        load<u32>(e2) + offset,
        load<u32>(e3) + offset,
        load<u32>(e4) + offset,
        load<u32>(e5) + offset,
      );
    } else {
      const none = zeros(scratch);
      packRows(
        dst,
        n,
        under(e0, offset, dy, dx, h, w, none),
        under(e1, offset, dy, dx, h, w, none),
        under(e2, offset, dy, dx, h, w, none),
        under(e3, offset, dy, dx, h, w, none),
        under(e4, offset, dy, dx, h, w, none),
        under(e5, offset, dy, dx, h, w, none),
      );
    }
    dst += n * A_STEP;
    kc -= n;
    channel = 0;
    dx += dilationW;
    if (++s == tapsW) {
      s = 0;
      dx = 0;
      dy += dilationH;
    }
  }
}

/** The address of a window's pixel under a tap, or of zeros where that is outside the image. */
// @ts-ignore: decorator
@inline
function under(entry: usize, offset: u32, dy: i32, dx: i32, h: u32, w: u32, none: usize): usize {
  const inside = <u32>(load<i32>(entry, 4) + dy) < h && <u32>(load<i32>(entry, 8) + dx) < w;
  return select<usize>(load<u32>(entry) + offset, none, inside);
}

function packPatchColumns(g: usize, scratch: usize, k: u32, kc: u32): void {
  const run = load<u32>(g, 28);
  const tapsW = load<u32>(g, 24);
  const rows = pieceRows(scratch);
  const first = firstRow(scratch);
  const tiles = tileCount(rows);
  let dst = scratch;
  for (let t: u32 = 0; t < tiles; t++, dst += kc * A_STEP) {
    const start = tileStart(rows, t);
    const end = tileStart(rows, t + 1);
    for (let row = start; row < end;) {
      const tap = (first + row) / run;
      const channel = (first + row) % run;
      const count = min(run - channel, end - row);
      packTap(g, dst + (row - start) * 4, pieceA(scratch) + channel * 4, tap / tapsW, tap % tapsW, k, kc, count);
      row += count;
    }
  }
}

/** `count` channels of tap (r, s) over pixels [k, k + kc) of the grid. */
function packTap(g: usize, dst: usize, image: usize, r: i32, s: i32, k: u32, kc: u32, count: u32): void {
  const h = load<u32>(g);
  const w = load<i32>(g, 4);
  const pixelBytes: u32 = load<u32>(g, 8);
  const gridH = load<u32>(g, 12);
  const gridW = load<u32>(g, 16);
  const mulH = load<i32>(g, 32);
  const mulW = load<i32>(g, 44);
  const addH = load<i32>(g, 36) + r * load<i32>(g, 40);
  const addW = load<i32>(g, 48) + s * load<i32>(g, 52);
  // Grid columns [from, to) read inside the image.
  const from: u32 = addW >= 0 ? 0 : (mulW - 1 - addW) / mulW;
  const to: u32 = addW < w ? (w - 1 - addW) / mulW + 1 : 0;
  const step = <u32>mulW * pixelBytes;
  let q = k % gridW;
  let p = k / gridW;
  let n = p / gridH;
  p %= gridH;
  while (kc) {
    const end = min(gridW, q + kc);
    const y: u32 = p * mulH + addH;
    const a = y < h ? min(max(from, q), end) : end;
    const b = y < h ? max(min(to, end), a) : end;
    if (a > q) clearColumns(dst, a - q, count);
    if (b > a) packColumns(dst + (a - q) * A_STEP, image + <usize>((n * h + y) * w + a * mulW + addW) * pixelBytes, step, b - a, count);
    if (end > b) clearColumns(dst + (b - q) * A_STEP, end - b, count);
    dst += (end - q) * A_STEP;
    kc -= end - q;
    q = 0;
    if (++p == gridH) {
      p = 0;
      n++;
    }
  }
}

function clearColumns(dst: usize, n: u32, count: u32): void {
  for (; n; n--, dst += A_STEP) {
    for (let i: u32 = 0; i < count; i++) store<f32>(dst + i * 4, 0);
  }
}

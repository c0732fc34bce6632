/**
 * @file `conv2dNarrow(x, w, bias?) -> y`: conv2d with few elements in a window and few filters, such as a network's first layer. With so
 * short sums, packing A and going over a block of rows once for each panel of columns takes a third to a half of the time; here a tile's
 * pixels are read where they are, at offsets that all pixels share, and all its filters are done before the next tile.
 *   0 x  1 w  2 bias  3 y  4 image rows  5 columns  6 channels  7 y's rows  8 y's columns (at least 6)  9 F, a multiple of 8
 *   10, 11 strides  12, 13 dilations  14 padTop  15 padLeft  16 tap rows  17 tap columns  18 rows of a piece  19 pieces of an image
 *   20 where windows cross the image's sides, columns of an image that is wide enough; each piece copies its part of x into such a one,
 *   with zeros around. Else 0  21 activation  22 with one channel and stride 1 the tap columns: each has such a copy, shifted by it and as
 *   wide as y, so that pixels lie next to each other over the ends of rows and share their addresses, which took a sixth of the
 *   instructions. Else 0
 * An element's sum runs over taps and channels in order from the bias, as in conv.ts.
 */
import { ACT_RELU } from "../../src/wasm/opcodes";
import { epilogue } from "../epilogue";
import { MR, NR } from "../gemm";
import { madd, vmax } from "../simd";

/** Scratch: the offsets of a window's elements, zeros for an absent bias, the copy of the image. */
export const MAX_K: u32 = 256;
const ZEROS: usize = MAX_K * 4;
const IMAGE: usize = ZEROS + 64;

export function conv2dNarrow(c: usize, piece: u32, scratch: usize): void {
  const channelBytes = load<u32>(c, 24) * 4;
  const p = load<u32>(c, 28);
  const q = load<u32>(c, 32);
  const f = load<u32>(c, 36);
  const strideH = load<u32>(c, 40);
  const activation = load<u32>(c, 84);
  const shifted = load<u32>(c, 88);
  const image = piece / load<u32>(c, 76);
  const first = (piece % load<u32>(c, 76)) * load<u32>(c, 72);
  const rows = min(load<u32>(c, 72), p - first);
  const x = imageRows(c, scratch + IMAGE, image, first, rows);
  const line = lineBytes(c);
  const table = fillTable(c, scratch, shifted ? rowsRead(c, rows) * line : load<u32>(c, 52) * channelBytes);
  v128.store(scratch + ZEROS, f32x4.splat(0));
  v128.store(scratch + ZEROS, f32x4.splat(0), 16);
  const y: usize = load<u32>(c, 12) + (image * p + first) * q * f * 4;
  const pixels = rows * q;
  const step = load<u32>(c, 44) * channelBytes;
  // Bytes from behind the last pixel of a row to the first of the next.
  const turn = strideH * line - q * step;
  const floor: f32 = activation == ACT_RELU ? 0 : -Infinity;
  for (let pixel: u32 = 0; pixel < pixels; pixel += MR) {
    // The last tile does some pixels again.
    const at = min(pixel, pixels - MR);
    if (shifted) {
      adjacentTile(x + at * 4, scratch, table, load<u32>(c, 4), load<u32>(c, 8), f * 4, y + at * f * 4, floor);
      continue;
    }
    const column = at % q;
    const left = q - column;
    const from = x + (at / q) * strideH * line + column * step;
    separateTile(
      from,
      from + step + select<u32>(0, turn, left > 1),
      from + 2 * step + select<u32>(0, turn, left > 2),
      from + 3 * step + select<u32>(0, turn, left > 3),
      from + 4 * step + select<u32>(0, turn, left > 4),
      from + 5 * step + select<u32>(0, turn, left > 5),
      scratch,
      table,
      load<u32>(c, 4),
      load<u32>(c, 8),
      f * 4,
      y + at * f * 4,
      floor,
    );
  }
  if (<i32>activation > ACT_RELU) epilogue(y, f * 4, pixels, f, activation);
}

/** Bytes from row to row of what the kernels read: the image, or its copy. */
// @ts-ignore: decorator
@inline
export function lineBytes(c: usize): u32 {
  return (load<u32>(c, 80) ? load<u32>(c, 80) : load<u32>(c, 20)) * load<u32>(c, 24) * 4;
}

/** Rows of the image that `rows` of y see. */
// @ts-ignore: decorator
@inline
function rowsRead(c: usize, rows: u32): u32 {
  return (rows - 1) * load<u32>(c, 40) + (load<u32>(c, 64) - 1) * load<u32>(c, 48) + 1;
}

/** Where the windows of y's rows [first, first + rows) begin: in the image, or in a copy at `to`. */
export function imageRows(c: usize, to: usize, image: u32, first: u32, rows: u32): usize {
  const h = load<u32>(c, 16);
  const channelBytes = load<u32>(c, 24) * 4;
  const line = load<u32>(c, 20) * channelBytes;
  const x: usize = load<u32>(c) + image * h * line;
  const y = first * load<u32>(c, 40);
  if (!load<u32>(c, 80)) return x + y * line;
  const bytes = rowsRead(c, rows) * lineBytes(c);
  let left = load<i32>(c, 60) * <i32>channelBytes;
  for (let i: u32 = 0; i < max<u32>(1, load<u32>(c, 88)); i++, left -= load<u32>(c, 52) * channelBytes) {
    copyRows(to + i * bytes, x, <i32>y - load<i32>(c, 56), rowsRead(c, rows), h, line, left, lineBytes(c));
  }
  return to;
}

/** Writes the offset of each element of a window to `table`; gives the table's end. */
export function fillTable(c: usize, table: usize, tapStep: u32): usize {
  const channelBytes = load<u32>(c, 24) * 4;
  for (let r: u32 = 0; r < load<u32>(c, 64); r++) {
    for (let s: u32 = 0; s < load<u32>(c, 68); s++) {
      const offset = r * load<u32>(c, 48) * lineBytes(c) + s * tapStep;
      for (let i: u32 = 0; i < channelBytes; i += 4, table += 4) store<u32>(table, offset + i);
    }
  }
  return table;
}

/** MR pixels, one float from each other, by all filters. Calls of it would take 4 % of the time where a window has nine elements. */
// @ts-ignore: decorator
@inline
function adjacentTile(p: usize, scratch: usize, end: usize, w: usize, bias: usize, ld: u32, y: usize, floor: f32): void {
  filterTile(true, p, p, p, p, p, p, scratch, end, w, bias, ld, y, floor);
}

/** MR pixels by all filters. */
// @ts-ignore: decorator
@inline
function separateTile(
  p0: usize,
  p1: usize,
  p2: usize,
  p3: usize,
  p4: usize,
  p5: usize,
  scratch: usize,
  end: usize,
  w: usize,
  bias: usize,
  ld: u32,
  y: usize,
  floor: f32,
): void {
  filterTile(false, p0, p1, p2, p3, p4, p5, scratch, end, w, bias, ld, y, floor);
}

// @ts-ignore: decorator
@inline
function filterTile(
  adjacent: bool,
  p0: usize,
  p1: usize,
  p2: usize,
  p3: usize,
  p4: usize,
  p5: usize,
  scratch: usize,
  end: usize,
  w: usize,
  bias: usize,
  ld: u32,
  y: usize,
  floor: f32,
): void {
  const low = f32x4.splat(floor);
  const biasStep = bias ? NR * 4 : 0;
  if (!bias) bias = scratch + ZEROS;
  for (const stop = w + ld; w != stop; w += NR * 4, y += NR * 4, bias += biasStep) {
    let c00 = v128.load(bias);
    let c01 = v128.load(bias, 16);
    let c10 = c00;
    let c11 = c01;
    let c20 = c00;
    let c21 = c01;
    let c30 = c00;
    let c31 = c01;
    let c40 = c00;
    let c41 = c01;
    let c50 = c00;
    let c51 = c01;
    let b = w;
    for (let t = scratch; t != end; t += 4, b += ld) {
      const o: usize = load<u32>(t);
      const b0 = v128.load(b);
      const b1 = v128.load(b, 16);
      const a0 = v128.load_splat<f32>(p0 + o);
      c00 = madd(a0, b0, c00);
      c01 = madd(a0, b1, c01);
      const a1 = adjacent ? v128.load_splat<f32>(p0 + o, 4) : v128.load_splat<f32>(p1 + o);
      c10 = madd(a1, b0, c10);
      c11 = madd(a1, b1, c11);
      const a2 = adjacent ? v128.load_splat<f32>(p0 + o, 8) : v128.load_splat<f32>(p2 + o);
      c20 = madd(a2, b0, c20);
      c21 = madd(a2, b1, c21);
      const a3 = adjacent ? v128.load_splat<f32>(p0 + o, 12) : v128.load_splat<f32>(p3 + o);
      c30 = madd(a3, b0, c30);
      c31 = madd(a3, b1, c31);
      if (MR > 4) {
        const a4 = adjacent ? v128.load_splat<f32>(p0 + o, 16) : v128.load_splat<f32>(p4 + o);
        c40 = madd(a4, b0, c40);
        c41 = madd(a4, b1, c41);
        const a5 = adjacent ? v128.load_splat<f32>(p0 + o, 20) : v128.load_splat<f32>(p5 + o);
        c50 = madd(a5, b0, c50);
        c51 = madd(a5, b1, c51);
      }
    }
    let to = y;
    v128.store(to, vmax(low, c00));
    v128.store(to, vmax(low, c01), 16);
    to += ld;
    v128.store(to, vmax(low, c10));
    v128.store(to, vmax(low, c11), 16);
    to += ld;
    v128.store(to, vmax(low, c20));
    v128.store(to, vmax(low, c21), 16);
    to += ld;
    v128.store(to, vmax(low, c30));
    v128.store(to, vmax(low, c31), 16);
    if (MR > 4) {
      to += ld;
      v128.store(to, vmax(low, c40));
      v128.store(to, vmax(low, c41), 16);
      to += ld;
      v128.store(to, vmax(low, c50));
      v128.store(to, vmax(low, c51), 16);
    }
  }
}

/**
 * Rows [y, y + rows) of an image of `h` rows of `line` bytes, each from `left` bytes before its first column, `wide` bytes of it; zeros
 * outside of the image.
 */
function copyRows(to: usize, x: usize, y: i32, rows: u32, h: u32, line: u32, left: i32, wide: u32): void {
  const from: u32 = min(max(left, 0), <i32>wide);
  const end: u32 = max(min(<i32>line + left, <i32>wide), <i32>from);
  for (; rows; rows--, y++, to += wide) {
    const inside = <u32>y < h;
    const start = inside ? from : wide;
    const stop = inside ? end : wide;
    const source = x + y * line - left;
    for (let i: u32 = 0; i < start; i += 4) store<f32>(to + i, 0);
    // Writes up to 12 bytes of what comes next. Lines are too short for calls of memory.copy.
    for (let i = start; i < stop; i += 16) v128.store(to + i, v128.load(source + i));
    for (let i = stop; i < wide; i += 4) store<f32>(to + i, 0);
  }
}

/**
 * @file `conv2dNarrow(x, w, bias?) -> y`: conv2d with few elements in a window and few filters, such as a network's first layer. With so short sums, packing A and
 * going over a block of rows once for each panel of columns takes a third to a half of the time; here a tile's pixels are read where they are, at
 * offsets that all pixels share, and all its filters are done before the next tile.
 *   0 x  1 w  2 bias  3 y  4 image rows  5 columns  6 channels  7 y's rows  8 y's columns (at least 6)  9 F, a multiple of 8  10, 11 strides  12, 13 dilations
 *   14 padTop  15 padLeft  16 tap rows  17 tap columns  18 rows of a piece  19 pieces of an image  20 where windows cross the image's sides, columns of an image that
 *   is wide enough; each piece copies its part of x into such a one, with zeros around. Else 0  21 activation
 * An element's sum runs over taps and channels in order from the bias, as in conv.ts.
 */
import { ACT_RELU } from "../src/wasm/opcodes";
import { epilogue } from "./epilogue";
import { MR, NR } from "./gemm";
import { madd, vmax } from "./simd";

/** Scratch: the offsets of a window's elements, zeros for an absent bias, the copy of the image. */
const MAX_K: u32 = 256;
const ZEROS: usize = MAX_K * 4;
const IMAGE: usize = ZEROS + 64;

export function conv2dNarrow(c: usize, piece: u32, scratch: usize): void {
  const channelBytes = load<u32>(c, 24) * 4, p = load<u32>(c, 28), q = load<u32>(c, 32), f = load<u32>(c, 36);
  const strideH = load<u32>(c, 40), activation = load<u32>(c, 84), wide = load<u32>(c, 80);
  const image = piece / load<u32>(c, 76), first = piece % load<u32>(c, 76) * load<u32>(c, 72);
  const rows = min(load<u32>(c, 72), p - first);
  const spanH = (load<u32>(c, 64) - 1) * load<u32>(c, 48);
  let x: usize = load<u32>(c) + image * load<u32>(c, 16) * load<u32>(c, 20) * channelBytes;
  let line = load<u32>(c, 20) * channelBytes;
  if (wide) {
    copyRows(c, scratch + IMAGE, x, <i32>(first * strideH) - load<i32>(c, 56), (rows - 1) * strideH + spanH + 1, line, wide * channelBytes);
    x = scratch + IMAGE;
    line = wide * channelBytes;
  } else x += first * strideH * line;
  let table = scratch;
  for (let r: u32 = 0; r < load<u32>(c, 64); r++) {
    for (let s: u32 = 0; s < load<u32>(c, 68); s++) {
      let offset = r * load<u32>(c, 48) * line + s * load<u32>(c, 52) * channelBytes;
      for (let i: u32 = 0; i < channelBytes; i += 4, table += 4) store<u32>(table, offset + i);
    }
  }
  v128.store(scratch + ZEROS, f32x4.splat(0));
  v128.store(scratch + ZEROS, f32x4.splat(0), 16);
  const y: usize = load<u32>(c, 12) + (image * p + first) * q * f * 4;
  const pixels = rows * q, step = load<u32>(c, 44) * channelBytes;
  const floor: f32 = activation == ACT_RELU ? 0 : -Infinity;
  for (let pixel: u32 = 0; pixel < pixels; pixel += MR) {
    // The last tile does some pixels again.
    const at = min(pixel, pixels - MR);
    let column = at % q;
    let row = x + at / q * strideH * line;
    const p0 = row + column * step;
    if (++column == q) { column = 0; row += strideH * line; }
    const p1 = row + column * step;
    if (++column == q) { column = 0; row += strideH * line; }
    const p2 = row + column * step;
    if (++column == q) { column = 0; row += strideH * line; }
    const p3 = row + column * step;
    if (++column == q) { column = 0; row += strideH * line; }
    const p4 = row + column * step;
    if (++column == q) { column = 0; row += strideH * line; }
    filterTile(p0, p1, p2, p3, p4, row + column * step, scratch, table, load<u32>(c, 4), load<u32>(c, 8), f * 4, y + at * f * 4, floor);
  }
  if (<i32>activation > ACT_RELU) epilogue(y, f * 4, pixels, f, activation);
}

/** MR pixels by all filters. */
function filterTile(p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, scratch: usize, end: usize, w: usize, bias: usize, ld: u32, y: usize, floor: f32): void {
  const low = f32x4.splat(floor);
  const biasStep = bias ? NR * 4 : 0;
  if (!bias) bias = scratch + ZEROS;
  for (const stop = w + ld; w != stop; w += NR * 4, y += NR * 4, bias += biasStep) {
    let c00 = v128.load(bias), c01 = v128.load(bias, 16);
    let c10 = c00, c11 = c01, c20 = c00, c21 = c01, c30 = c00, c31 = c01, c40 = c00, c41 = c01, c50 = c00, c51 = c01;
    let b = w;
    for (let t = scratch; t != end; t += 4, b += ld) {
      const o: usize = load<u32>(t);
      const b0 = v128.load(b), b1 = v128.load(b, 16);
      const a0 = v128.load_splat<f32>(p0 + o);
      c00 = madd(a0, b0, c00);
      c01 = madd(a0, b1, c01);
      const a1 = v128.load_splat<f32>(p1 + o);
      c10 = madd(a1, b0, c10);
      c11 = madd(a1, b1, c11);
      const a2 = v128.load_splat<f32>(p2 + o);
      c20 = madd(a2, b0, c20);
      c21 = madd(a2, b1, c21);
      const a3 = v128.load_splat<f32>(p3 + o);
      c30 = madd(a3, b0, c30);
      c31 = madd(a3, b1, c31);
      if (MR > 4) {
        const a4 = v128.load_splat<f32>(p4 + o);
        c40 = madd(a4, b0, c40);
        c41 = madd(a4, b1, c41);
        const a5 = v128.load_splat<f32>(p5 + o);
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

/** Rows [y, y + rows) of the image with zeros around, `wide` bytes each. */
function copyRows(c: usize, to: usize, x: usize, y: i32, rows: u32, line: u32, wide: u32): void {
  const left = load<u32>(c, 60) * load<u32>(c, 24) * 4;
  memory.fill(to, 0, rows * wide);
  for (let i: u32 = 0; i < rows; i++, y++, to += wide) {
    if (<u32>y < load<u32>(c, 16)) memory.copy(to + left, x + y * line, min(line, wide - left));
  }
}

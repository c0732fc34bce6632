/**
 * @file `conv2dDepthwise(x, w, bias?) -> y`: conv2d in which each channel has filters of its own, one each: no product, but for each pixel
 * as many multiply-adds as the window has taps, on vectors of channels. As products of one column it took five times as long.
 *   0 x  1 w  2 bias  3 y  4 image rows  5 columns  6 channels  7 y's rows  8 y's columns  9, 10 strides  11, 12 dilations  13 padTop
 *   14 padLeft  15 tap rows  16 tap columns  17 rows of a piece  18 pieces of an image  19 activation  20 bytes from a tap to the next
 *   in w, less than 0 from the last to the first  21 bytes from w to the first of them
 * An element's sum runs over taps in order from the bias; taps outside of the image are left out.
 */
import { ACT_RELU } from "../../src/wasm/opcodes";
import { epilogue } from "../epilogue";
import { madd, storeUpTo, vmax } from "../simd";

/** Pixels that are done at once. */
const PIXELS: u32 = 4;

/** The first tap that is inside, for a window that begins at `start` of a dimension. */
// @ts-ignore: decorator
@inline
function firstTap(start: i32, dilation: i32, taps: i32): i32 {
  return start >= 0 ? 0 : min(taps, (dilation - 1 - start) / dilation);
}

/** The tap behind the last that is inside. */
// @ts-ignore: decorator
@inline
function endOfTaps(start: i32, size: i32, dilation: i32, taps: i32): i32 {
  return size <= start ? 0 : min(taps, (size - start + dilation - 1) / dilation);
}

export function conv2dDepthwise(c: usize, piece: u32, _scratch: usize): void {
  const h = load<i32>(c, 16);
  const columns = load<i32>(c, 20);
  const channelBytes = load<u32>(c, 24) * 4;
  const p = load<u32>(c, 28);
  const q = load<i32>(c, 32);
  const strideH = load<i32>(c, 36);
  const strideW = load<i32>(c, 40);
  const dilationH = load<i32>(c, 44);
  const dilationW = load<i32>(c, 48);
  const padLeft = load<i32>(c, 56);
  const tapColumns = load<i32>(c, 64);
  const pieces = load<u32>(c, 72);
  const activation = load<u32>(c, 76);
  const tapStep = load<i32>(c, 80);
  const image = piece / pieces;
  const begin = (piece % pieces) * load<u32>(c, 68);
  const end = min(begin + load<u32>(c, 68), p);
  const line = columns * channelBytes;
  const x: usize = load<u32>(c) + image * h * line;
  const floor: f32 = activation == ACT_RELU ? 0 : -Infinity;
  // Columns whose windows are inside.
  const from = min(q, (padLeft + strideW - 1) / strideW);
  const room = columns - 1 + padLeft - (tapColumns - 1) * dilationW;
  const to = room < 0 ? from : max(from, min(q, room / strideW + 1));
  for (let row = begin; row < end; row++) {
    const top = <i32>row * strideH - load<i32>(c, 52);
    const firstRow = firstTap(top, dilationH, load<i32>(c, 60));
    const rows = max(0, endOfTaps(top, h, dilationH, load<i32>(c, 60)) - firstRow);
    const rowStep = dilationH * line;
    const source = x + (top + firstRow * dilationH) * line;
    const w: usize = load<u32>(c, 4) + load<u32>(c, 84) + firstRow * tapColumns * tapStep;
    const y: usize = load<u32>(c, 12) + (image * p + row) * q * channelBytes;
    for (let column: i32 = 0; column < q;) {
      const left = column * strideW - padLeft;
      if (column >= from && column + <i32>PIXELS <= to) {
        const tile = source + left * channelBytes;
        tilePixels(
          tile,
          strideW * channelBytes,
          rowStep,
          dilationW * channelBytes,
          rows,
          tapColumns,
          w,
          tapStep,
          tapColumns,
          load<u32>(c, 8),
          y + column * channelBytes,
          channelBytes,
          floor,
        );
        column += PIXELS;
        continue;
      }
      const first = firstTap(left, dilationW, tapColumns);
      const taps = max(0, endOfTaps(left, columns, dilationW, tapColumns) - first);
      const pixel = source + (left + first * dilationW) * channelBytes;
      onePixel(
        pixel,
        rowStep,
        dilationW * channelBytes,
        rows,
        taps,
        w + first * tapStep,
        tapStep,
        tapColumns,
        load<u32>(c, 8),
        y + column * channelBytes,
        channelBytes,
        floor,
      );
      column++;
    }
    if (<i32>activation > ACT_RELU) epilogue(y, channelBytes, q, channelBytes / 4, activation);
  }
}

/** Four pixels next to each other, all channels. */
function tilePixels(
  x: usize,
  pixelStep: usize,
  rowStep: usize,
  columnStep: usize,
  rows: i32,
  taps: i32,
  w: usize,
  tapStep: i32,
  rowOfTaps: i32,
  bias: usize,
  y: usize,
  bytes: u32,
  floor: f32,
): void {
  const low = f32x4.splat(floor);
  for (let i: u32 = 0; i < bytes; i += 16) {
    let c0 = bias ? v128.load(bias + i) : f32x4.splat(0);
    let c1 = c0;
    let c2 = c0;
    let c3 = c0;
    let line = x + i;
    let b = w + i;
    for (let r: i32 = 0; r < rows; r++, line += rowStep) {
      let a = line;
      let tap = b;
      for (let s: i32 = 0; s < taps; s++, a += columnStep, tap += tapStep) {
        const f = v128.load(tap);
        c0 = madd(v128.load(a), f, c0);
        c1 = madd(v128.load(a + pixelStep), f, c1);
        c2 = madd(v128.load(a + 2 * pixelStep), f, c2);
        c3 = madd(v128.load(a + 3 * pixelStep), f, c3);
      }
      b += rowOfTaps * tapStep;
    }
    const left = <i32>(bytes - i) / 4;
    const to = y + i;
    storeUpTo(to, vmax(low, c0), left);
    storeUpTo(to + bytes, vmax(low, c1), left);
    storeUpTo(to + 2 * bytes, vmax(low, c2), left);
    storeUpTo(to + 3 * bytes, vmax(low, c3), left);
  }
}

/** One pixel, of whose window `rows` by `taps` are inside. */
function onePixel(
  x: usize,
  rowStep: usize,
  columnStep: usize,
  rows: i32,
  taps: i32,
  w: usize,
  tapStep: i32,
  rowOfTaps: i32,
  bias: usize,
  y: usize,
  bytes: u32,
  floor: f32,
): void {
  const low = f32x4.splat(floor);
  for (let i: u32 = 0; i < bytes; i += 16) {
    let sum = bias ? v128.load(bias + i) : f32x4.splat(0);
    let line = x + i;
    let b = w + i;
    for (let r: i32 = 0; r < rows; r++, line += rowStep) {
      let a = line;
      let tap = b;
      for (let s: i32 = 0; s < taps; s++, a += columnStep, tap += tapStep) sum = madd(v128.load(a), v128.load(tap), sum);
      b += rowOfTaps * tapStep;
    }
    storeUpTo(y + i, vmax(low, sum), <i32>(bytes - i) / 4);
  }
}

/**
 * @file Pooling of x[N,H,W,C] to y[N,P,Q,C]: maxPool, maxPoolGrad, avgPool, avgPoolGrad. Vectors run along channels.
 *
 * Argument words: three operands, then the geometry
 *    0-2   maxPool      x, y, index?          maxPoolGrad   dy, index, dx
 *          avgPool      x, y, 0               avgPoolGrad   dy, 0, dx
 *    3     H, W, C, P, Q, R, S, strideH, strideW, padTop, padLeft
 *   14     rows, rowsPerPiece
 *
 * A piece of a forward kernel is a run of the N*P output rows. A piece of a gradient is a run of the N*H rows of dx: it
 * visits the windows that touch its rows and clips them to these rows, so that pieces own what they write and every
 * element is summed in the order of p, q whatever the split. Where windows tile the input (stride = size, no padding
 * before) each row of dx has one row of windows and is written once, without zeroing and reading back.
 *
 * index (i32) is r*S + s of the first largest element inside the input; a NaN is passed over unless it is the first.
 * avgPool divides by the number of elements inside the input. A window with nothing inside gives 0 and takes no gradient.
 */
import { storeTail, vmax } from "./simd";

// @ts-ignore: decorator
@inline
function storeUpTo4(p: usize, v: v128, n: i32): void {
  if (n >= 4) v128.store(p, v);
  else storeTail(p, v, n);
}

/** A 2x2 window with its upper pair of positions at `x`: a knockout, first pairs along the row, then the two winners. */
// @ts-ignore: decorator
@inline
function max2x2(x: usize, rowBytes: i32, y: usize, index: usize, channels: i32, withIndex: bool): void {
  const colBytes = channels << 2;
  const one = i32x4.splat(1);
  const two = i32x4.splat(2);
  const below = x + rowBytes;
  for (let i: usize = 0, left = channels; left > 0; left -= 4, i += 16) {
    const a = v128.load(x + i);
    const b = v128.load(x + colBytes + i);
    const c = v128.load(below + i);
    const d = v128.load(below + colBytes + i);
    const top = vmax(b, a);
    const bottom = vmax(d, c);
    storeUpTo4(y + i, vmax(bottom, top), left);
    if (withIndex) {
      const kTop = v128.and(f32x4.gt(b, a), one);
      const kBottom = i32x4.sub(two, f32x4.gt(d, c));
      storeUpTo4(index + i, i32x4.max_s(kTop, v128.and(f32x4.gt(bottom, top), kBottom)), left);
    }
  }
}

/** Any window, clipped: x is its position (r0, s0), `tap` that position's index, `nextTap` what a row adds to it. */
// @ts-ignore: decorator
@inline
function maxWindow(
  x: usize,
  rowBytes: i32,
  rows: i32,
  cols: i32,
  tap: i32,
  nextTap: i32,
  y: usize,
  index: usize,
  channels: i32,
  withIndex: bool,
): void {
  const colBytes = channels << 2;
  for (let i: usize = 0, left = channels; left > 0; left -= 4, i += 16) {
    let best = v128.load(x + i);
    let k = i32x4.splat(tap);
    let row = x + i;
    for (let r = 0, t = tap; r < rows; r++, row += rowBytes, t += nextTap) {
      let p = row;
      for (let s = 0; s < cols; s++, p += colBytes) {
        const v = v128.load(p);
        // Taps come in ascending order: the last that won is the largest number.
        if (withIndex) k = i32x4.max_s(k, v128.and(f32x4.gt(v, best), i32x4.splat(t + s)));
        best = vmax(v, best);
      }
    }
    storeUpTo4(y + i, best, left);
    if (withIndex) storeUpTo4(index + i, k, left);
  }
}

function maxPoolRow(c: usize, row: i32): void {
  const h = load<i32>(c, 12);
  const w = load<i32>(c, 16);
  const channels = load<i32>(c, 20);
  const p = load<i32>(c, 24);
  const q = load<i32>(c, 28);
  const windowRows = load<i32>(c, 32);
  const windowCols = load<i32>(c, 36);
  const strideW = load<i32>(c, 44);
  const colBytes = channels << 2;
  const rowBytes = w * colBytes;
  const n = row / p;
  const top = (row - n * p) * load<i32>(c, 40) - load<i32>(c, 48);
  const r0 = max(0, -top);
  const rows = min(windowRows, h - top) - r0;
  const xRow = <usize>load<u32>(c) + (n * h + top + r0) * rowBytes;
  let y = <usize>load<u32>(c, 4) + row * q * colBytes;
  let index = <usize>load<u32>(c, 8);
  const withIndex = TRAINING ? index != 0 : false;
  index += row * q * colBytes;
  const is2x2 = windowRows == 2 && windowCols == 2 && rows == 2;

  for (let j = 0, left = -load<i32>(c, 52); j < q; j++, left += strideW, y += colBytes, index += colBytes) {
    const s0 = max(0, -left);
    const cols = min(windowCols, w - left) - s0;
    const x = xRow + (left + s0) * colBytes;
    if (is2x2 && cols == 2) {
      if (withIndex) max2x2(x, rowBytes, y, index, channels, true);
      else max2x2(x, rowBytes, y, index, channels, false);
    } else if (rows <= 0 || cols <= 0) {
      memory.fill(y, 0, colBytes);
      if (withIndex) memory.fill(index, 0, colBytes);
    } else {
      const tap = r0 * windowCols + s0;
      if (withIndex) maxWindow(x, rowBytes, rows, cols, tap, windowCols, y, index, channels, true);
      else maxWindow(x, rowBytes, rows, cols, tap, windowCols, y, index, channels, false);
    }
  }
}

export function maxPool(c: usize, piece: u32, scratch: usize): void {
  const perPiece = load<u32>(c, 60);
  const first = piece * perPiece;
  const last = min(first + perPiece, load<u32>(c, 56));
  for (let row = first; row < last; row++) maxPoolRow(c, row);
}

function avgWindow(x: usize, rowBytes: i32, rows: i32, cols: i32, y: usize, channels: i32): void {
  const colBytes = channels << 2;
  const count = f32x4.splat(<f32>(rows * cols));
  for (let i: usize = 0, left = channels; left > 0; left -= 4, i += 16) {
    let sum = f32x4.splat(0);
    let row = x + i;
    for (let r = 0; r < rows; r++, row += rowBytes) {
      let p = row;
      for (let s = 0; s < cols; s++, p += colBytes) sum = f32x4.add(sum, v128.load(p));
    }
    storeUpTo4(y + i, f32x4.div(sum, count), left);
  }
}

function avgPoolRow(c: usize, row: i32): void {
  const h = load<i32>(c, 12);
  const w = load<i32>(c, 16);
  const channels = load<i32>(c, 20);
  const p = load<i32>(c, 24);
  const q = load<i32>(c, 28);
  const windowRows = load<i32>(c, 32);
  const windowCols = load<i32>(c, 36);
  const strideW = load<i32>(c, 44);
  const colBytes = channels << 2;
  const rowBytes = w * colBytes;
  const n = row / p;
  const top = (row - n * p) * load<i32>(c, 40) - load<i32>(c, 48);
  const r0 = max(0, -top);
  const rows = min(windowRows, h - top) - r0;
  const xRow = <usize>load<u32>(c) + (n * h + top + r0) * rowBytes;
  let y = <usize>load<u32>(c, 4) + row * q * colBytes;
  for (let j = 0, left = -load<i32>(c, 52); j < q; j++, left += strideW, y += colBytes) {
    const s0 = max(0, -left);
    const cols = min(windowCols, w - left) - s0;
    if (rows <= 0 || cols <= 0) memory.fill(y, 0, colBytes);
    else avgWindow(xRow + (left + s0) * colBytes, rowBytes, rows, cols, y, channels);
  }
}

export function avgPool(c: usize, piece: u32, scratch: usize): void {
  const perPiece = load<u32>(c, 60);
  const first = piece * perPiece;
  const last = min(first + perPiece, load<u32>(c, 56));
  for (let row = first; row < last; row++) avgPoolRow(c, row);
}

/** dx = dy where the window's winner is `tap`, else 0. */
function maxTap(dx: usize, dy: usize, index: usize, channels: i32, tap: i32): void {
  const t = i32x4.splat(tap);
  for (let left = channels; left > 0; left -= 4, dx += 16, dy += 16, index += 16) {
    storeUpTo4(dx, v128.and(v128.load(dy), i32x4.eq(v128.load(index), t)), left);
  }
}

/** Two neighbouring taps of a row, which share the loads. A call for every pixel would take an eighth of the time. */
// @ts-ignore: decorator
@inline
function maxTwoTaps(dx: usize, dy: usize, index: usize, channels: i32, tap: i32): void {
  const t = i32x4.splat(tap);
  const u = i32x4.splat(tap + 1);
  const next = dx + (channels << 2);
  const full = (<usize>(channels & ~3)) << 2;
  for (let i: usize = 0; i < full; i += 16) {
    const g = v128.load(dy + i);
    const k = v128.load(index + i);
    v128.store(dx + i, v128.and(g, i32x4.eq(k, t)));
    v128.store(next + i, v128.and(g, i32x4.eq(k, u)));
  }
  if (channels & 3) {
    const g = v128.load(dy + full);
    const k = v128.load(index + full);
    storeTail(dx + full, v128.and(g, i32x4.eq(k, t)), channels & 3);
    storeTail(next + full, v128.and(g, i32x4.eq(k, u)), channels & 3);
  }
}

/** dx += dy where the window's winner is `tap`. */
function addMaxTap(dx: usize, dy: usize, index: usize, channels: i32, tap: i32): void {
  const t = i32x4.splat(tap);
  for (let left = channels; left > 0; left -= 4, dx += 16, dy += 16, index += 16) {
    storeUpTo4(dx, f32x4.add(v128.load(dx), v128.and(v128.load(dy), i32x4.eq(v128.load(index), t))), left);
  }
}

/** dx = dy * scale */
function scaleTo(dx: usize, dy: usize, channels: i32, scale: f32): void {
  const s = f32x4.splat(scale);
  for (let left = channels; left > 0; left -= 4, dx += 16, dy += 16) storeUpTo4(dx, f32x4.mul(v128.load(dy), s), left);
}

/** dx += dy * scale */
function addScaled(dx: usize, dy: usize, channels: i32, scale: f32): void {
  const s = f32x4.splat(scale);
  for (let left = channels; left > 0; left -= 4, dx += 16, dy += 16) {
    storeUpTo4(dx, f32x4.add(v128.load(dx), f32x4.mul(v128.load(dy), s)), left);
  }
}

/** One row of dx under windows that tile the input; index 0 means the average. */
function tiledGradRow(c: usize, row: i32): void {
  const h = load<i32>(c, 12);
  const w = load<i32>(c, 16);
  const channels = load<i32>(c, 20);
  const p = load<i32>(c, 24);
  const q = load<i32>(c, 28);
  const windowRows = load<i32>(c, 32);
  const windowCols = load<i32>(c, 36);
  const colBytes = channels << 2;
  const n = row / h;
  const y = row - n * h;
  const i = y / windowRows;
  const r = y - i * windowRows;
  let dx = <usize>load<u32>(c, 8) + row * w * colBytes;
  if (i >= p) {
    memory.fill(dx, 0, w * colBytes);
    return;
  }
  const offset = (n * p + i) * q * colBytes;
  let dy = <usize>load<u32>(c) + offset;
  let index = <usize>load<u32>(c, 4);
  const isMax = index != 0;
  index += offset;
  const rows = min(windowRows, h - i * windowRows);
  let rest = w;
  for (let j = 0; j < q && rest > 0; j++, dy += colBytes, index += colBytes) {
    const cols = min(windowCols, rest);
    rest -= cols;
    if (isMax) {
      const tap = r * windowCols;
      let s = 0;
      for (; s + 2 <= cols; s += 2, dx += colBytes << 1) maxTwoTaps(dx, dy, index, channels, tap + s);
      for (; s < cols; s++, dx += colBytes) maxTap(dx, dy, index, channels, tap + s);
    } else {
      const scale = <f32>1 / <f32>(rows * cols);
      for (let s = 0; s < cols; s++, dx += colBytes) scaleTo(dx, dy, channels, scale);
    }
  }
  if (rest) memory.fill(dx, 0, rest * colBytes);
}

/** Rows [begin, end) of dx of image n under any windows; index 0 means the average. */
function gradRows(c: usize, n: i32, begin: i32, end: i32): void {
  const h = load<i32>(c, 12);
  const w = load<i32>(c, 16);
  const channels = load<i32>(c, 20);
  const p = load<i32>(c, 24);
  const q = load<i32>(c, 28);
  const windowRows = load<i32>(c, 32);
  const windowCols = load<i32>(c, 36);
  const strideH = load<i32>(c, 40);
  const strideW = load<i32>(c, 44);
  const padTop = load<i32>(c, 48);
  const padLeft = load<i32>(c, 52);
  const index = <usize>load<u32>(c, 4);
  const colBytes = channels << 2;
  const rowBytes = w * colBytes;
  const image = <usize>load<u32>(c, 8) + n * h * rowBytes;
  memory.fill(image + begin * rowBytes, 0, (end - begin) * rowBytes);

  const firstWindow = max(0, begin + padTop - windowRows + strideH) / strideH;
  const lastWindow = min(p, (end - 1 + padTop) / strideH + 1);
  for (let i = firstWindow; i < lastWindow; i++) {
    const top = i * strideH - padTop;
    const r0 = max(0, begin - top);
    const r1 = min(windowRows, end - top);
    const insideRows = min(windowRows, h - top) - max(0, -top);
    for (let j = 0; j < q; j++) {
      const left = j * strideW - padLeft;
      const s0 = max(0, -left);
      const s1 = min(windowCols, w - left);
      const offset = ((n * p + i) * q + j) * colBytes;
      const dy = <usize>load<u32>(c) + offset;
      const scale = <f32>1 / <f32>(insideRows * (s1 - s0));
      for (let r = r0; r < r1; r++) {
        let dx = image + (top + r) * rowBytes + (left + s0) * colBytes;
        for (let s = s0; s < s1; s++, dx += colBytes) {
          if (index) addMaxTap(dx, dy, index + offset, channels, r * windowCols + s);
          else addScaled(dx, dy, channels, scale);
        }
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function grad(c: usize, piece: u32): void {
  const perPiece = load<u32>(c, 60);
  const first = <i32>(piece * perPiece);
  const last = min<i32>(first + perPiece, load<u32>(c, 56));
  const tiled = load<u32>(c, 32) == load<u32>(c, 40) && load<u32>(c, 36) == load<u32>(c, 44) && (load<u32>(c, 48) | load<u32>(c, 52)) == 0;
  if (tiled) {
    for (let row = first; row < last; row++) tiledGradRow(c, row);
    return;
  }
  const h = load<i32>(c, 12);
  for (let row = first; row < last;) {
    const n = row / h;
    const begin = row - n * h;
    const end = min(h, begin + last - row);
    gradRows(c, n, begin, end);
    row += end - begin;
  }
}

export function maxPoolGrad(c: usize, piece: u32, scratch: usize): void {
  grad(c, piece);
}

export function avgPoolGrad(c: usize, piece: u32, scratch: usize): void {
  grad(c, piece);
}

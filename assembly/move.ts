/**
 * @file Kernels that move words without computing: copy, fill, iota. Elements are 32-bit words of any dtype.
 *
 * copy   x, y, xOffset, yOffset, shape[6], xStrides[6], yStrides[6], rowBlock, colBlock, tiles, tilesPerPiece
 *        Offsets, sizes and strides in elements. Dimension 5 (columns) is walked innermost, 4 (rows) next; the encoder
 *        orders the dimensions so that y's columns are contiguous where that is possible at all, and so that x's rows
 *        are where x's columns are not (a transpose). Tiles of rowBlock x colBlock are numbered row-major within each
 *        index of dimensions 0-3; a piece is a run of tiles.
 * fill   y, count, bits, countPerPiece. A piece is a run of elements.
 * iota   y, count, size, inner, isFloat, countPerPiece. A piece is a run of elements.
 *
 * Elements of y that one copy writes are all different (yStrides of dimensions longer than 1 do not fold).
 */
import { storeTail } from "./simd";

/** From this many words on, the engine's own copy beats a loop of vectors. */
const BULK_WORDS: u32 = 1024;

/** Copies `n` words between areas that do not overlap. */
export function copyWords(to: usize, from: usize, n: u32): void {
  if (n >= BULK_WORDS) {
    memory.copy(to, from, (<usize>n) << 2);
    return;
  }
  for (; n >= 16; n -= 16, to += 64, from += 64) {
    const a = v128.load(from);
    const b = v128.load(from, 16);
    const c = v128.load(from, 32);
    const d = v128.load(from, 48);
    v128.store(to, a);
    v128.store(to, b, 16);
    v128.store(to, c, 32);
    v128.store(to, d, 48);
  }
  for (; n >= 4; n -= 4, to += 16, from += 16) v128.store(to, v128.load(from));
  if (n) storeTail(to, v128.load(from), n);
}

/** Makes `n` bytes words, and writes nothing behind them. */
export function widenBytes(to: usize, from: usize, n: u32): void {
  for (; n >= 4; n -= 4, to += 16, from += 4) v128.store(to, i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(from))));
  for (; n; n--, to += 4, from++) store<u32>(to, load<u8>(from));
}

/** Sets `n` words to `bits`. */
export function fillWords(to: usize, n: u32, bits: u32): void {
  const v = i32x4.splat(bits);
  for (; n >= 16; n -= 16, to += 64) {
    v128.store(to, v);
    v128.store(to, v, 16);
    v128.store(to, v, 32);
    v128.store(to, v, 48);
  }
  for (; n >= 4; n -= 4, to += 16) v128.store(to, v);
  if (n) storeTail(to, v, n);
}

/** A rectangle word by word; strides in bytes. */
// @ts-ignore: decorator
@inline
function copyStrided(to: usize, from: usize, rows: u32, cols: u32, toRow: i32, fromRow: i32, toCol: i32, fromCol: i32): void {
  for (let i: u32 = 0; i < rows; i++, to += toRow, from += fromRow) {
    let a = to;
    let b = from;
    for (let j: u32 = 0; j < cols; j++, a += toCol, b += fromCol) store<u32>(a, load<u32>(b));
  }
}

/** A rectangle whose columns are contiguous in y and whose rows are contiguous in x: transposed in blocks of 4 x 4. */
function copyTransposed(to: usize, from: usize, rows: u32, cols: u32, toRow: i32, fromCol: i32): void {
  const rows4 = rows & ~3;
  const cols4 = cols & ~3;
  for (let j: u32 = 0; j < cols4; j += 4) {
    const from1 = from + fromCol;
    const from2 = from1 + fromCol;
    const from3 = from2 + fromCol;
    let t = to;
    for (let i: usize = 0; i < (<usize>rows4) << 2; i += 16) {
      const a = v128.load(from + i);
      const b = v128.load(from1 + i);
      const c = v128.load(from2 + i);
      const d = v128.load(from3 + i);
      const ab = i32x4.shuffle(a, b, 0, 4, 1, 5);
      const cd = i32x4.shuffle(c, d, 0, 4, 1, 5);
      const abHigh = i32x4.shuffle(a, b, 2, 6, 3, 7);
      const cdHigh = i32x4.shuffle(c, d, 2, 6, 3, 7);
      v128.store(t, i64x2.shuffle(ab, cd, 0, 2));
      t += toRow;
      v128.store(t, i64x2.shuffle(ab, cd, 1, 3));
      t += toRow;
      v128.store(t, i64x2.shuffle(abHigh, cdHigh, 0, 2));
      t += toRow;
      v128.store(t, i64x2.shuffle(abHigh, cdHigh, 1, 3));
      t += toRow;
    }
    if (rows > rows4) copyStrided(t, from + ((<usize>rows4) << 2), rows - rows4, 4, toRow, 4, 4, fromCol);
    to += 16;
    from = from3 + fromCol;
  }
  copyStrided(to, from, rows, cols - cols4, toRow, 4, 4, fromCol);
}

function copyTile(to: usize, from: usize, rows: u32, cols: u32, toRow: i32, fromRow: i32, toCol: i32, fromCol: i32): void {
  if (toCol == 4 && fromCol == 4) {
    for (; rows; rows--, to += toRow, from += fromRow) copyWords(to, from, cols);
  } else if (toCol == 4 && fromCol == 0) {
    for (; rows; rows--, to += toRow, from += fromRow) fillWords(to, cols, load<u32>(from));
  } else if (toCol == 4 && fromRow == 4) {
    copyTransposed(to, from, rows, cols, toRow, fromCol);
  } else {
    copyStrided(to, from, rows, cols, toRow, fromRow, toCol, fromCol);
  }
}

export function copy(c: usize, piece: u32, scratch: usize): void {
  const x = <usize>load<u32>(c) + (load<u32>(c, 8) << 2);
  const y = <usize>load<u32>(c, 4) + (load<u32>(c, 12) << 2);
  const d1 = load<u32>(c, 20);
  const d2 = load<u32>(c, 24);
  const d3 = load<u32>(c, 28);
  const rows = load<u32>(c, 32);
  const cols = load<u32>(c, 36);
  const x0 = load<i32>(c, 40);
  const x1 = load<i32>(c, 44);
  const x2 = load<i32>(c, 48);
  const x3 = load<i32>(c, 52);
  const y0 = load<i32>(c, 64);
  const y1 = load<i32>(c, 68);
  const y2 = load<i32>(c, 72);
  const y3 = load<i32>(c, 76);
  const xRow = load<i32>(c, 56) << 2;
  const xCol = load<i32>(c, 60) << 2;
  const yRow = load<i32>(c, 80) << 2;
  const yCol = load<i32>(c, 84) << 2;
  const rowBlock = load<u32>(c, 88);
  const colBlock = load<u32>(c, 92);
  const perPiece = load<u32>(c, 100);
  const first = piece * perPiece;
  const last = min<u32>(first + perPiece, load<u32>(c, 96));

  const colTiles = (cols + colBlock - 1) / colBlock;
  const rowTiles = (rows + rowBlock - 1) / rowBlock;
  let rest = first / colTiles;
  let col = (first - rest * colTiles) * colBlock;
  let outer = rest / rowTiles;
  let row = (rest - outer * rowTiles) * rowBlock;
  rest = outer / d3;
  let i3 = outer - rest * d3;
  outer = rest / d2;
  let i2 = rest - outer * d2;
  let i0 = outer / d1;
  let i1 = outer - i0 * d1;

  for (let t = first; t < last; t++) {
    const from = x + ((<i32>i0 * x0 + <i32>i1 * x1 + <i32>i2 * x2 + <i32>i3 * x3) << 2) + <i32>row * xRow + <i32>col * xCol;
    const to = y + ((<i32>i0 * y0 + <i32>i1 * y1 + <i32>i2 * y2 + <i32>i3 * y3) << 2) + <i32>row * yRow + <i32>col * yCol;
    copyTile(to, from, min(rowBlock, rows - row), min(colBlock, cols - col), yRow, xRow, yCol, xCol);
    if ((col += colBlock) < cols) continue;
    col = 0;
    if ((row += rowBlock) < rows) continue;
    row = 0;
    if (++i3 < d3) continue;
    i3 = 0;
    if (++i2 < d2) continue;
    i2 = 0;
    if (++i1 < d1) continue;
    i1 = 0;
    i0++;
  }
}

export function fill(c: usize, piece: u32, scratch: usize): void {
  const y = <usize>load<u32>(c);
  const count = load<u32>(c, 4);
  const perPiece = load<u32>(c, 12);
  const first = piece * perPiece;
  fillWords(y + ((<usize>first) << 2), min(perPiece, count - first), load<u32>(c, 8));
}

/** Stores k, k + 1, ... `n` words. */
function ramp(to: usize, n: u32, k: u32, isFloat: u32): void {
  let v = i32x4.add(i32x4.splat(k), i32x4(0, 1, 2, 3));
  for (; n; to += 16) {
    const w = isFloat ? f32x4.convert_i32x4_s(v) : v;
    if (n < 4) {
      storeTail(to, w, n);
      return;
    }
    v128.store(to, w);
    v = i32x4.add(v, i32x4.splat(4));
    n -= 4;
  }
}

export function iota(c: usize, piece: u32, scratch: usize): void {
  const count = load<u32>(c, 4);
  const size = load<u32>(c, 8);
  const inner = load<u32>(c, 12);
  const isFloat = load<u32>(c, 16);
  const perPiece = load<u32>(c, 20);
  const first = piece * perPiece;
  let left = min(perPiece, count - first);
  let to = <usize>load<u32>(c) + ((<usize>first) << 2);
  const row = first / inner;
  let k = row % size;
  let done = first - row * inner;
  while (left) {
    const n = min(left, inner == 1 ? size - k : inner - done);
    if (inner == 1) {
      ramp(to, n, k, isFloat);
      k = 0;
    } else {
      fillWords(to, n, isFloat ? reinterpret<u32>(<f32>k) : k);
      if (++k == size) k = 0;
      done = 0;
    }
    to += (<usize>n) << 2;
    left -= n;
  }
}

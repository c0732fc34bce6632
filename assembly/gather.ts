/**
 * @file Rows chosen by an index, and their sums back. x and y are [outer, size, inner], rows [outer, count, inner];
 * an index outside [0, size) is clamped.
 *
 * gather      x, index, y, size, inner, count, rows, rowsPerPiece
 *             Any dtype of 32 bits. rows = outer * count; a piece is a run of rows of y.
 * gatherBytes x, index, y, size, inner, count, rows, rowsPerPiece
 *             The same of bytes, which become i32.
 * scatterAdd  updates, index, y, size, inner, count, rowsPerPiece, colsPerPiece, rowPieces, colPieces
 *             f32. A piece is (outer, a run of rows of y, a run of columns) in row-major order: it reads the whole index
 *             and adds only what falls into its own part, so that every element is summed in the order of `index`
 *             however the work is split.
 */
import { copyWords, fillWords, widenBytes } from "./move";
import { storeTail } from "./simd";

// @ts-ignore: decorator
@inline
function clampedIndex(p: usize, size: u32): u32 {
  const i = load<i32>(p);
  return min<u32>(max(i, 0), size - 1);
}

export function gather(c: usize, piece: u32, scratch: usize): void {
  const x = <usize>load<u32>(c);
  const index = <usize>load<u32>(c, 4);
  const size = load<u32>(c, 12);
  const inner = load<u32>(c, 16);
  const count = load<u32>(c, 20);
  const rows = load<u32>(c, 24);
  const perPiece = load<u32>(c, 28);
  const first = piece * perPiece;
  const last = min(first + perPiece, rows);
  const rowBytes = inner << 2;
  let to = <usize>load<u32>(c, 8) + first * rowBytes;
  let o = first / count;
  let j = first - o * count;
  for (let row = first; row < last; o++, j = 0) {
    const from = x + o * size * rowBytes;
    const end = min(count, j + last - row);
    row += end - j;
    if (inner == 1) {
      for (; j < end; j++, to += 4) store<u32>(to, load<u32>(from + (clampedIndex(index + (j << 2), size) << 2)));
    } else {
      for (; j < end; j++, to += rowBytes) copyWords(to, from + clampedIndex(index + (j << 2), size) * rowBytes, inner);
    }
  }
}

export function gatherBytes(c: usize, piece: u32, scratch: usize): void {
  const x = <usize>load<u32>(c);
  const index = <usize>load<u32>(c, 4);
  const size = load<u32>(c, 12);
  const inner = load<u32>(c, 16);
  const count = load<u32>(c, 20);
  const rows = load<u32>(c, 24);
  const perPiece = load<u32>(c, 28);
  const first = piece * perPiece;
  const last = min(first + perPiece, rows);
  let to = <usize>load<u32>(c, 8) + ((first * inner) << 2);
  for (let row = first; row < last; row++, to += inner << 2) {
    const o = row / count;
    widenBytes(to, x + (o * size + clampedIndex(index + ((row - o * count) << 2), size)) * inner, inner);
  }
}

function addWords(to: usize, from: usize, n: u32): void {
  for (; n >= 8; n -= 8, to += 32, from += 32) {
    const a = f32x4.add(v128.load(to), v128.load(from));
    const b = f32x4.add(v128.load(to, 16), v128.load(from, 16));
    v128.store(to, a);
    v128.store(to, b, 16);
  }
  if (n >= 4) {
    v128.store(to, f32x4.add(v128.load(to), v128.load(from)));
    n -= 4;
    to += 16;
    from += 16;
  }
  if (n) storeTail(to, f32x4.add(v128.load(to), v128.load(from)), n);
}

export function scatterAdd(c: usize, piece: u32, scratch: usize): void {
  const size = load<u32>(c, 12);
  const inner = load<u32>(c, 16);
  const count = load<u32>(c, 20);
  const rowsPerPiece = load<u32>(c, 24);
  const colsPerPiece = load<u32>(c, 28);
  const rowPieces = load<u32>(c, 32);
  const colPieces = load<u32>(c, 36);
  const part = piece / colPieces;
  const o = part / rowPieces;
  const col = (piece - part * colPieces) * colsPerPiece;
  const cols = min(colsPerPiece, inner - col);
  const row = (part - o * rowPieces) * rowsPerPiece;
  const rows = min(rowsPerPiece, size - row);
  const rowBytes = inner << 2;
  const to = <usize>load<u32>(c, 8) + (o * size + row) * rowBytes + (col << 2);
  let from = <usize>load<u32>(c) + o * count * rowBytes + (col << 2);

  if (cols == inner) {
    memory.fill(to, 0, rows * rowBytes);
  } else {
    for (let i: u32 = 0; i < rows; i++) fillWords(to + i * rowBytes, cols, 0);
  }
  const index = <usize>load<u32>(c, 4);
  const end = index + (count << 2);
  for (let p = index; p < end; p += 4, from += rowBytes) {
    const i = clampedIndex(p, size) - row;
    if (i < rows) addWords(to + i * rowBytes, from, cols);
  }
}

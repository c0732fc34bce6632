/**
 * @file Gradients of convolutions by 3x3 filters, as the transposes of the maps in conv/winograd.ts.
 *
 * `winogradInputGrad(dy, u transposed) -> dx`: the words of `winograd` with dy as the image, no bias, dx as y and its channels as F, no
 * activation, then
 *   19 padTop  20 padLeft  21 tiles that are transformed at a time. A piece has whole images, since tiles of dx overlap.
 * `winogradTiles(x or dy) -> panels`: 0 image  1 panels, words 4 to 11 of `winograd`, then 12 tiles of a piece  13 dy's
 *   14 bytes between xi's  15 first tile.
 *   V[xi][tiles][C] of x, dM[xi][ceil(F / 8)][tiles][8] of dy: what MATMUL takes as A transposed and as packed B.
 * `winogradFilterGrad(parts) -> dw`: 0 parts[xi][C][F]  1 dw  2 their number  3 bytes between parts  4 bytes between xi's  5 C * F
 *   6 elements of a piece.
 *   Parts are added up in order.
 */
import { MR, NR } from "../gemm";
import { madd } from "../simd";
import { COLUMNS, GAP, TEMP, TILES, XI, f, multiplyAll, transformForProduct, transformTiles } from "./winograd";

/** B of `count` lines of six, `stride` bytes apart in a line: from `from` + next * line to `to` + step * i + next * line. */
function adjointLines(count: u32, from: usize, stride: u32, next: u32, to: usize, step: u32, nextTo: u32): void {
  for (; count; count--, from += next, to += nextTo) {
    let p = from;
    let q = to;
    const v0 = v128.load(p);
    p += stride;
    const v1 = v128.load(p);
    const v2 = v128.load(p + stride);
    p += 2 * stride;
    const v3 = v128.load(p);
    const v4 = v128.load(p + stride);
    const v5 = v128.load(p + 2 * stride);
    const s1 = f32x4.add(v1, v2);
    const t1 = f32x4.sub(v1, v2);
    const s2 = f32x4.add(v3, v4);
    const t2 = f32x4.sub(v3, v4);
    v128.store(q, f32x4.mul(f(1.265625), v0));
    q += step;
    v128.store(q, madd(f(-1.6875), t1, madd(f(-0.84375), t2, f32x4.mul(f(1.265625), v5))));
    q += step;
    v128.store(q, madd(f(-2.25), s1, madd(f(-0.5625), s2, f32x4.mul(f(-2.8125), v0))));
    q += step;
    v128.store(q, madd(f(0.75), t1, madd(f(1.5), t2, f32x4.mul(f(-2.8125), v5))));
    q += step;
    v128.store(q, f32x4.add(v0, f32x4.add(s1, s2)));
    v128.store(q + step, v5);
  }
}

export function winogradInputGrad(c: usize, piece: u32, scratch: usize): void {
  const k = load<u32>(c, 24);
  const tileRows = load<u32>(c, 28);
  const rowTiles = load<u32>(c, 32);
  const h = load<u32>(c, 48);
  const w = load<u32>(c, 52);
  const channels = load<u32>(c, 56);
  const columnBlocks = load<u32>(c, 68);
  const block = load<u32>(c, 84);
  const padTop = load<i32>(c, 76);
  const padLeft = load<i32>(c, 80);
  const perPiece = load<u32>(c, 60);
  let tile = (piece / columnBlocks) * perPiece;
  const last = min(tile + perPiece, load<u32>(c, 36));
  const first = (piece % columnBlocks) * load<u32>(c, 64);
  const end = min(first + load<u32>(c, 64), channels);
  const bytes = channels * 4;
  const line = w * bytes;
  const dx: usize = load<u32>(c, 12);
  const stepU = ((channels + NR - 1) / NR) * k * 32 + GAP;
  const v = scratch + TILES;
  const image = tileRows * rowTiles;
  for (let p = dx + (tile / image) * h * line + first * 4, stop = dx + (last / image) * h * line; p < stop; p += bytes)
    memory.fill(p, 0, (end - first) * 4);
  for (; tile < last; tile += block) {
    const count = min(block, last - tile);
    const panels = (count + MR - 1) / MR;
    const stepV = panels * MR * k * 4 + GAP;
    const m = v + XI * stepV;
    transformForProduct(c, scratch, tile, count, true, v, stepV);
    for (let j = first; j < end; j += COLUMNS) {
      const columns = min(COLUMNS, end - j);
      const ldm = ((columns + NR - 1) / NR) * 32;
      const stepM = panels * MR * ldm + GAP;
      multiplyAll(v, stepV, load<u32>(c, 4) + j * k * 4, stepU, m, stepM, panels, k, columns);
      for (let t: u32 = 0; t < count; t++) {
        const column = ((tile + t) % rowTiles) * 4;
        const row = (((tile + t) / rowTiles) % tileRows) * 4;
        const y = <i32>row - padTop;
        const x = <i32>column - padLeft;
        addTile(
          scratch,
          m + t * ldm,
          stepM,
          columns,
          dx + ((tile + t) / image) * h * line + y * <i32>line + x * <i32>bytes + j * 4,
          line,
          bytes,
          max(0, -y),
          min(6, <i32>h - y),
          max(0, -x),
          min(6, <i32>w - x),
        );
      }
    }
  }
}

/** Adds B m B^T to the rows [top, bottom) and columns [left, right) of a tile of dx that are in the image. */
function addTile(
  scratch: usize,
  m: usize,
  step: u32,
  columns: u32,
  dx: usize,
  line: u32,
  bytes: u32,
  top: i32,
  bottom: i32,
  left: i32,
  right: i32,
): void {
  const temp = scratch + TEMP;
  for (let k: u32 = 0; k < columns * 4; k += 16) {
    adjointLines(6, m + k, 6 * step, step, temp, 96, 16);
    adjointLines(bottom - top, temp + top * 96, 16, 96, temp + top * 96, 16, 96);
    let to = dx + k + top * line + left * bytes;
    for (let t = temp + top * 96; t < temp + bottom * 96; t += 96, to += line) {
      let d = to;
      for (let i = t + left * 16; i < t + right * 16; i += 16, d += bytes) v128.store(d, f32x4.add(v128.load(d), v128.load(i)));
    }
  }
}

export function winogradTiles(c: usize, piece: u32, scratch: usize): void {
  const channels = load<u32>(c, 24);
  const tiles = load<u32>(c, 36);
  const grad = load<u32>(c, 52) != 0;
  const step = load<u32>(c, 56);
  const first = piece * load<u32>(c, 48);
  const count = min(load<u32>(c, 48), tiles - first);
  const pixel = grad ? 32 : channels * 4;
  transformTiles(
    c,
    scratch,
    load<u32>(c, 60) + first,
    count,
    grad,
    load<u32>(c, 4) + first * pixel,
    step,
    MR * pixel,
    pixel,
    grad ? tiles * 32 : 32,
    16,
  );
}

/** G^T of `count` lines of six, `stride` bytes apart in a line: from `from` + next * line to `to` + step * i + nextTo * line. */
function filterGradLines(count: u32, from: usize, stride: u32, next: u32, to: usize, step: u32, nextTo: u32): void {
  for (; count; count--, from += next, to += nextTo) {
    const v1 = v128.load(from + stride);
    const v2 = v128.load(from + 2 * stride);
    const v3 = v128.load(from + 3 * stride);
    const v4 = v128.load(from + 4 * stride);
    const s1 = f32x4.add(v1, v2);
    const t1 = f32x4.sub(v1, v2);
    const s2 = f32x4.add(v3, v4);
    const t2 = f32x4.sub(v3, v4);
    v128.store(to, madd(f(64.0 / 81), v128.load(from), madd(f(-128.0 / 243), s1, f32x4.mul(f(32.0 / 243), s2))));
    v128.store(to + step, madd(f(-32.0 / 81), t1, f32x4.mul(f(16.0 / 81), t2)));
    v128.store(to + 2 * step, madd(f(-8.0 / 27), s1, madd(f(8.0 / 27), s2, v128.load(from + 5 * stride))));
  }
}

export function winogradFilterGrad(c: usize, piece: u32, scratch: usize): void {
  const parts = load<u32>(c, 8);
  const partBytes = load<u32>(c, 12);
  const step = load<u32>(c, 16);
  const bytes = load<u32>(c, 20) * 4;
  const perPiece = load<u32>(c, 24) * 4;
  const end = min((piece + 1) * perPiece, bytes);
  for (let k = piece * perPiece; k < end; k += 16) {
    let part = load<u32>(c) + k;
    for (let s = scratch; s < scratch + XI * 16; s += 16, part += step) {
      let sum = v128.load(part);
      for (let i: u32 = 1, p: usize = part + partBytes; i < parts; i++, p += partBytes) sum = f32x4.add(sum, v128.load(p));
      v128.store(s, sum);
    }
    filterGradLines(6, scratch, 96, 16, scratch, 96, 16);
    filterGradLines(3, scratch, 16, 96, load<u32>(c, 4) + k, bytes, 3 * bytes);
  }
}

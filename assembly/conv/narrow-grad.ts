/**
 * @file `conv2dNarrowFilterGrad(x, dy) -> parts of dw` for the windows of conv/narrow.ts, also read where they are: gathering them took as
 * long as half of the multiplying. The words of conv/narrow.ts, but
 *   1 dy  2 unused  3 parts[pieces][R*S*C][F]  21 blocks: 18 rows of y of an image each, 19 of them an image  22 unused (0)
 *   23 blocks of a piece
 * A piece adds up its blocks' pixels in order; `combine` (matmul.ts) adds up the parts.
 */
import { MAX_K, fillTable, imageRows, lineBytes } from "./narrow";
import { MR, NR } from "../gemm";
import { madd } from "../simd";

/** Scratch: the offsets of a window's elements, those of a block's pixels, the copy of the image. */
const PIXELS: usize = MAX_K * 4;
const MAX_PIXELS: u32 = 1024;
const IMAGE: usize = PIXELS + MAX_PIXELS * 4;
/** Elements of a window that a tile sums. With six, whose addresses take another register each, windows of 27 were no faster. */
const TAPS: u32 = MR > 4 ? 5 : 4;

export function conv2dNarrowFilterGrad(c: usize, piece: u32, scratch: usize): void {
  const p = load<u32>(c, 28);
  const q = load<u32>(c, 32);
  const ofImage = load<u32>(c, 76);
  const perBlock = load<u32>(c, 72);
  const ld = load<u32>(c, 36) * 4;
  const step = load<u32>(c, 44) * load<u32>(c, 24) * 4;
  const table = fillTable(c, scratch, load<u32>(c, 52) * load<u32>(c, 24) * 4);
  const k = <u32>(table - scratch) / 4;
  const tiles = (k + TAPS - 1) / TAPS;
  let pixel = scratch + PIXELS;
  for (let row: u32 = 0; row < perBlock; row++) {
    for (let column: u32 = 0; column < q; column++, pixel += 4) store<u32>(pixel, row * load<u32>(c, 40) * lineBytes(c) + column * step);
  }
  const part: usize = load<u32>(c, 12) + piece * k * ld;
  memory.fill(part, 0, k * ld);
  let block = piece * load<u32>(c, 92);
  for (const end = min(block + load<u32>(c, 92), load<u32>(c, 84)); block < end; block++) {
    const image = block / ofImage;
    const first = (block % ofImage) * perBlock;
    const rows = min(perBlock, p - first);
    const x = imageRows(c, scratch + IMAGE, image, first, rows);
    const dy: usize = load<u32>(c, 4) + (image * p + first) * q * ld;
    const stop = scratch + PIXELS + rows * q * 4;
    for (let column: u32 = 0; column < ld; column += NR * 4) {
      let y = part + column;
      for (let t: u32 = 0, from = scratch; t < tiles; t++) {
        const count = k / tiles + u32(t < k % tiles);
        if (count == TAPS) tapTile(x, from, scratch + PIXELS, stop, dy + column, ld, y);
        else if (count == TAPS - 1) oneLess(x, from, scratch + PIXELS, stop, dy + column, ld, y);
        else shortTapTile(count, x, from, scratch + PIXELS, stop, dy + column, ld, y);
        from += count * 4;
        y += count * ld;
      }
    }
  }
}

// Inlined, and with a number of taps that the compiler knows: as one function for all numbers these took 13 % longer.
// @ts-ignore: decorator
@inline
function tapTile(x: usize, taps: usize, pixel: usize, end: usize, dy: usize, ld: u32, y: usize): void {
  tile(TAPS, TAPS, x, taps, pixel, end, dy, ld, y);
}
// @ts-ignore: decorator
@inline
function oneLess(x: usize, taps: usize, pixel: usize, end: usize, dy: usize, ld: u32, y: usize): void {
  tile(TAPS - 1, TAPS - 1, x, taps, pixel, end, dy, ld, y);
}
function shortTapTile(count: u32, x: usize, taps: usize, pixel: usize, end: usize, dy: usize, ld: u32, y: usize): void {
  tile(TAPS - 1, count, x, taps, pixel, end, dy, ld, y);
}

/** y[R, NR] += windows' elements times dy over the pixels. Elements that the tile lacks repeat its last, and so does what is stored. */
// @ts-ignore: decorator
@inline
function tile(R: u32, count: u32, x: usize, taps: usize, pixel: usize, end: usize, dy: usize, ld: u32, y: usize): void {
  const last = count - 1;
  const i1 = min<u32>(1, last);
  const i2 = min<u32>(2, last);
  const i3 = min<u32>(3, last);
  const i4 = min<u32>(4, last);
  const p0 = x + load<u32>(taps);
  const p1 = x + load<u32>(taps + i1 * 4);
  const p2 = x + load<u32>(taps + i2 * 4);
  let p3 = x;
  let p4 = x;
  let c00 = v128.load(y);
  let c01 = v128.load(y, 16);
  let c10 = v128.load(y + i1 * ld);
  let c11 = v128.load(y + i1 * ld, 16);
  let c20 = v128.load(y + i2 * ld);
  let c21 = v128.load(y + i2 * ld, 16);
  let c30 = c00;
  let c31 = c00;
  let c40 = c00;
  let c41 = c00;
  if (R > 3) {
    p3 += load<u32>(taps + i3 * 4);
    c30 = v128.load(y + i3 * ld);
    c31 = v128.load(y + i3 * ld, 16);
  }
  if (R > 4) {
    p4 += load<u32>(taps + i4 * 4);
    c40 = v128.load(y + i4 * ld);
    c41 = v128.load(y + i4 * ld, 16);
  }
  for (; pixel != end; pixel += 4, dy += ld) {
    const o: usize = load<u32>(pixel);
    const b0 = v128.load(dy);
    const b1 = v128.load(dy, 16);
    const a0 = v128.load_splat<f32>(p0 + o);
    c00 = madd(a0, b0, c00);
    c01 = madd(a0, b1, c01);
    const a1 = v128.load_splat<f32>(p1 + o);
    c10 = madd(a1, b0, c10);
    c11 = madd(a1, b1, c11);
    const a2 = v128.load_splat<f32>(p2 + o);
    c20 = madd(a2, b0, c20);
    c21 = madd(a2, b1, c21);
    if (R > 3) {
      const a3 = v128.load_splat<f32>(p3 + o);
      c30 = madd(a3, b0, c30);
      c31 = madd(a3, b1, c31);
    }
    if (R > 4) {
      const a4 = v128.load_splat<f32>(p4 + o);
      c40 = madd(a4, b0, c40);
      c41 = madd(a4, b1, c41);
    }
  }
  v128.store(y, c00);
  v128.store(y, c01, 16);
  v128.store(y + i1 * ld, c10);
  v128.store(y + i1 * ld, c11, 16);
  v128.store(y + i2 * ld, c20);
  v128.store(y + i2 * ld, c21, 16);
  if (R > 3) {
    v128.store(y + i3 * ld, c30);
    v128.store(y + i3 * ld, c31, 16);
  }
  if (R > 4) {
    v128.store(y + i4 * ld, c40);
    v128.store(y + i4 * ld, c41, 16);
  }
}

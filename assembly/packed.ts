/**
 * @file Products of activations with weights in 8 or 4 bits: y[m, n] = activation(a W^T + bias).
 *
 * packedMatmul   0 a as packedQuantize leaves it  1 W  2 bias? [n]  3 y  4 m  5 n  6 blocks of a row  7 format
 *                8 groups of a piece, 9 pieces side by side  10 rows of a piece  11 activation
 *
 * W has n rows, in groups of four, and in each block of 32 k's of a group a unit of 128 (q8) or 64 bytes (q4, q4m): [group][block][unit].
 * A vector of 16 bytes is four k's (eight in 4 bits: then byte i of a row is k's i and i + 4) of four rows, so that the sums of four rows
 * are the lanes of a vector. Behind the units are the scales (f16), [group][block][4], and in q4m as many minimums. A weight is scale * q,
 * scale * (q - 8) or scale * q + minimum.
 * Sums of a block are integers and exact; they are added up as f32, block by block.
 *
 * Pieces: rows of y x groups, these innermost.
 */
import { PACKED_Q4M, PACKED_Q8 } from "../src/wasm/opcodes";
import { epilogue } from "./epilogue";
import { HALVES_SCRATCH, openHalves, widen } from "./packed/halves";
import { corrections, tileNarrow } from "./packed/narrow";
import { NARROW_BYTES, NARROW_ROWS, WIDE_BYTES, WIDE_ROWS, narrow, wideRows } from "./packed/quantize";
import { STREAMS, start, tileRow, tileWide } from "./packed/wide";
import { storeUpTo } from "./simd";

// Scratch: constants, the sums of a tile, then scales of blocks as f32 and, of each stream behind them, as many minimums or corrections.
const SUMS: usize = HALVES_SCRATCH;
const FACTORS: usize = SUMS + 128;

/** The bytes of a unit. */
// @ts-ignore: decorator
@inline
export function unitBytes(format: u32): u32 {
  return format == PACKED_Q8 ? 128 : 64;
}

export function packedMatmul(c: usize, piece: u32, scratch: usize): void {
  const m = load<u32>(c, 16);
  const n = load<u32>(c, 20);
  const side = load<u32>(c, 36);
  const perPiece = load<u32>(c, 32);
  const rowsPerPiece = load<u32>(c, 40);
  const activation = load<u32>(c, 44);
  const first = (piece % side) * perPiece;
  const groups = min(perPiece, (n + 3) / 4 - first);
  const row = (piece / side) * rowsPerPiece;
  const end = min(row + rowsPerPiece, m);
  openHalves(scratch);
  if (m == 1) multiplyRow(c, first, groups, scratch);
  else for (let g = first; g < first + groups; g++) multiplyRows(c, g, row, end, scratch);
  const y = load<u32>(c, 12) + (row * n + first * 4) * 4;
  if (activation) epilogue(y, n * 4, end - row, min(groups * 4, n - first * 4), activation);
}

/** The scales of a group, and its minimums, as f32. */
function factors(c: usize, group: u32, to: usize, scratch: usize): void {
  const blocks = load<u32>(c, 24);
  const format = load<u32>(c, 28);
  const groups = (load<u32>(c, 20) + 3) / 4;
  const from = load<u32>(c, 4) + groups * blocks * unitBytes(format) + group * blocks * 8;
  widen(to, from, blocks * 4, false, scratch);
  if (format == PACKED_Q4M) widen(to + blocks * 16, from + groups * blocks * 8, blocks * 4, false, scratch);
}

/** One row of a. Weights are read from several places at once, each far on: memory gives a single stream a third less. */
function multiplyRow(c: usize, first: u32, groups: u32, scratch: usize): void {
  const a: usize = load<u32>(c);
  const blocks = load<u32>(c, 24);
  const format = load<u32>(c, 28);
  const step = blocks * unitBytes(format);
  const length = (groups + STREAMS - 1) / STREAMS;
  const w: usize = load<u32>(c, 4) + first * step;
  for (let g: u32 = 0; g < length; g++) {
    for (let i: u32 = 0; i < STREAMS; i++) factors(c, first + start(i, length, groups) + g, scratch + FACTORS + i * blocks * 32, scratch);
    tileRow(format, a, w + g * step, scratch + FACTORS, scratch + SUMS, scratch, blocks, length, groups);
    for (let i: u32 = 0; i < STREAMS; i++) put(c, 0, first + start(i, length, groups) + g, scratch + SUMS + i * 16, 1);
  }
}

/** Rows [row, end) of a with one group. */
function multiplyRows(c: usize, group: u32, row: u32, end: u32, scratch: usize): void {
  const a: usize = load<u32>(c);
  const m = load<u32>(c, 16);
  const blocks = load<u32>(c, 24);
  const format = load<u32>(c, 28);
  const w = load<u32>(c, 4) + group * blocks * unitBytes(format);
  const d = scratch + FACTORS;
  factors(c, group, d, scratch);
  if (narrow(m)) {
    if (format == PACKED_Q8) corrections(w, d + blocks * 16, blocks);
    for (; row < end; row += NARROW_ROWS) {
      tileNarrow(format, a + row * blocks * NARROW_BYTES, w, d, scratch + SUMS, scratch, blocks);
      put(c, row, group, scratch + SUMS, min(NARROW_ROWS, end - row));
    }
  } else {
    for (; row < end; row += WIDE_ROWS) {
      tileWide(format, wideRows(m, m - row), a + row * blocks * WIDE_BYTES, w, d, scratch + SUMS, scratch, blocks);
      put(c, row, group, scratch + SUMS, min(WIDE_ROWS, end - row));
    }
  }
}

/** Four columns of `rows` rows of y. */
function put(c: usize, row: u32, group: u32, sums: usize, rows: u32): void {
  const bias: usize = load<u32>(c, 8);
  const n = load<u32>(c, 20);
  const column = group * 4;
  let y = load<u32>(c, 12) + (row * n + column) * 4;
  for (; rows; rows--, sums += 16, y += n * 4) {
    const sum = v128.load(sums);
    storeUpTo(y, bias ? f32x4.add(v128.load(bias + column * 4), sum) : sum, n - column);
  }
}

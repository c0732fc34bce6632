/**
 * @file Packed weights as f32: rows of a table, and all of them. Formats of 16 bits are rows of k elements; for the others see packed.ts.
 *
 * packedRows   0 table  1 index  2 y [count, k]  3 rows  4 k  5 count  6 format  7 rows of a piece
 *     y[i] = row index[i], clamped to [0, rows). A piece is a run of rows of y.
 * unpack       0 table  1 y  2 rows  3 k  4 format  5 first row, 6 rows of y, 7 rows of a piece, a multiple of 8  8 transposed
 *              9 bytes from 8 rows to the next, 10 bytes between k's
 *     y[r, k] = row first + r. Transposed: rows are columns, 8 of them side by side; that fits y[k, r], of which 8 columns are 32 bytes,
 *     and the panels of a product (gemm.ts), where places of rows that are not there are undefined. A piece is a run of rows.
 */
import { PACKED_BF16, PACKED_Q4, PACKED_Q4M, PACKED_Q8 } from "../../src/wasm/opcodes";
import { madd, storeUpTo } from "../simd";
import { HALVES_SCRATCH, openHalves, splatHalf, widen } from "./halves";

/** k's that eight rows are turned by at once. */
const TURN: u32 = 1024;

export function packedRows(c: usize, piece: u32, scratch: usize): void {
  const rows = load<u32>(c, 12);
  const k = load<u32>(c, 16);
  const perPiece = load<u32>(c, 28);
  const last = min((piece + 1) * perPiece, load<u32>(c, 20));
  openHalves(scratch);
  for (let i = piece * perPiece; i < last; i++) {
    const index = load<i32>(load<u32>(c, 4) + i * 4);
    expand(load<u32>(c), rows, k, load<u32>(c, 24), min<u32>(max(index, 0), rows - 1), 0, k, load<u32>(c, 8) + i * k * 4, scratch);
  }
}

export function unpack(c: usize, piece: u32, scratch: usize): void {
  const w: usize = load<u32>(c);
  const y: usize = load<u32>(c, 4);
  const rows = load<u32>(c, 8);
  const k = load<u32>(c, 12);
  const format = load<u32>(c, 16);
  const first = load<u32>(c, 20);
  const count = load<u32>(c, 24);
  const perPiece = load<u32>(c, 28);
  const end = min((piece + 1) * perPiece, count);
  let row = piece * perPiece;
  openHalves(scratch);
  if (!load<u32>(c, 32)) {
    for (; row < end; row++) expand(w, rows, k, format, first + row, 0, k, y + row * k * 4, scratch);
    return;
  }
  const step: usize = load<u32>(c, 40);
  const turned = scratch + HALVES_SCRATCH;
  for (; row < end; row += 8) {
    const wide = min(8, end - row);
    let to = y + (row >> 3) * load<u32>(c, 36);
    for (let from: u32 = 0; from < k; from += TURN, to += TURN * <u32>step) {
      const n = min(TURN, k - from);
      for (let r: u32 = 0; r < wide; r++) expand(w, rows, k, format, first + row + r, from, n, turned + r * TURN * 4, scratch);
      turn(turned, n, to, step, wide);
      if (wide > 4) turn(turned + TURN * 16, n, to + 16, step, wide - 4);
    }
  }
}

/** to[n][0 .. columns) = four rows of `n` elements, `step` bytes apart. */
function turn(from: usize, n: u32, to: usize, step: usize, columns: u32): void {
  for (const end = from + n * 4; from < end; from += 16) {
    const r0 = v128.load(from);
    const r1 = v128.load(from, TURN * 4);
    const r2 = v128.load(from, TURN * 8);
    const r3 = v128.load(from, TURN * 12);
    const t0 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
    const t1 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
    const t2 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
    const t3 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
    storeUpTo(to, v128.shuffle<i64>(t0, t2, 0, 2), columns);
    to += step;
    if (from + 4 < end) {
      storeUpTo(to, v128.shuffle<i64>(t0, t2, 1, 3), columns);
      to += step;
    }
    if (from + 8 < end) {
      storeUpTo(to, v128.shuffle<i64>(t1, t3, 0, 2), columns);
      to += step;
    }
    if (from + 12 < end) {
      storeUpTo(to, v128.shuffle<i64>(t1, t3, 1, 3), columns);
      to += step;
    }
  }
}

/** to[n] = elements from `from` on of a row; `from` and `n` are whole blocks where there are such. */
function expand(w: usize, rows: u32, k: u32, format: u32, row: u32, from: u32, n: u32, to: usize, scratch: usize): void {
  if (format <= <u32>PACKED_BF16) return widen(to, w + (row * k + from) * 2, n, format == PACKED_BF16, scratch);
  const blocks = k / 32;
  const groups = (rows + 3) / 4;
  const unit: u32 = format == PACKED_Q8 ? 128 : 64;
  const at = (row / 4) * blocks + from / 32;
  const r = row % 4;
  let d = w + groups * blocks * unit + at * 8 + r * 2;
  const least = groups * blocks * 8;
  w += at * unit + r * 4;
  for (const end = to + n * 4; to < end; d += 8) {
    const scale = splatHalf(d, scratch);
    if (format == PACKED_Q8) {
      for (const last = to + 128; to < last; to += 16, w += 16) {
        v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(v128.load8x8_s(w))), scale));
      }
      continue;
    }
    const zero = format == PACKED_Q4 ? f32x4.mul(scale, f32x4.splat(-8)) : splatHalf(d + least, scratch);
    for (const last = to + 128; to < last; to += 32, w += 16) {
      const v = i32x4.extend_low_i16x8_u(v128.load8x8_u(w));
      v128.store(to, madd(f32x4.convert_i32x4_s(v128.and(v, i32x4.splat(15))), scale, zero));
      v128.store(to, madd(f32x4.convert_i32x4_s(i32x4.shr_u(v, 4)), scale, zero), 16);
    }
  }
}

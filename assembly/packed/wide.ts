/**
 * @file Tiles of products with 16-bit activations (quantize.ts): four rows of weights at a time, whose sums are the lanes of a vector.
 * Integers of 16 bits are taken out of weights by masks and shifts of 16-bit lanes, which leave each row its own 32 bits: of four bytes
 * first the even, then the odd.
 */
import { PACKED_Q4M, PACKED_Q8 } from "../../src/wasm/opcodes";
import { DOT8, dot16, madd } from "../simd";
import { rowFast, tileFast } from "./fast";
import { inBytes } from "./quantize";

/** Places that a product of one row reads weights from at once. */
export const STREAMS: u32 = 4;

/** First group of stream `i`: `length` of them each, of `groups`; the last may overlap. */
// @ts-ignore: decorator
@inline
export function start(i: u32, length: u32, groups: u32): u32 {
  return min(i * length, groups - length);
}

/** The lower four bits of 16-bit lanes. Through memory: V8 makes constants anew at each use, with three instructions. */
// @ts-ignore: decorator
@inline
export function nibbles(scratch: usize): v128 {
  store<u32>(scratch, 0x000f000f);
  return v128.load32_splat(scratch);
}

/** Eight k's of four rows at `w` times those at `a`, added to `sums`. */
// @ts-ignore: decorator
@inline
function products(four: bool, w: usize, mask: v128, x0: v128, x1: v128, x2: v128, x3: v128, sums: v128): v128 {
  let v = v128.load(w);
  if (four) {
    sums = dot16(v128.and(v, mask), x0, sums);
    sums = dot16(v128.and(i16x8.shr_u(v, 8), mask), x1, sums);
    sums = dot16(v128.and(i16x8.shr_u(v, 4), mask), x2, sums);
    return dot16(i16x8.shr_u(v, 12), x3, sums);
  }
  sums = dot16(i16x8.shr_s(i16x8.shl(v, 8), 8), x0, sums);
  sums = dot16(i16x8.shr_s(v, 8), x1, sums);
  v = v128.load(w, 16);
  sums = dot16(i16x8.shr_s(i16x8.shl(v, 8), 8), x2, sums);
  return dot16(i16x8.shr_s(v, 8), x3, sums);
}

/** The sums of a block, times the scales of weights and of the row. */
// @ts-ignore: decorator
@inline
function scaled(sums: v128, d: usize, scale: v128, to: v128): v128 {
  return madd(f32x4.mul(f32x4.convert_i32x4_s(sums), v128.load(d)), scale, to);
}

// @ts-ignore: decorator
@inline
function row(
  four: bool,
  a: usize,
  w0: usize,
  w1: usize,
  w2: usize,
  w3: usize,
  d: usize,
  least: bool,
  y: usize,
  scratch: usize,
  blocks: u32,
): void {
  const step: usize = four ? 16 : 32;
  const mask = four ? nibbles(scratch) : i32x4.splat(0);
  const size = blocks * 16;
  let f0 = f32x4.splat(0);
  let f1 = f0;
  let f2 = f0;
  let f3 = f0;
  for (const end = d + size; d != end; d += 16) {
    let s0 = v128.load32_splat(a, 72);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    for (const last = a + 64; a != last; a += 16) {
      const x0 = v128.load32_splat(a);
      const x1 = v128.load32_splat(a, 4);
      const x2 = v128.load32_splat(a, 8);
      const x3 = v128.load32_splat(a, 12);
      s0 = products(four, w0, mask, x0, x1, x2, x3, s0);
      s1 = products(four, w1, mask, x0, x1, x2, x3, s1);
      s2 = products(four, w2, mask, x0, x1, x2, x3, s2);
      s3 = products(four, w3, mask, x0, x1, x2, x3, s3);
      w0 += step;
      w1 += step;
      w2 += step;
      w3 += step;
    }
    const scale = v128.load32_splat(a);
    f0 = scaled(s0, d, scale, f0);
    f1 = scaled(s1, d + 2 * size, scale, f1);
    f2 = scaled(s2, d + 4 * size, scale, f2);
    f3 = scaled(s3, d + 6 * size, scale, f3);
    if (four && least) {
      const sum = v128.load32_splat(a, 4);
      const p = d + size;
      f0 = madd(v128.load(p), sum, f0);
      f1 = madd(v128.load(p + 2 * size), sum, f1);
      f2 = madd(v128.load(p + 4 * size), sum, f2);
      f3 = madd(v128.load(p + 6 * size), sum, f3);
    }
    a += 12;
  }
  v128.store(y, f0);
  v128.store(y, f1, 16);
  v128.store(y, f2, 32);
  v128.store(y, f3, 48);
}

function row8(a: usize, w0: usize, w1: usize, w2: usize, w3: usize, d: usize, y: usize, scratch: usize, blocks: u32): void {
  row(false, a, w0, w1, w2, w3, d, false, y, scratch, blocks);
}
function row4(a: usize, w0: usize, w1: usize, w2: usize, w3: usize, d: usize, least: bool, y: usize, scratch: usize, blocks: u32): void {
  row(true, a, w0, w1, w2, w3, d, least, y, scratch, blocks);
}

/** y[STREAMS][4]: one row of a times a group of each stream, which are at `w` and 1, 2, 3 times `length` groups on, all within `groups`. */
export function tileRow(format: u32, a: usize, w: usize, d: usize, y: usize, scratch: usize, blocks: u32, length: u32, groups: u32): void {
  const step = blocks * (format == PACKED_Q8 ? 128 : 64);
  const w1 = w + start(1, length, groups) * step;
  const w2 = w + start(2, length, groups) * step;
  const w3 = w + start(3, length, groups) * step;
  if (format == PACKED_Q8) row8(a, w, w1, w2, w3, d, y, scratch, blocks);
  else if (DOT8 && inBytes(format)) rowFast(a, w, w1, w2, w3, d, format == PACKED_Q4M, y, scratch, blocks);
  else row4(a, w, w1, w2, w3, d, format == PACKED_Q4M, y, scratch, blocks);
}

// @ts-ignore: decorator
@inline
function tile(four: bool, R: u32, a: usize, w: usize, d: usize, least: bool, y: usize, scratch: usize, blocks: u32): void {
  const step: usize = four ? 16 : 32;
  const mask = four ? nibbles(scratch) : i32x4.splat(0);
  const size = blocks * 16;
  let f0 = f32x4.splat(0);
  let f1 = f0;
  let f2 = f0;
  let f3 = f0;
  for (const end = d + size; d != end; d += 16) {
    const facts = a + R * 64;
    let s0 = v128.load32_splat(facts + R * 8);
    let s1 = v128.load32_splat(facts + R * 8, 4);
    let s2 = s0;
    let s3 = s0;
    if (R > 2) {
      s2 = v128.load32_splat(facts + R * 8, 8);
      s3 = v128.load32_splat(facts + R * 8, 12);
    }
    for (const last = a + 64; a != last; a += 16, w += step) {
      let v = v128.load(w);
      let u0 = v;
      let u1 = v;
      let u2 = v;
      let u3 = v;
      if (four) {
        u0 = v128.and(v, mask);
        u1 = v128.and(i16x8.shr_u(v, 8), mask);
        u2 = v128.and(i16x8.shr_u(v, 4), mask);
        u3 = i16x8.shr_u(v, 12);
      } else {
        u0 = i16x8.shr_s(i16x8.shl(v, 8), 8);
        u1 = i16x8.shr_s(v, 8);
        v = v128.load(w, 16);
        u2 = i16x8.shr_s(i16x8.shl(v, 8), 8);
        u3 = i16x8.shr_s(v, 8);
      }
      s0 = four8(a, u0, u1, u2, u3, s0);
      s1 = four8(a + 64, u0, u1, u2, u3, s1);
      if (R > 2) {
        s2 = four8(a + 128, u0, u1, u2, u3, s2);
        s3 = four8(a + 192, u0, u1, u2, u3, s3);
      }
    }
    f0 = scaled(s0, d, v128.load32_splat(facts), f0);
    f1 = scaled(s1, d, v128.load32_splat(facts, 4), f1);
    if (R > 2) {
      f2 = scaled(s2, d, v128.load32_splat(facts, 8), f2);
      f3 = scaled(s3, d, v128.load32_splat(facts, 12), f3);
    }
    if (four && least) {
      const z = v128.load(d + size);
      f0 = madd(z, v128.load32_splat(facts + R * 4), f0);
      f1 = madd(z, v128.load32_splat(facts + R * 4, 4), f1);
      if (R > 2) {
        f2 = madd(z, v128.load32_splat(facts + R * 4, 8), f2);
        f3 = madd(z, v128.load32_splat(facts + R * 4, 12), f3);
      }
    }
    a = facts + R * 12;
  }
  v128.store(y, f0);
  v128.store(y, f1, 16);
  if (R > 2) {
    v128.store(y, f2, 32);
    v128.store(y, f3, 48);
  }
}

/** What was taken out of weights, times eight k's of a row at `a`. */
// @ts-ignore: decorator
@inline
function four8(a: usize, u0: v128, u1: v128, u2: v128, u3: v128, sums: v128): v128 {
  sums = dot16(u0, v128.load32_splat(a), sums);
  sums = dot16(u1, v128.load32_splat(a, 4), sums);
  sums = dot16(u2, v128.load32_splat(a, 8), sums);
  return dot16(u3, v128.load32_splat(a, 12), sums);
}

function tile2x8(a: usize, w: usize, d: usize, y: usize, scratch: usize, blocks: u32): void {
  tile(false, 2, a, w, d, false, y, scratch, blocks);
}
function tile4x8(a: usize, w: usize, d: usize, y: usize, scratch: usize, blocks: u32): void {
  tile(false, 4, a, w, d, false, y, scratch, blocks);
}
function tile2x4(a: usize, w: usize, d: usize, least: bool, y: usize, scratch: usize, blocks: u32): void {
  tile(true, 2, a, w, d, least, y, scratch, blocks);
}
function tile4x4(a: usize, w: usize, d: usize, least: bool, y: usize, scratch: usize, blocks: u32): void {
  tile(true, 4, a, w, d, least, y, scratch, blocks);
}

/** y[rows][4]: two or four rows of a times the group at `w`. */
export function tileWide(format: u32, rows: u32, a: usize, w: usize, d: usize, y: usize, scratch: usize, blocks: u32): void {
  const least = format == PACKED_Q4M;
  if (format == PACKED_Q8) {
    if (rows == 2) tile2x8(a, w, d, y, scratch, blocks);
    else tile4x8(a, w, d, y, scratch, blocks);
  } else if (DOT8 && inBytes(format)) tileFast(rows, a, w, d, least, y, scratch, blocks);
  else if (rows == 2) tile2x4(a, w, d, least, y, scratch, blocks);
  else tile4x4(a, w, d, least, y, scratch, blocks);
}

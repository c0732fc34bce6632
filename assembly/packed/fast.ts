/**
 * @file The tiles of wide.ts for 4-bit weights where products of 8 bits take one instruction (`fastDot8`): activations are two bytes each
 * (quantize.ts), and weights, 0 to 15, are taken out of bytes as they are. The sums are the same.
 */
import { dot8, madd } from "../simd";

/** Through memory: V8 makes constants anew at each use, with three instructions. */
// @ts-ignore: decorator
@inline
function nibbles(scratch: usize): v128 {
  store<u32>(scratch, 0x0f0f0f0f);
  return v128.load32_splat(scratch);
}

/** Adds the sums of a block, of upper and lower bytes, to y. */
// @ts-ignore: decorator
@inline
function add(upper: v128, lower: v128, d: usize, least: usize, fact: usize, step: usize, y: usize): void {
  const sums = f32x4.convert_i32x4_s(i32x4.add(i32x4.shl(upper, 8), lower));
  let f = madd(f32x4.mul(sums, v128.load(d)), v128.load32_splat(fact), v128.load(y));
  if (least) f = madd(v128.load(d + least), v128.load32_splat(fact + step), f);
  v128.store(y, f);
}

/** Two streams of one row, a block. `size`: bytes of a stream's scales. */
// @ts-ignore: decorator
@inline
function pair(a: usize, w0: usize, w1: usize, mask: v128, d: usize, size: usize, least: usize, y: usize): void {
  let l0 = v128.load32_splat(a, 72);
  let l1 = l0;
  let u0 = i32x4.splat(0);
  let u1 = u0;
  for (const end = a + 64; a != end; a += 16, w0 += 16, w1 += 16) {
    const x0 = v128.load32_splat(a);
    const x1 = v128.load32_splat(a, 4);
    const x2 = v128.load32_splat(a, 8);
    const x3 = v128.load32_splat(a, 12);
    let v = v128.load(w0);
    let n = v128.and(v, mask);
    v = v128.and(i16x8.shr_u(v, 4), mask);
    u0 = dot8(x1, v, dot8(x0, n, u0));
    l0 = dot8(x3, v, dot8(x2, n, l0));
    v = v128.load(w1);
    n = v128.and(v, mask);
    v = v128.and(i16x8.shr_u(v, 4), mask);
    u1 = dot8(x1, v, dot8(x0, n, u1));
    l1 = dot8(x3, v, dot8(x2, n, l1));
  }
  add(u0, l0, d, least, a, 4, y);
  add(u1, l1, d + 2 * size, least, a, 4, y + 16);
}

/** `tileRow` with the groups at w0 to w3. */
export function rowFast(
  a: usize,
  w0: usize,
  w1: usize,
  w2: usize,
  w3: usize,
  d: usize,
  minimums: bool,
  y: usize,
  scratch: usize,
  blocks: u32,
): void {
  const mask = nibbles(scratch);
  const size = blocks * 16;
  const least = minimums ? size : 0;
  memory.fill(y, 0, 64);
  for (const end = d + size; d != end; d += 16, a += 76) {
    pair(a, w0, w1, mask, d, size, least, y);
    pair(a, w2, w3, mask, d + 4 * size, size, least, y + 32);
    w0 += 64;
    w1 += 64;
    w2 += 64;
    w3 += 64;
  }
}

// @ts-ignore: decorator
@inline
function tile(R: u32, a: usize, w: usize, d: usize, minimums: bool, y: usize, scratch: usize, blocks: u32): void {
  const mask = nibbles(scratch);
  const size = blocks * 16;
  const least = minimums ? size : 0;
  memory.fill(y, 0, R * 16);
  for (const end = d + size; d != end; d += 16) {
    const facts = a + R * 64;
    let l0 = v128.load32_splat(facts + R * 8);
    let l1 = v128.load32_splat(facts + R * 8, 4);
    let l2 = l0;
    let l3 = l0;
    if (R > 2) {
      l2 = v128.load32_splat(facts + R * 8, 8);
      l3 = v128.load32_splat(facts + R * 8, 12);
    }
    let u0 = i32x4.splat(0);
    let u1 = u0;
    let u2 = u0;
    let u3 = u0;
    for (const last = a + 64; a != last; a += 16, w += 16) {
      const v = v128.load(w);
      const n = v128.and(v, mask);
      const h = v128.and(i16x8.shr_u(v, 4), mask);
      u0 = two(a, n, h, u0);
      l0 = two(a + 8, n, h, l0);
      u1 = two(a + 64, n, h, u1);
      l1 = two(a + 72, n, h, l1);
      if (R > 2) {
        u2 = two(a + 128, n, h, u2);
        l2 = two(a + 136, n, h, l2);
        u3 = two(a + 192, n, h, u3);
        l3 = two(a + 200, n, h, l3);
      }
    }
    add(u0, l0, d, least, facts, R * 4, y);
    add(u1, l1, d, least, facts + 4, R * 4, y + 16);
    if (R > 2) {
      add(u2, l2, d, least, facts + 8, R * 4, y + 32);
      add(u3, l3, d, least, facts + 12, R * 4, y + 48);
    }
    a = facts + R * 12;
  }
}

/** Bytes of eight k's of a row times lower and upper nibbles. */
// @ts-ignore: decorator
@inline
function two(a: usize, n: v128, h: v128, sums: v128): v128 {
  return dot8(v128.load32_splat(a, 4), h, dot8(v128.load32_splat(a), n, sums));
}

function tile2(a: usize, w: usize, d: usize, minimums: bool, y: usize, scratch: usize, blocks: u32): void {
  tile(2, a, w, d, minimums, y, scratch, blocks);
}
function tile4(a: usize, w: usize, d: usize, minimums: bool, y: usize, scratch: usize, blocks: u32): void {
  tile(4, a, w, d, minimums, y, scratch, blocks);
}

/** `tileWide`. */
export function tileFast(rows: u32, a: usize, w: usize, d: usize, minimums: bool, y: usize, scratch: usize, blocks: u32): void {
  if (rows == 2) tile2(a, w, d, minimums, y, scratch, blocks);
  else tile4(a, w, d, minimums, y, scratch, blocks);
}

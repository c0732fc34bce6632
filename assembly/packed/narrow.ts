/**
 * @file Tiles of products with 8-bit activations (quantize.ts), eight rows of them, for builds that multiply 8 bits. One factor is always 0
 * to 127: the weights of 4 bits, or the activations, which then have 64 for zero; what that adds to the sums, `corrections` takes out.
 */
import { PACKED_Q4M, PACKED_Q8 } from "../../src/wasm/opcodes";
import { dot8, fastDot8, madd, slowDot8 } from "../simd";

/** to[blocks][4] = -64 times the sums of the weights of each block of the group at `w`. */
export function corrections(w: usize, to: usize, blocks: u32): void {
  const each = i8x16.splat(64);
  for (; blocks; blocks--, to += 16) {
    let sums = i32x4.splat(0);
    for (const end = w + 128; w != end; w += 16) sums = dot8(v128.load(w), each, sums);
    v128.store(to, i32x4.neg(sums));
  }
}

// @ts-ignore: decorator
@inline
function tile(four: bool, fast: bool, a: usize, w: usize, d: usize, least: bool, y: usize, scratch: usize, blocks: u32): void {
  store<u32>(scratch, 0x0f0f0f0f);
  store<u32>(scratch, 0x00010001, 4);
  const mask = four ? v128.load32_splat(scratch) : i32x4.splat(0);
  const ones = fast ? mask : v128.load32_splat(scratch, 4);
  const size = blocks * 16;
  memory.fill(y, 0, 128);
  for (const end = d + size; d != end; d += 16) {
    let s0 = v128.load(d + size);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let s4 = s0;
    let s5 = s0;
    let s6 = s0;
    let s7 = s0;
    if (four) {
      s0 = v128.load32_splat(a, 320);
      s1 = v128.load32_splat(a, 324);
      s2 = v128.load32_splat(a, 328);
      s3 = v128.load32_splat(a, 332);
      s4 = v128.load32_splat(a, 336);
      s5 = v128.load32_splat(a, 340);
      s6 = v128.load32_splat(a, 344);
      s7 = v128.load32_splat(a, 348);
    }
    for (const last = a + 32; a != last; a += 8) {
      let u0 = v128.load(w);
      let u1 = u0;
      if (four) {
        u1 = v128.and(i16x8.shr_u(u0, 4), mask);
        u0 = v128.and(u0, mask);
        w += 16;
      } else {
        u1 = v128.load(w, 16);
        w += 32;
      }
      s0 = two4(four, fast, a, u0, u1, ones, s0);
      s1 = two4(four, fast, a + 32, u0, u1, ones, s1);
      s2 = two4(four, fast, a + 64, u0, u1, ones, s2);
      s3 = two4(four, fast, a + 96, u0, u1, ones, s3);
      s4 = two4(four, fast, a + 128, u0, u1, ones, s4);
      s5 = two4(four, fast, a + 160, u0, u1, ones, s5);
      s6 = two4(four, fast, a + 192, u0, u1, ones, s6);
      s7 = two4(four, fast, a + 224, u0, u1, ones, s7);
    }
    const scales = v128.load(d);
    const z = v128.load(d + size);
    finish(four && least, a + 224, y, s0, scales, z);
    finish(four && least, a + 228, y + 16, s1, scales, z);
    finish(four && least, a + 232, y + 32, s2, scales, z);
    finish(four && least, a + 236, y + 48, s3, scales, z);
    finish(four && least, a + 240, y + 64, s4, scales, z);
    finish(four && least, a + 244, y + 80, s5, scales, z);
    finish(four && least, a + 248, y + 96, s6, scales, z);
    finish(four && least, a + 252, y + 112, s7, scales, z);
    a += 320;
  }
}

/** Eight k's of four rows of weights times those of a row at `a`. */
// @ts-ignore: decorator
@inline
function two4(four: bool, fast: bool, a: usize, u0: v128, u1: v128, ones: v128, sums: v128): v128 {
  const x0 = v128.load32_splat(a);
  const x1 = v128.load32_splat(a, 4);
  return four ? dot(fast, x1, u1, ones, dot(fast, x0, u0, ones, sums)) : dot(fast, u1, x1, ones, dot(fast, u0, x0, ones, sums));
}

/** Adds the sums of a block to a row of y, whose scale is at `fact`. */
// @ts-ignore: decorator
@inline
function finish(least: bool, fact: usize, y: usize, sums: v128, scales: v128, z: v128): void {
  const product = f32x4.mul(f32x4.convert_i32x4_s(sums), scales);
  let sum = madd(product, v128.load32_splat(fact), v128.load(y));
  if (least) sum = madd(z, v128.load32_splat(fact, 32), sum);
  v128.store(y, sum);
}

// @ts-ignore: decorator
@inline
function dot(fast: bool, a: v128, b: v128, ones: v128, sums: v128): v128 {
  return fast ? dot8(a, b, sums) : slowDot8(a, b, ones, sums);
}

function fast8(a: usize, w: usize, d: usize, y: usize, scratch: usize, blocks: u32): void {
  tile(false, true, a, w, d, false, y, scratch, blocks);
}
function slow8(a: usize, w: usize, d: usize, y: usize, scratch: usize, blocks: u32): void {
  tile(false, false, a, w, d, false, y, scratch, blocks);
}
function fast4(a: usize, w: usize, d: usize, least: bool, y: usize, scratch: usize, blocks: u32): void {
  tile(true, true, a, w, d, least, y, scratch, blocks);
}
function slow4(a: usize, w: usize, d: usize, least: bool, y: usize, scratch: usize, blocks: u32): void {
  tile(true, false, a, w, d, least, y, scratch, blocks);
}

/** y[8][4]: eight rows of a times the group at `w`. */
export function tileNarrow(format: u32, a: usize, w: usize, d: usize, y: usize, scratch: usize, blocks: u32): void {
  const least = format == PACKED_Q4M;
  if (fastDot8()) {
    if (format == PACKED_Q8) fast8(a, w, d, y, scratch, blocks);
    else fast4(a, w, d, least, y, scratch, blocks);
  } else if (format == PACKED_Q8) slow8(a, w, d, y, scratch, blocks);
  else slow4(a, w, d, least, y, scratch, blocks);
}

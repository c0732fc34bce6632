/**
 * @file Activations as integers, for products with packed weights: every block of 32 k's of a row by its largest absolute value.
 *
 * packedQuantize   0 a [m, k]  1 q  2 m  3 blocks of a row  4 format of the weights  5 rows of a piece
 *
 * Integers are 16 bits, or, where there are more than PACKED_FEW rows and the build
 * multiplies 8 bits (DOT8), 8: -127 to 127 for q4, 1 to 127 with 64 for zero for q8, so that one factor of a product always is 0 to 127.
 * q is [tile of rows][block][what follows]: the integers of each row of the tile, then of each row its scale (f32), then the sum of its
 * integers times the scale (f32), then what sums of products begin with (i32): what takes the zero point of q4's weights out of them. Of
 * 16-bit integers each four stand in the order 0 2 1 3, in which weights are taken apart; or, for 4-bit weights where `fastDot8` says so,
 * each eight are their upper bytes and then their lower ones, which are signed, as the upper ones make up for (fast.ts).
 * The scale of a block that is not finite is NaN, and with it all that comes of the row.
 */
import { PACKED_FEW, PACKED_Q4, PACKED_Q8 } from "../../src/wasm/opcodes";
import { DOT8, fastDot8 } from "../simd";

/** Bytes of a row's block. */
export const WIDE_BYTES: u32 = 76;
export const NARROW_BYTES: u32 = 44;
/** Rows of a tile; of 16-bit integers the last tile may be lower (`wideRows`). */
export const WIDE_ROWS: u32 = 4;
export const NARROW_ROWS: u32 = 8;

/** Levels of 16-bit integers: the most whose bytes are both signed. */
const WIDE_LEVELS: f32 = 32639;
/** Added to a float below 2^22, this leaves it rounded in the lower bits. */
const ROUND: f32 = 12582912;
const ROUND_BITS: i32 = 0x4b400000;
/** Scales are of no less than this, so that neither they nor their inverses leave the normal numbers. */
const LEAST: f32 = 7.888609052210118e-31;

/** Whether products of `m` rows are of 8-bit integers. */
// @ts-ignore: decorator
@inline
export function narrow(m: u32): bool {
  return DOT8 && m > <u32>PACKED_FEW;
}

/** Whether 16-bit integers are pairs of bytes. */
// @ts-ignore: decorator
@inline
export function inBytes(format: u32): bool {
  return format != PACKED_Q8 && fastDot8();
}

/** Rows of the tile with `left` of `m` rows to go: one row alone, two or four, of which some may be zeros. */
// @ts-ignore: decorator
@inline
export function wideRows(m: u32, left: u32): u32 {
  return m == 1 ? 1 : left > 2 ? 4 : 2;
}

export function quantize(c: usize, piece: u32, scratch: usize): void {
  const m = load<u32>(c, 8);
  const blocks = load<u32>(c, 12);
  const format = load<u32>(c, 16);
  const perPiece = load<u32>(c, 20);
  const last = min((piece + 1) * perPiece, m);
  const small = narrow(m);
  const height = small ? NARROW_ROWS : WIDE_ROWS;
  const bytes = small ? NARROW_BYTES : WIDE_BYTES;
  const size: u32 = small ? 32 : 64;
  const bytewise = !small && inBytes(format);
  for (let row = piece * perPiece; row < last; row += height) {
    const rows = small ? NARROW_ROWS : wideRows(m, m - row);
    let a: usize = load<u32>(c) + row * blocks * 128;
    let q: usize = load<u32>(c, 4) + row * blocks * bytes;
    for (let b: u32 = 0; b < blocks; b++, a += 128, q += rows * bytes) {
      for (let r: u32 = 0; r < rows; r++) {
        const facts = q + rows * size + r * 4;
        if (row + r < m) quantizeBlock(small, bytewise, format, a + r * blocks * 128, q + r * size, facts, rows * 4);
        else {
          memory.fill(q + r * size, 0, size);
          keep(facts, rows * 4, 0, 0, 0);
        }
      }
    }
  }
}

function keep(facts: usize, step: usize, scale: f32, sum: f32, start: i32): void {
  store<f32>(facts, scale);
  store<f32>(facts + step, sum);
  store<i32>(facts + 2 * step, start);
}

function quantizeBlock(small: bool, bytewise: bool, format: u32, a: usize, q: usize, facts: usize, step: usize): void {
  const signless = i32x4.splat(0x7fffffff);
  // Bits of absolute values are in the order of these, and those of what is not finite come last.
  let most = v128.and(signless, v128.load(a));
  for (let i: usize = 16; i < 128; i += 16) most = i32x4.max_s(most, v128.and(signless, v128.load(a + i)));
  most = i32x4.max_s(most, v128.shuffle<i32>(most, most, 2, 3, 0, 1));
  const bits = max(i32x4.extract_lane(most, 0), i32x4.extract_lane(most, 1));
  const finite = bits < 0x7f800000;
  const largest = max<f32>(LEAST, reinterpret<f32>(bits));
  const levels: f32 = !small ? WIDE_LEVELS : format == PACKED_Q8 ? 63 : 127;
  const inverse = f32x4.splat(finite ? levels / largest : 0);
  const offset = i8x16.splat(format == PACKED_Q8 ? 64 : 0);
  let sums = i32x4.splat(0);
  for (const end = a + 128; a < end; a += 64) {
    const v0 = rounded(a, inverse);
    const v1 = rounded(a + 16, inverse);
    const v2 = rounded(a + 32, inverse);
    const v3 = rounded(a + 48, inverse);
    sums = i32x4.add(sums, i32x4.add(i32x4.add(v0, v1), i32x4.add(v2, v3)));
    if (DOT8 && small) {
      v128.store(q, i8x16.add(offset, narrowed(v0, v1, v2, v3)));
      q += 16;
    } else if (DOT8 && bytewise) {
      const lower = narrowed(lowByte(v0), lowByte(v1), lowByte(v2), lowByte(v3));
      const upper = narrowed(highByte(v0), highByte(v1), highByte(v2), highByte(v3));
      v128.store(q, v128.shuffle<i64>(upper, lower, 0, 2));
      v128.store(q, v128.shuffle<i64>(upper, lower, 1, 3), 16);
      q += 32;
    } else {
      v128.store(q, i16x8.narrow_i32x4_s(inPairs(v0), inPairs(v1)));
      v128.store(q, i16x8.narrow_i32x4_s(inPairs(v2), inPairs(v3)), 16);
      q += 32;
    }
  }
  sums = i32x4.add(sums, v128.shuffle<i32>(sums, sums, 2, 3, 0, 1));
  const sum = i32x4.extract_lane(sums, 0) + i32x4.extract_lane(sums, 1);
  const scale = finite ? largest / levels : NaN;
  keep(facts, step, scale, scale * <f32>sum, format == PACKED_Q4 ? -8 * sum : 0);
}

/** Four elements at `a` times `scale` as the nearest integers; what is not finite gives any. */
// @ts-ignore: decorator
@inline
function rounded(a: usize, scale: v128): v128 {
  return i32x4.sub(f32x4.add(f32x4.mul(v128.load(a), scale), f32x4.splat(ROUND)), i32x4.splat(ROUND_BITS));
}

// @ts-ignore: decorator
@inline
function inPairs(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 0, 2, 1, 3);
}

// @ts-ignore: decorator
@inline
function narrowed(v0: v128, v1: v128, v2: v128, v3: v128): v128 {
  return i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(v0, v1), i16x8.narrow_i32x4_s(v2, v3));
}

// @ts-ignore: decorator
@inline
function lowByte(v: v128): v128 {
  return i32x4.shr_s(i32x4.shl(v, 24), 24);
}

// @ts-ignore: decorator
@inline
function highByte(v: v128): v128 {
  return i32x4.shr_s(i32x4.add(v, i32x4.splat(128)), 8);
}

/**
 * @file Kernels for random numbers that depend on key, stream and position only.
 *
 * random       y, key, kind, stream, count, countPerPiece
 *              key u32[4] -> y[count], u32 (kind 0) or f32 (1 uniform in [0, 1), 2 normal). Block i, made by Philox4x32-10
 *              (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011) from key (key0, key1) and counter
 *              (i, stream, key2, key3), gives elements 4i .. 4i+3. A normal pair is sqrt(-2 ln u1) (cos, sin)(2 pi u2)
 *              (Box & Muller 1958) of elements 4i, 4i+1 or 4i+2, 4i+3, with u1 = ((bits >> 8) + 1) 2^-24 in (0, 1].
 *              A piece is a run of elements; countPerPiece is a multiple of 16.
 * permutation  y, key, start, size, stream, count, countPerPiece
 *              key u32[4], start i32[1] -> y[count] i32, y[j] = pi((start + j) mod size), pi a bijection of [0, size).
 *              A Feistel network of 24 rounds on the smallest power of two that is at least `size`, walked along its
 *              cycle until it lands below `size` (Mitchell et al., "Bandwidth-Optimal Random Shuffling for GPUs", 2021).
 *              Its round keys are the Philox blocks 2^31 .. 2^31+5 of the same key and stream, which `random` cannot reach.
 *              32-bit integers throughout: every backend gives the same bits. 1 <= size < 2^31. A piece is a run of elements.
 */
import { cosReduced, log, sinReduced, turned } from "./math";

const M0: u32 = 0xd2511f53;
const M1: u32 = 0xcd9e8d57;
const W0: u32 = 0x9e3779b9;
const W1: u32 = 0xbb67ae85;

const UNIFORM: u32 = 1;
const NORMAL: u32 = 2;

const FEISTEL_ROUNDS: u32 = 24;

// @ts-ignore: decorator
@inline
function unit(bits: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(bits), f32x4.splat(5.9604644775390625e-8));
}

/**
 * Four Philox blocks, one a lane, to `to`: the four first words, then the second ones and so on. The counters are a, b and the two words at
 * `rest`, the key is the two words at `key`. Multiplying 32 x 32 -> 64 bits takes two vectors of two products each.
 */
export function philox(to: usize, a: v128, b: v128, rest: usize, key: usize): void {
  let c = v128.load32_splat(rest);
  let d = v128.load32_splat(rest, 4);
  let k0 = v128.load32_splat(key);
  let k1 = v128.load32_splat(key, 4);
  const m0 = i32x4.splat(M0);
  const m1 = i32x4.splat(M1);
  for (let round = 0; round < 10; round++) {
    const aLow = i64x2.extmul_low_i32x4_u(a, m0);
    const aHigh = i64x2.extmul_high_i32x4_u(a, m0);
    const cLow = i64x2.extmul_low_i32x4_u(c, m1);
    const cHigh = i64x2.extmul_high_i32x4_u(c, m1);
    a = v128.xor(v128.xor(i32x4.shuffle(cLow, cHigh, 1, 3, 5, 7), b), k0);
    c = v128.xor(v128.xor(i32x4.shuffle(aLow, aHigh, 1, 3, 5, 7), d), k1);
    b = i32x4.shuffle(cLow, cHigh, 0, 2, 4, 6);
    d = i32x4.shuffle(aLow, aHigh, 0, 2, 4, 6);
    k0 = i32x4.add(k0, i32x4.splat(W0));
    k1 = i32x4.add(k1, i32x4.splat(W1));
  }
  v128.store(to, a);
  v128.store(to, b, 16);
  v128.store(to, c, 32);
  v128.store(to, d, 48);
}

/** Philox blocks `block` .. `block + 3` to 16 elements at `to`. */
function fillBlocks(to: usize, key: usize, kind: u32, stream: u32, block: u32): void {
  philox(to, i32x4.add(i32x4.splat(block), i32x4(0, 1, 2, 3)), i32x4.splat(stream), key + 8, key);
  let a = v128.load(to);
  let b = v128.load(to, 16);
  let c = v128.load(to, 32);
  let d = v128.load(to, 48);
  if (kind != 0) {
    a = i32x4.shr_u(a, 8);
    b = i32x4.shr_u(b, 8);
    c = i32x4.shr_u(c, 8);
    d = i32x4.shr_u(d, 8);
  }
  if (kind == UNIFORM) {
    a = unit(a);
    b = unit(b);
    c = unit(c);
    d = unit(d);
  } else if (kind == NORMAL) {
    v128.store(to, a);
    v128.store(to, b, 16);
    v128.store(to, c, 32);
    v128.store(to, d, 48);
    normals(to);
    normals(to + 32);
    a = v128.load(to);
    b = v128.load(to, 16);
    c = v128.load(to, 32);
    d = v128.load(to, 48);
  }
  const ab0 = i32x4.shuffle(a, b, 0, 4, 1, 5);
  const ab1 = i32x4.shuffle(a, b, 2, 6, 3, 7);
  const cd0 = i32x4.shuffle(c, d, 0, 4, 1, 5);
  const cd1 = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(to, i64x2.shuffle(ab0, cd0, 0, 2));
  v128.store(to, i64x2.shuffle(ab0, cd0, 1, 3), 16);
  v128.store(to, i64x2.shuffle(ab1, cd1, 0, 2), 32);
  v128.store(to, i64x2.shuffle(ab1, cd1, 1, 3), 48);
}

/**
 * Pairs of normal numbers, in place of two vectors of 24-bit words at `at`: sqrt(-2 ln u1) times cosine and sine of 2 pi u2, of which the
 * nearest quarter turn is split off in integers, exactly.
 */
function normals(at: usize): void {
  const radius = f32x4.sqrt(f32x4.mul(log(unit(i32x4.add(v128.load(at), i32x4.splat(1)))), f32x4.splat(-2)));
  const bits = v128.load(at, 16);
  const n = i32x4.shr_u(i32x4.add(bits, i32x4.splat(1 << 21)), 22);
  const r = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(bits, i32x4.shl(n, 22))), f32x4.splat(3.7450702829239286e-7));
  const s = sinReduced(r);
  const c = cosReduced(r);
  v128.store(at, f32x4.mul(radius, turned(s, c, i32x4.add(n, i32x4.splat(1)))));
  v128.store(at, f32x4.mul(radius, turned(s, c, n)), 16);
}

export function random(c: usize, piece: u32, scratch: usize): void {
  const y: usize = load<u32>(c);
  const key: usize = load<u32>(c, 4);
  const kind = load<u32>(c, 8);
  const stream = load<u32>(c, 12);
  const count = load<u32>(c, 16);
  const perPiece = load<u32>(c, 20);
  let i = piece * perPiece;
  const end = min(count - i, perPiece) + i;
  for (; i + 16 <= end; i += 16) fillBlocks(y + ((<usize>i) << 2), key, kind, stream, i >> 2);
  if (i < end) {
    fillBlocks(scratch, key, kind, stream, i >> 2);
    memory.copy(y + ((<usize>i) << 2), scratch, (<usize>(end - i)) << 2);
  }
}

/** Mixes v with a round key: both halves of one product, and the high bits of another, which all of its bits reach. */
// @ts-ignore: decorator
@inline
function mix(v: u32, roundKey: u32): u32 {
  const p = <u64>(v ^ roundKey) * M0;
  return ((<u32>p) ^ (<u32>(p >> 32))) * M1;
}

/**
 * The bijection of [0, 2^(low + high)): the two parts of v are xor-ed in turn with the leading bits of the other's mix.
 * `low` is at least 1, `high` may be 0: shifting a mix twice keeps a shift by 32 from wrapping to 0.
 */
function feistel(v: u32, low: u32, high: u32, roundKeys: usize): u32 {
  let right = v & ((1 << low) - 1);
  let left = v >> low;
  for (let round: u32 = 0; round < FEISTEL_ROUNDS; round += 2, roundKeys += 8) {
    left ^= (mix(right, load<u32>(roundKeys)) >> 1) >> (31 - high);
    right ^= mix(left, load<u32>(roundKeys, 4)) >> (32 - low);
  }
  return (left << low) | right;
}

export function permutation(c: usize, piece: u32, scratch: usize): void {
  const y: usize = load<u32>(c);
  const key: usize = load<u32>(c, 4);
  const start = load<u32>(load<u32>(c, 8));
  const size = load<u32>(c, 12);
  const stream = load<u32>(c, 16);
  const count = load<u32>(c, 20);
  const perPiece = load<u32>(c, 24);
  // 24 round keys: blocks 2^31 + 0 .. 3 and 4 .. 7.
  fillBlocks(scratch, key, 0, stream, 0x80000000);
  fillBlocks(scratch + 64, key, 0, stream, 0x80000004);
  const bits = max<u32>(32 - clz(size - 1), 1);
  const high = bits >> 1;
  const low = bits - high;
  const first = piece * perPiece;
  const n = min(count - first, perPiece);
  const to = y + ((<usize>first) << 2);
  let v = <u32>((<u64>start + first) % size);
  for (let j: u32 = 0; j < n; j++) {
    let w = feistel(v, low, high, scratch);
    while (w >= size) w = feistel(w, low, high, scratch);
    store<u32>(to + ((<usize>j) << 2), w);
    if (++v == size) v = 0;
  }
}

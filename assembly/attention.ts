/**
 * @file Scaled dot-product attention and its gradient: what they compute stands in src/plan/kernels.ts.
 *
 * Both begin with
 *   0 b  1 tq  2 tk  3 heads  4 kvHeads  5 dim  6 valueDim  7 scale  8 causal  9 window  10 offset
 *   11 mask?  12 offset?  13 lengths?  14 key?  15 whether the mask is bool  16 .. 19 the mask's strides
 *   20 words >> 8 below this are kept  21 factor of what is kept  22 stream
 * attention       23 q, 24 k, 25 v, 26 y, 27 lse?
 *                 A piece is a head of a sequence.
 * attentionGrad   23 dy, 24 q, 25 k, 26 v, 27 delta, 28 lse, 29 dq, 30 dk, 31 dv, 32 dscore?
 *                 A piece is a head of keys of a sequence.
 */
import { exp, log } from "./math";
import { philox } from "./random";

/** Offsets count as the nearest number within this distance of 0, so that nothing overflows. */
const FARTHEST: i32 = 1 << 29;

/** In scratch: the words that dropout starts from, and a block of them. */
const SEED: usize = 0;
const BLOCK: usize = 16;

// @ts-ignore: decorator
@inline
function size(c: usize, i: u32): u32 {
  return load<u32>(c + (i << 2));
}

/** The word of `c` that is an address, plus `elements`. */
// @ts-ignore: decorator
@inline
function address(c: usize, i: u32, elements: u32): usize {
  return <usize>load<u32>(c + (i << 2)) + (elements << 2);
}

/** Position of the first query of sequence `b`. */
function positionOf(c: usize, b: u32): i32 {
  const given = size(c, 12);
  const offset = <i32>(given ? load<u32>(given + (b << 2)) : size(c, 10));
  return max(-FARTHEST, min(FARTHEST, offset));
}

/** One more than the last key that a query at `position` sees. */
function endOf(c: usize, b: u32, position: i32): i32 {
  const given = size(c, 13);
  let end = <i32>size(c, 2);
  if (given) end = min(end, load<i32>(given + (b << 2)));
  const window = size(c, 9);
  if (size(c, 8)) end = min(end, position + 1);
  else if (window) end = min(end, position + <i32>window);
  return end;
}

/** The first key that a query at `position` sees. */
function startOf(c: usize, position: i32): i32 {
  const window = size(c, 9);
  return window ? max(0, position + 1 - <i32>window) : 0;
}

function dot(a: usize, b: usize, n: u32): f32 {
  let sum: f64 = 0;
  for (const end = a + (n << 2); a < end; a += 4, b += 4) sum += <f64>load<f32>(a) * <f64>load<f32>(b);
  return <f32>sum;
}

function addTimes(y: usize, x: usize, factor: f32, n: u32): void {
  for (const end = y + (n << 2); y < end; y += 4, x += 4) store<f32>(y, load<f32>(y) + factor * load<f32>(x));
}

/** -infinity where the mask hides the key. */
function scoreOf(c: usize, q: usize, k: usize, b: u32, h: u32, i: u32, j: u32): f32 {
  let s: f32 = load<f32>(c, 28) * dot(q, k, size(c, 5));
  if (size(c, 11)) {
    const mask = address(c, 11, b * size(c, 16) + h * size(c, 17) + i * size(c, 18) + j * size(c, 19));
    if (!size(c, 15)) s += load<f32>(mask);
    else if (!load<u32>(mask)) s = -Infinity;
  }
  return s;
}

function exponential(x: f32): f32 {
  return f32x4.extract_lane(exp(f32x4.splat(x)), 0);
}

/** Of weight j of a row: 1 without dropout. */
function factorOf(c: usize, row: u32, j: u32, scratch: usize): f32 {
  if (!size(c, 14)) return 1;
  philox(scratch + BLOCK, j >> 2, row, scratch + SEED + 8, scratch + SEED);
  return load<u32>(scratch + ((j & 3) << 2), BLOCK) >> 8 < size(c, 20) ? load<f32>(c, 84) : 0;
}

function seed(c: usize, scratch: usize): void {
  const key = size(c, 14);
  if (key) philox(scratch + SEED, 0x80000008, size(c, 22), key + 8, key);
}

export function attention(c: usize, piece: u32, scratch: usize): void {
  const heads = size(c, 3);
  const tq = size(c, 1);
  const tk = size(c, 2);
  const kvHeads = size(c, 4);
  const dim = size(c, 5);
  const valueDim = size(c, 6);
  const b = piece / heads;
  const h = piece % heads;
  const g = h / (heads / kvHeads);
  const position = positionOf(c, b);
  seed(c, scratch);
  for (let i: u32 = 0; i < tq; i++) {
    const query = (b * tq + i) * heads + h;
    const q = address(c, 23, query * dim);
    const y = address(c, 26, query * valueDim);
    const first = startOf(c, position + i);
    const end = endOf(c, b, position + i);
    let largest: f32 = -Infinity;
    for (let j = first; j < end; j++) {
      const key = (b * tk + j) * kvHeads + g;
      largest = max(largest, scoreOf(c, q, address(c, 24, key * dim), b, h, i, j));
    }
    memory.fill(y, 0, valueDim << 2);
    const lse = size(c, 27) + ((piece * tq + i) << 2);
    if (size(c, 27)) store<f32>(lse, Infinity);
    if (largest == -Infinity) continue;
    let total: f32 = 0;
    for (let j = first; j < end; j++) {
      const key = (b * tk + j) * kvHeads + g;
      const weight = exponential(scoreOf(c, q, address(c, 24, key * dim), b, h, i, j) - largest);
      total += weight;
      const factor = factorOf(c, piece * tq + i, j, scratch);
      if (weight != 0) addTimes(y, address(c, 25, key * valueDim), weight * factor, valueDim);
    }
    for (let d: u32 = 0; d < valueDim; d++) store<f32>(y + (d << 2), load<f32>(y + (d << 2)) / total);
    if (size(c, 27)) store<f32>(lse, largest + f32x4.extract_lane(log(f32x4.splat(total)), 0));
  }
}

export function attentionGrad(c: usize, piece: u32, scratch: usize): void {
  const heads = size(c, 3);
  const tq = size(c, 1);
  const tk = size(c, 2);
  const kvHeads = size(c, 4);
  const dim = size(c, 5);
  const valueDim = size(c, 6);
  const b = piece / kvHeads;
  const g = piece % kvHeads;
  const group = heads / kvHeads;
  const scale = load<f32>(c, 28);
  const position = positionOf(c, b);
  seed(c, scratch);
  for (let j: u32 = 0; j < tk; j++) {
    const key = (b * tk + j) * kvHeads + g;
    memory.fill(address(c, 30, key * dim), 0, dim << 2);
    memory.fill(address(c, 31, key * valueDim), 0, valueDim << 2);
  }
  for (let h = g * group; h < (g + 1) * group; h++) {
    for (let i: u32 = 0; i < tq; i++) {
      const query = (b * tq + i) * heads + h;
      const row = (b * heads + h) * tq + i;
      const dy = address(c, 23, query * valueDim);
      const q = address(c, 24, query * dim);
      const dq = address(c, 29, query * dim);
      memory.fill(dq, 0, dim << 2);
      if (size(c, 32)) memory.fill(address(c, 32, row * tk), 0, tk << 2);
      const end = endOf(c, b, position + i);
      for (let j = startOf(c, position + i); j < end; j++) {
        const key = (b * tk + j) * kvHeads + g;
        const k = address(c, 25, key * dim);
        const p = exponential(scoreOf(c, q, k, b, h, i, j) - load<f32>(address(c, 28, row)));
        if (p == 0) continue;
        const factor = factorOf(c, row, j, scratch);
        const dp = dot(dy, address(c, 26, key * valueDim), valueDim);
        const ds: f32 = p * (factor * dp - load<f32>(address(c, 27, query)));
        if (size(c, 32)) store<f32>(address(c, 32, row * tk + j), ds);
        addTimes(dq, k, scale * ds, dim);
        addTimes(address(c, 30, key * dim), q, scale * ds, dim);
        addTimes(address(c, 31, key * valueDim), dy, factor * p, valueDim);
      }
    }
  }
}

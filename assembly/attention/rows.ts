/**
 * @file attentionRows   after the common words 23 heads of a piece, 24 keys of a tile, 25 q, 26 k, 27 v, 28 y, 29 lse?,
 * 30 whether k and v are f16
 *
 * attention of few queries, as in decoding, where each key and value is read for a few multiplications and packing them would cost more: a
 * piece is some heads that share their keys, b x kvHeads x groups of heads. Keys are tiles that stay in L1 from query to query; those that
 * are f16 are widened there.
 */
import * as A from "../attention";
import { dots } from "../matmul";
import { widen } from "../halves";
import { hsum, madd, storeUpTo, tailMask, vmax } from "../simd";
import { dropRow, maskRow, seed } from "./scores";

/** Keys of a tile, at most: KEYS of encode/attention.ts. */
const KEYS: u32 = 64;
const SCORES: usize = A.OWN;
const FACTORS: usize = SCORES + KEYS * 4;
/** Then of each query 16 bytes (the largest score, the sum of weights) and its result. */
const STATES: usize = FACTORS + KEYS * 4 + 16;

export function attentionRows(c: usize, piece: u32, scratch: usize): void {
  const tq = A.word(c, 1);
  const tk = A.word(c, 2);
  const heads = A.word(c, 3);
  const kvHeads = A.word(c, 4);
  const dim = A.word(c, 5);
  const valueDim = A.word(c, 6);
  const most = A.word(c, 23);
  const group = heads / kvHeads;
  const groups = (group + most - 1) / most;
  const g = (piece / groups) % kvHeads;
  const b = piece / groups / kvHeads;
  const h0 = g * group + (piece % groups) * most;
  const h1 = min(h0 + most, (g + 1) * group);
  const position = A.positionOf(c, b);
  const keys = A.keysOf(c, b);
  const reach = A.reachOf(c);
  const back = A.backOf(c);
  const first = A.startOf(position, back);
  const end = A.endOf(position + tq - 1, keys, reach);
  const tile = A.word(c, 24);
  const halves = A.word(c, 30);
  const keyStep = halves ? dim << 2 : (kvHeads * dim) << 2;
  const valueStep = halves ? valueDim << 2 : (kvHeads * valueDim) << 2;
  const scale = f32x4.splat(A.scaleOf(c));
  const stateBytes = 16 + (A.up(valueDim, 4) << 2);
  const s = scratch + SCORES;

  if (TRAINING) seed(c, scratch);
  const all = (h1 - h0) * tq * stateBytes;
  const wideKeys = scratch + STATES + all;
  const wideValues = wideKeys + tile * (dim << 2);
  memory.fill(scratch + STATES, 0, all);
  for (let i: usize = 0; i < all; i += stateBytes) store<f32>(scratch + STATES + i, -Infinity);
  for (let j0 = first; j0 < end; j0 += tile) {
    const key = (b * tk + j0) * kvHeads + g;
    let keyTile = wideKeys;
    let valueTile = wideValues;
    if (halves) {
      const rows = min<u32>(tile, end - j0);
      widen(keyTile, A.halves(c, 26, key * dim), (kvHeads * dim) << 1, rows, dim);
      widen(valueTile, A.halves(c, 27, key * valueDim), (kvHeads * valueDim) << 1, rows, valueDim);
    } else {
      keyTile = A.address(c, 26, key * dim);
      valueTile = A.address(c, 27, key * valueDim);
    }
    let state = scratch + STATES;
    for (let h = h0; h < h1; h++) {
      for (let i: u32 = 0; i < tq; i++, state += stateBytes) {
        const low = A.within(A.startOf(position + i, back) - j0, 0, tile);
        const n = A.within(A.endOf(position + i, keys, reach) - j0, low, tile) - low;
        if (n == 0) continue;
        const row = (b * heads + h) * tq + i;
        score(s, A.address(c, 25, ((b * tq + i) * heads + h) * dim), keyTile + low * keyStep, keyStep, n, dim, scale);
        if (A.word(c, 11)) maskRow(c, s, b, h, i, j0 + low, n);
        const less = soften(s, n, state);
        if (TRAINING && A.word(c, 14)) {
          dropRow(c, scratch + FACTORS, row, j0 + low, n, scratch);
          for (let j: usize = 0; j < <usize>(n << 2); j += 16) {
            v128.store(s + j, f32x4.mul(v128.load(s + j), v128.load(scratch + FACTORS + j)));
          }
        }
        weigh(state + 16, s, valueTile + low * valueStep, valueStep, n, valueDim, less);
      }
    }
  }
  let state = scratch + STATES;
  for (let h = h0; h < h1; h++) {
    for (let i: u32 = 0; i < tq; i++, state += stateBytes) finish(c, state, (b * tq + i) * heads + h, (b * heads + h) * tq + i, valueDim);
  }
}

/** s[n] = scale q k */
function score(s: usize, q: usize, k: usize, step: u32, n: u32, dim: u32, scale: v128): void {
  const last = k + (n - 1) * step;
  for (; n; s += 16, k += 4 * step) {
    v128.store(s, f32x4.mul(dots(q, k, min(k + step, last), min(k + 2 * step, last), min(k + 3 * step, last), dim), scale));
    n -= min<u32>(n, 4);
  }
}

/** n scores become weights relative to the largest so far. Returns the factor of what was before. */
function soften(s: usize, n: u32, state: usize): f32 {
  const lowest = f32x4.splat(-Infinity);
  const full = s + ((n & ~3) << 2);
  const rest = n & 3;
  if (rest) v128.store(full, v128.bitselect(v128.load(full), lowest, tailMask(rest)));
  const end = s + (n << 2);
  const was = load<f32>(state);
  let top = f32x4.splat(was);
  for (let p = s; p < end; p += 16) top = vmax(v128.load(p), top);
  top = vmax(i32x4.shuffle(top, top, 2, 3, 0, 1), top);
  top = vmax(i32x4.shuffle(top, top, 1, 0, 3, 2), top);
  store<f32>(state, f32x4.extract_lane(top, 0));
  // Where nothing has been seen, -infinity less 0 is what it should be.
  top = v128.and(top, f32x4.ne(top, lowest));
  let sum = f32x4.splat(0);
  for (let p = s; p < end; p += 16) {
    const e = A.power(f32x4.sub(v128.load(p), top));
    v128.store(p, e);
    sum = f32x4.add(sum, e);
  }
  const less = f32x4.extract_lane(A.power(f32x4.sub(f32x4.splat(was), top)), 0);
  store<f32>(state, load<f32>(state, 4) * less + hsum(sum), 4);
  return less;
}

/** y = less y + s v, for n rows of v, `step` bytes apart. */
function weigh(y: usize, s: usize, v: usize, step: u32, n: u32, cols: u32, less: f32): void {
  const shrink = f32x4.splat(less);
  const end = s + (n << 2);
  for (; cols >= 32; cols -= 32, y += 128, v += 128) {
    let a0 = f32x4.mul(v128.load(y), shrink);
    let a1 = f32x4.mul(v128.load(y, 16), shrink);
    let a2 = f32x4.mul(v128.load(y, 32), shrink);
    let a3 = f32x4.mul(v128.load(y, 48), shrink);
    let a4 = f32x4.mul(v128.load(y, 64), shrink);
    let a5 = f32x4.mul(v128.load(y, 80), shrink);
    let a6 = f32x4.mul(v128.load(y, 96), shrink);
    let a7 = f32x4.mul(v128.load(y, 112), shrink);
    for (let p = s, r = v; p < end; p += 4, r += step) {
      const w = v128.load32_splat(p);
      a0 = madd(w, v128.load(r), a0);
      a1 = madd(w, v128.load(r, 16), a1);
      a2 = madd(w, v128.load(r, 32), a2);
      a3 = madd(w, v128.load(r, 48), a3);
      a4 = madd(w, v128.load(r, 64), a4);
      a5 = madd(w, v128.load(r, 80), a5);
      a6 = madd(w, v128.load(r, 96), a6);
      a7 = madd(w, v128.load(r, 112), a7);
    }
    v128.store(y, a0);
    v128.store(y, a1, 16);
    v128.store(y, a2, 32);
    v128.store(y, a3, 48);
    v128.store(y, a4, 64);
    v128.store(y, a5, 80);
    v128.store(y, a6, 96);
    v128.store(y, a7, 112);
  }
  for (let d: u32 = 0; d < cols; d += 4, y += 16, v += 16) {
    let a = f32x4.mul(v128.load(y), shrink);
    for (let p = s, r = v; p < end; p += 4, r += step) a = madd(v128.load32_splat(p), v128.load(r), a);
    v128.store(y, a);
  }
}

/** A query's result by the sum of its weights, and the logarithm of that. */
function finish(c: usize, state: usize, query: u32, row: u32, cols: u32): void {
  const sum = load<f32>(state, 4);
  A.keepLse(c, row, load<f32>(state), sum);
  const y = A.address(c, 28, query * cols);
  if (sum == 0) {
    // Of values that are not seen the state may have NaN.
    memory.fill(y, 0, cols << 2);
    return;
  }
  const factor = f32x4.splat(1 / sum);
  for (let d: u32 = 0; d < cols; d += 4) {
    storeUpTo(y + (d << 2), f32x4.mul(v128.load(state + 16 + (d << 2)), factor), cols - d);
  }
}

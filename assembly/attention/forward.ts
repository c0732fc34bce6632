/**
 * @file attention   after the common words 23 queries and 24 keys of a tile, 25 q, 26 k, 27 v, 28 y, 29 lse?, 30 whether k
 * and v are f16
 *
 * A piece is a tile of queries of one head: b x heads x tiles. Scores are kept with the keys as rows: then the largest of a query, its sum
 * and its exponentials are lanes of their own, and weights are what the product with v reads as they are. Of a tile of keys that not all
 * queries see, products leave out what none of eight queries, or of a tile of their rows, sees.
 */
import * as A from "../attention";
import { A_STEP, MR, NR } from "../gemm";
import { widen } from "../halves";
import { storeUpTo, vmax } from "../simd";
import { dropColumns, maskColumns, seed } from "./scores";

/** Bytes of what is known of a query, one after another: its largest score, the sum of its weights, how much both have been scaled down. */
const MOST_QUERIES: u32 = 128;
const SUMS: usize = MOST_QUERIES * 4;
const SHRINK: usize = SUMS + MOST_QUERIES * 4;
const TILES: usize = A.OWN + SHRINK + MOST_QUERIES * 4;

export function attention(c: usize, piece: u32, scratch: usize): void {
  const tq = A.word(c, 1);
  const tk = A.word(c, 2);
  const heads = A.word(c, 3);
  const kvHeads = A.word(c, 4);
  const dim = A.word(c, 5);
  const valueDim = A.word(c, 6);
  const most = A.word(c, 23);
  const keyTile = A.word(c, 24);
  const tiles = (tq + most - 1) / most;
  const i0 = (piece % tiles) * most;
  const h = (piece / tiles) % heads;
  const b = piece / tiles / heads;
  const g = h / (heads / kvHeads);
  const queries = min(most, tq - i0);
  const position = A.positionOf(c, b) + <i32>i0;
  const keys = A.keysOf(c, b);
  const reach = A.reachOf(c);
  const back = A.backOf(c);
  const first = A.startOf(position, back);
  const end = A.endOf(position + queries - 1, keys, reach);

  const state = scratch + A.OWN;
  const ld = most << 2;
  const accStep = A.up(valueDim, NR) << 2;
  const qPanels = scratch + TILES;
  const kPanels = qPanels + A.up(queries, NR) * (dim << 2);
  const vPanels = kPanels + ((keyTile + MR - 1) / MR) * dim * A_STEP;
  const scores = vPanels + keyTile * accStep;
  const acc = scores + keyTile * ld;
  const wide = acc + most * accStep;

  A.open(scratch);
  if (TRAINING) seed(c, scratch);
  const lanes = A.up(queries, NR) << 2;
  for (let i: usize = 0; i < lanes; i += 16) {
    v128.store(state + i, f32x4.splat(-Infinity));
    v128.store(state + i, f32x4.splat(0), SUMS);
  }
  A.packColumnsOf(qPanels, A.address(c, 25, ((b * tq + i0) * heads + h) * dim), (heads * dim) << 2, queries, dim, A.scaleOf(c));

  for (let j0 = first; j0 < end; j0 += keyTile) {
    const n = min<u32>(keyTile, end - j0);
    const key = (b * tk + j0) * kvHeads + g;
    if (A.word(c, 30)) {
      widen(wide, A.halves(c, 26, key * dim), (kvHeads * dim) << 1, n, dim);
      A.packA(kPanels, wide, dim << 2, n, dim);
      widen(wide, A.halves(c, 27, key * valueDim), (kvHeads * valueDim) << 1, n, valueDim);
      A.packB(vPanels, wide, valueDim << 2, n, valueDim, 1);
    } else {
      A.packA(kPanels, A.address(c, 26, key * dim), (kvHeads * dim) << 2, n, dim);
      A.packB(vPanels, A.address(c, 27, key * valueDim), (kvHeads * valueDim) << 2, n, valueDim, 1);
    }
    const whole = A.endOf(position, keys, reach) >= j0 + <i32>n && A.startOf(position + queries - 1, back) <= j0;
    for (let i: u32 = 0; i < queries; i += NR) {
      const count = min(NR, queries - i);
      const s = scores + (i << 2);
      let low: u32 = 0;
      let high = n;
      if (!whole) {
        low = A.within(A.startOf(position + i, back) - j0, 0, n);
        low -= low % MR;
        high = A.within(A.endOf(position + i + count - 1, keys, reach) - j0, low, n);
      }
      const part = s + low * ld;
      A.product(
        scratch,
        kPanels + low * (dim << 2),
        A_STEP,
        dim * A_STEP,
        qPanels + i * (dim << 2),
        0,
        part,
        ld,
        high - low,
        count,
        dim,
        false,
      );
      if (!whole) hide(s, ld, position + i - j0, keys - j0, reach, back, count, low, high, n);
      if (A.word(c, 11)) maskColumns(c, part, ld, b, h, i0 + i, count, j0 + low, high - low);
      soften(part, ld, high - low, state + (i << 2));
      if (TRAINING && A.word(c, 14)) dropColumns(c, part, ld, (b * heads + h) * tq + i0 + i, j0 + low, high - low, scratch);
    }
    const add = j0 > first;
    if (add) shrink(acc, accStep, queries, state + SHRINK);
    if (whole) A.product(scratch, scores, ld, MR * 4, vPanels, n * NR * 4, acc, accStep, queries, valueDim, n, add);
    else {
      for (let i: u32 = 0; i < queries; i += MR) {
        const count = min(MR, queries - i);
        const low = A.within(A.startOf(position + i, back) - j0, 0, n);
        const some = A.within(A.endOf(position + i + count - 1, keys, reach) - j0, low, n) - low;
        const s = scores + low * ld + (i << 2);
        if (some || !add)
          A.product(scratch, s, ld, 0, vPanels + low * NR * 4, n * NR * 4, acc + i * accStep, accStep, count, valueDim, some, add);
      }
    }
  }
  finish(c, acc, accStep, (b * tq + i0) * heads + h, heads * valueDim, valueDim, queries, (b * heads + h) * tq + i0, state);
}

/**
 * Of the scores s[n, count] of queries at `position` and behind, counted from the first of n keys: -infinity where the query does not see
 * the key, in rows [low, high), and weights 0 in the others.
 */
function hide(s: usize, ld: u32, position: i32, keys: i32, reach: i32, back: i32, count: u32, low: u32, high: u32, n: u32): void {
  clear(s, ld, 0, low);
  clear(s, ld, high, n);
  for (let i: u32 = 0; i < count; i++, s += 4) {
    const start = A.within(position + i - back, low, high);
    for (let j = low; j < start; j++) store<f32>(s + j * ld, -Infinity);
    for (let j = A.within(A.endOf(position + i, keys, reach), low, high); j < high; j++) store<f32>(s + j * ld, -Infinity);
  }
}

function clear(s: usize, ld: u32, low: u32, high: u32): void {
  const nothing = f32x4.splat(0);
  const end = s + high * ld;
  for (let p = s + low * ld; p < end; p += ld) {
    v128.store(p, nothing);
    v128.store(p, nothing, 16);
  }
}

/** Eight columns of n scores become weights relative to the largest so far; the state of their queries goes on. */
function soften(s: usize, ld: u32, n: u32, state: usize): void {
  const lowest = f32x4.splat(-Infinity);
  const was0 = v128.load(state);
  const was1 = v128.load(state, 16);
  let top0 = was0;
  let top1 = was1;
  const end = s + n * ld;
  for (let p = s; p < end; p += ld) {
    top0 = vmax(v128.load(p), top0);
    top1 = vmax(v128.load(p, 16), top1);
  }
  v128.store(state, top0);
  v128.store(state, top1, 16);
  // Where nothing has been seen, -infinity less 0 is what it should be.
  top0 = v128.and(top0, f32x4.ne(top0, lowest));
  top1 = v128.and(top1, f32x4.ne(top1, lowest));
  let sum0 = f32x4.splat(0);
  let sum1 = sum0;
  for (let p = s; p < end; p += ld) {
    const e0 = A.power(f32x4.sub(v128.load(p), top0));
    v128.store(p, e0);
    sum0 = f32x4.add(sum0, e0);
    const e1 = A.power(f32x4.sub(v128.load(p, 16), top1));
    v128.store(p, e1, 16);
    sum1 = f32x4.add(sum1, e1);
  }
  const less0 = A.power(f32x4.sub(was0, top0));
  const less1 = A.power(f32x4.sub(was1, top1));
  v128.store(state, less0, SHRINK);
  v128.store(state, less1, SHRINK + 16);
  v128.store(state, f32x4.add(f32x4.mul(v128.load(state, SUMS), less0), sum0), SUMS);
  v128.store(state, f32x4.add(f32x4.mul(v128.load(state, SUMS + 16), less1), sum1), SUMS + 16);
}

/** Rows of the result so far by their factors. */
function shrink(y: usize, step: u32, rows: u32, factors: usize): void {
  for (; rows; rows--, y += step, factors += 4) {
    if (load<f32>(factors) == 1) continue;
    const s = v128.load32_splat(factors);
    for (let i: usize = 0; i < step; i += 16) v128.store(y + i, f32x4.mul(v128.load(y + i), s));
  }
}

/** Rows of the result by the sums of their weights, to y, and the logarithms of those to lse. */
function finish(c: usize, acc: usize, accStep: u32, query: u32, step: u32, cols: u32, rows: u32, row: u32, state: usize): void {
  let y = A.address(c, 28, query * cols);
  for (let i: u32 = 0; i < rows; i++, y += step << 2, acc += accStep) {
    const sum = load<f32>(state + (i << 2), SUMS);
    const nothing = sum == 0;
    A.keepLse(c, row + i, load<f32>(state + (i << 2)), sum);
    const factor = f32x4.splat(nothing ? 0 : 1 / sum);
    for (let d: u32 = 0; d < cols; d += 4) {
      const v = v128.load(acc + (d << 2));
      storeUpTo(y + (d << 2), nothing ? factor : f32x4.mul(v, factor), cols - d);
    }
  }
}

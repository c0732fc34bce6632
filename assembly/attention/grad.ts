/**
 * @file attentionGrad   after the common words 23 queries and 24 keys of a tile, 25 keys of a piece, 26 bytes from one piece's dq to the
 *                       next one's of the same head, 27 dy, 28 q, 29 k, 30 v, 31 delta, 32 lse, 33 dq, 34 dk, 35 dv, 36 dscore?
 *
 * A piece is a run of keys of one of their heads: b x kvHeads x runs. For a tile of keys it goes through all queries that see some of
 * them: weights are computed again from lse, and what is added to dk and dv stays in scratch. dq has what this run of keys adds to it.
 * Scores have queries as rows here, so that they are what the products with q and dy read as they are; those with k take a transposed
 * copy.
 */
import * as A from "../attention";
import { A_STEP, MR, NR } from "../gemm";
import { storeUpTo } from "../simd";
import { dropRow, maskRow, seed } from "./scores";

const MOST_QUERIES: u32 = 128;
/** What is known of a query: lse, then delta. */
const DELTA: usize = MOST_QUERIES * 4;
/** In scratch: where each of a piece's tiles is. */
const PLACES: usize = 384;
const K_TURNED: u32 = 0;
const V_TURNED: u32 = 1;
const K_PANELS: u32 = 2;
const DK: u32 = 3;
const DV: u32 = 4;
const Q_ROWS: u32 = 5;
const DY_ROWS: u32 = 6;
const Q_PANELS: u32 = 7;
const DY_PANELS: u32 = 8;
const SCORES: u32 = 9;
const SLOPES: u32 = 10;
const TURNED: u32 = 11;
const FACTORS: u32 = 12;

// @ts-ignore: decorator
@inline
function placeOf(scratch: usize, tile: u32): usize {
  return load<u32>(scratch + PLACES + (tile << 2));
}

/** Gives a tile its place. Returns where the next one may be. */
// @ts-ignore: decorator
@inline
function put(scratch: usize, tile: u32, at: usize, bytes: u32): usize {
  store<u32>(scratch + PLACES + (tile << 2), at);
  return at + bytes;
}

function placeTiles(c: usize, scratch: usize): void {
  const dim = A.word(c, 5) << 2;
  const valueDim = A.word(c, 6) << 2;
  const queries = A.word(c, 23);
  const keys = A.word(c, 24);
  const dims = A.up(dim, NR << 2);
  const valueDims = A.up(valueDim, NR << 2);
  const rows = ((queries + MR - 1) / MR) * MR;
  let at = put(scratch, K_TURNED, scratch + A.OWN + 2 * DELTA, keys * dim);
  at = put(scratch, V_TURNED, at, keys * valueDim);
  at = put(scratch, K_PANELS, at, keys * dims);
  at = put(scratch, DK, at, keys * dims);
  at = put(scratch, DV, at, keys * valueDims);
  at = put(scratch, Q_ROWS, at, rows * dim);
  at = put(scratch, DY_ROWS, at, rows * valueDim);
  at = put(scratch, Q_PANELS, at, queries * dims);
  at = put(scratch, DY_PANELS, at, queries * valueDims);
  at = put(scratch, SCORES, at, queries * (keys << 2));
  at = put(scratch, SLOPES, at, queries * (keys << 2));
  at = put(scratch, TURNED, at, queries * (keys << 2));
  put(scratch, FACTORS, at, 0);
}

export function attentionGrad(c: usize, piece: u32, scratch: usize): void {
  const tq = A.word(c, 1);
  const tk = A.word(c, 2);
  const heads = A.word(c, 3);
  const kvHeads = A.word(c, 4);
  const dim = A.word(c, 5);
  const valueDim = A.word(c, 6);
  const scale = A.scaleOf(c);
  const queryTile = A.word(c, 23);
  const keyTile = A.word(c, 24);
  const perPiece = A.word(c, 25);
  const runs = (max<u32>(tk, 1) + perPiece - 1) / perPiece;
  const run = piece % runs;
  const g = (piece / runs) % kvHeads;
  const b = piece / runs / kvHeads;
  const group = heads / kvHeads;
  const position = A.positionOf(c, b);
  const reach = A.reachOf(c);
  const back = A.backOf(c);
  const keyStep = (kvHeads * dim) << 2;
  const dq = A.address(c, 33, 0) + run * A.word(c, 26);
  const k0 = run * perPiece;
  const last = min(tk, k0 + perPiece);

  A.open(scratch);
  seed(c, scratch);
  placeTiles(c, scratch);
  for (let h = g * group; h < (g + 1) * group; h++) {
    for (let i: u32 = 0; i < tq; i++) {
      memory.fill(dq + ((((b * tq + i) * heads + h) * dim) << 2), 0, dim << 2);
      if (A.word(c, 36)) memory.fill(A.address(c, 36, ((b * heads + h) * tq + i) * tk + k0), 0, (last - k0) << 2);
    }
  }

  // Keys that nobody sees have no gradient.
  const seen = A.within(A.startOf(position, back), k0, last);
  const end = A.within(A.endOf(position + tq - 1, A.keysOf(c, b), reach), seen, last);
  forget(c, b, g, k0, seen);
  forget(c, b, g, end, last);

  for (let j0 = seen; j0 < end; j0 += keyTile) {
    const n = min(keyTile, end - j0);
    const key = (b * tk + j0) * kvHeads + g;
    const k = A.address(c, 29, key * dim);
    A.packColumnsOf(placeOf(scratch, K_TURNED), k, keyStep, n, dim, scale);
    A.packB(placeOf(scratch, K_PANELS), k, keyStep, n, dim, scale);
    A.packColumnsOf(placeOf(scratch, V_TURNED), A.address(c, 30, key * valueDim), (kvHeads * valueDim) << 2, n, valueDim, 1);
    let add = false;
    // Queries that see some of these keys.
    const from = A.within(j0 - position - reach + 1, 0, tq);
    const to = A.within(j0 + n - position + back, from, tq);
    for (let h = g * group; h < (g + 1) * group; h++) {
      for (let i0 = from; i0 < to; i0 += queryTile) {
        const m = min(queryTile, to - i0);
        const query = (b * tq + i0) * heads + h;
        const row = (b * heads + h) * tq + i0;
        // The first query's position, counted from the first key of the tile.
        const p = position + i0 - j0;
        const whole = p + reach >= <i32>n && p + <i32>m - 1 <= back;
        packQueries(c, scratch, query, row, m);
        multiply(c, scratch, p, reach, back, m, n, whole);
        weigh(c, scratch, p, reach, back, m, n, whole, b, h, i0, j0);
        accumulate(c, scratch, p, reach, back, m, n, whole, dq + ((query * dim) << 2), add);
        add = true;
      }
    }
    if (add) keep(c, scratch, key, n);
    else forget(c, b, g, j0, j0 + n);
  }
}

/** m queries with dy, as rows and as panels, and what else is known of them. */
function packQueries(c: usize, scratch: usize, query: u32, row: u32, m: u32): void {
  const heads = A.word(c, 3);
  const dim = A.word(c, 5);
  const valueDim = A.word(c, 6);
  const q = A.address(c, 28, query * dim);
  const dy = A.address(c, 27, query * valueDim);
  A.packA(placeOf(scratch, Q_ROWS), q, (heads * dim) << 2, m, dim);
  A.packA(placeOf(scratch, DY_ROWS), dy, (heads * valueDim) << 2, m, valueDim);
  A.packB(placeOf(scratch, Q_PANELS), q, (heads * dim) << 2, m, dim, A.scaleOf(c));
  A.packB(placeOf(scratch, DY_PANELS), dy, (heads * valueDim) << 2, m, valueDim, 1);
  for (let i: u32 = 0; i < m; i++) {
    const known = scratch + A.OWN + (i << 2);
    store<f32>(known, load<f32>(A.address(c, 32, row + i)));
    store<f32>(known, load<f32>(A.address(c, 31, query + i * heads)), DELTA);
  }
}

/** The scores q k and dy v of m queries and n keys, of eight keys for queries from the tile of rows on in which one sees some. */
function multiply(c: usize, scratch: usize, p: i32, reach: i32, back: i32, m: u32, n: u32, whole: bool): void {
  const dim = A.word(c, 5);
  const valueDim = A.word(c, 6);
  const ld = A.word(c, 24) << 2;
  const dimBytes = dim << 2;
  const valueBytes = valueDim << 2;
  for (let j: u32 = 0; j < n; j += NR) {
    const count = min(NR, n - j);
    let low: u32 = 0;
    let high = m;
    if (!whole) {
      low = A.within(j - p - reach + 1, 0, m);
      low -= low % MR;
      high = A.within(j + count - p + back, low, m);
    }
    const some = high - low;
    const at = low * ld + (j << 2);
    const q = placeOf(scratch, Q_ROWS) + low * dimBytes;
    const k = placeOf(scratch, K_TURNED) + j * dimBytes;
    A.product(scratch, q, A_STEP, dim * A_STEP, k, 0, placeOf(scratch, SCORES) + at, ld, some, count, dim, false);
    const dy = placeOf(scratch, DY_ROWS) + low * valueBytes;
    const v = placeOf(scratch, V_TURNED) + j * valueBytes;
    A.product(scratch, dy, A_STEP, valueDim * A_STEP, v, 0, placeOf(scratch, SLOPES) + at, ld, some, count, valueDim, false);
  }
}

/** Scores become weights and dy v slopes, four queries at a time. */
function weigh(
  c: usize,
  scratch: usize,
  p: i32,
  reach: i32,
  back: i32,
  m: u32,
  n: u32,
  whole: bool,
  b: u32,
  h: u32,
  i0: u32,
  j0: u32,
): void {
  const ld = A.word(c, 24) << 2;
  const ldTurned = A.word(c, 23) << 2;
  const tk = A.word(c, 2);
  const row = (b * A.word(c, 3) + h) * A.word(c, 1) + i0;
  for (let i: u32 = 0; i < m; i += 4) {
    const count = min<u32>(4, m - i);
    const s = placeOf(scratch, SCORES) + i * ld;
    const d = placeOf(scratch, SLOPES) + i * ld;
    const t = placeOf(scratch, TURNED) + (i << 2);
    let low: u32 = 0;
    let high = n;
    if (!whole) {
      low = A.within(p + i - back, 0, n) & ~3;
      high = A.within(p + i + count - 1 + reach, low, n);
    }
    const some = A.up(high - low, 4);
    const first = low << 2;
    if (A.word(c, 11)) for (let r: u32 = 0; r < count; r++) maskRow(c, s + r * ld + first, b, h, i0 + i + r, j0 + low, high - low);
    if (!whole || n & 3)
      for (let r: u32 = 0; r < 4; r++) hide(s + r * ld, d + r * ld, p + i + r, n, reach, back, low, low + some, A.up(n, 4));
    if (!whole) {
      clear(t, ldTurned, 0, low);
      clear(t, ldTurned, low + some, n);
    }
    const f = placeOf(scratch, FACTORS) + first;
    if (A.word(c, 14)) {
      for (let r: u32 = 0; r < count; r++) {
        dropRow(c, f + r * ld, row + i + r, j0 + low, some, scratch);
        times(d + r * ld + first, f + r * ld, some);
      }
    }
    slopesOf(s, d, ld, t, ldTurned, low, high, scratch + A.OWN + (i << 2));
    if (A.word(c, 14)) for (let r: u32 = 0; r < count; r++) times(s + r * ld + first, f + r * ld, some);
    if (A.word(c, 36)) for (let r: u32 = 0; r < count; r++) copy(A.address(c, 36, (row + i + r) * tk + j0), d + r * ld, n);
  }
}

/** What these scores add to dq at `y`, dk and dv. Where not all is seen, a tile of rows leaves out what none of it sees. */
function accumulate(c: usize, scratch: usize, p: i32, reach: i32, back: i32, m: u32, n: u32, whole: bool, y: usize, add: bool): void {
  const dim = A.word(c, 5);
  const valueDim = A.word(c, 6);
  const ld = A.word(c, 24) << 2;
  const ldTurned = A.word(c, 23) << 2;
  const dkStep = A.up(dim, NR) << 2;
  const dvStep = A.up(valueDim, NR) << 2;
  const step = (A.word(c, 3) * dim) << 2;
  const perKeys = whole ? n : MR;
  for (let j: u32 = 0; j < n; j += perKeys) {
    const count = min(perKeys, n - j);
    const low = whole ? 0 : A.within(j - p - reach + 1, 0, m);
    const some = whole ? m : A.within(j + count - p + back, low, m) - low;
    if (some == 0 && add) continue;
    const at = low * ld + (j << 2);
    const skip = low * NR * 4;
    const panel = m * NR * 4;
    const dy = placeOf(scratch, DY_PANELS) + skip;
    const dv = placeOf(scratch, DV) + j * dvStep;
    A.product(scratch, placeOf(scratch, SCORES) + at, ld, MR * 4, dy, panel, dv, dvStep, count, valueDim, some, add);
    const q = placeOf(scratch, Q_PANELS) + skip;
    const dk = placeOf(scratch, DK) + j * dkStep;
    A.product(scratch, placeOf(scratch, SLOPES) + at, ld, MR * 4, q, panel, dk, dkStep, count, dim, some, add);
  }
  const perQueries = whole ? m : MR;
  for (let i: u32 = 0; i < m; i += perQueries) {
    const count = min(perQueries, m - i);
    const low = whole ? 0 : A.within(p + i - back, 0, n);
    const some = whole ? n : A.within(p + i + count - 1 + reach, low, n) - low;
    if (some == 0) continue;
    const t = placeOf(scratch, TURNED) + low * ldTurned + (i << 2);
    const k = placeOf(scratch, K_PANELS) + low * NR * 4;
    A.product(scratch, t, ldTurned, MR * 4, k, n * NR * 4, y + i * step, step, count, dim, some, true);
  }
}

/** dk and dv of n keys. */
function keep(c: usize, scratch: usize, key: u32, n: u32): void {
  const kvHeads = A.word(c, 4);
  const dim = A.word(c, 5);
  const valueDim = A.word(c, 6);
  for (let j: u32 = 0; j < n; j++, key += kvHeads) {
    copy(A.address(c, 34, key * dim), placeOf(scratch, DK) + j * (A.up(dim, NR) << 2), dim);
    copy(A.address(c, 35, key * valueDim), placeOf(scratch, DV) + j * (A.up(valueDim, NR) << 2), valueDim);
  }
}

/** Keys [from, to) of a head have gradients of 0. */
function forget(c: usize, b: u32, g: u32, from: u32, to: u32): void {
  const tk = A.word(c, 2);
  const kvHeads = A.word(c, 4);
  const dim = A.word(c, 5);
  const valueDim = A.word(c, 6);
  for (let j = from; j < to; j++) {
    const key = (b * tk + j) * kvHeads + g;
    memory.fill(A.address(c, 34, key * dim), 0, dim << 2);
    memory.fill(A.address(c, 35, key * valueDim), 0, valueDim << 2);
  }
}

/** n elements. */
function copy(to: usize, from: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i += 4) storeUpTo(to + (i << 2), v128.load(from + (i << 2)), n - i);
}

/** Four columns of rows [low, high) become 0. */
function clear(s: usize, ld: u32, low: u32, high: u32): void {
  for (let j = low; j < high; j++) v128.store(s + j * ld, f32x4.splat(0));
}

/**
 * Of the row of a query at `position`, counted from the first key: nothing outside of [low, high), which are whole vectors up to `end`, and
 * weights of 0 for keys inside that it does not see.
 */
function hide(s: usize, d: usize, position: i32, keys: i32, reach: i32, back: i32, low: u32, high: u32, end: u32): void {
  empty(s, d, 0, low);
  empty(s, d, high, end);
  const start = A.within(position - back, low, high);
  for (let j = low; j < start; j++) veil(s + (j << 2), d + (j << 2));
  for (let j = A.within(A.endOf(position, keys, reach), low, high); j < high; j++) veil(s + (j << 2), d + (j << 2));
}

function empty(s: usize, d: usize, low: u32, high: u32): void {
  const nothing = f32x4.splat(0);
  for (let j = low << 2; j < high << 2; j += 16) {
    v128.store(s + j, nothing);
    v128.store(d + j, nothing);
  }
}

// @ts-ignore: decorator
@inline
function veil(s: usize, d: usize): void {
  store<f32>(s, -Infinity);
  store<f32>(d, 0);
}

/** x *= y */
function times(x: usize, y: usize, n: u32): void {
  for (const end = x + (n << 2); x < end; x += 16, y += 16) v128.store(x, f32x4.mul(v128.load(x), v128.load(y)));
}

/** A row's four slopes; its weights in place of the scores, the slopes in place of dy v. */
// @ts-ignore: decorator
@inline
function slopesOfRow(s: usize, d: usize, known: usize): v128 {
  const p = A.power(f32x4.sub(v128.load(s), v128.load32_splat(known)));
  const slopes = f32x4.mul(p, f32x4.sub(v128.load(d), v128.load32_splat(known, DELTA)));
  v128.store(s, p);
  v128.store(d, slopes);
  return slopes;
}

/** Weights p = exp(score - lse) and slopes p (dy v - delta) of four queries for keys [low, high), the slopes transposed too. */
function slopesOf(s: usize, d: usize, ld: u32, t: usize, ldT: u32, low: u32, high: u32, known: usize): void {
  t += low * ldT;
  for (let j = low << 2; j < high << 2; j += 16, t += 4 * ldT) {
    const r0 = slopesOfRow(s + j, d + j, known);
    const r1 = slopesOfRow(s + ld + j, d + ld + j, known + 4);
    const t0 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
    const t1 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
    const r2 = slopesOfRow(s + 2 * ld + j, d + 2 * ld + j, known + 8);
    const r3 = slopesOfRow(s + 3 * ld + j, d + 3 * ld + j, known + 12);
    const t2 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
    const t3 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
    v128.store(t, v128.shuffle<i64>(t0, t2, 0, 2));
    v128.store(t + ldT, v128.shuffle<i64>(t0, t2, 1, 3));
    v128.store(t + 2 * ldT, v128.shuffle<i64>(t1, t3, 0, 2));
    v128.store(t + 3 * ldT, v128.shuffle<i64>(t1, t3, 1, 3));
  }
}

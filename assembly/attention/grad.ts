/**
 * @file attentionGrad   after the common words 23 queries and 24 keys of a tile, 25 keys of a piece, 26 bytes from one piece's dq to the
 *                       next one's of the same head, 27 dy, 28 q, 29 k, 30 v, 31 delta, 32 lse, 33 dq, 34 dk, 35 dv, 36 dscore?
 *
 * A piece is a run of keys of one of their heads: b x kvHeads x runs. For a tile of keys it goes through all queries that see some of
 * them: weights are computed again from lse, and what is added to dk and dv stays in scratch. dq has what this run of keys adds to it.
 * Scores have queries as rows here, so that they are what the products with q and dy read as they are; those with k take a transposed
 * copy.
 */
import {
  OWN,
  address,
  backOf,
  endOf,
  keysOf,
  open,
  packA,
  packB,
  packColumnsOf,
  positionOf,
  power,
  product,
  reachOf,
  startOf,
  up,
  within,
  word,
} from "../attention";
import { A_STEP, MR, NR } from "../gemm";
import { storeUpTo } from "../simd";
import { dropRow, maskRow, seed } from "./scores";

const MOST_QUERIES: u32 = 128;
/** What is known of a query: lse, then delta. */
const DELTA: usize = MOST_QUERIES * 4;
const TILES: usize = OWN + 2 * DELTA;

/** The first query that sees key j; at least 0. */
// @ts-ignore: decorator
@inline
function firstQuery(j: i32, position: i32, reach: i32): i32 {
  return max(0, j - position - reach + 1);
}

/** One more than the last of `queries` that sees key j. */
// @ts-ignore: decorator
@inline
function endQuery(j: i32, position: i32, back: i32, queries: u32): i32 {
  return min(<i32>queries, j - position + back + 1);
}

export function attentionGrad(c: usize, piece: u32, scratch: usize): void {
  const tq = word(c, 1);
  const tk = word(c, 2);
  const heads = word(c, 3);
  const kvHeads = word(c, 4);
  const dim = word(c, 5);
  const valueDim = word(c, 6);
  const scale = load<f32>(c, 28);
  const queryTile = word(c, 23);
  const keyTile = word(c, 24);
  const perPiece = word(c, 25);
  const runs = (max<u32>(tk, 1) + perPiece - 1) / perPiece;
  const run = piece % runs;
  const g = (piece / runs) % kvHeads;
  const b = piece / runs / kvHeads;
  const group = heads / kvHeads;
  const position = positionOf(c, b);
  const keys = keysOf(c, b);
  const reach = reachOf(c);
  const back = backOf(c);
  const dq = address(c, 33, 0) + run * word(c, 26);

  const dimBytes = dim << 2;
  const valueBytes = valueDim << 2;
  const queryStep = heads * dimBytes;
  const keyStep = kvHeads * dimBytes;
  const valueStep = kvHeads * valueBytes;
  const dyStep = heads * valueBytes;
  const dkStep = up(dim, NR) << 2;
  const dvStep = up(valueDim, NR) << 2;
  const ld = keyTile << 2;
  const ldTurned = queryTile << 2;

  const known = scratch + OWN;
  const kTurned = scratch + TILES;
  const vTurned = kTurned + keyTile * dimBytes;
  const kPanels = vTurned + keyTile * valueBytes;
  const dk = kPanels + keyTile * dkStep;
  const dv = dk + keyTile * dkStep;
  const qRows = dv + keyTile * dvStep;
  const dyRows = qRows + ((queryTile + MR - 1) / MR) * dim * A_STEP;
  const qPanels = dyRows + ((queryTile + MR - 1) / MR) * valueDim * A_STEP;
  const dyPanels = qPanels + queryTile * dkStep;
  const scores = dyPanels + queryTile * dvStep;
  const slopes = scores + queryTile * ld;
  const turned = slopes + queryTile * ld;
  const factors = turned + keyTile * ldTurned;

  open(scratch);
  seed(c, scratch);
  for (let h = g * group; h < (g + 1) * group; h++) {
    for (let i: u32 = 0; i < tq; i++) {
      memory.fill(dq + ((b * tq + i) * heads + h) * dimBytes, 0, dimBytes);
      if (word(c, 36)) {
        const from = run * perPiece;
        memory.fill(address(c, 36, ((b * heads + h) * tq + i) * tk + from), 0, (min(tk, from + perPiece) - from) << 2);
      }
    }
  }

  const last = min(tk, (run + 1) * perPiece);
  // Keys that nobody sees have no gradient.
  const seen = max(<i32>(run * perPiece), min(<i32>last, startOf(position, back)));
  const end = max(seen, min(<i32>last, endOf(position + tq - 1, keys, reach)));
  forget(c, b, g, run * perPiece, seen);
  forget(c, b, g, end, last);

  for (let j0 = seen; j0 < end; j0 += keyTile) {
    const n = min<u32>(keyTile, end - j0);
    const key = (b * tk + j0) * kvHeads + g;
    packColumnsOf(kTurned, address(c, 29, key * dim), keyStep, n, dim, scale);
    packColumnsOf(vTurned, address(c, 30, key * valueDim), valueStep, n, valueDim, 1);
    packB(kPanels, address(c, 29, key * dim), keyStep, n, dim, scale);
    let add = false;
    const from = firstQuery(j0, position, reach);
    const to = endQuery(j0 + n - 1, position, back, tq);
    for (let h = g * group; h < (g + 1) * group; h++) {
      for (let i0 = from; i0 < to; i0 += queryTile) {
        const m = min<u32>(queryTile, to - i0);
        const query = (b * tq + i0) * heads + h;
        const row = (b * heads + h) * tq + i0;
        const q = address(c, 28, query * dim);
        const dy = address(c, 27, query * valueDim);
        packA(qRows, q, queryStep, m, dim);
        packA(dyRows, dy, dyStep, m, valueDim);
        packB(qPanels, q, queryStep, m, dim, scale);
        packB(dyPanels, dy, dyStep, m, valueDim, 1);
        for (let i: u32 = 0; i < m; i++) {
          store<f32>(known + (i << 2), load<f32>(address(c, 32, row + i)));
          store<f32>(known + (i << 2), load<f32>(address(c, 31, query + i * heads)), DELTA);
        }
        const whole = firstQuery(j0 + n - 1, position, reach) <= i0 && endQuery(j0, position, back, tq) >= i0 + <i32>m;

        for (let j: u32 = 0; j < n; j += NR) {
          const count = min(NR, n - j);
          let low: u32 = 0;
          let high = m;
          if (!whole) {
            low = within(firstQuery(j0 + j, position, reach) - i0, 0, m);
            low -= low % MR;
            high = within(endQuery(j0 + j + count - 1, position, back, tq) - i0, low, m);
          }
          const at = low * ld + (j << 2);
          const some = high - low;
          product(
            scratch,
            qRows + low * dimBytes,
            A_STEP,
            dim * A_STEP,
            kTurned + j * dimBytes,
            0,
            scores + at,
            ld,
            some,
            count,
            dim,
            false,
          );
          product(
            scratch,
            dyRows + low * valueBytes,
            A_STEP,
            valueDim * A_STEP,
            vTurned + j * valueBytes,
            0,
            slopes + at,
            ld,
            some,
            count,
            valueDim,
            false,
          );
        }

        for (let i: u32 = 0; i < m; i += 4) {
          const count = min<u32>(4, m - i);
          const s = scores + i * ld;
          const d = slopes + i * ld;
          let low: u32 = 0;
          let high = n;
          if (!whole) {
            low = within(startOf(position + i0 + i, back) - j0, 0, n) & ~3;
            high = within(endOf(position + i0 + i + count - 1, keys, reach) - j0, low, n);
          }
          if (word(c, 11)) for (let r: u32 = 0; r < count; r++) maskRow(c, s + r * ld + (low << 2), b, h, i0 + i + r, j0 + low, high - low);
          if (!whole || n & 3) {
            for (let r: u32 = 0; r < 4; r++)
              hide(s + r * ld, d + r * ld, position + i0 + i + r - j0, min(<i32>n, keys - j0), reach, back, low, up(high, 4), up(n, 4));
          }
          const t = turned + (i << 2);
          if (!whole) {
            clear(t, ldTurned, 0, low);
            clear(t, ldTurned, up(high, 4), n);
          }
          if (word(c, 14)) {
            for (let r: u32 = 0; r < count; r++) dropRow(c, factors + r * ld + (low << 2), row + i + r, j0 + low, high - low, scratch);
            slopesOf(s, d, ld, t, ldTurned, low, high, known + (i << 2), factors, true);
          } else slopesOf(s, d, ld, t, ldTurned, low, high, known + (i << 2), 0, false);
          if (word(c, 36)) for (let r: u32 = 0; r < count; r++) put(address(c, 36, (row + i + r) * tk + j0), d + r * ld, n);
        }

        if (whole) {
          product(scratch, scores, ld, MR * 4, dyPanels, m * NR * 4, dv, dvStep, n, valueDim, m, add);
          product(scratch, slopes, ld, MR * 4, qPanels, m * NR * 4, dk, dkStep, n, dim, m, add);
          const y = dq + query * dimBytes;
          product(scratch, turned, ldTurned, MR * 4, kPanels, n * NR * 4, y, queryStep, m, dim, n, true);
        } else {
          for (let j: u32 = 0; j < n; j += MR) {
            const count = min(MR, n - j);
            const low = within(firstQuery(j0 + j, position, reach) - i0, 0, m);
            const some = within(endQuery(j0 + j + count - 1, position, back, tq) - i0, low, m) - low;
            if (some == 0 && add) continue;
            const at = low * ld + (j << 2);
            const skip = low * NR * 4;
            product(scratch, scores + at, ld, 0, dyPanels + skip, m * NR * 4, dv + j * dvStep, dvStep, count, valueDim, some, add);
            product(scratch, slopes + at, ld, 0, qPanels + skip, m * NR * 4, dk + j * dkStep, dkStep, count, dim, some, add);
          }
          for (let i: u32 = 0; i < m; i += MR) {
            const count = min(MR, m - i);
            const low = within(startOf(position + i0 + i, back) - j0, 0, n);
            const some = within(endOf(position + i0 + i + count - 1, keys, reach) - j0, low, n) - low;
            if (some == 0) continue;
            const t = turned + low * ldTurned + (i << 2);
            const y = dq + query * dimBytes + i * queryStep;
            product(scratch, t, ldTurned, 0, kPanels + low * NR * 4, n * NR * 4, y, queryStep, count, dim, some, true);
          }
        }
        add = true;
      }
    }
    if (!add) forget(c, b, g, j0, j0 + n);
    else {
      for (let j: u32 = 0; j < n; j++) {
        const at = key + j * kvHeads;
        put(address(c, 34, at * dim), dk + j * dkStep, dim);
        put(address(c, 35, at * valueDim), dv + j * dvStep, valueDim);
      }
    }
  }
}

/** Keys [from, to) of a head have gradients of 0. */
function forget(c: usize, b: u32, g: u32, from: u32, to: u32): void {
  const tk = word(c, 2);
  const kvHeads = word(c, 4);
  const dim = word(c, 5);
  const valueDim = word(c, 6);
  for (let j = from; j < to; j++) {
    const key = (b * tk + j) * kvHeads + g;
    memory.fill(address(c, 34, key * dim), 0, dim << 2);
    memory.fill(address(c, 35, key * valueDim), 0, valueDim << 2);
  }
}

/** n elements. */
function put(to: usize, from: usize, n: u32): void {
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
  const start = within(position - back, low, high);
  for (let j = low; j < start; j++) veil(s + (j << 2), d + (j << 2));
  for (let j = within(endOf(position, keys, reach), low, high); j < high; j++) veil(s + (j << 2), d + (j << 2));
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

/** A row's four slopes; its weights in place of the scores, the slopes in place of dy v. */
// @ts-ignore: decorator
@inline
function slopesOfRow(s: usize, d: usize, known: usize, factors: usize, drops: bool): v128 {
  let p = power(f32x4.sub(v128.load(s), v128.load32_splat(known)));
  let dp = v128.load(d);
  if (drops) dp = f32x4.mul(dp, v128.load(factors));
  dp = f32x4.mul(p, f32x4.sub(dp, v128.load32_splat(known, DELTA)));
  if (drops) p = f32x4.mul(p, v128.load(factors));
  v128.store(s, p);
  v128.store(d, dp);
  return dp;
}

/** Weights p = exp(score - lse) and slopes p (dy v - delta) of four queries for keys [low, high), the slopes transposed too. */
// @ts-ignore: decorator
@inline
function slopesOf(s: usize, d: usize, ld: u32, t: usize, ldT: u32, low: u32, high: u32, known: usize, factors: usize, drops: bool): void {
  t += low * ldT;
  for (let j = low << 2; j < high << 2; j += 16, t += 4 * ldT) {
    const r0 = slopesOfRow(s + j, d + j, known, factors + j, drops);
    const r1 = slopesOfRow(s + ld + j, d + ld + j, known + 4, factors + ld + j, drops);
    const t0 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
    const t1 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
    const r2 = slopesOfRow(s + 2 * ld + j, d + 2 * ld + j, known + 8, factors + 2 * ld + j, drops);
    const r3 = slopesOfRow(s + 3 * ld + j, d + 3 * ld + j, known + 12, factors + 3 * ld + j, drops);
    const t2 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
    const t3 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
    v128.store(t, v128.shuffle<i64>(t0, t2, 0, 2));
    v128.store(t + ldT, v128.shuffle<i64>(t0, t2, 1, 3));
    v128.store(t + 2 * ldT, v128.shuffle<i64>(t1, t3, 0, 2));
    v128.store(t + 3 * ldT, v128.shuffle<i64>(t1, t3, 1, 3));
  }
}

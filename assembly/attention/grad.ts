/**
 * @file attentionGrad   after the common words 23 queries and 24 keys of a tile, 25 keys of a piece, 26 bytes from one piece's dq to the next
 *                       one's of the same head, 27 dy, 28 q, 29 k, 30 v, 31 delta, 32 lse, 33 dq, 34 dk, 35 dv, 36 dscore?
 *
 * A piece is a run of keys of one of their heads: b x kvHeads x runs. For a tile of keys it goes through all queries that see some of
 * them: weights are computed again from lse, and what is added to dk and dv stays in scratch. dq has what this run of keys adds to it.
 * Scores have queries as rows here, so that they are what the products with q and dy read as they are; those with k take a transposed copy.
 */
import { OWN, address, endOf, open, packA, packB, packColumnsOf, positionOf, power, product, startOf, up, word } from "../attention";
import { A_STEP, MR, NR } from "../gemm";
import { storeUpTo } from "../simd";
import { dropRow, maskRow, seed } from "./scores";

const MOST_QUERIES: u32 = 128;
/** What is known of a query: lse, then delta. */
const DELTA: usize = MOST_QUERIES * 4;
const TILES: usize = OWN + 2 * DELTA;

/** The first query that sees key j, of `position` the first's; at least 0. */
function firstQuery(c: usize, position: i32, j: i32): i32 {
  const window = <i32>word(c, 9);
  if (word(c, 8)) return max(0, j - position);
  return window ? max(0, j - position - window + 1) : 0;
}

/** One more than the last query that sees key j. */
function endQuery(c: usize, position: i32, j: i32): i32 {
  const window = <i32>word(c, 9);
  const tq = <i32>word(c, 1);
  return window ? min(tq, j - position + window) : tq;
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
  const seen = max(<i32>(run * perPiece), min(<i32>last, startOf(c, position)));
  const end = max(seen, min(<i32>last, endOf(c, b, position + tq - 1)));
  for (let j = <i32>(run * perPiece); j < <i32>last; j++) {
    if (j == seen) j = end;
    if (j >= <i32>last) break;
    const key = (b * tk + j) * kvHeads + g;
    memory.fill(address(c, 34, key * dim), 0, dimBytes);
    memory.fill(address(c, 35, key * valueDim), 0, valueBytes);
  }

  for (let j0 = seen; j0 < end; j0 += keyTile) {
    const n = min<u32>(keyTile, end - j0);
    const key = (b * tk + j0) * kvHeads + g;
    packColumnsOf(kTurned, address(c, 29, key * dim), keyStep, n, dim, scale);
    packColumnsOf(vTurned, address(c, 30, key * valueDim), valueStep, n, valueDim, 1);
    packB(kPanels, address(c, 29, key * dim), keyStep, n, dim, scale);
    let add = false;
    const from = firstQuery(c, position, j0);
    const to = endQuery(c, position, j0 + n - 1);
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
        const whole = firstQuery(c, position, j0 + n - 1) <= i0 && endQuery(c, position, j0) >= i0 + <i32>m;

        for (let j: u32 = 0; j < n; j += NR) {
          const count = min(NR, n - j);
          let low: u32 = 0;
          let high = m;
          if (!whole) {
            low = min(<i32>m, max(0, firstQuery(c, position, j0 + j) - i0));
            low -= low % MR;
            high = max(<i32>low, min(<i32>m, endQuery(c, position, j0 + j + count - 1) - i0));
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
            low = min(<i32>n, max(0, startOf(c, position + i0 + i) - j0)) & ~3;
            high = max(<i32>low, min(<i32>n, endOf(c, b, position + i0 + i + count - 1) - j0));
          }
          if (word(c, 11)) for (let r: u32 = 0; r < count; r++) maskRow(c, s + r * ld + (low << 2), b, h, i0 + i + r, j0 + low, high - low);
          if (!whole || n & 3) {
            for (let r: u32 = 0; r < 4; r++) hide(c, s + r * ld, d + r * ld, b, position + i0 + i + r, j0, low, up(high, 4), up(n, 4), n);
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
            const low = min(<i32>m, max(0, firstQuery(c, position, j0 + j) - i0));
            const some = max(0, min(<i32>m, endQuery(c, position, j0 + j + count - 1) - i0) - low);
            if (some == 0 && add) continue;
            const at = low * ld + (j << 2);
            const skip = low * NR * 4;
            product(scratch, scores + at, ld, 0, dyPanels + skip, m * NR * 4, dv + j * dvStep, dvStep, count, valueDim, some, add);
            product(scratch, slopes + at, ld, 0, qPanels + skip, m * NR * 4, dk + j * dkStep, dkStep, count, dim, some, add);
          }
          for (let i: u32 = 0; i < m; i += MR) {
            const count = min(MR, m - i);
            const low = min(<i32>n, max(0, startOf(c, position + i0 + i) - j0));
            const some = max(0, min(<i32>n, endOf(c, b, position + i0 + i + count - 1) - j0) - low);
            if (some == 0) continue;
            const t = turned + low * ldTurned + (i << 2);
            const y = dq + query * dimBytes + i * queryStep;
            product(scratch, t, ldTurned, 0, kPanels + low * NR * 4, n * NR * 4, y, queryStep, count, dim, some, true);
          }
        }
        add = true;
      }
    }
    for (let j: u32 = 0; j < n; j++) {
      const at = key + j * kvHeads;
      if (add) {
        put(address(c, 34, at * dim), dk + j * dkStep, dim);
        put(address(c, 35, at * valueDim), dv + j * dvStep, valueDim);
      } else {
        memory.fill(address(c, 34, at * dim), 0, dimBytes);
        memory.fill(address(c, 35, at * valueDim), 0, valueBytes);
      }
    }
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
 * Of a query's row: nothing outside of [low, high), which are whole vectors up to `end`, and weights of 0 for keys inside that it does not
 * see, or that are not among the n.
 */
function hide(c: usize, s: usize, d: usize, b: u32, position: i32, j0: i32, low: u32, high: u32, end: u32, n: u32): void {
  const nothing = f32x4.splat(0);
  for (let j: u32 = 0; j < end; j += 4) {
    if (j == low) j = high;
    if (j >= end) break;
    v128.store(s + (j << 2), nothing);
    v128.store(d + (j << 2), nothing);
  }
  const first = min(<i32>high, startOf(c, position) - j0);
  const last = min(<i32>n, endOf(c, b, position) - j0);
  for (let j = <i32>low; j < first; j++) veil(s + (j << 2), d + (j << 2));
  for (let j = max(<i32>low, last); j < <i32>high; j++) veil(s + (j << 2), d + (j << 2));
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

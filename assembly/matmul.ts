/**
 * @file `matmul(a, b, bias?) -> y`, with the commands that go with any product: packing B and adding up K chunks.
 *
 * `matmul`: the words of gemm.ts, then 22 transposeA  23 bytes between rows of a as stored. b is packed or row-major.
 * `matmulSmall`: the same, then 24 transposeB  25 bytes between rows of b as stored; b is as the caller has it and each piece packs
 *    it for itself after the rows of A, so that a small product, or each of many, is one command. One K chunk; one column block, unless
 *    M is 1 and b transposed: then nothing is packed and word 19 is 8 rows of b.
 * `pack(b) -> panels`: 0 b  1 panels  2 K of a tap  3 N  4 bytes between rows of b  5 transposed: b is [N, K], else [K, N]
 *    6 tap rows  7 tap columns  8 bytes from tap row to tap row  9 from tap to tap in a row  10 from batch to batch of b
 *    11 panels of a piece  12 pieces of a batch.
 *    panels[batch][ceil(N / 8)][taps * K][8]; columns past N are undefined. Pieces: batch x groups of panels.
 * `combine(parts, bias?) -> y`: 0 parts  1 bias  2 y  3 parts' number  4 bytes from part to part  5 rows  6 N  7 activation
 *    8 rows of a piece: y[rows, N] = activation(bias + parts in order). Pieces: blocks of rows.
 */
import { epilogue } from "./epilogue";
import {
  A_STEP,
  GEMM_SCRATCH,
  GEMM_WORDS,
  NR,
  blockK,
  endK,
  firstK,
  firstRow,
  multiplyBlock,
  openPiece,
  packColumns,
  packRows,
  pieceA,
  pieceB,
  pieceBias,
  pieceC,
  pieceColumns,
  pieceRows,
  tileCount,
  tileStart,
} from "./gemm";
import { madd, storeTail, tailMask } from "./simd";

const TRANSPOSE_A: usize = GEMM_WORDS * 4;
/** k's of row-major B that are copied panel by panel before the next ones, while their lines are in cache. */
const PACK_K: u32 = 64;

export function matmul(c: usize, piece: u32, scratch: usize): void {
  openPiece(c, piece, scratch);
  multiplyPiece(c, scratch, pieceB(scratch));
}

export function matmulSmall(c: usize, piece: u32, scratch: usize): void {
  openPiece(c, piece, scratch);
  if (load<u32>(c, 16) == 1 && load<u32>(c + TRANSPOSE_A, 8)) return multiplyDots(c, scratch);
  const n = load<u32>(c, 20);
  const k = load<u32>(c, 24);
  const packed = scratch + GEMM_SCRATCH;
  packPanels(pieceB(scratch), packed, k, n, load<u32>(c + TRANSPOSE_A, 12), load<u32>(c + TRANSPOSE_A, 8), 0, (n + NR - 1) / NR, k * 32);
  multiplyPiece(c, scratch, packed);
}

function multiplyPiece(c: usize, scratch: usize, b: usize): void {
  const transposed = load<u32>(c + TRANSPOSE_A);
  const lda: u32 = load<u32>(c + TRANSPOSE_A, 4);
  const rows = pieceRows(scratch);
  const end = endK(scratch);
  const a = pieceA(scratch) + firstRow(scratch) * (transposed ? 4 : lda);
  let k = firstK(scratch);
  do {
    const kc = blockK(end - k);
    // A single row already is a panel.
    if (rows == 1 && !transposed) multiplyBlock(c, scratch, a + k * 4, 4, 0, b, k, kc);
    else {
      packA(scratch, transposed ? a + k * lda : a + k * 4, lda, transposed, rows, kc);
      multiplyBlock(c, scratch, scratch, A_STEP, kc * A_STEP, b, k, kc);
    }
    k += kc;
  } while (k < end);
}

function packA(dst: usize, a: usize, lda: u32, transposed: u32, rows: u32, kc: u32): void {
  const tiles = tileCount(rows);
  let row: u32 = 0;
  for (let t: u32 = 0; t < tiles; t++, dst += kc * A_STEP) {
    const end = tileStart(rows, t + 1);
    if (transposed) packColumns(dst, a + row * 4, lda, kc, end - row);
    else {
      const p = a + row * lda;
      const last = a + (end - 1) * lda;
      packRows(
        dst,
        kc,
        p,
        min(p + lda, last),
        min(p + 2 * lda, last),
        min(p + 3 * lda, last),
        min(p + 4 * lda, last),
        min(p + 5 * lda, last),
      );
    }
    row = end;
  }
}

/**
 * One row of a times b [N, K]: dot products, since packing b would cost more than it saves, of four columns at a time, each a part of the
 * piece from the next: memory gives one stream less than several. Where the columns are not enough, some are computed twice.
 */
function multiplyDots(c: usize, scratch: usize): void {
  const k = load<u32>(c, 24);
  const ldb = load<u32>(c + TRANSPOSE_A, 12);
  const cols = pieceColumns(scratch);
  const y = pieceC(scratch);
  const bias = pieceBias(scratch);
  const part = (cols + 3) / 4;
  const last = cols - part;
  const c1 = min(part, last);
  const c2 = min(2 * part, last);
  const c3 = min(3 * part, last);
  let b = pieceB(scratch);
  for (let col: u32 = 0; col < part; col++, b += ldb) {
    const sums = dots(pieceA(scratch), b, b + c1 * ldb, b + c2 * ldb, b + c3 * ldb, k);
    putDot(y, bias, col, f32x4.extract_lane(sums, 0));
    putDot(y, bias, col + c1, f32x4.extract_lane(sums, 1));
    putDot(y, bias, col + c2, f32x4.extract_lane(sums, 2));
    putDot(y, bias, col + c3, f32x4.extract_lane(sums, 3));
  }
  const activation = load<u32>(c, 84);
  if (activation) epilogue(y, 0, 1, cols, activation);
}

function putDot(y: usize, bias: usize, col: u32, sum: f32): void {
  store<f32>(y + col * 4, bias ? sum + load<f32>(bias + col * 4) : sum);
}

/** Of `k` elements at a, and as many at each p: four sums of products. */
export function dots(a: usize, p0: usize, p1: usize, p2: usize, p3: usize, k: u32): v128 {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let t0 = s0;
  let t1 = s0;
  let t2 = s0;
  let t3 = s0;
  for (; k >= 8; k -= 8) {
    const x = v128.load(a);
    const z = v128.load(a, 16);
    s0 = madd(x, v128.load(p0), s0);
    s1 = madd(x, v128.load(p1), s1);
    s2 = madd(x, v128.load(p2), s2);
    s3 = madd(x, v128.load(p3), s3);
    t0 = madd(z, v128.load(p0, 16), t0);
    t1 = madd(z, v128.load(p1, 16), t1);
    t2 = madd(z, v128.load(p2, 16), t2);
    t3 = madd(z, v128.load(p3, 16), t3);
    a += 32;
    p0 += 32;
    p1 += 32;
    p2 += 32;
    p3 += 32;
  }
  while (k) {
    const n = min<u32>(k, 4);
    const mask = tailMask(n);
    const x = v128.and(mask, v128.load(a));
    s0 = madd(x, v128.and(mask, v128.load(p0)), s0);
    s1 = madd(x, v128.and(mask, v128.load(p1)), s1);
    s2 = madd(x, v128.and(mask, v128.load(p2)), s2);
    s3 = madd(x, v128.and(mask, v128.load(p3)), s3);
    a += 16;
    p0 += 16;
    p1 += 16;
    p2 += 16;
    p3 += 16;
    k -= n;
  }
  s0 = f32x4.add(s0, t0);
  s1 = f32x4.add(s1, t1);
  s2 = f32x4.add(s2, t2);
  s3 = f32x4.add(s3, t3);
  const u = f32x4.add(v128.shuffle<i32>(s0, s1, 0, 4, 1, 5), v128.shuffle<i32>(s0, s1, 2, 6, 3, 7));
  const v = f32x4.add(v128.shuffle<i32>(s2, s3, 0, 4, 1, 5), v128.shuffle<i32>(s2, s3, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<i64>(u, v, 0, 2), v128.shuffle<i64>(u, v, 1, 3));
}

export function pack(c: usize, piece: u32, scratch: usize): void {
  const k = load<u32>(c, 8);
  const n = load<u32>(c, 12);
  const tapsH = load<u32>(c, 24);
  const tapsW = load<u32>(c, 28);
  const perPiece = load<u32>(c, 44);
  const pieces = load<u32>(c, 48);
  const panels = (n + NR - 1) / NR;
  const panelBytes = tapsH * tapsW * k * 32;
  const batch = piece / pieces;
  const first = (piece % pieces) * perPiece;
  const b: usize = load<u32>(c) + batch * load<u32>(c, 40);
  let dst: usize = load<u32>(c, 4) + batch * panels * panelBytes;
  for (let r: u32 = 0; r < tapsH; r++) {
    for (let s: u32 = 0; s < tapsW; s++, dst += k * 32) {
      const tap = b + r * load<u32>(c, 32) + s * load<u32>(c, 36);
      packPanels(tap, dst, k, n, load<u32>(c, 16), load<u32>(c, 20), first, min(first + perPiece, panels), panelBytes);
    }
  }
}

/** Panels [first, end) of B as stored at `b`, each to its place in `dst`. */
function packPanels(b: usize, dst: usize, k: u32, n: u32, ldb: u32, transposed: u32, first: u32, end: u32, panelBytes: u32): void {
  if (transposed) {
    for (let j = first; j < end; j++) packTransposed(b + j * NR * ldb, dst + j * panelBytes, ldb, k, min(NR, n - j * NR));
    return;
  }
  for (let k0: u32 = 0; k0 < k; k0 += PACK_K) {
    const kc = min(PACK_K, k - k0);
    for (let j = first; j < end; j++) copyPanel(b + k0 * ldb + j * NR * 4, dst + j * panelBytes + k0 * 32, ldb, kc, n - j * NR > 4);
  }
}

function copyPanel(b: usize, dst: usize, ldb: u32, k: u32, wide: bool): void {
  if (wide) {
    for (; k; k--, b += ldb, dst += 32) {
      v128.store(dst, v128.load(b));
      v128.store(dst, v128.load(b, 16), 16);
    }
    return;
  }
  for (; k; k--, b += ldb, dst += 32) v128.store(dst, v128.load(b));
}

/** One panel of `cols` columns from rows of k's; missing columns repeat the last. */
function packTransposed(b: usize, dst: usize, ldb: u32, k: u32, cols: u32): void {
  const last = b + (cols - 1) * ldb;
  transpose4(b, min(b + ldb, last), min(b + 2 * ldb, last), min(b + 3 * ldb, last), dst, k);
  if (cols > 4) transpose4(b + 4 * ldb, min(b + 5 * ldb, last), min(b + 6 * ldb, last), min(b + 7 * ldb, last), dst + 16, k);
}

/** dst[k][0..3] = p_i[k], with 32 bytes between k's. */
function transpose4(p0: usize, p1: usize, p2: usize, p3: usize, dst: usize, k: u32): void {
  for (; k >= 4; k -= 4) {
    const r0 = v128.load(p0);
    const r1 = v128.load(p1);
    const r2 = v128.load(p2);
    const r3 = v128.load(p3);
    const t0 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
    const t1 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
    const t2 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
    const t3 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
    v128.store(dst, v128.shuffle<i64>(t0, t2, 0, 2));
    v128.store(dst, v128.shuffle<i64>(t0, t2, 1, 3), 32);
    v128.store(dst, v128.shuffle<i64>(t1, t3, 0, 2), 64);
    v128.store(dst, v128.shuffle<i64>(t1, t3, 1, 3), 96);
    p0 += 16;
    p1 += 16;
    p2 += 16;
    p3 += 16;
    dst += 128;
  }
  for (; k; k--, dst += 32) {
    store<f32>(dst, load<f32>(p0));
    store<f32>(dst, load<f32>(p1), 4);
    store<f32>(dst, load<f32>(p2), 8);
    store<f32>(dst, load<f32>(p3), 12);
    p0 += 4;
    p1 += 4;
    p2 += 4;
    p3 += 4;
  }
}

export function combine(c: usize, piece: u32, scratch: usize): void {
  const parts = load<u32>(c, 12);
  const partBytes: u32 = load<u32>(c, 16);
  const n = load<u32>(c, 24);
  const perPiece = load<u32>(c, 32);
  const bias: usize = load<u32>(c, 4);
  const activation = load<u32>(c, 28);
  const first = piece * perPiece;
  const end = min(first + perPiece, load<u32>(c, 20));
  for (let row = first; row < end; row++) {
    const part: usize = load<u32>(c) + row * n * 4;
    const y: usize = load<u32>(c, 8) + row * n * 4;
    for (let i: u32 = 0; i < n; i += 4) {
      let p = part + i * 4;
      let sum = bias ? f32x4.add(v128.load(bias + i * 4), v128.load(p)) : v128.load(p);
      for (let j: u32 = 1; j < parts; j++) {
        p += partBytes;
        sum = f32x4.add(sum, v128.load(p));
      }
      if (n - i >= 4) v128.store(y + i * 4, sum);
      else storeTail(y + i * 4, sum, n - i);
    }
    if (activation) epilogue(y, 0, 1, n, activation);
  }
}

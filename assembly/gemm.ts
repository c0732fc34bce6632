/**
 * @file The matrix product under matmul and convolution: C[M,N] = A[M,K] B[K,N] as in Goto and van de Geijn, "Anatomy of
 * high-performance matrix multiplication" (ACM TOMS 34(3), 2008). B is read in panels of NR columns (packed, or straight
 * from row-major memory), A is packed per piece and K block into panels of up to MR rows, k-major, so that the inner
 * loop reads both forward. A panel of B stays in L1 while the panels of A stream from L2.
 *
 * Every kernel built on this has the words below; what follows GEMM_WORDS is how it packs A.
 *   0 a   1 b   2 bias? [N]   3 c   4 M   5 N   6 K
 *   7 rows, 8 columns, 9 K of one piece   10 row blocks, 11 column blocks, 12 K chunks
 *   13 a, 14 b, 15 c, 16 bias: bytes from one batch (or group) to the next   17 bytes from one K chunk of c to the next
 *   18 bytes between k-rows of b   19 bytes between NR-column panels of b   20 bytes between rows of c   21 activation
 * Pieces: batch x K chunk x row block x column block, column blocks innermost. Rows of a piece: at most MAX_ROWS.
 * Within a K chunk an element's sum runs over k in order from the bias, whatever the sizes of tiles and blocks, so these never
 * change a result.
 */
import { ACT_RELU } from "../src/wasm/opcodes";
import { epilogue } from "./epilogue";
import { madd, storeTail, vmax } from "./simd";

export const GEMM_WORDS: u32 = 22;
/**
 * Rows of a tile. The FMA build keeps 12 sums, 2 vectors of B and 1 of A in V8's 15 registers. Without FMA older V8 loads all of A first,
 * and spills above 4.
 */
export const MR: u32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 4;
/** Columns of a tile. */
export const NR: u32 = 8;
/**
 * Panels that a product of one row takes at once. V8 loads all of B first: sums and loads must fit 15 registers where mul and add are
 * separate.
 */
const ROW_PANELS: u32 = ASC_FEATURE_RELAXED_SIMD ? 4 : 3;
/** K of one block: a panel of B (KC * 32 bytes) and one of A share L1. */
export const KC: u32 = 512;
/** Bytes from one k to the next in a packed panel of A. */
export const A_STEP: u32 = MR * 4;

// Scratch: the packed rows of A, then a run of zeros that stands for padding and absent bias, then the piece's fields.
const MAX_ROWS: u32 = 120;
const ZEROS: usize = MAX_ROWS * KC * 4 + 64;
const FIELDS: usize = ZEROS + KC * 4 + 64;
/** Free for the kernels from here on. */
export const GEMM_SCRATCH: usize = FIELDS + 128;

// @ts-ignore: decorator
@inline
export function zeros(scratch: usize): usize {
  return scratch + ZEROS;
}
// @ts-ignore: decorator
@inline
export function pieceA(scratch: usize): usize {
  return load<u32>(scratch + FIELDS);
}
// @ts-ignore: decorator
@inline
export function pieceB(scratch: usize): usize {
  return load<u32>(scratch + FIELDS, 4);
}
// @ts-ignore: decorator
@inline
export function pieceBias(scratch: usize): usize {
  return load<u32>(scratch + FIELDS, 8);
}
// @ts-ignore: decorator
@inline
export function firstRow(scratch: usize): u32 {
  return load<u32>(scratch + FIELDS, 16);
}
// @ts-ignore: decorator
@inline
export function pieceRows(scratch: usize): u32 {
  return load<u32>(scratch + FIELDS, 20);
}
// @ts-ignore: decorator
@inline
export function firstK(scratch: usize): u32 {
  return load<u32>(scratch + FIELDS, 32);
}
// @ts-ignore: decorator
@inline
export function endK(scratch: usize): u32 {
  return load<u32>(scratch + FIELDS, 36);
}
/** Where the piece's first element of c goes, its columns, and the bytes between its rows. */
// @ts-ignore: decorator
@inline
export function pieceC(scratch: usize): usize {
  return load<u32>(scratch + FIELDS, 12);
}
// @ts-ignore: decorator
@inline
export function pieceColumns(scratch: usize): u32 {
  return load<u32>(scratch + FIELDS, 28);
}
// @ts-ignore: decorator
@inline
export function pieceStep(scratch: usize): u32 {
  return load<u32>(scratch + FIELDS, 40);
}

/** Sends the piece's part of c elsewhere. */
// @ts-ignore: decorator
@inline
export function redirect(scratch: usize, y: usize, ldc: u32): void {
  store<usize>(scratch + FIELDS, y, 12);
  store<u32>(scratch + FIELDS, ldc, 40);
}

/** Bounds and addresses of a piece, into scratch. a stays the batch's first element, the other addresses are the piece's own. */
export function openPiece(c: usize, piece: u32, scratch: usize): void {
  const n = load<u32>(c, 20);
  const k = load<u32>(c, 24);
  const rowSize = load<u32>(c, 28);
  const colSize = load<u32>(c, 32);
  const kSize = load<u32>(c, 36);
  const rowBlocks = load<u32>(c, 40);
  const colBlocks = load<u32>(c, 44);
  const chunks = load<u32>(c, 48);
  const col = (piece % colBlocks) * colSize;
  piece /= colBlocks;
  const row = (piece % rowBlocks) * rowSize;
  piece /= rowBlocks;
  const chunk = piece % chunks;
  const batch = piece / chunks;
  const bias: usize = load<u32>(c, 8);
  const f = scratch + FIELDS;
  store<usize>(f, load<u32>(c) + batch * load<u32>(c, 52));
  store<usize>(f, load<u32>(c, 4) + batch * load<u32>(c, 56) + (col / NR) * load<u32>(c, 76), 4);
  store<usize>(f, bias ? bias + batch * load<u32>(c, 64) + col * 4 : bias, 8);
  store<u32>(f, load<u32>(c, 12) + batch * load<u32>(c, 60) + chunk * load<u32>(c, 68) + row * load<u32>(c, 80) + col * 4, 12);
  store<u32>(f, row, 16);
  store<u32>(f, min(rowSize, load<u32>(c, 16) - row), 20);
  store<u32>(f, min(colSize, n - col), 28);
  store<u32>(f, chunk * kSize, 32);
  store<u32>(f, min((chunk + 1) * kSize, k), 36);
  store<u32>(f, load<u32>(c, 80), 40);
  memory.fill(scratch + ZEROS, 0, KC * 4 + 64);
}

/** K of the block that starts where `rest` is left: KC, with an even cut of what is less than two of them. */
// @ts-ignore: decorator
@inline
export function blockK(rest: u32): u32 {
  return rest <= KC ? rest : rest >= 2 * KC ? KC : (rest / 2 + 3) & ~3;
}

/** Tiles that a piece's rows are cut into, and the first row of tile `t`: even cuts, the taller tiles first. */
// @ts-ignore: decorator
@inline
export function tileCount(rows: u32): u32 {
  return (rows + MR - 1) / MR;
}
// @ts-ignore: decorator
@inline
export function tileStart(rows: u32, t: u32): u32 {
  const tiles = tileCount(rows);
  return (rows / tiles) * t + min(rows % tiles, t);
}

/** The core's `multiplyBlock` with its tiles, a fifth of the bytes of the part for convolutions. */
// @ts-ignore: decorator
@external("core", "multiplyBlock")
declare function multiplyBlockOfCore(c: usize, scratch: usize, a: usize, aStep: u32, aPanel: u32, b: usize, k: u32, kc: u32): void;

/**
 * Multiplies one K block [k, k + kc) of the piece: `a` holds a panel every `aPanel` bytes, with `aStep` bytes between its
 * k's; `b` is the piece's first panel of B at k = 0.
 */
export function multiplyBlock(c: usize, scratch: usize, a: usize, aStep: u32, aPanel: u32, b: usize, k: u32, kc: u32): void {
  if (PART) return multiplyBlockOfCore(c, scratch, a, aStep, aPanel, b, k, kc);
  const f = scratch + FIELDS;
  const rows = load<u32>(f, 20);
  const cols = load<u32>(f, 28);
  const bStep: u32 = load<u32>(c, 72);
  const bPanel: u32 = load<u32>(c, 76);
  const ldc = load<u32>(f, 40);
  const activation = load<u32>(c, 84);
  const last = k + kc == load<u32>(f, 36);
  // ACT_LINEAR and ACT_RELU come first: both are done with the floor.
  const floor: f32 = last && activation == ACT_RELU ? 0 : -Infinity;
  const first = k == load<u32>(f, 32);
  const initStep = first ? 0 : ldc;
  store<u32>(f, kc, 44);
  store<u32>(f, aStep, 48);
  store<u32>(f, aPanel, 52);
  store<u32>(f, bStep, 56);
  store<u32>(f, initStep, 60);
  store<f32>(f, floor, 64);
  const tiles = tileCount(rows);
  const height = rows / tiles;
  const tall = rows % tiles;
  const split = tall * (height + 1);
  let bias: usize = load<u32>(f, 8);
  let y: usize = load<u32>(f, 12);
  const biasStep = bias ? NR * 4 : 0;
  if (!bias) bias = scratch + ZEROS;
  b += k * bStep;
  let col: u32 = 0;
  for (; rows == 1 && bPanel == NR * 4 && col + ROW_PANELS * NR <= cols; col += ROW_PANELS * NR) {
    multiplyRow(a, aStep, b, bStep, kc, y, first ? bias : y, floor);
    if (last && <i32>activation > ACT_RELU) epilogue(y, 0, 1, ROW_PANELS * NR, activation);
    b += ROW_PANELS * bPanel;
    bias += ROW_PANELS * biasStep;
    y += ROW_PANELS * NR * 4;
  }
  for (; col < cols; col += NR) {
    const width = min(cols - col, NR);
    const init = first ? bias : y;
    if (tall) multiplyTiles(height + 1, f, tall, a, b, y, init, width);
    multiplyTiles(height, f, tiles - tall, a + tall * aPanel, b, y + split * ldc, init + split * initStep, width);
    if (last && <i32>activation > ACT_RELU) epilogue(y, ldc, rows, width, activation);
    b += bPanel;
    bias += biasStep;
    y += NR * 4;
  }
}

/**
 * The fields at `f` that `multiplyTiles` reads, for products that are no piece of a command: K, the bytes between k's and between panels of
 * A, between k's of B, between rows of init (0: all begin with the same) and of y.
 */
// @ts-ignore: decorator
@inline
export function setTiles(f: usize, k: u32, aStep: u32, aPanel: u32, bStep: u32, initStep: u32, ldc: u32): void {
  store<u32>(f, ldc, 40);
  store<u32>(f, k, 44);
  store<u32>(f, aStep, 48);
  store<u32>(f, aPanel, 52);
  store<u32>(f, bStep, 56);
  store<u32>(f, initStep, 60);
  store<f32>(f, -Infinity, 64);
}

/**
 * y[R, 4V] = max(init + A panel * B panel, floor) for `tiles` panels of A under each other; `cols` columns are stored.
 * The rest (K, steps, floor) is in the fields at `f`.
 */
// @ts-ignore: decorator
@inline
function tile(R: u32, V: u32, f: usize, tiles: u32, panel: usize, bPanel: usize, y: usize, init: usize, cols: u32): void {
  const aStep = load<u32>(f, 48);
  const aPanel = load<u32>(f, 52);
  const bStep = load<u32>(f, 56);
  const initStep = load<u32>(f, 60);
  const ldc = load<u32>(f, 40);
  const end = bPanel + load<u32>(f, 44) * bStep;
  const low = v128.load_splat<f32>(f, 64);
  for (; tiles; tiles--, panel += aPanel) {
    let c00 = v128.load(init);
    let c01 = c00;
    if (V > 1) c01 = v128.load(init, 16);
    init += initStep;
    let c10 = c00;
    let c11 = c00;
    let c20 = c00;
    let c21 = c00;
    let c30 = c00;
    let c31 = c00;
    let c40 = c00;
    let c41 = c00;
    let c50 = c00;
    let c51 = c00;
    if (R > 1) {
      c10 = v128.load(init);
      if (V > 1) c11 = v128.load(init, 16);
      init += initStep;
    }
    if (R > 2) {
      c20 = v128.load(init);
      if (V > 1) c21 = v128.load(init, 16);
      init += initStep;
    }
    if (R > 3) {
      c30 = v128.load(init);
      if (V > 1) c31 = v128.load(init, 16);
      init += initStep;
    }
    if (R > 4) {
      c40 = v128.load(init);
      if (V > 1) c41 = v128.load(init, 16);
      init += initStep;
    }
    if (R > 5) {
      c50 = v128.load(init);
      if (V > 1) c51 = v128.load(init, 16);
      init += initStep;
    }
    let a = panel;
    for (let b = bPanel; b != end; b += bStep) {
      const b0 = v128.load(b);
      let b1 = b0;
      if (V > 1) b1 = v128.load(b, 16);
      const a0 = v128.load_splat<f32>(a);
      c00 = madd(a0, b0, c00);
      if (V > 1) c01 = madd(a0, b1, c01);
      if (R > 1) {
        const x = v128.load_splat<f32>(a, 4);
        c10 = madd(x, b0, c10);
        if (V > 1) c11 = madd(x, b1, c11);
      }
      if (R > 2) {
        const x = v128.load_splat<f32>(a, 8);
        c20 = madd(x, b0, c20);
        if (V > 1) c21 = madd(x, b1, c21);
      }
      if (R > 3) {
        const x = v128.load_splat<f32>(a, 12);
        c30 = madd(x, b0, c30);
        if (V > 1) c31 = madd(x, b1, c31);
      }
      if (R > 4) {
        const x = v128.load_splat<f32>(a, 16);
        c40 = madd(x, b0, c40);
        if (V > 1) c41 = madd(x, b1, c41);
      }
      if (R > 5) {
        const x = v128.load_splat<f32>(a, 20);
        c50 = madd(x, b0, c50);
        if (V > 1) c51 = madd(x, b1, c51);
      }
      a += aStep;
    }
    put(V, y, vmax(low, c00), vmax(low, c01), cols);
    y += ldc;
    if (R > 1) {
      put(V, y, vmax(low, c10), vmax(low, c11), cols);
      y += ldc;
    }
    if (R > 2) {
      put(V, y, vmax(low, c20), vmax(low, c21), cols);
      y += ldc;
    }
    if (R > 3) {
      put(V, y, vmax(low, c30), vmax(low, c31), cols);
      y += ldc;
    }
    if (R > 4) {
      put(V, y, vmax(low, c40), vmax(low, c41), cols);
      y += ldc;
    }
    if (R > 5) {
      put(V, y, vmax(low, c50), vmax(low, c51), cols);
      y += ldc;
    }
  }
}

/**
 * One row of ROW_PANELS panels of row-major B: a product of a single row has too few sums in one panel to keep the
 * multipliers busy.
 */
function multiplyRow(a: usize, aStep: u32, b: usize, bStep: u32, kc: u32, y: usize, init: usize, floor: f32): void {
  let c0 = v128.load(init);
  let c1 = v128.load(init, 16);
  let c2 = v128.load(init, 32);
  let c3 = v128.load(init, 48);
  let c4 = v128.load(init, 64);
  let c5 = v128.load(init, 80);
  let c6 = c0;
  let c7 = c0;
  if (ROW_PANELS > 3) {
    c6 = v128.load(init, 96);
    c7 = v128.load(init, 112);
  }
  for (const end = b + kc * bStep; b != end; b += bStep) {
    const x = v128.load_splat<f32>(a);
    c0 = madd(x, v128.load(b), c0);
    c1 = madd(x, v128.load(b, 16), c1);
    c2 = madd(x, v128.load(b, 32), c2);
    c3 = madd(x, v128.load(b, 48), c3);
    c4 = madd(x, v128.load(b, 64), c4);
    c5 = madd(x, v128.load(b, 80), c5);
    if (ROW_PANELS > 3) {
      c6 = madd(x, v128.load(b, 96), c6);
      c7 = madd(x, v128.load(b, 112), c7);
    }
    a += aStep;
  }
  const low = f32x4.splat(floor);
  v128.store(y, vmax(low, c0));
  v128.store(y, vmax(low, c1), 16);
  v128.store(y, vmax(low, c2), 32);
  v128.store(y, vmax(low, c3), 48);
  v128.store(y, vmax(low, c4), 64);
  v128.store(y, vmax(low, c5), 80);
  if (ROW_PANELS > 3) {
    v128.store(y, vmax(low, c6), 96);
    v128.store(y, vmax(low, c7), 112);
  }
}

// @ts-ignore: decorator
@inline
function put(V: u32, y: usize, v0: v128, v1: v128, cols: u32): void {
  if (V > 1) {
    v128.store(y, v0);
    if (cols == 8) v128.store(y, v1, 16);
    else storeTail(y + 16, v1, cols - 4);
  } else if (cols == 4) v128.store(y, v0);
  else storeTail(y, v0, cols);
}

function tiles1x8(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(1, 2, f, m, a, b, y, init, cols);
}
function tiles2x8(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(2, 2, f, m, a, b, y, init, cols);
}
function tiles3x8(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(3, 2, f, m, a, b, y, init, cols);
}
function tiles4x8(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(4, 2, f, m, a, b, y, init, cols);
}
function tiles5x8(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(5, 2, f, m, a, b, y, init, cols);
}
function tiles6x8(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(6, 2, f, m, a, b, y, init, cols);
}
function tiles1x4(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(1, 1, f, m, a, b, y, init, cols);
}
function tiles2x4(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(2, 1, f, m, a, b, y, init, cols);
}
function tiles3x4(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(3, 1, f, m, a, b, y, init, cols);
}
function tiles4x4(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(4, 1, f, m, a, b, y, init, cols);
}
function tiles5x4(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(5, 1, f, m, a, b, y, init, cols);
}
function tiles6x4(f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  tile(6, 1, f, m, a, b, y, init, cols);
}

/** The core's `multiplyTiles`. */
// @ts-ignore: decorator
@external("core", "multiplyTiles")
declare function multiplyTilesOfCore(rows: u32, f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void;

/** The tile of 1 to MR rows that fits. Each is a function of its own, so that V8 allocates registers for it alone. */
export function multiplyTiles(rows: u32, f: usize, m: u32, a: usize, b: usize, y: usize, init: usize, cols: u32): void {
  if (PART) return multiplyTilesOfCore(rows, f, m, a, b, y, init, cols);
  if (cols > 4) {
    if (MR >= 6 && rows == 6) return tiles6x8(f, m, a, b, y, init, cols);
    if (MR >= 5 && rows == 5) return tiles5x8(f, m, a, b, y, init, cols);
    if (rows == 4) return tiles4x8(f, m, a, b, y, init, cols);
    if (rows == 3) return tiles3x8(f, m, a, b, y, init, cols);
    if (rows == 2) return tiles2x8(f, m, a, b, y, init, cols);
    return tiles1x8(f, m, a, b, y, init, cols);
  }
  if (MR >= 6 && rows == 6) return tiles6x4(f, m, a, b, y, init, cols);
  if (MR >= 5 && rows == 5) return tiles5x4(f, m, a, b, y, init, cols);
  if (rows == 4) return tiles4x4(f, m, a, b, y, init, cols);
  if (rows == 3) return tiles3x4(f, m, a, b, y, init, cols);
  if (rows == 2) return tiles2x4(f, m, a, b, y, init, cols);
  return tiles1x4(f, m, a, b, y, init, cols);
}

/** Packs `n` k's of MR rows, each contiguous from its own address: dst[k * MR + i] = p_i[k]. Rows past MR are ignored. */
export function packRows(dst: usize, n: u32, p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize): void {
  for (; n >= 4; n -= 4) {
    const r0 = v128.load(p0);
    const r1 = v128.load(p1);
    const r2 = v128.load(p2);
    const r3 = v128.load(p3);
    const t0 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
    const t1 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
    const t2 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
    const t3 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
    v128.store(dst, v128.shuffle<i64>(t0, t2, 0, 2));
    v128.store(dst, v128.shuffle<i64>(t0, t2, 1, 3), MR * 4);
    v128.store(dst, v128.shuffle<i64>(t1, t3, 0, 2), MR * 8);
    v128.store(dst, v128.shuffle<i64>(t1, t3, 1, 3), MR * 12);
    if (MR > 4) {
      const r4 = v128.load(p4);
      const r5 = v128.load(p5);
      const lo = v128.shuffle<i32>(r4, r5, 0, 4, 1, 5);
      const hi = v128.shuffle<i32>(r4, r5, 2, 6, 3, 7);
      v128.store64_lane(dst, lo, 0, 16);
      v128.store64_lane(dst, lo, 1, MR * 4 + 16);
      v128.store64_lane(dst, hi, 0, MR * 8 + 16);
      v128.store64_lane(dst, hi, 1, MR * 12 + 16);
      p4 += 16;
      p5 += 16;
    }
    p0 += 16;
    p1 += 16;
    p2 += 16;
    p3 += 16;
    dst += A_STEP * 4;
  }
  for (; n; n--) {
    store<f32>(dst, load<f32>(p0));
    store<f32>(dst, load<f32>(p1), 4);
    store<f32>(dst, load<f32>(p2), 8);
    store<f32>(dst, load<f32>(p3), 12);
    if (MR > 4) {
      store<f32>(dst, load<f32>(p4), 16);
      store<f32>(dst, load<f32>(p5), 20);
      p4 += 4;
      p5 += 4;
    }
    p0 += 4;
    p1 += 4;
    p2 += 4;
    p3 += 4;
    dst += A_STEP;
  }
}

/** Packs `n` k's of `rows` rows that lie next to each other: dst[k * MR + i] = src[k * step / 4 + i], i < rows. */
export function packColumns(dst: usize, src: usize, step: u32, n: u32, rows: u32): void {
  if (rows >= 4) {
    if (MR > 4 && rows == 6) {
      for (; n; n--, dst += A_STEP, src += step) {
        v128.store(dst, v128.load(src));
        store<u64>(dst, load<u64>(src, 16), 16);
      }
      return;
    }
    for (; n; n--, dst += A_STEP, src += step) {
      v128.store(dst, v128.load(src));
      if (MR > 4 && rows > 4) store<u32>(dst, load<u32>(src, 16), 16);
    }
    return;
  }
  if (rows == 1) {
    for (; n; n--, dst += A_STEP, src += step) store<u32>(dst, load<u32>(src));
    return;
  }
  for (; n; n--, dst += A_STEP, src += step) {
    store<u64>(dst, load<u64>(src));
    if (rows > 2) store<u32>(dst, load<u32>(src, 8), 8);
  }
}

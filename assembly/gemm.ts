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
import { MR, NR, multiplyRow, multiplyTiles } from "./gemm/tiles";

export { packColumns, packRows } from "./gemm/pack";
export { A_STEP, MR, NR, multiplyTiles, setTiles } from "./gemm/tiles";

export const GEMM_WORDS: u32 = 22;
/** K of one block: a panel of B (KC * 32 bytes) and one of A share L1. */
export const KC: u32 = 512;

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
  if (rows == 1 && kc && bPanel == NR * 4) {
    const panels = cols / NR;
    col = panels * NR;
    multiplyRow(a, aStep, b, bStep, kc, y, first ? bias : y, first ? biasStep : NR * 4, panels, floor);
    b += panels * bPanel;
    bias += panels * biasStep;
    y += col * 4;
    if (last && <i32>activation > ACT_RELU) epilogue(y - col * 4, 0, 1, col, activation);
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

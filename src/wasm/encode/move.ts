/** @file Encoders of the kernels that move words (assembly/move.ts), and the rule by which simple kernels are split. */
import type { CopyAttrs, FillAttrs, IotaAttrs } from "../../plan/kernels.ts";
import type { Operand } from "../../plan/plan.ts";
import { assert } from "../../assert.ts";
import { sizeOf } from "../../shape.ts";
import { COPY, FILL, IOTA } from "../opcodes.ts";
import type { CommandWriter, Encoder } from "../writer.ts";
import { read, update, write } from "../writer.ts";
import { constantWord } from "./map.ts";

/** Elementary steps worth a piece of their own: around ten microseconds. */
const PIECE_WORK = 16384;
/** More pieces than this balance no better. */
const MAX_PIECES = 64;
/** Elements of a tile of a transpose: both its tensors' lines stay in L1 until they are used up. */
const TRANSPOSE_TILE = 1024;
/** Rows of y that a transpose writes at once: a cache line of x. */
const TRANSPOSE_ROWS = 16;
/** Rows of y this many elements apart (or a multiple) fall into the same few places of L1: only 8 of them fit. */
const ALIASING_STRIDE = 1024;
const COPY_RANK = 6;

/** `units` equal parts of `workPerUnit` steps each, as `pieces` runs of at most `perPiece`. No units: no pieces. */
export function split(units: number, workPerUnit: number): { pieces: number; perPiece: number } {
  if (units === 0) return { pieces: 0, perPiece: 0 };
  const wanted = Math.min(units, MAX_PIECES, Math.max(1, Math.floor((units * workPerUnit) / PIECE_WORK)));
  const perPiece = Math.ceil(units / wanted);
  return { pieces: Math.ceil(units / perPiece), perPiece };
}

function fillWith(y: Operand, value: number, out: CommandWriter): void {
  const count = sizeOf(y.shape);
  const { pieces, perPiece } = split(count, 1);
  if (pieces > 0) out.command(FILL, pieces, [write(y), count, constantWord(value, y.dtype), perPiece]);
}

interface Dimension {
  size: number;
  x: number;
  y: number;
}

/**
 * The dimensions in the order in which a copy walks them: y's largest stride first, no sizes of 1, neighbours that are
 * one run in both tensors merged; then, where x is contiguous along another dimension than y, that one second to last.
 */
function copyOrder(dimensions: readonly Dimension[]): Dimension[] {
  const order = dimensions.filter((d) => d.size !== 1).sort((a, b) => b.y - a.y);
  for (let i = order.length - 2; i >= 0; i--) {
    const a = order[i];
    const b = order[i + 1];
    if (a.x === b.x * b.size && a.y === b.y * b.size) order.splice(i, 2, { size: a.size * b.size, x: b.x, y: b.y });
  }
  const last = order.length - 1;
  if (last >= 0 && order[last].x !== 1) {
    const along = order.findIndex((d) => d.x === 1);
    if (along >= 0) order.splice(last - 1, 0, ...order.splice(along, 1));
  }
  while (order.length < COPY_RANK) order.unshift({ size: 1, x: 0, y: 0 });
  return order;
}

/** The side that makes a tile of a transpose with `other`, in whole vectors. */
function tileSide(other: number): number {
  return Math.max(4, Math.floor(TRANSPOSE_TILE / other) & ~3);
}

/** How many rows and columns of the two innermost dimensions make a tile. */
function tileOf(rows: Dimension, cols: Dimension): { rowBlock: number; colBlock: number } {
  if (cols.y === 1 && cols.x !== 1 && cols.x !== 0 && rows.x === 1) {
    const most = rows.y % ALIASING_STRIDE === 0 ? TRANSPOSE_ROWS / 2 : TRANSPOSE_ROWS;
    const colBlock = Math.min(cols.size, tileSide(Math.min(rows.size, most)));
    // Columns too few to fill the tile leave the rest of it to the rows: then rows of y share lines.
    const rowBlock = Math.min(rows.size, colBlock < cols.size ? most : Math.max(most, tileSide(colBlock)));
    return { rowBlock, colBlock };
  }
  const colBlock = Math.min(cols.size, PIECE_WORK);
  return { rowBlock: Math.min(rows.size, Math.max(1, Math.floor(PIECE_WORK / colBlock))), colBlock };
}

export const copy: Encoder = (call, out) => {
  const a = call.attrs as unknown as CopyAttrs;
  const x = call.inputs[0];
  const y = call.outputs[0];
  if (y === null) return;
  assert(a.shape.length <= COPY_RANK, () => `copy of rank ${a.shape.length}: at most ${COPY_RANK}`);
  if (a.fill !== null) fillWith(y, a.fill, out);
  if (sizeOf(a.shape) === 0) return;

  // A dimension that y walks backwards is walked from its other end, in both.
  let xOffset = a.xOffset;
  let yOffset = a.yOffset;
  const dimensions = a.shape.map((size, i) => {
    const backwards = a.yStrides[i] < 0;
    if (!backwards) return { size, x: a.xStrides[i], y: a.yStrides[i] };
    xOffset += (size - 1) * a.xStrides[i];
    yOffset += (size - 1) * a.yStrides[i];
    return { size, x: -a.xStrides[i], y: -a.yStrides[i] };
  });
  const order = copyOrder(dimensions);
  const rows = order[COPY_RANK - 2];
  const cols = order[COPY_RANK - 1];
  const { rowBlock, colBlock } = tileOf(rows, cols);
  const outer = order.slice(0, -2).reduce((n, d) => n * d.size, 1);
  const tiles = outer * Math.ceil(rows.size / rowBlock) * Math.ceil(cols.size / colBlock);
  const { pieces, perPiece } = split(tiles, rowBlock * colBlock);
  out.command(COPY, pieces, [
    read(x),
    a.partial || a.fill !== null ? update(y) : write(y),
    xOffset,
    yOffset,
    ...order.map((d) => d.size),
    ...order.map((d) => d.x >>> 0),
    ...order.map((d) => d.y),
    rowBlock,
    colBlock,
    tiles,
    perPiece,
  ]);
};

export const fill: Encoder = (call, out) => {
  const a = call.attrs as unknown as FillAttrs;
  if (call.outputs[0] !== null) fillWith(call.outputs[0], a.value, out);
};

export const iota: Encoder = (call, out) => {
  const a = call.attrs as unknown as IotaAttrs;
  const y = call.outputs[0];
  if (y === null) return;
  const count = sizeOf(y.shape);
  const { pieces, perPiece } = split(count, 1);
  if (pieces > 0) out.command(IOTA, pieces, [write(y), count, a.size, a.inner, y.dtype === "f32" ? 1 : 0, perPiece]);
};

/** @file Encoders of gather and scatterAdd (assembly/gather.ts). */
import type { GatherAttrs } from "../../plan/kernels.ts";
import { GATHER, GATHER_BYTES, SCATTER_ADD } from "../opcodes.ts";
import type { Encoder } from "../writer.ts";
import { read, write } from "../writer.ts";
import { split } from "./move.ts";

/** Columns of a piece of scatterAdd are a multiple of this: a cache line. */
const LINE = 16;

export const gather: Encoder = (call, out) => {
  const { outer, size, inner, count } = call.attrs as unknown as GatherAttrs;
  const rows = outer * count;
  if (rows * inner === 0) return;
  const { pieces, perPiece } = split(rows, inner);
  out.command(call.inputs[0]?.storage ? GATHER_BYTES : GATHER, pieces, [
    read(call.inputs[0]),
    read(call.inputs[1]),
    write(call.outputs[0]),
    size,
    inner,
    count,
    rows,
    perPiece,
  ]);
};

export const scatterAdd: Encoder = (call, out) => {
  const { outer, size, inner, count } = call.attrs as unknown as GatherAttrs;
  if (outer * size * inner === 0) return;
  // Indices are often skewed (frequent words): columns balance whatever they are, rows may not. So columns go first,
  // and rows are split only as long as reading the index once more costs less than what it shares out.
  const wanted = Math.ceil(split(outer * (size + count), inner).pieces / outer);
  const cols = split(Math.ceil(inner / LINE), Infinity);
  const colPieces = Math.min(wanted, cols.pieces);
  const colsPerPiece = colPieces === 1 ? inner : LINE * Math.ceil(inner / LINE / colPieces);
  const affordable = Math.max(1, Math.floor(((size + count) * colsPerPiece) / Math.max(1, count)));
  const rowsPerPiece = Math.ceil(size / Math.min(size, affordable, Math.ceil(wanted / colPieces)));
  const rowPieces = Math.ceil(size / rowsPerPiece);
  const usedCols = Math.ceil(inner / colsPerPiece);
  out.command(SCATTER_ADD, outer * rowPieces * usedCols, [
    read(call.inputs[0]),
    read(call.inputs[1]),
    write(call.outputs[0]),
    size,
    inner,
    count,
    rowsPerPiece,
    colsPerPiece,
    rowPieces,
    usedCols,
  ]);
};

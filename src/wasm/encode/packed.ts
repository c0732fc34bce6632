/** @file Encoders of kernels that read packed weights (assembly/packed.ts and packed/). */
import type { PackedMatmulAttrs, PackedRowsAttrs, UnpackAttrs } from "../../plan/kernels.ts";
import {
  PACKED_BF16,
  PACKED_DOTS,
  PACKED_F16,
  PACKED_FEW,
  PACKED_MATMUL,
  PACKED_Q4,
  PACKED_Q4M,
  PACKED_Q8,
  PACKED_QUANTIZE,
  PACKED_ROWS,
  UNPACK,
} from "../opcodes.ts";
import { read, write } from "../writer.ts";
import type { CommandWriter, Encoder, Word } from "../writer.ts";
import { activationCode, encodeInParts, ONE_TAP } from "./matmul.ts";
import { split } from "./move.ts";

const CODES: { readonly [format: string]: number } = {
  f16: PACKED_F16,
  bf16: PACKED_BF16,
  q8: PACKED_Q8,
  q4: PACKED_Q4,
  q4m: PACKED_Q4M,
};

/** Elements of k that share a scale, and rows whose elements alternate (src/packed/layout.ts). */
const BLOCK = 32;
const GROUP = 4;
/** Most bytes of a row's block (assembly/packed/quantize.ts), and what rows of a piece are a multiple of. */
const BLOCK_BYTES = 76;
const TILE = 8;
/** Multiply-adds worth a piece, and weights, which are read once for however few rows; and most pieces side by side. */
const PIECE_WORK = 1 << 18;
const PIECE_WEIGHTS = 1 << 17;
const MAX_PIECES = 64;
/** Bytes that the rows of a piece take, about, so that they stay in L2 from group to group. */
const ROWS_BYTES = 1 << 19;
/** Of longer rows the scales do not fit into scratch. */
const MOST_K = 1 << 17;
/** Most rows whose products with 16-bit weights are dot products. */
const FEW_ROWS = 32;
/** Columns of a panel of f32 weights (assembly/gemm.ts), and bytes of one of its rows. */
const PANEL = 8;
const PANEL_BYTES = 32;
/** Steps that making an element f32 costs, and making an activation an integer. */
const UNPACK_WORK = 2;
const QUANTIZE_WORK = 2;

const up = (n: number, to: number): number => Math.ceil(n / to) * to;

/** Groups of columns of y in pieces, for `m` rows of `k`. */
function splitColumns(m: number, k: number, n: number): { pieces: number; perPiece: number } {
  const units = Math.ceil(n / GROUP);
  const pieces = Math.min(MAX_PIECES, units, Math.max(1, Math.floor(Math.max((m * n * k) / PIECE_WORK, (n * k) / PIECE_WEIGHTS))));
  const perPiece = Math.ceil(units / pieces);
  return { pieces: Math.ceil(units / perPiece), perPiece };
}

/** `packedMatmul(a, b, bias?) -> y` */
export const packedMatmul: Encoder = (call, out) => {
  const { m, k, n, format, activation } = call.attrs as unknown as PackedMatmulAttrs;
  const [a, w, bias] = call.inputs;
  const [y] = call.outputs;
  if (m * n === 0) return;
  const code = CODES[format];
  const halves = code <= PACKED_BF16;
  if (k === 0 || k > MOST_K || (halves && m > FEW_ROWS))
    return asWords(out, call.attrs as unknown as PackedMatmulAttrs, call.inputs.map(read), write(y));
  const operands = [read(w), read(bias ?? null), write(y), m, n];
  if (halves) {
    const { pieces, perPiece } = splitColumns(m, k, n);
    out.command(PACKED_DOTS, pieces, [read(a), ...operands, k, Number(code === PACKED_BF16), perPiece * GROUP, activationCode[activation]]);
    return;
  }
  const blocks = k / BLOCK;
  const integers = out.shared(up(m, TILE) * blocks * BLOCK_BYTES);
  const rows = split(Math.ceil(m / TILE), TILE * k * QUANTIZE_WORK);
  out.command(PACKED_QUANTIZE, rows.pieces, [read(a), integers.write, m, blocks, code, rows.perPiece * TILE]);
  const perPiece = m <= PACKED_FEW ? TILE : Math.max(TILE, Math.floor(ROWS_BYTES / k / TILE) * TILE);
  const rowPieces = Math.ceil(m / perPiece);
  const columns = splitColumns(Math.min(m, perPiece), k, n);
  out.command(PACKED_MATMUL, rowPieces * columns.pieces, [
    integers.read,
    ...operands,
    blocks,
    code,
    columns.perPiece,
    columns.pieces,
    perPiece,
    activationCode[activation],
  ]);
};

/** The product of f32 numbers, which are made of some columns at a time. */
function asWords(out: CommandWriter, { m, k, n, format, activation }: PackedMatmulAttrs, [a, w, bias = 0]: readonly Word[], y: Word): void {
  const b = { word: 0, stride: 0, ld: 0, transposed: false, taps: ONE_TAP, packed: true };
  const product = { batch: 1, m, n, k, a, strideA: 0, b, bias, strideBias: 0, c: y, strideC: 0, rowsC: m, columnsC: n, activation };
  encodeInParts(out, product, [0, k * 4], (panels, first, columns) =>
    encodeUnpack(out, w, panels, n, k, format, first, columns, k * PANEL_BYTES, PANEL_BYTES),
  );
}

/**
 * Rows [first, first + count) as f32. Where they are to be columns, `rowsStride` and `stride` are the bytes from 8 of them to the next and
 * between k's.
 */
function encodeUnpack(
  out: CommandWriter,
  w: Word,
  y: Word,
  rows: number,
  k: number,
  format: string,
  first: number,
  count: number,
  rowsStride: number,
  stride: number,
): void {
  const { pieces, perPiece } = split(Math.ceil(count / PANEL), PANEL * k * UNPACK_WORK);
  const transposed = Number(stride > 0);
  out.command(UNPACK, pieces, [w, y, rows, k, CODES[format], first, count, perPiece * PANEL, transposed, rowsStride, stride]);
}

/** `packedRows(x, index) -> y` */
export const packedRows: Encoder = (call, out) => {
  const { rows, k, count, format } = call.attrs as unknown as PackedRowsAttrs;
  if (count * k === 0) return;
  const { pieces, perPiece } = split(count, k * UNPACK_WORK);
  out.command(PACKED_ROWS, pieces, [...call.inputs.map(read), write(call.outputs[0]), rows, k, count, CODES[format], perPiece]);
};

/** `unpack(x) -> y` */
export const unpack: Encoder = (call, out) => {
  const { rows, k, format, transposed } = call.attrs as unknown as UnpackAttrs;
  if (rows * k === 0) return;
  const strides = transposed ? [PANEL_BYTES, rows * 4] : [0, 0];
  encodeUnpack(out, read(call.inputs[0]), write(call.outputs[0]), rows, k, format, 0, rows, strides[0], strides[1]);
};

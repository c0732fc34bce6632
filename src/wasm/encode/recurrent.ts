/**
 * @file Encoders of the recurrent sequence kernels (assembly/lstm.ts, gru.ts, simple-rnn.ts). A piece is a block of sequences over all of
 * their steps. The recurrent weights are packed first, once for all steps, in panels of 8 columns; transposed for gradients. Words stand in
 * the order that the kernels' headers give.
 */
import type { RecurrentAttrs } from "../../plan/kernels.ts";
import type { Call, Operand } from "../../plan/plan.ts";
import { internal } from "../../errors.ts";
import { GRU, GRU_GRAD, LSTM, LSTM_GRAD, SCRATCH_BYTES, SIMPLE_RNN, SIMPLE_RNN_GRAD } from "../opcodes.ts";
import type { CommandWriter, Encoder, Word } from "../writer.ts";
import { at, read, write } from "../writer.ts";
import { LARGE_WEIGHTS, ONE_TAP, activationCode, encodePack } from "./matmul.ts";

/** Columns of a packed panel; bytes of its row. */
const PANEL = 8;
const PANEL_BYTES = 32;
/**
 * Rows of the product's register tile: fewer sequences than this read the weights as they are, unless packing them is kept (256 units: 0.4
 * of the time for one).
 */
const TILE_ROWS = 4;
/** Most sequences of a piece: whole tiles, and enough pieces for several threads at a batch of 32. */
const MAX_ROWS = 8;

function attrsOf(call: Call): RecurrentAttrs {
  return call.attrs as unknown as RecurrentAttrs;
}

/** An operand that the kernel cannot do without. */
function required(call: Call, operand: Operand | null, name: string): Operand {
  if (operand === null) throw internal(`${call.kernel} of ${call.source}: ${name} must not be null`);
  return operand;
}

/** Columns rounded up to whole panels. */
function padded(columns: number): number {
  return Math.ceil(columns / PANEL) * PANEL;
}

/** Sequences of a piece whose working memory has `columns` floats a sequence. */
function rowsOf(columns: number): number {
  return Math.min(MAX_ROWS, Math.max(1, Math.floor(SCRATCH_BYTES / (4 * columns))));
}

/** Packs w[k, n] of rows of `ld` elements; gives where it then is. */
function pack(out: CommandWriter, w: Word, k: number, n: number, ld: number, transposed: boolean): Word {
  return encodePack(out, { batch: 1, n, k, b: { word: w, stride: 0, ld: 4 * ld, transposed, taps: ONE_TAP } }, 4 * k * padded(n));
}

interface Weights {
  /** One for each group of columns. */
  readonly parts: readonly Word[];
  readonly kStride: number;
  readonly panelStride: number;
}

/**
 * wr[U, columns] for the forward pass, its columns in groups that are multiplied one by one: packed where whole tiles of
 * sequences make that pay.
 */
function forwardWeights(out: CommandWriter, a: RecurrentAttrs, wr: Operand, h0: Operand | null, groups: readonly number[]): Weights {
  const columns = groups.reduce((sum, n) => sum + n, 0);
  const starts = groups.map((_, i) => groups.slice(0, i).reduce((sum, n) => sum + n, 0));
  const products = h0 === null ? a.t - 1 : a.t;
  const bytes = 4 * a.u * columns;
  const few = a.b < TILE_ROWS && !(bytes >= LARGE_WEIGHTS && out.keeps(read(wr), bytes));
  if (few || products < 1) {
    return { parts: starts.map((start) => at(read(wr), 4 * start)), kStride: 4 * columns, panelStride: PANEL_BYTES };
  }
  const parts = groups.map((n, i) => pack(out, at(read(wr), 4 * starts[i]), a.u, n, columns, false));
  return { parts, kStride: PANEL_BYTES, panelStride: PANEL_BYTES * a.u };
}

/** wr[U, columns] transposed and packed for the backward pass. */
function backwardWeights(out: CommandWriter, a: RecurrentAttrs, wr: Operand, columns: number): Word {
  return pack(out, read(wr), columns, a.u, columns, true);
}

function command(
  out: CommandWriter,
  opcode: number,
  a: RecurrentAttrs,
  rows: number,
  words: readonly Word[],
  options: readonly number[],
): void {
  out.command(opcode, Math.ceil(a.b / rows), [...words, a.b, a.t, a.u, rows, activationCode[a.activation], ...options]);
}

export const lstm: Encoder = (call, out) => {
  const a = attrsOf(call);
  const [xw, wr, h0, c0, mask, factors] = call.inputs;
  const [h, c, gates] = call.outputs;
  if (a.b === 0) return;
  const w = forwardWeights(out, a, required(call, wr, "wr"), h0, [4 * a.u]);
  const words = [
    write(required(call, h, "h")),
    write(required(call, c, "c")),
    write(gates),
    read(required(call, xw, "xw")),
    w.parts[0],
    w.kStride,
    w.panelStride,
    read(h0),
    read(c0),
    read(mask),
    read(factors),
  ];
  const rows = rowsOf(padded(4 * a.u) + (factors === null ? 0 : padded(a.u)));
  command(out, LSTM, a, rows, words, [activationCode[a.recurrentActivation], Number(a.reverse)]);
};

export const lstmGrad: Encoder = (call, out) => {
  const a = attrsOf(call);
  // h0 acts on the gates alone, which are saved.
  const [dh, dcLast, wr, c, gates, , c0, mask, factors] = call.inputs;
  const [dgates, dh0, dc0] = call.outputs;
  if (a.b === 0) return;
  const w = a.t > 1 || dh0 ? backwardWeights(out, a, required(call, wr, "wr"), 4 * a.u) : 0;
  const words = [
    write(required(call, dgates, "dgates")),
    write(dh0),
    write(dc0),
    read(dh),
    read(dcLast),
    w,
    read(required(call, c, "c")),
    read(required(call, gates, "gates")),
    read(c0),
    read(mask),
    read(factors),
  ];
  const rows = rowsOf((factors === null ? 3 : 4) * padded(a.u));
  command(out, LSTM_GRAD, a, rows, words, [activationCode[a.recurrentActivation], Number(a.reverse)]);
};

export const gru: Encoder = (call, out) => {
  const a = attrsOf(call);
  const [xw, wr, bias2, h0, mask, factors] = call.inputs;
  const [h, gates] = call.outputs;
  if (a.b === 0) return;
  const w = forwardWeights(out, a, required(call, wr, "wr"), h0, a.resetAfter ? [3 * a.u] : [2 * a.u, a.u]);
  const words = [
    write(required(call, h, "h")),
    write(gates),
    read(required(call, xw, "xw")),
    w.parts[0],
    w.parts[1] ?? 0,
    w.kStride,
    w.panelStride,
    read(bias2),
    read(h0),
    read(mask),
    read(factors),
  ];
  const rows = rowsOf(padded(2 * a.u) + (factors === null ? 2 : 3) * padded(a.u));
  command(out, GRU, a, rows, words, [activationCode[a.recurrentActivation], Number(a.reverse), Number(a.resetAfter)]);
};

export const gruGrad: Encoder = (call, out) => {
  const a = attrsOf(call);
  const [dh, wr, h, gates, h0, mask, factors] = call.inputs;
  const [dxw, dhw, dh0] = call.outputs;
  if (a.b === 0) return;
  const w = a.t > 1 || h0 || dh0 ? backwardWeights(out, a, required(call, wr, "wr"), 3 * a.u) : 0;
  const words = [
    write(required(call, dxw, "dxw")),
    write(dhw),
    write(dh0),
    read(dh),
    w,
    read(required(call, h, "h")),
    read(required(call, gates, "gates")),
    read(h0),
    read(mask),
    read(factors),
  ];
  const rows = rowsOf((factors === null ? 2 : 4) * padded(a.u) + padded(3 * a.u));
  command(out, GRU_GRAD, a, rows, words, [activationCode[a.recurrentActivation], Number(a.reverse), Number(a.resetAfter)]);
};

export const simpleRnn: Encoder = (call, out) => {
  const a = attrsOf(call);
  const [xw, wr, h0, mask, factors] = call.inputs;
  const h = required(call, call.outputs[0], "h");
  if (a.b === 0) return;
  const w = forwardWeights(out, a, required(call, wr, "wr"), h0, [a.u]);
  const words = [write(h), read(required(call, xw, "xw")), w.parts[0], w.kStride, w.panelStride, read(h0), read(mask), read(factors)];
  command(out, SIMPLE_RNN, a, rowsOf((factors === null ? 1 : 2) * padded(a.u)), words, [Number(a.reverse)]);
};

export const simpleRnnGrad: Encoder = (call, out) => {
  const a = attrsOf(call);
  // h0 acts on h alone.
  const [dh, wr, h, , mask, factors] = call.inputs;
  const [dxw, dh0] = call.outputs;
  if (a.b === 0) return;
  const w = a.t > 1 || dh0 ? backwardWeights(out, a, required(call, wr, "wr"), a.u) : 0;
  const words = [write(required(call, dxw, "dxw")), write(dh0), read(dh), w, read(required(call, h, "h")), read(mask), read(factors)];
  command(out, SIMPLE_RNN_GRAD, a, rowsOf((factors === null ? 1 : 2) * padded(a.u)), words, [Number(a.reverse)]);
};

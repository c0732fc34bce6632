/**
 * @file GPU encoders of the recurrent sequence kernels (kernels/recurrent.wgsl with the cells of lstm.wgsl, gru.wgsl and simple-rnn.wgsl):
 * one dispatch for all steps, or, of layers with more units than a workgroup has invocations, one for each turn. Gradients read the
 * recurrent weights transposed, by a dispatch before.
 */
import type { RecurrentAttrs } from "../../plan/kernels.ts";
import type { Call, Operand } from "../../plan/plan.ts";
import { BackendError } from "../../errors.ts";
import { sizeOf } from "../../shape.ts";
import { assert } from "../../assert.ts";
import type { Bound, Constants, DispatchWriter, GpuEncoder, GpuFeatures, Hooks } from "../dispatch.ts";
import { fold, read, write } from "../dispatch.ts";
import { activationFunction } from "./matmul.ts";
import { encodeCopy } from "./move.ts";

/** Sequences of a workgroup: the lanes of its vectors. */
const LANES = 4;
const VECTOR_BYTES = 16;
const MAX_THREADS = 256;
/** Widths are multiples of this, so that the invocations of a subgroup work on one slice. */
const WIDTH_STEP = 32;
const MAX_SLICES = 8;
/** Terms of a product that a slice should at least have. */
const SLICE_TERMS = 8;

/** wr[U, columns] as [columns, U]. */
function transposed(out: DispatchWriter, wr: Operand | null, u: number, columns: number): Bound {
  const memory = out.temporary(4 * u * columns);
  encodeCopy(out, read(wr), memory.write, [{ size: columns, x: 1, y: u }, { size: u, x: columns, y: 1 }]);
  return memory.read;
}

/**
 * Those operands that there are in one buffer, and as constants at which elements they are: OUTSIDE of kernels/index.wgsl where they are
 * not.
 */
function together(out: DispatchWriter, operands: { readonly [name: string]: Operand | null }): { extra: Bound | null; where: Constants } {
  const where: { [name: string]: number } = {};
  const copies: { o: Operand; size: number; at: number }[] = [];
  let at = 0;
  for (const [name, o] of Object.entries(operands)) {
    where[`${name}_AT`] = o === null ? -1 : at;
    if (o === null) continue;
    const size = sizeOf(o.shape);
    copies.push({ o, size, at });
    at += size;
  }
  if (copies.length <= 1) return { extra: read(copies[0]?.o ?? null), where };
  const memory = out.temporary(4 * at);
  for (const c of copies) encodeCopy(out, read(c.o), memory.update, [{ size: c.size, x: 1, y: 1 }], 0, c.at);
  return { extra: memory.read, where };
}

/** What a cell of a kernel's file does in a turn; see kernels/recurrent.wgsl. */
interface Cell {
  readonly file: string;
  readonly hooks: Hooks;
  readonly turns: number;
  /** Products: the most terms, elements of a row of weights, sums of a unit. */
  readonly terms: number;
  readonly row: number;
  readonly sums: number;
  readonly constants: Constants;
  /** By binding; at VECTORS_BINDING stands nothing. */
  readonly buffers: readonly (Bound | null)[];
}

const VECTORS_BINDING = 6;

/** How the work is shared out. */
function layout(
  { maxWorkgroupSize, maxWorkgroupBytes }: GpuFeatures,
  units: number,
  { terms, sums }: Cell,
): { together: boolean; width: number; slices: number } {
  const threads = Math.min(MAX_THREADS, maxWorkgroupSize);
  const room = Math.floor(maxWorkgroupBytes / VECTOR_BYTES);
  const together = units <= threads && terms <= room;
  const width = together ? Math.ceil(units / WIDTH_STEP) * WIDTH_STEP : WIDTH_STEP;
  const free = together ? room - terms : room;
  const slices = Math.min(MAX_SLICES, Math.floor(threads / width), Math.floor(terms / SLICE_TERMS), 1 + Math.floor(free / (sums * width)));
  return { together, width, slices: Math.max(1, slices) };
}

function dispatch(out: DispatchWriter, { b, t, u, reverse, activation, recurrentActivation }: RecurrentAttrs, cell: Cell): void {
  const { file, hooks, turns, terms, row, sums, constants, buffers } = cell;
  assert(buffers[0] !== null && buffers[4] !== null, () => `${file}: no result, or no weights`);
  const { together, width, slices } = layout(out.features, u, cell);
  const vectors = together ? terms : 0;
  const groups = Math.ceil(b / LANES);
  const blocks = together ? 1 : Math.ceil(u / width);
  const memory = together ? "shared" : "stored";
  const shader = {
    file,
    alone: !together,
    constants: {
      ...constants,
      BATCH: b,
      STEPS: t,
      UNITS: u,
      REVERSE: reverse,
      TURNS: turns,
      ROW: row,
      SUMS: sums,
      VECTORS: terms,
      TOGETHER: together,
      BLOCKS: blocks,
      WIDTH: width,
      SLICES: slices,
      SHARED: Math.max(1, vectors + sums * (slices - 1) * width),
      PARTIALS: vectors,
    },
    hooks: {
      ...hooks,
      read_vector: `${memory}_read`,
      write_vector: `${memory}_write`,
      activate: activationFunction(activation),
      derivative: `derivative_${activation}`,
      activate_gate: activationFunction(recurrentActivation),
      derivative_gate: `derivative_${recurrentActivation}`,
    },
  };
  if (together) return out.dispatch(shader, buffers, groups);
  const bound = [...buffers];
  bound[VECTORS_BINDING] = out.temporary(2 * groups * terms * VECTOR_BYTES).update;
  const { maxGroups } = out.features;
  if (blocks + turns > maxGroups)
    throw new BackendError(`webgpu: ${t} steps of ${u} units are more than this adapter can be given; use open("wasm")`);
  const [y, z] = fold(groups, maxGroups);
  for (let turn = 0; turn < turns; turn++) out.dispatch(shader, bound, [blocks + turn, y, z]);
}

/** Encoders of a kernel: nothing for empty sequences. */
const encoder =
  (cell: (a: RecurrentAttrs, call: Call, out: DispatchWriter) => Cell): GpuEncoder =>
  (call, out) => {
    const a = call.attrs as unknown as RecurrentAttrs;
    if (a.b * a.t * a.u > 0) dispatch(out, a, cell(a, call, out));
  };

export const lstm = encoder(({ t, u }, call, out) => {
  const [xw, wr, H0, C0, MASK, FACTORS] = call.inputs;
  const [h, c, gates] = call.outputs;
  const { extra, where } = together(out, { H0, C0, MASK, FACTORS });
  return {
    file: "lstm",
    hooks: { cell: "lstm" },
    turns: t + Number(H0 !== null),
    terms: u,
    row: 4 * u,
    sums: 4,
    constants: { ...where, HAS_GATES: gates !== null },
    buffers: [write(h), write(c), write(gates), read(xw), read(wr), extra, null],
  };
});

export const lstmGrad = encoder(({ b, t, u }, call, out) => {
  // h0 acts on the gates alone, which are saved.
  const [DH, DC_LAST, wr, c, gates, , C0, MASK, FACTORS] = call.inputs;
  const [dgates, dh0, dc0] = call.outputs;
  const { extra, where } = together(out, { DH, DC_LAST, C0, MASK, FACTORS });
  const weights = transposed(out, wr, u, 4 * u);
  const [dh, dc] = [dh0, dc0].map((o) => write(o) ?? out.temporary(4 * b * u).update);
  return {
    file: "lstm",
    hooks: { cell: "lstm_grad" },
    turns: t + Number(dh0 !== null),
    terms: 4 * u,
    row: u,
    sums: 1,
    constants: where,
    buffers: [write(dgates), dc, read(gates), read(c), weights, extra, null, dh],
  };
});

export const gru = encoder(({ b, t, u, resetAfter }, call, out) => {
  const [xw, wr, bias2, H0, MASK, FACTORS] = call.inputs;
  const [h, gates] = call.outputs;
  const { extra, where } = together(out, { H0, MASK, FACTORS });
  const saved = write(gates) ?? (resetAfter ? null : out.temporary(16 * b * t * u).update);
  return {
    file: "gru",
    hooks: { cell: "gru", ...(resetAfter ? {} : { turn_of: "gru_turn" }) },
    turns: t * (resetAfter ? 1 : 2) + Number(H0 !== null),
    terms: u,
    row: 3 * u,
    sums: 3,
    constants: { ...where, RESET_AFTER: resetAfter, HAS_BIAS: bias2 !== null, HAS_GATES: saved !== null },
    buffers: [write(h), null, saved, read(xw), read(wr), extra, null, null, read(bias2)],
  };
});

export const gruGrad = encoder(({ b, t, u, resetAfter }, call, out) => {
  const [DH, wr, h, gates, H0, MASK, FACTORS] = call.inputs;
  const [dxw, dhw, dh0] = call.outputs;
  const { extra, where } = together(out, { DH, H0, MASK, FACTORS });
  const weights = transposed(out, wr, u, 3 * u);
  return {
    file: "gru",
    hooks: { cell: "gru_grad", ...(resetAfter ? {} : { turn_of: "gru_grad_turn" }) },
    turns: t * (resetAfter ? 1 : 2) + Number(dh0 !== null),
    terms: 3 * u,
    row: u,
    sums: 1,
    constants: { ...where, RESET_AFTER: resetAfter, HAS_DHW: dhw !== null },
    buffers: [write(dxw), write(dhw), read(gates), read(h), weights, extra, null, write(dh0) ?? out.temporary(4 * b * u).update],
  };
});

export const simpleRnn = encoder(({ t, u }, call, out) => {
  const [xw, wr, H0, MASK, FACTORS] = call.inputs;
  const { extra, where } = together(out, { H0, MASK, FACTORS });
  return {
    file: "simple-rnn",
    hooks: { cell: "simple" },
    turns: t + Number(H0 !== null),
    terms: u,
    row: u,
    sums: 1,
    constants: where,
    buffers: [write(call.outputs[0]), null, null, read(xw), read(wr), extra, null],
  };
});

export const simpleRnnGrad = encoder(({ b, t, u }, call, out) => {
  // h0 acts on h alone.
  const [DH, wr, h, , MASK, FACTORS] = call.inputs;
  const [dxw, dh0] = call.outputs;
  const { extra, where } = together(out, { DH, MASK, FACTORS });
  const weights = transposed(out, wr, u, u);
  return {
    file: "simple-rnn",
    hooks: { cell: "simple_grad" },
    turns: t + Number(dh0 !== null),
    terms: u,
    row: u,
    sums: 1,
    constants: where,
    buffers: [write(dxw), null, null, read(h), weights, extra, null, write(dh0) ?? out.temporary(4 * b * u).update],
  };
});

/**
 * @file GPU encoders of the recurrent sequence kernels (kernels/lstm.wgsl, gru.wgsl, simple-rnn.wgsl): one dispatch for all steps.
 * Gradients read the recurrent weights transposed, by a dispatch before.
 */
import { internal } from "../../errors.ts";
import type { RecurrentAttrs } from "../../plan/kernels.ts";
import type { Call, Operand } from "../../plan/plan.ts";
import type { Bound, Constants, DispatchWriter, GpuEncoder, GpuFeatures } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { sizeOf } from "../../shape.ts";
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

const attrsOf = (call: Call): RecurrentAttrs => call.attrs as unknown as RecurrentAttrs;

/** An operand that the kernel cannot do without. */
function required(call: Call, operand: Operand | null, name: string): Operand {
  if (operand === null) throw internal(`${call.kernel} of ${call.source}: ${name} must not be null`);
  return operand;
}

/** How the work of a workgroup is shared out, as constants of a kernel; see kernels/recurrent.wgsl. */
interface Layout {
  readonly SMALL: boolean;
  readonly WIDTH: number;
  readonly SLICES: number;
  readonly SHARED: number;
  readonly PARTIALS: number;
}

/**
 * @param terms the length of the products
 * @param vectors the vectors of workgroup memory for what is multiplied
 * @param sums the sums that each invocation has
 */
function layout({ maxWorkgroupSize, maxWorkgroupBytes }: GpuFeatures, units: number, terms: number, vectors: number, sums: number): Layout {
  const threads = Math.min(MAX_THREADS, maxWorkgroupSize);
  const blocks = Math.ceil(units / threads);
  const width = Math.ceil(units / blocks / WIDTH_STEP) * WIDTH_STEP;
  const room = Math.floor(maxWorkgroupBytes / VECTOR_BYTES);
  if (blocks > 1 || vectors > room) return { SMALL: false, WIDTH: width, SLICES: 1, SHARED: 1, PARTIALS: 0 };
  const slices = Math.min(MAX_SLICES, Math.floor(threads / width), Math.floor(terms / SLICE_TERMS), 1 + Math.floor((room - vectors) / (sums * width)));
  const used = Math.max(1, slices);
  return { SMALL: true, WIDTH: width, SLICES: used, SHARED: vectors + sums * (used - 1) * width, PARTIALS: vectors };
}

/** The functions that kernels call for the two activations. */
function body({ activation, recurrentActivation }: RecurrentAttrs): string {
  const four = (name: string, of: string): string => `fn ${name}(v: vec4<f32>) -> vec4<f32> { return vec4(${["x", "y", "z", "w"].map((lane) => `${of}(v.${lane})`).join(", ")}); }`;
  return [
    four("activate", `activation_${activation}`), four("derivative", `derivative_${activation}`),
    four("activate_gate", `activation_${recurrentActivation}`), four("derivative_gate", `derivative_${recurrentActivation}`),
  ].join("\n");
}

function dispatch(out: DispatchWriter, file: string, entry: string, a: RecurrentAttrs, constants: Constants, buffers: readonly (Bound | null)[]): void {
  const shape = { BATCH: a.b, STEPS: a.t, UNITS: a.u, REVERSE: a.reverse };
  out.dispatch({ file, entry, constants: { ...shape, ...constants }, body: body(a) }, buffers, Math.ceil(a.b / LANES));
}

/** wr[U, columns] as [columns, U]. */
function transposed(out: DispatchWriter, wr: Operand, u: number, columns: number): Bound {
  const memory = out.temporary(4 * u * columns);
  encodeCopy(out, read(wr), memory.write, [{ size: columns, x: 1, y: u }, { size: u, x: columns, y: 1 }]);
  return memory.read;
}

/** Those operands that there are in one buffer, and at which elements: what one binding can hold. */
function together(out: DispatchWriter, operands: readonly (Operand | null)[]): { buffer: Bound | null; at: readonly number[] } {
  const sizes = operands.map((o) => (o === null ? 0 : sizeOf(o.shape)));
  const at = sizes.map((_, k) => sizes.slice(0, k).reduce((sum, n) => sum + n, 0));
  const present = operands.filter((o) => o !== null);
  if (present.length <= 1) return { buffer: read(present[0] ?? null), at };
  const memory = out.temporary(4 * sizes.reduce((sum, n) => sum + n, 0));
  operands.forEach((o, k) => o && encodeCopy(out, read(o), memory.update, [{ size: sizes[k], x: 1, y: 1 }], 0, at[k]));
  return { buffer: memory.read, at };
}

/** The output, or where nobody reads it but the kernel needs it, memory for it. */
function needed(out: DispatchWriter, output: Operand | null, isNeeded: boolean, elements: number): Bound | null {
  return output === null && isNeeded ? out.temporary(4 * elements).update : write(output);
}

export const lstm: GpuEncoder = (call, out) => {
  const a = attrsOf(call);
  if (a.b * a.t * a.u === 0) return;
  const [xw, wr, h0, c0, mask] = call.inputs;
  const [h, c, gates] = call.outputs;
  const constants = { ...layout(out.features, a.u, a.u, 2 * a.u, 4), HAS_H0: h0 !== null, HAS_C0: c0 !== null, HAS_MASK: mask !== null, HAS_GATES: gates !== null };
  const buffers = [write(required(call, h, "h")), write(required(call, c, "c")), write(gates), ...[xw, wr, h0, c0, mask].map(read)];
  dispatch(out, "lstm", "lstm", a, constants, buffers);
};

export const lstmGrad: GpuEncoder = (call, out) => {
  const a = attrsOf(call);
  if (a.b * a.t * a.u === 0) return;
  // h0 acts on the gates alone, which are saved.
  const [dh, dcLast, wr, c, gates, , c0, mask] = call.inputs;
  const [dgates, dh0, dc0] = call.outputs;
  const columns = 4 * a.u;
  const shared = layout(out.features, a.u, columns, columns, 1);
  const extra = together(out, [dcLast, c0, mask]);
  const constants = {
    ...shared, HAS_DH: dh !== null, HAS_DC_LAST: dcLast !== null, HAS_C0: c0 !== null, HAS_MASK: mask !== null,
    HAS_DH0: dh0 !== null, HAS_DC0: dc0 !== null, DC_LAST_AT: extra.at[0], C0_AT: extra.at[1], MASK_AT: extra.at[2],
  };
  const carried = [dh0, dc0].map((o) => needed(out, o, !shared.SMALL, a.b * a.u));
  const weights = transposed(out, required(call, wr, "wr"), a.u, columns);
  dispatch(out, "lstm", "lstmGrad", a, constants, [write(dgates), ...carried, read(dh), weights, read(c), read(gates), extra.buffer]);
};

export const gru: GpuEncoder = (call, out) => {
  const a = attrsOf(call);
  if (a.b * a.t * a.u === 0) return;
  const [xw, wr, bias2, h0, mask] = call.inputs;
  const [h, gates] = call.outputs;
  const shared = layout(out.features, a.u, a.u, 3 * a.u, 3);
  const saved = needed(out, gates, !shared.SMALL && !a.resetAfter, 4 * a.b * a.t * a.u);
  const constants = { ...shared, RESET_AFTER: a.resetAfter, HAS_BIAS: bias2 !== null, HAS_H0: h0 !== null, HAS_MASK: mask !== null, HAS_GATES: saved !== null };
  dispatch(out, "gru", "gru", a, constants, [write(required(call, h, "h")), saved, ...[xw, wr, bias2, h0, mask].map(read)]);
};

export const gruGrad: GpuEncoder = (call, out) => {
  const a = attrsOf(call);
  if (a.b * a.t * a.u === 0) return;
  const [dh, wr, h, gates, h0, mask] = call.inputs;
  const [dxw, dhw, dh0] = call.outputs;
  const columns = 3 * a.u;
  const shared = layout(out.features, a.u, columns, columns, 1);
  const extra = together(out, [h0, mask]);
  const entering = needed(out, dhw, !shared.SMALL && a.resetAfter, columns * a.b * a.t);
  const carried = needed(out, dh0, !shared.SMALL, a.b * a.u);
  const constants = {
    ...shared, RESET_AFTER: a.resetAfter, HAS_DH: dh !== null, HAS_DHW: entering !== null, HAS_DH0: dh0 !== null,
    HAS_H0: h0 !== null, HAS_MASK: mask !== null, H0_AT: extra.at[0], MASK_AT: extra.at[1],
  };
  const weights = transposed(out, required(call, wr, "wr"), a.u, columns);
  dispatch(out, "gru", "gruGrad", a, constants, [write(dxw), entering, carried, weights, read(dh), read(h), read(gates), extra.buffer]);
};

export const simpleRnn: GpuEncoder = (call, out) => {
  const a = attrsOf(call);
  if (a.b * a.t * a.u === 0) return;
  const [xw, wr, h0, mask] = call.inputs;
  const constants = { ...layout(out.features, a.u, a.u, 2 * a.u, 1), HAS_H0: h0 !== null, HAS_MASK: mask !== null };
  dispatch(out, "simple-rnn", "simpleRnn", a, constants, [write(required(call, call.outputs[0], "h")), ...[xw, wr, h0, mask].map(read)]);
};

export const simpleRnnGrad: GpuEncoder = (call, out) => {
  const a = attrsOf(call);
  if (a.b * a.t * a.u === 0) return;
  // h0 acts on h alone.
  const [dh, wr, h, , mask] = call.inputs;
  const [dxw, dh0] = call.outputs;
  const shared = layout(out.features, a.u, a.u, 2 * a.u, 1);
  const carried = needed(out, dh0, !shared.SMALL, a.b * a.u);
  const constants = { ...shared, HAS_DH: dh !== null, HAS_DH0: dh0 !== null, HAS_MASK: mask !== null };
  const weights = transposed(out, required(call, wr, "wr"), a.u, a.u);
  dispatch(out, "simple-rnn", "simpleRnnGrad", a, constants, [write(dxw), carried, weights, read(dh), read(mask), read(h)]);
};

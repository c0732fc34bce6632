/**
 * @file GPU encoders of attention and its gradient (attention.wgsl and attention-grad.wgsl in kernels/attention/): how large tiles are,
 * and into how many parts keys are cut.
 */
import type { AttentionAttrs } from "../../plan/kernels.ts";
import type { Call, Operand } from "../../plan/plan.ts";
import type { Bound, Constants, DispatchWriter, GpuEncoder, GpuFeatures, Hooks, Shader } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { BUSY, few, fewFit, keysOf, sizesOf } from "./attention-few.ts";
import { fillWith } from "./move.ts";

/** Invocations of a workgroup, of which 8 share a row. */
const THREADS = 128;
const LANES = 8;
/** Most vectors of results that an invocation holds in registers, and of those of one row. */
const MOST_VECTORS = 16;
const MOST_WIDTH = 8;
/** Rows of an invocation, and twice as many where workgroup memory has room for their tile. */
const ROWS = 4;
const HIGH_BYTES = 32768;
/** Vectors of columns that are staged at once for the second product. */
const STAGED = 256;
/** Columns of a tile. */
const COLUMNS = 32;
/** Parts into which keys are cut where workgroups do not keep a GPU busy: of at least so many, and how many at most. */
const LEAST_CHUNK = 128;
const MOST_SPLITS = 64;

const attrsOf = (call: Call): AttentionAttrs => call.attrs as unknown as AttentionAttrs;
/** Vectors that an invocation has of each row of results, and how many workgroups share what it has not. */
function widthOf(features: number): { width: number; parts: number } {
  const all = Math.ceil(features / 4 / LANES);
  return { width: Math.min(all, MOST_WIDTH), parts: Math.ceil(all / MOST_WIDTH) };
}

/** Rows that each invocation has: as many as there is work and room for. `width`: vectors of a row's results. */
function rowsOf(width: number, rows: number, { software, maxWorkgroupBytes }: GpuFeatures): number {
  let each = !software && maxWorkgroupBytes >= HIGH_BYTES && width * 2 * ROWS <= MOST_VECTORS ? 2 * ROWS : ROWS;
  while (each > 1 && (each * width > MOST_VECTORS || (THREADS / LANES) * (each / 2) >= rows)) each /= 2;
  return each;
}

/** Columns staged at once of `width` vectors for each invocation: a power of two from 4 to all. */
function sliceOf(width: number): number {
  let slice = COLUMNS;
  while (slice > 4 && slice * LANES * width > STAGED) slice /= 2;
  return slice;
}

/** Constants of all entry points, with where the kernel reads vectors and where single features. */
export function common(
  a: AttentionAttrs,
  [mask, offset, lengths, key]: readonly (Operand | null)[],
): { constants: Constants; hooks: Hooks; rows: number } {
  const group = a.heads / a.kvHeads;
  const [narrow, wide] = [a.dim, a.valueDim].map((features) => widthOf(features).width);
  const loaded = (features: number): string => (features % 4 === 0 ? "whole" : "lanes");
  const [maskB, maskH, maskQ, maskK] = a.maskStrides;
  const constants = {
    ...sizesOf(a),
    HAS_OFFSET: offset !== null,
    HAS_LENGTHS: lengths !== null,
    HAS_MASK: mask !== null,
    BOOL_MASK: mask?.dtype === "bool",
    MASK_B: maskB,
    MASK_H: maskH,
    MASK_Q: maskQ,
    MASK_K: maskK,
    DROPS: key !== null,
    STREAM: a.stream,
    KEPT: Math.round((1 - a.rate) * 2 ** 24),
    FACTOR: a.rate < 1 ? 1 / (1 - a.rate) : 0,
    NARROW: narrow,
    WIDE: wide,
    SLICE: sliceOf(Math.max(narrow, wide)),
  };
  const hooks = {
    first_row: `first_row_${loaded(a.dim)}`,
    second_row: `second_row_${loaded(a.valueDim)}`,
    first_column: `first_column_${loaded(a.dim)}`,
    second_column: `second_column_${loaded(a.valueDim)}`,
  };
  return { constants, hooks, rows: a.tq * group };
}

/** Writes the dispatch that gathers what is known of sequences and, in the backward pass, of queries. Null: nothing is. */
export function prepare(
  out: DispatchWriter,
  a: AttentionAttrs,
  constants: Constants,
  [offset, lengths, key]: readonly (Operand | null)[],
  [lse, delta]: readonly (Operand | null)[] = [null, null],
): Bound | null {
  if ([offset, lengths, key, lse].every((o) => o === null)) return null;
  const known = lse === null ? 0 : a.b * a.heads * a.tq;
  const facts = out.temporary(4 * (4 + 2 * a.b + 2 * known));
  const buffers = [...[offset, lengths, key, lse, delta].map(read), facts.write];
  const shader = { file: "attention", entry: "prepare", constants: { ...constants, HAS_LSE: lse !== null } };
  out.dispatch(shader, buffers, Math.ceil(Math.max(a.b, known) / THREADS));
  return facts.read;
}

/**
 * Writes the forward pass: `shader` with the operands, y and lse, or where `groups` do not keep a GPU busy with parts of the keys,
 * multiples of `columns`, whose sums are combined then. `constants` are those of all entry points.
 */
export function encodeForward(
  out: DispatchWriter,
  a: AttentionAttrs,
  constants: Constants,
  shader: Shader,
  operands: readonly (Bound | null)[],
  columns: number,
  groups: number,
  y: Operand,
  lse: Operand | null,
): void {
  const wanted = Math.min(MOST_SPLITS, Math.ceil(a.tk / LEAST_CHUNK), Math.ceil(BUSY / groups));
  const chunk = Math.ceil(a.tk / wanted / columns) * columns;
  const splits = Math.ceil(a.tk / chunk);
  const all = { ...constants, SPLITS: splits, CHUNK: chunk, HAS_LSE: lse !== null };
  const own = { ...shader, constants: { ...all, ...shader.constants } };
  if (splits === 1) {
    out.dispatch(own, [...operands, write(y), write(lse)], groups);
    return;
  }
  const queries = a.b * a.tq * a.heads;
  const sums = out.temporary(4 * splits * queries * (a.valueDim + 2));
  out.dispatch(own, [...operands, sums.write, null], groups * splits);
  const buffers = [sums.read, null, null, null, null, null, write(y), write(lse)];
  out.dispatch({ file: "attention", entry: "combine", constants: all }, buffers, Math.ceil((queries * a.valueDim) / THREADS));
}

/** `attention(q, k, v, mask?, offset?, lengths?, key?) -> y, lse?` */
export const attention: GpuEncoder = (call, out) => {
  const a = attrsOf(call);
  const [q, , , mask = null, offset = null, lengths = null, key = null] = call.inputs;
  const [y, lse = null] = call.outputs;
  if (a.b * a.tq * a.heads === 0) return;
  if (a.tk === 0) {
    fillWith(y as Operand, 0, out);
    if (lse !== null) fillWith(lse, Infinity, out);
    return;
  }
  if (mask === null && key === null && lse === null && fewFit(a)) return few(call, out);
  const { subgroupSize } = out.features;
  const { constants: own, hooks: reads, rows } = common(a, [mask, offset, lengths, key]);
  const constants = { ...own, SUBGROUP_SIZE: subgroupSize };
  const hooks = { ...reads, join_rows: subgroupSize > 0 ? "join_shuffled" : "join_staged" };
  const facts = prepare(out, a, constants, [offset, lengths, key]);
  const { width, parts } = widthOf(a.valueDim);
  const each = rowsOf(width, rows, out.features);
  const groups = a.b * a.kvHeads * Math.ceil(rows / ((THREADS / LANES) * each)) * parts;
  const shader = { file: "attention", entry: "forward", constants: { ROWS: each, PARTS: parts }, hooks };
  encodeForward(out, a, constants, shader, [read(q), null, ...keysOf(call), read(mask), facts], COLUMNS, groups, y as Operand, lse);
};

/** `attentionGrad(dy, q, k, v, delta, lse, mask?, offset?, lengths?, key?) -> dq, dk, dv, dscore?` */
export const attentionGrad: GpuEncoder = (call, out) => {
  const a = attrsOf(call);
  const [dy, q, k, v, delta, lse, mask = null, offset = null, lengths = null, key = null] = call.inputs;
  const [dq, dk, dv, dscore = null] = call.outputs as readonly (Operand | null)[];
  if (a.b * a.tq * a.tk * a.heads === 0) {
    for (const gradient of [dq, dk, dv]) fillWith(gradient as Operand, 0, out);
    return;
  }
  const { constants, hooks, rows } = common(a, [mask, offset, lengths, key]);
  const facts = prepare(out, a, constants, [offset, lengths, key], [lse, delta]);
  const [narrow, wide] = [widthOf(a.dim), widthOf(a.valueDim)];
  const pass = (entry: string, width: number, parts: number, count: number, own: Constants, buffers: readonly (Bound | null)[]): void => {
    const each = rowsOf(width, count, out.features);
    const groups = a.b * a.kvHeads * Math.ceil(count / ((THREADS / LANES) * each)) * parts;
    out.dispatch({ file: "attention-grad", entry, constants: { ...constants, ...own, ROWS: each, PARTS: parts }, hooks }, buffers, groups);
  };
  if (dscore !== null) fillWith(dscore, 0, out);
  const [queries, others] = [
    [read(q), read(dy)],
    [read(k), read(v)],
  ];
  const byQueries = [...queries, ...others, read(mask), facts, write(dq), write(dscore)];
  pass("queries", narrow.width, narrow.parts, rows, { HAS_DSCORE: dscore !== null }, byQueries);
  const byKeys = [...others, ...queries, read(mask), facts, write(dk), write(dv)];
  pass("keys", narrow.width + wide.width, Math.max(narrow.parts, wide.parts), a.tk, { BY_KEYS: true }, byKeys);
};

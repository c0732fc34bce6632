/**
 * @file GPU encoder of attention with few queries (kernels/attention/few.wgsl): while text is written, one for each head. Keys are cut into
 * parts, so many that a GPU is busy with those of a full cache; those behind the position end at once.
 */
import type { AttentionAttrs } from "../../plan/kernels.ts";
import type { Call } from "../../plan/plan.ts";
import type { Bound, Constants, DispatchWriter } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";

/** Most queries that share a key, and features of all of them, so that they fit into workgroup memory beside their scores. */
const MOST_ROWS = 8;
const MOST_FEATURES = 256;
const MOST_TOGETHER = 1024;
/** Most scores of a workgroup. */
const MOST_SCORES = 1024;
/** Keys of a part: a multiple of the least. */
const LEAST_CHUNK = 64;
const MOST_CHUNK = 256;
/** Workgroups that keep a GPU busy. */
export const BUSY = 256;
/** With a full cache, two to four for each multiprocessor of a large one, so that some read while others make weights of scores. */
const CACHE_BUSY = 512;
/** Invocations of a workgroup. */
const [THREADS, SOFTWARE_THREADS] = [256, 64];
/** How many share a key, where subgroups join what they have. */
const LANES = 8;

const rowsOf = ({ tq, heads, kvHeads }: AttentionAttrs): number => (tq * heads) / kvHeads;

/** Constants of all kernels of attention (kernels/attention/seen.wgsl). */
export const sizesOf = (a: AttentionAttrs): Constants => ({
  B: a.b,
  TQ: a.tq,
  TK: a.tk,
  KV_HEADS: a.kvHeads,
  GROUP: a.heads / a.kvHeads,
  DIM: a.dim,
  VALUE_DIM: a.valueDim,
  SCALE: a.scale,
  CAUSAL: a.causal,
  WINDOW: a.window,
  OFFSET: a.offset,
});

/** Whether `few` can compute it. */
export const fewFit = (a: AttentionAttrs): boolean =>
  a.dim % 4 === 0 &&
  a.valueDim % 4 === 0 &&
  Math.max(a.dim, a.valueDim) <= MOST_FEATURES &&
  rowsOf(a) <= MOST_ROWS &&
  rowsOf(a) * a.dim <= MOST_TOGETHER;

/** Keys and values of a call of attention, which kernels read as f32. */
export const keysOf = ({ inputs, attrs }: Call): readonly (Bound | null)[] =>
  inputs.slice(1, 3).map((o) => {
    const bound = read(o);
    return bound && { ...bound, half: attrs.halves === true };
  });

/** Writes the dispatches of `attention(q, k, v, null, offset?, lengths?) -> y`. */
export function few(call: Call, out: DispatchWriter): void {
  const a = call.attrs as unknown as AttentionAttrs;
  const [q, , , , offset = null, lengths = null] = call.inputs.map(read);
  const y = write(call.outputs[0]);
  const { software, subgroupSize } = out.features;
  const threads = software ? SOFTWARE_THREADS : THREADS;
  const groups = a.b * a.kvHeads;
  const most = Math.min(MOST_CHUNK, Math.floor(MOST_SCORES / rowsOf(a) / LEAST_CHUNK) * LEAST_CHUNK);
  const chunk = Math.min(most, Math.ceil((a.tk * groups) / (software ? BUSY : CACHE_BUSY) / LEAST_CHUNK) * LEAST_CHUNK);
  const splits = Math.ceil(a.tk / chunk);
  const constants = {
    ...sizesOf(a),
    SPLITS: splits,
    CHUNK: chunk,
    FEW_THREADS: threads,
    X: Math.max(1, Math.min(LANES, subgroupSize)),
    VALUE_X: 2 ** Math.ceil(Math.log2(a.valueDim / 4)),
    MERGE_THREADS: threads,
  };
  const hooks = {
    position_of: offset === null ? "position_fixed" : "position_given",
    length_of: lengths === null ? "length_fixed" : "length_given",
    join_lanes: subgroupSize > 0 ? "lanes_shuffled" : "lanes_alone",
  };
  const queries = a.b * a.tq * a.heads;
  const parts = splits > 1 ? out.temporary(4 * splits * queries * (a.valueDim + 4)) : null;
  const file = "attention-few";
  out.dispatch({ file, entry: "few", constants, hooks }, [q, ...keysOf(call), offset, lengths, parts ? parts.write : y], groups * splits);
  if (parts) out.dispatch({ file, entry: "merge", constants, hooks }, [parts.read, null, null, offset, lengths, y], queries);
}

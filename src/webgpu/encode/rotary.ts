/** @file GPU encoders of rotary, alone and with what keeps keys and values (kernels/attention/rotary.wgsl). */
import type { LayerNormAttrs, RotaryAttrs, ScatterUpdateAttrs } from "../../plan/kernels.ts";
import type { Call, Operand } from "../../plan/plan.ts";
import type { Constants, GpuEncoder, GpuFeatures, GpuKernels } from "../dispatch.ts";
import { read, update, write } from "../dispatch.ts";
import { among, dies, joinedBy, plain } from "../join.ts";
import type { Joined } from "../join.ts";

/** Invocations of a workgroup, and of one that normalizes a row (ROW_THREADS of kernels/attention/rotary.wgsl). */
const THREADS = 256;
const ROW_THREADS = 64;
/** Most steps whose keys and values are kept by the dispatch that turns: each looks for later ones of its place. */
const MOST_STEPS = 8;
/** Buffers that turning and keeping keys binds; values need two more. */
const LEAST_BUFFERS = 7;
/** The kernel's name in plans of this backend. */
const APPEND = "rotaryAppend";

const rotaryOf = ({ attrs }: Call): RotaryAttrs => attrs as unknown as RotaryAttrs;
const scatterOf = ({ attrs }: Call): ScatterUpdateAttrs => attrs as unknown as ScatterUpdateAttrs;

const constantsOf = ({ outer, time, heads, dim, half, neighbours, back }: RotaryAttrs): Constants => ({
  ROWS: outer * time * heads,
  TIME: time,
  HEADS: heads,
  DIM: dim,
  HALF: half,
  NEIGHBOURS: neighbours,
  BACK: back,
});

/** `rotary(x, cos, sin) -> y`: an invocation makes a pair, or copies a feature that is in none. */
export const rotary: GpuEncoder = (call, out) => {
  const { outer, time, heads, dim, half } = rotaryOf(call);
  const rows = outer * time * heads;
  if (rows * dim === 0) return;
  const buffers = [write(call.outputs[0]), ...call.inputs.map(read)];
  out.dispatch(
    { file: "rotary", constants: constantsOf(rotaryOf(call)), hooks: { x_at: "x_plain" } },
    buffers,
    Math.ceil((rows * (dim - half)) / THREADS),
  );
};

const samePlace = (a: Operand | null, b: Operand | null): boolean =>
  a !== null && b !== null && a.place.offset === b.place.offset && among(a.place, [b]);

/** The root mean square normalization of each head that `turn` turns, by weights; null: `norm` is not that. */
function headNorm(
  norm: Call | undefined,
  turn: Call | undefined,
): { readonly x: Operand; readonly gamma: Operand; epsilon: number } | null {
  if (norm?.kernel !== "layerNorm" || turn?.kernel !== "rotary") return null;
  const { cols, epsilon, centered } = norm.attrs as unknown as LayerNormAttrs;
  const [x, gamma = null, beta = null] = norm.inputs;
  const [y, ...facts] = norm.outputs;
  if (centered || cols !== rotaryOf(turn).dim || gamma === null || [beta, ...facts].some((o) => o != null)) return null;
  return samePlace(y, turn.inputs[0]) && [x, gamma].every((o) => plain(o)) ? { x: x as Operand, gamma, epsilon } : null;
}

/** `appendAt` with normalizations of queries and keys before it. Adapters that are software keep the bits of those that stand alone. */
function normedAt(calls: readonly Call[], at: number, features: GpuFeatures): Joined | null {
  const [ofQueries, ofKeys] = [0, 1].map((i) => headNorm(calls[at + i], calls[at + 2 + i]));
  const maxBuffers = features.maxBuffers - 2;
  if (features.software || maxBuffers < LEAST_BUFFERS || !ofQueries || !ofKeys || ofQueries.epsilon !== ofKeys.epsilon) return null;
  const joined = appendAt(calls, at + 2, { ...features, maxBuffers });
  if (joined === null) return null;
  const { call, count } = joined;
  const [, cos, sin, , index, v] = call.inputs;
  const inputs = [ofQueries.x, cos, sin, ofKeys.x, index, v, ofQueries.gamma, ofKeys.gamma];
  const end = at + 2 + count;
  const given = [0, 1].map((i) => calls[at + i].outputs[0] as Operand);
  const apart = call.outputs.every((o) => o === null || !among(o.place, [...inputs, ...given]));
  if (!apart || !given.every(({ place }) => dies(calls, end, place))) return null;
  return { call: { ...call, inputs, attrs: { ...call.attrs, epsilon: ofQueries.epsilon } }, count: count + 2 };
}

/** Four calls, the first of which is at `at`, that turn queries and keys and keep keys and values, as one; null: they are not that. */
function appendAt(calls: readonly Call[], at: number, { maxBuffers }: GpuFeatures): Joined | null {
  const [turn, turnKeys, keep, keepValues] = calls.slice(at, at + 4) as (Call | undefined)[];
  if (turn?.kernel !== "rotary" || turnKeys?.kernel !== "rotary" || keep?.kernel !== "scatterUpdate") return null;
  const [a, { heads, ...others }] = [rotaryOf(turn), rotaryOf(turnKeys)];
  const { size, count, inner, halves = false } = scatterOf(keep);
  const each = halves ? 2 : 1;
  const [[x, cos, sin], [k, ...angles], [index, kept]] = [turn.inputs, turnKeys.inputs, keep.inputs];
  const [[y], [turned], [keys]] = [turn.outputs, turnKeys.outputs, keep.outputs] as (readonly Operand[])[];
  const alike = Object.entries(others).every(([name, value]) => a[name as keyof RotaryAttrs] === value);
  const steps = a.outer * a.time;
  if (!alike || !samePlace(cos, angles[0]) || !samePlace(sin, angles[1]) || !samePlace(turned, kept)) return null;
  if (count !== steps || steps === 0 || steps > MOST_STEPS || each * inner !== heads * a.dim || size === 0) return null;
  const values = keepValues?.kernel === "scatterUpdate" ? scatterOf(keepValues) : null;
  const [own, v] = keepValues?.inputs ?? [];
  const both =
    maxBuffers >= LEAST_BUFFERS + 2 &&
    values !== null &&
    values.size === size &&
    values.count === count &&
    (values.halves ?? false) === halves &&
    samePlace(index, own) &&
    !among((v as Operand).place, [y, turned]);
  const inputs = [x, cos, sin, k, index, both ? v : null];
  const outputs = [y, keys, both ? (keepValues as Call).outputs[0] : null];
  const written = outputs.filter((o) => o !== null);
  // Others read what is given while some write.
  if (written.some((o, i) => among(o.place, [...inputs, ...written.slice(i + 1)])) || ![...inputs, ...written].every((o) => plain(o, true)))
    return null;
  const end = at + (both ? 4 : 3);
  if (!dies(calls, end, turned.place)) return null;
  const attrs = { ...turn.attrs, keyHeads: heads, size, inner: both ? each * (values as ScatterUpdateAttrs).inner : 0, halves };
  return { call: { ...turn, kernel: APPEND, inputs, outputs, attrs }, count: end - at };
}

/** Calls of a plan with those that turn queries and keys and keep keys and values as one. */
export const joinAppends: NonNullable<GpuKernels["joins"]>[number] = (calls, features) =>
  joinedBy(calls, (at) => normedAt(calls, at, features) ?? appendAt(calls, at, features));

/**
 * `rotaryAppend(x, cos, sin, k, index, v?, gamma of x?, gamma of k?) -> y, keys, values?`: `rotary` of x and k, normalized where there is
 * an epsilon, and `scatterUpdate` of the latter and of v.
 */
export const rotaryAppend: GpuEncoder = (call, out) => {
  const a = rotaryOf(call);
  const { keyHeads, size, inner, epsilon } = call.attrs as { readonly [name: string]: number };
  const normed = epsilon !== undefined;
  const halves = call.attrs.halves === true;
  const [x, cos, sin, k, index, v, ...gammas] = call.inputs.map(read);
  const [y, keys, values] = call.outputs;
  const steps = a.outer * a.time;
  const [keyUnits, valueUnits] = halves ? [a.dim / 4, inner / 4] : [a.dim - a.half, inner];
  const constants = { ...constantsOf(a), KEY_HEADS: keyHeads, KEY_UNITS: keyUnits, SIZE: size, INNER: Math.max(1, valueUnits) };
  const way = normed ? "normal" : "plain";
  const hooks = {
    x_at: `x_${way}`,
    k_at: `k_${way}`,
    join_row: out.features.subgroupSize > 0 ? "subgroup_row" : "tree_row",
    keep_key: halves ? "halved_key" : "key_of",
    keep_value: values === null ? "no_value" : halves ? "halved_value" : "value_of",
  };
  const buffers = [write(y), x, cos, sin, k, index, update(keys as Operand), v, values && update(values), ...gammas];
  if (normed) {
    const groups = steps * (a.heads + keyHeads) + Math.ceil((steps * valueUnits) / ROW_THREADS);
    return out.dispatch(
      { file: "rotary", entry: "normed", constants: { ...constants, EPSILON: Math.fround(epsilon) }, hooks },
      buffers,
      groups,
    );
  }
  const count = steps * (a.heads * (a.dim - a.half) + keyHeads * keyUnits + valueUnits);
  out.dispatch({ file: "rotary", entry: "append", constants, hooks }, buffers, Math.ceil(count / THREADS));
};

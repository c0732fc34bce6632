/** @file Attention, positions of its queries and keys, and the caches of keys and values. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { elementType } from "../types.ts";
import { Value } from "../value.ts";
import { attend, swapped } from "./attend.ts";

const { add, cast, mul, reshape, transpose } = lockstep;

/** [batch, time, heads * features], or [batch, heads, time, features], as [batch, time, heads, features]. */
function headsOf(call: Call, x: Value, heads: number | null): Tensor {
  if (x.rank === 4) return swapped(x.tensor);
  const [batch, time, features] = x.shape;
  if (x.rank !== 3 || heads === null || heads < 1 || features % heads !== 0)
    throw call.mismatch(`[${x.shape.join()}] has no ${heads ?? "number of"} heads`);
  return reshape(x.tensor, [batch, time, heads, features / heads]);
}

/** With the past before it, [batch, heads, time, features]. */
export function withPast(call: Call, place: number, now: Tensor): Tensor {
  const past = call.optional(place);
  return past === null || past.size === 0 ? swapped(now) : lockstep.concat([past.tensor, swapped(now)], 2);
}

/** A mask whose last dimension is shorter hides what is behind. */
function whole(mask: Value, keys: number): Tensor {
  const t = mask.tensor;
  const missing = keys - mask.shape[mask.rank - 1];
  if (missing <= 0) return t;
  const padding = mask.shape.map((_, i): [number, number] => [0, i === mask.rank - 1 ? missing : 0]);
  return lockstep.pad(t, padding, t.dtype === "bool" ? 0 : -Infinity);
}

const MODES = ["products", "capped", "masked", "weights"] as const;

const Attention: Operator = (call) => {
  const [x, key, value] = [0, 1, 2].map((i) => call.input(i));
  const q = headsOf(call, x, call.int("q_num_heads"));
  const [newK, newV] = [key, value].map((v) => headsOf(call, v, call.int("kv_num_heads")));
  const hasPast = call.optional(4) !== null;
  const [presentK, presentV] = [withPast(call, 4, newK), withPast(call, 5, newV)];
  const mode = call.int("qk_matmul_output_mode", 0);
  if (MODES[mode] === undefined) throw call.fault(`qk_matmul_output_mode must be 0 to 3, got ${mode}`);
  const lengths = call.optional(6) === null ? null : cast(call.tensor(6), "i32");
  const mask = call.optional(3);
  const tq = q.shape[1];
  const tk = presentK.shape[2];
  const size = (name: string): number | null => {
    const n = call.int(name, -1);
    return n < 0 ? null : n;
  };
  const { y, scores } = attend({
    q,
    k: hasPast ? swapped(presentK) : newK,
    v: hasPast ? swapped(presentV) : newV,
    mask: mask && whole(mask, tk),
    causal: call.flag("is_causal"),
    offset: hasPast ? tk - newK.shape[1] : lengths === null ? 0 : lockstep.sub(reshape(lengths, [q.shape[0]]), tq),
    lengths: lengths && reshape(lengths, [q.shape[0]]),
    scale: call.float("scale", 1 / Math.sqrt(q.shape[3])),
    left: size("left_window_size"),
    right: size("right_window_size"),
    softcap: call.float("softcap", 0),
    sink: null,
    scores: call.wants(3) ? MODES[mode] : "none",
  });
  const out = x.rank === 4 ? swapped(y) : reshape(y, [y.shape[0], tq, y.shape[2] * y.shape[3]]);
  const results = [Value.of(x.type, out), Value.of(key.type, presentK), Value.of(value.type, presentV)];
  return scores === null ? results : [...results, Value.of(x.type, scores)];
};

/** Attention whose scores and weights, [batch, heads, queries, keys], graphs of the node change on their way. */
const FlexAttention: Operator = (call) => {
  const [q, k, v] = [0, 1, 2].map((i) => call.input(i));
  const [batch, heads, tq, size] = q.shape;
  const [, kvHeads, tk] = k.shape;
  const fits = [q, k, v].every((x) => x.rank === 4 && x.shape[0] === batch) && k.shape[3] === size && v.shape[1] === kvHeads;
  if (!fits || v.shape[2] !== tk || !(kvHeads > 0) || heads % kvHeads !== 0)
    throw call.mismatch(`expected [batch, heads, time, features], got ${[q, k, v].map((x) => `[${x.shape.join()}]`).join(", ")}`);
  const scale = call.float("scale", 1 / Math.sqrt(size));
  const code = call.int("softmax_precision");
  const type = code === null ? (q.type === "float64" ? "float64" : "float32") : elementType(call.who, code);
  /** The same shape after a graph of one input and one output; as it is where there is none. */
  const changed = (name: string, t: Tensor): Tensor => {
    if (!call.has(name)) return t;
    const y = call.run(name, [Value.of(type, t)])[0];
    if (y.shape.join() !== t.shape.join()) throw call.mismatch(`${name} makes [${y.shape.join()}] of [${t.shape.join()}]`);
    return y.tensor;
  };
  // Heads that share keys are rows of one product.
  const queries = reshape(q.tensor, [batch, kvHeads, (heads / kvHeads) * tq, size]);
  const products = reshape(mul(lockstep.matmul(queries, k.tensor, { transposeB: true }), scale), [batch, heads, tq, tk]);
  const weights = changed("prob_mod", lockstep.ops.softmax(changed("score_mod", products)));
  const y = lockstep.matmul(reshape(weights, [batch, kvHeads, (heads / kvHeads) * tq, tk]), v.tensor);
  return Value.of(v.type, reshape(y, [batch, heads, tq, v.shape[3]]));
};

/** x[batch, time, heads, features] turned by angles cos and sin [batch or 1, time, half]. */
export function turned(call: Call, x: Tensor, cos: Tensor, sin: Tensor, neighbours: boolean, dim: number): Tensor {
  const [batch, time, heads, features] = x.shape;
  const half = cos.shape[2];
  if (cos.shape[1] !== time || half * 2 !== (dim === 0 ? features : dim))
    throw call.mismatch(`cosines [${cos.shape.join()}] for ${time} steps and ${dim === 0 ? features : dim} features`);
  const flat = (t: Tensor): Tensor => reshape(lockstep.broadcastTo(t, [batch, time, half]), [batch * time, half]);
  if (x.size === 0) return x;
  const y = lockstep.ops.rotary(reshape(x, [1, batch * time, heads, features]), flat(cos), flat(sin), { neighbours });
  return reshape(y, x.shape);
}

/** Rows of [positions, half] at i32 [batch, time]. */
const at = (cache: Tensor, positions: Tensor): Tensor => lockstep.gather(cache, positions, 0);

/** As it came: 3 or 4 dimensions. */
const like = (x: Value, t: Tensor): Value => Value.of(x.type, x.rank === 4 ? swapped(t) : reshape(t, x.shape));

const RotaryEmbedding: Operator = (call) => {
  const x = call.input(0);
  const t = headsOf(call, x, call.int("num_heads"));
  const ids = call.optional(3);
  const caches = [1, 2].map((i) => (ids === null ? call.tensor(i) : at(call.tensor(i), cast(ids.tensor, "i32"))));
  return like(x, turned(call, t, caches[0], caches[1], call.flag("interleaved"), call.int("rotary_embedding_dim", 0)));
};

/** Its older sister, with positions before the caches: one for each step, or that of the first. */
export const RotaryEmbeddingMicrosoft: Operator = (call) => {
  const x = call.input(0);
  if (call.flag("is_packed_batching")) throw call.fault("is_packed_batching is not supported");
  const dim = call.int("rotary_embedding_dim", 0);
  const half = call.input(2).shape[1];
  const given = call.int("num_heads", 0);
  if (dim > 0 && given === 0 && x.rank === 3) throw call.fault("rotary_embedding_dim needs num_heads");
  const t = headsOf(call, x, given > 0 ? given : (x.shape[2] ?? 0) / (2 * half));
  const ids = cast(call.tensor(1), "i32");
  const positions = ids.size === 1 ? add(lockstep.iota([1, t.shape[1]]), reshape(ids, [1, 1])) : ids;
  const [cos, sin] = [2, 3].map((i) => at(call.tensor(i), positions));
  return like(x, turned(call, t, cos, sin, call.flag("interleaved"), dim));
};

/** New entries of a cache, at positions that may differ from sequence to sequence. */
const TensorScatter: Operator = (call) => {
  const [x, update] = [call.input(0), call.input(1)];
  const axis = call.axis(call.int("axis", -2), x.rank);
  const isCircular = call.word("mode", ["linear", "circular"]) === "circular";
  if (axis === 0 || update.rank !== x.rank || update.shape.some((d, i) => (i === axis ? d > x.shape[i] : d !== x.shape[i])))
    throw call.mismatch(`[${update.shape.join()}] has no place in [${x.shape.join()}] along axis ${axis}`);
  const [capacity, count] = [x.shape[axis], update.shape[axis]];
  const [batch, between, inner] = [x.shape[0], sizeOf(x.shape.slice(1, axis)), sizeOf(x.shape.slice(axis + 1))];
  const given = call.optional(2);
  const begin = given === null ? lockstep.zeros([batch, 1, 1], "i32") : cast(reshape(given.tensor, [batch, 1, 1]), "i32");
  const place = add(begin, lockstep.iota([1, 1, count]));
  const row = isCircular ? lockstep.mod(place, capacity) : place;
  const isInside = lockstep.and(lockstep.greaterEqual(row, 0), lockstep.less(row, capacity));
  const sequence = lockstep.mul(reshape(lockstep.iota([batch * between]), [batch, between, 1]), capacity);
  const index = lockstep.where(isInside, add(sequence, row), -1);
  const y = lockstep.ops.scatterUpdate(
    reshape(x.tensor, [batch * between * capacity, inner]),
    reshape(index, [batch * between * count]),
    reshape(update.tensor, [batch * between * count, inner]),
  );
  return Value.of(x.type, reshape(y, x.shape));
};

/** [batch, time, heads * features] as steps, [time, batch * heads, features]. */
const steps = (t: Tensor, heads: number): Tensor => {
  const [batch, time, features] = t.shape;
  return reshape(transpose(reshape(t, [batch, time, heads, features / heads]), [1, 0, 2, 3]), [time, batch * heads, features / heads]);
};

/**
 * Attention without softmax: a matrix for each head is what the past has left (Katharopoulos et al. 2020, arXiv 2006.16236), which decays
 * (gated) and of which what a key had is taken back first (delta: Yang et al. 2024, arXiv 2412.06464).
 */
const LinearAttention: Operator = (call) => {
  const [query, key, value] = [0, 1, 2].map((i) => call.input(i));
  const [qHeads, heads] = [call.int("q_num_heads", 0), call.int("kv_num_heads", 0)];
  const rule = call.word("update_rule", ["gated_delta", "linear", "gated", "delta"]);
  const [batch, time] = query.shape;
  const fits = [query, key, value].every((v, i) => v.rank === 3 && v.shape[2] % (i === 0 ? qHeads : heads) === 0);
  if (!fits || heads < 1 || qHeads % heads !== 0) throw call.mismatch(`[${query.shape.join()}] in ${qHeads} heads, keys in ${heads}`);
  const [decay, beta] = [call.optional(4), call.optional(5)];
  const [isGated, isDelta] = [rule.startsWith("gated"), rule.endsWith("delta")];
  if ((decay !== null) !== isGated || (beta !== null) !== isDelta)
    throw call.fault(`update_rule ${rule} ${isGated ? "needs" : "takes no"} decay and ${isDelta ? "needs" : "takes no"} beta`);
  const [dk, dv, group] = [query.shape[2] / qHeads, value.shape[2] / heads, qHeads / heads];
  const scale = call.float("scale", 0) || 1 / Math.sqrt(dk);
  const past = call.optional(3);
  const rows = batch * heads;
  const perHead = (t: Tensor): Tensor => (t.shape[2] === heads ? t : lockstep.broadcastTo(t, [batch, time, heads]));
  const xs = {
    q: reshape(steps(query.tensor, qHeads), [time, rows, group, dk]),
    k: steps(key.tensor, heads),
    v: steps(value.tensor, heads),
    ...(decay === null ? {} : { decay: lockstep.exp(steps(decay.tensor, heads)) }),
    ...(beta === null ? {} : { beta: steps(perHead(beta.tensor), heads) }),
  };
  const [last, y] = lockstep.scan(
    (before: Tensor, x: { q: Tensor; k: Tensor; v: Tensor; decay?: Tensor; beta?: Tensor }) => {
      let state = before;
      if (x.decay !== undefined) state = mul(state, lockstep.expandDims(x.decay, 2));
      let v = lockstep.expandDims(x.v, 1);
      if (x.beta !== undefined)
        v = mul(lockstep.expandDims(x.beta, 1), lockstep.sub(v, lockstep.matmul(lockstep.expandDims(x.k, 1), state)));
      const next = add(state, mul(lockstep.expandDims(x.k, 2), v));
      return [next, mul(lockstep.matmul(x.q, next), scale)];
    },
    past === null ? lockstep.zeros([rows, dk, dv]) : reshape(past.tensor, [rows, dk, dv]),
    xs,
  );
  const out = reshape(transpose(reshape(y, [time, batch, qHeads, dv]), [1, 0, 2, 3]), [batch, time, qHeads * dv]);
  return [Value.of(query.type, out), Value.of(past?.type ?? query.type, reshape(last, [batch, heads, dk, dv]))];
};

export const ATTENTION: Operators = { Attention, RotaryEmbedding, TensorScatter, LinearAttention };
/** Of the domain ai.onnx.preview. */
export const ATTENTION_PREVIEW: Operators = { FlexAttention };

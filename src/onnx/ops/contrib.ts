/** @file Attention as ONNX Runtime's files have it (domain com.microsoft). */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { Value } from "../value.ts";
import { PLAIN, attend, swapped } from "./attend.ts";
import { ATTENTION, RotaryEmbeddingMicrosoft, turned, withPast } from "./attention.ts";

const { add, cast, reshape, slice, where } = lockstep;

/** Features [begin, begin + size) of [batch, time, features]. */
const features = (t: Tensor, begin: number, size: number): Tensor => slice(t, [0, 0, begin], [t.shape[0], t.shape[1], size]);

/** [batch, time, heads * size] as heads. */
function heads(call: Call, t: Tensor, count: number): Tensor {
  const [batch, time, size] = t.shape;
  if (t.rank !== 3 || size % count !== 0) throw call.mismatch(`[${t.shape.join()}] has no ${count} heads`);
  return reshape(t, [batch, time, count, size / count]);
}

/** Heads side by side: [batch, time, heads * size]. */
const joined = (t: Tensor): Tensor => reshape(t, [t.shape[0], t.shape[1], t.shape[2] * t.shape[3]]);

const count = (call: Call, name: string): number => {
  const n = call.int(name, 0);
  if (n < 1) throw call.fault(`${name} is missing`);
  return n;
};

/** 0 or a fraction that says it: the usual one. */
const scaleOf = (call: Call, size: number): number => call.float("scale", 0) || 1 / Math.sqrt(size);

/** An attribute that is refused where it is set. */
function refuse(call: Call, ...names: readonly string[]): void {
  const set = names.find((name) => call.flag(name));
  if (set !== undefined) throw call.fault(`${set} is not supported`);
}

/** Inputs that are refused where they are given. */
function refuseInputs(call: Call, places: { readonly [place: number]: string }): void {
  const given = Object.keys(places).find((place) => call.optional(Number(place)) !== null);
  if (given !== undefined) throw call.fault(`the input ${places[Number(given)]} is not supported`);
}

/** [batch, heads, time, size]: the past, and behind it what is new of each sequence, of `begin` [batch] steps before it. */
function cached(past: Tensor | null, now: Tensor, begin: Tensor, size: number): Tensor {
  const fresh = swapped(now);
  if (past === null || past.shape[2] === 0) return fresh;
  const [batch, time] = now.shape;
  const before = past.shape[2];
  if (batch === 1 && size === before + time) return lockstep.concat([past, fresh], 2);
  // Row i of sequence b is the past's, or the new row i - begin[b]; all are rows of one matrix.
  const [, , kvHeads, dim] = now.shape;
  const rows = lockstep.concat([swapped(past), now], 1);
  const at = lockstep.iota([1, size]);
  const own = reshape(begin, [batch, 1]);
  const isNew = lockstep.and(lockstep.greaterEqual(at, own), lockstep.less(at, add(own, time)));
  const place = where(isNew, add(lockstep.sub(at, own), before), lockstep.minimum(at, before - 1));
  const index = add(place, lockstep.mul(reshape(lockstep.iota([batch]), [batch, 1]), before + time));
  const flat = reshape(rows, [batch * (before + time), kvHeads * dim]);
  // Behind the end of a sequence there is nothing.
  const taken = reshape(lockstep.gather(flat, index), [batch, size, kvHeads, dim]);
  return swapped(where(reshape(lockstep.less(at, add(own, time)), [batch, size, 1, 1]), taken, 0));
}

const GroupQueryAttention: Operator = (call) => {
  const [kvHeads, qHeads] = [count(call, "kv_num_heads"), count(call, "num_heads")];
  const query = call.input(0);
  refuseInputs(call, { 12: "k_scale", 13: "v_scale" });
  for (const name of ["k_quant_type", "v_quant_type"])
    if (call.string(name, "NONE").toUpperCase() !== "NONE") throw call.fault(`${name} is not supported`);
  const isPacked = call.optional(1) === null;
  const [batch, time, all] = query.shape;
  const size = isPacked ? all / (qHeads + 2 * kvHeads) : all / qHeads;
  const part = (place: number, begin: number, n: number): Tensor =>
    heads(call, isPacked ? features(query.tensor, begin * size, n * size) : call.tensor(place), n);
  let [q, k] = [part(0, 0, qHeads), part(1, qHeads, kvHeads)];
  const v = part(2, qHeads + kvHeads, kvHeads);
  const lengths = add(cast(reshape(call.tensor(5), [batch]), "i32"), 1);
  const total = call.number(6) ?? 0;
  const isPrompt = total === time;
  const begin = isPrompt ? lockstep.zeros([batch], "i32") : lockstep.sub(lengths, time);
  if (call.flag("do_rotary")) {
    const given = call.optional(9);
    const ids =
      given === null ? add(reshape(begin, [batch, 1]), lockstep.iota([1, time])) : cast(reshape(given.tensor, [batch, time]), "i32");
    const [cos, sin] = [7, 8].map((i) => lockstep.gather(call.tensor(i), ids));
    const dim = 2 * cos.shape[2];
    [q, k] = [q, k].map((t) => turned(call, t, cos, sin, call.flag("rotary_interleaved"), dim));
  }
  const pastK = call.optional(3)?.tensor ?? null;
  const pastV = call.optional(4)?.tensor ?? null;
  const present = Math.max(total, pastK?.shape[2] ?? 0, time);
  // A first text begins where nothing was.
  const [presentK, presentV] = [
    cached(isPrompt && present === time ? null : pastK, k, begin, present),
    cached(isPrompt && present === time ? null : pastV, v, begin, present),
  ];
  const window = call.int("local_window_size", -1);
  const sink = call.optional(11);
  const { y } = attend({
    ...PLAIN,
    q,
    k: swapped(presentK),
    v: swapped(presentV),
    mask: call.optional(10)?.tensor ?? null,
    causal: true,
    offset: begin,
    lengths,
    scale: scaleOf(call, size),
    // The window has the query's own position in it.
    left: window > 0 ? window - 1 : null,
    softcap: call.float("softcap", 0),
    sink: sink !== null ? sink.tensor : call.flag("smooth_softmax") ? lockstep.zeros([qHeads]) : null,
  });
  return [Value.of(query.type, joined(y)), Value.of(query.type, presentK), Value.of(query.type, presentV)];
};

/** Which keys count: a number of them for each sequence, or a mask that is added to the scores. */
function padding(call: Call, mask: Value | null, batch: number): { readonly lengths: Tensor | null; readonly bias: Tensor | null } {
  if (mask === null) return { lengths: null, bias: null };
  const { shape, rank, tensor } = mask;
  if (rank === 1 && shape[0] === batch) return { lengths: cast(tensor, "i32"), bias: null };
  if ((rank !== 2 && rank !== 3) || shape[0] !== batch) throw call.fault(`a mask [${shape.join()}] is not supported`);
  const seen = rank === 2 ? reshape(tensor, [batch, 1, 1, shape[1]]) : reshape(tensor, [batch, 1, ...shape.slice(1)]);
  const hidden = call.float("mask_filter_value", -10000);
  return { lengths: null, bias: where(seen.dtype === "bool" ? seen : lockstep.notEqual(seen, 0), 0, hidden) };
}

const sum = (a: Tensor | null, b: Tensor | null): Tensor | null => (a === null ? b : b === null ? a : add(a, b));

/** Queries, keys and values of [batch, time, heads, n, size]. */
const unpacked = (t: Tensor): Tensor[] => {
  const [batch, time, n, parts, size] = t.shape;
  return Array.from({ length: parts }, (_, i) => reshape(slice(t, [0, 0, 0, i, 0], [batch, time, n, 1, size]), [batch, time, n, size]));
};

const MultiHeadAttention: Operator = (call) => {
  const n = count(call, "num_heads");
  const [query, key, value] = [call.input(0), call.optional(1), call.optional(2)];
  refuseInputs(call, { 8: "past_sequence_length", 9: "cache_indirection" });
  const bias = call.optional(3)?.tensor ?? null;
  const at = (t: Tensor, begin: number): Tensor => {
    const size = t.shape[2] * t.shape[3];
    return bias === null ? t : add(t, reshape(slice(bias, [begin], [size]), t.shape.slice(2)));
  };
  let [q, k, v]: Tensor[] = [];
  // Keys of an encoder, [batch, heads, time, size], have their bias already.
  let isCached = false;
  if (query.rank === 5) [q, k, v] = unpacked(query.tensor);
  else {
    q = heads(call, query.tensor, n);
    if (key === null) throw call.fault("the input key is missing");
    if (key.rank === 5) [k, v] = unpacked(key.tensor);
    else if (value === null) throw call.fault("the input value is missing");
    else {
      isCached = key.rank === 4;
      [k, v] = [key, value].map((t) => (t.rank === 4 ? swapped(t.tensor) : heads(call, t.tensor, n)));
    }
  }
  const hidden = q.shape[2] * q.shape[3];
  q = at(q, 0);
  if (!isCached) [k, v] = [at(k, hidden), at(v, hidden + k.shape[2] * k.shape[3])];
  const [presentK, presentV] = [withPast(call, 6, k), withPast(call, 7, v)];
  const { lengths, bias: hides } = padding(call, call.optional(4), q.shape[0]);
  const { y, scores } = attend({
    ...PLAIN,
    q,
    k: swapped(presentK),
    v: swapped(presentV),
    mask: sum(hides, call.optional(5)?.tensor ?? null),
    causal: call.flag("unidirectional"),
    offset: presentK.shape[2] - k.shape[1],
    lengths,
    scale: scaleOf(call, q.shape[3]),
    scores: call.wants(3) ? "masked" : "none",
  });
  const results = [joined(y), presentK, presentV].map((t) => Value.of(query.type, t));
  return scores === null ? results : [...results, Value.of(query.type, scores)];
};

/** With the product that makes queries, keys and values. */
const Attention: Operator = (call) => {
  const n = count(call, "num_heads");
  refuse(call, "do_rotary", "past_present_share_buffer");
  const x = call.input(0);
  const product = lockstep.matmul(x.tensor, call.tensor(1), { bias: call.optional(2)?.tensor ?? null });
  const third = product.shape[2] / 3;
  const sizes = call.ints("qkv_hidden_sizes") ?? [third, third, third];
  const [q, k, v] = [0, 1, 2].map((i) =>
    heads(
      call,
      features(
        product,
        sizes.slice(0, i).reduce((a, b) => a + b, 0),
        sizes[i],
      ),
      n,
    ),
  );
  const past = call.optional(4);
  const before = (i: number, now: Tensor): Tensor => {
    if (past === null || past.size === 0) return swapped(now);
    const [, ...shape] = past.shape;
    return lockstep.concat([reshape(slice(past.tensor, [i, 0, 0, 0, 0], [1, ...shape]), shape), swapped(now)], 2);
  };
  const [presentK, presentV] = [before(0, k), before(1, v)];
  const { lengths, bias } = padding(call, call.optional(3), q.shape[0]);
  const { y } = attend({
    ...PLAIN,
    q,
    k: swapped(presentK),
    v: swapped(presentV),
    mask: sum(bias, call.optional(5)?.tensor ?? null),
    causal: call.flag("unidirectional"),
    offset: presentK.shape[2] - k.shape[1],
    lengths,
    scale: scaleOf(call, q.shape[3]),
  });
  const results = [Value.of(x.type, joined(y))];
  return call.wants(1) ? [...results, Value.of(x.type, lockstep.stack([presentK, presentV]))] : results;
};

export const ATTENTION_MICROSOFT: Operators = {
  GroupQueryAttention,
  MultiHeadAttention,
  Attention,
  RotaryEmbedding: RotaryEmbeddingMicrosoft,
  LinearAttention: ATTENTION.LinearAttention,
};

/**
 * @file Scaled dot-product attention as all its operators need it: Lockstep's kernel or, for what that does not give, its steps one by one.
 */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";

const { add, mul, reshape, transpose, where } = lockstep;

/** Heads of queries, keys and values, [batch, time, heads, features]. */
export interface Attending {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** bool: true where a key is seen; f32: added to the scores. Broadcasts to [batch, heads, queries, keys]. */
  readonly mask: Tensor | null;
  readonly causal: boolean;
  /** Position of the first query among the keys: a number, or i32 [batch]. */
  readonly offset: number | Tensor;
  /** i32 [batch]: keys that count. */
  readonly lengths: Tensor | null;
  readonly scale: number;
  /** So many keys before and behind a query's own position are seen; null for all. */
  readonly left: number | null;
  readonly right: number | null;
  /** Scores become softcap tanh(score / softcap); 0: they do not. */
  readonly softcap: number;
  /** [heads]: a further score that takes part in the softmax and has no value. */
  readonly sink: Tensor | null;
  /** Which scores are wanted too: none, as multiplied, after the cap, with the mask, or weights. */
  readonly scores: "none" | "products" | "capped" | "masked" | "weights";
}

/** What attention gives: [batch, queries, heads, values], and scores [batch, heads, queries, keys]. */
export interface Attended {
  readonly y: Tensor;
  readonly scores: Tensor | null;
}

/** 0 where a query sees a key, -Infinity elsewhere, [batch or 1, 1, queries, keys] and mask; null where all see all. */
function biasOf({ q, k, mask, causal, offset, lengths, left, right }: Attending): Tensor | null {
  const [batch, tq, ,] = q.shape;
  const tk = k.shape[1];
  const own = add(lockstep.iota([1, 1, tq, 1], { axis: 2 }), typeof offset === "number" ? offset : reshape(offset, [batch, 1, 1, 1]));
  const keys = lockstep.iota([1, 1, 1, tk]);
  const distance = lockstep.sub(own, keys);
  const rules: Tensor[] = [];
  if (causal) rules.push(lockstep.greaterEqual(distance, 0));
  if (left !== null) rules.push(lockstep.lessEqual(distance, left));
  if (right !== null) rules.push(lockstep.greaterEqual(distance, -right));
  if (lengths !== null) rules.push(lockstep.less(keys, reshape(lengths, [batch, 1, 1, 1])));
  if (mask !== null && mask.dtype === "bool") rules.push(mask);
  const bias =
    rules.length === 0
      ? null
      : where(
          rules.reduce((a, b) => lockstep.and(a, b)),
          0,
          -Infinity,
        );
  if (mask === null || mask.dtype === "bool") return bias;
  return bias === null ? mask : add(bias, mask);
}

function stepwise(a: Attending): Attended {
  const [batch, tq, heads, dim] = a.q.shape;
  const [, tk, kvHeads] = a.k.shape;
  const group = heads / kvHeads;
  // Heads that share keys are rows of one product.
  const queries = reshape(transpose(a.q, [0, 2, 1, 3]), [batch, kvHeads, group * tq, dim]);
  const [keys, values] = [a.k, a.v].map((t) => transpose(t, [0, 2, 1, 3]));
  const products = reshape(mul(lockstep.matmul(queries, keys, { transposeB: true }), a.scale), [batch, heads, tq, tk]);
  const capped = a.softcap === 0 ? products : mul(lockstep.tanh(mul(products, 1 / a.softcap)), a.softcap);
  const bias = biasOf(a);
  const masked = bias === null ? capped : add(capped, bias);
  let weights: Tensor;
  if (a.sink === null) weights = lockstep.ops.softmax(masked);
  else {
    const sink = lockstep.broadcastTo(reshape(a.sink, [1, heads, 1, 1]), [batch, heads, tq, 1]);
    weights = lockstep.slice(lockstep.ops.softmax(lockstep.concat([masked, sink])), [0, 0, 0, 0], [batch, heads, tq, tk]);
  }
  // Who sees nothing gets 0.
  if (bias !== null) weights = where(lockstep.equal(lockstep.max(bias, { axis: -1, keepDims: true }), -Infinity), 0, weights);
  const y = lockstep.matmul(reshape(weights, [batch, kvHeads, group * tq, tk]), values);
  const valueDim = a.v.shape[3];
  return {
    y: transpose(reshape(y, [batch, heads, tq, valueDim]), [0, 2, 1, 3]),
    scores: { none: null, products, capped, masked, weights }[a.scores],
  };
}

/** Attention of all heads. */
export function attend(a: Attending): Attended {
  const isSymmetric = a.left === null ? a.right === null || (a.causal && a.right >= 0) : a.causal || a.left === a.right;
  if (a.softcap !== 0 || a.sink !== null || a.scores !== "none" || !isSymmetric || a.q.size * a.k.size === 0) return stepwise(a);
  return {
    y: lockstep.ops.attention(a.q, a.k, a.v, {
      mask: a.mask,
      causal: a.causal,
      offset: a.offset,
      ...(a.lengths === null ? {} : { lengths: a.lengths }),
      ...(a.left === null ? {} : { window: a.left + 1 }),
      scale: a.scale,
    }),
    scores: null,
  };
}

/** What attention takes where nothing says otherwise. */
export const PLAIN = {
  mask: null,
  causal: false,
  offset: 0,
  lengths: null,
  left: null,
  right: null,
  softcap: 0,
  sink: null,
  scores: "none",
} as const;

/** Rows of [batch, heads, time, features] with time before heads, or the other way round. */
export const swapped = (t: Tensor): Tensor => transpose(t, [0, 2, 1, 3]);

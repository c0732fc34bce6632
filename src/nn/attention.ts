/** @file What layers that attend share, with Keras' rules for masks, and the layer without weights of heads, `attention`. */
import { checkFlag, checkPart } from "../check.ts";
import { LockstepError, ShapeError } from "../errors.ts";
import { asTensor } from "../graph.ts";
import { givenOptions } from "../mode.ts";
import type { CallOptions } from "../mode.ts";
import { attention as attend } from "../ops/attention.ts";
import { add, and, cast, lessEqual, mul, tanh, where } from "../ops/map.ts";
import { matmul } from "../ops/matmul.ts";
import { expandDims, iota, reshape } from "../ops/move.ts";
import { sum } from "../ops/reduce.ts";
import { softmax } from "../ops/softmax.ts";
import { showShape } from "../shape.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { attended, isDecoding } from "./decoding.ts";
import type { Attended } from "./decoding.ts";
import { dropoutFactors } from "./dropout.ts";
import type { Layer } from "./layer.ts";
import { maskOf, masked } from "./masks.ts";
import { checkOneOf, checkRank, layerOf } from "./options.ts";
import type { NameOption } from "./options.ts";

/** What a call of a layer that attends takes behind its tensors. */
export interface AttentionCallOptions extends CallOptions {
  /**
   * Which keys each query sees: true, or any number but 0, where it does. [batch, queries, keys], [queries, keys], or for each head [batch,
   * heads, queries, keys]; dimensions of 1 are repeated. Steps that do not count by the mask of value and key (`embedding({ maskZero: true
   * })`) are not seen either. Default: all are.
   */
  readonly mask?: TensorLike | null;
  /** No query sees a later key. Default: the layer's option of this name. */
  readonly useCausalMask?: boolean;
}

/** A layer whose queries attend to values by keys; without them to themselves. Where a query sees nothing it gets zeros. */
export interface AttentionLayer extends Layer {
  /**
   * call(query, value, key, { mask, useCausalMask, training }): query [batch, queries, features], value and key [batch, keys, features].
   * Value default: query. Key default: value. The output's mask is that of query.
   * @throws ShapeError naming the layer where shapes do not fit, ArgumentError for unknown options
   */
  call(query: Tensor, ...more: readonly (Tensor | AttentionCallOptions | null | undefined)[]): Tensor;
}

/** Names of the call's options. */
export const CALL_OPTIONS: readonly (keyof AttentionCallOptions)[] = ["mask", "useCausalMask"];

/** A call as it is computed. */
export interface AttentionCall {
  readonly query: Tensor;
  readonly value: Tensor;
  readonly key: Tensor;
  /** True where query attends to itself. */
  readonly self: boolean;
  readonly causal: boolean;
  /** bool that broadcasts to [batch, heads, queries, keys]; null where all are seen. */
  readonly seen: Tensor | null;
}

const asFloat = (x: Tensor): Tensor => masked(cast(x, "f32"), maskOf(x));

/** Tensors and options of the call that runs. @throws ShapeError, ArgumentError */
export function readCall(
  kind: string,
  query: Tensor,
  given: readonly (Tensor | null | undefined)[],
  causalByDefault: boolean,
): AttentionCall {
  const { mask = null, useCausalMask: causal = causalByDefault } = givenOptions<AttentionCallOptions>();
  checkFlag(kind, "useCausalMask", causal);
  const value = given[0] ? asFloat(given[0]) : query;
  const key = given[1] ? asFloat(given[1]) : value;
  for (const t of [query, value, key]) checkRank(t.shape, "[batch, time, features]", 3);
  const [batch, keys] = key.shape;
  if (query.shape[0] !== batch || value.shape[0] !== batch || value.shape[1] !== keys) {
    const [q, v, k] = [query, value, key].map((t) => showShape(t.shape));
    throw new ShapeError(`expected query, value and key of one batch, value and key of as many steps, got ${q}, ${v} and ${k}`);
  }
  const masks = [...new Set([maskOf(value), maskOf(key)])]
    .filter((m) => m !== null)
    .map((m) => reshape(cast(m, "bool"), [batch, 1, 1, keys]));
  if (mask !== null) {
    const pairs = cast(asTensor(mask, "f32", "mask"), "bool");
    masks.push(pairs.rank === 3 ? expandDims(pairs, 1) : pairs);
  }
  const seen = masks.length === 0 ? null : masks.reduce((a, b) => and(a, b));
  return { query, value, key, self: value === query && key === query, causal, seen };
}

/** y [batch, queries, ...] with zeros for queries that do not count: they see nothing. */
export function ofCounted(y: Tensor, query: Tensor): Tensor {
  const mask = maskOf(query);
  if (mask === null) return y;
  return where(reshape(cast(mask, "bool"), [...mask.shape, ...new Array<number>(y.rank - 2).fill(1)]), y, 0);
}

/** Options of `attention`. */
export interface AttentionLayerOptions extends NameOption {
  /** Multiply scores by the weight scale, which begins with 1. Default false. */
  readonly useScale?: boolean;
  /**
   * "dot": products of queries and keys (Luong et al. 2015). "concat": concatScoreWeight times the sum of tanh(query + key) (Bahdanau et
   * al. 2015), which holds all queries x keys x features at once. Default "dot".
   */
  readonly scoreMode?: "dot" | "concat";
  /** Part of the weights that training drops, in [0, 1). Default 0. */
  readonly dropout?: number;
  /** No query sees a later key, where the call does not say. Default false. */
  readonly useCausalMask?: boolean;
}

const DEFAULTS: Required<AttentionLayerOptions> = { name: "", useScale: false, scoreMode: "dot", dropout: 0, useCausalMask: false };

/**
 * Attention without projections, as Keras' `Attention`: `call(query, value, key, { mask, useCausalMask })` gives softmax(scores) value,
 * [batch, queries, features of value]. Products are not divided by the root of the number of features, as in Keras: scale query first, or
 * let `useScale` learn it. Weights: scale [] with `useScale`, concatScoreWeight [] with `scoreMode: "concat"`.
 * @throws ArgumentError for bad options; when called, as `AttentionLayer` says
 */
export function attention(options: AttentionLayerOptions = {}): AttentionLayer {
  return layerOf("attention", {}, DEFAULTS, options, (o) => {
    checkOneOf("attention", "scoreMode", o.scoreMode, ["dot", "concat"]);
    checkPart("attention", "dropout", o.dropout);
    return {
      options: CALL_OPTIONS,
      inputs: 3,
      mask: "pass",
      build: (_shape, weight) => {
        if (o.useScale) weight("scale", [], { init: "ones" });
        if (o.scoreMode === "concat") weight("concatScoreWeight", [], { init: "ones" });
      },
      call: (x, { scale, concatScoreWeight }, ...more) => {
        const given = readCall("attention", x, more, o.useCausalMask);
        const { query, value, key, self, causal, seen } = given;
        if (key.shape[2] !== query.shape[2])
          throw new ShapeError(`expected query and key of as many features, got ${showShape(query.shape)} and ${showShape(key.shape)}`);
        const scaled = (t: Tensor): Tensor => (scale === undefined ? t : mul(t, scale));
        if (o.scoreMode === "concat") {
          const pairs = add(expandDims(query, 2), expandDims(key, 1));
          return ofCounted(weighted(given, mul(sum(tanh(scaled(pairs)), { axis: -1 }), concatScoreWeight), o.dropout), query);
        }
        const [q, k, v] = [scaled(query), key, value].map((t) => expandDims(t, 2));
        const to: Attended = self ? attended(k, v, causal, seen !== null) : { k, v, offset: 0 };
        const { offset, lengths, attend: attendTo = attend } = to;
        const y = attendTo(q, to.k, to.v, { mask: seen, causal, offset, lengths, scale: 1, dropout: o.dropout });
        return ofCounted(reshape(y, [y.shape[0], y.shape[1], y.shape[3]]), query);
      },
    };
  });
}

/** softmax(scores[batch, queries, keys]) value. */
function weighted({ query, value, seen, causal }: AttentionCall, scores: Tensor, rate: number): Tensor {
  if (isDecoding()) throw new LockstepError('text cannot be generated with scoreMode: "concat", whose keys are not kept');
  const [batch, queries, keys] = scores.shape;
  const earlier = causal ? lessEqual(iota([queries, keys], { axis: 1 }), iota([queries, keys], { axis: 0 })) : null;
  // Of one head; a mask for several is refused by the shapes.
  const pairs = seen === null ? null : reshape(seen, seen.rank === 4 ? [seen.shape[0], ...seen.shape.slice(2)] : seen.shape);
  const visible = pairs === null || earlier === null ? (pairs ?? earlier) : and(pairs, earlier);
  let weights = softmax(visible === null ? scores : where(visible, scores, -1e9));
  // A row of which nothing is visible weighs nothing.
  if (visible !== null) weights = where(visible, weights, 0);
  const factors = dropoutFactors(rate, [batch, queries, keys], query);
  return matmul(factors === null ? weights : mul(weights, factors), value);
}

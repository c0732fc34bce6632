/**
 * @file Attention with heads, with Keras' names, weights and numbers: queries, keys and values are products of the inputs with kernels
 * [features, heads, size], and the op `attention` never holds the scores of all pairs.
 */
import { checkFlag, checkPart, checkPositive } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import { attention as attend } from "../ops/attention.ts";
import { mul } from "../ops/map.ts";
import { reshape } from "../ops/move.ts";
import { normalizeLast } from "../ops/norm.ts";
import type { Activation } from "../plan/kernels.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { CALL_OPTIONS, ofCounted, readCall } from "./attention.ts";
import type { AttentionLayer } from "./attention.ts";
import { attended } from "./decoding.ts";
import type { Attended } from "./decoding.ts";
import { checkCount, checkFeatures, checkRank, lastOf, layerOf } from "./options.ts";
import type { Given, InitializerOption, MakeWeight, NameOption } from "./options.ts";
import { rotation } from "./positions.ts";
import type { RotaryEmbeddingOptions } from "./positions.ts";
import { project } from "./projection.ts";
import type { RegularizerOption } from "./regularizers.ts";

/** Options of `groupedQueryAttention`. */
export interface GroupedQueryAttentionOptions extends NameOption {
  /** Part of the weights that training drops, in [0, 1). Default 0. */
  readonly dropout?: number;
  /** Add biases to queries, keys, values and the output. Default true. */
  readonly useBias?: boolean;
  /** The output's bias (Qwen 2 has all but this one). Default null: as `useBias`. */
  readonly useOutputBias?: boolean | null;
  /** Multiply what a head gives by sigmoid(query gateKernel + gateBias) (Qiu et al. 2025, arXiv 2505.06708). Default false. */
  readonly useGate?: boolean;
  /** A query sees only keys less than so many steps before it and, unless causal, behind it. Default null: all. */
  readonly slidingWindow?: number | null;
  /** No query sees a later key, where the call does not say. Default false. */
  readonly useCausalMask?: boolean;
  /** Turn queries and keys by their positions, as `rotaryEmbedding` of these options; `{}` for its defaults. Default null: no. */
  readonly rotary?: Omit<RotaryEmbeddingOptions, "name"> | null;
  /**
   * The epsilon of a root mean square normalization of each head's query and key before they are turned (Qwen 3), with weights
   * queryNormScale and keyNormScale [size]. Default null: none.
   */
  readonly queryKeyNorm?: number | null;
  /** Default glorotUniform. */
  readonly kernelInitializer?: InitializerOption;
  /** Default zeros. */
  readonly biasInitializer?: InitializerOption;
  /** Default none. */
  readonly kernelRegularizer?: RegularizerOption;
  /** Default none. */
  readonly biasRegularizer?: RegularizerOption;
}

/** Options of `multiHeadAttention`. */
export interface MultiHeadAttentionOptions extends GroupedQueryAttentionOptions {
  /** Size of a head's values. Default null: keyDim. */
  readonly valueDim?: number | null;
  /** Features of the output, or its dimensions behind batch and time. Default null: the features of query. */
  readonly outputShape?: number | Shape | null;
}

const DEFAULTS: Required<GroupedQueryAttentionOptions> = {
  name: "",
  dropout: 0,
  useBias: true,
  useOutputBias: null,
  useGate: false,
  slidingWindow: null,
  useCausalMask: false,
  rotary: null,
  queryKeyNorm: null,
  kernelInitializer: "glorotUniform",
  biasInitializer: "zeros",
  kernelRegularizer: null,
  biasRegularizer: null,
};

/** Number and sizes of heads; `outputShape` null: the features of query. */
interface Heads {
  readonly queryHeads: number;
  readonly keyHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly outputShape: Shape | null;
}

/** x [batch, time, features] kernel [features, heads, size] + bias [heads, size]: [batch, time, heads, size]. */
function ofHeads(x: Tensor, kernel: Tensor, bias: Tensor | undefined, activation?: Activation): Tensor {
  checkFeatures(x, kernel.shape[0]);
  return reshape(project(x, kernel, bias, activation), [x.shape[0], x.shape[1], kernel.shape[1], kernel.shape[2]]);
}

/** Each row of the last dimension brought to a root mean square of 1, times scale. */
const normalized = (x: Tensor, gamma: Tensor, epsilon: number): Tensor => normalizeLast(x, 1, { gamma, epsilon, centered: false });

function attending<D extends Required<GroupedQueryAttentionOptions>>(
  kind: string,
  args: { readonly [name: string]: unknown },
  defaults: D,
  options: Given<D>,
  headsOf: (o: D) => Heads,
): AttentionLayer {
  return layerOf(kind, args, defaults, options, (o) => {
    for (const [name, value] of Object.entries(args)) checkCount(kind, name, value as number);
    const { queryHeads, keyHeads, keyDim, valueDim, outputShape } = headsOf(o);
    checkPart(kind, "dropout", o.dropout);
    if (o.slidingWindow !== null) checkCount(kind, "slidingWindow", o.slidingWindow);
    if (o.useOutputBias !== null) checkFlag(kind, "useOutputBias", o.useOutputBias);
    const { queryKeyNorm: epsilon } = o;
    if (epsilon !== null) checkPositive(kind, "queryKeyNorm", epsilon);
    const turn = o.rotary === null ? null : rotation(`${kind}: rotary`, o.rotary);

    const projection = (weight: MakeWeight, name: string, features: number, heads: number, size: number): void => {
      weight(`${name}Kernel`, [features, heads, size], {}, "kernel");
      if (o.useBias) weight(`${name}Bias`, [heads, size], {}, "bias");
    };
    return {
      options: CALL_OPTIONS,
      inputs: 3,
      mask: "pass",
      build: (query, weight, givenValue, givenKey) => {
        const value = givenValue ?? query;
        const key = givenKey ?? value;
        for (const shape of [query, value, key]) checkRank(shape, "[batch, time, features]", 3);
        projection(weight, "query", lastOf(query), queryHeads, keyDim);
        projection(weight, "key", lastOf(key), keyHeads, keyDim);
        if (o.useGate) projection(weight, "gate", lastOf(query), queryHeads, valueDim);
        projection(weight, "value", lastOf(value), keyHeads, valueDim);
        const output = outputShape ?? [lastOf(query)];
        weight("attentionOutputKernel", [queryHeads, valueDim, ...output], {}, "kernel");
        if (o.useOutputBias ?? o.useBias) weight("attentionOutputBias", output, {}, "bias");
        if (epsilon !== null) for (const name of ["query", "key"]) weight(`${name}NormScale`, [keyDim], { init: "ones" });
      },
      call: (x, w, ...more) => {
        const { query, value, key, self, causal, seen } = readCall(kind, x, more, o.useCausalMask);
        let q = ofHeads(query, w.queryKernel, w.queryBias);
        let k = ofHeads(key, w.keyKernel, w.keyBias);
        const v = ofHeads(value, w.valueKernel, w.valueBias);
        if (epsilon !== null) [q, k] = [normalized(q, w.queryNormScale, epsilon), normalized(k, w.keyNormScale, epsilon)];
        if (turn !== null) [q, k] = [turn(q), turn(k, self)];
        const to: Attended = self ? attended(k, v, causal, seen !== null) : { k, v, offset: 0 };
        const { offset, lengths, attend: attendTo = attend } = to;
        const window = o.slidingWindow ?? undefined;
        const heads = ofCounted(attendTo(q, to.k, to.v, { mask: seen, causal, offset, lengths, window, dropout: o.dropout }), query);
        const y = o.useGate ? mul(heads, ofHeads(query, w.gateKernel, w.gateBias, "sigmoid")) : heads;

        const [batch, time] = query.shape;
        const { attentionOutputKernel: kernel, attentionOutputBias: bias } = w;
        const joined = project(reshape(y, [batch, time, queryHeads * valueDim]), kernel, bias);
        return reshape(joined, [batch, time, ...kernel.shape.slice(2)]);
      },
    };
  });
}

/**
 * Multi-head attention (Vaswani et al. 2017, arXiv 1706.03762), as Keras' layer: `call(query, value, key, { mask, useCausalMask })` with
 * query [batch, queries, features] -> [batch, queries, ...outputShape]. In `sequential` it attends to its input. Scores are divided by
 * sqrt(keyDim). Weights in Keras' order: queryKernel [features, numHeads, keyDim], queryBias [numHeads, keyDim], keyKernel, keyBias,
 * gateKernel and gateBias with `useGate`, valueKernel [features, numHeads, valueDim], valueBias, attentionOutputKernel [numHeads, valueDim,
 * ...outputShape], attentionOutputBias.
 * @throws ArgumentError for numbers below 1 and bad options; when called, as `AttentionLayer` says
 * @example const y = multiHeadAttention(8, 64).call(x, null, null, { useCausalMask: true });
 */
export function multiHeadAttention(numHeads: number, keyDim: number, options: MultiHeadAttentionOptions = {}): AttentionLayer {
  const kind = "multiHeadAttention";
  const defaults: Required<MultiHeadAttentionOptions> = { ...DEFAULTS, valueDim: null, outputShape: null };
  return attending(kind, { numHeads, keyDim }, defaults, options, ({ valueDim, outputShape: given }) => {
    if (valueDim !== null) checkCount(kind, "valueDim", valueDim);
    const outputShape = given === null || Array.isArray(given) ? (given as Shape | null) : [given as number];
    for (const size of outputShape ?? []) checkCount(kind, "outputShape", size);
    return { queryHeads: numHeads, keyHeads: numHeads, keyDim, valueDim: valueDim ?? keyDim, outputShape };
  });
}

/**
 * Attention whose queries share heads of keys and values in groups (Ainslie et al. 2023, arXiv 2305.13245), as Keras'
 * `GroupedQueryAttention`: query head h reads key head floor(h / (numQueryHeads / numKeyValueHeads)). With one head of keys it is
 * multi-query attention (Shazeer 2019). Called as `multiHeadAttention`; keys and values take up so much less memory in decoding. Weights:
 * queryKernel [features, numQueryHeads, headDim], keyKernel and valueKernel [features, numKeyValueHeads, headDim], attentionOutputKernel
 * [numQueryHeads, headDim, features], with biases in between, as there.
 * @throws ArgumentError where numQueryHeads is no multiple of numKeyValueHeads, otherwise as `multiHeadAttention`
 */
export function groupedQueryAttention(
  headDim: number,
  numQueryHeads: number,
  numKeyValueHeads: number,
  options: GroupedQueryAttentionOptions = {},
): AttentionLayer {
  const kind = "groupedQueryAttention";
  return attending(kind, { headDim, numQueryHeads, numKeyValueHeads }, DEFAULTS, options, () => {
    if (numQueryHeads % numKeyValueHeads !== 0)
      throw new ArgumentError(
        `${kind}: numQueryHeads must be a multiple of numKeyValueHeads, got ${numQueryHeads} and ${numKeyValueHeads}`,
      );
    return { queryHeads: numQueryHeads, keyHeads: numKeyValueHeads, keyDim: headDim, valueDim: headDim, outputShape: null };
  });
}

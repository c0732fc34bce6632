/**
 * @file The two layers of the transformer (Vaswani et al. 2017, arXiv 1706.03762), as KerasHub's `TransformerEncoder` and
 * `TransformerDecoder`. They are made of other layers alone and may be copied where a model wants another order or other parts.
 */
import { checkNumber, checkPart } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import { asTensor } from "../graph.ts";
import { givenOptions } from "../mode.ts";
import { add, and, cast } from "../ops/map.ts";
import { expandDims } from "../ops/move.ts";
import type { Shape } from "../shape.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import type { AttentionCallOptions, AttentionLayer } from "./attention.ts";
import { dropout } from "./core.ts";
import { dense } from "./dense.ts";
import { multiHeadAttention } from "./heads.ts";
import type { Layer } from "./layer.ts";
import { maskOf, masked } from "./masks.ts";
import { layerNorm } from "./normalization.ts";
import { activationOf, checkCount, checkRank, lastOf, layerOf } from "./options.ts";
import type { ActivationOption, InitializerOption, NameOption, OptionsDescription } from "./options.ts";

/** Options of `transformerEncoder` and `transformerDecoder`. */
export interface TransformerOptions extends NameOption {
  /** Part of attention's weights and of each block's output that training drops, in [0, 1). Default 0. */
  readonly dropout?: number;
  /** Of the feed-forward block. Default relu. */
  readonly activation?: ActivationOption;
  /** Default 1e-5. */
  readonly layerNormEpsilon?: number;
  /** Default glorotUniform. */
  readonly kernelInitializer?: InitializerOption;
  /** Default zeros. */
  readonly biasInitializer?: InitializerOption;
  /** Normalize what a block reads (GPT-2), not the sum of what it read and gave (BERT). Default false. */
  readonly normalizeFirst?: boolean;
}

/** What a call of `transformerEncoder` takes behind its tensor. */
export interface TransformerEncoderCallOptions extends AttentionCallOptions {
  /** [batch, time], false (or 0) for steps that nobody sees, besides those that the mask of x says. Default: none. */
  readonly paddingMask?: TensorLike | null;
}

/** What a call of `transformerDecoder` takes behind its tensors. */
export interface TransformerDecoderCallOptions extends TransformerEncoderCallOptions {
  /** As `paddingMask`, of the encoder's sequence: [batch, time of encoder]. */
  readonly encoderPaddingMask?: TensorLike | null;
  /** As `mask`, of attention to the encoder's sequence: [batch, time, time of encoder]. */
  readonly encoderMask?: TensorLike | null;
}

/** A layer of a transformer. */
export interface TransformerLayer extends Layer {
  /** The layer's page says which tensors and options. */
  call(x: Tensor, ...more: readonly (Tensor | TransformerDecoderCallOptions | null | undefined)[]): Tensor;
}

const DEFAULTS: Required<TransformerOptions> = {
  name: "",
  dropout: 0,
  activation: "relu",
  layerNormEpsilon: 1e-5,
  kernelInitializer: "glorotUniform",
  biasInitializer: "zeros",
  normalizeFirst: false,
};

type Options = Required<TransformerOptions>;

/** A mask [batch, queries, keys] and one of keys [batch, keys] as one. */
function bothMasks(mask: TensorLike | null | undefined, padding: TensorLike | null | undefined): Tensor | null {
  const [pairs, keys] = [mask ?? null, padding ?? null].map((m) => (m === null ? null : cast(asTensor(m, "f32", "mask"), "bool")));
  if (keys !== null) checkRank(keys.shape, "a padding mask [batch, time]", 2);
  const both = keys && expandDims(keys, 1);
  if (pairs === null || both === null) return pairs ?? both;
  return and(pairs.rank === 4 ? expandDims(both, 1) : both, pairs);
}

/** The parts of both layers, for x of this shape. */
function partsOf(kind: string, intermediateDim: number, numHeads: number, o: Options, shape: Shape) {
  checkRank(shape, "[batch, time, features]", 3);
  const features = lastOf(shape);
  const keyDim = Math.floor(features / numHeads);
  if (keyDim === 0) throw new ShapeError(`${features} features cannot be split into ${numHeads} heads; give ${kind} fewer`);
  const { kernelInitializer, biasInitializer, layerNormEpsilon: epsilon } = o;
  const begin = { kernelInitializer, biasInitializer };
  return {
    attention: (): AttentionLayer => multiHeadAttention(numHeads, keyDim, { dropout: o.dropout, ...begin }),
    norm: (): Layer => layerNorm({ epsilon }),
    intermediate: (): Layer => dense(intermediateDim, { activation: o.activation, ...begin }),
    output: (): Layer => dense(features, begin),
  };
}

/** x + dropout(block(x)), normalized before the block or behind the sum. The mask of x goes on. */
function residual(x: Tensor, norm: Layer, block: (x: Tensor) => Tensor, { normalizeFirst, dropout: rate }: Options): Tensor {
  const y = add(dropout(rate).call(block(normalizeFirst ? norm.call(x) : x)), x);
  return masked(normalizeFirst ? y : norm.call(y), maskOf(x));
}

function transformer(
  kind: string,
  { intermediateDim, numHeads }: { readonly intermediateDim: number; readonly numHeads: number },
  options: TransformerOptions,
  describe: (o: Options, parts: (shape: Shape) => ReturnType<typeof partsOf>) => OptionsDescription,
): TransformerLayer {
  return layerOf(kind, { intermediateDim, numHeads }, DEFAULTS, options, (o) => {
    checkCount(kind, "intermediateDim", intermediateDim);
    checkCount(kind, "numHeads", numHeads);
    checkPart(kind, "dropout", o.dropout);
    checkNumber(kind, "layerNormEpsilon", o.layerNormEpsilon, 0);
    activationOf(kind, o.activation);
    return { mask: "pass", ...describe(o, (shape) => partsOf(kind, intermediateDim, numHeads, o, shape)) };
  });
}

/**
 * Self attention and a feed-forward block, each with a sum around it and a normalization, as KerasHub's layer: `call(x, { mask,
 * paddingMask, useCausalMask })` with x [batch, time, features] -> the same shape. Heads have floor(features / numHeads) features. Weights
 * in KerasHub's order: those of selfAttentionLayer (`multiHeadAttention`), selfAttentionLayerNorm, feedforwardLayerNorm,
 * feedforwardIntermediateDense, feedforwardOutputDense.
 * @throws ArgumentError for numbers below 1 and bad options; when called, ShapeError for another rank and fewer features than heads
 */
export function transformerEncoder(intermediateDim: number, numHeads: number, options: TransformerOptions = {}): TransformerLayer {
  return transformer("transformerEncoder", { intermediateDim, numHeads }, options, (o, partsFor) => {
    let parts: { readonly selfAttentionLayer: AttentionLayer; readonly [name: string]: Layer };
    return {
      options: ["mask", "paddingMask", "useCausalMask"],
      parts: (shape) => {
        const make = partsFor(shape);
        return (parts = {
          selfAttentionLayer: make.attention(),
          selfAttentionLayerNorm: make.norm(),
          feedforwardLayerNorm: make.norm(),
          feedforwardIntermediateDense: make.intermediate(),
          feedforwardOutputDense: make.output(),
        });
      },
      call: (x) => {
        const { mask, paddingMask, useCausalMask = false } = givenOptions<TransformerEncoderCallOptions>();
        const seen = bothMasks(mask, paddingMask);
        const attend = (t: Tensor): Tensor => parts.selfAttentionLayer.call(t, { mask: seen, useCausalMask });
        const feed = (t: Tensor): Tensor => parts.feedforwardOutputDense.call(parts.feedforwardIntermediateDense.call(t));
        return residual(residual(x, parts.selfAttentionLayerNorm, attend, o), parts.feedforwardLayerNorm, feed, o);
      },
    };
  });
}

/**
 * Causal self attention, attention to an encoder's sequence where there is one, and a feed-forward block, as KerasHub's layer: `call(x,
 * encoder, { mask, paddingMask, encoderMask, encoderPaddingMask, useCausalMask })` with x [batch, time, features] -> the same shape and
 * encoder [batch, time of encoder, features of encoder]. Whether it has attention to an encoder is decided by the first call; without, it
 * is the decoder of GPT. `useCausalMask: false` in a call lets steps see later ones. Weights in KerasHub's order: those of selfAttention
 * (`multiHeadAttention`), selfAttentionLayerNorm, crossAttention and crossAttentionLayerNorm where there is an encoder,
 * feedforwardIntermediateDense, feedforwardOutputDense, feedforwardLayerNorm.
 * @throws as `transformerEncoder`; ArgumentError where a later call has an encoder and the first had none, or the other way round
 */
export function transformerDecoder(intermediateDim: number, numHeads: number, options: TransformerOptions = {}): TransformerLayer {
  return transformer("transformerDecoder", { intermediateDim, numHeads }, options, (o, partsFor) => {
    let parts: { readonly selfAttention: AttentionLayer; readonly [name: string]: Layer };
    let cross: { readonly crossAttention: AttentionLayer; readonly crossAttentionLayerNorm: Layer } | null;
    return {
      options: ["mask", "paddingMask", "encoderMask", "encoderPaddingMask", "useCausalMask"],
      inputs: 2,
      parts: (shape, encoder) => {
        const make = partsFor(shape);
        cross = encoder ? { crossAttention: make.attention(), crossAttentionLayerNorm: make.norm() } : null;
        return (parts = {
          selfAttention: make.attention(),
          selfAttentionLayerNorm: make.norm(),
          ...cross,
          feedforwardIntermediateDense: make.intermediate(),
          feedforwardOutputDense: make.output(),
          feedforwardLayerNorm: make.norm(),
        });
      },
      call: (x, _weights, encoder) => {
        const { mask, paddingMask, encoderMask, encoderPaddingMask, useCausalMask = true } = givenOptions<TransformerDecoderCallOptions>();
        if ((cross === null) !== !encoder) {
          const [first, now] = cross === null ? ["no", "one"] : ["an", "none"];
          throw new ArgumentError(`its first call had ${first} encoder's sequence, this one has ${now}; make another layer for that`);
        }
        const seen = bothMasks(mask, paddingMask);
        const attend = (t: Tensor): Tensor => parts.selfAttention.call(t, { mask: seen, useCausalMask });
        let y = residual(x, parts.selfAttentionLayerNorm, attend, o);
        if (cross !== null && encoder) {
          const { crossAttention, crossAttentionLayerNorm } = cross;
          const seenOfEncoder = bothMasks(encoderMask, encoderPaddingMask);
          y = residual(y, crossAttentionLayerNorm, (t) => crossAttention.call(t, encoder, { mask: seenOfEncoder }), o);
        }
        const feed = (t: Tensor): Tensor => parts.feedforwardOutputDense.call(parts.feedforwardIntermediateDense.call(t));
        return residual(y, parts.feedforwardLayerNorm, feed, o);
      },
    };
  });
}

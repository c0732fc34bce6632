/** @file Layers from what is saved of them: their kind and config. */
import { ArgumentError } from "../errors.ts";
import { unknownName } from "../check.ts";
import { elu, leakyRelu, prelu, relu, softmax } from "./activations.ts";
import {
  conv1d,
  conv1dTranspose,
  conv2d,
  conv2dTranspose,
  depthwiseConv1d,
  depthwiseConv2d,
  separableConv1d,
  separableConv2d,
} from "./conv.ts";
import {
  activation,
  cropping1d,
  cropping2d,
  dropout,
  flatten,
  permute,
  repeatVector,
  reshape,
  upSampling1d,
  upSampling2d,
  zeroPadding1d,
  zeroPadding2d,
} from "./core.ts";
import { alphaDropout, gaussianDropout, gaussianNoise, identity, rescaling, spatialDropout1d, spatialDropout2d } from "./noise.ts";
import { dense } from "./dense.ts";
import { embedding, tiedHead } from "./embedding.ts";
import { masking } from "./masking.ts";
import type { Config, Layer } from "./layer.ts";
import { add, average, concatenate, maximum, minimum, multiply } from "./merge.ts";
import { attention } from "./attention.ts";
import { geglu, swiglu } from "./gated.ts";
import { groupedQueryAttention, multiHeadAttention } from "./heads.ts";
import { positionEmbedding, rotaryEmbedding, sinePositionEncoding, tokenAndPositionEmbedding } from "./positions.ts";
import { transformerDecoder, transformerEncoder } from "./transformer.ts";
import { batchNorm, groupNorm, layerNorm, normalization, rmsNorm, unitNormalization } from "./normalization.ts";
import { avgPool1d, avgPool2d, globalAvgPool1d, globalAvgPool2d, globalMaxPool1d, globalMaxPool2d, maxPool1d, maxPool2d } from "./pool.ts";
import { layerStack } from "./stack.ts";
import { gru, lstm, simpleRnn } from "./recurrent.ts";
import { bidirectional, timeDistributed } from "./wrappers.ts";

/** A layer within the config of another; `own`: it is not one of Lockstep's; `shared`: it is the one of this name in the same model. */
interface InnerLayer {
  readonly kind: string;
  readonly config: Config;
  readonly own?: boolean;
  readonly shared?: string;
}

function checkInner(value: unknown): InnerLayer {
  const { kind, config } = (value ?? {}) as Partial<InnerLayer>;
  if (typeof kind !== "string" || typeof config !== "object" || config === null) {
    throw new ArgumentError(`layerFromConfig: expected a layer as { kind, config }, got ${JSON.stringify(value)}`);
  }
  return value as InnerLayer;
}

/**
 * The factories by the names of their positional arguments. Without `subtract` and `dot`, which take two tensors: files hold layers in a
 * row, where there is one.
 */
const FACTORIES: readonly (readonly [args: readonly string[], { readonly [kind: string]: (...args: never[]) => Layer }])[] = [
  [["units"], { dense, lstm, gru, simpleRnn }],
  [["filters", "kernelSize"], { conv2d, conv1d, separableConv2d, separableConv1d, conv2dTranspose, conv1dTranspose }],
  [["kernelSize"], { depthwiseConv2d, depthwiseConv1d }],
  [["poolSize"], { maxPool2d, avgPool2d, maxPool1d, avgPool1d }],
  [
    [],
    {
      globalAvgPool2d,
      globalMaxPool2d,
      globalAvgPool1d,
      globalMaxPool1d,
      flatten,
      relu,
      leakyRelu,
      elu,
      prelu,
      softmax,
      normalization,
      batchNorm,
      layerNorm,
      rmsNorm,
      unitNormalization,
      masking,
      identity,
    },
  ],
  [[], { add, multiply, average, maximum, minimum, concatenate }],
  [["targetShape"], { reshape }],
  [["dims"], { permute }],
  [["n"], { repeatVector }],
  [["rate"], { dropout, spatialDropout1d, spatialDropout2d, gaussianDropout, alphaDropout }],
  [["stddev"], { gaussianNoise }],
  [["scale"], { rescaling }],
  [["activation"], { activation }],
  [["padding"], { zeroPadding1d, zeroPadding2d }],
  [["cropping"], { cropping1d, cropping2d }],
  [["size"], { upSampling1d, upSampling2d }],
  [["inputDim", "outputDim"], { embedding }],
  [["layer"], { bidirectional, timeDistributed, tiedHead }],
  [["layer", "count"], { layerStack }],
  [["groups"], { groupNorm }],
  [[], { attention, rotaryEmbedding, sinePositionEncoding }],
  [["numHeads", "keyDim"], { multiHeadAttention }],
  [["headDim", "numQueryHeads", "numKeyValueHeads"], { groupedQueryAttention }],
  [["sequenceLength"], { positionEmbedding }],
  [["vocabularySize", "sequenceLength", "embeddingDim"], { tokenAndPositionEmbedding }],
  [["intermediateDim"], { swiglu, geglu }],
  [["intermediateDim", "numHeads"], { transformerEncoder, transformerDecoder }],
];

/** How layers of one kind are made of their config: `extraLayers` has those that `loadModel` does not bring. */
export interface LayerKind {
  /** Names of what its function takes in front of the options, in order; `layer` and `cell` are a layer within, `cells` are several. */
  readonly args: readonly string[];
  /** The function, such as `conv3d`. */
  readonly make: (...args: never[]) => Layer;
}

/** Kinds of layers that are always there. */
export function layerKind(kind: string): LayerKind | undefined {
  const found = FACTORIES.find(([, factories]) => Object.hasOwn(factories, kind));
  return found && { args: found[0], make: found[1][kind] };
}

/**
 * A new layer with the options of `config`, without weights until it is built. `inner` makes the layer that stands in the config of
 * another; `found` is the kind where it is not one of those that are always there.
 * @throws ArgumentError for an unknown kind, unknown or bad options, and where a function stood that could not be saved
 */
export function layerFromConfig(
  kind: string,
  config: Config,
  inner: (layer: InnerLayer) => Layer = (l) => {
    if (l.shared !== undefined) throw new ArgumentError(`layerFromConfig: ${kind} shares layer "${l.shared}", which must be given`);
    return layerFromConfig(l.kind, l.config);
  },
  found = layerKind(kind),
): Layer {
  if (found === undefined)
    throw unknownName(
      "kind of layer",
      kind,
      FACTORIES.flatMap(([, factories]) => Object.keys(factories)),
    );
  const options: { [key: string]: unknown } = { ...config };
  const made = (value: unknown): Layer => inner(checkInner(value));
  const args = found.args.map((name) => {
    const value = options[name];
    delete options[name];
    if (name === "cells" && Array.isArray(value)) return value.map(made);
    return name === "layer" || name === "cell" ? made(value) : value;
  });
  return found.make(...([...args, options] as never[]));
}

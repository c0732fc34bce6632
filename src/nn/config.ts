/** @file Layers from what is saved of them: their kind and config. */
import { ArgumentError } from "../errors.ts";
import { elu, leakyRelu, prelu, relu, softmax } from "./activations.ts";
import { conv1d, conv1dTranspose, conv2d, conv2dTranspose, depthwiseConv2d, separableConv2d } from "./conv.ts";
import { activation, cropping2d, dropout, flatten, permute, repeatVector, reshape, upSampling2d, zeroPadding2d } from "./core.ts";
import { dense } from "./dense.ts";
import { embedding } from "./embedding.ts";
import type { Config, Layer } from "./layer.ts";
import * as merge from "./merge.ts";
import { batchNorm, groupNorm, layerNorm, normalization, rmsNorm } from "./normalization.ts";
import { avgPool1d, avgPool2d, globalAvgPool1d, globalAvgPool2d, globalMaxPool1d, globalMaxPool2d, maxPool1d, maxPool2d } from "./pool.ts";
import { bidirectional, gru, lstm, simpleRnn, timeDistributed } from "./recurrent.ts";

/** A factory called with the config's entries of these names, then the others as options; an entry "layer" is made a layer first. */
function from(factory: (...args: never[]) => Layer, ...positional: readonly string[]): (config: Config) => Layer {
  return (config) => {
    const options: { [key: string]: unknown } = { ...config };
    const args = positional.map((key) => {
      const value = options[key];
      delete options[key];
      return key === "layer" ? innerLayer(value) : value;
    });
    return factory(...([...args, options] as never[]));
  };
}

function innerLayer(value: unknown): Layer {
  const { kind, config } = (value ?? {}) as { readonly kind?: unknown; readonly config?: Config };
  if (typeof kind !== "string" || typeof config !== "object") throw new ArgumentError(`layerFromConfig: expected a layer as { kind, config }, got ${JSON.stringify(value)}`);
  return layerFromConfig(kind, config);
}

const FACTORIES: { readonly [kind: string]: (config: Config) => Layer } = {
  dense: from(dense, "units"),
  conv2d: from(conv2d, "filters", "kernelSize"),
  conv1d: from(conv1d, "filters", "kernelSize"),
  depthwiseConv2d: from(depthwiseConv2d, "kernelSize"),
  separableConv2d: from(separableConv2d, "filters", "kernelSize"),
  conv2dTranspose: from(conv2dTranspose, "filters", "kernelSize"),
  conv1dTranspose: from(conv1dTranspose, "filters", "kernelSize"),
  maxPool2d: from(maxPool2d, "poolSize"),
  avgPool2d: from(avgPool2d, "poolSize"),
  maxPool1d: from(maxPool1d, "poolSize"),
  avgPool1d: from(avgPool1d, "poolSize"),
  globalAvgPool2d: from(globalAvgPool2d),
  globalMaxPool2d: from(globalMaxPool2d),
  globalAvgPool1d: from(globalAvgPool1d),
  globalMaxPool1d: from(globalMaxPool1d),
  flatten: from(flatten),
  reshape: from(reshape, "targetShape"),
  permute: from(permute, "dims"),
  repeatVector: from(repeatVector, "n"),
  dropout: from(dropout, "rate"),
  activation: from(activation, "activation"),
  zeroPadding2d: from(zeroPadding2d, "padding"),
  cropping2d: from(cropping2d, "cropping"),
  upSampling2d: from(upSampling2d, "size"),
  relu: from(relu),
  leakyRelu: from(leakyRelu),
  elu: from(elu),
  prelu: from(prelu),
  softmax: from(softmax),
  embedding: from(embedding, "inputDim", "outputDim"),
  lstm: from(lstm, "units"),
  gru: from(gru, "units"),
  simpleRnn: from(simpleRnn, "units"),
  bidirectional: from(bidirectional, "layer"),
  timeDistributed: from(timeDistributed, "layer"),
  normalization: from(normalization),
  batchNorm: from(batchNorm),
  layerNorm: from(layerNorm),
  rmsNorm: from(rmsNorm),
  groupNorm: from(groupNorm, "groups"),
  add: from(merge.add),
  subtract: from(merge.subtract),
  multiply: from(merge.multiply),
  average: from(merge.average),
  maximum: from(merge.maximum),
  minimum: from(merge.minimum),
  concatenate: from(merge.concatenate),
  dot: from(merge.dot),
};

/**
 * A new layer with the options of `config`, without weights until it is built.
 * @throws ArgumentError for an unknown kind, unknown or bad options, and where a function stood that could not be saved
 */
export function layerFromConfig(kind: string, config: Config): Layer {
  if (!Object.hasOwn(FACTORIES, kind)) throw new ArgumentError(`layerFromConfig: unknown kind of layer "${kind}"; known: ${Object.keys(FACTORIES).join(", ")}`);
  return FACTORIES[kind](config);
}

/** @file Rules of layers of elements: dense ones, activations, normalization, noise, shapes, and what joins tensors. */
import * as lockstep from "../../index.ts";
import type { Layer } from "../../index.ts";
import { ACTIVATION, AXES, AXIS, COUNT, DIMS, FLAG, INITIALIZER, NUMBER } from "../codecs.ts";
import { ACTIVE, BIAS, CHANNELS_LAST, joined, PLAIN, RANDOM, rule, weighted } from "../rule.ts";
import type { Part, Rules } from "../rule.ts";

const affine: Part = joined(weighted("beta", "gamma"), { fields: { epsilon: NUMBER, center: FLAG, scale: FLAG } });

export const ELEMENTS: Rules = {
  dense: rule("Dense", lockstep.dense, { args: ["units"], fields: { units: COUNT } }, ACTIVE, weighted("kernel"), BIAS, PLAIN),
  flatten: rule("Flatten", lockstep.flatten, CHANNELS_LAST),
  reshape: rule("Reshape", lockstep.reshape as (...args: never[]) => Layer, { args: ["targetShape"], fields: { target_shape: DIMS } }),
  permute: rule("Permute", lockstep.permute, { args: ["dims"], fields: { dims: DIMS } }),
  repeatVector: rule("RepeatVector", lockstep.repeatVector, { args: ["n"], fields: { n: COUNT } }),
  dropout: rule("Dropout", lockstep.dropout, {
    args: ["rate"],
    fields: { rate: NUMBER },
    must: { noise_shape: [] },
    ignored: { seed: null },
  }),
  spatialDropout1d: rule("SpatialDropout1D", lockstep.spatialDropout1d, { args: ["rate"], fields: { rate: NUMBER } }, RANDOM),
  spatialDropout2d: rule(
    "SpatialDropout2D",
    lockstep.spatialDropout2d,
    { args: ["rate"], fields: { rate: NUMBER } },
    RANDOM,
    CHANNELS_LAST,
  ),
  spatialDropout3d: rule(
    "SpatialDropout3D",
    lockstep.spatialDropout3d,
    { args: ["rate"], fields: { rate: NUMBER } },
    RANDOM,
    CHANNELS_LAST,
  ),
  gaussianNoise: rule("GaussianNoise", lockstep.gaussianNoise, { args: ["stddev"], fields: { stddev: NUMBER } }, RANDOM),
  gaussianDropout: rule("GaussianDropout", lockstep.gaussianDropout, { args: ["rate"], fields: { rate: NUMBER } }, RANDOM),
  alphaDropout: rule("AlphaDropout", lockstep.alphaDropout, { args: ["rate"], fields: { rate: NUMBER } }, RANDOM),
  identity: rule("Identity", lockstep.identity),
  activation: rule("Activation", lockstep.activation, { args: ["activation"], fields: { activation: ACTIVATION } }),
  relu: rule("ReLU", lockstep.relu as (...args: never[]) => Layer, {
    fields: { max_value: NUMBER, negative_slope: NUMBER, threshold: NUMBER },
  }),
  leakyRelu: rule("LeakyReLU", lockstep.leakyRelu as (...args: never[]) => Layer, {
    fields: { negative_slope: NUMBER },
    older: { negative_slope: "alpha" },
  }),
  elu: rule("ELU", lockstep.elu as (...args: never[]) => Layer, { fields: { alpha: NUMBER } }),
  prelu: rule("PReLU", lockstep.prelu, weighted("alpha"), { fields: { shared_axes: DIMS } }),
  softmax: rule("Softmax", lockstep.softmax as (...args: never[]) => Layer, { fields: { axis: AXIS } }),
  batchNorm: rule("BatchNormalization BatchNormalizationV1 BatchNormalizationV2", lockstep.batchNorm, affine, {
    fields: { axis: AXIS, momentum: NUMBER, moving_mean_initializer: INITIALIZER, moving_variance_initializer: INITIALIZER },
    must: { renorm: [false], renorm_clipping: [], virtual_batch_size: [], adjustment: [] },
    ignored: { synchronized: false, fused: undefined, trainable: undefined, renorm_momentum: undefined },
  }),
  layerNorm: rule("LayerNormalization", lockstep.layerNorm, affine, { fields: { axis: AXES }, must: { rms_scaling: [false] } }),
  groupNorm: rule("GroupNormalization", lockstep.groupNorm, affine, {
    args: ["groups"],
    fields: { groups: { read: (f, name) => f.count(name, 32, -1), write: (v) => v }, axis: AXES },
  }),
  rmsNorm: rule("RMSNormalization", lockstep.rmsNorm, { fields: { axis: AXES, epsilon: NUMBER } }),
  unitNormalization: rule("UnitNormalization", lockstep.unitNormalization, { fields: { axis: AXES } }),
  add: rule("Add", lockstep.add as (...args: never[]) => Layer),
  subtract: rule("Subtract", lockstep.subtract),
  multiply: rule("Multiply", lockstep.multiply),
  average: rule("Average", lockstep.average),
  maximum: rule("Maximum", lockstep.maximumLayer),
  minimum: rule("Minimum", lockstep.minimumLayer),
  concatenate: rule("Concatenate", lockstep.concatenate, { fields: { axis: AXIS } }),
  dot: rule("Dot", lockstep.dot as (...args: never[]) => Layer, { fields: { axes: AXES, normalize: FLAG } }),
};

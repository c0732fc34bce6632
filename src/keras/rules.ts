/**
 * @file One table in both directions: how a layer of Keras is made of its options, and how Lockstep's is written. Names of options are
 * Keras' with Lockstep's in camelCase, so that a rule lists what there is, and what must be as it is.
 */
import * as lockstep from "../index.ts";
import { FileError } from "../index.ts";
import type { Layer } from "../index.ts";
import {
  ACTIVATION,
  AXES,
  AXIS,
  COUNT,
  DIMS,
  FLAG,
  INITIALIZER,
  NUMBER,
  MODE,
  NUMBERS,
  optional,
  REGULARIZER,
  sizes,
  TEXT,
} from "./codecs.ts";
import type { Codec } from "./codecs.ts";
import { camel } from "./fields.ts";
import type { Fields } from "./fields.ts";

/** Where the weights of a layer stand in a file of Keras 3, below its group; by Lockstep's names where they are in groups of their own. */
export type Groups = string | { readonly [weight: string]: readonly [group: string, index: number] };

/** How one class of Keras is one kind of layer. */
export interface Rule {
  /** Keras' names of it; the first is written. */
  readonly classes: readonly string[];
  /** Lockstep's name. */
  readonly kind: string;
  readonly make: (...args: never[]) => Layer;
  /** Options that Lockstep takes as arguments, in order. */
  readonly args: readonly string[];
  readonly fields: { readonly [option: string]: Codec };
  /** Lockstep's names of options where they are others. */
  readonly names: { readonly [option: string]: string };
  /** Options that must have one of these values where they are there; the first is written. */
  readonly must: { readonly [option: string]: readonly unknown[] };
  /** Options that change no number, with what is written. */
  readonly ignored: { readonly [option: string]: unknown };
  /** Names in older files. */
  readonly older: { readonly [option: string]: string };
  /** Of a rule that is only read: another one is written for this kind. */
  readonly readOnly: boolean;
  readonly groups: Groups;
  /** @throws FileError for what this layer cannot be; before it is made */
  readonly check?: (from: Fields) => void;
}

type Part = Partial<Omit<Rule, "classes" | "kind" | "make">>;

/** Several parts as one; options of each kind add up. */
const joined = (...parts: readonly Part[]): Part =>
  parts.reduce<Part>(
    (a, b) => ({
      ...a,
      ...b,
      fields: { ...a.fields, ...b.fields },
      must: { ...a.must, ...b.must },
      ignored: { ...a.ignored, ...b.ignored },
      names: { ...a.names, ...b.names },
      older: { ...a.older, ...b.older },
    }),
    {},
  );

const rule = (classes: string, make: (...args: never[]) => Layer, ...parts: readonly Part[]): Rule => ({
  args: [],
  names: {},
  readOnly: false,
  groups: "",
  fields: {},
  must: {},
  ignored: {},
  older: {},
  ...joined(...parts),
  classes: classes.split(" "),
  kind: "",
  make,
});

const weighted = (...names: readonly string[]): Part => ({
  fields: Object.fromEntries(
    names.flatMap((name) => [
      [`${name}_initializer`, INITIALIZER],
      [`${name}_regularizer`, REGULARIZER],
    ]),
  ),
  must: { activity_regularizer: [], ...Object.fromEntries(names.map((name) => [`${name}_constraint`, []])) },
});
const BIAS: Part = joined(weighted("bias"), { fields: { use_bias: FLAG } });
const ACTIVE: Part = { fields: { activation: ACTIVATION } };
const CHANNELS_LAST: Part = { must: { data_format: ["channels_last"] } };
/** Keras' adapters of low rank and weights in few bits, which are other weights. */
const PLAIN: Part = { must: { lora_rank: [], lora_alpha: [], quantization_config: [], quantization_mode: [] } };
const PADDING: Part = { fields: { padding: TEXT } };
const moves = (rank: number): Part => ({ fields: { strides: sizes(rank), padding: TEXT } });
const dilated = (rank: number): Part => ({ fields: { dilation_rate: sizes(rank) } });
const filters = (rank: number): Part => ({
  args: ["filters", "kernelSize"],
  fields: { filters: COUNT, kernel_size: sizes(rank) },
});
const affine: Part = joined(weighted("beta", "gamma"), { fields: { epsilon: NUMBER, center: FLAG, scale: FLAG } });
const depthwise: Part = joined(weighted("depthwise"), { fields: { depth_multiplier: COUNT } });
const pooled = (rank: number): Part => ({
  args: ["poolSize"],
  fields: { pool_size: sizes(rank), strides: sizes(rank) },
});
const keepDims: Part = { fields: { keepdims: FLAG }, names: { keepdims: "keepDims" } };
const recurrent: Part = joined(weighted("kernel", "recurrent", "bias"), {
  args: ["units"],
  groups: "cell",
  fields: {
    units: COUNT,
    activation: ACTIVATION,
    use_bias: FLAG,
    dropout: NUMBER,
    recurrent_dropout: NUMBER,
    return_sequences: FLAG,
    go_backwards: FLAG,
  },
  must: { stateful: [false], time_major: [false], zero_output_for_mask: [false] },
  ignored: { return_state: false, unroll: false, implementation: undefined, seed: null, use_cudnn: undefined },
});
const SIZED: Part = { args: ["height", "width"], fields: { height: COUNT, width: COUNT } };
/** Layers that draw random numbers, of a seed that Lockstep has for the whole model. */
const RANDOM: Part = { must: { noise_shape: [] }, ignored: { seed: null, data_format: undefined } };
const gated: Part = { fields: { recurrent_activation: ACTIVATION } };
/** Frames: one number, one for rows and one for columns, or both sides of each. */
const FRAME: Codec = {
  read(f, name) {
    const value = f.get(name);
    const count = (v: unknown): boolean => Number.isInteger(v) && (v as number) >= 0 && (v as number) < 2 ** 31;
    const pair = (v: unknown, fits: (v: unknown) => boolean): boolean => Array.isArray(v) && v.length === 2 && v.every(fits);
    if (!count(value) && !pair(value, count) && !pair(value, (v) => pair(v, count)))
      throw f.fault(name, "a number, two of them, or two pairs of them");
    return value;
  },
  write: (value) => value,
};
const attending: Part = joined(weighted("kernel", "bias"), {
  fields: { dropout: NUMBER, use_bias: FLAG },
  must: { flash_attention: [false, true], attention_axes: [[1]] },
  ignored: { seed: null },
});
const heads = (prefix: string): Groups =>
  Object.fromEntries(
    [
      ["query", "query_dense"],
      ["key", "key_dense"],
      ["value", "value_dense"],
      ["attentionOutput", "output_dense"],
    ]
      .flatMap(([name, group]): [string, [string, number]][] => [
        [`${name}Kernel`, [prefix + group, 0]],
        [`${name}Bias`, [prefix + group, 1]],
      ])
      .concat([
        ["gateKernel", ["_gate_dense", 0]],
        ["gateBias", ["_gate_dense", 1]],
      ]),
  );
/** A flag that older versions of Keras do not know: told where it is set. */
const NEWER: Codec = { read: FLAG.read, write: (value) => value === true || undefined };
const GATE: Part = { fields: { use_gate: NEWER, sliding_window: COUNT } };

/** By Lockstep's kinds; several where Keras has several classes. */
const BY_KIND: { readonly [kind: string]: Rule | readonly Rule[] } = {
  dense: rule("Dense", lockstep.dense, { args: ["units"], fields: { units: COUNT } }, ACTIVE, weighted("kernel"), BIAS, PLAIN),
  conv1d: rule(
    "Conv1D Convolution1D",
    lockstep.conv1d,
    filters(1),
    moves(1),
    dilated(1),
    { fields: { groups: COUNT } },
    ACTIVE,
    weighted("kernel"),
    BIAS,
    CHANNELS_LAST,
    PLAIN,
  ),
  conv2d: rule(
    "Conv2D Convolution2D",
    lockstep.conv2d,
    filters(2),
    moves(2),
    dilated(2),
    { fields: { groups: COUNT } },
    ACTIVE,
    weighted("kernel"),
    BIAS,
    CHANNELS_LAST,
    PLAIN,
  ),
  separableConv2d: rule(
    "SeparableConv2D SeparableConvolution2D",
    lockstep.separableConv2d,
    filters(2),
    moves(2),
    dilated(2),
    depthwise,
    weighted("pointwise"),
    ACTIVE,
    BIAS,
    CHANNELS_LAST,
    KERNEL_OF_DEPTHWISE(),
  ),
  depthwiseConv2d: rule(
    "DepthwiseConv2D",
    lockstep.depthwiseConv2d,
    { args: ["kernelSize"], fields: { kernel_size: sizes(2) } },
    moves(2),
    dilated(2),
    depthwise,
    ACTIVE,
    BIAS,
    CHANNELS_LAST,
    KERNEL_OF_DEPTHWISE(),
  ),
  conv2dTranspose: rule(
    "Conv2DTranspose Convolution2DTranspose",
    lockstep.conv2dTranspose,
    filters(2),
    moves(2),
    ACTIVE,
    weighted("kernel"),
    BIAS,
    CHANNELS_LAST,
    { must: { dilation_rate: [1, [1, 1]], output_padding: [], groups: [1] } },
  ),
  conv1dTranspose: rule(
    "Conv1DTranspose Convolution1DTranspose",
    lockstep.conv1dTranspose,
    filters(1),
    moves(1),
    ACTIVE,
    weighted("kernel"),
    BIAS,
    CHANNELS_LAST,
    { must: { dilation_rate: [1, [1]], output_padding: [], groups: [1] } },
  ),
  maxPool2d: rule("MaxPooling2D MaxPool2D", lockstep.maxPool2d, pooled(2), PADDING, CHANNELS_LAST),
  avgPool2d: rule("AveragePooling2D AvgPool2D", lockstep.avgPool2d, pooled(2), PADDING, CHANNELS_LAST),
  maxPool1d: rule("MaxPooling1D MaxPool1D", lockstep.maxPool1d, pooled(1), PADDING, CHANNELS_LAST),
  avgPool1d: rule("AveragePooling1D AvgPool1D", lockstep.avgPool1d, pooled(1), PADDING, CHANNELS_LAST),
  globalAvgPool2d: rule("GlobalAveragePooling2D GlobalAvgPool2D", lockstep.globalAvgPool2d, keepDims, CHANNELS_LAST),
  globalMaxPool2d: rule("GlobalMaxPooling2D GlobalMaxPool2D", lockstep.globalMaxPool2d, keepDims, CHANNELS_LAST),
  globalAvgPool1d: rule("GlobalAveragePooling1D GlobalAvgPool1D", lockstep.globalAvgPool1d, keepDims, CHANNELS_LAST),
  globalMaxPool1d: rule("GlobalMaxPooling1D GlobalMaxPool1D", lockstep.globalMaxPool1d, keepDims, CHANNELS_LAST),
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
  gaussianNoise: rule("GaussianNoise", lockstep.gaussianNoise, { args: ["stddev"], fields: { stddev: NUMBER } }, RANDOM),
  gaussianDropout: rule("GaussianDropout", lockstep.gaussianDropout, { args: ["rate"], fields: { rate: NUMBER } }, RANDOM),
  alphaDropout: rule("AlphaDropout", lockstep.alphaDropout, { args: ["rate"], fields: { rate: NUMBER } }, RANDOM),
  rescaling: rule("Rescaling", lockstep.rescaling, { args: ["scale"], fields: { scale: NUMBERS, offset: NUMBERS } }),
  resizing: rule("Resizing", lockstep.resizing, SIZED, CHANNELS_LAST, {
    fields: { interpolation: TEXT },
    must: { crop_to_aspect_ratio: [false], pad_to_aspect_ratio: [false], antialias: [false] },
    ignored: { fill_mode: undefined, fill_value: undefined },
    check: notInTfjs,
  }),
  centerCrop: rule("CenterCrop", lockstep.centerCrop, SIZED, CHANNELS_LAST, { check: notInTfjs }),
  randomFlip: rule("RandomFlip", lockstep.randomFlip, CHANNELS_LAST, { fields: { mode: MODE }, ignored: { seed: null } }),
  identity: rule("Identity", lockstep.identity),
  zeroPadding1d: rule("ZeroPadding1D", lockstep.zeroPadding1d, { args: ["padding"], fields: { padding: sizes(2, 0) } }, CHANNELS_LAST),
  cropping1d: rule("Cropping1D", lockstep.cropping1d, { args: ["cropping"], fields: { cropping: sizes(2, 0) } }),
  depthwiseConv1d: rule(
    "DepthwiseConv1D",
    lockstep.depthwiseConv1d,
    { args: ["kernelSize"], fields: { kernel_size: sizes(1) } },
    moves(1),
    dilated(1),
    depthwise,
    ACTIVE,
    BIAS,
    CHANNELS_LAST,
    KERNEL_OF_DEPTHWISE(),
  ),
  separableConv1d: rule(
    "SeparableConv1D SeparableConvolution1D",
    lockstep.separableConv1d,
    filters(1),
    moves(1),
    dilated(1),
    depthwise,
    weighted("pointwise"),
    ACTIVE,
    BIAS,
    CHANNELS_LAST,
    KERNEL_OF_DEPTHWISE(),
  ),
  activation: rule("Activation", lockstep.activation, { args: ["activation"], fields: { activation: ACTIVATION } }),
  zeroPadding2d: rule("ZeroPadding2D", lockstep.zeroPadding2d, { args: ["padding"], fields: { padding: FRAME } }, CHANNELS_LAST),
  cropping2d: rule("Cropping2D", lockstep.cropping2d, { args: ["cropping"], fields: { cropping: FRAME } }, CHANNELS_LAST),
  upSampling1d: rule("UpSampling1D", lockstep.upSampling1d, { args: ["size"], fields: { size: COUNT } }),
  upSampling2d: rule(
    "UpSampling2D",
    lockstep.upSampling2d,
    { args: ["size"], fields: { size: sizes(2), interpolation: TEXT }, check: halfPixels },
    CHANNELS_LAST,
  ),
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
  masking: rule("Masking", lockstep.masking, { fields: { mask_value: NUMBER } }),
  embedding: rule("Embedding", lockstep.embedding, weighted("embeddings"), PLAIN, {
    args: ["inputDim", "outputDim"],
    fields: { input_dim: COUNT, output_dim: COUNT, mask_zero: FLAG },
    ignored: { input_length: undefined, sparse: undefined },
  }),
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
  lstm: rule("LSTM LSTMV2", lockstep.lstm, recurrent, gated, { fields: { unit_forget_bias: FLAG } }),
  // Before it had the option there was one form.
  gru: rule("GRU GRUV2", lockstep.gru, recurrent, gated, { fields: { reset_after: optional(FLAG, false) } }),
  simpleRnn: rule("SimpleRNN", lockstep.simpleRnn, recurrent),
  add: rule("Add", lockstep.add as (...args: never[]) => Layer),
  subtract: rule("Subtract", lockstep.subtract),
  multiply: rule("Multiply", lockstep.multiply),
  average: rule("Average", lockstep.average),
  maximum: rule("Maximum", lockstep.maximumLayer),
  minimum: rule("Minimum", lockstep.minimumLayer),
  concatenate: rule("Concatenate", lockstep.concatenate, { fields: { axis: AXIS } }),
  dot: rule("Dot", lockstep.dot as (...args: never[]) => Layer, { fields: { axes: AXES, normalize: FLAG } }),
  attention: rule("Attention", lockstep.attention as (...args: never[]) => Layer, {
    fields: { use_scale: FLAG, score_mode: TEXT, dropout: NUMBER, causal: { read: (f, name) => f.flag(name), write: () => undefined } },
    names: { causal: "useCausalMask" },
    ignored: { seed: null },
  }),
  multiHeadAttention: rule("MultiHeadAttention", lockstep.multiHeadAttention, attending, GATE, {
    args: ["numHeads", "keyDim"],
    fields: { num_heads: COUNT, key_dim: COUNT, value_dim: COUNT, output_shape: AXES },
    ignored: { query_shape: undefined, key_shape: undefined, value_shape: undefined },
    groups: heads(""),
  }),
  groupedQueryAttention: rule("GroupQueryAttention GroupedQueryAttention", lockstep.groupedQueryAttention, attending, GATE, {
    args: ["headDim", "numQueryHeads", "numKeyValueHeads"],
    fields: { head_dim: COUNT, num_query_heads: COUNT, num_key_value_heads: COUNT },
    ignored: { query_shape: undefined, key_shape: undefined, value_shape: undefined },
    groups: heads("_"),
  }),
};

/** What layers whose kernels have other names say of `kernel` in the files of Keras 2: nothing, or the default. */
function KERNEL_OF_DEPTHWISE(): Part {
  return { ignored: { kernel_initializer: undefined }, must: { kernel_regularizer: [], kernel_constraint: [], groups: [1] } };
}

/** TensorFlow.js takes the pixels at the corners for corners, and crops by resizing: both give other pixels than Keras'. */
function notInTfjs(f: Fields): void {
  if (f.dialect === "tfjs") throw new FileError(`${f.who}: TensorFlow.js takes other pixels than Keras and Lockstep do`);
}

/** TensorFlow.js interpolates from the corners of pixels, Keras from their centers. */
function halfPixels(f: Fields): void {
  if (f.dialect === "tfjs") f.must("interpolation", "nearest");
}

/** Rules by the kind of layer that they make. */
export const RULES: readonly Rule[] = Object.entries(BY_KIND).flatMap(([kind, rules]) =>
  (Array.isArray(rules) ? (rules as readonly Rule[]) : [rules as Rule]).map((r) => ({ ...r, kind })),
);

/** By Keras' class. */
export const BY_CLASS: { readonly [className: string]: Rule } = Object.fromEntries(
  RULES.flatMap((r) => r.classes.map((name) => [name, r] as const)),
);

/** Lockstep's name of an option. */
export const optionOf = (r: Rule, field: string): string => (Object.hasOwn(r.names, field) ? r.names[field] : camel(field));

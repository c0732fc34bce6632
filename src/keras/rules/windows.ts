/** @file Rules of convolutions and pooling. */
import * as lockstep from "../../index.ts";
import { COUNT, FLAG, sizes, TEXT } from "../codecs.ts";
import { ACTIVE, BIAS, CHANNELS_LAST, joined, PADDING, PLAIN, rule, weighted } from "../rule.ts";
import type { Part, Rules } from "../rule.ts";

const moves = (rank: number): Part => ({ fields: { strides: sizes(rank), padding: TEXT } });
const dilated = (rank: number): Part => ({ fields: { dilation_rate: sizes(rank) } });
const filters = (rank: number): Part => ({
  args: ["filters", "kernelSize"],
  fields: { filters: COUNT, kernel_size: sizes(rank) },
});
const depthwise: Part = joined(weighted("depthwise"), { fields: { depth_multiplier: COUNT } });
const pooled = (rank: number): Part => ({
  args: ["poolSize"],
  fields: { pool_size: sizes(rank), strides: sizes(rank) },
});
const keepDims: Part = { fields: { keepdims: FLAG }, names: { keepdims: "keepDims" } };

export const WINDOWS: Rules = {
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
};

/** What layers whose kernels have other names say of `kernel` in the files of Keras 2: nothing, or the default. */
function KERNEL_OF_DEPTHWISE(): Part {
  return { ignored: { kernel_initializer: undefined }, must: { kernel_regularizer: [], kernel_constraint: [], groups: [1] } };
}

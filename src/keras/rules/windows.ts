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
/** What layers whose kernels have other names say of `kernel` in the files of Keras 2: nothing, or the default. */
const OF_DEPTHWISE: Part = joined(ACTIVE, BIAS, CHANNELS_LAST, {
  ignored: { kernel_initializer: undefined },
  must: { kernel_regularizer: [], kernel_constraint: [], groups: [1] },
});
const pooled = (rank: number): Part => ({
  args: ["poolSize"],
  fields: { pool_size: sizes(rank), strides: sizes(rank) },
});
const keepDims: Part = { fields: { keepdims: FLAG }, names: { keepdims: "keepDims" } };

const kernel: Part = joined(ACTIVE, weighted("kernel"), BIAS, CHANNELS_LAST, PLAIN);
const convolved = (rank: number): Part => joined(filters(rank), moves(rank), dilated(rank), { fields: { groups: COUNT } }, kernel);
const transposed = (rank: number): Part =>
  joined(filters(rank), moves(rank), kernel, {
    must: { dilation_rate: [1, new Array<number>(rank).fill(1)], output_padding: [], groups: [1] },
  });
const alone = (rank: number): Part =>
  joined({ args: ["kernelSize"], fields: { kernel_size: sizes(rank) } }, moves(rank), dilated(rank), depthwise, OF_DEPTHWISE);
const separable = (rank: number): Part => joined(filters(rank), moves(rank), dilated(rank), depthwise, weighted("pointwise"), OF_DEPTHWISE);
const windows = (rank: number): Part => joined(pooled(rank), PADDING, CHANNELS_LAST);
const adapted = (rank: number): Part => joined({ args: ["outputSize"], fields: { output_size: sizes(rank) } }, CHANNELS_LAST);
const whole: Part = joined(keepDims, CHANNELS_LAST);

export const WINDOWS: Rules = {
  conv1d: rule("Conv1D Convolution1D", lockstep.conv1d, convolved(1)),
  conv2d: rule("Conv2D Convolution2D", lockstep.conv2d, convolved(2)),
  conv3d: rule("Conv3D Convolution3D", lockstep.conv3d, convolved(3)),
  separableConv1d: rule("SeparableConv1D SeparableConvolution1D", lockstep.separableConv1d, separable(1)),
  separableConv2d: rule("SeparableConv2D SeparableConvolution2D", lockstep.separableConv2d, separable(2)),
  depthwiseConv1d: rule("DepthwiseConv1D", lockstep.depthwiseConv1d, alone(1)),
  depthwiseConv2d: rule("DepthwiseConv2D", lockstep.depthwiseConv2d, alone(2)),
  conv1dTranspose: rule("Conv1DTranspose Convolution1DTranspose", lockstep.conv1dTranspose, transposed(1)),
  conv2dTranspose: rule("Conv2DTranspose Convolution2DTranspose", lockstep.conv2dTranspose, transposed(2)),
  conv3dTranspose: rule("Conv3DTranspose Convolution3DTranspose", lockstep.conv3dTranspose, transposed(3)),
  maxPool1d: rule("MaxPooling1D MaxPool1D", lockstep.maxPool1d, windows(1)),
  maxPool2d: rule("MaxPooling2D MaxPool2D", lockstep.maxPool2d, windows(2)),
  maxPool3d: rule("MaxPooling3D MaxPool3D", lockstep.maxPool3d, windows(3)),
  avgPool1d: rule("AveragePooling1D AvgPool1D", lockstep.avgPool1d, windows(1)),
  avgPool2d: rule("AveragePooling2D AvgPool2D", lockstep.avgPool2d, windows(2)),
  avgPool3d: rule("AveragePooling3D AvgPool3D", lockstep.avgPool3d, windows(3)),
  globalAvgPool1d: rule("GlobalAveragePooling1D GlobalAvgPool1D", lockstep.globalAvgPool1d, whole),
  globalAvgPool2d: rule("GlobalAveragePooling2D GlobalAvgPool2D", lockstep.globalAvgPool2d, whole),
  globalAvgPool3d: rule("GlobalAveragePooling3D GlobalAvgPool3D", lockstep.globalAvgPool3d, whole),
  globalMaxPool1d: rule("GlobalMaxPooling1D GlobalMaxPool1D", lockstep.globalMaxPool1d, whole),
  globalMaxPool2d: rule("GlobalMaxPooling2D GlobalMaxPool2D", lockstep.globalMaxPool2d, whole),
  globalMaxPool3d: rule("GlobalMaxPooling3D GlobalMaxPool3D", lockstep.globalMaxPool3d, whole),
  adaptiveAvgPool1d: rule("AdaptiveAveragePooling1D", lockstep.adaptiveAvgPool1d, adapted(1)),
  adaptiveAvgPool2d: rule("AdaptiveAveragePooling2D", lockstep.adaptiveAvgPool2d, adapted(2)),
  adaptiveAvgPool3d: rule("AdaptiveAveragePooling3D", lockstep.adaptiveAvgPool3d, adapted(3)),
  adaptiveMaxPool1d: rule("AdaptiveMaxPooling1D", lockstep.adaptiveMaxPool1d, adapted(1)),
  adaptiveMaxPool2d: rule("AdaptiveMaxPooling2D", lockstep.adaptiveMaxPool2d, adapted(2)),
  adaptiveMaxPool3d: rule("AdaptiveMaxPooling3D", lockstep.adaptiveMaxPool3d, adapted(3)),
};

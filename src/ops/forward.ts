/**
 * @file Functions of tensors, all but those that serve training alone, which public.ts adds: those of common.ts, and what only `ops` has by
 * these names.
 */
export * from "./common.ts";
export { add, relu } from "./map.ts";
export type { ReduceOptions } from "./reduce.ts";
export { dot, matrixTranspose } from "./matmul.ts";
export type { MatmulOptions } from "./matmul.ts";
export { conv2d, conv2dTranspose } from "./conv.ts";
export type { Conv2dOptions, Conv2dTransposeOptions } from "./conv.ts";
export { avgPool2d, maxPool2d } from "./pool.ts";
export type { PoolOptions } from "./pool.ts";
export { softmax } from "./softmax.ts";
export { reshape, stopGradient } from "./move.ts";
export { attention } from "./attention.ts";
export type { AttentionOptions } from "./attention.ts";
export { rotary } from "./rotary.ts";
export type { RotaryOptions } from "./rotary.ts";
export { scatterUpdate } from "./scatter.ts";
export { massThreshold } from "./threshold.ts";
export type { MassThresholdOptions } from "./threshold.ts";
export { gruSequence, lstmSequence, simpleRnnSequence } from "./recurrent.ts";
export { elu, hardSilu, leakyRelu, mish, relu6 } from "./activation.ts";

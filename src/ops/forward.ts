/** @file Functions of tensors but those that serve training alone; public.ts adds these. */
export * from "./composite.ts";
export { abs, add, and, cast, ceil, cos, div, equal, erf, erfc, exp, expm1, floor, floorDiv, greater, greaterEqual, isFinite, less, lessEqual, log, log1p, maximum, minimum, mod, mul, neg, not, notEqual, or, pow, reciprocal, relu, round, rsqrt, sigmoid, sign, sin, sqrt, square, sub, tanh, where, xor } from "./map.ts";
export { argMax, argMin, max, min, prod, sum } from "./reduce.ts";
export type { ReduceOptions } from "./reduce.ts";
export { dot, matmul, matrixTranspose } from "./matmul.ts";
export type { MatmulOptions } from "./matmul.ts";
export { conv2d, conv2dTranspose } from "./conv.ts";
export type { Conv2dOptions } from "./conv.ts";
export { avgPool2d, maxPool2d } from "./pool.ts";
export type { PoolOptions } from "./pool.ts";
export { logSoftmax, logSumExp, oneHot, softmax } from "./softmax.ts";
export { broadcastTo, concat, expandDims, flip, iota, pad, reshape, slice, stack, stopGradient, transpose } from "./move.ts";
export { gather, scatterAdd } from "./gather.ts";
export { randomBernoulli, randomBits, randomCategorical, randomNormal, randomUniform } from "./random.ts";
export { rotary } from "./rotary.ts";
export type { RotaryOptions } from "./rotary.ts";
export { gruSequence, lstmSequence, simpleRnnSequence } from "./recurrent.ts";
export { elu, gelu, hardSigmoid, hardSilu, leakyRelu, mish, relu6, selu, silu, softplus, softsign } from "./activation.ts";

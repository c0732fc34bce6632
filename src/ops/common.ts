/** @file The functions of tensors that `lockstep` and `lockstep/inference` export by name, beside all of them in `ops`. */
export {
  abs, and, argMax, argMin, broadcastTo, cast, ceil, clip, concat, cos, div, dot, equal, erf, erfc, exp, expandDims, expm1, flip, floor, floorDiv, gather, gelu, greater, greaterEqual, hardSigmoid,
  iota, isFinite, less, lessEqual, log, log1p, logSoftmax, logSumExp, matmul, max, maximum, mean, min, minimum, mod, mul, neg, norm, not, notEqual, oneHot, or, pad, pow, prod,
  randomBernoulli, randomBits, randomCategorical, randomNormal, randomUniform, reciprocal, round, rsqrt, scatterAdd, selu, sigmoid, sign, silu, sin, slice, softplus, softsign,
  sqrt, square, stack, sub, sum, tanh, transpose, variance, where, xor,
} from "./forward.ts";

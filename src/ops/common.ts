/** @file The functions of tensors that `lockstep` and `lockstep/inference` export by name, and `ops` too. */
export {
  abs,
  and,
  cast,
  ceil,
  cos,
  div,
  equal,
  erf,
  erfc,
  exp,
  expm1,
  floor,
  floorDiv,
  greater,
  greaterEqual,
  isFinite,
  less,
  lessEqual,
  log,
  log1p,
  maximum,
  minimum,
  mod,
  mul,
  neg,
  not,
  notEqual,
  or,
  pow,
  reciprocal,
  round,
  rsqrt,
  sigmoid,
  sign,
  sin,
  sqrt,
  square,
  sub,
  tanh,
  where,
  xor,
} from "./map.ts";
export { argMax, argMin, max, min, prod, sum } from "./reduce.ts";
export { broadcastTo, concat, expandDims, flip, iota, pad, slice, stack, transpose } from "./move.ts";
export { clip, mean, norm, variance } from "./composite.ts";
export { matmul } from "./matmul.ts";
export { gather, scatterAdd } from "./gather.ts";
export { gelu, hardSigmoid, selu, silu, softplus, softsign } from "./activation.ts";
export { logSoftmax, logSumExp, oneHot } from "./softmax.ts";
export { randomBernoulli, randomBits, randomCategorical, randomNormal, randomUniform, randomWindows } from "./random.ts";

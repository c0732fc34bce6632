/** @file All functions of tensors, as the namespace `ops`. */
export * from "./forward.ts";
export { permutation } from "./random.ts";
export { softmaxCrossEntropy } from "./softmax.ts";

/** @file Functions over ops. No rules, no kernels: gradients and fusion come for free. Adding one is adding it here. */
import type { Tensor, TensorLike } from "../tensor.ts";
import { normalizeAxes } from "../shape.ts";
import { div, maximum, minimum, mul, sqrt, square, sub } from "./map.ts";
import { sum } from "./reduce.ts";
import type { ReduceOptions } from "./reduce.ts";

/** min(max(x, low), high) */
export const clip = (x: Tensor, low: TensorLike, high: TensorLike): Tensor => minimum(maximum(x, low), high);

/** Mean over `axis` (default: all). NaN for an empty axis. */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  const count = normalizeAxes("mean", options.axis ?? null, x.rank).reduce((n, a) => n * x.shape[a], 1);
  return count === 0 ? div(sum(x, options), 0) : mul(sum(x, options), 1 / count);
}

/** Mean square distance from the mean over `axis` (default: all): the biased variance. */
export function variance(x: Tensor, options: ReduceOptions = {}): Tensor {
  return mean(square(sub(x, mean(x, { ...options, keepDims: true }))), options);
}

/** Square root of the sum of squares over `axis` (default: all). Its gradient is not finite at 0. */
export const norm = (x: Tensor, options: ReduceOptions = {}): Tensor => sqrt(sum(square(x), options));

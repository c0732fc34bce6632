/** @file Functions over ops. No rules, no kernels: gradients and fusion come for free. Adding one is adding it here. */
import type { Tensor, TensorLike } from "../tensor.ts";
import { normalizeAxes } from "../shape.ts";
import { div, equal, maximum, minimum, sqrt, square, sub, where } from "./map.ts";
import { toFloat } from "./promote.ts";
import { reduceOptions, sum } from "./reduce.ts";
import type { ReduceOptions } from "./reduce.ts";

/** min(max(x, low), high). Dtypes promote: a fractional bound makes integers f32. */
export const clip = (x: TensorLike, low: TensorLike, high: TensorLike): Tensor => minimum(maximum(x, low), high);

/** Mean over `axis` (default: all), f32. NaN for an empty axis. */
export function mean(x: TensorLike, options: ReduceOptions = {}): Tensor {
  const t = toFloat("mean", x);
  const { axis, keepDims } = reduceOptions("mean", options);
  const count = normalizeAxes("mean", axis, t.rank).reduce((n, a) => n * t.shape[a], 1);
  const total = sum(t, { axis, keepDims });
  return div(total, count);
}

/** Mean square distance from the mean over `axis` (default: all), f32: the biased variance. */
export function variance(x: TensorLike, options: ReduceOptions = {}): Tensor {
  const t = toFloat("variance", x);
  const { axis, keepDims } = reduceOptions("variance", options);
  return mean(square(sub(t, mean(t, { axis, keepDims: true }))), { axis, keepDims });
}

/** Square root of the sum of squares over `axis` (default: all), f32. Its gradient is 0 where it is 0, as in PyTorch. */
export function norm(x: TensorLike, options: ReduceOptions = {}): Tensor {
  const squares = sum(square(toFloat("norm", x)), reduceOptions("norm", options));
  const none = equal(squares, 0);
  return where(none, 0, sqrt(where(none, 1, squares)));
}

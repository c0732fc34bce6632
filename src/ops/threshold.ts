/** @file The element of each row from which on its largest hold a given weight: where sampling from the likeliest alone begins. */
import { apply } from "../apply.ts";
import { checkOptions } from "../check.ts";
import { ShapeError } from "../errors.ts";
import { floats } from "../graph.ts";
import type { Op } from "../graph.ts";
import * as kernels from "../kernels.ts";
import type { MassThresholdAttrs } from "../plan/kernels.ts";
import { sameShape, showShape } from "../shape.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { asMatrix, reshape } from "./broadcast.ts";
import { toFloat } from "./promote.ts";

/** (x[rows, cols], weights?[rows, cols], mass[1 or rows]) -> y[rows]. */
export const massThresholdOp: Op = {
  name: "massThreshold",
  infer: (_inputs, attrs) => floats([(attrs as unknown as MassThresholdAttrs).rows]),
  vjp: null,
  lower: kernels.massThreshold,
};

/** Options of `massThreshold`. */
export interface MassThresholdOptions {
  /** What each element weighs, of the shape of x. Default: 1. */
  readonly weights?: TensorLike;
}

/**
 * The greatest element t of each row of x[..., n] such that the weights of all elements >= t add up to at least `mass`, a number or [...];
 * the row's least element where not even all do. f32 [...], without a gradient.
 *
 * With mass k and no weights it is the k-th largest element: what is >= it are the k largest (and what equals the k-th). With weights =
 * softmax(x) and mass p it bounds the nucleus of Holtzman et al. 2020, arXiv 1904.09751 (top-p). A NaN in x counts as -infinity, a weight
 * that is negative or NaN as 0, a mass that is NaN is never reached. Sums of weights are f32, in an order that shapes alone decide.
 * @throws ShapeError where x has no rows of at least one element, weights another shape than x, or mass another than a number's or [...].
 */
export function massThreshold(x: TensorLike, mass: TensorLike, options: MassThresholdOptions = {}): Tensor {
  const { weights } = checkOptions("massThreshold", options, ["weights"]);
  const t = toFloat("massThreshold", x);
  const m = toFloat("massThreshold", mass);
  const w = weights === undefined ? null : toFloat("massThreshold", weights);
  if (t.rank === 0 || t.shape[t.rank - 1] === 0) {
    throw new ShapeError(`massThreshold: expected rows of at least one element, got ${showShape(t.shape)}`);
  }
  if (w !== null && !sameShape(w.shape, t.shape)) {
    throw new ShapeError(`massThreshold: weights must have the shape of x, ${showShape(t.shape)}, got ${showShape(w.shape)}`);
  }
  const outer = t.shape.slice(0, -1);
  if (m.rank !== 0 && !sameShape(m.shape, outer)) {
    throw new ShapeError(`massThreshold: mass must be a number or have the shape ${showShape(outer)}, got ${showShape(m.shape)}`);
  }
  const flat = asMatrix(t);
  const [rows, cols] = flat.shape;
  const y = apply(massThresholdOp, [flat, w && asMatrix(w), reshape(m, [m.size])], { rows, cols, shared: m.rank === 0 })[0];
  return reshape(y, outer);
}

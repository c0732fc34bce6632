/**
 * @file Reductions over axes. Kernel `reduce` works on [outer, size, inner]; axes that are not neighbours are reduced one run after
 * another.
 */
import { checkFlag, checkOptions } from "../check.ts";
import { asTensor } from "../graph.ts";
import type { Op } from "../graph.ts";
import { aroundAxes, normalizeAxes, normalizeAxis } from "../shape.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { alongAxes, broadcastTo, kept, reduceAxes, reduction, reshape, ruleOf, sumOp } from "./broadcast.ts";
import type { ReductionRule } from "./broadcast.ts";
import { cast, div, equal, mul } from "./map.ts";
import { flip, pad, slice } from "./move.ts";
import { TRAINING } from "../training.ts";

export { sumOp } from "./broadcast.ts";

/** The gradient of max and min goes in equal parts to all elements that are the extreme. */
const extreme: ReductionRule = (dy, y, x, axis, count) => {
  const hit = cast(equal(x, y), "f32");
  return mul(hit, div(dy, kept(alongAxes(sumOp, hit, axis, count), x, axis, count)));
};

/**
 * For each element along the middle of x[outer, size, inner] the product of the others. Neighbours are paired, so that nothing is divided:
 * an element may be 0. Those without a partner get 1, and the others of a pair are those of both.
 */
function productOfOthers(x: Tensor): Tensor {
  const [outer, size, inner] = x.shape;
  if (size === 1) return broadcastTo(asTensor(1), x.shape);
  const half = Math.ceil(size / 2);
  const pairs = reshape(pad(x, [[0, 0], [0, 2 * half - size], [0, 0]], 1), [outer, half, 2, inner]);
  const others = reshape(productOfOthers(alongAxes(prodOp, pairs, 2, 1)), [outer, half, 1, inner]);
  return slice(reshape(mul(others, flip(pairs, 2)), [outer, 2 * half, inner]), [0, 0, 0], [outer, size, inner]);
}

const factors: ReductionRule = (dy, _y, x, axis, count) => {
  const { outer, size, inner } = aroundAxes(x.shape, axis, count);
  return x.size === 0 ? x : mul(dy, reshape(productOfOthers(reshape(x, [outer, size, inner])), x.shape));
};

// Rules stand here, each with its op, so that bundles have those of the ops they use.
export const maxOp: Op = Object.assign(reduction("max", ["f32", "i32"]), { vjp: TRAINING ? ruleOf(extreme) : null } satisfies Partial<Op>);
export const minOp: Op = Object.assign(reduction("min", ["f32", "i32"]), { vjp: TRAINING ? ruleOf(extreme) : null } satisfies Partial<Op>);
export const prodOp: Op = Object.assign(reduction("prod", ["f32", "i32"]), {
  vjp: TRAINING ? ruleOf(factors) : null,
} satisfies Partial<Op>);
export const argMaxOp = reduction("argmax", ["f32", "i32"], "i32");
export const argMinOp = reduction("argmin", ["f32", "i32"], "i32");

/** Options of sums, means and other reductions. */
export interface ReduceOptions {
  /** Axis or axes to reduce, negative from the end. Default: all. */
  readonly axis?: number | readonly number[] | null;
  /** Keep the reduced dimensions as 1. Default false. */
  readonly keepDims?: boolean;
}

/** Checked options over their defaults. */
export function reduceOptions(who: string, options: ReduceOptions): Required<ReduceOptions> {
  const { axis = null, keepDims = false } = checkOptions(who, options, ["axis", "keepDims"]);
  checkFlag(who, "keepDims", keepDims);
  return { axis, keepDims };
}

/** Bools count as i32. u32 sums and multiplies as i32 does, with the same bits. */
function reduce(op: Op, x: TensorLike, options: ReduceOptions): Tensor {
  const t = asTensor(x, "f32", op.name);
  const { axis, keepDims } = reduceOptions(op.name, options);
  // By name: bundles that sum do without products.
  const additive = op.name === "sum" || op.name === "prod";
  if (t.dtype === "bool" || (t.dtype === "u32" && additive)) {
    const y = reduce(op, cast(t, "i32"), options);
    return t.dtype === "u32" || !additive ? cast(y, t.dtype) : y;
  }
  const axes = normalizeAxes(op.name, axis, t.rank);
  const y = reduceAxes(op, t, axes);
  return keepDims
    ? reshape(
        y,
        t.shape.map((d, i) => (axes.includes(i) ? 1 : d)),
      )
    : y;
}

/** Sum over `axis`. Integers wrap, bools are counted in i32. */
export const sum = (x: TensorLike, options: ReduceOptions = {}): Tensor => reduce(sumOp, x, options);
/** Largest element over `axis`. @throws ShapeError for an empty axis. */
export const max = (x: TensorLike, options: ReduceOptions = {}): Tensor => reduce(maxOp, x, options);
/** Smallest element over `axis`. @throws ShapeError for an empty axis. */
export const min = (x: TensorLike, options: ReduceOptions = {}): Tensor => reduce(minOp, x, options);
/** Product over `axis`. Integers wrap. */
export const prod = (x: TensorLike, options: ReduceOptions = {}): Tensor => reduce(prodOp, x, options);

function arg(who: string, op: Op, x: TensorLike, axis: number): Tensor {
  const t = asTensor(x, "f32", who);
  return alongAxes(op, t.dtype === "bool" ? cast(t, "i32") : t, normalizeAxis(who, axis, t.rank), 1);
}

/** Index (i32) of the first largest element along `axis` (default: last). */
export const argMax = (x: TensorLike, axis = -1): Tensor => arg("argMax", argMaxOp, x, axis);
/** Index (i32) of the first smallest element along `axis` (default: last). */
export const argMin = (x: TensorLike, axis = -1): Tensor => arg("argMin", argMinOp, x, axis);

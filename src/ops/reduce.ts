/** @file Reductions over axes. Kernel `reduce` works on [outer, size, inner]; axes that are not neighbours are reduced one run after another. */
import { apply } from "../apply.ts";
import { checkFlag, checkOptions } from "../check.ts";
import { ShapeError } from "../errors.ts";
import { asTensor } from "../graph.ts";
import type { Op, Vjp } from "../graph.ts";
import { prologueOf } from "../plan/fuse.ts";
import type { ReduceOp } from "../plan/kernels.ts";
import type { DType } from "../dtype.ts";
import { aroundAxes, normalizeAxes, normalizeAxis, sameShape, showShape, sizeBetween } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { checkDType } from "../tensor.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import * as wasm from "../wasm/encode/reduce.ts";
import { cast, div, equal, mul } from "./map.ts";
import { broadcastTo, flip, pad, reshape, slice } from "./move.ts";

/** dy with the reduced dimensions back, as ones. */
function kept(dy: Tensor, x: Tensor, axis: number, count: number): Tensor {
  return reshape(dy, x.shape.map((d, i) => (i >= axis && i < axis + count ? 1 : d)));
}

/** `shape` with the reduced dimensions left out. */
const without = (shape: Shape, axis: number, count: number): Shape => shape.filter((_, i) => i < axis || i >= axis + count);

/** `dy` and `y` with the reduced dimensions as ones. */
type Rule = (dy: Tensor, y: Tensor, x: Tensor, axis: number, count: number) => Tensor;

/** The gradient of max and min goes in equal parts to all elements that are the extreme. */
const extreme: Rule = (dy, y, x, axis, count) => {
  const hit = cast(equal(x, y), "f32");
  return mul(hit, div(dy, kept(run(sumOp, hit, axis, count), x, axis, count)));
};

/**
 * For each element along the middle of x[outer, size, inner] the product of the others. Neighbours are paired, so that nothing is
 * divided: an element may be 0. Those without a partner get 1, and the
 * others of a pair are those of both.
 */
function productOfOthers(x: Tensor): Tensor {
  const [outer, size, inner] = x.shape;
  if (size === 1) return broadcastTo(asTensor(1), x.shape);
  const half = Math.ceil(size / 2);
  const pairs = reshape(pad(x, [[0, 0], [0, 2 * half - size], [0, 0]], 1), [outer, half, 2, inner]);
  const others = reshape(productOfOthers(run(prodOp, pairs, 2, 1)), [outer, half, 1, inner]);
  return slice(reshape(mul(others, flip(pairs, 2)), [outer, 2 * half, inner]), [0, 0, 0], [outer, size, inner]);
}

const factors: Rule = (dy, _y, x, axis, count) => {
  const { outer, size, inner } = aroundAxes(x.shape, axis, count);
  return x.size === 0 ? x : mul(dy, reshape(productOfOthers(reshape(x, [outer, size, inner])), x.shape));
};

const by = (rule: Rule): Vjp => ({ dy, y, x, attrs }) => {
  const [axis, count] = [attrs.axis as number, attrs.count as number];
  const inp = x[0] as Tensor;
  return [rule(kept(dy[0] as Tensor, inp, axis, count), kept(y[0], inp, axis, count), inp, axis, count)];
};

function reduction(op: ReduceOp, dtypes: readonly DType[], result: DType | null = null): Op {
  return {
    name: op,
    infer: ([input], attrs) => {
      const x = input as Tensor;
      const [axis, count] = [attrs.axis as number, attrs.count as number];
      checkDType(op, x, dtypes);
      if (op !== "sum" && op !== "prod" && sizeBetween(x.shape, axis, axis + count) === 0) throw new ShapeError(`${op}: nothing to reduce over in ${showShape(x.shape)}`);
      return [{ shape: without(x.shape, axis, count), dtype: result ?? x.dtype }];
    },
    vjp: null,
    prologue: prologueOf,
    lower: (node) => {
      const x = node.inputs[0] as Tensor;
      const [axis, count] = [node.attrs.axis as number, node.attrs.count as number];
      return [{ kernel: "reduce", encode: wasm.reduce, inputs: [x], outputs: node.outputs, attrs: { op, ...aroundAxes(x.shape, axis, count), body: null } }];
    },
  };
}

// Rules stand here, each with its op, so that bundles have those of the ops they use.
export const sumOp: Op = Object.assign(reduction("sum", ["f32", "i32"]), { vjp: by((dy, _y, x) => broadcastTo(dy, x.shape)) });
export const maxOp: Op = Object.assign(reduction("max", ["f32", "i32"]), { vjp: by(extreme) });
export const minOp: Op = Object.assign(reduction("min", ["f32", "i32"]), { vjp: by(extreme) });
export const prodOp: Op = Object.assign(reduction("prod", ["f32", "i32"]), { vjp: by(factors) });
export const argMaxOp = reduction("argmax", ["f32", "i32"], "i32");
export const argMinOp = reduction("argmin", ["f32", "i32"], "i32");

function run(op: Op, x: Tensor, axis: number, count: number): Tensor {
  // One element is its own sum, extreme and product.
  if (op !== argMaxOp && op !== argMinOp && sizeBetween(x.shape, axis, axis + count) === 1) return reshape(x, without(x.shape, axis, count));
  return apply(op, [x], { axis, count })[0];
}

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
  let y = t;
  for (let end = axes.length; end > 0; ) {
    let start = end - 1;
    while (start > 0 && axes[start - 1] === axes[start] - 1) start--;
    y = run(op, y, axes[start], end - start);
    end = start;
  }
  return keepDims ? reshape(y, t.shape.map((d, i) => (axes.includes(i) ? 1 : d))) : y;
}

/** Sum over `axis`. Integers wrap, bools are counted in i32. */
export const sum = (x: TensorLike, options: ReduceOptions = {}): Tensor => reduce(sumOp, x, options);
/** Largest element over `axis`. @throws ShapeError for an empty axis. */
export const max = (x: TensorLike, options: ReduceOptions = {}): Tensor => reduce(maxOp, x, options);
/** Smallest element over `axis`. @throws ShapeError for an empty axis. */
export const min = (x: TensorLike, options: ReduceOptions = {}): Tensor => reduce(minOp, x, options);
/** Product over `axis`. Integers wrap. */
export const prod = (x: TensorLike, options: ReduceOptions = {}): Tensor => reduce(prodOp, x, options);

function arg(op: Op, x: TensorLike, axis: number): Tensor {
  const t = asTensor(x, "f32", op.name);
  return run(op, t.dtype === "bool" ? cast(t, "i32") : t, normalizeAxis(op.name, axis, t.rank), 1);
}

/** Index (i32) of the first largest element along `axis` (default: last). */
export const argMax = (x: TensorLike, axis = -1): Tensor => arg(argMaxOp, x, axis);
/** Index (i32) of the first smallest element along `axis` (default: last). */
export const argMin = (x: TensorLike, axis = -1): Tensor => arg(argMinOp, x, axis);

/** `x` summed down to `shape`: undoes broadcasting. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.rank - shape.length;
  const axes = x.shape.map((_, i) => i).filter((i) => i < lead || (shape[i - lead] === 1 && x.shape[i] !== 1));
  return reshape(sum(x, { axis: axes }), shape);
}

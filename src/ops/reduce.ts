/** @file Reductions over axes. Kernel `reduce` works on [outer, size, inner]; axes that are not neighbours are reduced one run after another. */
import { apply } from "../apply.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import type { Op, Vjp } from "../graph.ts";
import { prologueOf } from "../plan/fuse.ts";
import type { ReduceOp } from "../plan/kernels.ts";
import type { DType } from "../dtype.ts";
import { aroundAxes, normalizeAxes, normalizeAxis, sameShape, showShape, sizeBetween } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { checkDType } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";
import * as wasm from "../wasm/encode/reduce.ts";
import { cast, div, equal, mul } from "./map.ts";
import { broadcastTo, reshape } from "./move.ts";

/** dy with the reduced dimensions back, as ones. */
function kept(dy: Tensor, x: Tensor, axis: number, count: number): Tensor {
  return reshape(dy, x.shape.map((d, i) => (i >= axis && i < axis + count ? 1 : d)));
}

/** `shape` with the reduced dimensions left out. */
const without = (shape: Shape, axis: number, count: number): Shape => shape.filter((_, i) => i < axis || i >= axis + count);

const RULES: { readonly [op: string]: (dy: Tensor, y: Tensor, x: Tensor) => Tensor } = {
  sum: (dy, _y, x) => broadcastTo(dy, x.shape),
  prod: (dy, y, x) => div(mul(dy, y), x),
};

/** The gradient of max and min goes in equal parts to all elements that are the extreme. */
const extreme = (dy: Tensor, y: Tensor, x: Tensor, axis: number, count: number): Tensor => {
  const hit = cast(equal(x, kept(y, x, axis, count)), "f32");
  return mul(hit, div(kept(dy, x, axis, count), kept(run(sumOp, hit, axis, count), x, axis, count)));
};

function reduction(op: ReduceOp, dtypes: readonly DType[], result: DType | null): Op {
  const rule = RULES[op];
  const vjp: Vjp = ({ dy, y, x, attrs }) => {
    const [axis, count] = [attrs.axis as number, attrs.count as number];
    const [d, out, inp] = [dy[0] as Tensor, y[0], x[0] as Tensor];
    if (op === "max" || op === "min") return [extreme(d, out, inp, axis, count)];
    return [rule(kept(d, inp, axis, count), kept(out, inp, axis, count), inp)];
  };
  return {
    name: op,
    infer: ([input], attrs) => {
      const x = input as Tensor;
      const [axis, count] = [attrs.axis as number, attrs.count as number];
      checkDType(op, x, dtypes);
      if (op !== "sum" && op !== "prod" && sizeBetween(x.shape, axis, axis + count) === 0) throw new ShapeError(`${op}: nothing to reduce over in ${showShape(x.shape)}`);
      return [{ shape: without(x.shape, axis, count), dtype: result ?? x.dtype }];
    },
    vjp: result === null ? vjp : null,
    prologue: prologueOf,
    lower: (node) => {
      const x = node.inputs[0] as Tensor;
      const [axis, count] = [node.attrs.axis as number, node.attrs.count as number];
      return [{ kernel: "reduce", encode: wasm.reduce, inputs: [x], outputs: node.outputs, attrs: { op, ...aroundAxes(x.shape, axis, count), body: null } }];
    },
  };
}

export const sumOp = reduction("sum", ["f32", "i32"], null);
export const maxOp = reduction("max", ["f32", "i32"], null);
export const minOp = reduction("min", ["f32", "i32"], null);
/** The gradient divides by the elements: it is not finite where one is 0. */
export const prodOp = reduction("prod", ["f32", "i32"], null);
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

function reduce(op: Op, x: Tensor, { axis = null, keepDims = false }: ReduceOptions): Tensor {
  const axes = normalizeAxes(op.name, axis, x.rank);
  let y = x;
  for (let end = axes.length; end > 0; ) {
    let start = end - 1;
    while (start > 0 && axes[start - 1] === axes[start] - 1) start--;
    y = run(op, y, axes[start], end - start);
    end = start;
  }
  return keepDims ? reshape(y, x.shape.map((d, i) => (axes.includes(i) ? 1 : d))) : y;
}

/** Sum over `axis`. */
export const sum = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce(sumOp, x, options);
/** Largest element over `axis`. @throws ShapeError for an empty axis. */
export const max = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce(maxOp, x, options);
/** Smallest element over `axis`. @throws ShapeError for an empty axis. */
export const min = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce(minOp, x, options);
/** Product over `axis`. */
export const prod = (x: Tensor, options: ReduceOptions = {}): Tensor => reduce(prodOp, x, options);

function arg(op: Op, x: Tensor, axis: number): Tensor {
  if (typeof axis !== "number") throw new ArgumentError(`${op.name}: axis must be one number, got ${String(axis)}`);
  return run(op, x, normalizeAxis(op.name, axis, x.rank), 1);
}

/** Index (i32) of the first largest element along `axis` (default: last). */
export const argMax = (x: Tensor, axis = -1): Tensor => arg(argMaxOp, x, axis);
/** Index (i32) of the first smallest element along `axis` (default: last). */
export const argMin = (x: Tensor, axis = -1): Tensor => arg(argMinOp, x, axis);

/** `x` summed down to `shape`: undoes broadcasting. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.rank - shape.length;
  const axes = x.shape.map((_, i) => i).filter((i) => i < lead || (shape[i - lead] === 1 && x.shape[i] !== 1));
  return reshape(sum(x, { axis: axes }), shape);
}

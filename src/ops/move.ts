/**
 * @file Ops that only move elements: reshape (no bytes move), broadcast, transpose, slice, pad, concat, flip, iota. All of one kernel,
 * `copy`, with strides.
 */
import { apply } from "../apply.ts";
import { allocate } from "../dtype.ts";
import type { DType } from "../dtype.ts";
import { checkOptions, kindOf } from "../check.ts";
import { checkDTypeName, checkRange, checkShape, dtypeBeside } from "../elements.ts";
import { ShapeError } from "../errors.ts";
import { asTensor, currentGraph } from "../graph.ts";
import type { Node, Op } from "../graph.ts";
import type { Attrs } from "../op.ts";
import { normalizeAxis, sameShape, showShape, sizeBetween, sizeOf, stridesOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import type { TensorLike } from "../tensor.ts";
import * as kernels from "../kernels.ts";
import { TRAINING } from "../training.ts";
import { checkNumbers, copy, numbers, reshape, shaped, shownList } from "./broadcast.ts";
import { mul } from "./map.ts";
import { cast, promoted } from "./promote.ts";

export { broadcastTo, broadcastToOp, reshape, reshapeOp } from "./broadcast.ts";

export const stopGradientOp: Op = { name: "stopGradient", infer: ([x]) => [x as Tensor], vjp: null, lower: "alias" };

/** `x`, taken as a constant by gradients. */
export function stopGradient(x: TensorLike): Tensor {
  return apply(stopGradientOp, [asTensor(x, "f32", "stopGradient")])[0];
}

/** (y, x, slope) -> y, with the gradient dy slope for x and none for the others. */
export const slopedOp: Op = {
  name: "sloped",
  infer: ([y]) => [y as Tensor],
  vjp: TRAINING ? ({ dy, x }) => [null, mul(dy[0] as Tensor, x[2] as Tensor), null] : null,
  lower: "alias",
};

/**
 * `y`, a function of `x` element by element whose derivative is `slope`. What gradients would make of the steps from x to y is several
 * factors, each kept until the backward pass comes; the slope is one. Where nobody takes gradients it is not computed. It is called for
 * its value alone: gradients of gradients descend on it.
 */
export function sloped(x: Tensor, y: Tensor, slope: () => Tensor): Tensor {
  return !TRAINING || currentGraph() === null ? y : apply(slopedOp, [y, x, slope()])[0];
}

export const transposeOp: Op = {
  name: "transpose",
  infer: ([x], attrs) => [{ shape: numbers(attrs.perm).map((p) => (x as Tensor).shape[p]), dtype: (x as Tensor).dtype }],
  vjp: TRAINING
    ? ({ dy, attrs }) => {
        const perm = numbers(attrs.perm);
        return [
          transpose(
            dy[0] as Tensor,
            perm.map((_, i) => perm.indexOf(i)),
          ),
        ];
      }
    : null,
  lower: ({ inputs, outputs, attrs }) => {
    const x = inputs[0] as Tensor;
    const strides = stridesOf(x.shape);
    return [copy(x, outputs[0], { xStrides: numbers(attrs.perm).map((p) => strides[p]) })];
  },
};

/** Dimensions in the order `perm` (default: reversed). @throws ShapeError unless `perm` is a permutation of the dimensions. */
export function transpose(x: TensorLike, perm?: readonly number[]): Tensor {
  const t = asTensor(x, "f32", "transpose");
  const given = perm !== undefined ? perm : t.shape.map((_, i) => t.rank - 1 - i);
  checkNumbers("transpose", "perm", given);
  const order = given.map((p) => normalizeAxis("transpose", p, t.rank));
  if (order.length !== t.rank || new Set(order).size !== t.rank) {
    throw new ShapeError(`transpose: perm must name each of ${t.rank} dimensions once, got ${showShape(given)}`);
  }
  return order.every((p, i) => p === i) ? t : apply(transposeOp, [t], { perm: order })[0];
}

/** Where the elements of a slice lie in a tensor of `shape`: the first, and the strides from one to the next. */
function block(shape: Shape, attrs: Attrs): [number, number[]] {
  const [start, step, strides] = [numbers(attrs.start), numbers(attrs.step), stridesOf(shape)];
  return [start.reduce((o, s, i) => o + s * strides[i], 0), strides.map((s, i) => s * step[i])];
}

/** Slice by start, step (may be negative) and output shape. Not exported as such: `slice` and `flip` check and build these. */
export const sliceOp: Op = {
  name: "slice",
  infer: shaped,
  vjp: TRAINING
    ? ({ dy, x, attrs }) => [apply(placeOp, [dy[0] as Tensor], { start: attrs.start, step: attrs.step, shape: (x[0] as Tensor).shape })[0]]
    : null,
  lower: ({ inputs, outputs, attrs }) => {
    const x = inputs[0] as Tensor;
    const [xOffset, xStrides] = block(x.shape, attrs);
    return [copy(x, outputs[0], { xOffset, xStrides })];
  },
};

/** The reverse of slice: x put into zeros of `shape` (or `value`). */
export const placeOp: Op = {
  name: "place",
  infer: shaped,
  vjp: TRAINING
    ? ({ dy, x, attrs }) => [apply(sliceOp, [dy[0] as Tensor], { start: attrs.start, step: attrs.step, shape: (x[0] as Tensor).shape })[0]]
    : null,
  lower: ({ inputs, outputs, attrs }) => {
    const x = inputs[0] as Tensor;
    const [yOffset, yStrides] = block(outputs[0].shape, attrs);
    return [copy(x, outputs[0], { shape: x.shape, yOffset, yStrides, fill: (attrs.value as number | undefined) ?? 0 })];
  },
};

/**
 * The block of `size` elements from `start` in each dimension, every `step`-th (default 1). `size[i]` -1: all that is left.
 * @throws ShapeError when the block leaves the tensor.
 */
export function slice(x: TensorLike, start: readonly number[], size: readonly number[], step?: readonly number[]): Tensor {
  const t = asTensor(x, "f32", "slice");
  const by = step ?? t.shape.map(() => 1);
  for (const [what, list] of Object.entries({ start, size, step: by })) checkNumbers("slice", what, list);
  const shape = size.map((n, i) => (n === -1 ? Math.ceil((t.shape[i] - start[i]) / by[i]) : n));
  const fits =
    start.length === t.rank &&
    shape.length === t.rank &&
    by.length === t.rank &&
    [...start, ...shape, ...by].every(Number.isInteger) &&
    shape.every((n, i) => n >= 0 && start[i] >= 0 && by[i] >= 1 && (n === 0 || start[i] + (n - 1) * by[i] < t.shape[i]));
  if (!fits) {
    throw new ShapeError(
      `slice: start ${showShape(start)}, size ${showShape(size)}, step ${showShape(by)} does not lie inside ${showShape(t.shape)}`,
    );
  }
  return sameShape(shape, t.shape) ? t : apply(sliceOp, [t], { start, step: by, shape })[0];
}

/** `x` with the order along `axis` (default: last) reversed. */
export function flip(x: TensorLike, axis = -1): Tensor {
  const t = asTensor(x, "f32", "flip");
  const at = normalizeAxis("flip", axis, t.rank);
  if (t.shape[at] <= 1) return t;
  const [start, step] = [t.shape.map((d, i) => (i === at ? d - 1 : 0)), t.shape.map((_, i) => (i === at ? -1 : 1))];
  return apply(sliceOp, [t], { start, step, shape: t.shape })[0];
}

/** `x` with `[before, after]` elements of `value` (default 0) added around each dimension. A fractional value makes integers f32. */
export function pad(x: TensorLike, padding: readonly (readonly [number, number])[], value = 0): Tensor {
  if (typeof value !== "number") throw new ShapeError(`pad: expected a number as value, got ${kindOf(value)}`);
  const own = asTensor(x, "f32", "pad");
  const dtype = own.dtype === "bool" && (value === 0 || value === 1) ? "bool" : dtypeBeside(Number.isInteger(value), own.dtype);
  checkRange("pad", value, dtype);
  const t = cast(own, dtype);
  const pair = (p: unknown): boolean => Array.isArray(p) && p.length === 2 && p.every((n) => Number.isInteger(n) && n >= 0);
  if (!Array.isArray(padding) || padding.length !== t.rank || !padding.every(pair)) {
    throw new ShapeError(`pad: expected ${t.rank} pairs of non-negative integers for ${t}, got ${shownList(padding)}`);
  }
  if (padding.every(([a, b]) => a === 0 && b === 0)) return t;
  const shape = t.shape.map((d, i) => d + padding[i][0] + padding[i][1]);
  return apply(placeOp, [t], { start: padding.map((p) => p[0]), step: padding.map(() => 1), shape, value })[0];
}

export const concatOp: Op = {
  name: "concat",
  infer: (inputs, attrs) => {
    const list = inputs as readonly Tensor[];
    const axis = attrs.axis as number;
    for (const t of list) {
      if (t.rank !== list[0].rank || t.shape.some((d, i) => i !== axis && d !== list[0].shape[i]))
        throw new ShapeError(
          `concat: all dimensions but axis ${axis} must be equal, got ${list.map((l) => showShape(l.shape)).join(" and ")}`,
        );
    }
    return [{ shape: list[0].shape.map((d, i) => (i === axis ? list.reduce((n, t) => n + t.shape[axis], 0) : d)), dtype: list[0].dtype }];
  },
  vjp: TRAINING
    ? ({ dy, x, attrs, needs }) => {
        const axis = attrs.axis as number;
        let at = 0;
        return (x as readonly Tensor[]).map((t, i) => {
          const start = t.shape.map((_, d) => (d === axis ? at : 0));
          at += t.shape[axis];
          return needs[i] ? slice(dy[0] as Tensor, start, t.shape) : null;
        });
      }
    : null,
  lower: (node: Node) => {
    const axis = node.attrs.axis as number;
    const y = node.outputs[0];
    const inner = sizeBetween(y.shape, axis + 1, y.rank);
    let at = 0;
    return (node.inputs as readonly Tensor[]).map((x, i) => {
      const call = copy(x, y, { shape: x.shape, yOffset: at * inner, partial: i > 0 });
      at += x.shape[axis];
      return call;
    });
  },
};

/** A list of at least one tensor, all of one dtype. */
function listed(who: string, tensors: readonly TensorLike[]): readonly Tensor[] {
  if (!Array.isArray(tensors) || tensors.length === 0) {
    throw new ShapeError(`${who}: expected an array of at least one tensor, got ${Array.isArray(tensors) ? "none" : kindOf(tensors)}`);
  }
  return promoted(who, tensors);
}

/** Tensors joined along `axis` (default: last). Dtypes promote (docs/numbers.md). @throws ShapeError when other dimensions differ. */
export function concat(tensors: readonly TensorLike[], axis = -1): Tensor {
  const list = listed("concat", tensors);
  const at = normalizeAxis("concat", axis, list[0].rank);
  return list.length === 1 ? list[0] : apply(concatOp, list, { axis: at })[0];
}

/** Tensors of one shape joined along a new dimension `axis` (default 0). Dtypes promote (docs/numbers.md). */
export function stack(tensors: readonly TensorLike[], axis = 0): Tensor {
  const list = listed("stack", tensors);
  const at = normalizeAxis("stack", axis, list[0].rank + 1);
  for (const t of list) {
    if (!sameShape(t.shape, list[0].shape)) {
      throw new ShapeError(`stack: expected tensors of one shape, got ${list.map((l) => showShape(l.shape)).join(" and ")}`);
    }
  }
  return concat(
    list.map((t) => expandDims(t, at)),
    at,
  );
}

/** `x` with a dimension of size 1 added before `axis`. */
export function expandDims(x: TensorLike, axis: number): Tensor {
  const t = asTensor(x, "f32", "expandDims");
  const at = normalizeAxis("expandDims", axis, t.rank + 1);
  return reshape(t, [...t.shape.slice(0, at), 1, ...t.shape.slice(at)]);
}

export const iotaOp: Op = {
  name: "iota",
  infer: (_inputs, attrs) => [{ shape: numbers(attrs.shape), dtype: attrs.dtype as DType }],
  vjp: null,
  lower: ({ outputs, attrs }) => {
    const [shape, axis] = [numbers(attrs.shape), attrs.axis as number];
    return [
      {
        kernel: kernels.iota,
        inputs: [],
        outputs,
        attrs: { size: shape.length ? shape[axis] : 1, inner: sizeBetween(shape, axis + 1, shape.length) },
      },
    ];
  },
};

/** Each element's index along `axis` (default: last). Default dtype i32. */
export function iota(shape: Shape, options: { axis?: number; dtype?: DType } = {}): Tensor {
  checkShape("iota", shape);
  const { axis = -1, dtype = "i32" } = checkOptions("iota", options, ["axis", "dtype"]);
  checkDTypeName("iota", dtype);
  const at = normalizeAxis("iota", axis, shape.length);
  if (currentGraph() !== null) return apply(iotaOp, [], { shape, axis: at, dtype })[0];
  const inner = sizeBetween(shape, at + 1, shape.length);
  const host = allocate(dtype, sizeOf(shape)).map((_: number, i: number) => Math.floor(i / inner) % shape[at]);
  return new Tensor(shape, dtype, null, 0, host as ReturnType<typeof allocate>);
}

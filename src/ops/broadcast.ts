/**
 * @file What every gradient needs: other shapes of the same bytes, broadcasts, and sums that undo them, each other's gradients. The rest of
 * move.ts and reduce.ts stands on these.
 */
import { apply } from "../apply.ts";
import { kindOf } from "../check.ts";
import type { DType } from "../dtype.ts";
import { checkShape } from "../elements.ts";
import { ShapeError } from "../errors.ts";
import { asTensor, constantOp, currentGraph } from "../graph.ts";
import type { Attrs, Lowered, Op, TensorType, Vjp } from "../graph.ts";
import * as kernels from "../kernels.ts";
import type { CopyAttrs, ReduceOp } from "../plan/kernels.ts";
import { prologueOf } from "../plan/prologue.ts";
import { aroundAxes, broadcastShapes, broadcastStrides, sameShape, showShape, sizeBetween, sizeOf, stridesOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { checkDType } from "../tensor.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { TRAINING } from "../training.ts";

/** By default elements of x one after another into all of y. */
export function copy(x: Tensor, y: Tensor, attrs: Partial<CopyAttrs>): Lowered {
  const all: CopyAttrs = {
    xOffset: 0,
    yOffset: 0,
    yStrides: stridesOf(y.shape),
    fill: null,
    partial: false,
    shape: y.shape,
    xStrides: stridesOf(x.shape),
    ...attrs,
  };
  return { kernel: kernels.copy, inputs: [x], outputs: [y], attrs: all as unknown as Attrs };
}

export const numbers = (a: unknown): readonly number[] => a as readonly number[];

export const shownList = (list: unknown): string => (Array.isArray(list) ? JSON.stringify(list) : kindOf(list));

/** @throws ShapeError unless `list` is an array of numbers. */
export function checkNumbers(who: string, what: string, list: readonly number[]): void {
  if (!Array.isArray(list) || list.some((n) => typeof n !== "number")) {
    throw new ShapeError(`${who}: ${what} must be an array of numbers, got ${shownList(list)}`);
  }
}

/** The type of what has the elements of `x` in the shape `attrs.shape`. */
export function shaped([x]: readonly (Tensor | null)[], attrs: Attrs): readonly TensorType[] {
  return [{ shape: numbers(attrs.shape), dtype: (x as Tensor).dtype }];
}

/** A constant in another shape: still a constant, which elementwise ops take as an immediate. Null where `x` is none. */
function filledAs(x: Tensor, shape: Shape): Tensor | null {
  const graph = currentGraph();
  return graph === null || x.node === null || x.node.op !== constantOp
    ? null
    : graph.constant(x.node.attrs.value as number, x.dtype, shape);
}

export const reshapeOp: Op = {
  name: "reshape",
  infer: shaped,
  vjp: TRAINING ? ({ dy, x }) => [reshape(dy[0] as Tensor, (x[0] as Tensor).shape)] : null,
  lower: "alias",
};

/** Same elements, in a shape that is known to have as many. */
export function withShape(x: Tensor, shape: Shape): Tensor {
  if (sameShape(shape, x.shape)) return x;
  const constant = filledAs(x, shape);
  if (constant !== null) return constant;
  const source = x.node !== null && x.node.op === reshapeOp ? (x.node.inputs[0] as Tensor) : x;
  return sameShape(source.shape, shape) ? source : apply(reshapeOp, [source], { shape })[0];
}

/** Same elements, another shape; one dimension may be -1 (what is left). @throws ShapeError when the sizes differ. */
export function reshape(x: TensorLike, shape: Shape): Tensor {
  const t = asTensor(x, "f32", "reshape");
  checkNumbers("reshape", "shape", shape);
  const known = sizeOf(shape.filter((d) => d !== -1));
  const full = shape.map((d) => (d === -1 ? t.size / known : d));
  if (shape.filter((d) => d === -1).length > 1 || full.some((d) => !Number.isInteger(d) || d < 0) || sizeOf(full) !== t.size) {
    throw new ShapeError(`reshape: ${showShape(t.shape)} has ${t.size} elements and cannot become ${showShape(shape)}`);
  }
  return withShape(t, full);
}

/** All dimensions but the last as one. */
export const asMatrix = (x: Tensor): Tensor => withShape(x, [sizeBetween(x.shape, 0, x.rank - 1), x.shape[x.rank - 1]]);

export const broadcastToOp: Op = {
  name: "broadcastTo",
  infer: ([x], attrs) => {
    const to = numbers(attrs.shape);
    if (!sameShape(broadcastShapes("broadcastTo", [(x as Tensor).shape, to]), to))
      throw new ShapeError(`broadcastTo: ${showShape((x as Tensor).shape)} does not broadcast to ${showShape(to)}`);
    return shaped([x], attrs);
  },
  vjp: TRAINING ? ({ dy, x }) => [sumTo(dy[0] as Tensor, (x[0] as Tensor).shape)] : null,
  lower: ({ inputs, outputs }) => {
    const [x, y] = [inputs[0] as Tensor, outputs[0]];
    return [copy(x, y, { xStrides: broadcastStrides(x.shape, y.shape) })];
  },
};

/** `x` repeated to `shape` by NumPy's rule. */
export function broadcastTo(x: TensorLike, shape: Shape): Tensor {
  const t = asTensor(x, "f32", "broadcastTo");
  // However large: traced, it need not exist.
  checkShape("broadcastTo", shape, Infinity);
  if (sameShape(t.shape, shape)) return t;
  broadcastToOp.infer([t], { shape });
  return filledAs(t, shape) ?? apply(broadcastToOp, [t], { shape })[0];
}

/** dy with the reduced dimensions back, as ones. */
export function kept(dy: Tensor, x: Tensor, axis: number, count: number): Tensor {
  return reshape(
    dy,
    x.shape.map((d, i) => (i >= axis && i < axis + count ? 1 : d)),
  );
}

/** `shape` with the reduced dimensions left out. */
const without = (shape: Shape, axis: number, count: number): Shape => shape.filter((_, i) => i < axis || i >= axis + count);

/** Of a reduction, with `dy` and `y` with the reduced dimensions as ones. */
export type ReductionRule = (dy: Tensor, y: Tensor, x: Tensor, axis: number, count: number) => Tensor;

/** The gradient rule of a reduction. */
export const ruleOf =
  (rule: ReductionRule): Vjp =>
  ({ dy, y, x, attrs }) => {
    const [axis, count] = [attrs.axis as number, attrs.count as number];
    const inp = x[0] as Tensor;
    return [rule(kept(dy[0] as Tensor, inp, axis, count), kept(y[0], inp, axis, count), inp, axis, count)];
  };

export function reduction(op: ReduceOp, dtypes: readonly DType[], result: DType | null = null): Op {
  return {
    name: op,
    infer: ([input], attrs) => {
      const x = input as Tensor;
      const [axis, count] = [attrs.axis as number, attrs.count as number];
      checkDType(op, x, dtypes);
      if (op !== "sum" && op !== "prod" && sizeBetween(x.shape, axis, axis + count) === 0)
        throw new ShapeError(`${op}: nothing to reduce over in ${showShape(x.shape)}`);
      return [{ shape: without(x.shape, axis, count), dtype: result ?? x.dtype }];
    },
    vjp: null,
    prologueOf,
    lower: (node) => {
      const x = node.inputs[0] as Tensor;
      const [axis, count] = [node.attrs.axis as number, node.attrs.count as number];
      return [
        { kernel: kernels.reduce, inputs: [x], outputs: node.outputs, attrs: { op, ...aroundAxes(x.shape, axis, count), body: null } },
      ];
    },
  };
}

export const sumOp: Op = Object.assign(reduction("sum", ["f32", "i32"]), {
  vjp: TRAINING ? ruleOf((dy, _y, x) => broadcastTo(dy, x.shape)) : null,
} satisfies Partial<Op>);

/** `op` over `count` axes from `axis` on. */
export function alongAxes(op: Op, x: Tensor, axis: number, count: number): Tensor {
  // One element is its own sum, extreme and product.
  if (!op.name.startsWith("arg") && sizeBetween(x.shape, axis, axis + count) === 1) return reshape(x, without(x.shape, axis, count));
  return apply(op, [x], { axis, count })[0];
}

/** `op` of `x` over `axes`, in order: one run of neighbours after another. */
export function reduceAxes(op: Op, x: Tensor, axes: readonly number[]): Tensor {
  let y = x;
  for (let end = axes.length; end > 0;) {
    let start = end - 1;
    while (start > 0 && axes[start - 1] === axes[start] - 1) start--;
    y = alongAxes(op, y, axes[start], end - start);
    end = start;
  }
  return y;
}

/** `x` (f32 or i32) summed down to `shape`: undoes broadcasting. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.rank - shape.length;
  const axes = x.shape.map((_, i) => i).filter((i) => i < lead || (shape[i - lead] === 1 && x.shape[i] !== 1));
  return withShape(reduceAxes(sumOp, x, axes), shape);
}

/** @file Rows by index, and their sum back: each the other's gradient. */
import { apply } from "../apply.ts";
import { checkCount } from "../check.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import { asTensor, floats } from "../graph.ts";
import type { Op } from "../graph.ts";
import { aroundAxes, normalizeAxis, showShape } from "../shape.ts";
import { checkDType } from "../tensor.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import * as kernels from "../kernels.ts";
import { TRAINING } from "../training.ts";
import { reshape } from "./move.ts";

function checkIndex(who: string, index: Tensor): void {
  if (index.dtype !== "i32") throw new DTypeError(`${who}: the index must be i32, got ${index}; convert with cast(index, "i32")`);
}

/**
 * (x, index[count]) along attrs.axis; index is one-dimensional here, `gather` reshapes. Without a gradient, so that what only picks samples
 * does without scatterAdd.
 */
const pickOp: Op = {
  name: "gather",
  infer: ([x, index], attrs) => {
    const [t, i] = [x as Tensor, index as Tensor];
    checkIndex("gather", i);
    return [{ shape: t.shape.map((d, k) => (k === attrs.axis ? i.shape[0] : d)), dtype: t.dtype }];
  },
  vjp: null,
  lower: ({ inputs, outputs, attrs }) => {
    const [x, index] = inputs as readonly Tensor[];
    return [{ kernel: kernels.gather, inputs, outputs, attrs: { ...aroundAxes(x.shape, attrs.axis as number), count: index.size } }];
  },
};

export const gatherOp: Op = Object.assign({}, pickOp, {
  vjp: TRAINING
    ? ({ dy, x, attrs }) => {
        const t = x[0] as Tensor;
        return [apply(scatterAddOp, [dy[0], x[1]], { axis: attrs.axis, size: t.shape[attrs.axis as number] })[0], null];
      }
    : null,
} satisfies Partial<Op>);

/** (updates, index[count]) along attrs.axis, into zeros with attrs.size there. */
export const scatterAddOp: Op = {
  name: "scatterAdd",
  infer: ([updates, index], attrs) => {
    const u = updates as Tensor;
    checkDType("scatterAdd", u, ["f32"]);
    checkIndex("scatterAdd", index as Tensor);
    const axis = attrs.axis as number;
    if (u.shape[axis] !== (index as Tensor).shape[0])
      throw new ShapeError(
        `scatterAdd: ${u.shape[axis]} updates along axis ${axis} of ${showShape(u.shape)}, but ${(index as Tensor).shape[0]} indices`,
      );
    return floats(u.shape.map((d, k) => (k === axis ? (attrs.size as number) : d)));
  },
  vjp: TRAINING ? ({ dy, x, attrs }) => [apply(gatherOp, [dy[0], x[1]], { axis: attrs.axis })[0], null] : null,
  lower: ({ inputs, outputs, attrs }) => [
    {
      kernel: kernels.scatterAdd,
      inputs,
      outputs,
      attrs: { ...aroundAxes(outputs[0].shape, attrs.axis as number), count: (inputs[1] as Tensor).size },
    },
  ],
};

/**
 * Slices of `x` along `axis` (default 0) at each `index` (i32, any shape): x[..., size, ...] -> x.shape[:axis] + index.shape +
 * x.shape[axis+1:]. An index outside of the axis is clamped into it. The gradient adds up the slices of equal index, in order.
 */
export function gather(x: TensorLike, index: TensorLike, axis = 0): Tensor {
  const t = asTensor(x, "f32", "gather");
  const i = asTensor(index, "i32", "gather");
  const at = normalizeAxis("gather", axis, t.rank);
  checkIndex("gather", i);
  if (t.shape[at] === 0 && i.size > 0) throw new ShapeError(`gather: axis ${axis} of ${showShape(t.shape)} is empty`);
  const y = apply(gatherOp, [t, reshape(i, [i.size])], { axis: at })[0];
  return reshape(y, [...t.shape.slice(0, at), ...i.shape, ...t.shape.slice(at + 1)]);
}

/** x[index] along the first axis, for an index [count] (i32). Carries no gradient. */
export function pick(x: Tensor, index: Tensor): Tensor {
  return apply(pickOp, [x, index], { axis: 0 })[0];
}

/**
 * Zeros with `size` along `axis` (default 0) to which updates[..., count, ...] are added at index[count] (i32). Deterministic: in the order
 * of `index`.
 */
export function scatterAdd(updates: TensorLike, index: TensorLike, size: number, axis = 0): Tensor {
  const u = asTensor(updates, "f32", "scatterAdd");
  checkCount("scatterAdd", "size", size, 0);
  return apply(scatterAddOp, [u, asTensor(index, "i32", "scatterAdd")], { axis: normalizeAxis("scatterAdd", axis, u.rank), size })[0];
}

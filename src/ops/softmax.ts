/** @file Softmax, its logarithm, and the cross-entropy that is computed with it. */
import { apply } from "../apply.ts";
import { checkCount } from "../check.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import { asTensor, floats } from "../graph.ts";
import type { Kernel, Op } from "../graph.ts";
import { normalizeAxis, sameShape, showShape, sizeBetween } from "../shape.ts";
import { checkDType } from "../tensor.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import * as kernels from "../kernels.ts";
import { TRAINING } from "../training.ts";
import { add, cast, equal, exp, isFinite, log, mul, neg, sub, where } from "./map.ts";
import { expandDims, iota, reshape, stopGradient, transpose } from "./move.ts";
import { toFloat } from "./promote.ts";
import { max, reduceOptions, sum } from "./reduce.ts";

const rows = (x: Tensor): { rows: number; cols: number } => ({ rows: sizeBetween(x.shape, 0, x.rank - 1), cols: x.shape[x.rank - 1] });

function alongRows(kernel: Kernel, grad: Op): Op {
  const { name } = kernel;
  return {
    name,
    infer: ([x]) => {
      checkDType(name, x as Tensor, ["f32"]);
      return [x as Tensor];
    },
    vjp: TRAINING ? ({ dy, y }) => [apply(grad, [dy[0], y[0]])[0]] : null,
    lower: ({ inputs, outputs }) => [{ kernel, inputs, outputs, attrs: rows(outputs[0]) }],
  };
}

const rowSum = (x: Tensor): Tensor => sum(x, { axis: -1, keepDims: true });

/** (dy, y) -> (dy - sum(dy y)) y */
export const softmaxGradOp: Op = {
  name: "softmaxGrad",
  infer: ([dy]) => [dy as Tensor],
  vjp: TRAINING
    ? ({ dy, x }) => {
        const [d, g, y] = [dy[0], x[0], x[1]] as [Tensor, Tensor, Tensor];
        const inner = rowSum(mul(g, y));
        const dyy = rowSum(mul(d, y));
        return [sub(mul(d, y), mul(dyy, y)), sub(mul(d, sub(g, inner)), mul(g, dyy))];
      }
    : null,
  lower: ({ inputs, outputs }) => [{ kernel: kernels.softmaxGrad, inputs, outputs, attrs: rows(outputs[0]) }],
};

/** (dy, y) -> dy - exp(y) sum(dy) */
export const logSoftmaxGradOp: Op = {
  name: "logSoftmaxGrad",
  infer: ([dy]) => [dy as Tensor],
  vjp: TRAINING
    ? ({ dy, x }) => {
        const [d, g, y] = [dy[0], x[0], x[1]] as [Tensor, Tensor, Tensor];
        const p = exp(y);
        return [sub(d, rowSum(mul(d, p))), neg(mul(mul(d, p), rowSum(g)))];
      }
    : null,
  lower: ({ inputs, outputs }) => [{ kernel: kernels.logSoftmaxGrad, inputs, outputs, attrs: rows(outputs[0]) }],
};

export const softmaxOp = alongRows(kernels.softmax, softmaxGradOp);
export const logSoftmaxOp = alongRows(kernels.logSoftmax, logSoftmaxGradOp);

function alongAxis(op: Op, x: TensorLike, axis: number): Tensor {
  const t = toFloat(op.name, x);
  const at = normalizeAxis(op.name, axis, t.rank);
  if (at === t.rank - 1) return apply(op, [t])[0];
  const perm = t.shape.map((_, i) => (i === at ? t.rank - 1 : i === t.rank - 1 ? at : i));
  return transpose(apply(op, [transpose(t, perm)])[0], perm);
}

/** softmax along the last axis, without the code for others. */
export function softmaxOfRows(x: Tensor): Tensor {
  return apply(softmaxOp, [toFloat("softmax", x)])[0];
}

/** logSoftmax along the last axis. */
export function logSoftmaxOfRows(x: Tensor): Tensor {
  return apply(logSoftmaxOp, [toFloat("logSoftmax", x)])[0];
}

/** exp(x) / sum(exp(x)) along `axis` (default: last), without overflow, as f32. NaN where all are -Infinity. */
export const softmax = (x: TensorLike, axis = -1): Tensor => alongAxis(softmaxOp, x, axis);
/** log(softmax(x)) along `axis` (default: last), accurate for small probabilities, as f32. */
export const logSoftmax = (x: TensorLike, axis = -1): Tensor => alongAxis(logSoftmaxOp, x, axis);

/** logits, labels -> loss, probs. One pass gives the loss and what its gradient needs. */
export const softmaxCrossEntropyOp: Op = {
  name: "softmaxCrossEntropy",
  infer: ([logits, labels], attrs) => {
    const [z, y] = [logits as Tensor, labels as Tensor];
    checkDType("softmaxCrossEntropy", z, ["f32"]);
    if (y.dtype !== (attrs.sparse ? "i32" : "f32"))
      throw new DTypeError(`softmaxCrossEntropy: expected ${attrs.sparse ? "i32 class numbers" : "f32 probabilities"} as labels, got ${y}`);
    if (z.rank === 0) throw new ShapeError("softmaxCrossEntropy: expected logits [..., classes], got a single number");
    const expected = attrs.sparse ? z.shape.slice(0, -1) : z.shape;
    if (!sameShape(y.shape, expected))
      throw new ShapeError(
        `softmaxCrossEntropy: logits ${showShape(z.shape)} need labels ${showShape(expected)}, got ${showShape(y.shape)}`,
      );
    return floats(z.shape.slice(0, -1), z.shape);
  },
  // d loss / d logits = probs sum(labels) - labels; d loss / d labels = -log(probs) = logsumexp - logits
  vjp: TRAINING
    ? ({ dy, y, x, needs, attrs }) => {
        if (dy[1] !== null) throw new ShapeError("softmaxCrossEntropy: its probabilities carry no gradient; use softmax()");
        const [z, labels] = x as readonly Tensor[];
        const probs = y[1];
        const target = attrs.sparse ? oneHot(labels, z.shape[z.rank - 1]) : labels;
        const mass = attrs.sparse ? probs : mul(probs, rowSum(labels));
        const d = expandDims(dy[0] as Tensor, z.rank - 1);
        return [needs[0] ? mul(sub(mass, target), d) : null, needs[1] ? neg(mul(logSoftmaxOfRows(z), d)) : null];
      }
    : null,
  lower: ({ inputs, outputs, attrs }) => [
    { kernel: kernels.softmaxCrossEntropy, inputs, outputs, attrs: { ...rows(inputs[0] as Tensor), sparse: attrs.sparse } },
  ],
};

/**
 * Cross-entropy of softmax(logits[..., C]) against labels: f32 probabilities [..., C] or class numbers [...] (i32). Returns the loss of
 * each row [...] and the probabilities [..., C] (which carry no gradient). Class numbers outside [0, C) are clamped: check them before.
 */
export function softmaxCrossEntropy(logits: TensorLike, labels: TensorLike): { loss: Tensor; probs: Tensor } {
  const z = toFloat("softmaxCrossEntropy", logits);
  const own = asTensor(labels, "i32", "softmaxCrossEntropy");
  const y = own.rank === z.rank ? cast(own, "f32") : own;
  const [loss, probs] = apply(softmaxCrossEntropyOp, [z, y], { sparse: y.dtype === "i32" });
  return { loss, probs };
}

/** 1 at each index along a new last dimension of `depth`, 0 elsewhere; f32. Indices (i32) out of range give a row of zeros. */
export function oneHot(indices: TensorLike, depth: number): Tensor {
  const at = asTensor(indices, "i32", "oneHot");
  checkDType("oneHot", at, ["i32"]);
  checkCount("oneHot", "depth", depth, 0);
  return cast(equal(expandDims(at, at.rank), iota([depth])), "f32");
}

/**
 * log(sum(exp(x))) along `axis` (default: last), f32, without overflow: the largest element is subtracted first, as a constant. Where all
 * elements are -Infinity so is the result, and its gradient is NaN, as in JAX.
 */
export function logSumExp(x: TensorLike, options: { axis?: number; keepDims?: boolean } = {}): Tensor {
  const t = toFloat("logSumExp", x);
  const { axis, keepDims } = reduceOptions("logSumExp", { axis: -1, ...options });
  const at = normalizeAxis("logSumExp", axis as number, t.rank);
  const top = max(t, { axis: at, keepDims: true });
  const largest = stopGradient(where(isFinite(top), top, 0));
  const y = add(log(sum(exp(sub(t, largest)), { axis: at, keepDims: true })), largest);
  return keepDims
    ? y
    : reshape(
        y,
        t.shape.filter((_, i) => i !== at),
      );
}

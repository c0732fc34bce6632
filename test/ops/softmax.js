/** @file Cases of softmax, its logarithm and cross-entropy. */
import { apply } from "../../build/esm/apply.js";
import * as s from "../../build/esm/ops/softmax.js";
import { ULP, f, fixed, i, randomSource, values } from "./harness.js";

const SHAPES = [[1], [3], [4, 5], [5, 4], [2, 3, 7], [1, 1], [7, 1], [0, 3], [3, 10], [2, 513], [33, 17], [3, 1031]];
const scaled = { scale: 1, tolerance: 16 * ULP, gradTolerance: 1e-5 };

/** Rows of logits over 30 around numbers up to where ln 2 times a whole number is exact, and far beyond. */
function around(rows, cols) {
  const random = randomSource(rows * cols);
  const centers = [0, 240, -240, 1e3, -1e6, 257];
  return values(
    Array.from({ length: rows * cols }, (_, k) => centers[Math.floor(k / cols) % centers.length] + 30 * random()),
    "f32",
    [rows, cols],
  );
}
const FAR = [[7, 6], [13, 37], [3, 512], [6, 5003]];

export const cases = [
  ...["softmax", "logSoftmax"].flatMap((op) => [
    ...SHAPES.map((shape) => ({ op, name: `${shape}`, inputs: [f(shape, -5, 5)], fn: (x) => s[op](x), ...scaled })),
    ...[0, 1].map((axis) => ({ op, name: `axis ${axis}`, inputs: [f([3, 5, 4])], fn: (x) => s[op](x, axis), ...scaled })),
    {
      op,
      name: "large logits",
      inputs: [values([1e4, 1e4 + 1, -1e4, 0, 88, 89, 90, 3e38], "f32", [2, 4])],
      fn: (x) => s[op](x),
      ...scaled,
      grad: false,
    },
    {
      op,
      name: "minus infinity",
      inputs: [values([-Infinity, 0, 1, 2, -Infinity, -Infinity], "f32", [2, 3])],
      fn: (x) => s[op](x),
      ...scaled,
      grad: false,
    },
    // What expRows states, the sum's roundings, and one each of its reciprocal and the product.
    ...FAR.map((shape) => ({
      op,
      name: `${shape}, far from 0`,
      inputs: [around(...shape)],
      fn: (x) => s[op](x),
      tolerance: (4 + shape[1] / 1000) * ULP,
      scale: op === "softmax" ? null : 1,
      grad: false,
    })),
    {
      op,
      name: "nothing but what is not a number, then numbers",
      inputs: [values([NaN, NaN, -Infinity, -Infinity, Infinity, 1, 2, 3], "f32", [4, 2])],
      fn: (x) => s[op](x),
      ...scaled,
      grad: false,
    },
    {
      op,
      name: "NaN stays in its row",
      inputs: [values([NaN, 0, 1, 2, 3, 4], "f32", [2, 3])],
      fn: (x) => s[op](x),
      ...scaled,
      grad: false,
    },
  ]),
  ...SHAPES.flatMap((shape) => [
    {
      op: "softmaxGrad",
      name: `${shape}`,
      inputs: [f(shape), f(shape, 0.1, 0.9)],
      fn: (dy, y) => apply(s.softmaxGradOp, [dy, y])[0],
      scale: 4,
      tolerance: shape.at(-1) * ULP + 16 * ULP,
      gradTolerance: 1e-5,
    },
    {
      op: "logSoftmaxGrad",
      name: `${shape}`,
      inputs: [f(shape), f(shape, -3, -0.5)],
      fn: (dy, y) => apply(s.logSoftmaxGradOp, [dy, y])[0],
      scale: 4,
      tolerance: shape.at(-1) * ULP + 16 * ULP,
      gradTolerance: 1e-5,
    },
  ]),
  ...[[1, 3], [4, 5], [5, 4], [7, 1], [0, 3], [3, 10], [2, 513], [33, 17], [2, 3, 5]].flatMap((shape) => [
    {
      op: "softmaxCrossEntropy",
      name: `probabilities ${shape}`,
      inputs: [f(shape, -4, 4), f(shape, 0.05, 0.4)],
      fn: (z, y) => s.softmaxCrossEntropy(z, y).loss,
      accumulates: true,
      tolerance: 32 * ULP,
      gradTolerance: 1e-5,
    },
    {
      op: "softmaxCrossEntropy",
      name: `class numbers ${shape}`,
      inputs: [f(shape, -4, 4), i(shape.slice(0, -1), 0, shape.at(-1) - 1)],
      fn: (z, y) => s.softmaxCrossEntropy(z, y).loss,
      scale: 8,
      tolerance: 16 * ULP,
      // The gradient of a single class is 0: its probability is 1 within a rounding.
      gradTolerance: shape.at(-1) === 1 ? 1e-4 : 1e-5,
    },
    {
      op: "softmaxCrossEntropy",
      name: `with probabilities out ${shape}`,
      inputs: [f(shape, -4, 4), fixed(f(shape, 0.05, 0.4))],
      fn: (z, y) => Object.values(s.softmaxCrossEntropy(z, y)),
      accumulates: true,
      tolerance: 32 * ULP,
      grad: false,
    },
  ]),
  {
    op: "softmaxCrossEntropy",
    name: "large logits",
    inputs: [values([1e4, 0, -1e4, 200, 0, 100], "f32", [2, 3]), values([1, 0], "i32")],
    fn: (z, y) => s.softmaxCrossEntropy(z, y).loss,
    grad: false,
  },
  ...FAR.map((shape) => ({
    op: "softmaxCrossEntropy",
    name: `${shape}, far from 0`,
    inputs: [around(...shape), i([shape[0]], 0, shape[1] - 1)],
    fn: (z, y) => s.softmaxCrossEntropy(z, y).loss,
    scale: 1,
    tolerance: 4 * ULP,
    grad: false,
  })),
  {
    op: "softmaxCrossEntropy",
    name: "class numbers out of range are clamped",
    inputs: [f([3, 4]), values([-5, 9, 1], "i32")],
    fn: (z, y) => s.softmaxCrossEntropy(z, y).loss,
    scale: 8,
    grad: false,
  },
  {
    op: "softmax",
    name: "logSumExp",
    inputs: [f([4, 7], -5, 5)],
    fn: (x) => [s.logSumExp(x), s.logSumExp(x, { axis: 0, keepDims: true })],
    scale: 1,
    tolerance: 16 * ULP,
  },
  { op: "softmax", name: "oneHot", inputs: [values([0, 2, 5, -1, 1], "i32")], fn: (x) => s.oneHot(x, 3), grad: false },
];

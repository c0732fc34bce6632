/** @file Cases of reductions. */
import { mean, norm, variance } from "../../build/esm/ops/composite.js";
import { exp, mul, square, sub } from "../../build/esm/ops/map.js";
import { reshape } from "../../build/esm/ops/move.js";
import { sumTo } from "../../build/esm/ops/broadcast.js";
import * as r from "../../build/esm/ops/reduce.js";
import { ULP, f, i, values } from "./harness.js";

const AXES = [
  [[], null],
  [[1], null],
  [[3], 0],
  [[4], 0],
  [[5], -1],
  [[997], null],
  [[511], 0],
  [[513], 0],
  [[16385], null],
  [[40009], null],
  [[3, 5], 0],
  [[3, 5], 1],
  [[5, 3], null],
  [[2, 3, 4], 1],
  [[2, 3, 4], [0, 2]],
  [[2, 3, 4], [1, 2]],
  [[2, 1, 3, 2, 5], [1, 3]],
  [[7, 1], 1],
  [[1, 7], 0],
  [[129, 17], 0],
  [[17, 129], 1],
  [[3, 1031], 1],
  [[1031, 3], 0],
  [[65, 4, 33], 1],
];
const EMPTY = [[[0], null], [[0, 3], 0], [[3, 0], 1], [[3, 0], 0], [[0, 0], null]];
const title = (shape, axis) => `${shape.join("x") || "scalar"} over ${axis === null ? "all" : axis}`;

export const cases = [
  ...["sum", "max", "min", "prod"].flatMap((op) => [
    ...AXES.filter(([shape]) => op !== "prod" || shape.reduce((a, d) => a * d, 1) < 1000).map(([shape, axis]) => ({
      op,
      name: title(shape, axis),
      inputs: [op === "prod" ? f(shape, 0.9, 1.1) : f(shape)],
      fn: (x) => r[op](x, { axis }),
      accumulates: op === "sum",
      tolerance: op === "sum" ? 8 * ULP : op === "prod" ? 64 * ULP : 0,
      gradTolerance: 1e-4,
    })),
    ...AXES.filter((_, k) => k % 3 === 0).map(([shape, axis]) => ({
      op,
      name: `i32 ${title(shape, axis)}`,
      inputs: [i(shape, -3, 3)],
      fn: (x) => r[op](x, { axis }),
      grad: false,
    })),
    { op, name: "keepDims", inputs: [f([3, 4, 5], 0.5, 1.5)], fn: (x) => r[op](x, { axis: [0, 2], keepDims: true }), accumulates: true },
    {
      op,
      name: "of a chain",
      inputs: [f([13, 41], 0.5, 1.2), f([41], 0.5, 1.5)],
      fn: (x, y) => r[op](exp(mul(sub(x, y), 0.25)), { axis: 1 }),
      accumulates: true,
      tolerance: 64 * ULP,
      gradTolerance: 1e-4,
    },
    {
      op,
      name: "of a chain over the first axis",
      inputs: [f([41, 13], 0.5, 1.2), f([41, 1], 0.5, 1.5)],
      fn: (x, y) => r[op](exp(mul(sub(x, y), 0.25)), { axis: 0 }),
      accumulates: true,
      tolerance: 64 * ULP,
      gradTolerance: 1e-4,
    },
    {
      op,
      name: "of a chain through a reshape",
      inputs: [f([6, 35], 0.8, 1.2)],
      fn: (x) => r[op](reshape(square(x), [6, 5, 7]), { axis: [0, 1] }),
      accumulates: true,
      tolerance: 64 * ULP,
      gradTolerance: 1e-4,
    },
  ]),
  ...["sum", "prod"].flatMap((op) =>
    EMPTY.map(([shape, axis]) => ({
      op,
      name: `empty ${title(shape, axis)}`,
      inputs: [f(shape)],
      fn: (x) => r[op](x, { axis }),
      grad: op === "sum",
    })),
  ),
  ...["max", "min"].flatMap((op) => [
    { op, name: "no rows", inputs: [f([0, 3])], fn: (x) => r[op](x, { axis: 1 }) },
    {
      op,
      name: "NaN wins",
      inputs: [values([1, NaN, 3, 4, 5, 6, 7, 8, NaN, 1, 2, 3], "f32", [3, 4])],
      fn: (x) => [r[op](x, { axis: 1 }), r[op](x, { axis: 0 })],
      grad: false,
    },
    {
      op,
      name: "infinities",
      inputs: [values([1, -Infinity, Infinity, 4, -Infinity, -Infinity], "f32", [3, 2])],
      fn: (x) => [r[op](x, { axis: 1 }), r[op](x, { axis: 0 })],
      grad: false,
    },
  ]),
  {
    op: "sum",
    name: "NaN and infinity",
    inputs: [values([1, NaN, Infinity, 2, Infinity, -Infinity, 3, 4], "f32", [4, 2])],
    fn: (x) => r.sum(x, { axis: 1 }),
    grad: false,
  },
  { op: "sum", name: "i32 wraps", inputs: [values([2147483647, 1, 5], "i32")], fn: (x) => r.sum(x), grad: false },
  { op: "sum", name: "sumTo", inputs: [f([3, 4, 5])], fn: (x) => [sumTo(x, [4, 1]), sumTo(x, [3, 1, 5]), sumTo(x, [])], accumulates: true },
  {
    op: "sum",
    name: "mean, variance, norm",
    inputs: [f([7, 11])],
    fn: (x) => [mean(x), mean(x, { axis: 0 }), variance(x, { axis: 1 }), norm(x, { axis: 0 })],
    accumulates: true,
    tolerance: 16 * ULP,
  },
  ...[["argmax", r.argMax], ["argmin", r.argMin]].flatMap(([op, fn]) => [
    ...[[1], [3], [4], [5], [513], [997], [3, 5], [129, 17], [17, 129]].map((shape) => ({
      op,
      name: `last axis of ${shape}`,
      inputs: [f(shape)],
      fn: (x) => fn(x),
    })),
    ...[[3, 5], [129, 17], [5, 7, 3]].map((shape) => ({ op, name: `axis 0 of ${shape}`, inputs: [f(shape)], fn: (x) => fn(x, 0) })),
    {
      op,
      name: "the first of equals",
      inputs: [values([1, 3, 3, 1, 2, 2, 2, 2, 0, 5, 0, 5], "f32", [3, 4])],
      fn: (x) => [fn(x, 1), fn(x, 0)],
    },
    { op, name: "i32", inputs: [i([9, 21], -3, 3)], fn: (x) => [fn(x, 0), fn(x, 1)] },
    { op, name: "of a chain", inputs: [f([9, 21])], fn: (x) => fn(mul(x, -2), 1) },
    {
      op,
      name: "infinities",
      inputs: [values([-Infinity, -Infinity, Infinity, Infinity, -Infinity, 0], "f32", [3, 2])],
      fn: (x) => [fn(x, 1), fn(x, 0)],
    },
  ]),
];

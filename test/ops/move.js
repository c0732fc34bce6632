/** @file Cases of ops that only move elements: all are exact. */
import { apply } from "../../build/esm/apply.js";
import { add, mul } from "../../build/esm/ops/map.js";
import * as v from "../../build/esm/ops/move.js";
import { b, f, i, u } from "./harness.js";

const exact = { tolerance: 0 };
const types = (op, name, shape, fn) =>
  [f, i, u, b].map((make, k) => ({
    op,
    name: `${name}, ${["f32", "i32", "u32", "bool"][k]}`,
    inputs: [make(shape)],
    fn,
    ...exact,
    grad: k === 0,
  }));

export const cases = [
  ...[[[6], [2, 3]], [[2, 3], [6]], [[4, 1, 3], [12]], [[0, 3], [0, 5]], [[1], []], [[6, 4], [2, -1, 3]]].map(([from, to]) => ({
    op: "reshape",
    name: `${from} to ${to}`,
    inputs: [f(from)],
    fn: (x) => v.reshape(x, to),
    ...exact,
  })),
  {
    op: "reshape",
    name: "of a reshape",
    inputs: [f([2, 6])],
    fn: (x) => v.reshape(mul(v.reshape(v.reshape(x, [12]), [3, 4]), 2), [4, 3]),
    ...exact,
  },
  {
    op: "reshape",
    name: "one tensor under two shapes in one expression",
    inputs: [f([1, 4])],
    fn: (x) => {
      const y = mul(x, 2);
      return add(y, v.reshape(y, [4]));
    },
    ...exact,
  },
  {
    op: "reshape",
    name: "expandDims",
    inputs: [f([3, 4])],
    fn: (x) => [v.expandDims(x, 0), v.expandDims(x, -1), v.expandDims(x, 1)],
    ...exact,
  },
  { op: "stopGradient", name: "value", inputs: [f([5])], fn: (x) => v.stopGradient(x), ...exact },
  {
    op: "sloped",
    name: "value and slope",
    inputs: [f([5])],
    fn: (x) => {
      const y = mul(x, mul(x, x));
      return v.sloped(x, y, () => mul(mul(x, x), 3));
    },
    tolerance: 1e-6,
  },
  { op: "stopGradient", name: "inside a chain", inputs: [f([5])], fn: (x) => mul(v.stopGradient(mul(x, 2)), 4), ...exact },
  ...[
    [[], [3]],
    [[1], [5]],
    [[3], [2, 3]],
    [[3, 1], [3, 4]],
    [[2, 1, 3, 1, 2], [2, 4, 3, 5, 2]],
    [[1, 1], [0, 3]],
    [[7, 1], [7, 513]],
    [[1, 129], [17, 129]],
  ].flatMap(([from, to]) => types("broadcastTo", `${from} to ${to}`, from, (x) => v.broadcastTo(x, to))),
  ...[
    [[3, 4]],
    [[0, 4]],
    [[1, 5]],
    [[4, 3, 2]],
    [[3, 4, 5], [0, 2, 1]],
    [[3, 4, 5], [1, 0, 2]],
    [[3, 4, 5], [2, 0, 1]],
    [[2, 3, 4, 5], [0, 3, 1, 2]],
    [[2, 3, 2, 3, 2], [4, 2, 0, 3, 1]],
    [[2, 2, 3, 2, 2, 3], [5, 3, 1, 0, 2, 4]],
    [[33, 65]],
    [[127, 61]],
    [[16, 16]],
    [[4, 8]],
  ].map(([shape, perm]) => ({
    op: "transpose",
    name: `${shape} by ${perm ?? "default"}`,
    inputs: [f(shape)],
    fn: (x) => v.transpose(x, perm),
    ...exact,
  })),
  ...types("transpose", "5x7", [5, 7], (x) => v.transpose(x)),
  ...[
    [[7], [2], [3]],
    [[7], [0], [0]],
    [[7], [6], [1]],
    [[7], [1], [3], [2]],
    [[5, 6], [1, 2], [3, 4]],
    [[5, 6], [1, 0], [-1, -1]],
    [[5, 7], [0, 1], [3, 3], [2, 2]],
    [[3, 5, 4], [1, 0, 2], [2, 5, 1]],
    [[20, 40], [3, 5], [13, 31]],
    [[2, 3, 4, 5, 2], [0, 1, 0, 2, 1], [2, 2, 3, 3, 1]],
  ].flatMap(([shape, start, size, step]) => [
    {
      op: "slice",
      name: `${shape}: ${start} + ${size} step ${step ?? 1}`,
      inputs: [f(shape)],
      fn: (x) => v.slice(x, start, size, step),
      ...exact,
    },
    {
      op: "slice",
      name: `i32 ${shape}: ${start} + ${size} step ${step ?? 1}`,
      inputs: [i(shape)],
      fn: (x) => v.slice(x, start, size, step),
      ...exact,
      grad: false,
    },
  ]),
  ...[[[5], 0], [[3, 4], 0], [[3, 4], 1], [[2, 5, 3], 1], [[1, 3], 0], [[0, 3], 1], [[17, 33], 1]].map(([shape, axis]) => ({
    op: "slice",
    name: `flip ${shape} along ${axis}`,
    inputs: [f(shape)],
    fn: (x) => v.flip(x, axis),
    ...exact,
  })),
  ...[
    [[3], [[1, 2]]],
    [[0], [[1, 1]]],
    [[2, 3], [[0, 1], [2, 0]]],
    [[2, 3], [[1, 1], [1, 1]]],
    [[2, 3, 4], [[0, 0], [1, 2], [0, 3]]],
    [[13, 17], [[3, 2], [1, 5]]],
  ].flatMap(([shape, padding]) => [
    ...types("place", `pad ${shape} by ${JSON.stringify(padding)}`, shape, (x) => v.pad(x, padding)),
    {
      op: "place",
      name: `pad ${shape} by ${JSON.stringify(padding)} with 1.5`,
      inputs: [f(shape)],
      fn: (x) => v.pad(x, padding, 1.5),
      ...exact,
    },
  ]),
  {
    op: "place",
    name: "with steps",
    inputs: [f([3, 2])],
    fn: (x) => apply(v.placeOp, [x], { start: [1, 0], step: [2, 3], shape: [7, 5] })[0],
    ...exact,
  },
  {
    op: "place",
    name: "reversed",
    inputs: [f([3])],
    fn: (x) => apply(v.placeOp, [x], { start: [4], step: [-2], shape: [6] })[0],
    ...exact,
  },
  ...[
    [[[3], [4]], 0],
    [[[2, 3], [2, 1], [2, 4]], 1],
    [[[2, 3], [5, 3]], 0],
    [[[0, 3], [2, 3]], 0],
    [[[2, 0], [2, 3]], 1],
    [[[2, 3, 4], [2, 1, 4], [2, 2, 4]], 1],
    [[[7, 5], [7, 513]], 1],
    [[[1], [1], [1], [1], [1]], 0],
  ].map(([shapes, axis]) => ({
    op: "concat",
    name: `${shapes.map((s) => `[${s}]`).join(" ")} along ${axis}`,
    inputs: shapes.map((s) => f(s)),
    fn: (...list) => v.concat(list, axis),
    ...exact,
  })),
  { op: "concat", name: "i32", inputs: [i([2, 3]), i([2, 2])], fn: (x, y) => v.concat([x, y]), ...exact, grad: false },
  { op: "concat", name: "bool", inputs: [b([2, 3]), b([2, 2])], fn: (x, y) => v.concat([x, y]), ...exact, grad: false },
  { op: "concat", name: "of one tensor twice", inputs: [f([3, 2])], fn: (x) => v.concat([x, x, mul(x, 2)], 1), ...exact },
  {
    op: "concat",
    name: "stack",
    inputs: [f([3, 2]), f([3, 2])],
    fn: (x, y) => [v.stack([x, y]), v.stack([x, y], 1), v.stack([x, y], -1)],
    ...exact,
  },
  ...[[5], [0], [3, 4], [2, 3, 5], [7, 513]].flatMap((shape) =>
    shape.flatMap((_, axis) =>
      ["i32", "f32", "u32"].map((dtype) => ({
        op: "iota",
        name: `${shape} along ${axis}, ${dtype}`,
        inputs: [],
        fn: () => v.iota(shape, { axis, dtype }),
        ...exact,
      })),
    ),
  ),
];

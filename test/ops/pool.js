/** @file Cases of pooling. */
import { apply } from "../../build/esm/apply.js";
import { avgPool2d, avgPoolGradOp, maxPool2d, maxPoolGradOp, maxPoolOp } from "../../build/esm/ops/pool.js";
import { windowOf } from "../../build/esm/ops/window.js";
import { f, i, values } from "./harness.js";

const GEOMETRIES = [
  [[1, 1, 1, 1], 1, {}],
  [[2, 4, 4, 3], 2, {}],
  [[2, 5, 5, 4], 2, {}],
  [[1, 5, 7, 5], 2, { padding: "same" }],
  [[2, 6, 5, 3], 3, { strides: 1 }],
  [[1, 7, 6, 1], [3, 2], { strides: [2, 3], padding: "same" }],
  [[1, 6, 6, 8], 3, { strides: 2, padding: "same" }],
  [[0, 4, 4, 2], 2, {}],
  [[1, 9, 1, 13], [4, 1], { strides: 2 }],
  [[3, 5, 5, 17], [5, 5], {}],
  [[1, 3, 3, 2], 5, { padding: "same", strides: 1 }],
  [[1, 9, 9, 2], 2, { strides: 4 }],
  [[2, 13, 11, 33], 3, { strides: 2 }],
  [[2, 5, 6, 3], [3, 2], { strides: [2, 1], padding: [[1, 0], [0, 1]] }],
  [[1, 6, 4, 5], 2, { padding: [[0, 1], [1, 1]] }],
  [[1, 4, 5, 4], 3, { strides: 1, padding: [[3, 4], [0, 2]] }],
];
const title = ([x, size, o]) => `${x.join("x")}, ${size}, ${JSON.stringify(o)}`;

function attributes([x, size, { strides = size, padding = "valid" }]) {
  const both = (v) => (typeof v === "number" ? [v, v] : v);
  return windowOf("test", x, { size: both(size), strides: both(strides), padding });
}

/** The op itself, with its second output. */
const withIndex = (a) => (x) => apply(maxPoolOp, [x], a);

export const cases = GEOMETRIES.flatMap((g) => {
  const a = attributes(g);
  const output = [a.n, a.p, a.q, a.c];
  return [
    { op: "maxPool", name: title(g), inputs: [f(g[0])], fn: (x) => maxPool2d(x, g[1], g[2]), tolerance: 0 },
    { op: "maxPool", name: `${title(g)}, with index`, inputs: [f(g[0])], fn: withIndex(a), tolerance: 0 },
    { op: "avgPool", name: title(g), inputs: [f(g[0])], fn: (x) => avgPool2d(x, g[1], g[2]), accumulates: true },
    { op: "avgPoolGrad", name: title(g), inputs: [f(output)], fn: (dy) => apply(avgPoolGradOp, [dy], a)[0], accumulates: true },
    {
      op: "maxPoolGrad",
      name: `${title(g)}, first element of each window`,
      inputs: [f(output), i(output, 0, 0)].map((s, k) =>
        k === 1 && (a.padTop > 0 || a.padLeft > 0)
          ? i(
              output,
              Math.min(a.r - 1, a.padTop) * a.s + Math.min(a.s - 1, a.padLeft),
              Math.min(a.r - 1, a.padTop) * a.s + Math.min(a.s - 1, a.padLeft),
            )
          : s,
      ),
      fn: (dy, index) => apply(maxPoolGradOp, [dy, index], a)[0],
      accumulates: true,
    },
  ];
}).concat([
  {
    op: "maxPool",
    name: "the first of equals",
    inputs: [values([1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 0, 0, 0, 0], "f32", [1, 4, 4, 1])],
    fn: withIndex(attributes([[1, 4, 4, 1], 2, {}])),
    grad: false,
  },
  {
    op: "maxPool",
    name: "minus infinity",
    inputs: [values([-Infinity, -Infinity, -Infinity, -Infinity], "f32", [1, 2, 2, 1])],
    fn: withIndex(attributes([[1, 2, 2, 1], 2, {}])),
    grad: false,
  },
]);

/** @file Cases of 2-D convolution and its gradients. */
import { apply } from "../../build/esm/apply.js";
import { KERNEL_ACTIVATIONS } from "../../build/esm/ops/activation.js";
import { conv2d, conv2dFilterGradOp, conv2dInputGradOp, conv2dTranspose } from "../../build/esm/ops/conv.js";
import { windowOf } from "../../build/esm/ops/window.js";
import { ULP, f } from "./harness.js";

// Input [N,H,W,C], filters [R,S,F], options.
const GEOMETRIES = [
  [[1, 1, 1, 1], [1, 1, 1], {}],
  [[2, 5, 5, 3], [3, 3, 4], {}],
  [[2, 5, 4, 3], [3, 3, 5], { padding: "same" }],
  [[1, 7, 6, 2], [3, 2, 4], { strides: 2, padding: "same" }],
  [[1, 8, 7, 2], [3, 3, 3], { strides: [2, 3] }],
  [[2, 9, 8, 3], [3, 2, 4], { dilation: 2 }],
  [[1, 9, 7, 3], [2, 3, 4], { dilation: [3, 2], padding: "same" }],
  [[2, 4, 4, 4], [1, 1, 9], {}],
  [[1, 5, 5, 1], [5, 5, 7], {}],
  [[1, 3, 3, 2], [5, 5, 2], { padding: "same" }],
  [[2, 5, 5, 4], [3, 3, 6], { groups: 2 }],
  [[1, 6, 5, 6], [3, 3, 6], { groups: 6, padding: "same" }],
  [[1, 5, 5, 3], [3, 3, 6], { groups: 3, strides: 2, padding: "same" }],
  [[1, 6, 6, 2], [2, 2, 8], { strides: 3 }],
  [[0, 5, 5, 3], [3, 3, 4], {}],
  [[3, 1, 13, 2], [1, 5, 4], {}],
  [[1, 11, 1, 3], [4, 1, 5], { padding: "same", strides: [3, 1] }],
  [[2, 1, 9, 3], [1, 3, 4], { padding: "causal", dilation: 2 }],
  [[1, 7, 6, 2], [3, 2, 4], { padding: "causal", strides: [2, 1] }],
  [[2, 5, 6, 3], [3, 2, 4], { padding: [[1, 0], [2, 1]] }],
  [[1, 6, 5, 4], [3, 3, 6], { padding: [[0, 2], [3, 0]], strides: [2, 1], groups: 2 }],
  [[1, 4, 5, 2], [2, 3, 3], { padding: [[4, 1], [0, 5]], dilation: [2, 1], strides: 3 }],
];
/** Largest error by tiles, relative to the sum of the terms' magnitudes: 12 ulp are met with four channels, 7 with more; with windows 2. */
const TILED_TOLERANCE = 16 * ULP;
const LARGE = [
  [[2, 14, 14, 16], [3, 3, 32], { padding: "same" }],
  [[3, 28, 28, 1], [5, 5, 6], {}],
  [[1, 13, 17, 33], [3, 3, 17], { padding: "same", strides: 2 }],
  [[4, 8, 8, 64], [1, 1, 31], {}],
  [[2, 12, 12, 24], [3, 3, 24], { groups: 24, padding: "same" }],
  [[1, 7, 7, 70], [3, 3, 10], {}],
  [[1, 2, 1100, 1], [1, 3, 8], {}],
];
/**
 * By 3x3 filters, enough for tiles of 4x4 pixels (assembly/conv/winograd.ts); the number of channels, filters, rows and columns that tiles
 * or panels leave over differ.
 */
const TILED = [
  [[2, 13, 13, 32], [3, 3, 64], {}],
  [[1, 17, 19, 8], [3, 3, 12], { padding: "same" }],
  [[3, 10, 15, 12], [3, 3, 20], {}],
  [[1, 28, 6, 20], [3, 3, 36], { padding: "same" }],
  [[1, 36, 32, 4], [3, 3, 8], { padding: "same" }],
  [[1, 12, 12, 132], [3, 3, 12], { padding: "same" }],
  [[1, 12, 12, 64], [3, 3, 104], { padding: "same" }],
  [[1, 24, 24, 16], [3, 3, 72], {}],
  [[5, 4, 4, 16], [3, 3, 16], { padding: "same" }],
  [[1, 14, 17, 12], [3, 3, 20], { padding: "causal" }],
  [[1, 15, 14, 12], [3, 3, 20], { padding: [[0, 2], [1, 0]] }],
];
/** Filters of their own for each channel (assembly/conv/depthwise.ts). */
const DEPTHWISE = [
  [[2, 9, 13, 8], [3, 3, 8], { groups: 8, padding: "same" }],
  [[1, 7, 12, 5], [3, 2, 5], { groups: 5 }],
  [[2, 11, 10, 7], [5, 5, 7], { groups: 7, padding: "same", strides: 2 }],
  [[1, 12, 9, 12], [3, 3, 12], { groups: 12, dilation: 2, padding: "same" }],
  [[1, 2, 3, 6], [5, 5, 6], { groups: 6, padding: "same" }],
  [[1, 6, 17, 4], [3, 3, 4], { groups: 4, padding: "causal" }],
];
/** Few elements in a window (assembly/conv/narrow.ts, conv/narrow-grad.ts). */
const NARROW = [
  [[2, 28, 28, 1], [3, 3, 32], {}],
  [[1, 17, 19, 3], [3, 3, 8], { padding: "same" }],
  [[2, 13, 12, 3], [5, 4, 16], { padding: "same", strides: [2, 1] }],
  [[1, 19, 21, 2], [3, 3, 8], { dilation: [2, 3] }],
  [[1, 16, 15, 3], [7, 7, 24], { padding: "same", strides: 2 }],
  [[3, 7, 9, 24], [1, 1, 40], {}],
  [[1, 3, 40, 5], [3, 3, 8], { strides: [1, 2] }],
  [[2, 9, 29, 1], [3, 5, 16], { padding: "same" }],
  [[1, 14, 15, 1], [2, 3, 8], { padding: "same", dilation: [2, 7] }],
  [[3, 20, 7, 1], [4, 1, 8], { dilation: [3, 1] }],
  [[1, 31, 40, 1], [3, 3, 24], { strides: [1, 2] }],
  [[40, 8, 9, 1], [3, 3, 8], {}],
  [[1, 1, 40, 1], [1, 5, 8], { padding: "causal", dilation: 3 }],
  [[1, 9, 20, 3], [3, 3, 16], { padding: "causal" }],
  [[2, 9, 20, 3], [3, 3, 16], { padding: [[2, 1], [0, 3]], strides: [1, 2] }],
];
/** So many tiles that the gradient of the filters takes them in parts. */
const MANY_TILES = [[1, 60, 61, 4], [3, 3, 124], { padding: "same" }];
const title = ([x, w, o]) => `${x.join("x")} by ${w.join("x")} ${JSON.stringify(o)}`;
const filters = ([x, [r, s, n], { groups = 1 }]) => [r, s, x[3] / groups, n];

/** Attributes of the gradient kernels for a geometry. */
function attributes([x, w, { strides = 1, padding = "valid", dilation = 1, groups = 1 }]) {
  const both = (v) => (typeof v === "number" ? [v, v] : v);
  const window = windowOf("test", x, {
    size: [w[0], w[1]],
    strides: both(strides),
    dilation: both(dilation),
    padding,
    paddings: ["valid", "same", "causal"],
  });
  return { ...window, f: w[2], groups, activation: "linear" };
}

const output = (a) => [a.n, a.p, a.q, a.f];

export const cases = [
  ...[...GEOMETRIES, ...LARGE, ...TILED, ...DEPTHWISE, ...NARROW].flatMap((g, k) => {
    const a = attributes(g);
    const grad = k < GEOMETRIES.length;
    // Large sums would leave tanh nothing but 1, and with it the magnitude that errors are measured by.
    const activation = grad ? "tanh" : "elu";
    const common = {
      accumulates: true,
      tolerance: TILED.includes(g) ? TILED_TOLERANCE : 8 * ULP,
      grad,
      tiled: TILED.includes(g),
      narrow: NARROW.includes(g),
      depthwise: a.groups > 1 && a.groups === a.c && a.c === a.f,
    };
    return [
      { op: "conv2d", name: title(g), inputs: [f(g[0], -1, 1), f(filters(g), -1, 1)], fn: (x, w) => conv2d(x, w, g[2]), ...common },
      {
        op: "conv2d",
        name: `${title(g)}, bias, ${activation}`,
        inputs: [f(g[0], -1, 1), f(filters(g), -0.5, 0.5), f([g[1][2]], -1, 1)],
        fn: (x, w, bias) => conv2d(x, w, { ...g[2], bias, activation }),
        ...common,
        tolerance: grad ? 32 * ULP : common.tolerance,
      },
      ...(TILED.includes(g)
        ? [
            {
              op: "conv2d",
              name: `${title(g)}, relu`,
              inputs: [f(g[0], -1, 1), f(filters(g), -1, 1)],
              fn: (x, w) => conv2d(x, w, { ...g[2], activation: "relu" }),
              ...common,
            },
          ]
        : []),
      {
        op: "conv2dInputGrad",
        name: title(g),
        inputs: [f(output(a), -1, 1), f(filters(g), -1, 1)],
        fn: (dy, w) => apply(conv2dInputGradOp, [dy, w], a)[0],
        ...common,
      },
      {
        op: "conv2dFilterGrad",
        name: title(g),
        inputs: [f(g[0], -1, 1), f(output(a), -1, 1)],
        fn: (x, dy) => apply(conv2dFilterGradOp, [x, dy], a)[0],
        ...common,
      },
    ];
  }),
  {
    op: "conv2dFilterGrad",
    name: title(MANY_TILES),
    inputs: [f(MANY_TILES[0], -1, 1), f(output(attributes(MANY_TILES)), -1, 1)],
    fn: (x, dy) => apply(conv2dFilterGradOp, [x, dy], attributes(MANY_TILES))[0],
    accumulates: true,
    tolerance: TILED_TOLERANCE,
    grad: false,
  },
  ...Object.keys(KERNEL_ACTIVATIONS).map((activation) => ({
    op: "conv2d",
    name: `bias, ${activation}`,
    inputs: [f([1, 4, 4, 2], -0.3, 0.3), f([2, 2, 2, 5], -0.3, 0.3), f([5], -0.4, 0.4)],
    fn: (x, w, bias) => conv2d(x, w, { bias, activation }),
    accumulates: true,
    tolerance: 32 * ULP,
  })),
  ...[[1, "valid"], [2, "valid"], [2, "same"], [[3, 1], "same"], [[1, 3], "valid"]].map(([strides, padding]) => ({
    op: "conv2dInputGrad",
    name: `transposed convolution, strides ${strides}, ${padding}`,
    inputs: [f([2, 3, 4, 5]), f([3, 2, 2, 5])],
    fn: (x, w) => conv2dTranspose(x, w, { strides, padding }),
    accumulates: true,
  })),
  ...[
    [{ padding: [[1, 0], [0, 2]], strides: 2 }, [3, 2, 2]],
    [{ padding: [[0, 0], [0, 0]], dilation: 2, groups: 2 }, [2, 3, 3]],
    [{ padding: [[1, 1], [1, 1]], strides: [3, 2], outputSize: [8, 9] }, [3, 3, 2]],
    [{ padding: [[0, 0], [1, 0]], strides: 2, groups: 2, outputSize: [6, 8] }, [1, 2, 1]],
  ].map(([options, [r, s, c]]) => ({
    op: "conv2dInputGrad",
    name: `transposed convolution, ${JSON.stringify(options)}`,
    inputs: [f([2, 3, 4, 4]), f([r, s, c, 4])],
    fn: (x, w) => conv2dTranspose(x, w, options),
    accumulates: true,
  })),
];

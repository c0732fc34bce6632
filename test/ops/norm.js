/** @file Cases of layer normalization and its gradient. */
import { apply } from "../../build/esm/apply.js";
import * as n from "../../build/esm/ops/norm.js";
import { ULP, f, randomSource, values } from "./harness.js";

const SHAPES = [[1, 3], [4, 5], [5, 4], [3, 8], [2, 17], [0, 3], [2, 513], [33, 16], [3, 1031]];
const attrs = ([rows, cols], centered = true) => ({ rows, cols, epsilon: 1e-3, centered });
const close = { scale: 4, tolerance: 64 * ULP, gradTolerance: 1e-5 };
const kinds = [["centered", true], ["root mean square", false]];

/**
 * Rows whose variance cancels in a sum of squares, in turn with others: means of 1e4 and -3e5 deviations, an element far out, one number
 * alone, a mean of 2.8 deviations.
 */
function cancelling(rows, cols) {
  const random = randomSource(rows * cols);
  const normal = () => Array.from({ length: 12 }, random).reduce((sum, x) => sum + x, -6);
  const kinds = [
    () => 1e4 + normal(),
    normal,
    () => 7.3,
    (j) => (j ? normal() : 1e4),
    () => -3e5 + normal(),
    () => 2.8 + normal(),
    () => normal() / 1024,
  ];
  return values(
    Array.from({ length: rows * cols }, (_, k) => kinds[Math.floor(k / cols) % kinds.length](k % cols)),
    "f32",
    [rows, cols],
  );
}

export const cases = [
  ...SHAPES.flatMap((shape) => [
    {
      op: "layerNorm",
      name: `${shape}`,
      inputs: [f(shape), f([shape[1]]), f([shape[1]])],
      fn: (x, gamma, beta) => n.normalizeLast(x, 1, { gamma, beta }),
      ...close,
    },
    {
      op: "layerNorm",
      name: `${shape} root mean square`,
      inputs: [f(shape), f([shape[1]])],
      fn: (x, gamma) => n.normalizeLast(x, 1, { gamma, centered: false }),
      ...close,
    },
  ]),
  {
    op: "layerNorm",
    name: "without gamma and beta",
    inputs: [f([5, 7], 1, 3)],
    fn: (x) => n.normalizeLast(x, 1, { epsilon: 0.5 }),
    ...close,
  },
  ...[[9, 7], [17, 100], [8, 333], [18, 2053]].map((shape) => ({
    op: "layerNorm",
    name: `${shape}, large means`,
    inputs: [cancelling(...shape)],
    fn: (x) => apply(n.layerNormOp, [x, null, null], { ...attrs(shape), epsilon: 1e-6 }),
    scale: 1,
    tolerance: 8 * ULP,
    grad: false,
  })),
  {
    op: "layerNorm",
    name: "NaN and infinity stay in their rows",
    inputs: [values([NaN, 1, 2, Infinity, 1, 2, 3, 4, 6], "f32", [3, 3])],
    fn: (x) => n.normalizeLast(x, 1, {}),
    ...close,
    grad: false,
  },
  {
    op: "layerNorm",
    name: "large and small numbers",
    inputs: [values([1e15, 2e15, -1e15, 1e-15, 2e-15, -1e-15], "f32", [2, 3])],
    fn: (x) => n.normalizeLast(x, 1, { epsilon: 1e-30 }),
    ...close,
    grad: false,
  },
  {
    op: "layerNorm",
    name: "over two dimensions",
    inputs: [f([3, 4, 6]), f([4, 6]), f([4, 6])],
    fn: (x, gamma, beta) => n.normalizeLast(x, 2, { gamma, beta }),
    ...close,
  },
  ...kinds.map(([name, centered]) => ({
    op: "layerNorm",
    name: `mean and rstd, ${name}`,
    inputs: [f([4, 6]), f([6]), f([6])],
    fn: (x, gamma, beta) => apply(n.layerNormOp, [x, gamma, beta], attrs([4, 6], centered)),
    ...close,
  })),
  ...SHAPES.map((shape) => ({
    op: "layerNormGrad",
    name: `${shape}`,
    inputs: [f(shape), f(shape), f([shape[1]]), f([shape[0]]), f([shape[0]], 0.5, 2)],
    fn: (...inputs) => apply(n.layerNormGradOp, inputs, attrs(shape)),
    ...close,
    scale: 16,
    tolerance: shape[1] * ULP + 64 * ULP,
  })),
  {
    op: "layerNormGrad",
    name: "sums of many rows",
    inputs: [f([1500, 19]), f([1500, 19]), f([19]), f([1500]), f([1500], 0.5, 2)],
    grad: false,
    fn: (...inputs) => apply(n.layerNormGradOp, inputs, attrs([1500, 19])).slice(1),
    tolerance: 256 * ULP,
    accumulates: true,
  },
  {
    op: "layerNormGrad",
    name: "the sums alone",
    inputs: [f([5, 6]), f([5, 6]), f([6]), f([5]), f([5], 0.5, 2)],
    fn: (...inputs) => apply(n.layerNormGradOp, inputs, attrs([5, 6])).slice(1),
    ...close,
    scale: 16,
  },
  {
    op: "layerNormGrad",
    name: "root mean square, without gamma",
    inputs: [f([4, 6]), f([4, 6]), f([4], -0.5, 0.5), f([4], 0.5, 2)],
    fn: (dy, x, mean, rstd) => apply(n.layerNormGradOp, [dy, x, null, mean, rstd], attrs([4, 6], false))[0],
    ...close,
    scale: 16,
  },
];

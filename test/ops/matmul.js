/** @file Cases of the matrix product. The kernel's tiles are 4 or 6 rows of 8 columns, its blocks 48 or 96 rows and 256 to 512 of K. */
import { KERNEL_ACTIVATIONS } from "../../build/esm/ops/activation.js";
import { dot, matmul, matrixTranspose } from "../../build/esm/ops/matmul.js";
import { FORMATS } from "../../build/esm/packed/layout.js";
import { ULP, f, packed } from "./harness.js";

const SIZES = [
  [0, 3, 4],
  [3, 0, 4],
  [3, 4, 0],
  [1, 1, 1],
  [3, 3, 3],
  [4, 4, 4],
  [5, 5, 5],
  [3, 4, 7],
  [4, 5, 8],
  [5, 3, 9],
  [6, 7, 8],
  [7, 8, 15],
  [13, 11, 17],
  [1, 64, 33],
  [33, 64, 1],
  [47, 31, 23],
  [48, 32, 24],
  [49, 33, 25],
  [95, 13, 16],
  [96, 13, 17],
  [97, 13, 15],
  [23, 255, 9],
  [23, 256, 8],
  [23, 257, 31],
  [7, 511, 7],
  [7, 513, 9],
  [2, 1031, 3],
  [101, 103, 107],
  [1, 1000, 10],
  [130, 520, 70],
];
const TRANSPOSES = [[false, false], [true, false], [false, true], [true, true]];
const at = (rows, cols, turned) => (turned ? [cols, rows] : [rows, cols]);
const BATCHES = [[[2], [2]], [[3], []], [[], [3]], [[1], [4]], [[2, 1], [3]], [[2, 3], [1, 1]], [[0], [0]], [[2, 2], [2, 2]], [[4], [1]]];

/** Rows, k, columns of products with packed weights: whole blocks of k, groups of 4 columns and parts of them. */
const PACKED_SIZES = [
  [0, 32, 4],
  [1, 64, 7],
  [3, 32, 5],
  [13, 64, 9],
  [40, 96, 18],
];

/** Of many rows numbers may be rounded to 7 bits. */
const packedTolerance = (m) => (m > 8 ? 1e-2 : 4e-5);

export const cases = [
  ...SIZES.flatMap(([m, k, n]) =>
    TRANSPOSES.map(([transposeA, transposeB]) => ({
      op: "matmul",
      name: `${m}x${k}x${n}${transposeA ? " A^T" : ""}${transposeB ? " B^T" : ""}`,
      inputs: [f(at(m, k, transposeA), -1, 1), f(at(k, n, transposeB), -1, 1)],
      fn: (x, y) => matmul(x, y, { transposeA, transposeB }),
      accumulates: true,
      tolerance: 8 * ULP,
      grad: m * k * n < 40000,
    })),
  ),
  ...BATCHES.flatMap(([x, y]) =>
    TRANSPOSES.map(([transposeA, transposeB]) => ({
      op: "matmul",
      name: `batches [${x}] and [${y}]${transposeA ? " A^T" : ""}${transposeB ? " B^T" : ""}`,
      inputs: [f([...x, ...at(5, 3, transposeA)]), f([...y, ...at(3, 9, transposeB)])],
      fn: (a, b) => matmul(a, b, { transposeA, transposeB }),
      accumulates: true,
    })),
  ),
  ...Object.keys(KERNEL_ACTIVATIONS).flatMap((activation) =>
    [[5, 7, 9], [33, 20, 31], [1, 3, 5], [50, 300, 20]].map(([m, k, n]) => ({
      op: "matmul",
      name: `bias, ${activation}, ${m}x${k}x${n}`,
      inputs: [f([m, k], -0.7, 0.7), f([k, n], -0.7, 0.7), f([n], -0.5, 0.5)],
      fn: (a, b, bias) => matmul(a, b, { bias, activation }),
      accumulates: true,
      tolerance: 32 * ULP,
      grad: m * k * n < 1000 && activation !== "hardSigmoid",
      gradTolerance: 1e-5,
    })),
  ),
  {
    op: "matmul",
    name: "hardSigmoid away from its corners",
    inputs: [f([3, 2], -0.7, 0.7), f([2, 5], -0.7, 0.7), f([5], -0.5, 0.5)],
    fn: (a, b, bias) => matmul(a, b, { bias, activation: "hardSigmoid" }),
    accumulates: true,
  },
  {
    op: "matmul",
    name: "K = 0 gives the activation of the bias",
    inputs: [f([3, 0]), f([0, 5]), f([5])],
    fn: (a, b, bias) => matmul(a, b, { bias, activation: "tanh" }),
    accumulates: true,
  },
  {
    op: "matmul",
    name: "bias over a batch",
    inputs: [f([2, 3, 4]), f([2, 4, 5]), f([5])],
    fn: (a, b, bias) => matmul(a, b, { bias }),
    accumulates: true,
  },
  {
    op: "matmul",
    name: "one matrix for a batch, bias",
    inputs: [f([2, 3, 4]), f([4, 5]), f([5])],
    fn: (a, b, bias) => matmul(a, b, { bias }),
    accumulates: true,
  },
  { op: "matmul", name: "with itself", inputs: [f([6, 6], -1, 1)], fn: (a) => matmul(a, a, { transposeB: true }), accumulates: true },
  {
    op: "matmul",
    name: "dot",
    inputs: [f([5]), f([5]), f([3, 5])],
    fn: (a, b, c) => [dot(a, b), dot(c, b), dot(a, matrixTranspose(c))],
    accumulates: true,
  },
  ...FORMATS.flatMap((format) =>
    PACKED_SIZES.flatMap(([m, k, n]) =>
      [0, 1].map((axis) => ({
        op: "matmul",
        name: `${m}x${k}x${n} ${format}, axis ${axis}`,
        inputs: [f([m, k], -1, 1), packed(axis === 0 ? [k, n] : [n, k], format, axis)],
        fn: (x, w) => matmul(x, w, { transposeB: axis === 1 }),
        scale: k / 4,
        tolerance: packedTolerance(m),
      })),
    ),
  ),
  ...FORMATS.map((format) => ({
    op: "matmul",
    name: `${format} with bias and activation, 3 dimensions`,
    inputs: [f([2, 3, 64], -1, 1), packed([64, 9], format), f([9])],
    fn: (x, w, bias) => matmul(x, w, { bias, activation: "relu" }),
    scale: 16,
    tolerance: packedTolerance(6),
    grad: false,
  })),
  ...FORMATS.map((format) => ({
    op: "matmul",
    name: `${format} read the other way, and as the left operand`,
    inputs: [f([3, 32], -1, 1), packed([64, 32], format)],
    fn: (x, w) => [matmul(x, w, { transposeB: true }), matmul(w, x, { transposeB: true })],
    accumulates: false,
    scale: 8,
    gradTolerance: 1e-4,
  })),
];

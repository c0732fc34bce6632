/** @file Cases of gather and scatterAdd. */
import { gather, scatterAdd } from "../../build/esm/ops/gather.js";
import { reshape } from "../../build/esm/ops/move.js";
import { FORMATS } from "../../build/esm/packed/layout.js";
import { b, bytes, f, i, packed, u, values } from "./harness.js";

// x, index, axis.
const GEOMETRIES = [
  [[5], [3], 0],
  [[1], [1], 0],
  [[7, 3], [4], 0],
  [[7, 4], [5], 0],
  [[7, 5], [0], 0],
  [[3, 7], [5], 1],
  [[2, 5, 3], [4], 1],
  [[2, 3, 5], [7], 2],
  [[97, 16], [53], 0],
  [[4, 0], [3], 0],
  [[5, 17], [2, 3], 0],
  [[3, 5, 2], [2, 2], 1],
  [[13, 513], [29], 0],
];

export const cases = [
  ...GEOMETRIES.flatMap(([shape, index, axis]) => {
    const count = index.reduce((a, d) => a * d, 1);
    const updates = shape.map((d, k) => (k === axis ? count : d));
    return [
      {
        op: "gather",
        name: `f32 ${shape}, index ${index}, axis ${axis}`,
        inputs: [f(shape), i(index, 0, shape[axis] - 1)],
        fn: (x, at) => gather(x, at, axis),
        tolerance: 0,
      },
      {
        op: "scatterAdd",
        name: `${updates} into ${shape[axis]} of axis ${axis}`,
        inputs: [f(updates), i([count], 0, shape[axis] - 1)],
        fn: (x, at) => scatterAdd(x, at, shape[axis], axis),
        accumulates: true,
      },
    ];
  }),
  { op: "gather", name: "i32", inputs: [i([7, 3]), i([4], 0, 6)], fn: (x, at) => gather(x, at), grad: false },
  { op: "gather", name: "u32", inputs: [u([7, 3]), i([4], 0, 6)], fn: (x, at) => gather(x, at), grad: false },
  { op: "gather", name: "bool", inputs: [b([7, 3]), i([4], 0, 6)], fn: (x, at) => gather(x, at), grad: false },
  // Rows of every length modulo a word, whole vectors, many pieces; the index as bytes, and both.
  ...[
    [[5], 0],
    [[7, 1], 0],
    [[7, 2], 0],
    [[7, 3], 0],
    [[9, 4], 0],
    [[9, 5], 0],
    [[6, 17], 0],
    [[11, 784], 0],
    [[3, 5], 1],
    [[2, 5, 3], 1],
    [[2, 3, 7], 2],
    [[41, 3001], 0],
  ].map(([shape, axis]) => ({
    op: "gather",
    name: `bytes ${shape}, axis ${axis}`,
    inputs: [bytes(shape), i([13], -2, shape[axis] + 1)],
    fn: (x, at) => gather(x, at, axis),
    grad: false,
  })),
  {
    op: "gather",
    name: "bytes in the shape of images",
    inputs: [bytes([6, 15]), i([4], 0, 5)],
    fn: (x, at) => gather(reshape(x, [6, 5, 3]), at),
    grad: false,
  },
  { op: "gather", name: "none of some bytes", inputs: [bytes([6, 3]), i([0])], fn: (x, at) => gather(x, at), grad: false },
  {
    op: "gather",
    name: "an index of bytes",
    inputs: [f([7, 3]), bytes([5], 0, 6)],
    fn: (x, at) => gather(x, at),
    grad: false,
    tolerance: 0,
  },
  {
    op: "gather",
    name: "bytes at an index of bytes",
    inputs: [bytes([7, 3]), bytes([5], 0, 6)],
    fn: (x, at) => gather(x, at),
    grad: false,
  },
  {
    op: "gather",
    name: "indices out of range are clamped",
    inputs: [f([5, 3]), values([-1, 5, 100, -2147483648, 2147483647, 2], "i32")],
    fn: (x, at) => gather(x, at),
    tolerance: 0,
  },
  {
    op: "scatterAdd",
    name: "indices out of range are clamped",
    inputs: [f([4, 3]), values([-1, 5, 1, 1], "i32")],
    fn: (x, at) => scatterAdd(x, at, 3),
    accumulates: true,
  },
  { op: "scatterAdd", name: "all into one", inputs: [f([101, 3]), i([101], 1, 1)], fn: (x, at) => scatterAdd(x, at, 3), accumulates: true },
  { op: "scatterAdd", name: "nothing into zeros", inputs: [f([0, 3]), i([0])], fn: (x, at) => scatterAdd(x, at, 3) },
  ...FORMATS.flatMap((format) =>
    [[1, 32], [6, 64], [9, 96]].map(([rows, k]) => ({
      op: "gather",
      name: `rows of ${rows}x${k} ${format}`,
      inputs: [packed([rows, k], format, 1), i([2, 4], -1, rows)],
      fn: (x, at) => gather(x, at),
      grad: false,
    })),
  ),
  ...FORMATS.map((format) => ({
    op: "gather",
    name: `columns and rows of ${format} that its kernel does not read`,
    inputs: [packed([64, 5], format), i([3], 0, 4)],
    fn: (x, at) => [gather(x, at), gather(x, at, 1)],
    grad: false,
  })),
];

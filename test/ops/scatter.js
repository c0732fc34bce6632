/** @file Cases of scatterUpdate. */
import { scatterHalves, scatterUpdate } from "../../build/esm/ops/scatter.js";
import { reshape } from "../../build/esm/ops/move.js";
import { b, bytes, f, i, u, values } from "./harness.js";

// x, and how many rows are replaced: scalars, parts of vectors, whole ones, more columns than a piece has, more rows than x, nothing.
const GEOMETRIES = [
  [[5], 3],
  [[1], 1],
  [[7, 1], 4],
  [[7, 3], 4],
  [[7, 4], 5],
  [[3, 2, 5], 2],
  [[4, 17], 9],
  [[11, 8, 64], 1],
  [[6, 1029], 300],
  [[9, 2], 1030],
  [[5, 3], 0],
  [[0, 3], 2],
  [[4, 0], 3],
];

const update = (x, index, updates) => scatterUpdate(x, index, updates);

export const cases = [
  ...GEOMETRIES.map(([shape, count]) => ({
    op: "scatterUpdate",
    name: `${count} rows of ${shape}`,
    // Some indices are outside, some equal.
    inputs: [f(shape), i([count], -2, shape[0] + 1), f([count, ...shape.slice(1)])],
    fn: update,
    tolerance: 0,
  })),
  { op: "scatterUpdate", name: "i32", inputs: [i([7, 3]), i([4], 0, 6), i([4, 3])], fn: update, grad: false },
  { op: "scatterUpdate", name: "u32", inputs: [u([7, 3]), i([4], 0, 6), u([4, 3])], fn: update, grad: false },
  { op: "scatterUpdate", name: "bool", inputs: [b([7, 3]), i([4], 0, 6), b([4, 3])], fn: update, grad: false },
  {
    op: "scatterUpdate",
    name: "into bytes, from bytes, at bytes",
    inputs: [bytes([7, 3]), bytes([4], 0, 6), bytes([4, 3])],
    fn: update,
    grad: false,
  },
  {
    op: "scatterUpdate",
    name: "of equal indices the last counts, those outside write nothing",
    inputs: [f([3, 2]), values([1, -1, 1, 3, 0, 1, -2147483648, 2147483647], "i32"), f([8, 2])],
    fn: update,
    tolerance: 0,
  },
  {
    op: "scatterUpdate",
    name: "several, one after another, of a reshaped product",
    inputs: [f([6, 2]), i([2], 0, 3), f([2, 3]), i([1], 0, 3), f([1, 3])],
    fn: (x, first, some, second, others) => scatterUpdate(scatterUpdate(reshape(x, [4, 3]), first, some), second, others),
    tolerance: 0,
  },
  {
    op: "scatterUpdate",
    name: "by its own rows",
    inputs: [f([5, 3]), values([4, 3, 2, 1, 0], "i32")],
    fn: (x, index) => scatterUpdate(x, index, x),
    tolerance: 0,
  },
  // Of numbers that are f16: devices may round others either way.
  ...[
    [[5, 2], 3],
    [[3, 2, 6], 2],
    [[4, 1030], 7],
  ].map(([shape, count]) => {
    const updates = [count, ...shape.slice(1, -1), 2 * shape.at(-1)];
    const numbers = Array.from({ length: updates.reduce((a, b) => a * b) }, (_, i) => ((i * 37) % 2003) - 1001 + ((i % 8) - 4) / 8);
    return {
      op: "scatterHalves",
      name: `${count} rows of ${shape}`,
      inputs: [
        u(shape),
        i([count], -2, shape[0] + 1),
        values(
          numbers.map((v) => Math.trunc(v * 2) / 2),
          "f32",
          updates,
        ),
      ],
      fn: scatterHalves,
    };
  }),
];

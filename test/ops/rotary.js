/** @file Cases of rotary position embeddings. */
import { rotary } from "../../build/esm/ops/rotary.js";
import { ULP, f, values } from "./harness.js";

/** Shapes of x and how many features are pairs: whole vectors, parts of them, features behind, many rows, nothing. */
const SHAPES = [
  [[1, 1, 2], 1],
  [[3, 2, 8], 4],
  [[2, 5, 3, 16], 8],
  [[2, 7, 1, 6], 3],
  [[4, 3, 10], 5],
  [[2, 3, 2, 11], 4],
  [[3, 1, 9], 2],
  [[2, 2, 3, 2, 12], 6],
  [[129, 3, 64], 32],
  [[0, 2, 8], 4],
  [[2, 0, 3, 8], 4],
];

export const cases = [
  ...[false, true].flatMap((neighbours) =>
    SHAPES.map(([shape, half]) => {
      const angles = [shape.at(-3), half];
      return {
        op: "rotary",
        name: `${shape} of which ${2 * half}${neighbours ? ", neighbours" : ""}`,
        inputs: [f(shape), f(angles, -1, 1), f(angles, -1, 1)],
        fn: (x, cos, sin) => rotary(x, cos, sin, { neighbours }),
        scale: 4,
        tolerance: 2 * ULP,
        grad: !shape.includes(0),
      };
    }),
  ),
  {
    op: "rotary",
    name: "a quarter turn",
    inputs: [values([1, 2, 3, 4], "f32", [1, 1, 4]), values([0, 0], "f32", [1, 2]), values([1, 1], "f32", [1, 2])],
    fn: (x, cos, sin) => [rotary(x, cos, sin), rotary(x, cos, sin, { neighbours: true })],
  },
];

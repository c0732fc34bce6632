/** @file Cases of random numbers. Box-Muller's logarithm and sine are the only inexact parts. */
import { permutation, randomBernoulli, randomBits, randomNormal, randomUniform } from "../../build/esm/ops/random.js";
import { ULP, values } from "./harness.js";

const KEYS = [[1, 2, 3, 4], [0, 0, 0, 0], [4294967295, 4294967295, 4294967295, 4294967295]];
const SHAPES = [[], [1], [3], [4], [5], [0], [7, 3], [4099], [131]];
const key = (k) => values(k, "u32");

export const cases = [
  ...KEYS.flatMap((k) => [
    ...SHAPES.flatMap((shape) => [
      { op: "random", name: `bits ${shape}, key ${k}`, inputs: [key(k)], fn: (x) => randomBits(x, shape) },
      { op: "random", name: `uniform ${shape}, key ${k}`, inputs: [key(k)], fn: (x) => randomUniform(x, shape), tolerance: 0 },
      {
        op: "random",
        name: `normal ${shape}, key ${k}`,
        inputs: [key(k)],
        fn: (x) => randomNormal(x, shape),
        scale: 1,
        tolerance: 16 * ULP,
      },
    ]),
    {
      op: "random",
      name: `streams differ, key ${k}`,
      inputs: [key(k)],
      fn: (x) => [randomUniform(x, [5]), randomUniform(x, [5]), randomUniform(x, [5], { stream: 9 })],
      tolerance: 0,
    },
    { op: "random", name: `Bernoulli, key ${k}`, inputs: [key(k)], fn: (x) => randomBernoulli(x, 0.3, [101]), tolerance: 0 },
    ...[1, 2, 3, 5, 16, 17, 1000, 4099].map((size) => ({
      op: "permutation",
      name: `of ${size}, key ${k}`,
      inputs: [key(k), values([0], "i32")],
      fn: (x, start) => permutation(x, size, { start }),
    })),
    {
      op: "permutation",
      name: `part, key ${k}`,
      inputs: [key(k), values([37], "i32")],
      fn: (x, start) => permutation(x, 101, { start, count: 13, stream: 3 }),
    },
  ]),
];

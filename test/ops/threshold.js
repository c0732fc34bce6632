/** @file Cases of massThreshold. */
import { exp, mul } from "../../build/esm/ops/map.js";
import { softmax } from "../../build/esm/ops/softmax.js";
import { massThreshold } from "../../build/esm/ops/threshold.js";
import { f, i, values } from "./harness.js";

const topK = (shape, k) => ({
  op: "massThreshold",
  name: `the ${k} largest of ${shape}`,
  inputs: [f(shape)],
  fn: (x) => massThreshold(x, k),
  tolerance: 0,
});
const topP = (shape, p) => ({
  op: "massThreshold",
  name: `${p} of the probability of ${shape}`,
  inputs: [f(shape, -3, 5)],
  fn: (x) => massThreshold(x, p, { weights: softmax(x) }),
  tolerance: 0,
});

const INFINITE = values([NaN, 2, -Infinity, Infinity, -0, 0, -1, NaN, 3, 1e-45, -3e38, 1], "f32", [12]);

export const cases = [
  ...[0, 1, 3, 7, 7.5, 8, 1e9, -Infinity].map((k) => topK([5, 8], k)),
  ...[1, 2, 3, 4, 5, 15, 16, 17, 31, 67, 129, 1027].flatMap((n) => [topK([3, n], Math.ceil(n / 3)), topP([3, n], 0.6)]),
  ...[0, 0.01, 0.5, 0.99, 1.01].map((p) => topP([2, 3, 50], p)),
  topK([7], 2),
  topK([3000, 5], 2),
  topP([2, 5000], 0.9),
  topK([0, 4], 2),
  ...Array.from({ length: 12 }, (_, k) => ({
    op: "massThreshold",
    name: `the ${k + 1} largest of NaN, infinities, zeros and what is near them`,
    inputs: [INFINITE],
    fn: (x) => massThreshold(x, k + 1),
  })),
  {
    op: "massThreshold",
    name: "nothing but NaN",
    inputs: [values([NaN, NaN, NaN], "f32", [1, 3])],
    fn: (x) => [massThreshold(x, 1), massThreshold(x, 9)],
  },
  {
    op: "massThreshold",
    name: "weights that are negative, NaN, infinite or subnormal",
    inputs: [values([6, 5, 4, 3, 2, 1]), values([-7, NaN, 1, 2, Infinity, 1])],
    fn: (x, weights) => [0, 0.5, 1, 2, 3, 4, 1e30, Infinity].map((mass) => massThreshold(x, mass, { weights })),
  },
  {
    op: "massThreshold",
    name: "a mass of NaN is never reached",
    inputs: [f([2, 9]), values([NaN, 1])],
    fn: (x, mass) => massThreshold(x, mass),
  },
  {
    op: "massThreshold",
    name: "a mass for each row",
    inputs: [f([2, 3, 40]), f([2, 3], 1, 30), f([2, 3, 40], -1, 1)],
    fn: (x, mass, w) => massThreshold(x, mass, { weights: exp(w) }),
  },
  {
    op: "massThreshold",
    name: "equal elements count together",
    inputs: [i([4, 60], 0, 4), i([2, 3000], -2, 20)],
    fn: (x, longer) => [
      ...[1, 20, 40, 60].map((k) => massThreshold(x, k)),
      ...[9, 2500, 2650, 2750, 2990].map((k) => massThreshold(longer, k)),
    ],
  },
  {
    op: "massThreshold",
    name: "equal elements with weights, spread over many orders of magnitude",
    inputs: [i([2, 3000], -6, 6), f([2, 3000], 0, 1)],
    fn: (x, weights) => [1, 100, 700, 800, 900, 1490].map((mass) => massThreshold(exp(mul(x, 12)), mass, { weights })),
    tolerance: 1e-5,
  },
  {
    op: "massThreshold",
    name: "zeros of both signs",
    inputs: [
      values(
        Array.from({ length: 500 }, (_, k) => (k % 5 === 0 ? 1 : k % 5 === 1 ? -1 : k % 2 ? 0 : -0)),
        "f32",
        [1, 500],
      ),
    ],
    fn: (x) => [1, 100, 101, 250, 400, 401].map((k) => massThreshold(x, k)),
  },
];

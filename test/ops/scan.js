/** @file Cases of scan: what is carried, read and collected, both ways, inside each other, and with what gradients need of each step. */
import { add, exp, mul, sigmoid, sub, tanh } from "../../build/esm/ops/map.js";
import { linear, matmul } from "../../build/esm/ops/matmul.js";
import { concat, slice } from "../../build/esm/ops/move.js";
import { mean } from "../../build/esm/ops/composite.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { checkpoint, scan } from "../../build/esm/ops/scan.js";
import { gather } from "../../build/esm/ops/gather.js";
import { currentGraph } from "../../build/esm/graph.js";
import { ULP, f, i } from "./harness.js";

const constant = (value, dtype) => currentGraph().constant(value, dtype);

const running = (options) => (init, xs) =>
  scan(
    (total, x) => {
      const next = add(total, mul(x, x));
      return [next, next];
    },
    init,
    xs,
    options,
  );

/** h = tanh(x wx + h wr + b): weights by closure. */
const recurrent = (options) => (xs, h0, wx, wr, b) => {
  const [last, all] = scan(
    (h, x) => {
      const next = tanh(add(matmul(x, wx), matmul(h, wr, { bias: b })));
      return [next, next];
    },
    h0,
    xs,
    options,
  );
  return [last, all];
};
const cell = [f([5, 3, 4], -1, 1), f([3, 6], -1, 1), f([4, 6], -0.5, 0.5), f([6, 6], -0.5, 0.5), f([6])];

const lstm = (xs, h0, c0, w, wr) =>
  scan(
    ({ h, c }, { x }) => {
      const z = add(matmul(x, w), matmul(h, wr));
      const [input, forget, candidate, output] = [0, 1, 2, 3].map((k) => slice(z, [0, 3 * k], [2, 3]));
      const next = add(mul(sigmoid(forget), c), mul(sigmoid(input), tanh(candidate)));
      const state = { h: mul(sigmoid(output), tanh(next)), c: next };
      return [state, state.h];
    },
    { h: h0, c: c0 },
    { x: xs },
  );

const two = (x, w) => tanh(matmul(tanh(matmul(x, w)), w));

export const cases = [
  { op: "scan", name: "running sum of squares", inputs: [f([3]), f([5, 3])], fn: running() },
  { op: "scan", name: "from the last to the first", inputs: [f([3]), f([5, 3])], fn: running({ reverse: true }) },
  { op: "scan", name: "of one step", inputs: [f([2, 2]), f([1, 2, 2])], fn: running() },
  { op: "scan", name: "of no steps", inputs: [f([3]), f([0, 3])], fn: running() },
  { op: "scan", name: "of scalars", inputs: [f([]), f([7])], fn: running() },
  { op: "scan", name: "recurrent layer", inputs: cell, fn: recurrent(), scale: 1, gradTolerance: 32 * ULP },
  { op: "scan", name: "recurrent layer, backwards", inputs: cell, fn: recurrent({ reverse: true }), scale: 1, gradTolerance: 32 * ULP },
  { op: "scan", name: "recurrent layer, computed again", inputs: cell, fn: recurrent({ remat: true }), scale: 1, gradTolerance: 32 * ULP },
  {
    op: "scan",
    name: "an LSTM's cell, trees",
    scale: 1,
    inputs: [f([4, 2, 3]), f([2, 3]), f([2, 3]), f([3, 12]), f([3, 12])],
    fn: (...all) => {
      const [{ h, c }, ys] = lstm(...all);
      return [h, c, ys];
    },
  },
  {
    op: "scan",
    name: "nothing but a number of steps",
    inputs: [f([2, 3], 0.5, 1)],
    fn: (x) => scan((y) => [mul(y, y), null], x, null, { length: 3 })[0],
  },
  {
    op: "scan",
    name: "nothing carried",
    scale: 1,
    inputs: [f([4, 2, 3]), f([3, 5])],
    fn: (xs, w) => scan((_, x) => [null, matmul(x, w)], null, xs)[1],
  },
  {
    op: "scan",
    name: "one value collected twice, and what goes in",
    inputs: [f([4, 3]), f([3])],
    fn: (xs, c) => {
      const [last, [a, b, x, before]] = scan(
        (total, x) => {
          const y = mul(total, x);
          return [sub(y, 1), [y, y, x, total]];
        },
        c,
        xs,
      );
      return [last, a, b, x, before];
    },
  },
  {
    op: "scan",
    name: "a counter and a table",
    inputs: [f([5, 3]), f([3])],
    fn: (table, h) =>
      scan(([n, state], _) => [[add(n, 1), mul(state, gather(table, n))], state], [constant(0, "i32"), h], null, { length: 5 })[1],
  },
  {
    op: "scan",
    name: "what moves is of integers",
    inputs: [f([6, 3]), i([4, 2], 0, 5), f([2, 3])],
    fn: (table, ids, h) => scan((state, id) => [tanh(add(state, gather(table, id))), null], h, ids)[0],
  },
  {
    op: "scan",
    name: "a loop in a loop",
    scale: 1,
    inputs: [f([3, 2, 4], -1, 1), f([2, 4], -1, 1), f([4, 4], -0.5, 0.5)],
    fn: (xs, h, w) =>
      scan(
        (outer, x) => {
          const [inner, steps] = scan(
            (state, k) => {
              const next = tanh(add(matmul(state, w), mul(x, k)));
              return [next, sum(next)];
            },
            outer,
            slice(x, [0, 0], [2, 4]),
          );
          return [inner, add(steps, mean(x))];
        },
        h,
        xs,
      ),
  },
  {
    op: "scan",
    name: "stacked weights of layers",
    scale: 1,
    inputs: [f([3, 4], -1, 1), f([5, 4, 4], -0.5, 0.5), f([5, 4])],
    fn: (x, w, b) => scan((h, layer) => [add(h, tanh(linear(h, layer.w, layer.b))), null], x, { w, b })[0],
  },
  ...[false, true].map((remat) => ({
    op: "scan",
    name: `a linear recurrence${remat ? ", computed again" : ""}`,
    scale: 1,
    inputs: [f([5, 2, 3], -1, 1), f([2, 3], -1, 1), f([3, 3], -0.5, 0.5)],
    fn: (xs, h, a) =>
      scan(
        (state, x) => {
          const next = add(matmul(state, a), x);
          return [next, next];
        },
        h,
        xs,
        { remat },
      ),
  })),
  {
    op: "scan",
    name: "one layer again and again",
    scale: 1,
    inputs: [f([2, 3], -1, 1), f([3, 3], -0.5, 0.5), f([3])],
    fn: (x, w, bias) => scan((h) => [add(h, matmul(h, w, { bias })), null], x, null, { length: 4 })[0],
  },
  { op: "scan", name: "checkpoint", scale: 1, inputs: [f([3, 4], -1, 1), f([4, 4], -0.5, 0.5)], fn: (x, w) => checkpoint(two)(x, w) },
  {
    op: "scan",
    name: "checkpoints in a row, of trees",
    inputs: [f([3, 4], -1, 1), f([4, 4], -0.5, 0.5)],
    fn: (x, w) => {
      const block = checkpoint(({ a, b }) => ({ a: two(a, w), b: concat([b, exp(a)], 0) }));
      const { a, b } = block(block({ a: x, b: x }));
      return [a, b];
    },
  },
  {
    op: "scan",
    name: "40 steps",
    inputs: [f([40, 2, 8], -1, 1), f([2, 16]), f([8, 16], -0.5, 0.5), f([16, 16], -0.3, 0.3), f([16])],
    fn: recurrent(),
    tolerance: 64 * ULP,
    scale: 1,
    gradTolerance: 256 * ULP,
  },
];

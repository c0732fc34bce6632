/** Tests of fusion: how many calls a chain becomes, what is merged and what must not be. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { gradients } from "../../build/esm/grad.js";
import { Graph, trace } from "../../build/esm/graph.js";
import { gelu, mish, selu } from "../../build/esm/ops/activation.js";
import { mean, variance } from "../../build/esm/ops/composite.js";
import { add, div, exp, greater, mul, sigmoid, square, sub, tanh, where } from "../../build/esm/ops/map.js";
import { matmul } from "../../build/esm/ops/matmul.js";
import { broadcastTo, reshape } from "../../build/esm/ops/move.js";
import { maxPool2d } from "../../build/esm/ops/pool.js";
import { lstmSequence } from "../../build/esm/ops/recurrent.js";
import { argMax, max, sum } from "../../build/esm/ops/reduce.js";
import { softmaxCrossEntropy } from "../../build/esm/ops/softmax.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { fuse } from "../../build/esm/plan/fuse.js";
import { liveNodes } from "../../build/esm/plan/simplify.js";
import { wasms } from "../ops/harness.js";
import { randomGraph } from "./random-graph.js";

const { limits } = wasms[0];

/** The plan of `fn(...inputs)` for inputs of `shapes`. */
function planOf(shapes, fn, within = limits) {
  const graph = new Graph();
  const results = trace(graph, () => [fn(...shapes.map((shape) => graph.input({ shape, dtype: "f32" })))].flat());
  return buildPlan(graph, results, within);
}

const kernels = (plan) => plan.calls.map((c) => c.kernel);
const ops = (call) => call.attrs.body.steps.map((s) => s.op).filter((op) => op !== "const");

for (const [name, fn] of Object.entries({
  gelu: (x) => gelu(x),
  "gelu by tanh": (x) => gelu(x, true),
  mish,
  selu,
  square,
  "where chain": (x) => where(greater(x, 0), mul(x, 2), exp(x)),
})) {
  test(`${name} is one map of one input`, () => {
    const plan = planOf([[3, 5]], fn);
    assert.equal(kernels(plan), ["map"]);
    assert.is(plan.calls[0].inputs.length, 1);
    assert.equal(plan.slots, []);
  });
}

test("a chain and its gradient are one map with two outputs", () => {
  const plan = planOf([[7]], (x) => {
    const y = tanh(mul(x, 3));
    return [y, gradients(sum(y), [x])[0]];
  });
  assert.equal(kernels(plan), ["map"]);
  assert.is(plan.calls[0].outputs.length, 2);
});

test("a chain into a sum is a reduction with a body", () => {
  const plan = planOf([[4, 6], [6]], (x, y) => sum(square(sub(x, y)), { axis: 1 }));
  assert.equal(kernels(plan), ["reduce"]);
  assert.equal(ops(plan.calls[0]), ["sub", "square"]);
  assert.equal(plan.slots, []);
});

test("a chain into a sum through a reshape, and into max and argmax, too", () => {
  assert.equal(kernels(planOf([[4, 6]], (x) => sum(reshape(square(x), [24])))), ["reduce"]);
  assert.equal(kernels(planOf([[4, 6]], (x) => max(exp(x), { axis: 0 }))), ["reduce"]);
  assert.equal(kernels(planOf([[4, 6]], (x) => argMax(mul(x, -1)))), ["reduce"]);
});

test("a chain that is also read elsewhere is not a prologue", () => {
  assert.equal(
    kernels(
      planOf([[4, 6]], (x) => {
        const y = square(x);
        return [sum(y, { axis: 1 }), y];
      }),
    ),
    ["map", "reduce"],
  );
  const twice = planOf([[4, 6]], (x) => {
    const y = square(x);
    return [sum(y, { axis: 1 }), sum(y, { axis: 0 })];
  });
  assert.equal(kernels(twice), ["map", "reduce", "reduce"]);
});

test("softmax by hand: two reductions and no temporary but theirs", () => {
  const plan = planOf([[5, 9]], (x) => {
    const e = exp(sub(x, max(x, { axis: 1, keepDims: true })));
    return div(e, sum(e, { axis: 1, keepDims: true }));
  });
  assert.equal(kernels(plan), ["reduce", "map", "reduce", "map"]);
});

test("neighbours that would wait for themselves are not merged", () => {
  // y -> sum -> z, and z reads y: one map cannot hold both.
  const plan = planOf([[8]], (x) => {
    const y = exp(x);
    return mul(y, tanh(broadcastTo(sum(y), [8])));
  });
  assert.ok(kernels(plan).filter((k) => k === "map").length >= 2);
});

test("another iteration space is another call", () => {
  assert.equal(kernels(planOf([[4], [3, 4]], (x, y) => add(exp(x), y))), ["map", "map"]);
});

test("a broadcast is read with stride 0, not copied", () => {
  const plan = planOf([[4], [3, 4]], (x, y) => add(broadcastTo(x, [3, 4]), y));
  assert.equal(kernels(plan), ["map"]);
  assert.equal(plan.calls[0].attrs.body.strides, [[0, 1], [4, 1]]);
});

test("one tensor under two shapes in one body", () => {
  const plan = planOf([[1, 4]], (x) => {
    const y = tanh(x);
    return mul(y, reshape(y, [4]));
  });
  assert.equal(kernels(plan), ["map"]);
});

test("numbers are immediates; the same number once", () => {
  const plan = planOf([[4]], (x) => add(mul(x, 3), mul(sigmoid(x), 3)));
  assert.equal(kernels(plan), ["map"]);
  assert.is(plan.calls[0].attrs.body.steps.filter((s) => s.op === "const").length, 1);
  const signs = planOf([[4]], (x) => add(mul(x, 0), mul(tanh(x), -0)));
  assert.is(signs.calls[0].attrs.body.steps.filter((s) => s.op === "const").length, 2, "0 and -0 differ");
});

test("bias and activation stay inside the product", () => {
  assert.equal(kernels(planOf([[3, 4], [4, 5], [5]], (x, w, bias) => matmul(x, w, { bias, activation: "tanh" }))), ["matmul"]);
  assert.equal(kernels(planOf([[4, 3], [5, 4]], (x, w) => matmul(x, w, { transposeA: true, transposeB: true }))), ["matmul"]);
});

test("variance is two reductions with bodies where it can be", () => {
  assert.equal(kernels(planOf([[6, 5]], (x) => variance(x, { axis: 1 }))), ["reduce", "map", "reduce", "map"]);
  assert.equal(kernels(planOf([[6, 5]], (x) => mean(x))), ["reduce", "map"]);
});

test("unread outputs of a kernel are null unless the kernel always writes them", () => {
  const inference = planOf([[2, 3, 8], [2, 8]], (xw, wr) => lstmSequence(xw, wr).h);
  assert.equal(
    inference.calls[0].outputs.map((o) => o !== null),
    [true, true, false],
    "h, c, gates",
  );
  const probs = planOf([[3, 4], [3, 4]], (z, y) => softmaxCrossEntropy(z, y).probs);
  assert.equal(
    probs.calls[0].outputs.map((o) => o !== null),
    [true, true],
    "loss, probs",
  );
  assert.equal(
    planOf([[1, 4, 4, 1]], (x) => maxPool2d(x)).calls[0].outputs.map((o) => o !== null),
    [true, false],
    "y, index",
  );
});

test("bodies stay within a backend's limits", () => {
  const small = { ...limits, maxOperands: 5, maxSteps: 7 };
  let calls = 0;
  for (let seed = 0; seed < 200; seed++) {
    const { graph, results } = randomGraph(seed);
    for (const call of buildPlan(graph, results, small).calls) {
      if (!call.attrs.body) continue;
      calls++;
      // A single step has what operands it has.
      const alone = ops(call).length === 1;
      assert.ok(
        alone || call.inputs.length + call.outputs.length <= 5 + (call.kernel.name === "reduce" ? 1 : 0),
        `graph ${seed}: operands`,
      );
      assert.ok(alone || call.attrs.body.steps.length <= 7, `graph ${seed}: ${call.attrs.body.steps.length} steps`);
    }
  }
  assert.ok(calls > 200);
});

test("every operand is computed before it is read", () => {
  for (let seed = 0; seed < 200; seed++) {
    const { graph, results } = randomGraph(seed);
    const roots = [...results, ...graph.assigns.values()];
    const nodes = liveNodes(graph, roots);
    const done = new Set();
    for (const call of fuse(nodes, roots, limits)) {
      for (const t of call.inputs) {
        let b = t;
        while (b !== null && b.node.op.lower === "alias") b = b.node.inputs[0];
        if (b !== null && b.node.op.lower !== "leaf") assert.ok(done.has(b), `graph ${seed}: ${call.kernel.name} reads ${b}`);
      }
      for (const t of call.outputs) if (t !== null) done.add(t);
    }
  }
});

test.run();

/** Tests of stages: which calls stand together, what they must wait for, and the places that those of a stage have. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { assign, Graph, trace } from "../../build/esm/graph.js";
import { add, exp, mul, neg } from "../../build/esm/ops/map.js";
import { matmul } from "../../build/esm/ops/matmul.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { assignSlots } from "../../build/esm/plan/memory.js";
import { slotBytes } from "../../build/esm/plan/plan.js";
import { inStages } from "../../build/esm/plan/stages.js";
import { zeros } from "../../build/esm/tensor.js";

const LIMITS = { alignment: 16, pack: assignSlots, maxOperands: 8, maxSteps: 64 };

/** The plan of `fn(...inputs)`, and for each stage the kernels of its calls. */
function staged(shapes, fn, limits = {}) {
  const graph = new Graph();
  const results = trace(graph, () => [fn(...shapes.map((shape) => graph.input({ shape, dtype: "f32" })))].flat());
  let stages;
  const plan = buildPlan(graph, results, {
    ...LIMITS,
    stages(calls, fixed, all) {
      const made = inStages(calls, fixed, all);
      stages = [];
      made.calls.forEach((c, i) => (stages[made.stageOf[i]] ??= []).push(c.kernel.name));
      return made;
    },
    ...limits,
  });
  return { plan, stages };
}

test("calls that need nothing of each other are one stage, also where they come late", () => {
  const { stages } = staged([[4, 4], [6]], (a, b) => {
    const product = matmul(a, a);
    const next = matmul(product, a);
    return [next, sum(b), exp(b)];
  });
  assert.equal(stages, [["matmul", "reduce", "map"], ["matmul"]]);
});

test("a call waits for what it reads", () => {
  const { stages } = staged([[4, 4]], (a) => sum(matmul(exp(a), a), { axis: 0 }));
  assert.equal(stages, [["map"], ["matmul"], ["reduce"]]);
});

test("a value that is written over waits for those who read what was there", () => {
  const state = zeros([5]);
  const { stages, plan } = staged([[5, 5]], (a) => {
    const [product, before] = [matmul(a, a), sum(neg(state))];
    assign(state, add(state, 1));
    return [before, matmul(product, a)];
  });
  // The sum reads the state of before.
  assert.equal(stages, [["matmul", "reduce"], ["map", "matmul"]]);
  assert.is(plan.calls[2].outputs[0].place.space, "binding");
});

test("a stage holds no more operands than a call may have", () => {
  const shapes = Array.from({ length: 6 }, (_, i) => [i + 1]);
  const { stages } = staged(shapes, (...all) => all.map((x) => exp(x)), { maxOperands: 6 });
  assert.equal(
    stages.map((s) => s.length),
    [3, 3],
  );
});

test("large calls are stages of their own", () => {
  const { stages } = staged([[2 ** 20 + 4], [3]], (a, b) => [exp(a), exp(b), sum(a)]);
  assert.equal(stages, [["map"], ["map"], ["reduce"]]);
});

test("temporaries of a stage have places of their own, and those of later ones take them over", () => {
  const { plan, stages } = staged([[8, 8]], (a) => {
    const [x, y] = [matmul(a, a), matmul(a, a, { transposeA: true })];
    const [u, v] = [matmul(x, a), matmul(y, a)];
    return matmul(matmul(u, v), a);
  });
  assert.equal(
    stages.map((s) => s.length),
    [2, 2, 1, 1],
  );
  const slots = plan.calls.map((c) => c.outputs[0].place);
  assert.is.not(slots[0].index, slots[1].index);
  assert.is.not(slots[2].index, slots[3].index);
  assert.is(slotBytes(plan), 4 * 256);
});

test("a map takes over the bytes of an operand only where nobody else of its stage reads it", () => {
  const shared = staged([[8, 8]], (a) => {
    const x = matmul(a, a);
    return [matmul(mul(x, 2), a), sum(x)];
  });
  assert.equal(shared.stages, [["matmul"], ["map", "reduce"], ["matmul"]]);
  const [made, map] = shared.plan.calls;
  assert.is.not(map.outputs[0].place.index, made.outputs[0].place.index);
  const alone = staged([[8, 8]], (a) => matmul(mul(matmul(a, a), 2), a)).plan;
  assert.is(alone.calls[1].outputs[0].place.index, alone.calls[0].outputs[0].place.index);
});

test.run();

/**
 * Tests of whole plans: text snapshots of four models, that plans are deterministic, bindings, and where results and assigned values are
 * computed.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Graph, trace } from "../../build/esm/graph.js";
import { add, mul, tanh } from "../../build/esm/ops/map.js";
import { concat, reshape } from "../../build/esm/ops/move.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { showPlan } from "../../build/esm/plan/plan.js";
import { Tensor } from "../../build/esm/tensor.js";
import { reference, wasms } from "../ops/harness.js";
import { MODELS } from "./models.js";
import { randomGraph } from "./random-graph.js";

const { limits } = wasms[0];
const concrete = (...shape) => new Tensor(shape, "f32", null, 0, null);

/** The plan of what `fn(graph)` returns. */
function planOf(fn) {
  const graph = new Graph();
  const results = trace(graph, () => fn(graph));
  return buildPlan(graph, results, limits);
}

const input = (graph, ...shape) => graph.input({ shape, dtype: "f32" });
/** Bodies of no steps are copies. */
const kernels = (plan) => plan.calls.map((c) => (c.attrs.body?.steps.length === 0 ? "copy" : c.kernel));

for (const [name, model] of Object.entries(MODELS)) {
  test(`snapshot: ${name}`, () => {
    const { graph, results } = model();
    const text = `${showPlan(buildPlan(graph, results, limits))}\n`;
    const file = new URL(`snapshots/${name}.txt`, import.meta.url);
    // UPDATE=1 writes what is there now; look at the difference before keeping it.
    if (process.env.UPDATE === "1") writeFileSync(file, text);
    assert.ok(existsSync(file), `${file.pathname} is missing: run with UPDATE=1`);
    assert.fixture(text, readFileSync(file, "utf8"));
  });

  test(`deterministic: ${name}`, () => {
    const text = () => {
      const { graph, results } = model();
      return showPlan(buildPlan(graph, results, limits));
    };
    assert.is(text(), text());
  });
}

test("plans of random graphs are deterministic, and planning again changes nothing", () => {
  for (let seed = 0; seed < 100; seed++) {
    const { graph, results } = randomGraph(seed);
    const again = randomGraph(seed);
    const text = showPlan(buildPlan(graph, results, limits));
    assert.is(showPlan(buildPlan(graph, results, limits)), text);
    assert.is(showPlan(buildPlan(again.graph, again.results, limits)), text);
  }
});

test("bindings are inputs, captures and results, in order, and say who is written", () => {
  const [w, c] = [concrete(3), concrete(3)];
  const plan = planOf((graph) => {
    const x = input(graph, 3);
    graph.assign(w, add(x, graph.capture(c)));
    return [mul(x, 2)];
  });
  assert.equal(
    plan.bindings.map((b) => [b.kind, b.written]),
    [["input", false], ["capture", false], ["capture", true], ["output", true]],
  );
  assert.equal(
    plan.bindings.map((b) => b.bytes),
    [12, 12, 12, 12],
  );
});

test("an update is written in place, in the call that computes it", () => {
  const w = concrete(3);
  const plan = planOf((graph) => {
    graph.assign(w, add(graph.capture(w), input(graph, 3)));
    return [];
  });
  assert.equal(kernels(plan), ["map"]);
  assert.equal(plan.calls[0].outputs[0].place, { space: "binding", index: 1, offset: 0 });
  assert.equal(plan.slots, []);
});

test("a value that a later call still needs the old of is not written in place", () => {
  const w = concrete(4);
  const plan = planOf((graph) => {
    const old = graph.capture(w);
    const next = tanh(old);
    graph.assign(w, next);
    return [mul(sum(next), sum(concat([old, next])))];
  });
  const writes = plan.calls.findIndex((c) =>
    c.outputs.some((o) => o.place.space === "binding" && plan.bindings[o.place.index].kind === "capture"),
  );
  const reads = plan.calls
    .map((c) => c.inputs.some((o) => o.place.space === "binding" && plan.bindings[o.place.index].kind === "capture"))
    .lastIndexOf(true);
  assert.ok(writes >= reads, showPlan(plan));
});

test("a swap saves one side before anything is written", () => {
  const [a, b] = [concrete(2), concrete(2)];
  const plan = planOf((graph) => {
    graph.assign(a, graph.capture(b));
    graph.assign(b, graph.capture(a));
    return [];
  });
  assert.equal(kernels(plan), ["copy", "copy", "copy", "copy"]);
  assert.ok(
    plan.calls.slice(0, 2).every((c) => c.outputs[0].place.space === "slot"),
    showPlan(plan),
  );
});

test("assigning a tensor to itself does nothing", () => {
  const a = concrete(2);
  assert.equal(
    planOf((graph) => {
      graph.assign(a, graph.capture(a));
      return [];
    }).calls,
    [],
  );
});

test("a result is computed where it is wanted; a second of the same is a copy, an input's too", () => {
  const plan = planOf((graph) => {
    const x = input(graph, 3);
    const y = tanh(x);
    return [y, reshape(y, [3, 1]), x];
  });
  assert.equal(kernels(plan).sort(), ["copy", "copy", "map"]);
  assert.equal(plan.slots, []);
});

test("what nobody reads is not computed", () => {
  const plan = planOf((graph) => {
    const x = input(graph, 3);
    tanh(x);
    return [mul(x, 2)];
  });
  assert.is(plan.calls.length, 1);
  assert.is(plan.calls[0].attrs.body.steps.filter((s) => s.op === "tanh").length, 0);
});

test("equal expressions are computed once", () => {
  const plan = planOf((graph) => {
    const x = input(graph, 3);
    return [add(tanh(x), tanh(x))];
  });
  assert.is(plan.calls[0].attrs.body.steps.filter((s) => s.op === "tanh").length, 1);
});

test("slots of a backend without one memory are whole buffers", () => {
  const { graph, results } = MODELS.mlp();
  const plan = buildPlan(graph, results, reference.limits);
  assert.ok(plan.slots.length > 1);
  for (const call of plan.calls)
    for (const o of [...call.inputs, ...call.outputs]) if (o?.place.space === "slot") assert.is(o.place.offset, 0);
});

test.run();

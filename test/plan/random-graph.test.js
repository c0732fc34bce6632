/** Tests of planning as a whole: random graphs, run twice in a row, on every backend, against evaluation node by node. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { buildPlan } from "../../build/esm/plan/build.js";
import { inStages } from "../../build/esm/plan/stages.js";
import { reference, wasms } from "../ops/harness.js";
import { check } from "./check-graph.js";
import { randomGraph } from "./random-graph.js";

const GRAPHS = 400;

for (let from = 0; from < GRAPHS; from += 50) {
  test(`random graphs ${from} to ${from + 49}`, async () => {
    for (let seed = from; seed < from + 50; seed++) {
      const made = randomGraph(seed);
      try {
        await check(reference, made, 1e-9);
        // In another order, and with places that those of a stage have for themselves: the same.
        await check(reference, made, 1e-9, { ...reference.limits, stages: inStages });
        for (const wasm of wasms) await check(wasm, made, 2e-4);
      } catch (error) {
        error.message = `graph ${seed}: ${error.message}`;
        throw error;
      }
    }
  });
}

test("random graphs are of all kinds", () => {
  const made = Array.from({ length: GRAPHS }, (_, seed) => randomGraph(seed));
  assert.ok(made.filter(({ inputs }) => inputs.some((x) => x instanceof Uint8Array)).length > GRAPHS / 5, "bytes");
  assert.ok(made.filter(({ graph }) => graph.assigns.size > 1).length > GRAPHS / 4, "several assignments");
  assert.ok(
    made.filter(({ graph }) => [...graph.assigns.values()].some((t) => t.node.op.name === "capture")).length > GRAPHS / 50,
    "swaps",
  );
  const updates = made.filter(({ graph }) => [...graph.assigns.values()].some((t) => t.node.op.name === "scatterUpdate"));
  assert.ok(updates.length > GRAPHS / 10, "updates of some rows");
  const plans = updates.map(({ graph, results }) => buildPlan(graph, results, reference.limits));
  const inPlace = plans.filter(({ calls, bindings }) =>
    calls.some(
      ({ kernel, outputs: [y] }, at) =>
        kernel === "scatterUpdate" &&
        y.place.space === "binding" &&
        bindings[y.place.index].kind === "capture" &&
        calls.findIndex((c) => c.outputs.some((o) => o?.place.space === "binding" && o.place.index === y.place.index)) === at,
    ),
  );
  assert.ok(inPlace.length > updates.length / 4 && inPlace.length < updates.length, "updates in place and not");
  assert.ok(made.filter(({ results }) => new Set(results).size < results.length).length > GRAPHS / 20, "results returned twice");
  assert.ok(made.filter(({ results }) => results.some((t) => t.node.op.lower === "leaf")).length > GRAPHS / 20, "results that are leaves");
});

test.run();

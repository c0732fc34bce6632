/** Tests of planning as a whole: random graphs, run twice in a row, on every backend, against evaluation node by node. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { buildPlan } from "../../build/esm/plan/build.js";
import { showPlan } from "../../build/esm/plan/plan.js";
import { assertClose, reference, wasms } from "../ops/harness.js";
import { expected, randomGraph } from "./random-graph.js";

const GRAPHS = 400;

/** Binds, runs twice and compares after each run; the second run sees what the first has assigned. */
async function check(backend, made, tolerance) {
  const { graph, results, inputs } = made;
  const plan = buildPlan(graph, results, backend.limits);
  const program = await backend.compile(plan);
  const buffers = plan.bindings.map(({ bytes }) => backend.alloc(bytes));
  const exact = backend === reference;
  const put = (k, x) => backend.write(buffers[k], 0, exact || x instanceof Uint8Array ? x : Float32Array.from(x));
  const get = async (k) =>
    exact ? Float64Array.from(backend.values(buffers[k])) : new Float32Array(await backend.read(buffers[k], 0, plan.bindings[k].bytes));
  inputs.forEach((x, k) => put(k, x));
  let captures = made.captures;
  captures.forEach((x, k) => put(inputs.length + k, x));
  const assigned = [...graph.captures.keys()].map((t) => graph.assigns.has(t));
  const untouched = await Promise.all(captures.map((_, k) => get(inputs.length + k)));
  try {
    for (let turn = 0; turn < 2; turn++) {
      const want = expected({ ...made, captures });
      backend.run(program, buffers);
      for (const [k, x] of want.results.entries())
        assertClose(await get(inputs.length + captures.length + k), x, "f32", { tolerance, scale: 1, what: `run ${turn}, result ${k}` });
      for (const [k, x] of want.captures.entries()) {
        if (!assigned[k]) assert.equal(await get(inputs.length + k), untouched[k], `run ${turn}, capture ${k}, which is not assigned`);
        assertClose(await get(inputs.length + k), x, "f32", { tolerance, scale: 1, what: `run ${turn}, capture ${k}` });
      }
      for (const [k, x] of inputs.entries())
        if (!(x instanceof Uint8Array)) assertClose(await get(k), x, "f32", { tolerance: 0, what: `run ${turn}, input ${k}` });
      captures = want.captures;
    }
  } catch (error) {
    error.message = `${backend.name}: ${error.message}\n${showPlan(plan)}`;
    throw error;
  } finally {
    program.close();
    for (const buffer of buffers) backend.free(buffer);
  }
}

for (let from = 0; from < GRAPHS; from += 50) {
  test(`random graphs ${from} to ${from + 49}`, async () => {
    for (let seed = from; seed < from + 50; seed++) {
      const made = randomGraph(seed);
      try {
        await check(reference, made, 1e-9);
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

/** @file Runs a random graph on a backend and compares it with evaluation node by node. */
import * as assert from "uvu/assert";
import { buildPlan } from "../../build/esm/plan/build.js";
import { showPlan } from "../../build/esm/plan/plan.js";
import { assertClose, reference } from "../ops/harness.js";
import { expected } from "./random-graph.js";

/** Binds, runs twice and compares after each run; the second run sees what the first has assigned. */
export async function check(backend, made, tolerance, limits = backend.limits) {
  const { graph, results, inputs } = made;
  const plan = buildPlan(graph, results, limits);
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

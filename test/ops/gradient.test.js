/**
 * Tests of every op's gradient rule: analytic gradients on the float64 reference against central finite differences of
 * the forward pass there, and gradients on both WASM builds against those of the reference.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { allCases, assertClose, hasGradient, maxAbs, prepare, randomSource, reference, runOnce, targetsOf, traceForward, traceGradient, wasms } from "./harness.js";

/** Most elements of one input that are moved; they are chosen at random in larger ones. */
const MOST = 12;

function chosen(n) {
  if (n <= MOST) return Array.from({ length: n }, (_, k) => k);
  const random = randomSource(n);
  return Array.from({ length: MOST }, () => Math.floor(random() * n));
}

/** Gradients of a case's inputs by fourth-order central differences, at some elements. */
async function differences(c, data) {
  const forward = traceForward(c);
  const floats = forward.results.map((t) => t.dtype === "f32");
  const program = await prepare(reference, forward.graph, forward.results);
  const inputs = data.slice(0, c.inputs.length);
  const cotangents = data.slice(c.inputs.length);
  const loss = async () => {
    const outputs = (await program.run(inputs)).filter((_, k) => floats[k]);
    return outputs.reduce((total, y, k) => y.reduce((a, value, j) => a + value * cotangents[k][j], total), 0);
  };
  const found = [];
  for (const k of targetsOf(c)) {
    const elements = [];
    for (const at of chosen(inputs[k].length)) {
      const value = inputs[k][at];
      const h = 1e-4;
      const around = async (step) => {
        inputs[k][at] = value + step;
        const y = await loss();
        inputs[k][at] = value;
        return y;
      };
      const near = ((await around(h)) - (await around(-h))) / (2 * h);
      const far = ((await around(2 * h)) - (await around(-2 * h))) / (4 * h);
      elements.push({ at, value: (4 * near - far) / 3 });
    }
    found.push(elements);
  }
  program.close();
  return found;
}

for (const [family, cases] of Object.entries(await allCases())) {
  for (const c of cases) {
    if (!hasGradient(c)) continue;
    test(`${family}: gradient of ${c.op}: ${c.name}`, async () => {
      const traced = traceGradient(c);
      const [, ...want] = await runOnce(reference, traced);
      const numeric = await differences(c, traced.data.map((x) => x.slice()));
      numeric.forEach((elements, k) => {
        const scale = Math.max(1, maxAbs(want[k]));
        for (const { at, value } of elements) {
          assert.ok(Math.abs(want[k][at] - value) <= 1e-6 * scale, `input ${targetsOf(c)[k]}[${at}]: the rule gives ${want[k][at]}, differences give ${value}`);
        }
      });
      for (const wasm of wasms) {
        const [, ...got] = await runOnce(wasm, traced);
        got.forEach((g, k) => assertClose(g, want[k], "f32", { tolerance: c.gradTolerance ?? 5e-6, scale: Math.max(1e-3, maxAbs(want[k])), what: `${wasm.simd}, gradient of input ${targetsOf(c)[k]}` }));
      }
    });
  }
}

test.run();

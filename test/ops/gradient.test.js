/**
 * Tests of every op's gradient rule: analytic gradients on the float64 reference against central finite differences of
 * the forward pass there, and gradients on both WASM builds against those of the reference.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { gradients } from "../../build/esm/grad.js";
import { Graph, trace } from "../../build/esm/graph.js";
import { clip } from "../../build/esm/ops/composite.js";
import * as m from "../../build/esm/ops/map.js";
import { reshape, stopGradient } from "../../build/esm/ops/move.js";
import { maxPool2d } from "../../build/esm/ops/pool.js";
import { max, min, sum } from "../../build/esm/ops/reduce.js";
import {
  allCases,
  assertClose,
  hasGradient,
  maxAbs,
  prepare,
  randomSource,
  reference,
  runOnce,
  targetsOf,
  traceForward,
  traceGradient,
  wasms,
} from "./harness.js";

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
      const numeric = await differences(
        c,
        traced.data.map((x) => x.slice()),
      );
      numeric.forEach((elements, k) => {
        const scale = Math.max(1, maxAbs(want[k]));
        for (const { at, value } of elements) {
          assert.ok(
            Math.abs(want[k][at] - value) <= 1e-6 * scale,
            `input ${targetsOf(c)[k]}[${at}]: the rule gives ${want[k][at]}, differences give ${value}`,
          );
        }
      });
      for (const wasm of wasms) {
        const [, ...got] = await runOnce(wasm, traced);
        got.forEach((g, k) =>
          assertClose(g, want[k], "f32", {
            tolerance: c.gradTolerance ?? 5e-6,
            scale: Math.max(1e-3, maxAbs(want[k])),
            what: `${wasm.simd}, gradient of input ${targetsOf(c)[k]}`,
          }),
        );
      }
    });
  }
}

/** Gradients at points where the derivative is a convention: `fn` over lists, the expected gradient of each. */
const CONVENTIONS = [
  ["maximum: ties go to the first operand", m.maximum, [[1, 2], [1, 3]], [[1, 0], [0, 1]]],
  ["minimum: ties go to the first operand", m.minimum, [[1, 2], [1, 1]], [[1, 0], [0, 1]]],
  ["max: ties share", (x) => max(x), [[3, 1, 3, 3, 3]], [[0.25, 0, 0.25, 0.25, 0.25]]],
  ["min: ties share", (x) => min(x), [[1, 1, 3]], [[0.5, 0.5, 0]]],
  ["relu: 0 at 0", m.relu, [[0, 1, -1]], [[0, 1, 0]]],
  ["abs: 0 at 0", m.abs, [[0, 1, -1]], [[0, 1, -1]]],
  ["pow: no gradient for the exponent where the base is not positive", m.pow, [[0, -2, 1], [2, 3, 5]], [[0, 12, 5], [0, 0, 0]]],
  [
    "where: the branch that is not taken has 0, not NaN",
    (x) => m.where(m.greater(x, 0), m.log(m.where(m.greater(x, 0), x, 1)), 0),
    [[2, -1]],
    [[0.5, 0]],
  ],
  ["clip: 1 inside, and at the lower and upper bound", (x) => clip(x, -1, 1), [[0, -1, 1, 2, -2]], [[1, 1, 1, 0, 0]]],
  ["floor, sign and rounding have none", (x) => m.add(m.floor(x), m.add(m.sign(x), m.round(x))), [[1.5, -2.5]], [[0, 0]]],
  ["stopGradient has none", (x) => m.mul(stopGradient(x), x), [[3, 4]], [[3, 4]]],
  ["maxPool: the first of equals", (x) => maxPool2d(reshape(x, [1, 2, 2, 1])), [[5, 5, 5, 5]], [[1, 0, 0, 0]]],
];

for (const [name, fn, lists, want] of CONVENTIONS) {
  test(`convention: ${name}`, async () => {
    const graph = new Graph();
    const results = trace(graph, () => {
      const inputs = lists.map((list) => graph.input({ shape: [list.length], dtype: "f32" }));
      return gradients(sum(fn(...inputs)), inputs);
    });
    for (const backend of [reference, ...wasms]) {
      const got = await runOnce(backend, { graph, results, data: lists.map((list) => Float64Array.from(list)) });
      got.forEach((g, k) => assertClose(g, want[k], "f32", { what: `${backend.name}, input ${k}` }));
    }
  });
}

test.run();

/** Tests of what map's encoder makes of several steps: which instructions there are, and that values are those of the steps one by one. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Graph, trace } from "../../build/esm/graph.js";
import { add, div, mul, sqrt, square, sub } from "../../build/esm/ops/map.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { zeros } from "../../build/esm/tensor.js";
import { adam, adamw } from "../../build/esm/train/optimizers.js";
import { instructions } from "../../build/esm/wasm/encode/map/fused.js";
import { ULP, assertClose, prepare, randomSource, reference, wasms } from "../ops/harness.js";

const SIZE = 700;
const scalarIn =
  ({ strides, steps }) =>
  (r) =>
    r < strides.length ? strides[r].every((s) => s === 0) : steps[r - strides.length].op === "const";
const opsOf = ({ attrs: { body } }) => instructions(body, scalarIn(body)).map((i) => i.op);

function planOf(fn, inputs) {
  const graph = new Graph();
  const results = trace(graph, () => fn(...inputs.map((shape) => graph.input({ shape, dtype: "f32" }))) ?? []);
  return buildPlan(graph, results, wasms[0].limits).calls.filter((c) => c.kernel === "map");
}

const update = (optimizer) => (g) => optimizer.update([zeros([SIZE])], [g]);
const elementwise = (calls) => calls.filter((c) => c.outputs[0].shape[0] === SIZE).map(opsOf);

test("adam's update of a parameter is one instruction, whatever is computed before it in the same map", () => {
  assert.equal(elementwise(planOf(update(adam()), [[SIZE]])), [["adam"]]);
  assert.equal(elementwise(planOf(update(adam({ clipValue: 1 })), [[SIZE]])), [["maximum", "minimum", "adam"]]);
  assert.equal(elementwise(planOf(update(adamw()), [[SIZE]])), [["mul", "adam"]]);
});

test("what only resembles adam's update is none", () => {
  assert.not(
    elementwise(planOf(update(adam({ amsgrad: true })), [[SIZE]]))[0].includes("adam"),
    "the largest mean square is another value",
  );
  assert.not(
    elementwise(planOf((...x) => step(...x).concat(mul(step(...x)[1], 2)), [[SIZE], [SIZE], [SIZE], [SIZE], []]))[0].includes("adam"),
    "the mean is read by another step",
  );
  assert.not(
    elementwise(planOf((...x) => step(...x), [[SIZE], [SIZE], [SIZE], [SIZE], [SIZE]]))[0].includes("adam"),
    "the step size is no number",
  );
});

/** Adam's update as a function of w, g, m, v and the step size. */
function step(w, g, m, v, size) {
  const m1 = add(m, mul(sub(g, m), 0.1));
  const v1 = add(v, mul(sub(square(g), v), 0.001));
  return [sub(w, div(mul(m1, size), add(sqrt(v1), 1e-7))), m1, v1];
}

const MIXED = {
  madd: [(a, b, c) => [add(mul(a, b), c)], ["madd"]],
  "madd, turned": [(a, b, c) => [add(c, mul(a, b))], ["madd"]],
  msub: [(a, b, c) => [sub(c, mul(a, b))], ["msub"]],
  "a product that is read twice": [(a, b, c) => [add(mul(a, b), c), mul(mul(a, b), c)], ["mul", "add", "mul"]],
  "a product that is a result": [(a, b, c) => [add(mul(a, b), c), mul(a, b)], ["mul", "add"]],
  "a sum of two products": [(a, b, c) => [add(mul(a, b), mul(b, c))], ["mul", "madd"]],
  "the product first": [(a, b, c) => [sub(mul(a, b), c)], ["mul", "sub"]],
};

async function same(fn, inputs, tolerance) {
  const graph = new Graph();
  const results = trace(graph, () => fn(...inputs.map((shape) => graph.input({ shape, dtype: "f32" }))));
  const random = randomSource(3);
  const data = inputs.map((shape) => Float64Array.from({ length: shape[0] ?? 1 }, () => Math.fround(0.1 + random())));
  const values = async (backend) => {
    const program = await prepare(backend, graph, results);
    const all = await program.run(data);
    program.close();
    return all;
  };
  const want = await values(reference);
  for (const wasm of wasms)
    (await values(wasm)).forEach((y, k) => assertClose(y, want[k], "f32", { tolerance, scale: 1, what: `${wasm.simd}, result ${k}` }));
}

for (const [name, [fn, expected]] of Object.entries(MIXED)) {
  test(name, async () => {
    assert.equal(planOf(fn, [[SIZE], [SIZE], [SIZE]]).map(opsOf), [expected]);
    await same(fn, [[SIZE], [SIZE], [SIZE]], 4 * ULP);
  });
}

test("adam: the values of its steps, for whole vectors and others", async () => {
  for (const n of [1, 3, 4, 511, 512, 513, SIZE]) await same((...x) => step(...x), [[n], [n], [n], [n], []], 8 * ULP);
  await same((...x) => [...step(...x), mul(step(...x)[1], 2)], [[SIZE], [SIZE], [SIZE], [SIZE], []], 8 * ULP);
});

test.run();

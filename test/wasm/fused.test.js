/** Tests of what map's encoder makes of several steps: which instructions there are, and that values are those of the steps one by one. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Graph, trace } from "../../build/esm/graph.js";
import { gradients } from "../../build/esm/grad.js";
import { gelu } from "../../build/esm/ops/activation.js";
import { add, div, erf, exp, mul, sqrt, square, sub } from "../../build/esm/ops/map.js";
import { sum } from "../../build/esm/ops/reduce.js";
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

/** x Phi(x) and its slope, spelled out. `factor` should be -1/2. */
function normal(x, factor = -0.5) {
  const phi = mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5);
  return { phi, y: mul(x, phi), slope: add(phi, mul(x, mul(exp(mul(mul(x, x), factor)), 0.3989422804014327))) };
}

test("gelu is one instruction, with its slope and without", () => {
  assert.equal(planOf((x) => [gelu(x)], [[SIZE]]).map(opsOf), [["gelu"]]);
  assert.equal(planOf((x) => [mul(gelu(add(x, 1)), 2)], [[SIZE]]).map(opsOf), [["add", "gelu", "mul"]]);
  assert.equal(
    planOf(
      (x) => {
        const { y, slope } = normal(x);
        return [y, slope];
      },
      [[SIZE]],
    ).map(opsOf),
    [["gelu"]],
  );
  // The gradient's own gradient has the slope's, of which nothing is left out.
  const twice = planOf((x) => gradients(sum(square(gradients(sum(gelu(x)), [x])[0])), [x]), [[SIZE]]);
  assert.ok(twice.map(opsOf).flat().includes("exp"));
});

test("what only resembles gelu and its slope is none", () => {
  const ops = (fn) =>
    planOf(fn, [[SIZE], [SIZE]])
      .map(opsOf)
      .flat();
  assert.ok(ops((x) => [normal(x, 0.5).slope, normal(x, 0.5).y]).includes("exp"), "another density");
  assert.not(ops((x) => [normal(x).y, normal(x).phi]).includes("gelu"), "Phi itself is a result");
  assert.not(ops((x, y) => [mul(y, normal(x).phi)]).includes("gelu"), "another factor");
  assert.not(ops((x) => [mul(x, mul(add(erf(mul(x, 0.7)), 1), 0.5))]).includes("gelu"), "another width");
});

test("gelu: the values of its steps, for whole vectors and others, and where it leaves float's range", async () => {
  const both = (x) => [normal(x).y, normal(x).slope];
  for (const n of [1, 3, 4, 511, 512, 513, SIZE]) {
    await same((x) => [normal(x).y], [[n]], 4 * ULP);
    await same((x) => both(mul(sub(x, 0.6), 20)), [[n]], 8 * ULP);
  }
  const graph = new Graph();
  const results = trace(graph, () => both(graph.input({ shape: [10], dtype: "f32" })));
  const ends = Float64Array.of(Infinity, -Infinity, NaN, 1e30, -1e30, 3e38, -3e38, 0, -0, 1e-40).map(Math.fround);
  for (const wasm of wasms) {
    const program = await prepare(wasm, graph, results);
    const [y, slope] = await program.run([ends]);
    program.close();
    const near = (got, want) => got.forEach((v, i) => assert.ok(Object.is(v, want[i]) || Math.abs(v / want[i] - 1) < 1e-6, `${v} at ${i}`));
    near([...y], [Infinity, NaN, NaN, Math.fround(1e30), -0, Math.fround(3e38), -0, 0, -0, Math.fround(5e-41)]);
    near([...slope], [NaN, NaN, NaN, 1, 0, 1, 0, 0.5, 0.5, 0.5]);
  }
});

test.run();

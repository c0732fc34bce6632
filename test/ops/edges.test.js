/** Tests of gradients where a function has a kink, a pole or a tie, and where factors are 0 or infinite. docs/numbers.md has the table. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { grad } from "../../build/esm/grad.js";
import { KERNEL_ACTIVATIONS } from "../../build/esm/ops/activation.js";
import { linear } from "../../build/esm/ops/matmul.js";
import * as ops from "../../build/esm/ops/public.js";
import { tensor } from "../../build/esm/tensor.js";

const { Infinity: INF, NaN: NAN } = globalThis;

/** Gradients of sum(fn(...)) for each argument. */
async function gradientsOf(fn, ...arrays) {
  const params = arrays.map((x) => tensor(x, undefined, "f32"));
  const all = await compile(() => grad(() => ops.sum(fn(...params)), params)())();
  return Promise.all(all.map(async (g) => [...(await g.data())]));
}

async function check(what, fn, arrays, expected) {
  const got = await gradientsOf(fn, ...arrays);
  for (const [k, list] of expected.entries()) {
    assert.is(got[k].length, list.length, what);
    list.forEach((want, j) => {
      const have = got[k][j];
      const near = Number.isFinite(want) ? Math.abs(have - want) <= 1e-6 * Math.max(1, Math.abs(want)) : Object.is(have, want);
      assert.ok(near, `${what}: gradient ${k}, element ${j}: got ${have}, expected ${want}`);
    });
  }
}

test("pow: base 0, exponent 0, negative bases", async () => {
  await check("pow(x, 0)", (x) => ops.pow(x, 0), [[0, 1, -2, INF]], [[0, 0, 0, 0]]);
  await check("pow(x, 1)", (x) => ops.pow(x, 1), [[0, -2]], [[1, 1]]);
  await check("pow(x, 2)", (x) => ops.pow(x, 2), [[0, -2]], [[0, -4]]);
  await check(
    "pow(x, b)",
    (x, b) => ops.pow(x, b),
    [[0, 0, 0, 0, 2, -2, -2, 0], [0, 1, 2, 0.5, 0, 2, 3, -1]],
    [[0, 1, 0, INF, 0, -4, 12, -INF], [0, 0, 0, 0, Math.LN2, 0, 0, 0]],
  );
});

test("norm of zeros has the gradient 0, of others the direction", async () => {
  await check("norm", (x) => ops.norm(x), [[0, 0]], [[0, 0]]);
  await check("norm", (x) => ops.norm(x), [[3, -4]], [[0.6, -0.8]]);
  await check("norm of rows", (x) => ops.norm(x, { axis: 1 }), [[[0, 0], [3, 4]]], [[0, 0, 0.6, 0.8]]);
  assert.ok(Number.isNaN(await ops.norm([NaN, 1]).item()));
  assert.is(await ops.norm([INF, 1]).item(), INF);
});

test("where keeps the infinite gradient of the branch not taken, unless its argument is kept away", async () => {
  const safe = (x) => ops.where(ops.greater(x, 0), ops.sqrt(ops.where(ops.greater(x, 0), x, 1)), 0);
  await check("where(x > 0, sqrt(x), 0)", (x) => ops.where(ops.greater(x, 0), ops.sqrt(x), 0), [[0, 4]], [[NAN, 0.25]]);
  await check("with a second where", safe, [[0, 4]], [[0, 0.25]]);
});

test("prod: zeros, one element, no underflow of the whole, second derivatives", async () => {
  await check("no zero", (x) => ops.prod(x), [[2, 3, 4, 5, 6]], [[360, 240, 180, 144, 120]]);
  await check("one zero", (x) => ops.prod(x), [[2, 0, 5]], [[0, 10, 0]]);
  await check("two zeros", (x) => ops.prod(x), [[0, 0, 5]], [[0, 0, 0]]);
  await check("one element", (x) => ops.prod(x), [[0]], [[1]]);
  await check("none", (x) => ops.prod(x), [[]], [[]]);
  await check("the product underflows", (x) => ops.prod(x), [[1e-30, 1e-30, 1e20]], [[1e-10, 1e-10, 0]]);
  await check("rows", (x) => ops.prod(x, { axis: 1 }), [[[1, 2, 0], [0, 0, 3], [2, 3, 4]]], [[0, 0, 2, 0, 0, 0, 12, 8, 6]]);
  await check("columns", (x) => ops.prod(x, { axis: 0 }), [[[1, 2], [0, 3], [4, 0]]], [[0, 0, 4, 0, 0, 6]]);
  await check("all of a matrix", (x) => ops.prod(x), [[[1, 2], [0, 3]]], [[0, 0, 6, 0]]);
  // d/dx of the sum of the gradient: for x y z the sum is yz + xz + xy.
  const x = tensor([2, 0, 5]);
  const second = await compile(() => grad(() => ops.sum(grad(() => ops.prod(x), x)()), x)())();
  assert.equal([...(await second.data())], [5, 7, 2]);
});

test("ties: equal parts in max and min, the first operand in maximum and minimum", async () => {
  await check("max", (x) => ops.max(x), [[3, 3, 1]], [[0.5, 0.5, 0]]);
  await check("min", (x) => ops.min(x), [[1, 3, 1]], [[0.5, 0, 0.5]]);
  await check("max of -Infinity", (x) => ops.max(x), [[-INF, -INF]], [[0.5, 0.5]]);
  await check("maximum", (a, b) => ops.maximum(a, b), [[1, 2], [1, 3]], [[1, 0], [0, 1]]);
  await check("minimum", (a, b) => ops.minimum(a, b), [[1, 2], [1, 3]], [[1, 1], [0, 0]]);
  await check("clip passes at its bounds", (x) => ops.clip(x, 0, 1), [[0, 1, 2, -1, 0.5]], [[1, 1, 0, 0, 1]]);
});

test("kinks: 0 at 0 of abs, relu and sign; composites have the slopes of the kernels' activations", async () => {
  await check("abs", (x) => ops.abs(x), [[0, -2, 2]], [[0, -1, 1]]);
  await check("relu", (x) => ops.relu(x), [[0, -1, 1]], [[0, 0, 1]]);
  const points = [-3, -1, 0, 3, 6, 7];
  for (const name of ["relu", "relu6", "leakyRelu", "elu", "selu", "softplus", "softsign", "hardSigmoid", "sigmoid", "tanh"]) {
    const [composite] = await gradientsOf(KERNEL_ACTIVATIONS[name], points);
    const [kernel] = await gradientsOf(
      (x) => linear(ops.reshape(x, [points.length, 1]), tensor([[1]]), null, { activation: name }),
      points,
    );
    composite.forEach((g, k) =>
      assert.ok(Math.abs(g - kernel[k]) < 2e-6, `${name} at ${points[k]}: ${g} as a composite, ${kernel[k]} in a kernel`),
    );
  }
});

test("poles have infinite gradients of the right sign", async () => {
  await check("log", (x) => ops.log(x), [[0]], [[INF]]);
  await check("log1p", (x) => ops.log1p(x), [[-1]], [[INF]]);
  await check("sqrt", (x) => ops.sqrt(x), [[0]], [[INF]]);
  await check("rsqrt", (x) => ops.rsqrt(x), [[0]], [[-INF]]);
  await check("reciprocal", (x) => ops.reciprocal(x), [[0]], [[-INF]]);
  await check("div", (a, b) => ops.div(a, b), [[1], [0]], [[INF], [-INF]]);
});

test("variance of equal elements, and saturated functions", async () => {
  await check("variance", (x) => ops.variance(x), [[1, 1, 1]], [[0, 0, 0]]);
  const far = [0, -200, 200, -INF, INF];
  await check("sigmoid", (x) => ops.sigmoid(x), [far], [[0.25, 0, 0, 0, 0]]);
  await check("softplus", (x) => ops.softplus(x), [far], [[0.5, 0, 1, 0, 1]]);
  await check("elu", (x) => ops.elu(x), [far], [[1, 0, 1, 0, 1]]);
  await check("tanh", (x) => ops.tanh(x), [far], [[1, 0, 0, 0, 0]]);
  for (const name of ["selu", "silu", "gelu", "mish", "hardSilu", "softsign"]) {
    const [g] = await gradientsOf((x) => ops[name](x), [-200, 200, -1e5, 1e5]);
    assert.ok(g.every(Number.isFinite), `${name}: ${g}`);
  }
  await check("log(sigmoid(x)) by softplus", (x) => ops.neg(ops.softplus(ops.neg(x))), [[0, -50, -200]], [[0.5, 1, 1]]);
});

test("-Infinity in softmax and logSumExp is an element that is not there", async () => {
  const [p0, p1] = [1 / (1 + Math.E), Math.E / (1 + Math.E)];
  await check("softmax", (x) => ops.mul(ops.softmax(x), [1, 2, 3]), [[-INF, 0, 1]], [[0, -p0 * p1, p0 * p1]]);
  await check("logSoftmax", (x) => ops.mul(ops.logSoftmax(x), [0, 1, 0]), [[-INF, 0, 1]], [[0, 1 - p0, -p1]]);
  await check("logSumExp", (x) => ops.logSumExp(x), [[-INF, 0, 1]], [[0, p0, p1]]);
  await check("softmaxCrossEntropy", (x) => ops.softmaxCrossEntropy(ops.reshape(x, [1, 3]), [1]).loss, [[-INF, 0, 1]], [[0, p0 - 1, p1]]);
  assert.is(await ops.logSumExp([-INF, -INF]).item(), -INF);
  await check("logSumExp of nothing but -Infinity", (x) => ops.logSumExp(x), [[-INF, -INF]], [[NAN, NAN]]);
});

test("mod", () => check("mod", (a, b) => ops.mod(a, b), [[5, -5], [3, 3]], [[1, 1], [-1, 2]]));

test.run();

/**
 * @file Convolutions by tiles of 4x4 pixels, which small ones do not take: here they are told to, in buffers that begin with garbage. Then
 * which convolutions take them.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { apply } from "../../build/esm/apply.js";
import { Graph, trace } from "../../build/esm/graph.js";
import { adam, conv2d as conv2dLayer, dense, flatten, open, sequential, tensor } from "../../build/esm/index.js";
import { conv2d, conv2dFilterGradOp, conv2dInputGradOp, conv2dOp } from "../../build/esm/ops/conv.js";
import { maxPool2d } from "../../build/esm/ops/pool.js";
import { mul } from "../../build/esm/ops/map.js";
import { windowOf } from "../../build/esm/ops/window.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { Buffers } from "../../build/esm/webgpu/buffers.js";
import { kernelsFor } from "../../build/esm/webgpu/commands.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { assertClose, f, magnitudes, maxAbs, reference, runOnce, traceForward, ULP } from "../ops/harness.js";
import { leaveGarbage } from "./devices.js";
import { openGpu } from "./gpu.js";

const gpu = await openGpu();
const half = await openGpu({ storage: "f16" });
for (const backend of [gpu, half]) backend.features.winograd = { used: true };

/**
 * Of the largest sum of a result's magnitudes: 6.5 ulp were the most in 84 results of 1 to 12 channels. (Where filters reach beyond the
 * image an element has few terms, and the error of its tile.)
 */
const TOLERANCE = 12 * ULP;

/** Attributes of a convolution of x [N, H, W, C] by `filters` 3x3 filters. */
const attributes = (x, filters, { padding = "valid", groups = 1, strides = 1, dilation = 1, size = 3 } = {}) => ({
  ...windowOf("test", x, {
    ...{ size: [size, size], strides: [strides, strides], dilation: [dilation, dilation], padding },
    paddings: ["valid", "same", "causal"],
  }),
  ...{ f: filters, groups, activation: "linear" },
});

/** The op with its two gradients, as cases. */
function casesOf(x, filters, options = {}) {
  const a = attributes(x, filters, options);
  const [w, y] = [[a.r, a.s, a.c / a.groups, a.f], [a.n, a.p, a.q, a.f]];
  return {
    conv2d: { inputs: [f(x, -1, 1), f(w, -1, 1)], fn: (...operands) => apply(conv2dOp, [...operands, null], a)[0] },
    conv2dInputGrad: { inputs: [f(y, -1, 1), f(w, -1, 1)], fn: (dy, filters) => apply(conv2dInputGradOp, [dy, filters], a)[0] },
    conv2dFilterGrad: { inputs: [f(x, -1, 1), f(y, -1, 1)], fn: (x, dy) => apply(conv2dFilterGradOp, [x, dy], a)[0] },
  };
}

const tracedOf = ({ inputs, fn }) => {
  const graph = new Graph();
  return { graph, results: trace(graph, () => [fn(...inputs.map((spec) => graph.input(spec)))]) };
};

/** What a case becomes on an adapter with these features. */
async function encodedOf(c, backend = gpu, features = backend.features) {
  const { graph, results } = tracedOf(c);
  const plan = buildPlan(graph, results, backend.limits);
  return encode(plan, features, await kernelsFor(plan, features));
}
const isTiled = ({ dispatches }) => dispatches.some(({ label }) => label.includes("winograd"));

/** The result of a case, by tiles, within the tolerance of float64. */
async function check(c, backend = gpu, tolerance = TOLERANCE) {
  assert.ok(isTiled(await encodedOf(c, backend)));
  const traced = traceForward(c);
  const [[want], [scale]] = [await runOnce(reference, traced), await runOnce(reference, magnitudes(traced))];
  const clean = leaveGarbage(backend.device, Buffers);
  const [got] = await runOnce(backend, traced).finally(clean);
  assertClose(got, want, "f32", { tolerance, scale: maxAbs(scale) });
  return got;
}

/** Pixels and channels that leave tiles and vectors incomplete, with paddings that the gradient's are negative of. */
const GEOMETRIES = [
  [[2, 7, 9, 5], 7, { padding: "same" }],
  [[1, 11, 6, 6], 8, { padding: [[0, 3], [4, 1]], groups: 2 }],
];
for (const [x, filters, options] of GEOMETRIES)
  for (const [op, c] of Object.entries(casesOf(x, filters, options)))
    test(`${op}: ${x.join("x")}, ${filters} filters ${JSON.stringify(options)}`, () => check(c));

test("bias and activation", () =>
  check({
    inputs: [f([1, 5, 9, 6], -1, 1), f([3, 3, 6, 4], -0.2, 0.2), f([4])],
    fn: (x, w, bias) => conv2d(x, w, { bias, activation: "tanh", padding: "same" }),
  }));

test("in steps, by what tiles may take of memory", async () => {
  const [[x, filters, options]] = GEOMETRIES;
  const partBytes = 4 * 36 * filters * 5;
  for (const [op, c] of Object.entries(casesOf(x, filters, options))) {
    const whole = await check(c);
    gpu.features.winograd.partBytes = partBytes;
    const { temporaries, dispatches } = await encodedOf(c);
    const parts = await check(c).finally(() => delete gpu.features.winograd.partBytes);
    assert.is(dispatches.filter(({ label }) => label.includes("matmul")).length, 3, op);
    // Filters are transformed at once.
    assert.equal(
      temporaries.filter((bytes) => bytes > partBytes && bytes !== 4 * 36 * x[3] * filters),
      [],
    );
    // However many steps there are, their shaders are the same.
    assert.ok(new Set(dispatches.map(({ text }) => text)).size < dispatches.length, op);
    if (op !== "conv2dFilterGrad") assert.equal(parts, whole);
  }
});

test("operands and results that are stored as f16", async () => {
  // Halves and sums of their products are f16 numbers.
  const halves = (shape) => ({
    shape,
    dtype: "f32",
    list: Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => ((i * 7) % 5) / 2 - 1),
  });
  const c = {
    inputs: [halves([1, 18, 16, 4]), halves([3, 3, 4, 8]), halves([8])],
    fn: (x, w, bias) => maxPool2d(conv2d(mul(maxPool2d(x, 1), 0.5), w, { bias, padding: "same" }), 2),
  };
  const { dispatches } = await encodedOf(c, half);
  const texts = dispatches.filter(({ label }) => label.includes("winograd")).map(({ text }) => text);
  assert.ok(
    texts.some((text) => /half_of_x_lanes\(/.test(text)),
    "x is read as f16",
  );
  assert.ok(
    texts.some((text) => /y_vectors\[.*half_words\(/.test(text)),
    "y is written as f16",
  );
  await check(c, half, 2 ** -11);
});

const NVIDIA = { ...gpu.features, software: false, vendor: "nvidia", winograd: undefined };
const [ALL, NONE] = [[true, true, true], [false, false, false]];
/** Adapter, convolution, and whether it and its gradients take tiles. */
const CHOICES = [
  // Of ResNets, on a GPU.
  [NVIDIA, [[32, 56, 56, 64], 64, { padding: "same" }], ALL],
  [NVIDIA, [[32, 28, 28, 128], 128, { padding: "same" }], ALL],
  [NVIDIA, [[32, 14, 14, 256], 256, { padding: "same" }], ALL],
  [NVIDIA, [[32, 7, 7, 512], 512, { padding: "same" }], ALL],
  // Few channels, and images that are a few tiles.
  [NVIDIA, [[32, 56, 56, 16], 16, { padding: "same" }], NONE],
  [NVIDIA, [[64, 32, 32, 32], 64, { padding: "same" }], NONE],
  [NVIDIA, [[1, 14, 14, 256], 256, { padding: "same" }], NONE],
  // Others than Winograd's.
  [NVIDIA, [[32, 56, 56, 64], 64, { padding: "same", strides: 2 }], NONE],
  [NVIDIA, [[32, 56, 56, 64], 64, { padding: "same", dilation: 2 }], NONE],
  [NVIDIA, [[32, 56, 56, 64], 64, { padding: "same", size: 5 }], NONE],
  // Filters that no adapter need bind, once they are transformed.
  [NVIDIA, [[32, 14, 14, 1024], 1024, { padding: "same" }], NONE],
  // Operands of products that are rounded to f16, whatever is asked for.
  [{ ...NVIDIA, half: true, winograd: { used: true } }, [[32, 56, 56, 64], 64, { padding: "same" }], NONE],
  // Programs on the CPU.
  [{ ...gpu.features, winograd: undefined }, [[8, 22, 22, 16], 32, { padding: "same" }], ALL],
  [{ ...gpu.features, winograd: undefined }, [[8, 22, 22, 15], 32, { padding: "same" }], NONE],
  [{ ...gpu.features, winograd: undefined }, [[4, 22, 22, 16], 32, { padding: "same" }], NONE],
];
for (const [features, [x, filters, options], want] of CHOICES) {
  const adapter = features.software ? "software" : features.half ? "mixed" : "nvidia";
  const how = `${adapter}: ${x.join("x")}, ${filters} filters ${JSON.stringify(options)}`;
  test(`${want[0] ? "tiles" : "windows"} on ${how}`, async () => {
    const found = [];
    for (const c of Object.values(casesOf(x, filters, options))) found.push(isTiled(await encodedOf(c, gpu, features)));
    assert.equal(found, want);
  });
}

test("a network learns as it does on the CPU", async () => {
  const cpu = await open("wasm", { threads: 1 });
  const x = tensor(
    Float32Array.from({ length: 32 * 64 }, (_, i) => Math.sin(i * 12.9898) + Math.sin(Math.floor(i / 64))),
    [32, 8, 8, 1],
  );
  const y = tensor(
    Float32Array.from({ length: 32 }, (_, i) => Math.tanh(Math.sin(i))),
    [32, 1],
  );
  const losses = [];
  for (const backend of [cpu, gpu]) {
    const layer = () => conv2dLayer(6, 3, { activation: "tanh", padding: "same" });
    const model = sequential([layer(), layer(), flatten(), dense(1)], { inputShape: [8, 8, 1], seed: 3 });
    await model.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), backend });
    const { history } = await model.fit(x, y, { epochs: 6, batchSize: 16, seed: 1, verbose: 0 });
    losses.push(history.loss);
    model.dispose();
  }
  await cpu.close();
  const [want, got] = losses;
  assert.ok(want.at(-1) < 0.5 * want[0], `it learned nothing: ${want}`);
  got.forEach((loss, i) => assert.ok(Math.abs(loss - want[i]) <= 0.01 * want[i], `epoch ${i}: ${loss}, on the CPU ${want[i]}`));
});

test.after(() => {
  for (const backend of [gpu, half]) backend.close();
});
test.run();

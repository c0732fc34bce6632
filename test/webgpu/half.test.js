/**
 * @file `storage: "f16"`: which temporaries are stored so, what rounding does to them, every kernel that reads them, and training with it.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError } from "../../build/esm/errors.js";
import { adam, conv2d, dense, flatten, maxPool2d, open, sequential, sparseCategoricalCrossentropy, tensor } from "../../build/esm/index.js";
import * as ops from "../../build/esm/ops/public.js";
import { showPlan, slotBytes } from "../../build/esm/plan/plan.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { assertClose, magnitudes, maxAbs, reference, runOnce, traceForward, traceGradient } from "../ops/harness.js";
import { openGpu } from "./gpu.js";

const gpu = await openGpu();
const half = await openGpu({ storage: "f16" });

/** Unit roundoff of f16. */
const ROUNDING = 2 ** -11;

/** Quarters between -2 and 2: they, and short sums of their products, are f16 numbers. */
const quarters = (shape, seed) => ({
  shape,
  dtype: "f32",
  list: Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => ((((i * 2654435761 + seed * 40503) >>> 8) % 17) - 8) / 4),
});

/** What reads a temporary h[64, 48], which a product makes, with another input of the shape given, and the plan's text for that operand. */
const READERS = [
  ["map, in vectors", [1], (h) => ops.matmul(ops.exp(h), ops.reshape(h, [48, 64])), /= map\(#\d+:f16\[64, 48\]\)/],
  [
    "map, in place and broadcast",
    [1, 48],
    (h, k) => ops.softmax(ops.add(ops.mul(ops.softmax(h), h), k)),
    /#(\d+):f16\[64, 48\] = map\([^)]*#\1:f16\[64, 48\]/,
  ],
  ["map, element by element", [1, 3], (h, k) => ops.sub(ops.reshape(h, [3072, 1]), k), /= map\([^)]*f16\[3072, 1\]/],
  ["reduce, rows", [1], (h) => ops.max(h, { axis: -1 }), /= reduce\(#\d+:f16/],
  ["reduce with a prologue, columns", [1], (h) => ops.sum(ops.square(h), { axis: 0 }), /= reduce\(#\d+:f16/],
  ["matmul, as A", [48, 4], (h, k) => ops.matmul(h, k), /= matmul\(#\d+:f16\[64, 48\]/],
  ["matmul, as B, transposed", [7, 48], (h, k) => ops.matmul(k, h, { transposeB: true }), /= matmul\(%\d+:f32\[7, 48\], #\d+:f16/],
  ["matmul, a row by it", [1, 48], (h, k) => ops.matmul(k, ops.reshape(h, [48, 64])), /= matmul\([^)]*f16\[48, 64\]/],
  ["conv2d", [3, 3, 8, 4], (h, k) => ops.conv2d(ops.reshape(h, [1, 16, 24, 8]), k), /= conv2d\(#\d+:f16/],
  ["conv2d, odd channels", [2, 2, 3, 3], (h, k) => ops.conv2d(ops.reshape(h, [1, 32, 32, 3]), k), /= conv2d\(#\d+:f16/],
  [
    "conv2d, a filter for each channel",
    [3, 3, 1, 8],
    (h, k) => ops.conv2d(ops.reshape(h, [1, 16, 24, 8]), k, { groups: 8 }),
    /= conv2d\(#\d+:f16/,
  ],
  ["maxPool", [1], (h) => ops.maxPool2d(ops.reshape(h, [1, 16, 24, 8]), 2), /= maxPool\(#\d+:f16/],
  ["avgPool", [1], (h) => ops.avgPool2d(ops.reshape(h, [1, 16, 24, 8]), 3), /= avgPool\(#\d+:f16/],
  ["softmax", [1], (h) => ops.softmax(h), /= softmax\(#\d+:f16/],
  ["logSoftmax", [1], (h) => ops.logSoftmax(h), /= logSoftmax\(#\d+:f16/],
  ["softmaxCrossEntropy", [64, 48], (h, k) => ops.softmaxCrossEntropy(h, k).loss, /= softmaxCrossEntropy\(#\d+:f16/],
  ["lstm", [12, 48], (h, k) => ops.lstmSequence(ops.reshape(h, [16, 4, 48]), ops.mul(k, 1 / 64)).h, /= lstm\(#\d+:f16/],
  ["gru", [16, 48], (h, k) => ops.gruSequence(ops.reshape(h, [16, 4, 48]), ops.mul(k, 1 / 64)), /= gru\(#\d+:f16/],
  ["simpleRnn", [48, 48], (h, k) => ops.simpleRnnSequence(ops.reshape(h, [16, 4, 48]), ops.mul(k, 1 / 64)), /= simpleRnn\(#\d+:f16/],
];

const H = [quarters([64, 2], 1), quarters([2, 48], 2)];

for (const [name, shape, read, pattern] of READERS) {
  test(`a temporary in f16 read by ${name}`, async () => {
    const traced = traceForward({ inputs: [...H, quarters(shape, 3)], fn: (a, b, k) => read(ops.matmul(a, b), k) });
    const plan = showPlan(buildPlan(traced.graph, traced.results, half.limits));
    assert.match(plan, pattern, plan);
    const [[want], [scale]] = [await runOnce(reference, traced), await runOnce(reference, magnitudes(traced))];
    const [got] = await runOnce(half, traced);
    // Temporaries that are no f16 numbers, if there are any, are rounded once.
    assertClose(got, want, "f32", { tolerance: /map/.test(name) ? 2 * ROUNDING : 1e-5, scale: scale.map(Math.abs) });
  });
}

test("a product is rounded to 11 bits once, and added up in f32", async () => {
  const random = (shape, seed) => ({
    shape,
    dtype: "f32",
    list: Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.sin(i * 12.9898 + seed)),
  });
  const c = { inputs: [random([40, 300], 1), random([300, 32], 2), random([32, 20], 3)], fn: (x, a, b) => ops.matmul(ops.matmul(x, a), b) };
  const traced = traceForward(c);
  const [[want], [scale]] = [await runOnce(reference, traced), await runOnce(reference, magnitudes(traced))];
  const [got] = await runOnce(half, traced);
  const first = await runOnce(reference, traceForward({ inputs: c.inputs.slice(0, 2), fn: (x, a) => ops.matmul(x, a) }));
  const w = c.inputs[2].list;
  let rounded = 0;
  for (let i = 0; i < 40; i++) {
    for (let j = 0; j < 20; j++) {
      let bound = 1e-5 * scale[i * 20 + j];
      for (let k = 0; k < 32; k++) bound += ROUNDING * Math.abs(first[0][i * 32 + k] * w[k * 20 + j]);
      const error = Math.abs(got[i * 20 + j] - want[i * 20 + j]);
      assert.ok(error <= bound, `[${i}, ${j}]: off by ${error}, at most ${bound}`);
      rounded = Math.max(rounded, error);
    }
  }
  assert.ok(rounded > 2 ** -16 * maxAbs(want), "nothing was rounded: the temporary is not f16");
});

test("a product whose k is split, with bias and activation", async () => {
  const c = {
    inputs: [quarters([32, 2048], 1), quarters([2048, 32], 2), quarters([32], 3)],
    fn: (a, b, bias) => ops.softmax(ops.matmul(ops.mul(a, 1 / 64), b, { bias, activation: "relu" })),
  };
  const traced = traceForward(c);
  const plan = showPlan(buildPlan(traced.graph, traced.results, half.limits));
  assert.match(plan, /#\d+:f16\[32, 32\] = matmul/, plan);
  const [[want], [got]] = [await runOnce(reference, traced), await runOnce(half, traced)];
  // Logits below 64 are rounded by less than 2^-6.
  got.forEach((v, i) => assert.ok(Math.abs(Math.log(v / want[i])) <= 2 ** -5 || want[i] < 1e-30));
});

test("what f16 cannot hold: infinity beyond 65504, NaN stays, small numbers lose digits, zeros keep their sign", async () => {
  const list = [1, 65504, 65519, 1e6, -1e6, Infinity, -Infinity, NaN, 0, -0, 2 ** -14, 2 ** -24, 2 ** -30, 1 / 3];
  const size = 1024;
  const x = { shape: [1, 1, size / 4, 4], dtype: "f32", list: Array.from({ length: size }, (_, i) => list[i % list.length]) };
  const traced = traceForward({ inputs: [x], fn: (v) => ops.maxPool2d(ops.neg(v), 1) });
  const plan = showPlan(buildPlan(traced.graph, traced.results, half.limits));
  assert.match(plan, /#\d+:f16\[1, 1, 256, 4\] = map/, plan);
  const [got] = await runOnce(half, traced);
  const wanted = [1, 65504, Infinity, Infinity, -Infinity, Infinity, -Infinity, NaN, 0, -0, 2 ** -14, 2 ** -24, 0, 0.333251953125].map(
    (v) => -v,
  );
  got.forEach((v, i) => {
    const want = wanted[i % wanted.length];
    // A device may flush what is subnormal in f16.
    const same =
      Object.is(v, want) ||
      (Math.abs(want) < 2 ** -14 && want !== 0 && v === 0) ||
      (Math.abs(list[i % list.length]) === 2 ** -30 && v === 0);
    assert.ok(same, `${list[i % list.length]} became ${v}`);
  });
});

test("gradients, weights and results stay f32; what the backward pass reads again is f16", () => {
  const c = {
    inputs: [quarters([64, 32], 1), quarters([32, 32], 2), quarters([32, 32], 3)],
    fn: (x, a, b) => ops.sum(ops.matmul(ops.tanh(ops.matmul(ops.tanh(ops.matmul(x, a)), b)), a)),
  };
  const { graph, results } = traceGradient(c);
  const lines = showPlan(buildPlan(graph, results, half.limits)).split("\n");
  assert.ok(
    lines.some((line) => /f16\[64, 32\].* = matmul/.test(line)),
    lines.join("\n"),
  );
  assert.not(
    lines.some((line) => /f16.* = .*; .*'/.test(line)),
    lines.join("\n"),
  );
  for (const line of lines) assert.not.match(line, /%\d+:f16/);
  const bytes = (backend) => slotBytes(buildPlan(graph, results, backend.limits));
  assert.ok(bytes(half) < bytes(gpu));
});

test("gradients of a deep net agree with those of f32", async () => {
  const c = {
    inputs: [quarters([64, 32], 1), quarters([32, 32], 2), quarters([32, 32], 3)],
    fn: (x, a, b) => ops.mean(ops.square(ops.matmul(ops.tanh(ops.matmul(ops.tanh(ops.matmul(x, ops.mul(a, 0.1))), b)), a))),
  };
  const traced = traceGradient(c);
  const [want, got] = [await runOnce(reference, traced), await runOnce(half, traced)];
  got.forEach((g, k) => assertClose(g, want[k], "f32", { tolerance: 8 * ROUNDING, scale: maxAbs(want[k]), what: `result ${k}` }));
});

test("training: losses within 2 % of f32's, and less memory", async () => {
  const size = 12;
  const count = 128;
  const labels = Array.from({ length: count }, (_, i) => (i * 7) % 4);
  // A bright square in one of four corners, in noise.
  const pixels = Float32Array.from({ length: count * size * size }, (_, i) => {
    const [image, y, x] = [Math.floor(i / (size * size)), Math.floor(i / size) % size, i % size];
    const inside = Math.floor(y / 6) * 2 + Math.floor(x / 6) === labels[image] && y % 6 > 1 && x % 6 > 1;
    return Math.fround((inside ? 0.8 : 0.1) + 0.3 * Math.sin(i * 78.233));
  });
  const trained = async (backend) => {
    const model = sequential(
      [
        conv2d(8, 3, { activation: "relu" }),
        maxPool2d(2),
        conv2d(16, 3, { activation: "relu" }),
        flatten(),
        dense(32, { activation: "relu" }),
        dense(4),
      ],
      { inputShape: [size, size, 1], seed: 3 },
    );
    await model.compile({ loss: sparseCategoricalCrossentropy({ fromLogits: true }), optimizer: adam({ learningRate: 0.01 }), backend });
    const seen = [];
    await model.fit(tensor(pixels, [count, size, size, 1]), tensor(Int32Array.from(labels), [count]), {
      epochs: 8,
      batchSize: 32,
      seed: 1,
      verbose: 0,
      callbacks: [{ onBatchEnd: (_step, { loss }) => void seen.push(loss) }],
    });
    const { bytes } = backend.memory();
    model.dispose();
    return { seen, bytes };
  };
  const [single, mixed] = [await trained(gpu), await trained(half)];
  assert.is(mixed.seen.length, 32);
  mixed.seen.forEach((loss, i) =>
    assert.ok(Math.abs(loss - single.seen[i]) <= 0.02 * single.seen[0], `step ${i}: ${loss} with f16, ${single.seen[i]} with f32`),
  );
  assert.ok(mixed.seen.at(-1) < 0.5 * mixed.seen[0], `it learned nothing: ${mixed.seen}`);
  assert.not.equal(mixed.seen, single.seen);
  assert.ok(mixed.bytes < single.bytes, `${mixed.bytes} and ${single.bytes} bytes`);
});

test("another storage is refused", async () => {
  try {
    await open("webgpu", { storage: "f8" });
  } catch (error) {
    assert.instance(error, ArgumentError);
    assert.match(error.message, /unknown storage "f8".*"f32".*"f16"/);
    return;
  }
  assert.unreachable("it did not throw");
});

test.after(() => {
  gpu.close();
  half.close();
});
test.run();

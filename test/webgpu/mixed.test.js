/** @file Training with `precision: "mixed"`, on the software adapter as half-products.js makes one with f16 and matrices of it. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { adam, dense, loadModel, lossScaleOptimizer, open, sequential, sgd, tensor } from "../../build/esm/index.js";
import { backupAndRestore } from "../../build/esm/inspect/index.js";
import { openGpu } from "./gpu.js";
import { pretended } from "./half-products.js";

const single = await openGpu();
const tiles = await open("webgpu", { precision: "mixed", gpu: pretended({ more: ["shader-f16"] }) });
const matrices = await open("webgpu", { precision: "mixed", gpu: pretended({ configs: [["f16", "f32", 8, 8, 8]] }) });
matrices.features.matrices.tile = { down: 1, across: 1, m: 16, n: 16, k: 16, speed: 1 };

const SAMPLES = 64;
const x = tensor(
  Float32Array.from({ length: SAMPLES * 8 }, (_, i) => Math.sin(i * 12.9898)),
  [SAMPLES, 8],
);
/** A smooth function of x, times `factor`. */
const targets = async (factor = 1) => {
  const data = await x.data();
  return tensor(
    Float32Array.from({ length: SAMPLES }, (_, i) => factor * Math.tanh(data[8 * i] - data[8 * i + 1] * data[8 * i + 2])),
    [SAMPLES, 1],
  );
};

async function trained(backend, optimizer, { y = null, epochs = 15, lossWeights } = {}) {
  const model = sequential([dense(24, { activation: "tanh" }), dense(16, { activation: "relu" }), dense(1)], { inputShape: [8], seed: 2 });
  await model.compile({ loss: "mse", optimizer, backend, ...(lossWeights && { lossWeights }) });
  const before = await Promise.all((await model.getWeights()).map(async (w) => (await w.data()).slice()));
  const { history } = await model.fit(x, y ?? (await targets()), { epochs, batchSize: 16, shuffle: true, seed: 1, verbose: 0 });
  const after = await Promise.all((await model.getWeights()).map(async (w) => (await w.data()).slice()));
  model.dispose();
  return { loss: history.loss, moved: after.map((w, i) => Math.max(...w.map((v, j) => Math.abs(v - before[i][j])))), after };
}

test("losses are those of f32 within 2 %, and the same each time", async () => {
  const want = await trained(single, adam({ learningRate: 0.02 }));
  assert.ok(want.loss.at(-1) < 0.3 * want.loss[0], `it learned nothing: ${want.loss}`);
  for (const backend of [tiles, matrices]) {
    const got = await trained(backend, adam({ learningRate: 0.02 }));
    got.loss.forEach((loss, i) =>
      assert.ok(Math.abs(loss - want.loss[i]) <= 0.02 * want.loss[0], `epoch ${i}: ${loss}, in f32 ${want.loss[i]}`),
    );
    assert.not.equal(got.loss, want.loss);
    assert.equal((await trained(backend, adam({ learningRate: 0.02 }))).loss, got.loss);
  }
});

test("gradients that f16 has no numbers for are not lost: fit scales the loss", async () => {
  // Gradients of 1e-8 and less, and a rate that makes up for them.
  const small = { epochs: 1, lossWeights: 1e-7 };
  const make = () => sgd({ learningRate: 1e6 });
  const want = await trained(single, make(), small);
  for (const backend of [tiles, matrices]) {
    assert.is(backend.limits.halfProducts, true);
    const got = await trained(backend, make(), small);
    got.moved.forEach((moved, i) => {
      assert.ok(want.moved[i] > 1e-3);
      assert.ok(Math.abs(moved - want.moved[i]) < 0.05 * want.moved[i], `weight ${i} moved by ${moved}, in f32 by ${want.moved[i]}`);
    });
    // By an optimizer that leaves the loss as it is they are lost, in all layers but the last.
    const lost = await trained(backend, lossScaleOptimizer(make(), { initialScale: 1 }), small);
    assert.ok(lost.moved[0] < 0.5 * want.moved[0], `${lost.moved} and ${want.moved}`);
  }
});

test("gradients beyond f16: those updates do not take place until the scale fits", async () => {
  const large = { y: await targets(2000), epochs: 12 };
  const want = await trained(single, adam({ learningRate: 0.5 }), large);
  const got = await trained(tiles, adam({ learningRate: 0.5 }), large);
  for (const w of got.after) assert.ok(w.every(Number.isFinite));
  assert.ok(want.loss.at(-1) < 0.9 * want.loss[0] && got.loss.at(-1) < 0.95 * got.loss[0], `${got.loss} and ${want.loss}`);
  const optimizer = lossScaleOptimizer(adam({ learningRate: 0.5 }), { initialScale: 2 ** 30 });
  await trained(tiles, optimizer, large);
  const { dynamicScale, iterations } = optimizer.state();
  assert.ok((await dynamicScale.item()) < 2 ** 30);
  assert.ok((await iterations.item()) < (12 * SAMPLES) / 16);
});

test("the scale is saved with a model, and with a backup: what was interrupted comes to the same weights", async () => {
  const y = await targets(2000);
  const fit = { batchSize: 16, shuffle: true, seed: 1, verbose: 0 };
  const make = async () => {
    const model = sequential([dense(8, { activation: "tanh" }), dense(1)], { inputShape: [8], seed: 2 });
    await model.compile({ loss: "mse", optimizer: adam({ learningRate: 0.5 }), backend: tiles });
    return model;
  };
  const weights = async (model) => Promise.all((await model.getWeights()).map((w) => w.data()));
  const scaleOf = async (model) => model.state("fit").training.scale.dynamicScale.item();
  const whole = await make();
  await whole.fit(x, y, { ...fit, epochs: 2 });
  const bytes = await whole.toBytes();
  const scale = await scaleOf(whole);
  assert.ok(scale < 2 ** 15, `${scale}`);
  const half = await loadModel(bytes, { backend: tiles });
  assert.is(await scaleOf(half), scale);
  // It goes through trainings that do not need it.
  const elsewhere = await loadModel(bytes, { backend: single });
  assert.is(await scaleOf(await loadModel(await elsewhere.toBytes(), { backend: tiles })), scale);
  for (const model of [whole, half]) await model.fit(x, y, { ...fit, epochs: 3, initialEpoch: 2 });
  const want = await weights(whole);
  assert.equal(await weights(half), want);

  let kept = null;
  const store = { read: async () => kept, write: async (b) => void (kept = b), remove: async () => {} };
  const stops = { onEpochEnd: (epoch, logs, training) => void (epoch === 1 && training.stop()) };
  await (await make()).fit(x, y, { ...fit, epochs: 3, callbacks: [backupAndRestore(store, { deleteCheckpoint: false }), stops] });
  const again = await make();
  await again.fit(x, y, { ...fit, epochs: 3, callbacks: [backupAndRestore(store)] });
  assert.equal(await weights(again), want);
});

test.after(() => {
  for (const backend of [single, tiles, matrices]) backend.close();
});
test.run();

/** @file Looking into models on a GPU: times by its clock or without one, and a training that goes on there. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { adam, conv2d, dense, dropout, flatten, maxPool2d, open, sequential, zeros } from "../../build/esm/index.js";
import { backupAndRestore, profile } from "../../build/esm/inspect/index.js";
import { errorOf, fingerprint, table } from "../model/helpers.js";
import { entryPoint, masked, openGpu } from "./gpu.js";

const network = () => {
  const layers = [conv2d(4, 3, { activation: "relu" }), maxPool2d(2), dropout(0.5), flatten(), dense(3, { activation: "softmax" })];
  return sequential(layers, { inputShape: [8, 8, 1], seed: 1 });
};
const x = zeros([2, 8, 8, 1]);

/** What is counted of each layer. */
const counted = ({ layers }) => layers.map((l) => [l.layers.join(), l.flops, l.bytes]);

await open("wasm");
const onWasm = await profile(network(), x);

test("profile: the layers of a model, with the operations and bytes that they have on the CPU, by the GPU's clock", async () => {
  const backend = await openGpu();
  assert.ok(backend.device.features.has("timestamp-query"), "the adapter has timestamps");
  const result = await profile(network(), x);
  assert.equal([result.backend, result.method], ["webgpu", "timestamp-query"]);
  assert.equal(counted(result), counted(onWasm));
  // Of what takes no longer than a pass that computes nothing, nothing is left.
  assert.ok(result.layers[0].ms > 0 && result.ms > 0);
  for (const { layers, ms } of result.layers) assert.ok(ms >= 0 && (ms === 0 || layers[0] !== "dropout"));
  assert.match(String(result), /on webgpu, times by timestamp-query/);
  const { buffers } = backend.memory();
  await profile(network(), x);
  assert.ok(backend.memory().buffers <= buffers + 12, "what was bound between calls is given back");
  await backend.close();
});

test("profile: on a device without timestamps by the clock, over repeated runs", async () => {
  const backend = await openGpu({ gpu: masked(await entryPoint(), { without: ["timestamp-query"] }) });
  const result = await profile(network(), x);
  assert.is(result.method, "clock of repeated runs");
  assert.equal(counted(result), counted(onWasm));
  assert.ok(result.layers[0].ms > 0 && result.ms > 0);
  await backend.close();
});

test("backupAndRestore: a training on a GPU goes on in the middle of an epoch", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-"));
  const backend = await openGpu();
  const data = table(40);
  const compiled = async () => {
    const model = sequential([dense(4, { activation: "tanh" }), dropout(0.2), dense(1)], { inputShape: [4], seed: 1 });
    await model.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), backend });
    return model;
  };
  const options = { epochs: 3, batchSize: 8, verbose: 0, recoverEvery: 2 };
  const whole = await compiled();
  const expected = await whole.fit(data.x, data.y, options);
  const interrupt = {
    onBatchEnd(step) {
      if (step === 8) throw new Error("no power");
    },
  };
  const backup = () => backupAndRestore(folder, { saveFreq: 4 });
  const interrupted = await compiled();
  const error = await errorOf(() => interrupted.fit(data.x, data.y, { ...options, callbacks: [backup(), interrupt] }));
  assert.is(error.message, "no power");
  const resumed = await compiled();
  assert.equal(await resumed.fit(data.x, data.y, { ...options, callbacks: [backup()] }), expected);
  assert.is(await fingerprint(resumed), await fingerprint(whole));
  await backend.close();
  rmSync(folder, { recursive: true });
});

test.run();

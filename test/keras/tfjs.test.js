/**
 * Files that saveTfjs writes, opened by TensorFlow.js itself, which gives what Lockstep gives. It has 150 MB: run where `npm run
 * bench:peers` has installed it, or LOCKSTEP_TFJS names a folder with it in node_modules.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/index.js";
import { loadTfjs, saveTfjs } from "../../build/esm/keras/index.js";
import { inputsOf, MODELS, outputsOf, stir } from "./models.js";

const folder = process.env.LOCKSTEP_TFJS ?? fileURLToPath(new URL("../../bench/peers", import.meta.url));
const there = existsSync(join(folder, "node_modules/@tensorflow/tfjs"));

test("weights have the names that TensorFlow.js gives them", async () => {
  await open("wasm", { threads: 1 });
  const namesOf = async (name) => {
    const { "model.json": text } = await saveTfjs(MODELS[name]());
    return JSON.parse(new TextDecoder().decode(text)).weightsManifest[0].weights.map((w) => w.name);
  };
  assert.equal((await namesOf("sequences")).slice(0, 8), [
    "embedding/embeddings",
    "bidirectional/forward_lstm/kernel",
    "bidirectional/forward_lstm/recurrent_kernel",
    "bidirectional/forward_lstm/bias",
    "bidirectional/backward_lstm/kernel",
    "bidirectional/backward_lstm/recurrent_kernel",
    "bidirectional/backward_lstm/bias",
    "timeDistributed/kernel",
  ]);
  const names = await namesOf("branches");
  assert.is(new Set(names).size, names.length);
  assert.ok(names.includes("inner_dense/kernel"));
});

if (!there) test.skip(`TensorFlow.js is not installed in ${folder}`, () => {});
else {
  const tf = createRequire(join(folder, "x.js"))("@tensorflow/tfjs");
  await tf.setBackend("cpu");
  await open("wasm", { threads: 1 });
  for (const [name, make] of Object.entries(MODELS).filter(([n]) => !n.startsWith("keras: ")))
    test(`${name}: Lockstep, TensorFlow.js`, async () => {
      const model = make();
      stir(model);
      const inputs = inputsOf(name, model);
      const want = await outputsOf(model, inputs);
      const { "model.json": text, "weights.bin": weights } = await saveTfjs(model);
      const { modelTopology, weightsManifest } = JSON.parse(new TextDecoder().decode(text));
      const read = await tf.loadLayersModel(
        tf.io.fromMemory({ modelTopology, weightSpecs: weightsManifest[0].weights, weightData: weights.slice().buffer }),
      );
      const given = await Promise.all(inputs.map(async (t) => tf.tensor(await t.data(), t.shape)));
      const y = [read.predict(given.length === 1 ? given[0] : given)].flat();
      assert.is(y.length, want.length);
      for (const [i, { shape, data }] of want.entries()) {
        assert.equal(y[i].shape, shape);
        const got = await y[i].data();
        for (const [k, value] of data.entries()) assert.ok(Math.abs(got[k] - value) <= 1e-5, `output ${i}: ${got[k]} is not ${value}`);
      }
    });

  test("layers of volumes, of films and of cells that TensorFlow.js saved", async () => {
    const l = tf.layers;
    const cells = [l.lstmCell({ units: 4 }), l.gruCell({ units: 3 }), l.simpleRNNCell({ units: 2 })];
    const models = [
      [
        l.conv3d({ inputShape: [4, 5, 6, 2], filters: 3, kernelSize: [2, 3, 1], padding: "same", strides: [1, 2, 1], activation: "relu" }),
        l.maxPooling3d({ poolSize: [2, 1, 2], padding: "valid" }),
        l.conv3dTranspose({ filters: 2, kernelSize: 2, strides: [2, 1, 2] }),
        l.averagePooling3d({ poolSize: 2, strides: 1, padding: "same" }),
      ],
      [
        l.convLstm2d({ inputShape: [3, 5, 6, 2], filters: 3, kernelSize: 2, padding: "same", returnSequences: true }),
        l.convLstm2d({ filters: 2, kernelSize: [3, 2], goBackwards: true }),
      ],
      [
        l.rnn({ inputShape: [5, 3], cell: l.stackedRNNCells({ cells }), returnSequences: true }),
        l.rnn({ cell: l.lstmCell({ units: 3 }), goBackwards: true }),
      ],
    ];
    for (const layers of models) {
      const model = tf.sequential({ layers });
      let saved = null;
      await model.save(tf.io.withSaveHandler(async (artifacts) => ((saved = artifacts), { modelArtifactsInfo: {} })));
      const { modelTopology, weightSpecs, weightData } = saved;
      const json = { format: "layers-model", modelTopology, weightsManifest: [{ paths: ["w.bin"], weights: weightSpecs }] };
      const read = await loadTfjs({
        "model.json": new TextEncoder().encode(JSON.stringify(json)),
        "w.bin": new Uint8Array(tf.io.CompositeArrayBuffer?.join(weightData) ?? weightData),
      });
      const [x] = inputsOf("", read);
      const want = await model.predict(tf.tensor(await x.data(), x.shape)).data();
      const got = await (await read.predict(x)).data();
      assert.is(got.length, want.length);
      for (const [k, value] of want.entries()) assert.ok(Math.abs(got[k] - value) <= 1e-5, `${k}: ${got[k]} is not ${value}`);
    }
  });
}

test.run();

/** A model of each layer written and read again: as .keras and as files of TensorFlow.js, with what was learned and how. */
import { writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";
import { loadKeras, loadTfjs, saveKeras, saveTfjs } from "../../build/esm/keras/index.js";
import { readZip } from "../../build/esm/keras/zip.js";
import { testModels } from "./models-of-others.js";
import { inputsOf, MODELS, outputsOf, stir } from "./models.js";

await L.open("wasm", { threads: 1 });

const agree = (got, want, most = 1e-6) => {
  assert.is(got.length, want.length);
  for (const [i, { shape, data }] of want.entries()) {
    assert.equal(got[i].shape, shape);
    for (const [k, value] of data.entries())
      assert.ok(Math.abs(got[i].data[k] - value) <= most, `output ${i}: ${got[i].data[k]} is not ${value}`);
  }
};

for (const [name, make] of Object.entries(MODELS)) {
  test(`${name}: Lockstep, .keras, Lockstep`, async () => {
    const model = make();
    stir(model);
    const inputs = inputsOf(name, model);
    const want = await outputsOf(model, inputs);
    const bytes = await saveKeras(model);
    const again = await loadKeras(bytes);
    agree(await outputsOf(again, inputs), want);
    const second = await saveKeras(again);
    assert.ok(Buffer.from(second).equals(await saveKeras(await loadKeras(second))), "the same file");
  });
  if (name.startsWith("keras: ")) continue;
  test(`${name}: Lockstep, TensorFlow.js files, Lockstep`, async () => {
    const model = make();
    stir(model);
    const inputs = inputsOf(name, model);
    const want = await outputsOf(model, inputs);
    agree(await outputsOf(await loadTfjs(await saveTfjs(model)), inputs), want);
  });
}

test("training goes on where it ended, for each optimizer", async () => {
  const makers = [
    () => L.sgd({ learningRate: 0.05, momentum: 0.9, nesterov: true }),
    () => L.sgd(),
    () => L.rmsprop({ momentum: 0.5, centered: true }),
    () => L.adam({ amsgrad: true, clipNorm: 1 }),
    () => L.adam({ useEma: true, emaMomentum: 0.9 }),
    () => L.adamw({ gradientAccumulationSteps: 2 }),
    () => L.adamax(),
    () => L.nadam(),
    () => L.adagrad(),
    () => L.adadelta({ learningRate: 1 }),
    () => L.lion(),
    () => L.adam({ learningRate: L.cosineDecay({ initialLearningRate: 0.01, decaySteps: 20 }) }),
    () => L.adam({ learningRate: L.piecewiseConstantDecay({ boundaries: [2, 5], values: [0.1, 0.01, 0.001] }) }),
  ];
  const x = L.tensor(
    Float32Array.from({ length: 24 }, (_, i) => ((i * 7) % 11) / 5 - 1),
    [8, 3],
  );
  const y = L.tensor(
    Float32Array.from({ length: 16 }, (_, i) => ((i * 5) % 7) / 3 - 1),
    [8, 2],
  );
  for (const make of makers) {
    const model = L.sequential([L.dense(4, { activation: "tanh" }), L.batchNorm(), L.dense(2)], { inputShape: [3], seed: 4 });
    await model.compile({ loss: "meanSquaredError", optimizer: make(), metrics: ["mae"] });
    const options = { epochs: 2, batchSize: 4, shuffle: false, verbose: 0 };
    await model.fit(x, y, options);
    const again = await loadKeras(await saveKeras(model));
    const [a, b] = [await model.fit(x, y, options), await again.fit(x, y, options)];
    const what = `${model.optimizer.kind} ${JSON.stringify(model.optimizer.config)}`;
    assert.equal(b.history.loss, a.history.loss, what);
    assert.equal(Object.keys(b.history), Object.keys(a.history), what);
    agree(await outputsOf(again, [x]), await outputsOf(model, [x]), 0);
  }
});

test("losses and metrics are written and read", async () => {
  const losses = [
    ["binaryCrossentropy", L.binaryCrossentropy({ fromLogits: true, labelSmoothing: 0.1 })],
    ["categoricalCrossentropy", L.categoricalCrossentropy({ labelSmoothing: 0.2 })],
    ["sparseCategoricalCrossentropy", L.sparseCategoricalCrossentropy({ fromLogits: true })],
    ["huber", L.huber({ delta: 2 })],
    ["klDivergence", "kld"],
    ["logCosh", "logcosh"],
    ["cosineSimilarity", "cosineSimilarity"],
    ["poisson", "poisson"],
  ];
  for (const [name, loss] of losses) {
    const model = L.sequential([L.dense(3)], { inputShape: [2] });
    const metrics =
      name === "sparseCategoricalCrossentropy"
        ? ["accuracy"]
        : ["mse", L.binaryAccuracy({ threshold: 0.3 }), L.topKCategoricalAccuracy({ k: 2 })];
    await model.compile({ loss, metrics });
    const again = await loadKeras(await saveKeras(model));
    const [own, read] = [model, again].map((m) => m.training.outputs[0]);
    assert.is(read.loss.name, name);
    assert.equal(read.loss.config, own.loss.config);
    assert.equal(
      read.metrics.map((m) => m.config),
      own.metrics.map((m) => m.config),
    );
  }
});

test("a model is loaded from a path, an address and files by name", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-keras-"));
  try {
    const model = MODELS.dense();
    const files = await saveTfjs(model);
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
    writeFileSync(join(folder, "model.keras"), await saveKeras(model));
    const inputs = inputsOf("dense", model);
    const want = await outputsOf(model, inputs);
    const base64 = (bytes) => `data:application/octet-stream;base64,${Buffer.from(bytes).toString("base64")}`;
    const json = JSON.parse(new TextDecoder().decode(files["model.json"]));
    const artifacts = {
      ...json,
      weightSpecs: json.weightsManifest[0].weights,
      weightData: Buffer.from(files["weights.bin"]).toString("base64"),
    };
    for (const source of [
      join(folder, "model.json"),
      new URL(`file://${folder}/model.json`),
      new Map(Object.entries(files)),
      Object.entries(files).map(([name, bytes]) => new File([bytes], name)),
      { "model.json": base64(files["model.json"]), "weights.bin": base64(files["weights.bin"]) },
      new Blob([JSON.stringify(artifacts)]),
    ])
      agree(await outputsOf(await loadTfjs(source), inputs), want, 0);
    agree(await outputsOf(await loadKeras(join(folder, "model.keras")), inputs), want, 0);
    agree(await outputsOf(await loadKeras(new Blob([await saveKeras(model)])), inputs), want, 0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a model of Keras is saved as any other, and what it was read from may change", async () => {
  const model = MODELS.images();
  stir(model);
  const inputs = inputsOf("images", model);
  const want = await outputsOf(model, inputs);
  const bytes = await saveKeras(model);
  const read = await loadKeras(bytes);
  bytes.fill(255);
  const again = await L.loadModel(await read.toBytes());
  agree(await outputsOf(again, inputs), want, 0);
  agree(await outputsOf(read, inputs), want, 0);
});

test("weights alone go into a model that is given", async () => {
  for (const name of ["images", "sequences", "keras: heads"]) {
    const model = MODELS[name]();
    stir(model);
    const archive = readZip("", await saveKeras(model));
    const inputs = inputsOf(name, model);
    const into = MODELS[name]();
    if (!into.isSequential) continue;
    assert.is(await loadKeras(await archive.read("model.weights.h5"), { model: into }), into);
    agree(await outputsOf(into, inputs), await outputsOf(model, inputs), 0);
  }
});

test("quantized weights, shards and files without a format key", async () => {
  const model = L.sequential([L.dense(3)], { inputShape: [2] });
  stir(model);
  const files = await saveTfjs(model);
  const json = JSON.parse(new TextDecoder().decode(files["model.json"]));
  delete json.format;
  const [kernel, bias] = json.weightsManifest[0].weights;
  kernel.quantization = { dtype: "uint8", scale: 0.25, min: -1 };
  bias.quantization = { dtype: "float16" };
  json.weightsManifest[0].paths = ["a.bin", "./b.bin"];
  // 0, 1 ... 5 and the halves 1, -2, 0.5, of which a file ends in the middle.
  const bytes = Uint8Array.from([0, 1, 2, 3, 4, 5, 0x00, 0x3c, 0x00, 0xc0, 0x00, 0x38]);
  const again = await loadTfjs({ "model.json": new Blob([JSON.stringify(json)]), "a.bin": bytes.slice(0, 7), "b.bin": bytes.slice(7) });
  const [k, b] = await Promise.all(again.weights.map(({ tensor }) => tensor.data()));
  assert.equal([...k], [-1, -0.75, -0.5, -0.25, 0, 0.25]);
  assert.equal([...b], [1, -2, 0.5]);
});

testModels(test);

test.run();

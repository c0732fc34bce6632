/** save, toBytes, loadModel, loadWeights: what comes back is what was there, bit for bit, or a FileError and nothing has changed. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ArgumentError, FileError } from "../../build/esm/errors.js";
import { open } from "../../build/esm/init.js";
import { checksum } from "../../build/esm/io/checksum.js";
import { encodeSafetensors } from "../../build/esm/io/safetensors.js";
import { model, sequential } from "../../build/esm/model/model.js";
import { loadWeights } from "../../build/esm/model/load.js";
import { loadModel } from "../../build/esm/model/resume.js";
import * as nn from "../../build/esm/nn/index.js";
import { add, mul } from "../../build/esm/ops/map.js";
import { Random } from "../../build/esm/random.js";
import { readSafetensors, writeSafetensors } from "../../build/esm/safetensors/index.js";
import { tensor } from "../../build/esm/tensor.js";
import { binaryAccuracy, precision } from "../../build/esm/train/metrics.js";
import { adam, sgd } from "../../build/esm/train/optimizers.js";
import { cosineDecay } from "../../build/esm/train/schedules.js";
import { asTensor, errorOf, fingerprint, network, table } from "./helpers.js";

const backend = await open("wasm", { reproducible: true });
const folder = mkdtempSync(join(tmpdir(), "lockstep-"));
const file = (name) => join(folder, name);
const script = (name) => fileURLToPath(new URL(name, import.meta.url));
const data = table(45);
const quiet = { verbose: 0 };

/** What `fn` gives, and what it says on the console. */
async function heard(fn) {
  const { warn } = console;
  const said = [];
  console.warn = (text) => said.push(text);
  try {
    return { value: await fn(), said };
  } finally {
    console.warn = warn;
  }
}
const quietly = async (fn) => (await heard(fn)).value;

const image = [6, 6, 4];
const sequence = [5, 4];
const row = [8];
/** A layer of each kind, with options away from their defaults, and the shape of its input. */
const LAYERS = {
  dense: [nn.dense(3, { activation: "tanh", useBias: false, kernelRegularizer: { l2: 0.1 } }), row],
  conv2d: [nn.conv2d(4, [3, 2], { strides: 2, padding: "same", groups: 2, activation: "gelu" }), image],
  conv1d: [nn.conv1d(3, 2, { padding: "causal", dilationRate: 2 }), sequence],
  depthwiseConv2d: [nn.depthwiseConv2d(3, { depthMultiplier: 2 }), image],
  separableConv2d: [nn.separableConv2d(5, 3, { padding: "same" }), image],
  conv2dTranspose: [nn.conv2dTranspose(3, 3, { strides: 2, padding: "same" }), image],
  conv1dTranspose: [nn.conv1dTranspose(3, 2, { strides: 2 }), sequence],
  maxPool2d: [nn.maxPool2d([2, 3], { strides: 1 }), image],
  avgPool2d: [nn.avgPool2d(3, { padding: "same" }), image],
  maxPool1d: [nn.maxPool1d(3, { strides: 2 }), sequence],
  avgPool1d: [nn.avgPool1d(2, { padding: "same" }), sequence],
  globalAvgPool2d: [nn.globalAvgPool2d({ keepDims: true }), image],
  globalMaxPool2d: [nn.globalMaxPool2d(), image],
  globalAvgPool1d: [nn.globalAvgPool1d(), sequence],
  globalMaxPool1d: [nn.globalMaxPool1d({ keepDims: true }), sequence],
  flatten: [nn.flatten(), image],
  reshape: [nn.reshape([2, -1]), row],
  permute: [nn.permute([2, 1]), sequence],
  repeatVector: [nn.repeatVector(3), row],
  dropout: [nn.dropout(0.25), row],
  activation: [nn.activation("softplus"), row],
  zeroPadding2d: [nn.zeroPadding2d([[1, 0], [2, 3]]), image],
  cropping2d: [nn.cropping2d([[1, 0], [2, 1]]), image],
  upSampling1d: [nn.upSampling1d(3), sequence],
  upSampling2d: [nn.upSampling2d([2, 3]), image],
  relu: [nn.relu({ maxValue: 1, negativeSlope: 0.1 }), row],
  leakyRelu: [nn.leakyRelu({ negativeSlope: 0.05 }), row],
  elu: [nn.elu({ alpha: 0.5 }), row],
  prelu: [nn.prelu({ sharedAxes: [1, 2] }), image],
  softmax: [nn.softmax({ axis: 1 }), sequence],
  embedding: [nn.embedding(9, 3, { maskZero: true }), [5]],
  masking: [nn.masking({ maskValue: 0.5 }), sequence],
  lstm: [nn.lstm(3, { returnSequences: true, activation: "relu", unitForgetBias: false, goBackwards: true }), sequence],
  gru: [nn.gru(3, { resetAfter: false, useBias: false }), sequence],
  simpleRnn: [nn.simpleRnn(3, { activation: "sigmoid" }), sequence],
  bidirectional: [nn.bidirectional(nn.lstm(3, { returnSequences: true }), { mergeMode: "sum" }), sequence],
  timeDistributed: [nn.timeDistributed(nn.dense(2, { activation: "elu" })), sequence],
  layerStack: [nn.layerStack(nn.dense(4, { activation: "elu" }), 2), [4]],
  normalization: [nn.normalization(), row],
  batchNorm: [nn.batchNorm({ momentum: 0.9, epsilon: 1e-2, center: false }), image],
  layerNorm: [nn.layerNorm({ epsilon: 1e-2 }), row],
  unitNormalization: [nn.unitNormalization({ axis: [1, 2] }), sequence],
  rmsNorm: [nn.rmsNorm({ epsilon: 1e-2 }), row],
  groupNorm: [nn.groupNorm(2, { scale: false }), image],
  attention: [nn.attention({ useScale: true, useCausalMask: true }), sequence],
  multiHeadAttention: [nn.multiHeadAttention(2, 3, { valueDim: 4, outputShape: 5, useGate: true, slidingWindow: 2 }), sequence],
  groupedQueryAttention: [
    nn.groupedQueryAttention(4, 4, 2, {
      useCausalMask: true,
      queryKeyNorm: 1e-5,
      rotary: {
        maxWavelength: 500,
        frequencyScaling: { factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaxPositions: 40 },
      },
    }),
    sequence,
  ],
  positionEmbedding: [nn.positionEmbedding(16), sequence],
  rotaryEmbedding: [nn.rotaryEmbedding({ rotaryDim: 2, scalingFactor: 2 }), sequence],
  sinePositionEncoding: [nn.sinePositionEncoding({ maxWavelength: 50 }), sequence],
  tokenAndPositionEmbedding: [nn.tokenAndPositionEmbedding(9, 6, 3, { maskZero: true }), [5]],
  identity: [nn.identity(), row],
  rescaling: [nn.rescaling(0.5, { offset: -1 }), row],
  gaussianNoise: [nn.gaussianNoise(0.1), row],
  gaussianDropout: [nn.gaussianDropout(0.1), row],
  alphaDropout: [nn.alphaDropout(0.1), row],
  spatialDropout1d: [nn.spatialDropout1d(0.1), sequence],
  spatialDropout2d: [nn.spatialDropout2d(0.1), image],
  zeroPadding1d: [nn.zeroPadding1d([1, 2]), sequence],
  cropping1d: [nn.cropping1d(1), sequence],
  depthwiseConv1d: [nn.depthwiseConv1d(2, { depthMultiplier: 2 }), sequence],
  separableConv1d: [nn.separableConv1d(3, 2, { padding: "same" }), sequence],
  swiglu: [nn.swiglu(5, { useBias: true }), row],
  geglu: [nn.geglu(5, { approximate: true }), row],
  transformerEncoder: [nn.transformerEncoder(8, 2, { normalizeFirst: true, activation: "gelu" }), sequence],
  transformerDecoder: [nn.transformerDecoder(8, 2, { layerNormEpsilon: 1e-2 }), sequence],
};
const MERGES = {
  add: nn.merge.add(),
  multiply: nn.merge.multiply(),
  average: nn.merge.average(),
  maximum: nn.merge.maximum(),
  minimum: nn.merge.minimum(),
  concatenate: nn.merge.concatenate({ axis: 1 }),
};

test("the tables have every kind of layer that files can hold", async () => {
  const known = (await errorOf(() => nn.layerFromConfig("?", {}))).message.replace(/.*known: /, "").split(", ");
  assert.equal([...Object.keys(LAYERS), ...Object.keys(MERGES), "tiedHead"].sort(), known.sort());
});

for (const [kind, [layer, inputShape]] of Object.entries(LAYERS)) {
  test(`${kind} comes back from a file`, async () => {
    const x = {
      data: new Random(3)
        .uniform(2 * inputShape.reduce((a, b) => a * b))
        .map((v) => (/embedding$/i.test(kind) && inputShape.length === 1 ? Math.floor(9 * v) : 2 * v - 1)),
      shape: [2, ...inputShape],
    };
    if (kind === "normalization") layer.adapt(asTensor(x));
    const m = sequential([layer], { inputShape, seed: 2, name: "one" });
    // Numbers that no initializer gives; positive, for variances.
    if (kind !== "normalization") m.setWeights(m.weights.map(({ tensor: t }, i) => new Random(i + 7).uniform(t.size).map((v) => v + 0.1)));
    const path = file(`${kind}.safetensors`);
    await m.save(path);
    const copy = await loadModel(path);
    assert.equal([copy.name, copy.seed, copy.inputShapes, copy.outputShape], ["one", 2, m.inputShapes, m.outputShape]);
    assert.equal(
      copy.layers.map((l) => [l.kind, l.name]),
      m.layers.map((l) => [l.kind, l.name]),
    );
    assert.equal(JSON.parse(JSON.stringify(copy.layers[0].config)), JSON.parse(JSON.stringify({ ...layer.config, name: layer.name })));
    assert.equal(
      copy.weights.map((w) => [w.name, w.trainable]),
      m.weights.map((w) => [w.name, w.trainable]),
    );
    assert.is(await fingerprint(copy), await fingerprint(m));
    assert.equal(await (await copy.predict(x)).data(), await (await m.predict(x)).data());
  });
}

test("tiedHead comes back from a file with the embedding of its model, within a model too", async () => {
  const gpt = (seed) => {
    const tokens = nn.embedding(9, 4, { name: "tokens" });
    return sequential([tokens, nn.dense(4), nn.tiedHead(tokens, { logitSoftCap: 5 })], { inputShape: [5], seed });
  };
  const nested = sequential([gpt(1), nn.dense(3)], { inputShape: [5] });
  const x = asTensor({ data: new Random(3).uniform(10).map((v) => Math.floor(9 * v)), shape: [2, 5] });
  for (const m of [gpt(2), nested]) {
    const path = file("tied.safetensors");
    await m.save(path);
    const copy = await loadModel(path);
    assert.equal(
      copy.weights.map((w) => w.name),
      m.weights.map((w) => w.name),
    );
    assert.equal(await (await copy.predict(x)).data(), await (await m.predict(x)).data());
    // One weight, not a copy of it.
    const { layers } = copy.layers[0].kind === "model" ? copy.layers[0] : copy;
    layers[0].weights[0].tensor.set(new Float32Array(36));
    const logits = model((ids) => layers[2].call(layers[1].call(layers[0].call(ids))), { inputShape: [5] });
    assert.ok((await (await logits.predict(x)).data()).every((v) => v === 0));
  }
  const lost = await errorOf(() => nn.layerFromConfig("tiedHead", JSON.parse(JSON.stringify(gpt(1).layers[2].config))));
  assert.match(lost.message, /tiedHead shares layer "tokens", which must be given/);
});

for (const [kind, layer] of Object.entries(MERGES)) {
  test(`${kind} comes back from its config`, async () => {
    assert.is(layer.kind, kind);
    const copy = nn.layerFromConfig(kind, JSON.parse(JSON.stringify(layer.config)));
    assert.equal(copy.config, layer.config);
    const xs = [1, 2].map((seed) => asTensor({ data: new Random(seed).normal(8), shape: [2, 4] }));
    const [a, b] = [layer, copy].map((l) => model((p, q) => l.call(p, q), { inputShape: [[4], [4]] }));
    assert.equal(await (await a.predict(xs)).data(), await (await b.predict(xs)).data());
  });
}

test("resuming in another process gives the bits of one run: Adam, dropout, batch norm, shuffling, validation", () => {
  const run = (...args) => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [script("resume.js"), ...args.map(String)], { encoding: "utf8" });
    assert.is(status, 0, stderr);
    return JSON.parse(stdout);
  };
  const straight = run(file("straight"), 6);
  const first = run(file("halves"), 3);
  const second = run(file("halves"), 6, 3);
  assert.is(second.weights, straight.weights);
  assert.equal([...first.losses, ...second.losses], straight.losses);
  assert.equal([...first.valMae, ...second.valMae], straight.valMae);
  assert.is.not(first.weights, straight.weights);
  assert.equal(readFileSync(file("halves")), readFileSync(file("straight")));
});

test("a process killed while saving leaves a whole file", async () => {
  const path = file("killed.safetensors");
  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, [script("saver.js"), path], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((done) => child.stdout.once("data", done));
    await new Promise((done) => setTimeout(done, 40 + 17 * round));
    const closed = new Promise((done) => child.once("close", (_code, signal) => done(signal)));
    child.kill("SIGKILL");
    assert.is(await closed, "SIGKILL");
    const [kernel, bias] = await (await loadModel(path)).getWeights();
    const [k] = await bias.data();
    assert.ok(k >= 1 && (await kernel.data()).every((v) => v === k));
  }
});

test("bytes take the place of files", async () => {
  const m = network();
  const bytes = await m.toBytes();
  await m.save(file("same"));
  assert.equal(new Uint8Array(readFileSync(file("same"))), bytes);
  assert.is(await fingerprint(await loadModel(bytes)), await fingerprint(m));
  assert.is(await fingerprint(await loadModel(bytes.slice().buffer)), await fingerprint(m));
  const other = network({ seed: 9 });
  await loadWeights(other, bytes);
  assert.is(await fingerprint(other), await fingerprint(m));
});

test("training comes back: optimizer, its state, a schedule, loss and metrics", async () => {
  const m = network();
  const learningRate = cosineDecay({ initialLearningRate: 0.01, decaySteps: 20 });
  await m.compile({ loss: "huber", optimizer: sgd({ learningRate, momentum: 0.9, nesterov: true }), metrics: ["mae", "rmse"], backend });
  await m.fit(data.x, data.y, { epochs: 2, ...quiet });
  const copy = await loadModel(await m.toBytes(), { backend });
  const go = { epochs: 4, initialEpoch: 2, ...quiet };
  const [a, b] = [await m.fit(data.x, data.y, go), await copy.fit(data.x, data.y, go)];
  assert.equal(a.history, b.history);
  assert.is(await fingerprint(copy), await fingerprint(m));
});

test("a learning rate that was changed comes back", async () => {
  const m = network();
  const optimizer = adam({ learningRate: 0.01 });
  await m.compile({ loss: "mse", optimizer, backend });
  await m.fit(data.x, data.y, quiet);
  optimizer.learningRate = 0.002;
  const copy = await loadModel(await m.toBytes(), { backend });
  assert.ok(Math.abs(copy.optimizer.learningRate - 0.002) < 1e-9);
});

test("optimizer: false leaves training out", async () => {
  const m = network();
  await m.compile({ loss: "mse", optimizer: "adam", backend });
  await m.fit(data.x, data.y, quiet);
  const [whole, short] = [await m.toBytes(), await m.toBytes({ optimizer: false })];
  assert.ok(short.length < whole.length / 2);
  const copy = await loadModel(short);
  assert.match((await errorOf(() => copy.fit(data.x, data.y, quiet))).message, /call compile/);
  assert.instance(await errorOf(() => network().toBytes({ optimizer: true })), ArgumentError);
});

test("custom layers come back through options.layers, by kind or by name", async () => {
  class Scale {
    factor = tensor([1, 2, 3, 4]);
    call(x) {
      return mul(x, this.factor);
    }
  }
  const m = sequential([new Scale(), (x) => mul(x, 2), nn.dense(1)], { inputShape: [4] });
  await m.save(file("custom"));
  const error = await errorOf(() => loadModel(file("custom")));
  assert.instance(error, FileError);
  assert.match(error.message, /layer "Scale".*options?.*layers|pass layers: \{ Scale/);
  const copy = await loadModel(file("custom"), { layers: { Scale: () => new Scale(), function: () => (x) => mul(x, 2) } });
  assert.equal(await (await copy.predict(data.x)).data(), await (await m.predict(data.x)).data());
});

test("a loss that is a function is given again", async () => {
  const mine = (y, p) => mul(add(y, p), add(y, p));
  const m = network();
  await m.compile({ loss: mine, backend });
  await m.fit(data.x, data.y, quiet);
  const bytes = await m.toBytes();
  const error = await errorOf(() => loadModel(bytes, { backend }));
  assert.instance(error, FileError);
  assert.match(error.message, /loss "mine" is a function/);
  const copy = await loadModel(bytes, { backend, loss: mine });
  assert.equal(await copy.evaluate(data.x, data.y), await m.evaluate(data.x, data.y));
});

test("a model that is a function: the file says so, its weights load into the function", async () => {
  const make = (seed) => {
    const [a, b, join] = [nn.dense(3, { name: "left" }), nn.dense(3), nn.merge.add()];
    return model((x) => join.call(a.call(x), b.call(x)), { inputShape: [4], seed });
  };
  const m = make(1);
  const copy = make(2);
  await m.save(file("function"));
  const error = await errorOf(() => loadModel(file("function")));
  assert.instance(error, FileError);
  assert.match(error.message, /made from a function.*loadWeights/);
  await loadWeights(copy, file("function"));
  assert.is(await fingerprint(copy), await fingerprint(m));
});

test("every truncation and every changed byte is a FileError, and changes no weight", async () => {
  const m = network();
  await m.compile({ loss: "mse", optimizer: "adam", backend });
  await m.fit(data.x, data.y, quiet);
  const bytes = await m.toBytes();
  const other = network({ seed: 9 });
  const before = await fingerprint(other);
  const refused = async (damaged, what) => {
    for (const load of [() => loadModel(damaged, { backend }), () => loadWeights(other, damaged)]) {
      const error = await errorOf(load).catch(() => null);
      assert.instance(error, FileError, `${what}: ${error}`);
      assert.match(error.message, "model file");
    }
  };
  for (let i = 0; i < 60; i++) await refused(bytes.subarray(0, Math.floor((i * bytes.length) / 60)), `cut at ${i}/60`);
  await refused(Uint8Array.from([...bytes, 0]), "a byte more");
  const header = 8 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const text = new TextDecoder().decode(bytes.subarray(8, header)).trimEnd();
  for (let i = 0; i < 400; i++) {
    const at = i < 200 ? Math.floor((i * (8 + text.length)) / 200) : header + Math.floor(((i - 200) * (bytes.length - header)) / 200);
    const damaged = bytes.slice();
    damaged[at] ^= 1 << (i % 7);
    await refused(damaged, `byte ${at} changed`);
  }
  assert.is(await fingerprint(other), before);
});

test("files of others, of other versions and of other models are FileErrors that say what they are", async () => {
  const bytes = await network().toBytes();
  const { metadata, tensors } = await readSafetensors(bytes);
  const edited = (change) =>
    encodeSafetensors(Object.fromEntries(tensors), { ...metadata, lockstep: JSON.stringify(change(JSON.parse(metadata.lockstep))) });
  const foreign = encodeSafetensors({ w: { shape: [2], data: new Float32Array(2) } });
  for (const [damaged, message] of [
    [foreign, /not a Lockstep model/],
    [encodeSafetensors({}, { lockstep: "{" }), /checksum|no JSON/],
    [edited((c) => ({ ...c, version: 99 })), /checksum|version 99/],
    [new TextEncoder().encode("<!DOCTYPE html><html></html>"), /safetensors/],
    [new Uint8Array(0), /0 bytes/],
  ]) {
    const error = await errorOf(() => loadModel(damaged));
    assert.instance(error, FileError);
    assert.match(error.message, message);
  }
  const other = sequential([nn.dense(8), nn.dense(2)], { inputShape: [4] });
  const before = await fingerprint(other);
  for (const load of [bytes, foreign]) assert.instance(await errorOf(() => loadWeights(other, load)), FileError);
  assert.is(await fingerprint(other), before);
  const missing = await errorOf(() => loadModel(file("none.safetensors")));
  assert.instance(missing, FileError);
  assert.match(missing.message, "none.safetensors");
  writeFileSync(file("text"), "hello, this is no model");
  assert.match((await errorOf(() => loadModel(file("text")))).message, file("text"));
  assert.match((await errorOf(() => sequential([nn.dense(1)]).toBytes())).message, /not built yet/);
});

/** `bytes` with the JSON of one metadata entry changed, and the checksum that goes with it. */
async function resealed(bytes, key, change) {
  const {
    metadata: { checksum: _, ...rest },
    tensors,
  } = await readSafetensors(bytes, { raw: true });
  const changed = { ...rest, [key]: JSON.stringify(change(JSON.parse(rest[key]))) };
  return writeSafetensors(tensors, {
    ...changed,
    checksum: checksum(
      changed,
      Array.from(tensors, ([name, t]) => [name, t, t.bytes]),
    ),
  });
}

test("a file whose checksum is right and whose configuration is not is refused at once, before sizes in it are allocated", async () => {
  const m = sequential([nn.lstm(3), nn.dense(2)], { inputShape: [2, 4] });
  await m.compile({ loss: "mse", optimizer: adam(), metrics: [precision({ classes: 2 })], backend });
  const bytes = await m.toBytes();
  const layer = (at, config) => (c) => ({
    ...c,
    layers: c.layers.map((l, i) => (i === at ? { ...l, config: { ...l.config, ...config } } : l)),
  });
  const training = (change) => (c) => ({ ...c, ...change(c) });
  for (const [key, change, message] of [
    ["lockstep", (c) => ({ ...c, version: 99 }), /version 99/],
    ["lockstep", () => [], /"lockstep" must be an object, found \[\]/],
    ["lockstep", (c) => ({ ...c, inputShapes: [[2 ** 53]] }), /cannot rebuild/],
    ["lockstep", layer(0, { units: 2 ** 30 }), /lstm.*kernel.*elements, of \d+ in the file/],
    ["lockstep", layer(0, { units: 65536 }), /lstm.*kernel.*elements, of \d+ in the file/],
    ["lockstep", layer(1, { units: 2 ** 52 }), /dense.*kernel.*elements, of \d+ in the file/],
    ["lockstep", layer(1, { units: 2 ** 53 }), /dense: units must be an integer >= 1, got 9007199254740992/],
    ["lockstep", layer(1, { units: 3 }), /dense.*bias.*3 elements, of 106 in the file 1 are left/],
    ["lockstep", layer(1, { units: 1 }), /"dense\/kernel" has shape \[3, 2\], the layer needs \[3, 1\]/],
    ["lockstep", layer(1, { activation: "__proto__" }), /unknown activation "__proto__"/],
    [
      "lockstep",
      (c) => ({ ...c, layers: [{ ...c.layers[0], kind: "constructor" }, c.layers[1]] }),
      /layer "lstm" is of the kind "constructor", which loadModel does not have by itself/,
    ],
    [
      "training",
      training((c) => ({ optimizer: { ...c.optimizer, config: { ...c.optimizer.config, beta1: "" } } })),
      /beta1 must be a number/,
    ],
    ["training", training((c) => ({ optimizer: { ...c.optimizer, kind: "toString" } })), /unknown "toString"/],
    [
      "training",
      training(() => ({ metrics: [{ name: "precision", config: { classes: 2 ** 31 } }] })),
      /precision: made for 2147483648 outputs, the model has 2/,
    ],
    ["training", training(() => ({ metrics: [{ name: "hasOwnProperty", config: {} }] })), /unknown "hasOwnProperty"/],
  ]) {
    const damaged = await resealed(bytes, key, change);
    const error = await errorOf(() => loadModel(damaged, { backend }));
    assert.instance(error, FileError, `${error.name}: ${error.message}`);
    assert.match(error.message, message);
  }
  assert.ok((await loadModel(await resealed(bytes, "lockstep", (c) => c), { backend })).isSequential);
});

test("a file saved while fit runs holds the weights and the optimizer of one step", async () => {
  // The gradient of every weight is 1, so that each is minus the number of steps.
  const m = sequential([nn.dense(1, { kernelInitializer: "zeros" })], { inputShape: [1] });
  await m.compile({ loss: (_y, p) => mul(p, 1), optimizer: sgd({ learningRate: 1 }), backend });
  const fit = m.fit({ data: new Float32Array(400).fill(1), shape: [400, 1] }, new Float32Array(400), {
    batchSize: 1,
    epochs: 30,
    ...quiet,
  });
  const seen = new Set();
  for (let i = 0; i < 40; i++) {
    const { tensors } = await readSafetensors(await m.toBytes());
    const steps = tensors.get("optimizer/iterations").data[0];
    assert.is(tensors.get("dense/kernel").data[0], -steps || 0);
    assert.is(tensors.get("dense/bias").data[0], -steps || 0);
    seen.add(steps);
    await new Promise((next) => setImmediate(next));
  }
  await fit;
  assert.ok(seen.size > 3, `${seen.size} different steps seen`);
});

test("metrics made with options come back with them; one's own functions are given again, or left out", async () => {
  const m = network();
  const own = (y, p) => add(y, p);
  await m.compile({ loss: "mse", metrics: [binaryAccuracy({ threshold: 0.25 }), "mae", precision({ threshold: 0.125 }), own], backend });
  const bytes = await quietly(() => m.toBytes());
  const error = await errorOf(() => loadModel(bytes, { backend }));
  assert.instance(error, FileError);
  assert.match(error.message, /its metric "own" is a function.*pass metrics: \{ own \} to loadModel, or \{ own: null \}/);
  const expected = await m.evaluate(data.x, data.y);
  assert.equal(await (await loadModel(bytes, { backend, metrics: { own } })).evaluate(data.x, data.y), expected);
  assert.equal(await (await loadModel(bytes, { backend, metrics: { own: (y, p) => add(y, p) } })).evaluate(data.x, data.y), expected);
  const { own: _, ...others } = expected;
  assert.equal(await (await loadModel(bytes, { backend, metrics: { own: null } })).evaluate(data.x, data.y), others);
  assert.equal(Object.keys(others), ["loss", "binaryAccuracy", "mae", "precision"]);
});

test("a loss that is a function is not taken for the one of Lockstep whose name it has", async () => {
  const m = network();
  await m.compile({
    loss: function mse(_y, p) {
      return p;
    },
    backend,
  });
  const bytes = await m.toBytes();
  assert.match((await errorOf(() => loadModel(bytes, { backend }))).message, /its loss "mse" is a function/);
  assert.ok((await loadModel(bytes, { backend, loss: "mse" })).isSequential);
});

test.after(() => {
  backend.close();
  rmSync(folder, { recursive: true });
});
test("what is no model file says what it is", async () => {
  for (const [bytes, begin] of [
    ["<!doctype html><title>404</title>", '"<!doctyp"'],
    ['{"modelTopology": {}}', '"{\\"modelT"'],
    ["PK\u0003\u0004 and what a .keras file has", '"PK\\u0003\\u0004 and'],
  ]) {
    const error = await errorOf(() => loadModel(new TextEncoder().encode(bytes)));
    assert.instance(error, FileError);
    assert.ok(error.message.includes(`not safetensors: it begins with ${begin}`), error.message);
  }
  for (const [source, what] of [
    [undefined, "Undefined"],
    [null, "Null"],
    [{}, "Object"],
    [7, "Number"],
    [["a"], "Array"],
    [() => 1, "Function"],
    [Promise.resolve({}), "Object"],
  ]) {
    for (const load of [() => loadModel(source), () => loadWeights(sequential([nn.dense(1)], { inputShape: [1] }), source)]) {
      const error = await errorOf(load);
      assert.instance(error, ArgumentError);
      assert.is(error.message, `model file: expected a path, an address, bytes, a Blob, a Response or a stream, got ${what}`);
    }
  }
});

test("a model is read from a file: URL", async () => {
  const net = sequential([nn.dense(2)], { inputShape: [3], seed: 4 });
  await net.save(file("by url.safetensors"));
  const again = await loadModel(pathToFileURL(file("by url.safetensors")));
  assert.equal(
    (await again.getWeights()).map((w) => [...w.host]),
    (await net.getWeights()).map((w) => [...w.host]),
  );
  assert.match((await errorOf(() => loadModel(pathToFileURL(file("none.safetensors"))))).message, "none.safetensors");
});

test.run();

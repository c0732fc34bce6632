/**
 * What files cannot hold: layers, functions, losses and metrics of one's own come back when loadModel is given them, saving says which,
 * and no name makes two tensors one.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, FileError } from "../../build/esm/errors.js";
import { open } from "../../build/esm/init.js";
import { loadModel as loadInference, loadWeights } from "../../build/esm/model/load.js";
import { model, sequential } from "../../build/esm/model/model.js";
import { loadModel } from "../../build/esm/model/resume.js";
import * as nn from "../../build/esm/nn/index.js";
import { abs, add, mul, square, sub } from "../../build/esm/ops/map.js";
import { mean } from "../../build/esm/ops/composite.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { readSafetensors, writeSafetensors } from "../../build/esm/safetensors/index.js";
import { tensor } from "../../build/esm/tensor.js";
import { huber } from "../../build/esm/train/losses.js";
import { auc, confusionMatrix, precision, recall, rootMeanSquaredError, topKCategoricalAccuracy } from "../../build/esm/train/metrics.js";
import { adam, sgd } from "../../build/esm/train/optimizers.js";
import { cosineDecay } from "../../build/esm/train/schedules.js";
import { errorOf, fingerprint, table } from "./helpers.js";

const backend = await open("wasm", { reproducible: true });
test.after(() => backend.close());
const data = table(40);
const quiet = { verbose: 0 };

/** What `fn` gives, and what it says on the console. */
async function heard(fn) {
  const { warn } = console;
  const said = [];
  console.warn = (text) => said.push(text);
  try {
    return { value: await fn(), said: said.join("\n") };
  } finally {
    console.warn = warn;
  }
}
const saved = async (m, options) => (await heard(() => m.toBytes(options))).value;
const same = async (a, b) => assert.equal(await (await a.predict(data.x)).data(), await (await b.predict(data.x)).data());

/** A layer of one's own with a weight and an option. */
const scale = (config = {}) =>
  nn.layer({
    kind: "scale",
    config: { by: 3, ...config },
    build: (shape, weight) => {
      weight("gamma", [shape.at(-1)], { init: "ones" });
    },
    call: (x, { gamma }) => mul(mul(x, gamma), config.by ?? 3),
  });

test("a layer of one's own comes back with its config and weights, by kind or by name; saving says so, once", async () => {
  const m = sequential([scale({ by: 5, name: "wide" }), nn.dense(2), scale()], { inputShape: [4] });
  m.setWeights(m.weights.map(({ tensor: t }, i) => t.host.map((v, k) => v + i + k / 8)));
  const { value: bytes, said } = await heard(() => m.toBytes());
  assert.is(said, 'save: a file holds no code. To read model "model" pass loadModel(file, { layers: { scale: (config) => ... } })');
  assert.is((await heard(() => m.toBytes())).said, "");
  for (const load of [loadModel, loadInference]) {
    const error = await errorOf(() => load(bytes));
    assert.instance(error, FileError);
    assert.match(error.message, /layer "wide" is of the custom kind "scale"; pass layers: \{ scale: \(config\) => \.\.\. \} to loadModel/);
    const seen = [];
    const copy = await load(bytes, { layers: { scale: (config) => (seen.push(config), scale(config)) } });
    assert.equal(seen, [{ by: 5 }, { by: 3 }]);
    assert.equal(
      copy.layers.map((l) => [l.kind, l.name]),
      [["scale", "wide"], ["dense", "dense"], ["scale", "scale"]],
    );
    await same(copy, m);
    await same(await load(bytes, { layers: { wide: scale, scale: () => scale() } }), m);
  }
});

test("a layer of one's own within another's config", async () => {
  const m = sequential([nn.reshape([2, 2]), nn.timeDistributed(scale({ by: 7 })), nn.flatten()], { inputShape: [4] });
  const { value: bytes, said } = await heard(() => m.toBytes());
  assert.match(said, /layers: \{ scale: \(config\) => \.\.\. \}/);
  assert.match((await errorOf(() => loadModel(bytes))).message, /layer "timeDistributed" is of the custom kind "scale"/);
  await same(await loadModel(bytes, { layers: { scale } }), m);
});

test("a layer of one's own is never taken for Lockstep's of that kind, nor the other way round", async () => {
  // Its kind and config are those of a dense layer, what it does is not.
  const own = nn.layer({ kind: "dense", config: { units: 4 }, call: (x) => mul(x, 2) });
  const m = sequential([own, nn.dense(4)], { inputShape: [4], seed: 2 });
  const bytes = await saved(m);
  assert.match((await errorOf(() => loadModel(bytes))).message, /layer "dense" is of the custom kind "dense"/);
  const copy = await loadModel(bytes, { layers: { dense: () => (x) => mul(x, 2) } });
  await same(copy, m);
  assert.equal(
    copy.weights.map((w) => w.tensor.shape),
    [[4, 4], [4]],
  );
});

test("functions with names come back by name: activations and regularizers; without a name they are refused at once", async () => {
  const cubic = (x) => mul(x, square(x));
  const half = (w) => mul(sum(abs(w)), 0.5);
  const layers = () => [
    nn.dense(3, { activation: cubic, kernelRegularizer: half, kernelInitializer: () => new Float32Array(12).fill(0.25) }),
    nn.activation(cubic),
    nn.reshape([1, 3]),
    nn.bidirectional(nn.lstm(2, { recurrentActivation: cubic })),
    nn.dense(1),
  ];
  const m = sequential(layers(), { inputShape: [4] });
  await m.compile({ loss: "mse", optimizer: sgd({ learningRate: 1e-4 }), backend });
  const { value: bytes, said } = await heard(() => m.toBytes());
  assert.match(said, /pass loadModel\(file, \{ activations: \{ cubic \}, regularizers: \{ half \} \}\)/);
  assert.match(
    (await errorOf(() => loadModel(bytes, { backend }))).message,
    /layer "dense": its activation "cubic" is a function, which a file cannot hold; pass activations: \{ cubic \} to loadModel/,
  );
  assert.match(
    (await errorOf(() => loadModel(bytes, { backend, activations: { cubic } }))).message,
    /its kernelRegularizer "half" is a function.*pass regularizers: \{ half \}/,
  );
  const copy = await loadModel(bytes, { backend, activations: { cubic }, regularizers: { half } });
  await same(copy, m);
  const go = { epochs: 2, seed: 1, ...quiet };
  assert.equal((await copy.fit(data.x, data.y, go)).history, (await m.fit(data.x, data.y, go)).history);
  assert.is(await fingerprint(copy), await fingerprint(m));
  // Predictions need no regularizer.
  await same(await loadInference(await saved(m), { activations: { cubic } }), m);
  for (const [bad, what] of [
    [nn.dense(3, { activation: (x) => mul(x, 2) }), "activation"],
    [nn.dense(3, { biasRegularizer: (w) => sum(w) }), "biasRegularizer"],
    [nn.activation((x) => x), "activation"],
  ]) {
    const error = await errorOf(() => sequential([bad], { inputShape: [4] }).toBytes());
    assert.instance(error, ArgumentError);
    assert.match(
      error.message,
      new RegExp(`^save: layer "\\w+": its ${what} is a function without a name, which a file cannot hold; .*name it`),
    );
  }
});

test("a config that JSON would change is refused at once", async () => {
  class Point {
    x = 1;
  }
  for (const [value, what] of [
    [() => 1, "a function"],
    [NaN, "NaN"],
    [Infinity, "Infinity"],
    [10n, "a bigint"],
    [new Date(0), "Date"],
    [new Map(), "Map"],
    [Float32Array.of(1), "Float32Array"],
    [new Point(), "Object"],
    [Symbol("s"), "a symbol"],
    [tensor([1]), "Object"],
  ]) {
    for (const config of [{ own: value }, { own: [1, { deep: value }] }]) {
      const m = sequential([nn.layer({ kind: "odd", config, call: (x) => x })], { inputShape: [4] });
      const error = await errorOf(() => m.toBytes());
      assert.instance(error, ArgumentError, String(what));
      assert.match(error.message, new RegExp(`^save: layer "odd": its (own|deep) is ${what}, which a file cannot hold`));
    }
  }
  const plain = { a: null, b: undefined, c: [1, [2.5, "x"]], d: { e: true, f: Object.assign(Object.create(null), { g: 1 }) } };
  let seen;
  await loadModel(await saved(sequential([nn.layer({ kind: "odd", config: plain, call: (x) => x })], { inputShape: [4] })), {
    layers: { odd: (config) => ((seen = config), (x) => x) },
  });
  assert.equal(JSON.parse(JSON.stringify(seen)), JSON.parse(JSON.stringify(plain)));
});

test("a model of a function is saved for its weights, with a word, whatever its layers' options are", async () => {
  const make = () => {
    const [a, b] = [nn.dense(4, { activation: (x) => mul(x, 2) }), nn.dense(4)];
    return model((x) => add(a.call(x), b.call(x)), { inputShape: [4], seed: 4, name: "two" });
  };
  const m = make();
  const { value: bytes, said } = await heard(() => m.toBytes());
  assert.is(
    said,
    'save: a file holds no code. Model "two" was made from a function, which a file cannot hold; build it in code and use ' +
      "loadWeights(model, file)",
  );
  assert.match((await errorOf(() => loadModel(bytes))).message, /model "two" was made from a function/);
  const copy = make();
  copy.setWeights(copy.weights.map((w) => new Float32Array(w.tensor.size)));
  await loadWeights(copy, bytes);
  await same(copy, m);
});

test("losses, an optimizer and a schedule of one's own", async () => {
  const m = sequential([nn.dense(1)], { inputShape: [4] });
  const mine = { name: "huber", config: { delta: 1 }, labels: "same", call: (y, p) => mean(square(square(sub(y, p))), { axis: -1 }) };
  const steps = { kind: "cosineDecay", config: { initialLearningRate: 0.1, decaySteps: 3 }, value: (step) => add(mul(step, 0.01), 0.01) };
  const optimizer = () => sgd({ learningRate: steps, momentum: 0.5 });
  await m.compile({ loss: mine, optimizer: optimizer(), backend });
  await m.fit(data.x, data.y, quiet);
  const { value: bytes, said } = await heard(() => m.toBytes());
  assert.match(said, /loadModel\(file, \{ losses: \{ huber \}, optimizer \}\)/);
  // The name and config are those of Lockstep's loss and schedule, what they compute is not.
  assert.match(
    (await errorOf(() => loadModel(bytes, { backend }))).message,
    /its loss "huber" is a function, which a file cannot hold; pass losses: \{ huber \}/,
  );
  assert.match(
    (await errorOf(() => loadModel(bytes, { backend, losses: { huber: mine } }))).message,
    /its optimizer "sgd" or its schedule is not one of Lockstep's; pass optimizer/,
  );
  const copy = await loadModel(bytes, { backend, losses: { huber: mine }, optimizer: optimizer() });
  const go = { epochs: 3, initialEpoch: 1, ...quiet };
  assert.equal((await copy.fit(data.x, data.y, go)).history, (await m.fit(data.x, data.y, go)).history);
  assert.is(await fingerprint(copy), await fingerprint(m));
  for (const changed of [{ ...huber(), call: mine.call }, { ...huber(), config: { delta: 2 } }, { ...huber(), name: "logCosh" }]) {
    const other = sequential([nn.dense(1)], { inputShape: [4] });
    await other.compile({ loss: changed, optimizer: { ...adam(), kind: "lion", update: () => {} }, backend });
    assert.match((await heard(() => other.toBytes())).said, new RegExp(`losses: \\{ ${changed.name} \\}, optimizer`));
  }
  await m.compile({ loss: huber({ delta: 0.3 }), optimizer: adam({ learningRate: cosineDecay(steps.config) }), backend });
  assert.is((await heard(() => m.toBytes())).said, "");
});

test("metrics come back: renamed, AUC with its options, confusion matrices; a changed copy is one's own", async () => {
  const m = sequential([nn.dense(1, { activation: "sigmoid" })], { inputShape: [4], seed: 6 });
  const y = { data: data.y.data.map((v) => Number(v > 0)), shape: data.y.shape };
  const metrics = [
    { ...precision({ threshold: 0.9 }), name: "strict" },
    precision({ threshold: 0.1 }),
    { ...recall(), name: "precision2" },
    auc(),
    auc({ curve: "PR", numThresholds: 11, name: "pr" }),
    { ...auc({ fromLogits: true, summationMethod: "minoring" }), name: "again" },
    confusionMatrix({ threshold: 0.4 }),
    { ...rootMeanSquaredError(), name: "distance" },
    "mae",
    "acc",
  ];
  await m.compile({ loss: "binaryCrossentropy", metrics, backend });
  const { value: bytes, said } = await heard(() => m.toBytes());
  assert.is(said, "");
  const expected = await m.evaluate(data.x, y);
  assert.equal(Object.keys(expected), [
    "loss",
    "strict",
    "precision",
    "precision2",
    "auc",
    "pr",
    "again",
    "confusionMatrix",
    "distance",
    "mae",
    "acc",
  ]);
  const copy = await loadModel(bytes, { backend });
  assert.equal(await copy.evaluate(data.x, y), expected);
  assert.equal(await (await loadModel(await copy.toBytes(), { backend })).evaluate(data.x, y), expected);
  // Lockstep's name, another result.
  const doubled = { ...precision(), result: (state) => 2 * precision().result(state) };
  const counted = { name: "recall", config: {}, state: [], update: () => [], result: () => 7 };
  await m.compile({ loss: "binaryCrossentropy", metrics: [doubled, counted], backend });
  const own = await heard(() => m.toBytes());
  assert.match(own.said, /loadModel\(file, \{ metrics: \{ precision, recall \} \}\)/);
  assert.match((await errorOf(() => loadModel(own.value, { backend }))).message, /its metric "precision" is a function, which/);
  assert.equal(
    await (await loadModel(own.value, { backend, metrics: { precision: doubled, recall: counted } })).evaluate(data.x, y),
    await m.evaluate(data.x, y),
  );
  assert.equal(
    Object.keys(await (await loadModel(own.value, { backend, metrics: { precision: null, recall: null } })).evaluate(data.x, y)),
    ["loss"],
  );
});

test("metrics of several classes come back", async () => {
  const m = sequential([nn.dense(3, { activation: "softmax" })], { inputShape: [4], seed: 6 });
  const y = Int32Array.from({ length: 40 }, (_, i) => i % 3);
  await m.compile({
    loss: "sparseCategoricalCrossentropy",
    metrics: [{ ...topKCategoricalAccuracy({ k: 2 }), name: "top2" }, { ...confusionMatrix({ classes: 3 }), name: "table" }, "f1"],
    backend,
  });
  assert.equal(await (await loadModel(await m.toBytes(), { backend })).evaluate(data.x, y), await m.evaluate(data.x, y));
});

const NAMES = [
  "optimizer",
  "optimizer_1",
  "optimizer/m",
  "__proto__",
  "constructor",
  "toString",
  "__metadata__",
  "a/b",
  "/",
  " ",
  "0",
  "9",
  'layer "x"\\',
  "ü 層 🙂",
  "\ud800",
  "n".repeat(5000),
  "lockstep",
  "\n\0",
];
test("a layer may have any name", async () => {
  const m = sequential([...NAMES.map((name, i) => nn.dense(2 + (i % 3), { name })), nn.dense(1)], { inputShape: [4], seed: 9 });
  await m.compile({ loss: "mse", optimizer: "adam", backend });
  const go = { epochs: 1, seed: 2, ...quiet };
  await m.fit(data.x, data.y, go);
  const bytes = await m.toBytes();
  const copy = await loadModel(bytes, { backend });
  assert.equal(
    copy.layers.map((l) => l.name),
    [...NAMES, "dense"],
  );
  assert.is(await fingerprint(copy), await fingerprint(m));
  assert.equal((await copy.fit(data.x, data.y, go)).history, (await m.fit(data.x, data.y, go)).history);
  assert.is(await fingerprint(copy), await fingerprint(m));
  const other = sequential([...NAMES.map((name, i) => nn.dense(2 + (i % 3), { name })), nn.dense(1)], { inputShape: [4], seed: 1 });
  await loadWeights(other, bytes);
  assert.is(await fingerprint(other), await fingerprint(await loadModel(bytes, { backend })));
});

test("two weights of one name are refused at once: layers whose names join, and one layer's", async () => {
  const named = (name, ...weights) =>
    nn.layer({
      kind: "k",
      config: { name },
      build: (_, weight) =>
        weights.forEach((w) => {
          weight(w, [1], { init: "ones" });
        }),
      call: (x) => x,
    });
  for (const layers of [[named("a", "b/c"), named("a/b", "c")], [named("a", "w", "w")]]) {
    const error = await errorOf(() => sequential(layers, { inputShape: [4] }).toBytes());
    assert.instance(error, ArgumentError);
    assert.match(error.message, /^save: two weights of model "model" are called "a\/(b\/c|w)"; give one of the layers/);
  }
});

test("a weight says how it begins", async () => {
  const made = (...given) => {
    const own = nn.layer({ kind: "k", config: {}, build: (_, weight) => weight("w", ...given), call: (x, { w }) => mul(x, w) });
    return errorOf(() => sequential([own], { inputShape: [4] }).toBytes());
  };
  for (const [given, message] of [
    [[[4]], /^layer "k": weight "w": expected options that say how it begins, such as { init: "glorotUniform" }, got none/],
    [[[4], {}], /got none/],
    [[[4], "zeros"], /weight "w": expected an object of options, got "zeros"; known: init, trainable, regularizer/],
    [[[4], { initializer: "zeros" }], /weight "w": unknown option "initializer"; known: init, trainable, regularizer/],
    [[[4], { init: "zero" }], /unknown "zero"/],
  ]) {
    const error = await made(...given);
    assert.instance(error, ArgumentError);
    assert.match(error.message, message);
  }
  assert.match((await made()).message, /^layer "k": weight "w": expected a shape such as \[2, 3\], got undefined/);
});

test("unknown options are refused with those that there are", async () => {
  const bytes = await sequential([nn.dense(1)], { inputShape: [4] }).toBytes();
  assert.match(
    (await errorOf(() => loadModel(bytes, { layer: {} }))).message,
    /loadModel: unknown option "layer"; did you mean "layers"\?/,
  );
  assert.match((await errorOf(() => loadInference(bytes, { losses: {} }))).message, /loadModel: unknown option "losses"/);
  assert.match(
    (await errorOf(() => loadWeights(sequential([nn.dense(1)], { inputShape: [4] }), bytes, { name: {} }))).message,
    /loadWeights: unknown option "name"/,
  );
});

test("loadWeights maps names, and lists what is missing and what is left over", async () => {
  const m = sequential([nn.dense(3, { name: "fc1" }), nn.dense(1, { name: "fc2" })], { inputShape: [4], seed: 3 });
  const ours = ["fc1/kernel", "fc1/bias", "fc2/kernel", "fc2/bias"];
  const theirs = (name) => `net.${name.replace("fc", "").replace("/kernel", ".weight").replace("/bias", ".bias")}`;
  const values = await m.getWeights();
  const file = await writeSafetensors([
    ...ours.map((name, i) => [theirs(name), values[i]]),
    ["net.num_batches", { shape: [], data: BigInt64Array.of(2n ** 40n) }],
  ]);
  const fresh = () => sequential([nn.dense(3, { name: "fc1" }), nn.dense(1, { name: "fc2" })], { inputShape: [4], seed: 8 });
  const table = Object.fromEntries(ours.map((name) => [name, theirs(name)]));
  for (const names of [theirs, table]) {
    const copy = fresh();
    await loadWeights(copy, file, { names });
    assert.is(await fingerprint(copy), await fingerprint(m));
  }
  const copy = fresh();
  const before = await fingerprint(copy);
  const missing = await errorOf(() => loadWeights(copy, file));
  assert.instance(missing, FileError);
  assert.is(
    missing.message,
    'model file: no tensor "fc1/kernel" (4 are missing: fc1/kernel, fc1/bias, fc2/kernel, fc2/bias); the file has besides: ' +
      "net.num_batches, net.1.bias, net.1.weight, net.2.bias, net.2.weight",
  );
  const { "fc2/bias": _, ...some } = table;
  assert.match(
    (await errorOf(() => loadWeights(copy, file, { names: some }))).message,
    /no tensor "fc2\/bias"; the file has besides: net.num_batches, net.2.bias$/,
  );
  const unknown = await errorOf(() => loadWeights(copy, file, { names: { ...table, "fc1/kernal": "x" } }));
  assert.instance(unknown, ArgumentError);
  assert.match(unknown.message, /loadWeights: names: unknown weight "fc1\/kernal"; did you mean "fc1\/kernel"\?/);
  assert.match(
    (await errorOf(() => loadWeights(copy, file, { names: { ...table, "fc1/bias": "net.num_batches" } }))).message,
    /"net.num_batches" has shape \[\], the layer needs \[3\]/,
  );
  assert.is(await fingerprint(copy), before);
  // Floats of other widths are exact; a whole model's file serves too.
  const { tensors } = await readSafetensors(file, { names: ours.map(theirs) });
  const exact = await writeSafetensors([...tensors].map(([name, t]) => [name, { ...t, dtype: "F64" }]));
  await loadWeights(copy, exact, { names: theirs });
  assert.is(await fingerprint(copy), await fingerprint(m));
});

test("functions without a name come back by the names that the model gave them, never one in the place of another", async () => {
  const { warn } = console;
  const said = [];
  console.warn = (text) => said.push(text);
  const net = sequential([(x) => mul(x, 2), nn.dense(2), (x) => add(x, 100)], { inputShape: [2] });
  const file = await net.toBytes().finally(() => (console.warn = warn));
  assert.match(said[0], /layers: \{ function: \(config\) => \.\.\., function_1: \(config\) => \.\.\. \}/);
  let error;
  await loadModel(file, { layers: { function: () => (x) => mul(x, 2) } }).catch((e) => (error = e));
  assert.match(error.message, /layer "function_1" .* pass layers: \{ function_1/);
  const again = await loadModel(file, { layers: { function: () => (x) => mul(x, 2), function_1: () => (x) => add(x, 100) } });
  const x = tensor([[1, 2]]);
  assert.equal(await (await again.predict(x)).array(), await (await net.predict(x)).array());
  await net.toBytes({ optimiser: false }).catch((e) => (error = e));
  assert.match(error.message, /optimiser/);
});

test.run();

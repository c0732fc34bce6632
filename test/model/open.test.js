/** Models whose inputs have dimensions of any size, and lengths brought to a few. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, DataError, LockstepError, ShapeError } from "../../build/esm/errors.js";
import { open } from "../../build/esm/init.js";
import { model, sequential } from "../../build/esm/model/model.js";
import { loadModel } from "../../build/esm/model/resume.js";
import * as nn from "../../build/esm/nn/index.js";
import { merge } from "../../build/esm/nn/index.js";
import { slice } from "../../build/esm/ops/move.js";
import { Random } from "../../build/esm/random.js";
import { tensor } from "../../build/esm/tensor.js";
import { errorOf, fingerprint } from "./helpers.js";

const { bidirectional, conv1d, conv2d, dense, embedding, flatten, globalAvgPool1d, globalAvgPool2d, lstm, maxPool1d, upSampling2d } = nn;
const backend = await open("wasm", { reproducible: true });
const quiet = { verbose: 0 };
const random = new Random(4);
const sequences = (samples, steps, features) => tensor(random.normal(samples * steps * features), [samples, steps, features]);
const words = (samples, steps) =>
  tensor(
    Int32Array.from(random.uniform(samples * steps), (v) => 1 + Math.floor(v * 9)),
    [samples, steps],
  );
/** The shapes of layers' outputs as summary shows them. */
const shown = (m) =>
  m
    .summary(() => {})
    .split("\n")
    .filter((l) => l.startsWith("│"))
    .slice(1)
    .map((l) => l.split("│")[2].trim());

test("a model of any length: shapes, weights and predictions are those of the model of each length", async () => {
  const layers = () => [
    conv1d(6, 3, { activation: "relu" }),
    maxPool1d(2),
    lstm(5, { returnSequences: true }),
    globalAvgPool1d(),
    dense(2),
  ];
  const m = sequential(layers(), { inputShape: [null, 4], seed: 3 });
  assert.equal(m.inputShapes, [[null, 4]]);
  assert.equal(m.outputShape, [2]);
  assert.equal(shown(m), ["[batch, null, 6]", "[batch, null, 6]", "[batch, null, 5]", "[batch, 5]", "[batch, 2]"]);
  for (const steps of [5, 12, 64, 100]) {
    const x = sequences(7, steps, 4);
    const fixed = sequential(layers(), { inputShape: [steps, 4], seed: 3 });
    assert.is(await fingerprint(m), await fingerprint(fixed));
    assert.equal(await (await m.predict(x)).array(), await (await fixed.predict(x)).array());
    assert.equal(await (await m.predict(x, { batchSize: 3 })).array(), await (await fixed.predict(x, { batchSize: 3 })).array());
  }
  assert.match((await errorOf(() => m.predict(sequences(2, 5, 3)))).message, /expects x of shape \[null, null, 4\], got \[2, 5, 3\]/);
  assert.match((await errorOf(() => m.predict(tensor([[1, 2, 3, 4]])))).message, /expects x of shape \[null, null, 4\]/);
});

test("an output for each step has an open dimension, also [null] alone, of images, and of several inputs", async () => {
  const tagger = sequential([embedding(10, 4), bidirectional(lstm(3, { returnSequences: true })), dense(5, { activation: "softmax" })], {
    inputShape: [null],
  });
  assert.equal([tagger.inputShapes, tagger.outputShape], [[[null]], [null, 5]]);
  assert.equal((await tagger.predict(words(9, 6), { batchSize: 4 })).shape, [9, 6, 5]);
  assert.equal(
    await (await tagger.predict([[1, 2, 3]])).array(),
    await (await tagger.predict([[1, 2, 3], [4, 5, 6]], { batchSize: 1 })).array().then((a) => a.slice(0, 1)),
  );
  const images = sequential([conv2d(3, 3, { padding: "same" }), upSampling2d(2)], { inputShape: [null, null, 1] });
  assert.equal(images.outputShape, [null, null, 3]);
  assert.equal((await images.predict(tensor(random.normal(2 * 5 * 7), [2, 5, 7, 1]))).shape, [2, 10, 14, 3]);
  const pooled = sequential([conv2d(3, 3), globalAvgPool2d()], { inputShape: [null, 8, 1] });
  assert.equal([shown(pooled), pooled.outputShape], [["[batch, null, 6, 3]", "[batch, 3]"], [3]]);
  const [left, right, join] = [dense(2), dense(2), merge.add()];
  const two = model((a, b) => join.call(left.call(a), right.call(b)), { inputShape: [[null, 3], [null, 4]] });
  assert.equal(two.outputShape, [null, 2]);
  assert.equal((await two.predict([sequences(3, 4, 3), sequences(3, 4, 4)])).shape, [3, 4, 2]);
  assert.instance(await errorOf(() => two.predict([sequences(3, 4, 3), sequences(3, 5, 4)])), LockstepError);
});

test("long windows, deep pooling and short tables of positions find sizes that fit", async () => {
  assert.equal(sequential([conv1d(2, 99), globalAvgPool1d()], { inputShape: [null, 1] }).outputShape, [2]);
  const unet = (x) => {
    let y = x;
    for (let i = 0; i < 4; i++) y = pools[i].call(y);
    for (let i = 0; i < 4; i++) y = ups[i].call(y);
    return joined.call(x, y);
  };
  const pools = Array.from({ length: 4 }, () => nn.avgPool2d(2));
  const ups = Array.from({ length: 4 }, () => upSampling2d(2));
  const joined = merge.concatenate();
  assert.equal(model(unet, { inputShape: [null, null, 3] }).outputShape, [null, null, 6]);
  const table = tensor(random.normal(20 * 4), [20, 4]);
  const positions = (x) => nn.merge.add().call(x, slice(table, [0, 0], [x.shape[1], 4]));
  const m = sequential([embedding(9, 4), (x) => positions(x), globalAvgPool1d()], { inputShape: [null] });
  assert.equal(m.outputShape, [4]);
  assert.equal((await m.predict([[1, 2, 3]])).shape, [1, 4]);
});

test("a layer whose weights depend on an open dimension is refused, by name", async () => {
  for (const [make, parts] of [
    [() => sequential([flatten(), dense(3)], { inputShape: [null, 4] }), ['layer "dense"', "[null, 4]", "needs the size"]],
    [() => sequential([dense(3)], { inputShape: [null] }), ['layer "dense"', "[null]"]],
    [() => sequential([nn.layerNorm({ axis: [1, 2], name: "norm" })], { inputShape: [null, 4] }), ['layer "norm"']],
    [() => sequential([nn.prelu({ name: "slopes" })], { inputShape: [null, 4] }), ['layer "slopes"']],
    [() => sequential([dense(4), conv2d(2, 3)], { inputShape: [null, 4] }), ['layer "conv2d"']],
    [() => sequential([dense(4)], { inputShape: [null, -4] }), ["inputShape", "[-4]"]],
    [() => sequential([dense(4)], { inputShape: [undefined, 4] }), ["inputShape"]],
  ]) {
    const error = await errorOf(make);
    assert.instance(error, ShapeError, `${error.name}: ${error.message}`);
    for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
  }
});

test("batches of different lengths train as models of those lengths do, one step after another", async () => {
  const layers = () => [embedding(10, 4), lstm(6), dense(1)];
  const lengths = [7, 3, 7, 12];
  const data = lengths.map((steps) => [words(5, steps), tensor(random.normal(5), [5, 1])]);
  const m = sequential(layers(), { inputShape: [null], seed: 2 });
  await m.compile({ loss: "mse", optimizer: "sgd", metrics: ["mae"], backend });
  const { history } = await m.fit(() => data, { epochs: 2, validationData: () => data, ...quiet });
  let weights = await sequential(layers(), { inputShape: [null], seed: 2 }).getWeights();
  for (let epoch = 0; epoch < 2; epoch++) {
    for (const [x, y] of data) {
      const fixed = sequential(layers(), { inputShape: [x.shape[1]] });
      fixed.setWeights(weights);
      await fixed.compile({ loss: "mse", optimizer: "sgd", backend });
      await fixed.fit(x, y, { shuffle: false, ...quiet });
      weights = await fixed.getWeights();
    }
  }
  const got = await m.getWeights();
  for (const [i, w] of got.entries()) assert.equal(await w.array(), await weights[i].array(), `weight ${i}`);
  const each = await Promise.all(
    data.map(async ([x, y]) => {
      const [p, want] = [await (await m.predict(x)).data(), await y.data()];
      return Array.from(p, (v, i) => [(v - want[i]) ** 2, Math.abs(v - want[i])]);
    }),
  );
  const mean = (k) => each.flat().reduce((a, b) => a + b[k], 0) / each.flat().length;
  assert.ok(Math.abs(history.valLoss[1] - mean(0)) < 1e-6 && Math.abs(history.valMae[1] - mean(1)) < 1e-6);
  const evaluated = await m.evaluate(() => data);
  assert.ok(Math.abs(evaluated.loss - mean(0)) < 1e-6);
});

test("targets for each step of any length, by class numbers and one-hot", async () => {
  const make = async (loss) => {
    const m = sequential([embedding(10, 4), dense(3, { activation: "softmax" })], { inputShape: [null] });
    await m.compile({ loss, metrics: ["accuracy"], backend });
    return m;
  };
  const x = words(4, 6);
  const labels = Int32Array.from({ length: 24 }, (_, i) => i % 3);
  const hot = Float32Array.from({ length: 72 }, (_, i) => Number(labels[Math.floor(i / 3)] === i % 3));
  const [sparse, categorical] = [await make("sparseCategoricalCrossentropy"), await make("categoricalCrossentropy")];
  const a = await sparse.evaluate(x, tensor(labels, [4, 6]));
  assert.equal(await sparse.evaluate(x, tensor(labels, [4, 6, 1])), a);
  const b = await categorical.evaluate(x, tensor(hot, [4, 6, 3]));
  assert.ok(Math.abs(a.loss - b.loss) < 1e-6);
  assert.is(a.accuracy, b.accuracy);
  assert.instance(await errorOf(() => sparse.evaluate(x, tensor(labels, [4, 6, 1, 1]))), ShapeError);
  assert.instance(await errorOf(() => sparse.evaluate(x, tensor(labels.slice(0, 20), [4, 5]))), ShapeError);
  assert.instance(await errorOf(() => categorical.evaluate(x, tensor(hot.slice(0, 60), [4, 5, 3]))), ShapeError);
  const open = sequential([embedding(10, 1), nn.reshape([-1]), nn.softmax()], { inputShape: [null] });
  await open.compile({ loss: "sparseCategoricalCrossentropy", backend });
  assert.match((await errorOf(() => open.evaluate(x, [0, 1, 2, 3]))).message, /fixed number of classes, the output is \[null, null\]/);
});

test("a model with open dimensions is saved and read again", async () => {
  const m = sequential([embedding(10, 4), lstm(3), dense(1)], { inputShape: [null], seed: 7 });
  await m.compile({ loss: "mse", backend });
  const again = await loadModel(await m.toBytes(), { backend });
  assert.equal(again.inputShapes, [[null]]);
  assert.equal([again.summary(() => {}), await fingerprint(again)], [m.summary(() => {}), await fingerprint(m)]);
  for (const steps of [2, 9]) {
    const x = words(3, steps);
    assert.equal(await (await again.predict(x)).array(), await (await m.predict(x)).array());
  }
});

test("padTo brings lengths to a few with zeros behind, for fit, evaluate and predict", async () => {
  const make = async () => {
    const m = sequential([lstm(4), dense(1)], { inputShape: [null, 2], seed: 5 });
    await m.compile({ loss: "mse", optimizer: "sgd", backend });
    return m;
  };
  const zeroed = (t, steps) => {
    const [n, own, f] = t.shape;
    const out = new Float32Array(n * steps * f);
    for (let i = 0; i < n; i++) out.set(t.host.subarray(i * own * f, (i + 1) * own * f), i * steps * f);
    return tensor(out, [n, steps, f]);
  };
  const [by, hand] = [await make(), await make()];
  const y = tensor(random.normal(6), [6, 1]);
  for (const [steps, padTo, length] of [
    [3, [8, 4, 16], 4],
    [4, [4], 4],
    [9, "powersOfTwo", 16],
    [8, "powersOfTwo", 8],
    [1, "powersOfTwo", 1],
  ]) {
    const x = sequences(6, steps, 2);
    const want = zeroed(x, length);
    assert.equal(await (await by.predict(x, { padTo })).array(), await (await hand.predict(want)).array());
    assert.equal(await by.evaluate(x, y, { padTo }), await hand.evaluate(want, y));
    await by.fit(x, y, { padTo, validationData: [x, y], ...quiet });
    await hand.fit(want, y, { validationData: [want, y], ...quiet });
    await by.fit(() => [[x, y]], { padTo, validationData: () => [{ xs: x, ys: y }], ...quiet });
    await hand.fit(() => [[want, y]], { validationData: () => [{ xs: want, ys: y }], ...quiet });
    assert.is(await fingerprint(by), await fingerprint(hand));
  }
});

test("padTo leaves out the outputs of steps that it put in", async () => {
  const m = sequential([embedding(10, 4), lstm(3, { returnSequences: true }), dense(2)], { inputShape: [null] });
  for (const batchSize of [2, 32]) {
    const x = words(5, 6);
    const [whole, padded] = [await m.predict(x, { batchSize }), await m.predict(x, { batchSize, padTo: "powersOfTwo" })];
    assert.equal(padded.shape, [5, 6, 2]);
    assert.equal(await padded.array(), await whole.array());
  }
  assert.match(
    (await errorOf(() => sequential([conv1d(2, 3)], { inputShape: [null, 1] }).predict(sequences(1, 5, 1), { padTo: [8] }))).message,
    /predict: padTo cannot tell which steps of the output \[null, null, 2\]/,
  );
  await m.compile({ loss: "mse", backend });
  const error = await errorOf(() => m.fit(words(1, 5), tensor(new Float32Array(10), [1, 5, 2]), { padTo: [8], ...quiet }));
  assert.instance(error, ArgumentError);
  assert.match(error.message, /fit: padTo would count steps that it puts in.*\[null, null, 2\]/);
});

test("padTo that cannot be used", async () => {
  const m = sequential([lstm(2), dense(1)], { inputShape: [null, 2] });
  const of = (padTo, who = m) => errorOf(() => who.predict(sequences(1, 5, 2), { padTo }));
  assert.instance(await of([2, 4]), DataError);
  assert.match((await of([2, 4])).message, /predict: padTo has no length for 5 steps: \[2, 4\]/);
  assert.match((await of([])).message, /padTo has no length for 5 steps: \[\]/);
  for (const padTo of ["powers", 8, null]) assert.match((await of(padTo)).message, /padTo takes a list of lengths or "powersOfTwo"/);
  assert.instance(await of([8.5]), ShapeError);
  assert.match(
    (await of([8], sequential([lstm(2), dense(1)], { inputShape: [5, 2] }))).message,
    /an inputShape that begins with null, got \[8\] for \[5, 2\]/,
  );
});

test.after(() => backend.close());
test.run();

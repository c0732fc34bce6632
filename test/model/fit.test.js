/** fit: seeds, shuffling, batches, validation, weights of samples, and what may go on beside it. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { NonFiniteError } from "../../build/esm/errors.js";
import { open } from "../../build/esm/init.js";
import { model, sequential } from "../../build/esm/model/model.js";
import { dense, dropout, layer, merge } from "../../build/esm/nn/index.js";
import { loadModel } from "../../build/esm/model/resume.js";
import { add, mul } from "../../build/esm/ops/map.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { ones, tensor, zeros } from "../../build/esm/tensor.js";
import { terminateOnNaN } from "../../build/esm/train/callbacks.js";
import { adam, sgd } from "../../build/esm/train/optimizers.js";
import { referenceBackend } from "../reference/index.js";
import { asTensor, batches, errorOf, fingerprint, network, rows, table } from "./helpers.js";

const backend = await open("wasm", { reproducible: true });
const data = table(45);
const quiet = { verbose: 0 };

/** A compiled network after fit; `fit` are its arguments. */
async function trained(options, ...fit) {
  const m = network(options);
  await m.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), backend });
  await m.fit(...fit);
  return m;
}

/** The loss whose gradient for a bias-free dense(1) is the mean of the batch's rows. */
const output = (_y, p) => sum(p, { axis: -1 });

/** A linear model whose weights, starting at 0, lose the mean row of each batch at each step, and a list of those. */
async function revealing(width, front = []) {
  const m = sequential([...front, dense(1, { useBias: false, kernelInitializer: "zeros" })], { inputShape: [width] });
  await m.compile({ loss: output, optimizer: sgd({ learningRate: 1 }), backend });
  const steps = [];
  let before = new Float32Array(width);
  const watch = {
    async onBatchEnd(_step, _logs, training) {
      const [now] = await training.weights();
      steps.push(now.map((w, i) => before[i] - w));
      before = now;
    },
  };
  return { m, steps, watch };
}

const identity = (n) => ({ data: Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)), shape: [n, n] });
const column = (n) => ({ data: new Float32Array(n), shape: [n, 1] });
/** Numbers of the samples that a step of a revealing model saw. */
const seen = (step) => [...step.keys()].filter((i) => step[i] > 1e-3);

test("equal seeds give equal weights bit for bit, other seeds do not", async () => {
  const run = (seed, modelSeed = 1) =>
    trained({ rate: 0.3, seed: modelSeed }, data.x, data.y, { epochs: 3, seed, ...quiet }).then(fingerprint);
  const [a, b, otherFit, otherModel] = [await run(5), await run(5), await run(6), await run(5, 2)];
  assert.is(a, b);
  assert.is.not(a, otherFit);
  assert.is.not(a, otherModel);
});

test("a shuffled epoch trains on every sample exactly once, each epoch in another order", async () => {
  const n = 37;
  const size = 8;
  const epochs = 3;
  const stepsOfEpoch = 5;
  const { m, steps, watch } = await revealing(n);
  await m.fit(identity(n), column(n), { epochs, batchSize: size, seed: 3, callbacks: [watch], ...quiet });
  assert.is(steps.length, epochs * stepsOfEpoch);
  const orders = [];
  for (let e = 0; e < epochs; e++) {
    const epoch = steps.slice(e * stepsOfEpoch, (e + 1) * stepsOfEpoch).map(seen);
    assert.equal(
      epoch.map((s) => s.length),
      [8, 8, 8, 8, 5],
    );
    assert.equal(
      epoch.flat().sort((a, b) => a - b),
      [...Array(n).keys()],
    );
    orders.push(epoch.join(";"));
  }
  const inOrder = Array.from({ length: stepsOfEpoch }, (_, k) => [...Array(n).keys()].slice(k * size, (k + 1) * size)).join(";");
  assert.is(new Set([...orders, inOrder]).size, epochs + 1);
});

test("without shuffling batches come in order, the last one divided by its own size", async () => {
  const n = 11;
  const { m, steps, watch } = await revealing(n);
  await m.fit(identity(n), column(n), { batchSize: 4, shuffle: false, callbacks: [watch], ...quiet });
  assert.equal(steps.map(seen), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]);
  assert.ok(Math.abs(steps[2][8] - 1 / 3) < 1e-6);
});

test("a smaller last batch gives what the float64 reference gives", async () => {
  const options = { epochs: 4, batchSize: 16, seed: 9, ...quiet };
  const weights = [];
  for (const b of [backend, referenceBackend()]) {
    const m = network({ rate: 0.25 });
    await m.compile({ loss: "mse", optimizer: sgd({ learningRate: 0.05, momentum: 0.9 }), backend: b });
    await m.fit(data.x, data.y, options);
    weights.push((await Promise.all((await m.getWeights()).map((t) => t.data()))).flatMap((w) => [...w]));
  }
  weights[0].forEach((w, i) => assert.ok(Math.abs(w - weights[1][i]) < 1e-5, `weight ${i}: ${w}, expected ${weights[1][i]}`));
});

test("validationSplit keeps the last part out of training and evaluates it", async () => {
  const n = 10;
  const { m, steps, watch } = await revealing(n);
  const { history } = await m.fit(identity(n), column(n), { batchSize: 4, validationSplit: 0.3, callbacks: [watch], ...quiet });
  assert.equal(steps.flatMap(seen).sort(), [0, 1, 2, 3, 4, 5, 6]);
  assert.is(history.valLoss[0], 0, "the weights of samples 7 to 9 are still 0");
  const odd = await revealing(n);
  await odd.m.fit(identity(n), column(n), { validationSplit: 0.25, batchSize: 7, callbacks: [odd.watch], ...quiet });
  assert.is(odd.steps.flatMap(seen).length, 7, "what is trained on is rounded down, as in Keras");

  const split = network();
  const given = network();
  for (const s of [split, given]) await s.compile({ loss: "mse", optimizer: adam(), metrics: ["mae"], backend });
  const a = await split.fit(data.x, data.y, { epochs: 2, validationSplit: 0.2, ...quiet });
  const validationData = [rows(data.x, 36, 45), rows(data.y, 36, 45)];
  const b = await given.fit(rows(data.x, 0, 36), rows(data.y, 0, 36), { epochs: 2, validationData, ...quiet });
  assert.equal(a.history, b.history);
  assert.is(await fingerprint(split), await fingerprint(given));
  assert.equal(Object.keys(a.history), ["loss", "mae", "valLoss", "valMae"]);
  const after = await split.evaluate(...validationData);
  assert.is(after.loss, a.history.valLoss[1]);
  assert.is(after.mae, a.history.valMae[1]);
});

test("iterables of batches train as the same samples in one array", async () => {
  const expected = await fingerprint(await trained({}, data.x, data.y, { epochs: 2, batchSize: 16, shuffle: false, ...quiet }));
  const iterable = { [Symbol.iterator]: () => batches(data, 16) };
  const asyncIterable = {
    async *[Symbol.asyncIterator]() {
      for (const batch of batches(data, 16)) {
        await null;
        yield batch;
      }
    },
  };
  assert.is(await fingerprint(await trained({}, iterable, { epochs: 2, ...quiet })), expected);
  assert.is(await fingerprint(await trained({}, asyncIterable, undefined, { epochs: 2, ...quiet })), expected);
  // Functions are called anew for each epoch.
  assert.is(await fingerprint(await trained({}, () => batches(data, 16), { epochs: 2, ...quiet })), expected);
  assert.is(await fingerprint(await trained({}, asyncIterable[Symbol.asyncIterator], { epochs: 2, ...quiet })), expected);
  assert.is(await fingerprint(await trained({}, () => [...batches(data, 16)], { epochs: 2, ...quiet })), expected);
  for (const wrong of [() => 5, () => null, () => () => {}])
    assert.match(
      (await errorOf(() => trained({}, wrong, quiet))).message,
      /expected a function that gives an iterable of batches \[x, y\]/,
    );
});

test("a generator lasts one epoch; the error for the second says so", async () => {
  const m = network();
  await m.compile({ loss: "mse", backend });
  assert.match((await errorOf(() => m.fit(batches(data, 16), { epochs: 2, ...quiet }))).message, /epoch 2.*generator function/);
});

test("an iterable's first batch builds a model without inputShape", async () => {
  const m = sequential([dense(3), dense(1)]);
  await m.compile({ loss: "mse", metrics: ["mae"], backend });
  const { history } = await m.fit(batches(data, 16), { validationData: [data.x, data.y], ...quiet });
  assert.equal(m.inputShapes, [[4]]);
  assert.ok(Number.isFinite(history.loss[0]) && Number.isFinite(history.valMae[0]));
});

test("several inputs: two branches give what one layer over both gives", async () => {
  const both = concatenated();
  const one = sequential([dense(2)], { inputShape: [7], seed: 4 });
  const head = dense(2);
  const join = merge.concatenate();
  const two = model((a, b) => head.call(join.call(a, b)), { inputShape: [[4], [3]], seed: 4 });
  two.setWeights(await one.getWeights());
  for (const m of [one, two]) await m.compile({ loss: "mse", optimizer: "adam", backend });
  const target = { data: data.y.data.slice(0, 40), shape: [20, 2] };
  await one.fit(both.joined, target, { epochs: 3, batchSize: 8, ...quiet });
  await two.fit([both.a, both.b], target, { epochs: 3, batchSize: 8, ...quiet });
  assert.is(await fingerprint(two), await fingerprint(one));
  assert.equal(
    await (await two.predict([both.a, both.b], { batchSize: 6 })).data(),
    await (await one.predict(both.joined, { batchSize: 6 })).data(),
  );
});

function concatenated() {
  const a = rows(data.x, 0, 20);
  const b = { data: data.x.data.slice(80, 140), shape: [20, 3] };
  const joined = Float32Array.from({ length: 140 }, (_, i) => {
    const [row, k] = [Math.floor(i / 7), i % 7];
    return k < 4 ? a.data[row * 4 + k] : b.data[row * 3 + k - 4];
  });
  return { a: asTensor(a), b: asTensor(b), joined: { data: joined, shape: [20, 7] } };
}

test("a layer that is called twice is one layer, trained by both calls", async () => {
  const shared = dense(1, { useBias: false, kernelInitializer: "ones" });
  const total = merge.add();
  const m = model((a, b) => total.call(shared.call(a), shared.call(b)), { inputShape: [[1], [1]] });
  assert.is(m.weights.length, 1);
  await m.compile({ loss: output, optimizer: sgd({ learningRate: 1 }), backend });
  await m.fit([tensor([[2]]), tensor([[3]])], [[0]], quiet);
  assert.equal([...(await (await m.getWeights())[0].data())], [1 - 5]);
});

test("sampleWeight: the sum of weight times loss over the number of samples; classWeight is the same by label", async () => {
  const y = { data: data.y.data.map((v) => (v > 0 ? 1 : 0)), shape: [45, 1] };
  const byLabel = { 0: 0.5, 1: 2 };
  const weights = y.data.map((label) => byLabel[label]);
  const make = async () => {
    const m = sequential([dense(3, { activation: "tanh" }), dense(1, { activation: "sigmoid" })], { inputShape: [4] });
    await m.compile({ loss: "bce", metrics: ["accuracy"], optimizer: "adam", backend });
    return m;
  };
  const [bySample, byClass, plain] = [await make(), await make(), await make()];
  const p = await (await plain.predict(data.x)).data();
  const expected = p.reduce((s, q, i) => s - weights[i] * Math.log(y.data[i] === 1 ? q : 1 - q), 0) / 45;
  const options = { epochs: 2, batchSize: 45, ...quiet };
  const a = await bySample.fit(data.x, y, { ...options, sampleWeight: weights });
  const b = await byClass.fit(data.x, y, { ...options, classWeight: byLabel });
  const c = await plain.fit(data.x, y, options);
  assert.ok(Math.abs(a.history.loss[0] - expected) < 1e-6, `${a.history.loss[0]}, expected ${expected}`);
  assert.equal(a.history, b.history);
  assert.is(await fingerprint(bySample), await fingerprint(byClass));
  assert.is.not(await fingerprint(bySample), await fingerprint(plain));
  assert.is(a.history.accuracy[0], c.history.accuracy[0], "metrics are not weighted");
  const evaluated = await bySample.evaluate(data.x, y, { sampleWeight: weights });
  assert.is.not(evaluated.loss, (await bySample.evaluate(data.x, y)).loss);
});

test("classWeight of one-hot targets and of class numbers", async () => {
  const labels = Int32Array.from({ length: 45 }, (_, i) => i % 3);
  const hot = Float32Array.from({ length: 135 }, (_, i) => (labels[Math.floor(i / 3)] === i % 3 ? 1 : 0));
  const prints = [];
  for (const [loss, y] of [
    ["sparseCategoricalCrossentropy", { data: labels, shape: [45] }],
    ["categoricalCrossentropy", { data: hot, shape: [45, 3] }],
  ]) {
    const m = sequential([dense(3, { activation: "softmax" })], { inputShape: [4] });
    await m.compile({ loss, optimizer: "sgd", backend });
    const { history } = await m.fit(data.x, y, { classWeight: { 1: 4 }, ...quiet });
    prints.push(history.loss[0]);
  }
  assert.ok(Math.abs(prints[0] - prints[1]) < 1e-6);
});

test("dropout draws anew at each step, the same for the same seed, and not in inference", async () => {
  const run = async (seed) => {
    const { m, steps, watch } = await revealing(64, [dropout(0.5)]);
    await m.fit(ones([1, 64]), zeros([1, 1]), { epochs: 6, seed, callbacks: [watch], ...quiet });
    return { m, draws: steps.map((s) => s.map((v) => Math.round(v))) };
  };
  const [a, b, other] = [await run(1), await run(1), await run(2)];
  assert.is(new Set(a.draws.map(String)).size, 6);
  assert.equal(a.draws, b.draws);
  assert.is(a.draws.filter((d, i) => String(d) === String(other.draws[i])).length, 0);
  const kept = a.draws.flatMap((d) => [...d]);
  assert.ok(kept.every((v) => v === 0 || v === 2));
  const share = kept.filter((v) => v === 2).length / kept.length;
  assert.ok(share > 0.4 && share < 0.6, `kept ${share}`);
  const w = await (await a.m.getWeights())[0].data();
  assert.ok(Math.abs((await (await a.m.predict(ones([1, 64]))).item()) - w.reduce((s, v) => s + v, 0)) < 1e-4);
});

test("custom layers: functions, and objects whose tensors are trained", async () => {
  class Scale {
    factor = tensor([1, 1, 1, 1]);
    call(x) {
      return mul(x, this.factor);
    }
  }
  const scale = new Scale();
  const twice = (x) => mul(x, 2);
  const m = sequential([twice, scale, dense(1, { useBias: false, kernelInitializer: "ones" })], { inputShape: [4] });
  assert.equal(
    m.layers.map((l) => l.name),
    ["twice", "Scale", "dense"],
  );
  assert.equal(
    m.weights.map((w) => w.name),
    ["factor", "kernel"],
  );
  await m.compile({ loss: output, optimizer: sgd({ learningRate: 1 }), backend });
  await m.fit([[1, 2, 3, 4]], [[0]], quiet);
  assert.equal([...(await scale.factor.data())], [1 - 2, 1 - 4, 1 - 6, 1 - 8]);
  assert.is(await (await m.predict([[1, 0, 0, 0]])).item(), 2 * -1 * (1 - 2));
});

test("terminateOnNaN names the first step whose loss is not finite", async () => {
  const m = network();
  await m.compile({ loss: "mse", optimizer: sgd({ learningRate: 1e12 }), backend });
  const losses = [];
  const error = await errorOf(() =>
    m.fit(data.x, data.y, {
      epochs: 20,
      callbacks: [{ onBatchEnd: (_s, { loss }) => void losses.push(loss) }, terminateOnNaN()],
      ...quiet,
    }),
  );
  assert.instance(error, NonFiniteError);
  assert.ok(losses.slice(0, -1).every(Number.isFinite));
  // A layer's output or a gradient may overflow before the loss does; steps count from 1 here.
  const step = Number(/at step (\d+), /.exec(error.message)?.[1]);
  assert.ok(step >= 1 && step <= losses.length, error.message);
});

test("other tasks get turns while fit, evaluate and predict run", async () => {
  const big = table(20000, 16);
  const m = sequential([dense(64, { activation: "relu" }), dense(64, { activation: "relu" }), dense(1)], { inputShape: [16] });
  await m.compile({ loss: "mse", backend });
  const ticksOf = async (work) => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await work();
    clearInterval(timer);
    return ticks;
  };
  const generator = { [Symbol.iterator]: () => batches(big, 32) };
  for (const [name, work] of Object.entries({
    fit: () => m.fit(big.x, big.y, { epochs: 3, ...quiet }),
    "fit of an iterable": () => m.fit(generator, { epochs: 2, ...quiet }),
    evaluate: () => m.evaluate(big.x, big.y, { batchSize: 1 }),
    predict: () => m.predict(big.x, { batchSize: 1 }),
  }))
    assert.ok((await ticksOf(work)) >= 2, name);
});

test("a model trains one fit at a time", async () => {
  const m = network();
  await m.compile({ loss: "mse", backend });
  const first = m.fit(data.x, data.y, quiet);
  assert.match((await errorOf(() => m.fit(data.x, data.y, quiet))).message, /being trained already/);
  await first;
  await m.fit(data.x, data.y, quiet);
});

test("layers that a function or an object of one's own calls are trained, counted, and saved with it", async () => {
  const block = () => {
    const inner = dense(4, { activation: "tanh" });
    return function residual(x) {
      return add(x, inner.call(x));
    };
  };
  class Block {
    scale = tensor([1, 1, 1, 1]);
    inner = dense(4, { name: "own" });
    call(x) {
      return add(mul(x, this.scale), this.inner.call(x));
    }
  }
  const m = sequential([block(), new Block(), dense(1)], { inputShape: [4], seed: 3 });
  await m.compile({ loss: "mse", optimizer: adam({ learningRate: 0.05 }), backend });
  assert.equal(
    m.weights.map((w) => m.nameOf(w)),
    ["residual/dense.kernel", "residual/dense.bias", "Block/scale", "Block/own.kernel", "Block/own.bias", "dense/kernel", "dense/bias"],
  );
  assert.match(
    m.summary(() => {}),
    /residual \(residual\) +│ \[batch, 4\] +│ +20 /,
  );
  const before = await Promise.all((await m.getWeights()).map((t) => t.array()));
  await m.fit(data.x, data.y, { epochs: 2, ...quiet });
  const after = await Promise.all((await m.getWeights()).map((t) => t.array()));
  for (const [i, w] of after.entries()) assert.not.equal(w, before[i], m.weights[i].name);
  const again = await loadModel(await m.toBytes(), { backend, layers: { residual: block, Block: () => new Block() } });
  assert.is(await fingerprint(again), await fingerprint(m));
  assert.equal(await (await again.predict(data.x)).array(), await (await m.predict(data.x)).array());
});

test("a layer made anew each time that a function runs is an error, not a layer that never learns", async () => {
  for (const m of [model((x) => dense(2).call(x), { inputShape: [4] }), sequential([(x) => dense(2).call(x)], { inputShape: [4] })]) {
    assert.match((await errorOf(() => m.predict(data.x))).message, /layer "dense" was made anew.*outside of the function/);
  }
  assert.match(
    (await errorOf(() => model(() => [3], { inputShape: [4] }))).message,
    /model: its function's outputs: expected tensors, .* got 3/,
  );
  assert.match(
    (await errorOf(() => model(() => [], { inputShape: [4] }))).message,
    /must return a tensor, or a list or an object of tensors, got none/,
  );
});

test("a layer of one's own that calls another must list it, where a row of layers would not learn it otherwise", async () => {
  const inner = dense(2);
  const around = (parts) => layer({ kind: "around", config: {}, parts, call: (x) => inner.call(x) });
  const said = /layer "around": it calls layer "dense", which would not learn: .*parts/;
  assert.match((await errorOf(() => sequential([around()], { inputShape: [4] }))).message, said);
  assert.match((await errorOf(() => sequential([around()]).predict(data.x))).message, said);
  assert.is(sequential([around({ inner })], { inputShape: [4] }).weights.length, 2);
  const own = around();
  assert.is(model((x) => own.call(x), { inputShape: [4] }).weights.length, 2);
});

test("inputs of a model of several as nested arrays, with shapes, or as tensors", async () => {
  const [a, b] = [dense(2), dense(2)];
  const m = model((p, q) => add(a.call(p), b.call(q)), { inputShape: [[2], [3]] });
  const want = await (await m.predict([tensor([[1, 2], [3, 4]]), tensor([[1, 2, 3], [4, 5, 6]])])).array();
  assert.equal(await (await m.predict([[[1, 2], [3, 4]], [[1, 2, 3], [4, 5, 6]]])).array(), want);
  assert.equal(await (await m.predict([{ data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] }, [[1, 2, 3], [4, 5, 6]]])).array(), want);
  assert.match((await errorOf(() => m.predict([[1, 2]]))).message, /the model has 2 inputs, got 1; give a list/);
  assert.match(
    (await errorOf(() => sequential([dense(1)]).predict([tensor([[1]]), tensor([[1]])]))).message,
    /sequential: expected one input, got 2/,
  );
});

test("a model without weights can be fitted with globalClipNorm", async () => {
  const m = sequential([(x) => mul(x, 2)], { inputShape: [4] });
  await m.compile({ loss: "mse", optimizer: adam({ globalClipNorm: 1 }), backend });
  assert.ok(Number.isFinite((await m.fit(data.x, data.x, quiet)).history.loss[0]));
});

/** A dense(1) on one feature with the loss `p - y` of each value: a loss of 1 for every sample of label 0 when the weights are 0. */
async function counting(loss, outputs, options = {}) {
  const m = sequential([dense(outputs, { kernelInitializer: "zeros", ...options })], { inputShape: [1] });
  await m.compile({ loss, optimizer: sgd({ learningRate: 0 }), backend });
  return m;
}

test("class weights count in training, not in validation, as in Keras", async () => {
  const x = { data: new Float32Array(8), shape: [8, 1] };
  const y = { data: Float32Array.of(0, 1, 1, 1, 0, 0, 1, 1), shape: [8, 1] };
  const weights = { 0: 10, 1: 2 };
  const m = await counting("binaryCrossentropy", 1, { activation: "sigmoid" });
  const { history } = await m.fit(x, y, { validationSplit: 0.5, classWeight: weights, ...quiet });
  assert.ok(Math.abs(history.loss[0] - (Math.LN2 * (10 + 2 * 3)) / 4) < 1e-5, `loss ${history.loss[0]}`);
  assert.ok(Math.abs(history.valLoss[0] - Math.LN2) < 1e-6, `valLoss ${history.valLoss[0]}`);
  const sampleWeight = Float32Array.of(1, 1, 1, 1, 3, 1, 1, 1);
  const both = (await m.fit(x, y, { validationSplit: 0.5, classWeight: weights, sampleWeight, ...quiet })).history;
  assert.ok(Math.abs(both.valLoss[0] - (Math.LN2 * 6) / 4) < 1e-6, `valLoss ${both.valLoss[0]}`);
});

test("class and sample weights of samples with several labels", async () => {
  const dimensions = [[2, 3], [2, 3, 1]];
  const x = { data: new Float32Array(6), shape: [2, 3, 1] };
  const labels = Float32Array.of(0, 1, 2, 2, 2, 1);
  const oneHot = { data: Float32Array.from({ length: 18 }, (_, i) => Number(labels[Math.floor(i / 3)] === i % 3)), shape: [2, 3, 3] };
  const build = async (loss) => {
    const m = sequential([dense(3, { kernelInitializer: "zeros", activation: "softmax" })], { inputShape: [3, 1] });
    await m.compile({ loss, optimizer: sgd({ learningRate: 0 }), backend });
    return m;
  };
  const near = (got, want) => assert.ok(Math.abs(got - want) < 1e-5, `${got}, expected ${want}`);
  const mean = Math.log(3) / 6;
  for (const shape of dimensions) {
    const m = await build("sparseCategoricalCrossentropy");
    near((await m.fit(x, { data: labels, shape }, { classWeight: { 0: 7, 1: 3 }, ...quiet })).history.loss[0], mean * (7 + 3 + 3 + 3));
    near(
      (await m.fit(x, { data: labels, shape }, { classWeight: { 0: 7, 1: 3 }, sampleWeight: [1, 2], ...quiet })).history.loss[0],
      mean * (7 + 3 + 1 + 2 * (1 + 1 + 3)),
    );
    near((await m.evaluate(x, { data: labels, shape }, { sampleWeight: [[1, 0, 2], [0, 0, 4]] })).loss, mean * 7);
  }
  const m = await build("categoricalCrossentropy");
  near((await m.fit(x, oneHot, { classWeight: { 0: 7, 1: 3 }, ...quiet })).history.loss[0], mean * (7 + 3 + 3 + 3));
  near(
    (await m.fit(x, oneHot, { sampleWeight: { data: Float32Array.of(1, 0, 2, 0, 0, 4), shape: [2, 3] }, ...quiet })).history.loss[0],
    mean * 7,
  );
});

test("evaluations at the same time, and beside fit, give what each gives alone", async () => {
  const m = network();
  await m.compile({ loss: "mse", optimizer: sgd({ learningRate: 0 }), metrics: ["mae"], backend });
  const large = table(3000, 4, 9);
  const alone = [await m.evaluate(data.x, data.y, { batchSize: 1 }), await m.evaluate(large.x, large.y, { batchSize: 1 })];
  const together = await Promise.all([m.evaluate(data.x, data.y, { batchSize: 1 }), m.evaluate(large.x, large.y, { batchSize: 1 })]);
  assert.equal(together, alone);
  const fit = m.fit(large.x, large.y, { epochs: 3, batchSize: 8, validationData: [data.x, data.y], ...quiet });
  const beside = [];
  for (let i = 0; i < 5; i++) beside.push(await m.evaluate(large.x, large.y, { batchSize: 1 }));
  for (const logs of beside) assert.equal(logs, alone[1]);
  for (const mae of (await fit).history.valMae) assert.ok(Math.abs(mae - alone[0].mae) < 1e-6);
});

test("a failed evaluation does not hold up the next", async () => {
  const m = network();
  await m.compile({
    loss: (_y, p) => {
      if (m.broken) throw new Error("broken");
      return sum(p, { axis: -1 });
    },
    backend,
  });
  m.broken = true;
  assert.match((await errorOf(() => m.evaluate(data.x, data.y))).message, /broken/);
  m.broken = false;
  assert.ok(Number.isFinite((await m.evaluate(data.x, data.y)).loss));
});

test("compile while fit runs is refused, and fit goes on", async () => {
  const m = network();
  await m.compile({ loss: "mse", backend });
  let error = null;
  const { epoch } = await m.fit(data.x, data.y, {
    epochs: 3,
    ...quiet,
    callbacks: [
      {
        onEpochEnd: async (e) => {
          if (e === 1) error = await errorOf(() => m.compile({ loss: "mae", backend }));
        },
      },
    ],
  });
  assert.match(error.message, /compile: the model is being trained/);
  assert.equal(epoch, [0, 1, 2]);
});

test.after(() => backend.close());
test.run();

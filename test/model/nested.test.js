/** Models as layers of other models, of functions and of compiled functions. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { ArgumentError, DataError, ShapeError } from "../../build/esm/errors.js";
import { valueAndGrad } from "../../build/esm/grad.js";
import { open } from "../../build/esm/init.js";
import { model, sequential } from "../../build/esm/model/model.js";
import { loadModel } from "../../build/esm/model/resume.js";
import { batchNorm, conv1d, dense, dropout, embedding, flatten, globalAvgPool1d, l2 } from "../../build/esm/nn/index.js";
import { add, cast, mul, square } from "../../build/esm/ops/map.js";
import { mean } from "../../build/esm/ops/composite.js";
import { tensor } from "../../build/esm/tensor.js";
import { sgd } from "../../build/esm/train/optimizers.js";
import { asTensor, errorOf, fingerprint, table } from "./helpers.js";

const wasm = await open("wasm", { reproducible: true, threads: 1 });
test.after(() => wasm.close());

const baseOf = (options = {}) => sequential([dense(8, { activation: "relu" }), batchNorm(), dropout(0.3)], { seed: 2, ...options });

test("sequential takes models, which train as their layers would", async () => {
  const { x, y } = table(32);
  const base = baseOf({ inputShape: [4] });
  const head = sequential([dense(1, { name: "out" })], { inputShape: [8], seed: 3 });
  const flat = sequential(
    [...baseOf({ inputShape: [4] }).layers, ...sequential([dense(1, { name: "out" })], { inputShape: [8], seed: 3 }).layers],
    { inputShape: [4] },
  );
  const nested = sequential([base, head], { inputShape: [4] });
  assert.equal(
    nested.layers.map((l) => l.name),
    ["model", "model_1"],
  );
  assert.equal(
    nested.weights.map((w) => w.name),
    [
      "dense/kernel",
      "dense/bias",
      "batchNorm/gamma",
      "batchNorm/beta",
      "batchNorm/movingMean",
      "batchNorm/movingVariance",
      "out/kernel",
      "out/bias",
    ],
  );
  assert.is(nested.nameOf(nested.weights[0]), "model/dense/kernel");
  for (const m of [nested, flat]) {
    await m.compile({ loss: "mse", optimizer: sgd({ learningRate: 0.05 }) });
    await m.fit(x, y, { epochs: 2, batchSize: 8, seed: 1, verbose: 0 });
  }
  assert.is(await fingerprint(nested), await fingerprint(flat));
  // The weights are the base's own.
  assert.equal(
    await (await sequential([base], { inputShape: [4] }).predict(asTensor(x))).data(),
    await (await base.predict(asTensor(x))).data(),
  );
});

test("models are called in functions of layers and in compiled functions, built or not", async () => {
  const base = sequential([dense(3, { kernelInitializer: "ones" })]);
  const net = model((a, b) => base.call(add(base.call(a), base.call(b))), { inputShape: [[3], [3]] });
  assert.equal(
    net.layers.map((l) => l.kind),
    ["model"],
  );
  assert.is(net.weights.length, 2);
  const [a, b] = [tensor([[1, 2, 3]]), tensor([[1, 0, 0]])];
  assert.equal([...(await (await net.predict([a, b])).data())], [21, 21, 21]);
  const y = await compile((t) => base.call(t))(a);
  assert.equal([...(await y.data())], [6, 6, 6]);
  const { grads } = await compile((t) => valueAndGrad(() => mean(base.call(t)), base.parameters)())(a);
  assert.equal(
    [...(await grads[1].data())].map((v) => Math.round(v * 3)),
    [1, 1, 1],
  );
});

test("a model within takes inputs of any dtype as one by itself does: as f32, with the integers for embeddings", async () => {
  const base = sequential([(x) => mul(x, 3)], { inputShape: [2] });
  const net = model((x) => base.call(cast(x, "i32")), { inputShape: [2] });
  assert.is(String(await net.predict([[7, 9]])), "f32[1, 2]");
  assert.equal(await (await net.predict([[7, 9]])).array(), [[21, 27]]);
  // As integers they would be 50331651.
  const given = tensor([[7, 16777217]], undefined, "i32");
  for (const y of [await base.predict(given), await compile((t) => base.call(t))(given), base.call(given)]) {
    assert.is(y.dtype, "f32");
    assert.equal(await y.array(), [[21, 50331648]]);
  }
  const n = 2 ** 24 + 2;
  const table = new Float32Array(n);
  table[16777217] = 2;
  const words = sequential([embedding(n, 1), flatten()], { inputShape: [1] });
  words.setWeights([table]);
  const y = await compile((t) => words.call(t))(tensor([[16777217]], undefined, "i32"));
  assert.equal(await y.array(), [[2]]);
});

test("a frozen model keeps its weights and its averages, also when it is frozen before it is built", async () => {
  const { x, y } = table(32);
  for (const inputShape of [[4], undefined]) {
    const base = baseOf(inputShape === undefined ? {} : { inputShape });
    base.trainable = false;
    const net = sequential([base, dense(1)], { inputShape: [4] });
    const before = await fingerprint(base);
    assert.is(net.parameters.length, 2);
    await net.compile({ loss: "mse", optimizer: "sgd" });
    await net.fit(x, y, { epochs: 1, verbose: 0 });
    assert.is(await fingerprint(base), before);
    base.trainable = true;
    assert.is(net.parameters.length, 6);
    assert.ok(base.layers.every((l) => l.trainable));
  }
});

test("penalties of layers within count, once, and penalty() is what fit adds", async () => {
  const base = sequential([dense(2, { kernelInitializer: "ones", kernelRegularizer: l2(0.5) })], { inputShape: [3] });
  const net = sequential([base], { inputShape: [3] });
  await net.compile({ loss: "mse", optimizer: sgd({ learningRate: 0 }) });
  const { history } = await net.fit(tensor([[0, 0, 0]]), tensor([[0, 0]]), { verbose: 0 });
  assert.is(history.loss[0], 3);
  assert.is(await (await compile(() => net.penalty())()).item(), 3);
  assert.is(await (await compile(() => sequential([dense(1)], { inputShape: [1] }).penalty())()).item(), 0);
});

test("nested models are saved and come back", async () => {
  const { x, y } = table(16);
  const net = sequential([baseOf({ name: "base" }), sequential([sequential([dense(4)]), dense(1)])], { inputShape: [4] });
  net.layers[0].trainable = false;
  await net.compile({ loss: "mse", optimizer: "adam" });
  await net.fit(x, y, { epochs: 1, verbose: 0 });
  const again = await loadModel(await net.toBytes());
  assert.equal(
    again.layers.map((l) => [l.kind, l.name]),
    [["model", "base"], ["model", "model"]],
  );
  assert.is(await fingerprint(again), await fingerprint(net));
  assert.equal(
    again.weights.map((w) => w.trainable),
    net.weights.map((w) => w.trainable),
  );
  for (const m of [net, again]) await m.fit(x, y, { epochs: 2, initialEpoch: 1, verbose: 0 });
  assert.is(await fingerprint(again), await fingerprint(net));
  const inner = baseOf({ inputShape: [4] });
  inner.layers[0].trainable = false;
  const outer = sequential([inner], { inputShape: [4] });
  await outer.compile({ loss: "mse" });
  assert.equal(
    (await loadModel(await outer.toBytes())).weights.map((w) => w.trainable),
    [false, false, true, true, false, false],
  );
  const fn = sequential([model((t) => mul(t, 2))], { inputShape: [4] });
  assert.match((await errorOf(() => fn.toBytes())).message, /layer "model": .*function/);
});

test("a model within one of any length takes any length", async () => {
  const base = sequential([conv1d(3, 2, { padding: "same" })]);
  const net = sequential([base, globalAvgPool1d(), dense(1)], { inputShape: [null, 2] });
  assert.equal(base.inputShapes, [[null, 2]]);
  for (const time of [3, 5]) assert.equal((await net.predict(tensor(new Float32Array(time * 2), [1, time, 2]))).shape, [1, 1]);
  assert.equal((await base.predict(tensor(new Float32Array(14), [1, 7, 2]))).shape, [1, 7, 3]);
});

test("errors name the model within", async () => {
  const base = sequential([dense(2)], { inputShape: [3], name: "base" });
  assert.match((await errorOf(() => sequential([base], { inputShape: [4] }))).message, /layer "base": .*\[3\].*\[4\]/);
  assert.instance(await errorOf(() => sequential([base, base], { inputShape: [3] })), ArgumentError);
  const words = sequential([embedding(10, 2), flatten()], { inputShape: [2] });
  const net = sequential([words, dense(1)], { inputShape: [2] });
  assert.instance(await errorOf(() => net.predict(tensor([[1, 10]]))), DataError);
  const making = model((t) => dense(2).call(t));
  assert.match((await errorOf(() => sequential([making], { inputShape: [3] }).predict(tensor([[1, 2, 3]])))).message, /made anew/);
});

test.run();

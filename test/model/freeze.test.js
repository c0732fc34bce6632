/** Layers that are not trainable: their weights stay, their penalties and averages too, alone and inside of others, and after a file. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { model, sequential } from "../../build/esm/model/model.js";
import { loadModel } from "../../build/esm/model/resume.js";
import * as nn from "../../build/esm/nn/index.js";
import { add, mul } from "../../build/esm/ops/map.js";
import { tensor } from "../../build/esm/tensor.js";
import { adam, sgd } from "../../build/esm/train/optimizers.js";

const x = tensor(
  Float32Array.from({ length: 128 }, (_, i) => Math.fround(Math.sin(i))),
  [32, 4],
);
const y = tensor(
  Float32Array.from({ length: 32 }, (_, i) => Math.fround(Math.cos(i))),
  [32, 1],
);
const quiet = { verbose: 0, epochs: 2, batchSize: 16 };

/** Names of weights that `fit` changes. */
async function changed(net, { compile = true, input = x, target = y } = {}) {
  if (compile) await net.compile({ loss: "mse", optimizer: sgd({ learningRate: 0.1 }) });
  const before = await Promise.all((await net.getWeights()).map((w) => w.data()));
  await net.fit(input, target, quiet);
  const after = await Promise.all((await net.getWeights()).map((w) => w.data()));
  return net.weights.map((w) => net.nameOf(w)).filter((_, i) => before[i].some((v, k) => v !== after[i][k]));
}

test("a frozen layer keeps its weights, from the next compile on", async () => {
  const net = sequential([nn.dense(3, { name: "base", activation: "tanh" }), nn.dense(1, { name: "head" })], { inputShape: [4] });
  assert.equal(await changed(net), ["base/kernel", "base/bias", "head/kernel", "head/bias"]);
  net.layers[0].trainable = false;
  assert.equal(await changed(net), ["head/kernel", "head/bias"]);
  assert.match(
    net.summary(() => {}),
    /Parameters: 19 .* trainable 4 .* other 15 /,
  );
  net.layers[0].trainable = true;
  assert.is((await changed(net, { compile: false })).length, 2, "what was compiled goes on as it was");
  assert.is((await changed(net)).length, 4);
});

test("a model's trainable is that of all its layers; layers are found by name and place", async () => {
  const net = sequential([nn.dense(3, { name: "base" }), nn.dense(3), nn.dense(1, { name: "head" })], { inputShape: [4] });
  assert.is(net.trainable, true);
  net.trainable = false;
  assert.equal(
    net.layers.map((l) => l.trainable),
    [false, false, false],
  );
  assert.equal([net.getLayer("dense"), net.getLayer(0), net.getLayer(-1)], [net.layers[1], net.layers[0], net.layers[2]]);
  net.getLayer("head").trainable = true;
  assert.is(net.trainable, false);
  assert.equal(await changed(net), ["head/kernel", "head/bias"]);
  net.trainable = true;
  assert.is((await changed(net)).length, 6);
});

test("a frozen part trains as the same network does that takes its output as data", async () => {
  const net = sequential([nn.dense(3, { activation: "tanh" }), nn.dense(1, { name: "head" })], { inputShape: [4], seed: 3 });
  const head = sequential([nn.dense(1)], { inputShape: [3] });
  const base = sequential([net.layers[0]], { inputShape: [4] });
  head.setWeights((await net.getWeights()).slice(2));
  net.layers[0].trainable = false;
  const features = await base.predict(x);
  await net.compile({ loss: "mse", optimizer: adam() });
  await head.compile({ loss: "mse", optimizer: adam() });
  await net.fit(x, y, quiet);
  await head.fit(features, y, quiet);
  const [got, want] = [(await net.getWeights())[2].host, (await head.getWeights())[0].host];
  got.forEach((v, i) => assert.ok(Math.abs(v - want[i]) < 1e-6, `${v}, expected ${want[i]}`));
});

test("frozen batch normalization uses its averages and keeps them", async () => {
  const norm = nn.batchNorm({ name: "norm" });
  const net = sequential([norm, nn.dense(1, { name: "head" })], { inputShape: [4] });
  norm.trainable = false;
  assert.equal(await changed(net), ["head/kernel", "head/bias"]);
  norm.trainable = true;
  assert.equal((await changed(net)).slice(0, 4), ["norm/gamma", "norm/beta", "norm/movingMean", "norm/movingVariance"]);
});

test("frozen weights add no penalty", async () => {
  const net = sequential([nn.dense(1, { kernelRegularizer: { l2: 100 } })], { inputShape: [4] });
  await net.compile({ loss: "mse" });
  const { loss: withPenalty } = await net.evaluate(x, y);
  net.layers[0].trainable = false;
  await net.compile({ loss: "mse" });
  assert.ok((await net.evaluate(x, y)).loss < withPenalty / 10);
  assert.equal(await changed(net), []);
});

test("layers inside of others", async () => {
  const both = nn.bidirectional(nn.lstm(2), { name: "both" });
  const net = sequential([both, nn.dense(1, { name: "head" })], { inputShape: [2, 2] });
  both.trainable = false;
  assert.equal(await changed(net, { input: tensor(x.host, [32, 2, 2]) }), ["head/kernel", "head/bias"]);

  const inner = nn.dense(4);
  const block = (t) => add(inner.call(t), t);
  const skip = sequential(
    [
      block,
      {
        scale: tensor([1, 2, 3, 4]),
        call(t) {
          return mul(t, this.scale);
        },
      },
      nn.dense(1, { name: "head" }),
    ],
    { inputShape: [4] },
  );
  inner.trainable = false;
  assert.equal(await changed(skip), ["custom/scale", "head/kernel", "head/bias"]);
  skip.layers[1].trainable = false;
  assert.equal(await changed(skip), ["head/kernel", "head/bias"]);
  inner.trainable = true;
  skip.layers[0].trainable = false;
  assert.equal(await changed(skip), ["head/kernel", "head/bias"]);

  const a = nn.dense(3, { name: "a" });
  const b = nn.dense(1, { name: "b" });
  const functional = model((t) => b.call(a.call(t)), { inputShape: [4] });
  a.trainable = false;
  assert.equal(await changed(functional), ["b/kernel", "b/bias"]);
});

test("a file keeps what is frozen, and training goes on with the same bits", async () => {
  const make = () => sequential([nn.dense(3, { activation: "tanh" }), nn.batchNorm(), nn.dense(1)], { inputShape: [4], seed: 5 });
  const whole = make();
  for (const l of whole.layers.slice(0, 2)) l.trainable = false;
  await whole.compile({ loss: "mse", optimizer: adam() });
  await whole.fit(x, y, quiet);
  const again = await loadModel(await whole.toBytes());
  assert.equal(
    again.layers.map((l) => l.trainable),
    [false, false, true],
  );
  await whole.fit(x, y, { ...quiet, initialEpoch: 2, epochs: 4 });
  await again.fit(x, y, { ...quiet, initialEpoch: 2, epochs: 4 });
  assert.equal(
    (await again.getWeights()).map((w) => [...w.host]),
    (await whole.getWeights()).map((w) => [...w.host]),
  );
  assert.equal(
    (await loadModel(await make().toBytes())).layers.map((l) => l.trainable),
    [true, true, true],
  );
});

test.run();

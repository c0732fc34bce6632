/**
 * The mode of a trace: loops of one's own train what fit trains, and gradients through layers that nobody told whether they train are
 * refused.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../build/esm/compile.js";
import { ArgumentError, LockstepError } from "../build/esm/errors.js";
import { gradients, valueAndGrad } from "../build/esm/grad.js";
import { open } from "../build/esm/init.js";
import { randomKey } from "../build/esm/mode.js";
import { model, sequential } from "../build/esm/model/model.js";
import { batchNorm, bidirectional, dense, dropout, gru, lstm, simpleRnn, timeDistributed } from "../build/esm/nn/index.js";
import { mean } from "../build/esm/ops/composite.js";
import { add, mul, square, sub } from "../build/esm/ops/map.js";
import { maxPool2d } from "../build/esm/ops/pool.js";
import { randomCategorical, randomNormal } from "../build/esm/ops/random.js";
import { tensor } from "../build/esm/tensor.js";
import { adam, sgd } from "../build/esm/train/optimizers.js";
import { errorOf, fingerprint, table } from "./model/helpers.js";

const wasm = await open("wasm", { reproducible: true, threads: 1 });
test.after(() => wasm.close());

const network = () =>
  sequential([dense(8, { activation: "tanh" }), batchNorm({ momentum: 0.9 }), dropout(0.25), dense(6), dropout(0.5), dense(1)], {
    inputShape: [4],
    seed: 3,
  });
const halfSquare = (y, p) => mean(square(sub(p, y)));

test("a loop of one's own with dropout and batchNorm trains what fit trains, bit for bit", async () => {
  const { x, y } = table(64);
  const fitted = network();
  await fitted.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }) });
  await fitted.fit(x, y, { epochs: 3, batchSize: 16, shuffle: false, seed: 5, verbose: 0 });

  const net = network();
  const optimizer = adam({ learningRate: 0.01 });
  const step = compile(
    (xs, ys) => {
      const { value, grads } = valueAndGrad(() => halfSquare(ys, net.call(xs)), net.parameters)();
      optimizer.update(net.parameters, grads);
      return value;
    },
    { training: true, seed: 5 },
  );
  for (let epoch = 0; epoch < 3; epoch++) {
    for (let at = 0; at < 64; at += 16) {
      await step(tensor(x.data.slice(at * 4, (at + 16) * 4), [16, 4]), tensor(y.data.slice(at, at + 16), [16, 1]));
    }
  }
  assert.is(step.draws, 12);
  assert.is(await fingerprint(net), await fingerprint(fitted));
});

test("a loop that goes on with `draws` draws what the whole loop would have", async () => {
  const x = tensor(new Float32Array(64).fill(1), [64]);
  const layer = dropout(0.5);
  const make = () => compile((t) => layer.call(t), { training: true, seed: 9 });
  const whole = make();
  const all = [];
  for (let i = 0; i < 4; i++) all.push(await (await whole(x)).data());
  assert.is(new Set(all.map(String)).size, 4);
  const rest = make();
  rest.draws = 2;
  assert.equal(await (await rest(x)).data(), all[2]);
  const other = await compile((t) => layer.call(t), { training: true, seed: 10 })(x);
  assert.not.equal(await other.data(), all[0]);
});

const refused = {
  dropout: () => [dropout(0.5), [4]],
  batchNorm: () => [batchNorm(), [4]],
  "lstm with dropout": () => [lstm(2, { dropout: 0.5 }), [3, 4]],
  "gru with recurrentDropout": () => [gru(2, { recurrentDropout: 0.5 }), [3, 4]],
  "a layer within another": () => [timeDistributed(dropout(0.5)), [3, 4]],
  "a layer within bidirectional": () => [bidirectional(lstm(2, { dropout: 0.1 })), [3, 4]],
  "a layer within a model": () => [sequential([dense(2), dropout(0.5)]), [4]],
};
for (const [name, make] of Object.entries(refused)) {
  test(`gradients through ${name} need a mode`, async () => {
    const [layer, shape] = make();
    const x = tensor(
      Float32Array.from({ length: 2 * shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.fround(i / 10)),
      [2, ...shape],
    );
    const w = tensor(2);
    const fn = (t) => valueAndGrad(() => mean(square(layer.call(mul(t, w)))), [w])().grads[0];
    const error = await errorOf(() => compile(fn)(x));
    assert.instance(error, LockstepError);
    assert.match(error.message, /gradients: layer ".*" does something else in training.*training: true/);
    for (const training of [true, false]) assert.ok(Number.isFinite(await (await compile(fn, { training })(x)).item()));
    await compile((t) => valueAndGrad(() => mean(square(layer.call(mul(t, w), { training: false }))), [w])().grads[0])(x);
  });
}

test("what no loss depends on needs no mode, nor does what is the same in both", async () => {
  const w = tensor(2);
  const x = tensor([[1, 2, 3, 4]]);
  const other = dropout(0.5);
  const same = [dropout(0), dense(2)];
  const frozen = batchNorm();
  frozen.trainable = false;
  const fn = compile((t) => {
    const seen = other.call(add(t, 0.5));
    const loss = mean(square(frozen.call(same.reduce((y, l) => l.call(y), mul(t, w)))));
    return [gradients(loss, [w])[0], seen];
  });
  assert.equal([...(await (await fn(x))[1].data())], [1.5, 2.5, 3.5, 4.5]);
});

test("a call's option stands over the function's, and is checked", async () => {
  const x = tensor(new Float32Array(32).fill(1), [32]);
  const layer = dropout(0.5);
  const [dropped, whole] = await compile((t) => [layer.call(t), layer.call(t, { training: false })], { training: true })(x);
  assert.ok((await dropped.data()).includes(0));
  assert.equal(await whole.data(), await x.data());
  assert.ok((await (await compile((t) => layer.call(t, { training: true }))(x)).data()).includes(0));
  assert.match((await errorOf(() => layer.call(x, { train: true }))).message, /layer "dropout": .*"train"/);
  assert.instance(await errorOf(() => compile((t) => layer.call(t, { training: 1 }))(x)), ArgumentError);
  assert.match((await errorOf(() => layer.call(x, { training: true }))).message, /compile\(fn, \{ training: true \}\)/);
  assert.equal(await layer.call(x).data(), await x.data());
  assert.instance(await errorOf(() => compile((t) => t, { train: true })), ArgumentError);
});

test("a batchNorm that one step calls twice moves its averages twice, as Keras' does", async () => {
  const norm = batchNorm({ momentum: 0.9 });
  const w = tensor(1);
  const [a, b] = [tensor([[1], [3]]), tensor([[10], [20]])];
  const step = compile(
    (x, y) => {
      const { value } = valueAndGrad(() => add(mean(norm.call(mul(x, w))), mean(norm.call(mul(y, w)))), [w])();
      return value;
    },
    { training: true },
  );
  await step(a, b);
  const [mean_, variance] = norm.weights.slice(2).map((v) => v.tensor);
  const moved = (start, values) => values.reduce((average, v) => average * 0.9 + v * 0.1, start);
  assert.ok(Math.abs((await mean_.item()) - moved(0, [2, 15])) < 1e-5);
  assert.ok(Math.abs((await variance.item()) - moved(1, [1, 25])) < 1e-5);
});

test("a model shared by two calls in fit moves the averages of its batchNorm twice", async () => {
  const norm = batchNorm({ momentum: 0.5, center: false, scale: false });
  const out = dense(1);
  const net = model((x) => out.call(add(norm.call(x), norm.call(mul(x, 2)))), { inputShape: [1] });
  await net.compile({ loss: "mse", optimizer: "sgd" });
  await net.fit(tensor([[1], [3]]), tensor([[1], [3]]), { epochs: 1, verbose: 0 });
  assert.ok(Math.abs((await norm.weights[0].tensor.item()) - ((0 * 0.5 + 2 * 0.5) * 0.5 + 4 * 0.5)) < 1e-6);
});

test("randomKey is another one at each run, in compile, in fit and in predict", async () => {
  const draw = compile(() => randomNormal(randomKey(), [3]), { seed: 1 });
  const [a, b] = [await (await draw()).data(), await (await draw()).data()];
  assert.not.equal(a, b);
  assert.equal(await (await compile(() => randomNormal(randomKey(), [3]), { seed: 1 })()).data(), a);
  const noisy = sequential([(x) => add(x, randomNormal(randomKey(), x.shape))], { inputShape: [2], seed: 4 });
  const x = tensor([[0, 0]]);
  const first = await (await noisy.predict(x)).data();
  assert.not.equal(await (await noisy.predict(x)).data(), first);
  const again = sequential([(x) => add(x, randomNormal(randomKey(), x.shape))], { inputShape: [2], seed: 4 });
  assert.equal(await (await again.predict(x)).data(), first);
  assert.instance(await errorOf(() => randomKey()), LockstepError);
});

test("randomCategorical draws classes with the probabilities of softmax", async () => {
  const [draws] = [20000];
  const logits = tensor([[Math.log(1), Math.log(2), Math.log(5), -Infinity], [0, 0, 0, 0]]);
  const y = await compile((l) => randomCategorical(randomKey(), l, draws), { seed: 2 })(logits);
  assert.equal(y.shape, [2, draws]);
  assert.is(y.dtype, "i32");
  const data = await y.data();
  [[1 / 8, 2 / 8, 5 / 8, 0], [0.25, 0.25, 0.25, 0.25]].forEach((shares, row) =>
    shares.forEach((share, k) => {
      const found = data.subarray(row * draws, (row + 1) * draws).filter((v) => v === k).length / draws;
      // 5 standard deviations of a binomial share
      assert.ok(
        Math.abs(found - share) <= 5 * Math.sqrt((share * (1 - share)) / draws),
        `row ${row}, class ${k}: ${found}, expected ${share}`,
      );
    }),
  );
  assert.match(
    (await errorOf(() => compile(() => randomCategorical(randomKey(), tensor([1, 2], [2], "i32")))())).message,
    /randomCategorical.*f32/,
  );
  assert.equal(await (await compile(() => randomCategorical(randomKey(), [[-1e9, 0], [0, -1e9]], 2))()).array(), [[1, 1], [0, 0]]);
  for (const count of [-1, 1.5, "2"])
    assert.match(
      (await errorOf(() => compile((l) => randomCategorical(randomKey(), l, count))(logits))).message,
      /randomCategorical: count/,
    );
});

test("optimizer.apply is one update outside of a traced function", async () => {
  const [w, v] = [tensor([1, 2]), tensor([1, 2])];
  const g = tensor([0.5, -1]);
  const [eager, traced] = [adam({ learningRate: 0.1 }), adam({ learningRate: 0.1 })];
  const step = compile((grad) => traced.update([v], [grad]));
  for (let i = 0; i < 3; i++) {
    await eager.apply([w], [g]);
    await step(g);
  }
  assert.equal(await w.data(), await v.data());
  assert.is(await eager.iterations.item(), 3);
  assert.match((await errorOf(() => eager.apply([w], [tensor([1, 2, 3])]))).message, /adam: expected gradients f32\[2\], got f32\[3\]/);
  assert.match(
    (
      await errorOf(() =>
        compile((t) => {
          sgd().apply([w], [t]);
        })(g),
      )
    ).message,
    /update\(\)/,
  );
  assert.equal(await w.data(), await v.data());
});

test("a gradient of a gradient that some op cannot give is refused, not taken for nothing", async () => {
  const penalty = (fn) =>
    compile((t) => {
      const inner = valueAndGrad(() => mean(square(fn(t))), [t])().grads[0];
      return valueAndGrad(() => mean(square(inner)), [t])().grads[0];
    });
  const x = tensor(Float32Array.of(1, 2, 3, 4), [1, 2, 2, 1]);
  assert.match((await errorOf(() => penalty((t) => maxPool2d(t, 2))(x))).message, /the gradient of max pooling has none of its own/);
  for (const layer of [lstm(2), gru(2), simpleRnn(2)]) {
    assert.match(
      (await errorOf(() => penalty((t) => layer.call(t, { training: false }))(tensor(new Float32Array(6).fill(0.5), [1, 3, 2])))).message,
      /gradients: the gradient of (lstm|gru|simpleRnn) has none/,
    );
  }
  // d/dx of mean((2 x / n)^2) is 8 x / n^3.
  assert.equal(
    [...(await (await penalty((t) => t)(x)).data())],
    [1, 2, 3, 4].map((v) => (8 * v) / 64),
  );
});

test.run();

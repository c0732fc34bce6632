/** Models of several outputs: a loss, a weight and metrics each, as in Keras; steps on single batches; losses with targets of any shape. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { ArgumentError, LockstepError, ShapeError } from "../../build/esm/errors.js";
import { open } from "../../build/esm/init.js";
import { model, sequential } from "../../build/esm/model/model.js";
import { loadWeights } from "../../build/esm/model/load.js";
import { batchNorm, dense, dropout, l2 } from "../../build/esm/nn/index.js";
import { mean } from "../../build/esm/ops/composite.js";
import { abs, add, mul, square, sub } from "../../build/esm/ops/map.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { reshape, slice } from "../../build/esm/ops/move.js";
import { tensor } from "../../build/esm/tensor.js";
import { adam, sgd } from "../../build/esm/train/optimizers.js";
import { asTensor, errorOf, fingerprint, network, table } from "./helpers.js";

const wasm = await open("wasm", { reproducible: true, threads: 1 });
test.after(() => wasm.close());

const near = (a, b, what) => assert.ok(Math.abs(a - b) <= 1e-5 * Math.max(1, Math.abs(b)), `${what}: ${a}, expected ${b}`);
/** y = x and 3 x as two outputs, whose layers begin with ones. */
const twice = (give, options = {}) => {
  const [a, b] = [
    dense(1, { kernelInitializer: "ones", name: "a", ...options }),
    dense(1, { kernelInitializer: () => Float32Array.of(3), name: "b" }),
  ];
  return model((x) => give(a.call(x), b.call(x)), { inputShape: [1] });
};
const x = tensor([[1], [2]]);
const [ya, yb] = [tensor([[0], [0]]), tensor([[0], [0]])];
// Squares of 1, 2 and of 3, 6: means 2.5 and 22.5; absolute values: 1.5 and 4.5.

const forms = {
  "a list": [(a, b) => [a, b], ["a", "b"], { loss: ["mse", "mae"], lossWeights: [2, 10], metrics: [["mae"], "mse"] }, [ya, yb]],
  "an object": [
    (a, b) => ({ first: a, second: b }),
    ["first", "second"],
    { loss: { first: "mse", second: "mae" }, lossWeights: { first: 2, second: 10 }, metrics: { first: "mae", second: ["mse"] } },
    { second: yb, first: ya },
  ],
};
for (const [form, [give, [first, second], options, y]] of Object.entries(forms)) {
  test(`outputs in ${form}: losses, weights, metrics and predictions are each one's own`, async () => {
    const net = twice(give);
    assert.equal(net.outputNames, [first, second]);
    assert.equal(net.outputShapes, [[1], [1]]);
    assert.instance(await errorOf(() => net.outputShape), LockstepError);
    await net.compile({ optimizer: sgd({ learningRate: 0.01 }), ...options });
    const expected = {
      loss: 2 * 2.5 + 10 * 4.5,
      [`${first}Loss`]: 2.5,
      [`${first}Mae`]: 1.5,
      [`${second}Loss`]: 4.5,
      [`${second}Mse`]: 22.5,
    };
    const result = await net.evaluate(x, y);
    assert.equal(Object.keys(result).sort(), Object.keys(expected).sort());
    for (const [name, value] of Object.entries(expected)) near(result[name], value, name);
    near((await net.evaluate(x, y, { batchSize: 1 }))[`${second}Mse`], 22.5, "in batches");
    const p = await net.predict(x, { batchSize: 1 });
    const [pa, pb] = Array.isArray(p) ? p : [p.first, p.second];
    assert.equal([...(await pa.data()), ...(await pb.data())], [1, 2, 3, 6]);

    const { history } = await net.fit(x, y, { epochs: 1, shuffle: false, validationData: [x, y], verbose: 0 });
    for (const [name, value] of Object.entries(expected)) near(history[name][0], value, `fit: ${name}`);
    assert.ok(`val${first[0].toUpperCase()}${first.slice(1)}Loss` in history);
    // d/dw of 2 mean(w^2 x^2) is 2 * 2 * 2.5 at w = 1, of 10 mean|w x| 10 * 1.5.
    near(await net.weights[0].tensor.item(), 1 - 0.01 * 10, "kernel of the first");
    near(await net.weights[2].tensor.item(), 3 - 0.01 * 15, "kernel of the second");
  });
}

test("one loss for all outputs, outputs without one, weights of samples for one or for all, and penalties once", async () => {
  const net = twice((a, b) => [a, b], { kernelRegularizer: l2(0.5) });
  await net.compile({ loss: "mse", optimizer: "sgd" });
  near((await net.evaluate(x, [ya, yb])).loss, 2.5 + 22.5 + 0.5, "one for all");
  near((await net.evaluate(x, [ya, yb], { sampleWeight: [1, 0] })).loss, 0.5 + 4.5 + 0.5, "weights for all");
  near((await net.evaluate(x, [ya, yb], { sampleWeight: [tensor([1, 0]), tensor([1, 1])] })).loss, 0.5 + 22.5 + 0.5, "weights for each");
  await net.compile({ loss: { b: "mse" }, optimizer: sgd({ learningRate: 0.01 }) });
  assert.equal(Object.keys(await net.evaluate(x, { b: yb })), ["loss", "bLoss"]);
  near((await net.fit(x, { b: yb }, { verbose: 0 })).history.bLoss[0], 22.5, "fit without a");
  near(await net.weights[0].tensor.item(), 1 - 0.01, "a is moved by its penalty alone");
  await net.fit(
    function* () {
      yield [x, { b: yb }];
      yield { xs: x, ys: [null, yb] };
    },
    { verbose: 0 },
  );
});

test("a model of several outputs within another, and its weights in files", async () => {
  const inner = twice((a, b) => ({ a, b }));
  const outer = model(
    (t) => {
      const { a, b } = inner.call(t);
      return add(a, b);
    },
    { inputShape: [1] },
  );
  assert.equal(await (await outer.predict(x)).array(), [[4], [8]]);
  const [p, q] = await compile((t) => {
    const { a, b } = inner.call(t);
    return [a, b];
  })(x);
  assert.equal([...(await p.data()), ...(await q.data())], [1, 2, 3, 6]);
  assert.match((await errorOf(() => sequential([inner, dense(1)], { inputShape: [1] }))).message, /several outputs cannot stand in a row/);
  await inner.compile({ loss: "mse", optimizer: "adam" });
  await inner.fit(x, { a: ya, b: yb }, { verbose: 0 });
  const { warn } = console;
  console.warn = () => {};
  const file = await inner.toBytes().finally(() => (console.warn = warn));
  const again = twice((a, b) => ({ a, b }));
  await loadWeights(again, file);
  assert.is(await fingerprint(again), await fingerprint(inner));
});

test("what does not fit the outputs is refused by name", async () => {
  const net = twice((a, b) => [a, b]);
  const says = async (fn, pattern, type = ArgumentError) => {
    const error = await errorOf(fn);
    assert.instance(error, type);
    assert.match(error.message, pattern);
  };
  await says(() => net.compile({ loss: ["mse"] }), /compile: loss: expected a list with one for each output, a, b, got 1/);
  await says(() => net.compile({ loss: { a: "mse", c: "mse" } }), /compile: loss: unknown output "c"/);
  await says(() => net.compile({ loss: { a: "msee" } }), /"msee"/);
  await says(() => net.compile({ loss: [null, null] }), /a loss for one output at least/);
  await says(() => net.compile({ loss: "mse", lossWeights: [1, "2"] }), /lossWeights/);
  await says(
    () => net.compile({ loss: "mse", metrics: ["mae"] }),
    /compile: metrics: expected a list with one for each output, a, b, got 1/,
  );
  await says(() => net.compile({ loss: { a: "mse" }, metrics: { b: "mae" } }), /output "b" has metrics/);
  await net.compile({ loss: "mse", optimizer: "sgd" });
  await says(() => net.fit(x, ya), /fit: y: expected a list or an object with one for each output, a, b, got f32\[2, 1\]/);
  await says(() => net.fit(x, [ya]), /one for each output, a, b, got 1/);
  await says(() => net.fit(x, { a: ya }), /output "b": its target is missing/);
  await says(() => net.fit(x, [ya, tensor([[1, 2], [3, 4]])]), /output "b": meanSquaredError expects/, ShapeError);
  await says(() => net.fit(x, [ya, yb], { classWeight: { 0: 1 } }), /classWeight is for models of one output/);
});

test("trainOnBatch is a step of fit, and tells of its batch alone", async () => {
  const { x: xs, y: ys } = table(32);
  const [fitted, stepped] = [network({ rate: 0.25 }), network({ rate: 0.25 })];
  for (const m of [fitted, stepped]) await m.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), metrics: ["mae"] });
  const part = (t, i) => ({ data: t.data.slice((i * t.data.length) / 2, ((i + 1) * t.data.length) / 2), shape: [16, t.shape[1]] });
  const { history } = await fitted.fit(xs, ys, { batchSize: 16, shuffle: false, seed: stepped.seed, verbose: 0 });
  const logs = [await stepped.trainOnBatch(part(xs, 0), part(ys, 0)), await stepped.trainOnBatch(part(xs, 1), part(ys, 1))];
  assert.is(await fingerprint(stepped), await fingerprint(fitted));
  near((logs[0].loss + logs[1].loss) / 2, history.loss[0], "loss");
  near((logs[0].mae + logs[1].mae) / 2, history.mae[0], "mae");
  const tested = await stepped.testOnBatch(xs, ys);
  near(tested.loss, (await stepped.evaluate(xs, ys)).loss, "testOnBatch");
  assert.instance(await errorOf(() => stepped.trainOnBatch(xs, ys, { epochs: 1 })), ArgumentError);
  assert.match((await errorOf(() => network().trainOnBatch(xs, ys))).message, /trainOnBatch: call compile/);
});

test("which layers train is what it was at compile, so that a discriminator can be frozen within a GAN alone", async () => {
  const d = sequential([dense(4), batchNorm(), dense(1)], { inputShape: [2] });
  const g = sequential([dense(2)], { inputShape: [2] });
  await d.compile({ loss: "mse", optimizer: "sgd" });
  d.trainable = false;
  const gan = sequential([g, d], { inputShape: [2] });
  await gan.compile({ loss: "mse", optimizer: "sgd" });
  const data = tensor([[1, 2], [3, 5]]);
  const goal = tensor([[1], [0]]);
  const prints = async () => [await fingerprint(g), await fingerprint(d)];
  const before = await prints();
  await gan.trainOnBatch(data, goal);
  const between = await prints();
  assert.not.equal(between[0], before[0]);
  assert.is(between[1], before[1], "frozen within the GAN, its averages too");
  await d.trainOnBatch(data, goal);
  const after = await prints();
  assert.is(after[0], between[0]);
  assert.not.equal(after[1], between[1]);
  const moving = await d.layers[1].weights[2].tensor.data();
  assert.ok(
    moving.some((v) => v !== 0),
    "its averages move when it trains by itself",
  );
  assert.is(d.trainable, false);
});

test("a loss of one's own takes targets of any shape", async () => {
  // Two numbers for each sample, of which the second says how much the first counts.
  const weighted = (y, p) => mul(abs(sub(slice(y, [0, 0], [y.shape[0], 1]), p)), slice(y, [0, 1], [y.shape[0], 1]));
  const net = sequential([dense(1, { kernelInitializer: "ones" })], { inputShape: [1] });
  await net.compile({ loss: weighted, optimizer: "sgd" });
  near((await net.evaluate(x, tensor([[0, 1], [0, 3]]))).loss, (1 + 6) / 2, "evaluate");
  const { history } = await net.fit(x, tensor([[0, 1], [0, 3]]), { verbose: 0 });
  near(history.loss[0], 3.5, "fit");
  // Targets [samples] of outputs [samples, 1] still are one for each.
  await net.compile({ loss: (y, p) => square(sub(y, p)), optimizer: "sgd" });
  net.setWeights([[[1]], [0]]);
  near((await net.evaluate(x, tensor([1, 2]))).loss, 0, "flat targets");
  const matrices = (y, p) => sum(mul(y, reshape(p, [p.shape[0], 1, 1])), { axis: [1, 2] });
  await net.compile({ loss: matrices, optimizer: "sgd" });
  near((await net.evaluate(x, tensor(new Float32Array(8).fill(1), [2, 2, 2]))).loss, (4 + 8) / 2, "matrices");
  assert.match((await errorOf(() => net.evaluate(x, tensor([[1], [2], [3]])))).message, /x has 2 samples, y has 3/);
});

test("a column too much in the targets of a loss of one's own does not broadcast", async () => {
  const k = dense(1, { kernelInitializer: "ones" });
  const net = model((t) => sum(k.call(t), { axis: -1 }), { inputShape: [1] });
  await net.compile({ loss: (y, p) => square(sub(y, p)), optimizer: "sgd" });
  near((await net.evaluate(tensor([[1], [2], [3]]), tensor([[1], [2], [4]]))).loss, 1 / 3, "column");
});

test.run();

/** Masks that travel from layer to layer: what a padded sequence gives is what the sequence without its padding gives. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { ArgumentError, ShapeError } from "../../build/esm/errors.js";
import { open } from "../../build/esm/init.js";
import { model, sequential } from "../../build/esm/model/model.js";
import { loadModel } from "../../build/esm/model/resume.js";
import * as nn from "../../build/esm/nn/index.js";
import { maskOf, masked } from "../../build/esm/nn/masks.js";
import { cast } from "../../build/esm/ops/map.js";
import { tensor } from "../../build/esm/tensor.js";
import { errorOf } from "../model/helpers.js";

const wasm = await open("wasm", { reproducible: true, threads: 1 });
test.after(() => wasm.close());

const near = (a, b, what) => {
  assert.is(a.length, b.length, what);
  for (let i = 0; i < a.length; i++)
    if (!(Math.abs(a[i] - b[i]) <= 1e-6)) throw new Error(`${what}: element ${i} is ${a[i]}, expected ${b[i]}`);
};
const run = async (layers, ids) => await (await sequential(layers, { inputShape: [ids[0].length] }).predict(tensor(ids))).array();

const recurrent = {
  lstm: (o) => nn.lstm(3, o),
  gru: (o) => nn.gru(3, o),
  simpleRnn: (o) => nn.simpleRnn(3, o),
  "lstm with gelu": (o) => nn.lstm(3, { activation: "gelu", ...o }),
};
for (const [name, make] of Object.entries(recurrent)) {
  test(`${name} behind embedding({ maskZero }) passes padding over, before and after the sequence`, async () => {
    const [words, read] = [nn.embedding(10, 4, { maskZero: true }), make({})];
    const [short] = await run([words, read], [[5, 7, 9]]);
    for (const ids of [[5, 7, 9, 0, 0], [0, 0, 5, 7, 9], [5, 0, 7, 0, 9]])
      near((await run([words, nn.dropout(0.5), read], [ids]))[0], short, String(ids));
  });

  test(`bidirectional(${name}) with returnSequences gives 0 at steps that do not count, in both halves`, async () => {
    const words = nn.embedding(10, 4, { maskZero: true });
    for (const mergeMode of ["concat", "sum", "ave", "mul"]) {
      const both = nn.bidirectional(make({ returnSequences: true }), { mergeMode });
      const [short] = await run([words, both], [[5, 7, 9]]);
      const zeros = new Array(short[0].length).fill(0);
      for (const ids of [[5, 7, 9, 0, 0], [0, 5, 0, 7, 9]]) {
        const [steps] = await run([words, both], [ids]);
        let next = 0;
        ids.forEach((id, t) => near(steps[t], id === 0 ? zeros : short[next++], `${mergeMode} ${ids} step ${t}`));
      }
    }
    const last = nn.bidirectional(make({}));
    near((await run([words, last], [[5, 7, 9, 0]]))[0], (await run([words, last], [[5, 7, 9]]))[0], "last");
  });
}

test("the mask goes on through stacked recurrent layers and those that keep steps apart", async () => {
  const kept = () => [
    nn.dense(4, { activation: "gelu" }),
    nn.layerNorm(),
    nn.batchNorm(),
    nn.rmsNorm(),
    nn.timeDistributed(nn.dense(3)),
    nn.activation("tanh"),
    nn.relu(),
    nn.leakyRelu(),
    nn.elu(),
    nn.prelu({ sharedAxes: [1] }),
    nn.dropout(0.5),
    nn.softmax(),
    nn.gru(3, { returnSequences: true }),
    nn.bidirectional(nn.lstm(2, { returnSequences: true })),
  ];
  const layers = [nn.embedding(10, 4, { maskZero: true }), ...kept(), nn.lstm(3)];
  near((await run(layers, [[5, 7, 9, 0, 0]]))[0], (await run(layers, [[5, 7, 9]]))[0], "stack");
});

test("masking passes over steps whose features are all the value, and makes them 0", async () => {
  const layers = [nn.masking({ maskValue: -1 }), nn.lstm(2)];
  const x = (steps) => tensor([steps]);
  const net = (length) => sequential(layers, { inputShape: [length, 2] });
  const short = await (await net(2).predict(x([[1, -1], [2, 3]]))).data();
  near(await (await net(4).predict(x([[-1, -1], [1, -1], [-1, -1], [2, 3]]))).data(), short, "lstm");
  assert.equal(await (await sequential([nn.masking({ maskValue: -1 })], { inputShape: [2, 2] }).predict(x([[-1, -1], [-1, 2]]))).array(), [
    [[0, 0], [-1, 2]],
  ]);
  assert.instance(await errorOf(() => sequential([nn.masking()], { inputShape: [2] })), ShapeError);
  assert.instance(await errorOf(() => nn.masking({ value: 1 })), ArgumentError);
});

test("globalAvgPool1d is the mean of the steps that count", async () => {
  const y = await run(
    [
      nn.embedding(10, 1, { maskZero: true, embeddingsInitializer: () => Float32Array.from({ length: 10 }, (_, i) => i) }),
      nn.globalAvgPool1d(),
    ],
    [[2, 5, 0, 0], [0, 3, 3, 9]],
  );
  near(y.flat(), [3.5, 5], "means");
});

test("a mask given to a recurrent layer is the output's too", async () => {
  const [first, second] = [nn.gru(3, { returnSequences: true }), nn.gru(2)];
  const net = (time) => model((x, m) => second.call(first.call(x, null, m)), { inputShape: [[time, 2], [time]] });
  const x = [[0.1, 0.2], [0.3, 0.4], [9, 9]];
  const padded = await (await net(3).predict([tensor([x]), tensor([[1, 1, 0]])])).data();
  near(padded, await (await net(2).predict([tensor([x.slice(0, 2)]), tensor([[1, 1]])])).data(), "gru of gru");
});

test("merge layers: a step counts where it counts in one input; all do where one input has no mask", async () => {
  const [a, b] = [nn.masking(), nn.masking()];
  const masks = await compile((x, y) => {
    const [p, q] = [a.call(x), b.call(y)];
    return [maskOf(nn.merge.add().call(p, q)), maskOf(nn.merge.concatenate().call(p, q))];
  })(tensor([[[0], [0], [1]]]), tensor([[[0], [2], [0]]]));
  for (const m of masks) assert.equal([...(await m.data())], [0, 1, 1]);
  await compile((x) => {
    assert.is(maskOf(nn.merge.multiply().call(a.call(x), x)), null);
  })(tensor([[[0], [1]]]));
});

test("batchNorm in training takes the statistics of the steps that count", async () => {
  const norm = nn.batchNorm({ momentum: 0, center: false, scale: false });
  const mask = nn.masking();
  await compile((x) => norm.call(mask.call(x)), { training: true })(tensor([[[1], [3], [0]], [[8], [0], [0]]]));
  near(await norm.weights[0].tensor.data(), [4], "mean");
  near([(await norm.weights[1].tensor.data())[0] / 10], [(9 + 1 + 16) / 3 / 10], "variance");
});

test("integers keep their mask where a layer or a model within takes them as f32", async () => {
  const marked = nn.layer({ kind: "marked", config: {}, call: (x) => masked(cast(x, "i32"), tensor([[true, false]])) });
  const x = tensor([[[2], [4]]]);
  const mean = nn.globalAvgPool1d();
  near(await (await compile((t) => mean.call(marked.call(t)))(x)).data(), [2], "a layer");
  const inner = sequential([nn.globalAvgPool1d()], { inputShape: [2, 1] });
  near(await (await compile((t) => inner.call(marked.call(t)))(x)).data(), [2], "a model");
  const own = sequential([(t) => mean.call(t)], { inputShape: [2, 1] });
  near(await (await sequential([marked, own], { inputShape: [2, 1] }).predict(x)).data(), [2], "a function in a model");
});

test("the loss is the mean over the steps that count, as Keras', with sample weights and without", async () => {
  const make = () => sequential([nn.masking(), nn.dense(1, { kernelInitializer: "ones" })], { inputShape: [3, 1] });
  const x = tensor([[[1], [2], [0]], [[3], [0], [0]]]);
  const y = tensor([[[0], [0], [5]], [[0], [5], [5]]]);
  const net = make();
  await net.compile({ loss: "mse", optimizer: "sgd" });
  near([(await net.evaluate(x, y)).loss], [(1 + 4 + 9) / 3], "evaluate");
  near([(await net.evaluate(x, y, { sampleWeight: tensor([1, 2]) })).loss], [(1 + 4 + 18) / 3], "weighted");
  const { history } = await net.fit(x, y, { verbose: 0 });
  near(history.loss, [(1 + 4 + 9) / 3], "fit");
  // d/dw mean of w^2 x^2 over three steps is 2 (1 + 4 + 9) / 3.
  near(await net.weights[0].tensor.data(), [1 - (0.01 * 2 * 14) / 3], "kernel");
  const none = make();
  await none.compile({ loss: "mse", optimizer: "sgd" });
  assert.is((await none.evaluate(tensor([[[0], [0], [0]]]), tensor([[[1], [1], [1]]]))).loss, 0);
});

test("a layer that loses the mask says so once", async () => {
  const said = [];
  const { warn } = console;
  console.warn = (text) => said.push(text);
  try {
    const net = sequential([nn.embedding(5, 2, { maskZero: true }), nn.flatten(), nn.dense(1)], { inputShape: [3] });
    await net.predict(tensor([[1, 2, 0]]));
    await net.predict(tensor([[1, 2, 0], [1, 2, 3]]));
    sequential([nn.embedding(5, 2, { maskZero: true }), nn.globalAvgPool1d(), nn.dense(1)], { inputShape: [3] });
  } finally {
    console.warn = warn;
  }
  assert.is(said.length, 1);
  assert.match(said[0], /layer "flatten" does not hand on the mask/);
});

test("maskZero and masking are saved, also within models within models", async () => {
  const net = sequential([sequential([nn.embedding(10, 3, { maskZero: true })]), nn.masking(), nn.lstm(2)], { inputShape: [4] });
  const x = tensor([[5, 7, 0, 0]]);
  const again = await loadModel(await net.toBytes());
  assert.equal(await (await again.predict(x)).data(), await (await net.predict(x)).data());
  near(await (await sequential(again.layers, { inputShape: [4] }).predict(x)).data(), await (await net.predict(x)).data(), "layers");
});

test("timeDistributed hands the mask of words in sentences to its layer, and says which sentences count", async () => {
  const words = nn.embedding(9, 3, { maskZero: true });
  const each = nn.lstm(2);
  const net = (length) => sequential([words, nn.timeDistributed(each)], { inputShape: [2, length] });
  const [[long]] = [await (await net(4).predict(tensor([[[3, 5, 0, 0], [1, 0, 0, 0]]]))).array()];
  near(long[0], (await (await net(2).predict(tensor([[[3, 5], [1, 1]]]))).array())[0][0], "first");
  near(long[1], (await (await net(1).predict(tensor([[[1], [1]]]))).array())[0][0], "second");
  const masks = await compile((ids) => [
    maskOf(nn.timeDistributed(nn.lstm(2)).call(words.call(ids))),
    maskOf(nn.timeDistributed(nn.gru(2, { returnSequences: true })).call(words.call(ids))),
  ])(tensor([[[3, 5], [1, 0], [0, 0]]], undefined, "i32"));
  assert.equal(await masks[0].array(), [[1, 1, 0]]);
  assert.equal(await masks[1].array(), [[[1, 1], [1, 0], [0, 0]]]);
});

test("concatenate along time joins masks, of words in sentences too, and all of an input without one counts", async () => {
  for (const [shape, mask] of [
    [[1, 2, 1], [[1, 0]]],
    [[1, 2, 2, 1], [[[1, 0], [0, 0]]]],
  ]) {
    const x = tensor(new Float32Array(shape.reduce((a, b) => a * b)), shape);
    const more = compile((a, b) => {
      const known = masked(a, cast(tensor(mask), "bool"));
      return cast(maskOf(nn.merge.concatenate({ axis: 1 }).call(known, b)), "i32");
    });
    const [rows] = await (await more(x, x)).array();
    assert.equal(rows, [...mask[0], ...mask[0].map((m) => (Array.isArray(m) ? m.map(() => 1) : 1))]);
  }
});

test.run();

/** Bad input: a typed error that says who, what was expected, what came; and not one weight has changed. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, DataError, LockstepError, ShapeError } from "../../build/esm/errors.js";
import { open } from "../../build/esm/init.js";
import { model, sequential } from "../../build/esm/model/model.js";
import { conv2d, dense, dropout, embedding, flatten, lstm, merge } from "../../build/esm/nn/index.js";
import { mean } from "../../build/esm/ops/composite.js";
import { square, sub } from "../../build/esm/ops/map.js";
import { tensor, zeros } from "../../build/esm/tensor.js";
import { earlyStopping } from "../../build/esm/train/callbacks.js";
import { meanSquaredError } from "../../build/esm/train/losses.js";
import { adam, sgd } from "../../build/esm/train/optimizers.js";
import { asTensor, errorOf, fingerprint, network, rows, table } from "./helpers.js";

const backend = await open("wasm", { reproducible: true });
const data = table(20);
const quiet = { verbose: 0 };
const spoiled = (value, at) => {
  const copy = data.x.data.slice();
  copy[at] = value;
  return { data: copy, shape: data.x.shape };
};

async function regression() {
  const m = network();
  await m.compile({ loss: "mse", optimizer: "adam", backend });
  await m.fit(data.x, data.y, quiet);
  return m;
}

async function classifier(loss = "sparseCategoricalCrossentropy") {
  const m = sequential([dense(3, { activation: "softmax" })], { inputShape: [4] });
  await m.compile({ loss, optimizer: "adam", backend });
  return m;
}

/** Reads the same indices through two embeddings, of 9 and 5 vectors. */
async function reader() {
  const [large, small, sum] = [embedding(9, 3), embedding(5, 3), merge.add()];
  const m = model((x) => sum.call(large.call(x), small.call(x)), { inputShape: [2] });
  await m.compile({ loss: "mse", backend });
  return m;
}

/** An embedding of 9 vectors that a function calls. */
function nested() {
  const inner = embedding(9, 3);
  return sequential([(x) => inner.call(x)], { inputShape: [2] });
}

const classes = (change = {}) => ({
  data: Object.assign(
    Float32Array.from({ length: 20 }, (_, i) => i % 3),
    change,
  ),
  shape: [20],
});

/** Each: what it is, the model, what is done with it, the error's class, and what its message must hold. */
const CASES = [
  ["x of the wrong width", regression, (m) => m.fit(zeros([20, 5]), data.y, quiet), ShapeError, ["fit", "[null, 4]", "[20, 5]"]],
  ["x of the wrong rank", regression, (m) => m.fit(zeros([20, 4, 1]), data.y, quiet), ShapeError, ["fit", "[null, 4]", "[20, 4, 1]"]],
  ["a single sample", regression, (m) => m.predict(zeros([4])), ShapeError, ["predict", "[null, 4]", "[4]", "first dimension of 1"]],
  ["predict of the wrong shape", regression, (m) => m.predict([[1, 2, 3]]), ShapeError, ["predict", "[null, 4]", "[1, 3]"]],
  ["evaluate of the wrong shape", regression, (m) => m.evaluate(zeros([20, 5]), data.y), ShapeError, ["evaluate", "[null, 4]", "[20, 5]"]],
  ["a typed array without shape", regression, (m) => m.fit(data.x.data, data.y, quiet), ShapeError, ["fit", "[null, 4]", "[80]"]],
  ["ragged rows", regression, (m) => m.fit([[1, 2, 3, 4], [1, 2, 3]], [[1], [2]], quiet), ShapeError, ["equally long", "4", "3"]],
  ["no number", regression, (m) => m.fit([[1, 2, "three", 4]], [[1]], quiet), DataError, ["expected a number", "three"]],
  ["null for x", regression, (m) => m.fit(null, data.y, quiet), ArgumentError, ["null"]],
  ["null for y", regression, (m) => m.fit(data.x, null, quiet), ArgumentError, ["fit: targets y are missing", "null", "behind x"]],
  [
    "null for y in a batch",
    regression,
    (m) => m.fit([[data.x, null]].values(), quiet),
    ArgumentError,
    ["fit: targets y are missing", "null"],
  ],
  ["y missing", regression, (m) => m.fit(data.x, undefined, quiet), ArgumentError, ["fit", "y"]],
  [
    "y of the wrong shape",
    regression,
    (m) => m.fit(data.x, zeros([20, 2]), quiet),
    ShapeError,
    ["fit", "meanSquaredError", "[null, 1]", "[20, 2]"],
  ],
  [
    "y with other dimensions of the same size",
    async () => {
      const m = sequential([dense(3)], { inputShape: [2, 4] });
      await m.compile({ loss: "mse", backend });
      return m;
    },
    (m) => m.fit(zeros([5, 2, 4]), zeros([5, 3, 2]), quiet),
    ShapeError,
    ["[null, 2, 3]", "[5, 3, 2]"],
  ],
  ["fewer y than x", regression, (m) => m.fit(data.x, zeros([19, 1]), quiet), DataError, ["fit", "20 samples", "19"]],
  ["empty data", regression, (m) => m.fit(zeros([0, 4]), zeros([0, 1]), quiet), DataError, ["fit", "empty", "[0, 4]"]],
  ["an empty list", regression, (m) => m.predict([]), DataError, ["predict", "empty"]],
  ["NaN in x", regression, (m) => m.fit(spoiled(NaN, 22), data.y, quiet), DataError, ["fit", "finite", "NaN", "sample 5", "element 22"]],
  ["infinity in x", regression, (m) => m.predict(spoiled(-Infinity, 3)), DataError, ["predict", "-Infinity", "sample 0"]],
  [
    "NaN in y",
    regression,
    (m) => m.fit(data.x, { data: new Float32Array(20).fill(NaN), shape: [20, 1] }, quiet),
    DataError,
    ["fit: y", "NaN"],
  ],
  [
    "NaN in validation data",
    regression,
    (m) => m.fit(data.x, data.y, { validationData: [spoiled(NaN, 0), data.y], ...quiet }),
    DataError,
    ["validationData", "NaN"],
  ],
  [
    "NaN in sample weights",
    regression,
    (m) => m.fit(data.x, data.y, { sampleWeight: new Float32Array(20).fill(NaN), ...quiet }),
    DataError,
    ["sampleWeight", "NaN"],
  ],
  [
    "too few sample weights",
    regression,
    (m) => m.fit(data.x, data.y, { sampleWeight: new Float32Array(19), ...quiet }),
    ShapeError,
    ["sampleWeight", "20", "[19]"],
  ],
  ["batchSize 0", regression, (m) => m.fit(data.x, data.y, { batchSize: 0, ...quiet }), ArgumentError, ["batchSize", "0"]],
  ["batchSize 1.5 for predict", regression, (m) => m.predict(data.x, { batchSize: 1.5 }), ArgumentError, ["predict", "batchSize", "1.5"]],
  ["epochs 0", regression, (m) => m.fit(data.x, data.y, { epochs: 0, ...quiet }), ArgumentError, ["epochs", "0"]],
  [
    "validationSplit 1",
    regression,
    (m) => m.fit(data.x, data.y, { validationSplit: 1, ...quiet }),
    ArgumentError,
    ["validationSplit", "1"],
  ],
  [
    "a validationSplit that leaves nothing",
    regression,
    (m) => m.fit(rows(data.x, 0, 1), rows(data.y, 0, 1), { validationSplit: 0.5, ...quiet }),
    DataError,
    ["validationSplit 0.5", "1 samples", "train"],
  ],
  ["a seed that is no integer", regression, (m) => m.fit(data.x, data.y, { seed: 0.5, ...quiet }), ArgumentError, ["seed", "0.5"]],
  [
    "an unknown option of fit",
    regression,
    (m) => m.fit(data.x, data.y, { batch_size: 4, ...quiet }),
    ArgumentError,
    ["fit", "batch_size", "batchSize"],
  ],
  [
    "an unknown option of evaluate",
    regression,
    (m) => m.evaluate(data.x, data.y, { batchsize: 4 }),
    ArgumentError,
    ["evaluate", "batchsize", "batchSize"],
  ],
  ["an unknown option of predict", regression, (m) => m.predict(data.x, { batch: 4 }), ArgumentError, ["predict", '"batch"', "batchSize"]],
  [
    "an unknown option of compile",
    regression,
    (m) => m.compile({ loss: "mse", optimiser: "adam" }),
    ArgumentError,
    ["compile", "optimiser", "optimizer"],
  ],
  [
    "a validationSplit that is text",
    regression,
    (m) => m.fit(data.x, data.y, { validationSplit: "0.2", ...quiet }),
    ArgumentError,
    ["validationSplit", '"0.2"'],
  ],
  [
    "validationData that is no list",
    regression,
    (m) => m.fit(data.x, data.y, { validationData: data, ...quiet }),
    ArgumentError,
    ["validationData", "[x, y]"],
  ],
  [
    "a shuffle that is text",
    regression,
    (m) => m.fit(data.x, data.y, { shuffle: "batch", ...quiet }),
    ArgumentError,
    ["shuffle", "true or false"],
  ],
  ["a stream that cannot be written to", regression, (m) => m.fit(data.x, data.y, { stream: 5 }), ArgumentError, ["stream", "write"]],
  ["a file of Keras", regression, (m) => m.save("model.keras"), ArgumentError, ["model.keras", "saveKeras"]],
  ["an unknown verbose", regression, (m) => m.fit(data.x, data.y, { verbose: "no" }), ArgumentError, ["verbose", '"no"']],
  [
    "a callback that is null",
    regression,
    (m) => m.fit(data.x, data.y, { callbacks: [null], ...quiet }),
    ArgumentError,
    ["callbacks[0]", "null"],
  ],
  [
    "a callback that has not been called",
    regression,
    (m) => m.fit(data.x, data.y, { callbacks: [{ onEpochEnd() {} }, earlyStopping], ...quiet }),
    ArgumentError,
    ["callbacks[1]", "earlyStopping()"],
  ],
  [
    "a callback with a misspelled method",
    regression,
    (m) => m.fit(data.x, data.y, { callbacks: [{ onEpochend() {} }], ...quiet }),
    ArgumentError,
    ["onEpochend", 'did you mean "onEpochEnd"'],
  ],
  [
    "a callback with a method as Keras writes it",
    regression,
    (m) => m.fit(data.x, data.y, { callbacks: [{ on_epoch_end() {} }], ...quiet }),
    ArgumentError,
    ["on_epoch_end", 'did you mean "onEpochEnd"'],
  ],
  [
    "a callback without methods",
    regression,
    (m) => m.fit(data.x, data.y, { callbacks: [{}], ...quiet }),
    ArgumentError,
    ["callbacks[0]", "onEpochEnd"],
  ],
  [
    "a class weight that is NaN",
    classifier,
    (m) => m.fit(data.x, classes(), { classWeight: { 0: NaN }, ...quiet }),
    ArgumentError,
    ["classWeight", "class 0", "NaN"],
  ],
  [
    "a class weight for a name",
    classifier,
    (m) => m.fit(data.x, classes(), { classWeight: { cat: 2 }, ...quiet }),
    ArgumentError,
    ["classWeight", '"cat"'],
  ],
  [
    "class weights in a Map",
    classifier,
    (m) => m.fit(data.x, classes(), { classWeight: new Map([[0, 2]]), ...quiet }),
    ArgumentError,
    ["classWeight", "Map"],
  ],
  [
    "a loss without its parentheses",
    regression,
    (m) => m.compile({ loss: meanSquaredError, backend }),
    ArgumentError,
    ["loss", "meanSquaredError()"],
  ],
  [
    "an optimizer without its parentheses",
    regression,
    (m) => m.compile({ loss: "mse", optimizer: adam, backend }),
    ArgumentError,
    ["optimizer", "adam()"],
  ],
  ["predict with options that are null", regression, (m) => m.predict(data.x, null), ArgumentError, ["predict", "null"]],
  ["weights that are no list", regression, (m) => m.setWeights(null), ArgumentError, ["setWeights", "null"]],
  [
    "an index that an embedding does not have",
    reader,
    (m) => m.predict(tensor(Int32Array.of(0, 1, 4, 5), [2, 2])),
    DataError,
    ["predict", "0 to 4", "5", "sample 1", "inputDim"],
  ],
  [
    "a negative index",
    reader,
    (m) => m.fit(tensor(Int32Array.of(0, -1), [1, 2]), zeros([1, 2, 3]), quiet),
    DataError,
    ["fit", "0 to 4", "-1"],
  ],
  ["an index that is no integer", reader, (m) => m.evaluate([[0.5, 1]], zeros([1, 2, 3])), DataError, ["evaluate", "0 to 4", "0.5"]],
  [
    "an index in a batch of an iterable",
    reader,
    (m) => m.fit([[tensor(Int32Array.of(7, 0), [1, 2]), zeros([1, 2, 3])]].values(), quiet),
    DataError,
    ["fit", "0 to 4", "7"],
  ],
  [
    "an index for an embedding in a function of one's own",
    () => nested(),
    (m) => m.predict([[0, 9]]),
    DataError,
    ["predict", "0 to 8", "9"],
  ],
  ["callbacks that are no list", regression, (m) => m.fit(data.x, data.y, { callbacks: {}, ...quiet }), ArgumentError, ["callbacks"]],
  [
    "an option that an iterable cannot have",
    regression,
    (m) => m.fit([[data.x, data.y]].values(), { batchSize: 4, ...quiet }),
    ArgumentError,
    ["batchSize", "iterable"],
  ],
  ["an empty iterable", regression, (m) => m.fit([].values(), quiet), DataError, ["no batch", "epoch 1"]],
  [
    "a wrong first batch",
    regression,
    (m) => m.fit([[zeros([3, 5]), zeros([3, 1])]].values(), quiet),
    ShapeError,
    ["fit", "[null, 4]", "[3, 5]"],
  ],
  [
    "an unknown loss",
    regression,
    (m) => m.compile({ loss: "mean_squared_error" }),
    ArgumentError,
    ["loss", "mean_squared_error", "meanSquaredError"],
  ],
  ["no loss", regression, (m) => m.compile({}), ArgumentError, ["loss"]],
  ["an unknown optimizer", regression, (m) => m.compile({ loss: "mse", optimizer: "Adam" }), ArgumentError, ["optimizer", "Adam", "adam"]],
  [
    "an unknown metric",
    regression,
    (m) => m.compile({ loss: "mse", metrics: ["acuracy"] }),
    ArgumentError,
    ["metrics", "acuracy", "accuracy"],
  ],
  ["metrics that are no list", regression, (m) => m.compile({ loss: "mse", metrics: "accuracy" }), ArgumentError, ["metrics", "list"]],
  ["a metric twice", regression, (m) => m.compile({ loss: "mse", metrics: ["mae", "mae"] }), ArgumentError, ["mae"]],
  ["an unknown backend", regression, (m) => m.compile({ loss: "mse", backend: "cuda" }), ArgumentError, ["backend", "cuda"]],
  ["a learning rate below 0", regression, () => adam({ learningRate: -1 }), ArgumentError, ["adam", "learningRate", "-1"]],
  ["two ways to clip", regression, () => sgd({ clipNorm: 1, clipValue: 1 }), ArgumentError, ["sgd", "clipNorm", "clipValue"]],
  ["a label out of range", classifier, (m) => m.fit(data.x, classes({ 7: 3 }), quiet), DataError, ["0 to 2", "3", "element 7"]],
  ["a negative label", classifier, (m) => m.evaluate(data.x, classes({ 0: -1 })), DataError, ["0 to 2", "-1", "element 0"]],
  ["a label that is no integer", classifier, (m) => m.fit(data.x, classes({ 2: 0.5 }), quiet), DataError, ["0 to 2", "0.5"]],
  [
    "one-hot labels for the sparse loss",
    classifier,
    (m) => m.fit(data.x, zeros([20, 3]), quiet),
    ShapeError,
    ["categoricalCrossentropy", "[20, 3]"],
  ],
  [
    "class numbers for the categorical loss",
    () => classifier("categoricalCrossentropy"),
    (m) => m.fit(data.x, classes(), quiet),
    ShapeError,
    ["sparseCategoricalCrossentropy", "[null, 3]", "[20]"],
  ],
  [
    "a target above 1 for a cross-entropy",
    () => classifier("categoricalCrossentropy"),
    (m) => m.fit(data.x, { data: new Float32Array(60).fill(2), shape: [20, 3] }, quiet),
    DataError,
    ["between 0 and 1", "2"],
  ],
  [
    "a loss that returns no tensor",
    regression,
    async (m) => {
      await m.compile({ loss: () => 1, backend });
      await m.fit(data.x, data.y, quiet);
    },
    LockstepError,
    ["loss", "tensor"],
  ],
  [
    "sample weights for a loss that is a scalar",
    async () => {
      const m = network();
      await m.compile({ loss: (y, p) => mean(square(sub(y, p))), backend });
      return m;
    },
    (m) => m.fit(data.x, data.y, { sampleWeight: new Float32Array(20), ...quiet }),
    ShapeError,
    ["loss", "one value for each sample", "sample weights", "a scalar", "axis: -1"],
  ],
  ["too few weights", regression, (m) => m.setWeights([zeros([4, 8])]), ShapeError, ["setWeights", "4", "1"]],
  [
    "a weight of the wrong shape",
    regression,
    async (m) => {
      const [first, second, third] = await m.getWeights();
      m.setWeights([first, second, third, zeros([2])].map((t, i) => (i === 0 ? zeros(first.shape) : t)));
    },
    ShapeError,
    ["setWeights", "dense_1/bias", "[1]", "[2]"],
  ],
];

for (const [what, make, act, type, parts] of CASES) {
  test(what, async () => {
    const m = await make();
    const before = await fingerprint(m);
    const error = await errorOf(() => act(m));
    assert.instance(error, type, `${error.name}: ${error.message}`);
    for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
    assert.is(await fingerprint(m), before);
  });
}

test("after every failed call of compile, fit and predict a model goes on as before", async () => {
  const [m, untouched] = [await regression(), await regression()];
  for (const [, make, act] of CASES.filter(([what]) => !what.includes("returns no tensor")))
    if (make === regression) await errorOf(() => act(m));
  for (const each of [m, untouched]) each.setWeights(await network({ seed: 5 }).getWeights());
  await m.fit(data.x, data.y, { epochs: 2, ...quiet });
  await untouched.fit(data.x, data.y, { epochs: 2, ...quiet });
  assert.is(await fingerprint(m), await fingerprint(untouched));
});

test("an optimizer that went to another model, until the first has one of its own again", async () => {
  const optimizer = adam();
  const [first, second] = [network({ name: "first" }), network({ name: "second" })];
  for (const m of [first, second]) await m.compile({ loss: "mse", optimizer, backend });
  const before = await fingerprint(first);
  const error = await errorOf(() => first.fit(data.x, data.y, quiet));
  assert.instance(error, LockstepError);
  for (const part of ["fit", '"first"', '"second"', "compile"]) assert.ok(error.message.includes(part), error.message);
  assert.is(await fingerprint(first), before);
  await second.fit(data.x, data.y, quiet);
  await first.compile({ loss: "mse", optimizer: adam(), backend });
  await first.fit(data.x, data.y, quiet);
  assert.is(await fingerprint(first), await fingerprint(second));
});

/** What cannot be built, and what its error says. */
const BUILDS = [
  ["an unknown option of a layer", () => dense(4, { activaton: "relu" }), ArgumentError, ["dense", "activaton", "activation"]],
  ["an unknown activation", () => dense(4, { activation: "rleu" }), ArgumentError, ["dense", "rleu", "relu"]],
  ["an unknown initializer", () => dense(4, { kernelInitializer: "xavier" }), ArgumentError, ["dense", "xavier", "glorotUniform"]],
  ["units 0", () => dense(0), ArgumentError, ["dense", "units", "0"]],
  ["a dropout rate above 1", () => dropout(1.5), ArgumentError, ["dropout", "rate", "1.5"]],
  [
    "a layer that does not fit the one before",
    () => sequential([dense(4), conv2d(2, 3)], { inputShape: [8] }),
    ShapeError,
    ['layer "conv2d"', "[1, 4]"],
  ],
  [
    "a window larger than the image",
    () => sequential([conv2d(2, 3, { name: "first" }), conv2d(2, 5, { name: "second" })], { inputShape: [6, 6, 1] }),
    ShapeError,
    ['layer "second"', "5", "4"],
  ],
  ["a recurrent layer over flat data", () => sequential([flatten(), lstm(4)], { inputShape: [8] }), ShapeError, ['layer "lstm"', "[1, 8]"]],
  ["branches that do not fit", () => model((a, b) => merge.add().call(a, b), { inputShape: [[3], [4]] }), ShapeError, ["add", "3", "4"]],
  ["a negative dimension", () => sequential([dense(1)], { inputShape: [-4] }), ShapeError, ["inputShape", "[-4]"]],
  ["no layers", () => sequential([]), ArgumentError, ["sequential", "at least one layer"]],
  ["what is no layer", () => sequential([dense(1), 5]), ArgumentError, ["sequential", "item 1", "number"]],
  ["two layers of one name", () => sequential([dense(1, { name: "a" }), dense(1, { name: "a" })]), ArgumentError, ['"a"']],
  ["a function that returns no tensor", () => sequential([() => 3], { inputShape: [1] }), ArgumentError, ["function", "tensor", "number"]],
  ["a seed that is no integer", () => sequential([dense(1)], { seed: 1.5 }), ArgumentError, ["seed", "1.5"]],
  ["fit before compile", () => network().fit(data.x, data.y), LockstepError, ["fit", "compile"]],
  ["evaluate before compile", () => network().evaluate(data.x, data.y), LockstepError, ["evaluate", "compile"]],
  ["outputShape before building", () => sequential([dense(1)]).outputShape, LockstepError, ["not built", "inputShape"]],
  [
    "one input for two",
    async () => {
      const add = merge.add();
      await model((a, b) => add.call(a, b), { inputShape: [[1], [1]] }).predict([zeros([2, 1])]);
    },
    ShapeError,
    ["predict", "2 inputs", "got 1"],
  ],
];

for (const [what, act, type, parts] of BUILDS) {
  test(what, async () => {
    const error = await errorOf(act);
    assert.instance(error, type, `${error.name}: ${error.message}`);
    for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
  });
}

test("inputs of unequal length", async () => {
  const add = merge.add();
  const m = model((a, b) => add.call(a, b), { inputShape: [[1], [1]] });
  const error = await errorOf(() => m.predict([zeros([2, 1]), zeros([3, 1])]));
  assert.instance(error, DataError);
  assert.match(error.message, /x\[0\] has 2 samples, x\[1\] has 3/);
});

test("a tensor is looked through again after set()", async () => {
  const m = await regression();
  const x = asTensor({ data: data.x.data.slice(), shape: data.x.shape });
  await m.fit(x, data.y, quiet);
  x.set(spoiled(NaN, 0).data);
  assert.instance(await errorOf(() => m.fit(x, data.y, quiet)), DataError);
});

test("tensors that were disposed", async () => {
  const x = asTensor(data.x);
  x.dispose();
  assert.match((await errorOf(() => network().predict(x))).message, /disposed/);
});

test.after(() => backend.close());
test.run();

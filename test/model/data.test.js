/** What fit, evaluate, predict and adapt take as data, and what they say of everything else. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { trainTestSplit } from "../../build/esm/data/index.js";
import { ArgumentError, DataError, DTypeError, ShapeError } from "../../build/esm/errors.js";
import { open } from "../../build/esm/init.js";
import { sequential } from "../../build/esm/model/model.js";
import { dense, embedding, flatten, normalization } from "../../build/esm/nn/index.js";
import { toTensor } from "../../build/esm/samples.js";
import { tensor } from "../../build/esm/tensor.js";
import { earlyStopping } from "../../build/esm/train/callbacks.js";
import { sgd } from "../../build/esm/train/optimizers.js";
import { batches, errorOf, fingerprint, network, rows, table } from "./helpers.js";

const backend = await open("wasm", { reproducible: true });
const data = table(45);
const quiet = { verbose: 0 };
const nestedOf = ({ data: d, shape: [n, ...rest] }) =>
  Array.from({ length: n }, (_, i) => Array.from(d.slice(i * rest[0], (i + 1) * rest[0])));
const typedRowsOf = ({ data: d, shape: [n, width] }) => Array.from({ length: n }, (_, i) => d.slice(i * width, (i + 1) * width));

async function compiled(options = {}) {
  const m = network();
  await m.compile({ loss: "mse", optimizer: "adam", metrics: ["mae"], backend, ...options });
  return m;
}

test("every form of the same data trains, evaluates and predicts the same", async () => {
  const forms = [
    ["tensors", (d) => tensor(d.data, d.shape)],
    ["nested arrays", nestedOf],
    ["rows as typed arrays", typedRowsOf],
    ["elements and shape", (d) => d],
    ["plain elements and shape", (d) => ({ data: Array.from(d.data), shape: d.shape })],
    ["doubles", (d) => ({ data: Float64Array.from(d.data), shape: d.shape })],
  ];
  const seen = new Set();
  for (const [name, form] of forms) {
    const m = await compiled();
    const [x, y] = [form(data.x), form(data.y)];
    const { history } = await m.fit(x, y, {
      epochs: 2,
      sampleWeight: form({ data: new Float32Array(45).fill(0.5), shape: [45, 1] }),
      validationData: [x, y],
      ...quiet,
    });
    seen.add(JSON.stringify([await fingerprint(m), history, await m.evaluate(x, y), Array.from(await (await m.predict(x)).data())]));
    assert.is(seen.size, 1, name);
  }
});

test("what trainTestSplit returns is taken by fit, evaluate, predict and adapt", async () => {
  const { xTrain, yTrain, xTest, yTest } = trainTestSplit(data.x, data.y, { seed: 2 });
  const scale = normalization();
  await scale.adapt(xTrain);
  const mean = [0, 1, 2, 3].map((k) => Array.from({ length: 36 }, (_, i) => xTrain.data[i * 4 + k]).reduce((a, b) => a + b) / 36);
  scale.config.mean.forEach((m, k) => assert.ok(Math.abs(m - mean[k]) < 1e-12));
  for (const form of [(d) => tensor(d.data, d.shape), typedRowsOf, (d) => ({ data: Float64Array.from(d.data), shape: d.shape })]) {
    const other = normalization();
    await other.adapt(form(xTrain));
    assert.equal(other.config.mean, scale.config.mean);
    assert.equal(other.config.variance, scale.config.variance);
  }
  const m = sequential([scale, dense(1)], { inputShape: [4] });
  await m.compile({ loss: "mse", backend });
  await m.fit(xTrain, yTrain, { validationData: [xTest, yTest], ...quiet });
  assert.ok(Number.isFinite((await m.evaluate(xTest, yTest)).loss));
  assert.equal((await m.predict(xTest)).shape, [9, 1]);
  assert.match((await errorOf(() => normalization().adapt(Promise.resolve(xTrain)))).message, /normalization: adapt: .*await it/);
  assert.match(
    (await errorOf(() => normalization().adapt({ data: new Float64Array(5), shape: [2, 3] }))).message,
    /shape \[2, 3\] has 6 elements, the data has 5/,
  );
});

test("dtypes of nested arrays", () => {
  const of = (d) => toTensor("x", d);
  const cases = [
    [[1, 2], "f32[2]"],
    [[[1.5], [2]], "f32[2, 1]"],
    [[true, false], "bool[2]"],
    [[true, 2], "f32[2]"],
    [[Float32Array.of(1, 2), Float32Array.of(3, 4)], "f32[2, 2]"],
    [[[Float32Array.of(1, 2)], [Float32Array.of(3, 4)]], "f32[2, 1, 2]"],
    [[Float64Array.of(1, 2), [3, 4]], "f32[2, 2]"],
    [[Int32Array.of(1, 2)], "i32[1, 2]"],
    [[], "f32[0]"],
    [[[], []], "f32[2, 0]"],
    [Float64Array.of(1, 0.1), "f32[2]"],
    [[Float64Array.of(1, 0.1)], "f32[1, 2]"],
    [new Float64Array(0), "f32[0]"],
    [Uint8Array.of(1), "i32:u8[1]"],
    [[1, 16777216], "f32[2]"],
    [[1, 16777217], "i32[2]"],
    [[0.5, 16777217], "f32[2]"],
    [[1, 2 ** 40 + 1], "f32[2]"],
  ];
  for (const [d, type] of cases) assert.is(String(of(d)), type, JSON.stringify(d));
  assert.equal(of([[Float32Array.of(1, 2)], [Float32Array.of(3, 4)]]).host, Float32Array.of(1, 2, 3, 4));
  assert.equal(of([[true, false], [false, true]]).host, Uint32Array.of(1, 0, 0, 1));
});

test("indices and class numbers above 2^24 in nested arrays stay what they are", async () => {
  const n = 2 ** 24 + 2;
  assert.equal(toTensor("x", [[16777217], [3]]).host, Int32Array.of(16777217, 3));
  for (const given of [[16777217, 3], Float64Array.of(16777217, 3)]) {
    assert.equal(toTensor("x", { data: given, shape: [2, 1] }).host, Int32Array.of(16777217, 3));
    assert.equal(toTensor("x", [given]).host, Int32Array.of(16777217, 3));
    assert.equal(toTensor("x", given).host, Int32Array.of(16777217, 3));
  }
  const table = new Float32Array(n);
  table[16777216] = 1;
  table[16777217] = 2;
  const m = sequential([embedding(n, 1), flatten()], { inputShape: [1] });
  m.setWeights([tensor(table, [n, 1])]);
  assert.equal(await (await m.predict([[16777217]])).array(), [[2]]);
  assert.equal(await (await m.predict([[16777216]])).array(), [[1]]);
  assert.match((await errorOf(() => m.predict([[16777219]]))).message, /indices 0 to 16777217, got 16777219/);
  const classes = sequential([dense(3, { activation: "softmax" })], { inputShape: [1] });
  await classes.compile({ loss: "sparseCategoricalCrossentropy" });
  assert.match((await errorOf(() => classes.fit([[1]], [16777219], { verbose: 0 }))).message, /class numbers 0 to 2, got 16777219/);
});

test("setWeights takes numbers and integers of any size, as the f32 that weights are", async () => {
  const m = sequential([dense(1)], { inputShape: [1] });
  for (const [kernel, bias] of [[[[16777219]], [true]], [Float64Array.of(16777219), Uint8Array.of(1)], [Int32Array.of(16777219), [1]]]) {
    m.setWeights([kernel, bias]);
    assert.equal(
      (await Promise.all((await m.getWeights()).map((t) => t.data()))).map(([v]) => v),
      [16777220, 1],
    );
  }
});

const circular = [[1, 2, 3, 4]];
circular.push(circular);
class DataFrame {
  columns = ["a"];
  values = [[1]];
}
const tfTensor = { shape: [1, 4], dtype: "float32", data: async () => Float32Array.of(1, 2, 3, 4), dataSync() {} };
/** What, as x, and what the error says. */
const WRONG = [
  ["an object of columns", { a: [1], b: [2] }, ArgumentError, ["an object with a, b", "nested arrays", "{ data, shape }"]],
  ["{ xs, ys }", { xs: [[1, 2, 3, 4]], ys: [[1]] }, ArgumentError, ["xs and ys as two arguments"]],
  ["a Map", new Map([[[1, 2, 3, 4], [1]]]), ArgumentError, ["a Map"]],
  ["a Set", new Set([[1, 2, 3, 4]]), ArgumentError, ["a Set"]],
  ["text", "1,2,3,4", ArgumentError, ['got "1,2,3,4"']],
  ["a promise", Promise.resolve([[1, 2, 3, 4]]), ArgumentError, ["a Promise; await it"]],
  ["a data frame", new DataFrame(), ArgumentError, ["a DataFrame with columns, values", "nested arrays"]],
  ["a date", new Date(0), ArgumentError, ["a Date"]],
  ["a tensor of another library", tfTensor, ArgumentError, ["await t.data()", "t.shape"]],
  ["undefined", undefined, ArgumentError, ["undefined"]],
  ["a bigint", 5n, ArgumentError, ["bigint"]],
  ["a DataView", new DataView(new ArrayBuffer(16)), ArgumentError, ["a DataView"]],
  ["rows as objects", [{ a: 1 }, { a: 2 }], DataError, ["[0]", "an object with a"]],
  ["text in a row", [[1, 2, 3, 4], [1, 2, "3", 4]], DataError, ["[1][2]", 'got "3"']],
  ["a hole", [[1, 2, , 4]], DataError, ["[0][2]", "undefined"]],
  ["null in a row", [[1, 2, null, 4]], DataError, ["[0][2]", "null"]],
  ["a number among rows", [[1, 2, 3, 4], 5], ShapeError, ["expected 4 items at [1], got number"]],
  ["a row among numbers", [1, [2]], DataError, ["[1]", "expected a number"]],
  ["a short row", [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3]], ShapeError, ["equally long: expected 4 items at [2], got 3", "padSequences"]],
  ["a short row inside", [[[1, 2], [3, 4]], [[1, 2], [3]]], ShapeError, ["expected 2 items at [1][1], got 1"]],
  ["a typed row that is short", [Float32Array.of(1, 2), Float32Array.of(3)], ShapeError, ["expected 2 items at [1], got 1"]],
  ["promises in rows", [Promise.resolve([1, 2, 3, 4])], DataError, ["[0]", "await it"]],
  ["64-bit integers", [BigInt64Array.of(1n, 2n, 3n, 4n)], DTypeError, ["BigInt64Array"]],
  [
    "an array that holds itself first",
    (() => {
      const a = [];
      a.push(a);
      return a;
    })(),
    DataError,
    ["hold itself"],
  ],
  ["an array that holds itself later", circular, ShapeError, ["expected 4 items at [1], got 2"]],
  ["a shape that is too small", { data: new Float32Array(8), shape: [1, 4] }, ShapeError, ["[1, 4]", "8"]],
];

for (const [what, x, type, parts] of WRONG) {
  test(`not data: ${what}`, async () => {
    const m = await compiled();
    const before = await fingerprint(m);
    for (const [who, act] of Object.entries({
      "fit: x": () => m.fit(x, [[1]], quiet),
      "predict: x": () => m.predict(x),
      "evaluate: x": () => m.evaluate(x, [[1]]),
      "fit: y": () => m.fit([[1, 2, 3, 4]], x, quiet),
      "normalization: adapt": () => normalization().adapt(x),
      "fit: sampleWeight": () => m.fit([[1, 2, 3, 4]], [[1]], { sampleWeight: x, ...quiet }),
    })) {
      if (x === undefined && !who.endsWith(": x") && !who.startsWith("norm")) continue;
      const error = await errorOf(act);
      assert.instance(error, type, `${who}: ${error.name}: ${error.message}`);
      for (const part of [who, ...parts]) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
    }
    assert.is(await fingerprint(m), before);
  });
}

test("a list of batches is no data; the error says how it is given", async () => {
  const m = await compiled();
  const list = [...batches(data, 16)];
  assert.match((await errorOf(() => m.fit(list, quiet))).message, /fit/);
  assert.match((await errorOf(() => m.fit(list))).message, /targets y are missing.*\(\) => list/);
  await m.fit(() => list, quiet);
});

test("predict, adapt and y take no iterables of batches", async () => {
  const m = await compiled();
  for (const batch of [() => batches(data, 16), batches(data, 16), (async function* () {})()]) {
    for (const act of [() => m.predict(batch), () => m.fit(data.x, batch, quiet), () => normalization().adapt(batch)]) {
      const error = await errorOf(act);
      assert.instance(error, ArgumentError);
      assert.match(error.message, /expected a tensor, .*, got (function|a generator)/);
    }
  }
});

test("what is no batch in an iterable", async () => {
  const m = await compiled();
  for (const [batch, text] of [
    [[[[1, 2, 3, 4]]], "an array of 1"],
    [tensor([[1, 2, 3, 4]]), "a Tensor"],
    [{ x: [[1, 2, 3, 4]], y: [[1]] }, "with x, y"],
    [5, "number"],
    [null, "null"],
  ]) {
    for (const act of [() => m.fit(() => [batch], quiet), () => m.evaluate(() => [batch])]) {
      const error = await errorOf(act);
      assert.instance(error, ArgumentError);
      for (const part of ["[x, y], [x, y, weights] or { xs, ys }", text]) assert.ok(error.message.includes(part), error.message);
    }
  }
});

test("batches as { xs, ys }, also with a weight as [x, y, weights], train and evaluate as arrays do", async () => {
  const [whole, parts, lists] = [await compiled(), await compiled(), await compiled()];
  await whole.fit(data.x, data.y, { epochs: 2, batchSize: 16, shuffle: false, ...quiet });
  const named = function* () {
    for (const [xs, ys] of batches(data, 16)) yield { xs, ys };
  };
  const weighted = async function* () {
    for (const [x, y] of batches(data, 16)) yield Promise.resolve([x, y, new Float32Array(x.shape[0]).fill(1)]);
  };
  await parts.fit(named, { epochs: 2, ...quiet });
  await lists.fit(weighted, { epochs: 2, ...quiet });
  assert.is(await fingerprint(parts), await fingerprint(whole));
  assert.is(await fingerprint(lists), await fingerprint(whole));
  const expected = await whole.evaluate(data.x, data.y, { batchSize: 16 });
  assert.equal(await whole.evaluate(named), expected);
  assert.equal(await whole.evaluate(batches(data, 16)), expected);
  assert.equal(await whole.evaluate(weighted()), expected);
  const two = await whole.evaluate(rows(data.x, 0, 32), rows(data.y, 0, 32), { batchSize: 16 });
  assert.equal(await whole.evaluate(named, { steps: 2 }), two);
  assert.equal(await whole.evaluate(named, undefined, { steps: 2 }), two);
  assert.equal(await whole.evaluate(data.x, data.y, { batchSize: 16, steps: 2 }), two);
  assert.match(
    (await errorOf(() => whole.evaluate(named, { batchSize: 4 }))).message,
    /evaluate: batchSize cannot be used with an iterable/,
  );
  assert.match((await errorOf(() => whole.evaluate([].values()))).message, /evaluate: the iterable gave no batch/);
});

test("an iterable for evaluate builds a model", async () => {
  const m = sequential([dense(1)]);
  await m.compile({ loss: "mse", metrics: ["mae"], backend });
  assert.equal(Object.keys(await m.evaluate(batches(data, 16))), ["loss", "mae"]);
  assert.match((await errorOf(() => sequential([dense(1)]).evaluate(batches(data, 16)))).message, /call compile/);
});

test("a generator that evaluate does not read to its end is let go", async () => {
  const m = await compiled();
  let closed = false;
  const endless = async function* () {
    try {
      for (;;) yield [rows(data.x, 0, 4), rows(data.y, 0, 4)];
    } finally {
      closed = true;
    }
  };
  await m.evaluate(endless, { steps: 3 });
  assert.ok(closed);
  closed = false;
  await m.fit(endless, { stepsPerEpoch: 3, epochs: 2, ...quiet });
  assert.ok(closed);
});

test("validationData as an iterable, with validationSteps from the first batch each time", async () => {
  const [byArrays, byBatches] = [await compiled(), await compiled()];
  const options = { epochs: 3, batchSize: 16, ...quiet };
  const a = await byArrays.fit(data.x, data.y, { ...options, validationData: [data.x, data.y] });
  const b = await byBatches.fit(data.x, data.y, { ...options, validationData: () => batches(data, 16) });
  assert.equal(b.history, a.history);
  assert.is(await fingerprint(byBatches), await fingerprint(byArrays));
  const [first, second, third] = [await compiled(), await compiled(), await compiled()];
  const c = await first.fit(data.x, data.y, { ...options, validationData: [rows(data.x, 0, 32), rows(data.y, 0, 32)] });
  const d = await second.fit(data.x, data.y, { ...options, validationData: () => batches(data, 16), validationSteps: 2 });
  const e = await third.fit(data.x, data.y, { ...options, validationData: [data.x, data.y], validationSteps: 2 });
  assert.equal(d.history, c.history);
  assert.equal(e.history, c.history);
  const error = await errorOf(() => third.fit(data.x, data.y, { ...options, validationData: batches(data, 16) }));
  assert.match(error.message, /fit: validationData: the iterable gave no batch.*pass the generator function/);
});

test("validationSplit with validationSteps", async () => {
  const [a, b] = [await compiled(), await compiled()];
  const options = { epochs: 2, batchSize: 8, ...quiet };
  const split = await a.fit(data.x, data.y, { ...options, validationSplit: 0.4, validationSteps: 1 });
  const given = await b.fit(rows(data.x, 0, 27), rows(data.y, 0, 27), {
    ...options,
    validationData: [rows(data.x, 27, 35), rows(data.y, 27, 35)],
  });
  assert.equal(split.history, given.history);
});

test("validationFreq: every so many epochs, or those of a list, counted from 1", async () => {
  const run = async (validationFreq) =>
    (await (await compiled()).fit(data.x, data.y, { epochs: 5, validationSplit: 0.2, validationFreq, ...quiet })).history;
  const all = await run(undefined);
  assert.is(all.valLoss.length, 5);
  assert.equal((await run(2)).valLoss, [all.valLoss[1], all.valLoss[3]]);
  assert.equal((await run([1, 4])).valMae, [all.valMae[0], all.valMae[3]]);
  assert.equal((await run(2)).loss, all.loss);
  for (const wrong of [0, 1.5, "2", [0]]) assert.match((await errorOf(() => run(wrong))).message, /validationFreq must be an integer >= 1/);
});

test("callbacks that watch validation look at epochs that have it", async () => {
  for (const monitor of [undefined, "valLoss", "valMae"]) {
    const { epoch } = await (
      await compiled()
    ).fit(data.x, data.y, {
      epochs: 9,
      validationSplit: 0.2,
      validationFreq: 2,
      callbacks: [earlyStopping({ monitor, mode: "max", patience: 1 })],
      ...quiet,
    });
    // Losses fall: the second validation, after epoch 4, is the first that is not "better".
    assert.equal(epoch, [0, 1, 2, 3]);
  }
  const error = await errorOf(async () =>
    (await compiled()).fit(data.x, data.y, { epochs: 2, validationFreq: 2, callbacks: [earlyStopping({ monitor: "valLoss" })], ...quiet }),
  );
  assert.match(error.message, /cannot monitor "valLoss"/);
});

test("a batchSize larger than the data is one batch, also with validationSplit, as in Keras", async () => {
  const [large, exact] = [await compiled(), await compiled()];
  const a = await large.fit(data.x, data.y, { epochs: 2, batchSize: 1000, validationSplit: 0.2, ...quiet });
  const b = await exact.fit(data.x, data.y, { epochs: 2, batchSize: 36, validationSplit: 0.2, ...quiet });
  assert.equal(a.history, b.history);
  assert.is(await fingerprint(large), await fingerprint(exact));
});

/** A linear model that loses the mean row of each batch at each step: what it saw, by sample. */
async function revealing(n) {
  const m = sequential([dense(1, { useBias: false, kernelInitializer: "zeros" })], { inputShape: [n] });
  // The gradient of mse at a prediction of 0 for a target of -n/2 is the same for every sample as long as no sample comes twice.
  await m.compile({ loss: (_y, p) => p, optimizer: sgd({ learningRate: 1 }), backend });
  const steps = [];
  let before = new Float32Array(n);
  const watch = {
    async onBatchEnd(_step, _logs, training) {
      const [now] = await training.weights();
      steps.push([...now.keys()].filter((i) => Math.abs(now[i] - before[i]) > 1e-4));
      before = now;
    },
  };
  return { m, steps, watch };
}
const identity = (n) => ({ data: Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)), shape: [n, n] });
const column = (n) => ({ data: new Float32Array(n), shape: [n, 1] });

test("stepsPerEpoch: the next epoch goes on where the last one ended, and data begins again", async () => {
  const n = 10;
  const { m, steps, watch } = await revealing(n);
  const { history } = await m.fit(identity(n), column(n), {
    batchSize: 4,
    stepsPerEpoch: 2,
    epochs: 4,
    shuffle: false,
    callbacks: [watch],
    ...quiet,
  });
  assert.is(history.loss.length, 4);
  assert.equal(steps, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [0, 1, 2, 3], [4, 5, 6, 7]]);
  const shuffled = await revealing(n);
  await shuffled.m.fit(identity(n), column(n), { batchSize: 4, stepsPerEpoch: 2, epochs: 3, callbacks: [shuffled.watch], ...quiet });
  for (const pass of [shuffled.steps.slice(0, 3), shuffled.steps.slice(3)]) {
    assert.equal(
      pass.map((s) => s.length),
      [4, 4, 2],
    );
    assert.equal(
      pass.flat().sort((a, b) => a - b),
      [...Array(n).keys()],
    );
  }
  assert.not.equal(shuffled.steps.slice(0, 3), shuffled.steps.slice(3), "each pass has an order of its own");
  const longer = await revealing(n);
  await longer.m.fit(identity(n), column(n), { batchSize: 4, stepsPerEpoch: 5, shuffle: false, callbacks: [longer.watch], ...quiet });
  assert.equal(longer.steps, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [0, 1, 2, 3], [4, 5, 6, 7]]);
});

test("stepsPerEpoch of an iterable goes on across epochs; what is spent begins again, once", async () => {
  const n = 10;
  const set = { x: identity(n), y: column(n) };
  const { m, steps, watch } = await revealing(n);
  await m.fit(() => batches(set, 4), { stepsPerEpoch: 2, epochs: 2, callbacks: [watch], ...quiet });
  assert.equal(steps, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [0, 1, 2, 3]]);
  const once = await revealing(n);
  await once.m.fit(batches(set, 4), { stepsPerEpoch: 1, epochs: 3, callbacks: [once.watch], ...quiet });
  assert.equal(once.steps, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]);
  const error = await errorOf(() => once.m.fit(batches(set, 4), { stepsPerEpoch: 2, epochs: 2, ...quiet }));
  assert.instance(error, DataError);
  assert.match(error.message, /gave 1 of the 2 batches of epoch 2.*generator/);
  for (const key of ["stepsPerEpoch", "validationSteps"])
    assert.match(
      (await errorOf(() => m.fit(identity(n), column(n), { [key]: 0, ...quiet }))).message,
      new RegExp(`${key} must be an integer >= 1`),
    );
});

test.after(() => backend.close());
test.run();

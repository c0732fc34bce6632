/** Models take elements of every kind, images as bytes and booleans among them, and give what the same numbers as f32 give, bit for bit. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/init.js";
import { InferenceModel } from "../../build/esm/model/inference.js";
import { model, sequential } from "../../build/esm/model/model.js";
import {
  activation,
  batchNorm,
  bidirectional,
  conv1d,
  conv2d,
  dense,
  depthwiseConv2d,
  dropout,
  embedding,
  flatten,
  globalAvgPool2d,
  gru,
  layerNorm,
  lstm,
  maxPool2d,
  merge,
  normalization,
  permute,
  reshape,
  softmax,
  timeDistributed,
  upSampling2d,
} from "../../build/esm/nn/index.js";
import { cast, div, mul } from "../../build/esm/ops/map.js";
import { Random } from "../../build/esm/random.js";
import { tensor } from "../../build/esm/tensor.js";
import { errorOf, fingerprint } from "./helpers.js";

const backend = await open("wasm", { reproducible: true, threads: 2 });
const quiet = { verbose: 0 };

/** `count` whole numbers below `limit`. */
const numbers = (count, limit = 256, seed = 1) => Array.from(new Random(seed).normal(count), (v) => Math.abs(Math.floor(v * 1e5)) % limit);

const KINDS = [Uint8Array, Uint8ClampedArray, Int8Array, Int16Array, Uint16Array, Int32Array, Uint32Array, Float64Array];

const pixels = [5, 5, 3];
const [left, right] = [dense(3), dense(3)];

/** Each: a model for samples of a shape, and below what its elements are. */
const MODELS = {
  dense: [() => [dense(4)], [7]],
  "dense with softmax": [() => [dense(4, { activation: "softmax" })], [7]],
  conv2d: [() => [conv2d(4, 3, { activation: "relu" })], pixels],
  depthwiseConv2d: [() => [depthwiseConv2d(3)], pixels],
  conv1d: [() => [conv1d(4, 2)], [6, 3]],
  normalization: [() => [normalization({ mean: [99, 120.5, 141], variance: [900, 1600.5, 2500] }), dense(2)], pixels],
  batchNorm: [() => [batchNorm(), dense(2)], [7]],
  layerNorm: [() => [layerNorm()], [7]],
  "pooling, then dense": [() => [maxPool2d(2), flatten(), dense(3)], pixels],
  "global pooling": [() => [globalAvgPool2d()], pixels],
  lstm: [() => [lstm(4)], [5, 3], 3],
  "bidirectional gru": [() => [bidirectional(gru(3))], [5, 3], 3],
  embedding: [() => [embedding(100, 3), flatten(), dense(2)], [6], 100],
  "embedding behind other shapes": [() => [reshape([3, 2]), permute([2, 1]), embedding(100, 3)], [6], 100],
  "embedding of each step": [() => [timeDistributed(embedding(100, 3))], [2, 3], 100],
  activations: [() => [activation("tanh"), softmax()], [7], 3],
  "dropout first": [() => [dropout(0.5), dense(2)], [7]],
  upSampling2d: [() => [upSampling2d(2, { interpolation: "bilinear" })], pixels],
  "flatten alone": [() => [flatten()], pixels],
  "a function": [() => [(x) => div(x, 255), flatten(), dense(2)], pixels],
  "a function that divides whole numbers": [() => [(x) => div(x, 2)], [7]],
};

async function predictions(layers, shape, data, options = {}) {
  const m = sequential(layers(), { inputShape: shape, seed: 3 });
  await m.compile({ loss: "mse", backend });
  const y = await m.predict({ data, shape: [data.length / shape.reduce((a, d) => a * d, 1), ...shape] }, options);
  return { shape: y.shape, dtype: y.dtype, data: await y.data() };
}

for (const [name, [layers, shape, limit = 128]] of Object.entries(MODELS)) {
  test(`predict: ${name}: every kind of array`, async () => {
    const list = numbers(11 * shape.reduce((a, d) => a * d, 1), limit);
    const want = await predictions(layers, shape, Float32Array.from(list));
    assert.is(want.dtype, "f32");
    for (const Kind of KINDS) {
      assert.equal(await predictions(layers, shape, Kind.from(list)), want, Kind.name);
      assert.equal(await predictions(layers, shape, Kind.from(list), { batchSize: 4 }), want, `${Kind.name} in batches`);
    }
  });

  test(`predict: ${name}: booleans`, async () => {
    const size = shape.reduce((a, d) => a * d, 1);
    const bits = numbers(2 * size, 2).map(Boolean);
    const nest = (list, [d, ...rest]) =>
      rest.length === 0
        ? list
        : Array.from({ length: d }, (_, i) => nest(list.slice((i * list.length) / d, ((i + 1) * list.length) / d), rest));
    const m = sequential(layers(), { inputShape: shape, seed: 3 });
    await m.compile({ loss: "mse", backend });
    const want = await predictions(layers, shape, Float32Array.from(bits));
    assert.equal(await (await m.predict(nest(bits, [2, ...shape]))).data(), want.data);
  });
}

test("one model takes one kind after another, each with a program of its own", async () => {
  const m = sequential([dense(3)], { inputShape: [4], seed: 1 });
  await m.compile({ loss: "mse", backend });
  const list = numbers(8, 100);
  const want = await (await m.predict({ data: Float32Array.from(list), shape: [2, 4] })).data();
  for (const Kind of [...KINDS, Float32Array, ...[...KINDS].reverse()])
    assert.equal(await (await m.predict({ data: Kind.from(list), shape: [2, 4] })).data(), want, Kind.name);
});

test("layers by themselves take any dtype too, and cast it where they compute in f32", async () => {
  const list = numbers(24, 2);
  for (const [make, shape] of [
    [() => dense(2), [4, 6]],
    [() => conv2d(2, 2), [1, 4, 2, 3]],
    [() => normalization({ mean: 1, variance: 4 }), [4, 6]],
    [() => lstm(2), [2, 4, 3]],
    [() => maxPool2d(2), [1, 4, 2, 3]],
    [() => softmax(), [24]],
  ]) {
    const l = make();
    const want = await l.call(tensor(Float32Array.from(list), shape)).data();
    for (const x of [tensor(Uint8Array.from(list), shape), tensor(Int32Array.from(list), shape), tensor(list.map(Boolean), shape)])
      assert.equal(await l.call(x).data(), want, `${l.kind}, ${x}`);
  }
  // What only moves elements leaves them as they are.
  assert.is(flatten().call(tensor(Int32Array.from(list), [2, 3, 4])).dtype, "i32");
});

test("functional models of several inputs take each of another kind", async () => {
  const ids = embedding(300, 3);
  const m = model((a, b, c) => merge.concatenate().call(left.call(a), mul(right.call(b), 2), flatten().call(ids.call(c))), {
    inputShape: [[4], [4], [2]],
  });
  await m.compile({ loss: "mse", backend });
  const [a, b, c] = [numbers(20), numbers(20, 2), numbers(10)];
  const want = await (
    await m.predict([
      { data: Float32Array.from(a), shape: [5, 4] },
      { data: Float32Array.from(b), shape: [5, 4] },
      { data: Float32Array.from(c), shape: [5, 2] },
    ])
  ).data();
  const got = await m.predict([
    { data: Uint8ClampedArray.from(a), shape: [5, 4] },
    tensor(b.map(Boolean), [5, 4]),
    { data: Int32Array.from(c), shape: [5, 2] },
  ]);
  assert.equal(await got.data(), want);
});

test("what wants integers gets those that were given, not their f32", async () => {
  const m = model((x) => cast(x, "i32"), { inputShape: [2] });
  await m.compile({ loss: "mse", backend });
  for (const Kind of [Int32Array, Uint32Array]) {
    assert.equal([...(await (await m.predict({ data: Kind.of(16777217, 33554433), shape: [1, 2] })).data())], [16777217, 33554433]);
  }
  const e = await errorOf(() => sequential([embedding(5, 2)]).predict({ data: Uint8Array.of(1, 7), shape: [1, 2] }));
  assert.match(e.message, /indices 0 to 4, got 7 in sample 0 \(element 1\)/);
});

test("normalization adapts to bytes and normalizes bytes: the statistics are those of the numbers", async () => {
  const list = numbers(600);
  const [bytes, floats] = [normalization(), normalization()];
  await bytes.adapt(Uint8ClampedArray.from(list), [200, 3]);
  await floats.adapt(Float32Array.from(list), [200, 3]);
  const y = (scaler, data) => sequential([scaler], { inputShape: [3] }).predict({ data, shape: [200, 3] }, { batchSize: 64 });
  const got = await (await y(bytes, Uint8ClampedArray.from(list))).data();
  assert.equal(got, await (await y(floats, Float32Array.from(list))).data());
  // (x - mean) / sqrt(variance) of each column, in double precision.
  for (let c = 0; c < 3; c++) {
    const column = list.filter((_, i) => i % 3 === c);
    const mean = column.reduce((a, v) => a + v) / 200;
    const deviation = Math.sqrt(column.reduce((a, v) => a + (v - mean) ** 2, 0) / 200);
    column.forEach((v, i) => assert.ok(Math.abs(got[i * 3 + c] - (v - mean) / deviation) < 1e-5));
  }
  await bytes.adapt([[true, false], [false, true]].map((row) => [...row, true]));
  assert.equal(bytes.config.mean, [0.5, 0.5, 1]);
});

/** A classifier of images. */
const classifier = (scaler) =>
  sequential(
    [
      scaler,
      conv2d(4, 3, { activation: "relu" }),
      batchNorm(),
      maxPool2d(2),
      flatten(),
      dropout(0.25),
      dense(3, { activation: "softmax" }),
    ],
    { inputShape: [7, 5, 3], seed: 2 },
  );
const SAMPLES = 41;
const images = numbers(SAMPLES * 105);
const labels = numbers(SAMPLES, 3, 2);

async function trained(x, y, options = {}) {
  const scaler = normalization();
  await scaler.adapt(x.data, x.shape);
  const m = classifier(scaler);
  await m.compile({ loss: "sparseCategoricalCrossentropy", optimizer: "adam", metrics: ["accuracy"], backend });
  const history = await m.fit(x, y, { epochs: 3, batchSize: 8, seed: 5, validationSplit: 0.2, ...quiet, ...options });
  return { weights: await fingerprint(m), history: history.history, evaluated: await m.evaluate(x, y, { batchSize: 16 }) };
}

test("fit and evaluate: images and labels as bytes train the very weights that f32 does", async () => {
  const shape = [SAMPLES, 7, 5, 3];
  const want = await trained({ data: Float32Array.from(images), shape }, { data: Int32Array.from(labels), shape: [SAMPLES] });
  for (const Kind of [Uint8Array, Uint8ClampedArray, Int32Array, Uint16Array]) {
    assert.equal(await trained({ data: Kind.from(images), shape }, { data: Uint8Array.from(labels), shape: [SAMPLES] }), want, Kind.name);
  }
});

test("fit: batches of bytes, and booleans as data and targets", async () => {
  const x = numbers(60, 2);
  const y = numbers(20, 2, 3);
  const run = async (data, target, asBatches) => {
    const m = sequential([layerNorm(), dense(4, { activation: "relu" }), dense(1, { activation: "sigmoid" })], {
      inputShape: [3],
      seed: 1,
    });
    await m.compile({ loss: "binaryCrossentropy", optimizer: "sgd", metrics: ["accuracy"], backend });
    await m.fit(...(asBatches ? [() => [[data, target]]] : [data, target]), { epochs: 3, ...quiet });
    return fingerprint(m);
  };
  const rows = (list, make) => Array.from({ length: 20 }, (_, i) => list.slice(3 * i, 3 * i + 3).map(make));
  for (const asBatches of [false, true]) {
    const want = await run({ data: Float32Array.from(x), shape: [20, 3] }, { data: Float32Array.from(y), shape: [20, 1] }, asBatches);
    assert.is(await run({ data: Uint8Array.from(x), shape: [20, 3] }, { data: Uint8Array.from(y), shape: [20, 1] }, asBatches), want);
    assert.is(
      await run(
        rows(x, Boolean),
        y.map((v) => [Boolean(v)]),
        asBatches,
      ),
      want,
    );
    assert.is(await run(tensor(Uint8Array.from(x), [20, 3]), tensor(y.map(Boolean), [20]), asBatches), want);
  }
});

test("a data set of bytes takes its bytes on the device, and no more", async () => {
  const samples = 4001;
  const m = sequential([flatten(), dense(2)], { inputShape: [9, 9, 3] });
  await m.compile({ loss: "sparseCategoricalCrossentropy", backend });
  const x = { data: Uint8Array.from(numbers(samples * 243)), shape: [samples, 9, 9, 3] };
  const y = { data: Uint8Array.from(numbers(samples, 2)), shape: [samples] };
  const before = backend.memory().bytes;
  let during = 0;
  let written = 0;
  const { write } = backend;
  backend.write = (buffer, offset, data) => {
    written += data.byteLength;
    write.call(backend, buffer, offset, data);
  };
  try {
    await m.fit(x, y, {
      batchSize: 32,
      ...quiet,
      callbacks: [{ onBatchEnd: () => void (during = Math.max(during, backend.memory().bytes)) }],
    });
  } finally {
    delete backend.write;
  }
  const bytes = samples * 244;
  // Programs, a batch as words and the weights beside it.
  assert.ok(during - before < bytes + 3e5, `${during - before} bytes for ${bytes}`);
  assert.ok(written < bytes + 1e5, `${written} bytes written for ${bytes}`);
});

test("models of lockstep/inference take them too", async () => {
  const list = numbers(8);
  const run = async (data) =>
    (await new InferenceModel([dense(3)], null, { inputShape: [4], seed: 1 }).predict({ data, shape: [2, 4] })).data();
  assert.equal(await run(Uint8Array.from(list)), await run(Float32Array.from(list)));
});

test.run();

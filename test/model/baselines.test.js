/**
 * Short trainings on real data. Where other software's results for the same recipe are known (baselines.json: one value per seed), the mean
 * of ours over a few seeds must lie within their range widened on both sides by 1.5 times its width, and by one test sample at least: far
 * better is as suspicious as far worse. The rest are bars: what such a network must reach to be of use.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/init.js";
import { sequential } from "../../build/esm/model/model.js";
import { conv2d, dense, embedding, flatten, lstm, maxPool2d, normalization } from "../../build/esm/nn/index.js";
import { Random } from "../../build/esm/random.js";
import { tensor } from "../../build/esm/tensor.js";
import { earlyStopping } from "../../build/esm/train/callbacks.js";
import { adam } from "../../build/esm/train/optimizers.js";
import { baselines, characters, haveData, mnist, series, table } from "./datasets.js";

const WIDENING = 1.5;
const backend = await open("wasm");

const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;

/**
 * @throws unless the mean of `run(seed)` over some seeds is near what others got. `step` is the smallest difference that the metric can
 * show.
 */
async function assertNear(name, seeds, step, run) {
  const { values } = baselines()[name];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = Math.max(WIDENING * (high - low), step);
  const got = [];
  for (let seed = 1; seed <= seeds; seed++) got.push(await run(seed));
  console.log(`  ${name}: mean ${mean(got).toFixed(4)} of ${got.map((v) => v.toFixed(4)).join(", ")}; others ${values.join(", ")}`);
  assert.ok(
    mean(got) >= low - margin && mean(got) <= high + margin,
    `${name}: ${mean(got)} is not within ${low - margin} to ${high + margin}`,
  );
}

async function compiled(layers, inputShape, loss, learningRate, seed, metrics = ["accuracy"]) {
  const m = sequential(layers, { inputShape, seed });
  await m.compile({ loss, optimizer: adam({ learningRate }), metrics, backend });
  return m;
}

const matrix = (list) => tensor(list);

async function mnistMlp() {
  const [train, held] = [await mnist("train", 60000, [784]), await mnist("t10k", 10000, [784])];
  await assertNear("mnist_mlp", 4, 1e-4, async (seed) => {
    const m = await compiled(
      [dense(128, { activation: "relu" }), dense(10, { activation: "softmax" })],
      [784],
      "categoricalCrossentropy",
      1e-3,
      seed,
    );
    await m.fit(train.x, train.y, { batchSize: 128, seed, verbose: 0 });
    return (await m.evaluate(held.x, held.y, { batchSize: 100 })).accuracy;
  });
}

async function mnistSmallCnn() {
  const [train, held] = [await mnist("train", 12000, [28, 28, 1]), await mnist("t10k", 2000, [28, 28, 1])];
  await assertNear("mnist_cnn_small", 3, 1 / 2000, async (seed) => {
    const layers = [
      conv2d(8, 3, { activation: "relu" }),
      maxPool2d(2),
      conv2d(16, 3, { activation: "relu" }),
      maxPool2d(2),
      flatten(),
      dense(10, { activation: "softmax" }),
    ];
    const m = await compiled(layers, [28, 28, 1], "categoricalCrossentropy", 1e-3, seed);
    await m.fit(train.x, train.y, { batchSize: 64, epochs: 3, seed, verbose: 0 });
    return (await m.evaluate(held.x, held.y, { batchSize: 100 })).accuracy;
  });
}

async function airline() {
  const raw = series("airline-passengers");
  const window = 12;
  const held = 36;
  const split = raw.length - held;
  const [low, high] = [Math.min(...raw.subarray(0, split)), Math.max(...raw.subarray(0, split))];
  const scaled = Float32Array.from(raw, (v) => (v - low) / (high - low));
  const windows = (from, to) => ({
    x: tensor(
      Float32Array.from({ length: (to - from) * window }, (_, i) => scaled[from + Math.floor(i / window) - window + (i % window)]),
      [to - from, window, 1],
    ),
    y: tensor(scaled.slice(from, to), [to - from, 1]),
  });
  const [train, last] = [windows(window, split), windows(split, raw.length)];
  await assertNear("airline_lstm_relu", 3, 0, async (seed) => {
    const m = await compiled([lstm(50, { activation: "relu" }), dense(1)], [window, 1], "mse", 1e-3, seed, []);
    await m.fit(train.x, train.y, { batchSize: 8, epochs: 300, seed, verbose: 0 });
    return Math.sqrt((await m.evaluate(last.x, last.y)).loss) * (high - low);
  });
}

/** Features standardised by the training part, labels as class numbers. */
function standardised(list, trained) {
  const classes = [...new Set(list.map((r) => r.label))].sort();
  const scale = list[0].features.map((_, k) => {
    const column = list.slice(0, trained).map((r) => r.features[k]);
    const mean = column.reduce((a, b) => a + b, 0) / trained;
    return [mean, Math.sqrt(column.reduce((s, v) => s + (v - mean) ** 2, 0) / trained)];
  });
  const part = (rows) => ({
    x: matrix(rows.map((r) => r.features.map((v, k) => (v - scale[k][0]) / scale[k][1]))),
    y: tensor(
      Int32Array.from(rows, (r) => classes.indexOf(r.label)),
      [rows.length],
    ),
  });
  return { train: part(list.slice(0, trained)), held: part(list.slice(trained)) };
}

// Which 30 flowers are held out decides more than the seed does: others had one choice of them, here are ten.
async function iris() {
  await assertNear("iris_mlp", 10, 2 / 30, async (seed) => {
    const { train, held } = standardised(table("iris", seed), 120);
    const m = await compiled(
      [dense(16, { activation: "relu" }), dense(3, { activation: "softmax" })],
      [4],
      "sparseCategoricalCrossentropy",
      0.01,
      seed,
    );
    await m.fit(train.x, train.y, { batchSize: 16, epochs: 50, seed, verbose: 0 });
    return (await m.evaluate(held.x, held.y)).accuracy;
  });
}

async function shakespeare() {
  const { codes, vocabulary } = characters(200000);
  assert.is(vocabulary, baselines().char_lstm_shakespeare.vocabulary);
  const length = 40;
  const trained = 180000;
  const sequences = (starts) =>
    [0, 1].map((shift) =>
      tensor(
        Int32Array.from({ length: starts.length * length }, (_, i) => codes[starts[Math.floor(i / length)] + (i % length) + shift]),
        [starts.length, length],
      ),
    );
  const held = sequences(Array.from({ length: 200 }, (_, i) => trained + Math.floor((i * (20000 - length - 1)) / 200)));
  await assertNear("char_lstm_shakespeare", 3, 0, async (seed) => {
    const random = new Random(seed);
    function* batches() {
      for (let step = 0; step < 300; step++) yield sequences([...random.uniform(32)].map((u) => Math.floor(u * (trained - length - 1))));
    }
    const m = await compiled(
      [embedding(vocabulary, 32), lstm(64, { returnSequences: true }), dense(vocabulary, { activation: "softmax" })],
      [length],
      "sparseCategoricalCrossentropy",
      5e-3,
      seed,
      [],
    );
    await m.fit(batches(), { seed, verbose: 0 });
    return (await m.evaluate(...held)).loss;
  });
}

async function diabetes() {
  const accuracies = [];
  for (let seed = 1; seed <= 5; seed++) {
    const list = table("pima-indians-diabetes", seed);
    const x = matrix(list.slice(154).map((r) => r.features));
    const y = matrix(list.slice(154).map((r) => [Number(r.label)]));
    const scale = normalization();
    scale.adapt(x);
    const m = sequential(
      [scale, dense(10, { activation: "relu" }), dense(5, { activation: "relu" }), dense(1, { activation: "sigmoid" })],
      { inputShape: [8], seed },
    );
    await m.compile({ loss: "binaryCrossentropy", optimizer: adam({ learningRate: 5e-3 }), metrics: ["accuracy"], backend });
    await m.fit(x, y, {
      epochs: 150,
      validationSplit: 0.15,
      seed,
      verbose: 0,
      callbacks: [earlyStopping({ patience: 15, restoreBestWeights: true })],
    });
    accuracies.push(
      (await m.evaluate(matrix(list.slice(0, 154).map((r) => r.features)), matrix(list.slice(0, 154).map((r) => [Number(r.label)]))))
        .accuracy,
    );
  }
  console.log(`  diabetes: mean accuracy ${mean(accuracies).toFixed(4)} of ${accuracies.map((a) => a.toFixed(3)).join(", ")}`);
  assert.ok(mean(accuracies) >= 0.76, `mean accuracy ${mean(accuracies)}`);
}

/** Ten windows of ten values, each moved on by one, predict the value after the last. */
async function temperatures() {
  const raw = series("daily-min-temperatures");
  const steps = 10;
  const width = 10;
  const history = steps + width - 1;
  const split = Math.floor(raw.length * 0.8);
  const [low, high] = [Math.min(...raw.subarray(0, split)), Math.max(...raw.subarray(0, split))];
  const scaled = Float32Array.from(raw, (v) => (v - low) / (high - low));
  const count = raw.length - history;
  const trained = split - history;
  const part = (from, to) => ({
    x: tensor(
      Float32Array.from(
        { length: (to - from) * steps * width },
        (_, i) => scaled[from + Math.floor(i / (steps * width)) + (Math.floor(i / width) % steps) + (i % width)],
      ),
      [to - from, steps, width],
    ),
    y: tensor(scaled.slice(from + history, to + history), [to - from, 1]),
  });
  const m = await compiled(
    [lstm(100, { activation: "relu" }), dense(50, { activation: "relu" }), dense(1)],
    [steps, width],
    "mse",
    1e-3,
    1,
    ["mae"],
  );
  const train = part(0, trained);
  const held = part(trained, count);
  await m.fit(train.x, train.y, {
    epochs: 60,
    validationSplit: 0.15,
    seed: 1,
    verbose: 0,
    callbacks: [earlyStopping({ patience: 6, restoreBestWeights: true })],
  });
  const { mae } = await m.evaluate(held.x, held.y);
  let persistence = 0;
  for (let i = split; i < raw.length; i++) persistence += Math.abs(scaled[i] - scaled[i - 1]) / (raw.length - split);
  console.log(
    `  temperatures: mean absolute error ${(mae * (high - low)).toFixed(3)}, of persistence ${(persistence * (high - low)).toFixed(3)}`,
  );
  assert.ok(mae < persistence);
}

if (haveData) {
  for (const run of [iris, diabetes, airline, shakespeare, temperatures, mnistMlp, mnistSmallCnn]) {
    test(run.name, async () => {
      const started = performance.now();
      await run();
      console.log(`  ${((performance.now() - started) / 1000).toFixed(1)} s`);
    });
  }
} else {
  test("there is no data to train on", () =>
    assert.not.ok(process.env.LOCKSTEP_DATA, "LOCKSTEP_DATA names a folder without baselines.json"));
}

test.after(() => backend.close());
test.run();

/**
 * @file A recurrent network, LSTM(100, relu) over 10 steps of 10 values, predicts the next value of a series. Data: a CSV whose
 * last column is the series (--data FILE, or tables/daily-min-temperatures.csv under LOCKSTEP_DATA, or a noisy season made up here).
 * A prediction is worth something only when it beats persistence: "tomorrow is like today".
 *
 *   node examples/lstm.js [--data FILE] [--epochs N] [--seed N] [--out MODEL]
 */
import { adam, dense, earlyStopping, loadModel, lstm, sequential, tensor } from "lockstep";
import { parseCsv } from "lockstep/data";
import { dataFile, modelPath, options, readText, report, start } from "./common.js";
import { seasonalSeries } from "./data.js";

const STEPS = 10;
const WIDTH = 10;
const HISTORY = STEPS + WIDTH - 1;

/** The last column of a CSV, or a series made up here. */
function readSeries(file, seed) {
  if (file === null) return seasonalSeries(400, seed);
  const { rows, columns, values, categories } = parseCsv(readText(file));
  const last = columns[columns.length - 1];
  if (Object.hasOwn(categories, last)) throw new Error(`${file}: expected a series of numbers in the last column, "${last}" holds text`);
  if (rows < 5 * HISTORY) throw new Error(`${file}: expected a series of at least ${5 * HISTORY} values, got ${rows}`);
  return Float32Array.from({ length: rows }, (_, i) => values[(i + 1) * columns.length - 1]);
}

/** Each sample: STEPS windows of WIDTH values, each moved on by one; the target is the value after the last. */
function windowsOfWindows(series) {
  const count = series.length - HISTORY;
  const x = new Float32Array(count * STEPS * WIDTH);
  const y = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    for (let s = 0; s < STEPS; s++) x.set(series.subarray(i + s, i + s + WIDTH), (i * STEPS + s) * WIDTH);
    y[i] = series[i + HISTORY];
  }
  return { x, y, count };
}

export async function forecast(o = options({ epochs: 60 })) {
  const file = dataFile(o.data, "tables/daily-min-temperatures.csv");
  const raw = readSeries(file, o.seed);
  // Scaled by what lies before the test part only.
  const split = Math.floor(raw.length * 0.8);
  let [low, high] = [Infinity, -Infinity];
  for (const v of raw.subarray(0, split)) {
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  if (low === high) throw new Error(`${file}: the series does not change before its last fifth: there is nothing to learn`);
  const { x, y, count } = windowsOfWindows(raw.map((v) => (v - low) / (high - low)));
  const trained = split - HISTORY;
  const part = (from, to) => ({
    x: tensor(x.slice(from * STEPS * WIDTH, to * STEPS * WIDTH), [to - from, STEPS, WIDTH]),
    y: tensor(y.slice(from, to), [to - from, 1]),
  });
  const train = part(0, trained);
  const test = part(trained, count);

  const model = sequential([lstm(100, { activation: "relu" }), dense(50, { activation: "relu" }), dense(1)], {
    inputShape: [STEPS, WIDTH],
    name: "lstm",
    seed: o.seed,
  });
  model.summary();
  await model.compile({ loss: "mse", optimizer: adam({ learningRate: 1e-3 }), metrics: ["mae"] });
  const { epoch } = await model.fit(train.x, train.y, {
    epochs: o.epochs,
    batchSize: 32,
    validationSplit: 0.15,
    seed: o.seed,
    verbose: o.verbose,
    callbacks: [earlyStopping({ patience: 6, restoreBestWeights: true })],
  });

  const { mae } = await model.evaluate(test.x, test.y);
  let persistence = 0;
  for (let i = trained; i < count; i++) persistence += Math.abs(y[i] - x[i * STEPS * WIDTH + STEPS * WIDTH - 1]);
  persistence /= count - trained;
  const path = modelPath(o.out, "lstm.safetensors");
  await model.save(path);
  const copy = await loadModel(path);
  const next = await (await copy.predict(tensor(x.slice(-STEPS * WIDTH), [1, STEPS, WIDTH]))).item();
  const unit = high - low;
  report(`LSTM on ${file ?? "a made-up season"}, ${count - trained} steps ahead of training`, {
    epochs: epoch.length,
    "mean absolute error": (mae * unit).toFixed(3),
    "of persistence": (persistence * unit).toFixed(3),
    ratio: (mae / persistence).toFixed(3),
    "last value predicted": `${(next * unit + low).toFixed(2)}, was ${raw[raw.length - 1].toFixed(2)}`,
    saved: path,
  });
  return { mae: mae * unit, persistence: persistence * unit };
}

await start(import.meta.url, forecast);

/**
 * @file A feed-forward network, 8-10-5-1 with sigmoid and binary cross-entropy: does a patient have diabetes? Data: a CSV of eight numbers
 * and a class 0 or 1 (--data FILE, or tables/pima-indians-diabetes.csv under LOCKSTEP_DATA, or a table made up here).
 *
 *   node examples/ffn.js [--data FILE] [--epochs N] [--seed N] [--out MODEL]
 */
import { adam, dense, earlyStopping, loadModel, normalization, sequential, tensor } from "lockstep";
import { parseCsv, trainTestSplit } from "lockstep/data";
import { dataFile, modelPath, options, percent, readText, report, start } from "./common.js";
import { twoClassTable } from "./data.js";

/** Features [rows, 8] and classes [rows]. */
function readTable(file, seed) {
  if (file === null) {
    const { x, y } = twoClassTable(1000, seed);
    return { x: { data: x, shape: [1000, 8] }, y: { data: y, shape: [1000, 1] } };
  }
  const { rows, columns, values, categories } = parseCsv(readText(file));
  const width = columns.length;
  const text = Object.keys(categories).find((name) => name !== columns[width - 1]);
  if (text !== undefined) throw new Error(`${file}: expected numbers, column "${text}" holds text`);
  if (width !== 9) throw new Error(`${file}: expected 8 features and a class, got ${width} columns`);
  const x = new Float32Array(rows * 8);
  const y = new Float32Array(rows);
  for (let i = 0; i < rows; i++) {
    x.set(values.subarray(i * width, i * width + 8), i * 8);
    y[i] = values[i * width + 8];
    if (y[i] !== 0 && y[i] !== 1) throw new Error(`${file}: expected a class 0 or 1 in the last column, got ${y[i]} in row ${i + 1}`);
  }
  return { x: { data: x, shape: [rows, 8] }, y: { data: y, shape: [rows, 1] } };
}

export async function ffn(o = options({ epochs: 200 })) {
  const file = dataFile(o.data, "tables/pima-indians-diabetes.csv");
  const { x, y } = readTable(file, o.seed);
  const { xTrain, yTrain, xTest, yTest } = trainTestSplit(x, y, { testFraction: 0.2, seed: o.seed });

  const scale = normalization();
  await scale.adapt(tensor(xTrain.data, xTrain.shape));
  const model = sequential(
    [scale, dense(10, { activation: "relu" }), dense(5, { activation: "relu" }), dense(1, { activation: "sigmoid" })],
    { inputShape: [8], name: "ffn", seed: o.seed },
  );
  model.summary();
  await model.compile({
    loss: "binaryCrossentropy",
    optimizer: adam({ learningRate: 5e-3 }),
    metrics: ["accuracy", "precision", "recall", "f1"],
  });
  const { epoch } = await model.fit(xTrain, yTrain, {
    epochs: o.epochs,
    batchSize: 32,
    validationSplit: 0.15,
    seed: o.seed,
    verbose: o.verbose,
    callbacks: [earlyStopping({ patience: 15, restoreBestWeights: true })],
  });

  const result = await model.evaluate(xTest, yTest);
  const path = modelPath(o.out, "ffn.safetensors");
  await model.save(path);
  const copy = await loadModel(path);
  const p = await (await copy.predict({ data: xTest.data.subarray(0, 8), shape: [1, 8] })).item();
  report(`FFN 8-10-5-1 on ${file ?? "a made-up table"}, ${xTest.shape[0]} held-out rows`, {
    epochs: epoch.length,
    accuracy: percent(result.accuracy),
    precision: percent(result.precision),
    recall: percent(result.recall),
    f1: percent(result.f1),
    "first row": `p = ${p.toFixed(3)}, class ${yTest.data[0]}`,
    saved: path,
  });
  return result;
}

await start(import.meta.url, ffn);

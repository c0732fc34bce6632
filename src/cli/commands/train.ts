/** @file `lockstep train data.csv --target COLUMN`: a model from a table to a file, with a report. */
import { adam, dense, dropout, earlyStopping, normalization, sequential } from "../../index.ts";
import type { Layer, Model } from "../../index.ts";
import { parseCsv, trainTestSplit } from "../../data/index.ts";
import { classificationReport, plotHistory } from "../../inspect/index.ts";
import { showCount, showTable } from "../../inspect/table.ts";
import { readBytes } from "../../node/files.ts";
import { Failure, UsageError } from "../command.ts";
import type { Command, Given, Output } from "../command.ts";
import { decodeText, writeFile } from "../inputs.ts";
import { columnOf, encodeTable, encodeWithRecipe, fewNumbers, parseHeader, recipeOf } from "../tabular.ts";
import type { Encoded, Recipe } from "../tabular.ts";

/** Fewer rows leave nothing to measure with. */
const LEAST_ROWS = 10;

/** Reads the table, and decides what its target is. */
function prepared(text: string, given: Given, out: Output): { recipe: Recipe; encoded: Encoded } {
  const target = given.text("target");
  const delimiter = given.text("delimiter") ?? ",";
  const header = parseHeader(text, delimiter);
  if (target === undefined) throw new UsageError(`say which column is to be predicted: --target COLUMN; there are ${header.join(", ")}`);
  const excluded = given.list("exclude") ?? [];
  for (const name of [target, ...excluded])
    if (!header.includes(name)) throw new Failure(`the table has no column ${JSON.stringify(name)}; there are ${header.join(", ")}`);
  if (excluded.includes(target)) throw new UsageError(`the target ${target} cannot be excluded`);
  const task = given.text("task");
  if (task !== undefined && task !== "classification" && task !== "regression")
    throw new UsageError(`--task must be classification or regression, got ${JSON.stringify(task)}`);
  const columns = header.filter((name) => !excluded.includes(name));
  if (columns.length < 2) throw new Failure("there is no column left to predict from");
  const categorical = given.list("categorical") ?? [];
  let table = parseCsv(text, { header: true, delimiter, columns, categorical });
  if (table.rows < LEAST_ROWS)
    throw new Failure(`${table.rows} rows are too few to train and to measure with; expected ${LEAST_ROWS} at least`);
  if (!Object.hasOwn(table.categories, target)) {
    const few = fewNumbers(columnOf(table, target));
    if (task === "classification" || (task === undefined && few)) {
      table = parseCsv(text, { header: true, delimiter, columns, categorical: [...new Set([...categorical, target])] });
      if (task === undefined)
        out.note(`the target has ${table.categories[target].length} whole numbers: taken for classes; --task regression for numbers`);
    }
  } else if (task === "regression") throw new Failure(`the target ${target} is of texts, which are classes and no numbers`);
  const recipe = recipeOf(table, target, Object.hasOwn(table.categories, target) ? table.categories[target] : undefined);
  if (recipe.classes?.length === 1) throw new Failure(`the target ${target} is ${JSON.stringify(recipe.classes[0])} in every row`);
  return { recipe, encoded: encodeTable(text, recipe, delimiter) };
}

/** Means and variances of columns; one that is always the same counts as it is. */
function statistics(data: Float32Array, width: number): { mean: number[]; variance: number[] } {
  const rows = data.length / width;
  const mean = Array.from({ length: width }, (_, c) => {
    let sum = 0;
    for (let r = 0; r < rows; r++) sum += data[r * width + c];
    return sum / rows;
  });
  const variance = mean.map((m, c) => {
    let sum = 0;
    for (let r = 0; r < rows; r++) sum += (data[r * width + c] - m) ** 2;
    return sum / rows || 1;
  });
  return { mean, variance };
}

/** Sizes of hidden layers. @throws UsageError */
function hiddenOf(given: Given): number[] {
  const sizes = (given.list("hidden") ?? ["64", "32"]).map(Number);
  const wrong = sizes.find((n) => !Number.isInteger(n) || n < 1);
  if (wrong !== undefined) throw new UsageError(`--hidden must be sizes of layers such as 64,32, got ${given.text("hidden")}`);
  return sizes;
}

/** The last layer's output, which was trained to have mean 0 and deviation 1, in the numbers of the target. */
async function unscale(model: Model, mean: number, deviation: number): Promise<void> {
  const last = model.weights.slice(-2);
  const [kernel, bias] = await Promise.all(last.map((w) => w.tensor.data()));
  last[0].tensor.set(Float32Array.from(kernel, (v) => v * deviation));
  last[1].tensor.set(Float32Array.from(bias, (v) => v * deviation + mean));
}

interface Part {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

async function report(model: Model, recipe: Recipe, x: Part, y: Float32Array, trained: Float32Array, out: Output): Promise<void> {
  const predicted = await (await model.predict(x)).data();
  if (recipe.classes !== undefined) {
    const width = recipe.classes.length;
    const numbers = Array.from(y, (_, i) => {
      const row = predicted.subarray(i * width, (i + 1) * width);
      return row.indexOf(Math.max(...row));
    });
    const result = await classificationReport([...y], numbers, { labels: recipe.classes });
    out.result(`Test, ${y.length} rows that were not trained on:\n${result}`);
    if (width <= 12) out.result(result.matrixText());
    const counts = recipe.classes.map((_, c) => trained.reduce((n, v) => n + Number(v === c), 0));
    const common = counts.indexOf(Math.max(...counts));
    const part = y.reduce((n, v) => n + Number(v === common), 0) / y.length;
    out.result(`Always ${JSON.stringify(recipe.classes[common])} would be right in ${part.toFixed(4)} of the rows.`);
    return;
  }
  const mean = trained.reduce((a, b) => a + b, 0) / trained.length;
  const own = y.reduce((a, b) => a + b, 0) / y.length;
  const errors = (of: (i: number) => number): readonly [number, number] => {
    let [absolute, squared] = [0, 0];
    y.forEach((v, i) => {
      absolute += Math.abs(v - of(i));
      squared += (v - of(i)) ** 2;
    });
    return [absolute / y.length, Math.sqrt(squared / y.length)];
  };
  const [[mae, rmse], [plainMae, plainRmse], [, spread]] = [errors((i) => predicted[i]), errors(() => mean), errors(() => own)];
  const n = (v: number): string => String(Number(v.toPrecision(4)));
  const r2 = (e: number): string => (spread === 0 ? "" : n(1 - (e / spread) ** 2));
  out.result(`Test, ${y.length} rows that were not trained on:`);
  out.result(
    showTable(
      ["", "Mean absolute error", "Root mean squared error", "R2"].map((title, i) => ({ title, numbers: i > 0 })),
      [["model", n(mae), n(rmse), r2(rmse)], ["always the mean", n(plainMae), n(plainRmse), r2(plainRmse)]],
    ),
  );
}

export const train: Command = {
  name: "train",
  summary: "Train a model to predict a column of a table, and write it with a report",
  usage: "DATA.csv --target COLUMN [options]",
  least: 1,
  most: 1,
  options: {
    target: { value: "COLUMN", short: "t", help: "the column to predict" },
    output: { value: "OUT", short: "o", help: "the file of the model; default model.safetensors" },
    task: {
      value: "TASK",
      help: "classification or regression; default: by the target,\nof which texts and up to 10 different whole numbers are classes",
    },
    exclude: { value: "COLUMNS", help: "columns to leave out, with commas between, such as row numbers" },
    categorical: { value: "COLUMNS", help: "columns of numbers that are names of kinds" },
    delimiter: { value: "C", help: "between cells; default a comma" },
    hidden: { value: "SIZES", help: "sizes of the hidden layers; default 64,32" },
    dropout: { value: "RATE", help: "dropped behind each of them in training; default 0" },
    epochs: { value: "N", help: "most passes over the data; default 100" },
    patience: { value: "N", help: "epochs without improvement after which it ends; default 10" },
    "batch-size": { value: "N", help: "rows of a step; default 32" },
    "learning-rate": { value: "RATE", help: "of Adam; default 0.003" },
    test: { value: "PART", help: "part of the rows that is kept for the report; default 0.2" },
    seed: { value: "N", help: "of the split, the weights and the order; default 0" },
    plot: { value: "OUT.svg", help: "write a picture of the training" },
    quiet: { short: "q", help: "no progress" },
  },
  more: () =>
    "Example:\n  lockstep train iris.csv --target species --output iris.safetensors\n  lockstep run iris.safetensors --input new.csv",
  async run(given, out) {
    const seed = given.count("seed", 0, 0);
    const epochs = given.count("epochs", 100);
    const fit = {
      batchSize: given.count("batch-size", 32),
      learningRate: given.number("learning-rate", 0.003, 0),
      patience: given.count("patience", 10),
    };
    const testFraction = given.number("test", 0.2, 0.01, 0.9);
    const rate = given.number("dropout", 0, 0, 0.99);
    const hidden = hiddenOf(given);
    const path = given.text("output") ?? "model.safetensors";
    if (!/\.safetensors$/i.test(path))
      throw new UsageError(`--output must end in .safetensors, got ${path}; lockstep convert writes other formats`);
    const { recipe, encoded } = prepared(decodeText(await readBytes(given.arguments[0])), given, out);
    const { classes, columns, target } = recipe;
    const [rows, width] = encoded.x.shape;
    const y = encoded.y as Float32Array;
    const { xTrain, yTrain, xTest, yTest } = trainTestSplit(encoded.x, { data: y, shape: [rows] }, { testFraction, seed });
    const { mean, variance } = statistics(xTrain.data, width);
    const layers: Layer[] = [normalization({ mean, variance })];
    for (const units of hidden) {
      layers.push(dense(units, { activation: "relu" }));
      if (rate > 0) layers.push(dropout(rate));
    }
    layers.push(classes === undefined ? dense(1) : dense(classes.length, { activation: "softmax" }));
    const model = sequential(layers, { inputShape: [width], seed, name: target.replace(/\W+/g, "_") });
    await model.compile({
      loss: classes === undefined ? "meanSquaredError" : "sparseCategoricalCrossentropy",
      optimizer: adam({ learningRate: fit.learningRate }),
      metrics: classes === undefined ? [] : ["accuracy"],
    });
    const what = classes === undefined ? "numbers" : `${classes.length} classes`;
    out.result(`${rows} rows, ${columns.length} columns as ${width} numbers; ${target}: ${what}`);
    // Targets of any size are learned as if their mean were 0 and their deviation 1.
    const scale = statistics(yTrain.data, 1);
    const deviation = Math.sqrt(scale.variance[0]);
    const labels = classes === undefined ? yTrain.data.map((v) => (v - scale.mean[0]) / deviation) : Int32Array.from(yTrain.data);
    const history = await model.fit(xTrain, labels, {
      epochs,
      batchSize: fit.batchSize,
      validationSplit: 0.2,
      seed,
      callbacks: [earlyStopping({ patience: fit.patience, restoreBestWeights: true })],
      verbose: given.flag("quiet") || !process.stderr.isTTY ? 0 : 1,
      stream: process.stderr,
    });
    if (classes === undefined) await unscale(model, scale.mean[0], deviation);
    out.result(`${history.epoch.length} epochs, ${showCount(model.weights.reduce((n, w) => n + w.tensor.size, 0))} parameters`);
    await report(model, recipe, xTest, yTest.data, yTrain.data, out);
    await writeFile(path, await encodeWithRecipe(model, recipe));
    out.note(`wrote ${path}; predict with: lockstep run ${path} --input OTHER.csv`);
    const plot = given.text("plot");
    if (plot === undefined) return;
    await writeFile(plot, plotHistory(history).toSvg());
    out.note(`wrote ${plot}`);
  },
};

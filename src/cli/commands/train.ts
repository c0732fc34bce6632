/** @file `lockstep train data.csv --target COLUMN`: a model from a table to a file, with a report. */
import { adam, dense, dropout, earlyStopping, normalization, sequential } from "../../index.ts";
import type { Callback, Layer, Model } from "../../index.ts";
import { trainTestSplit } from "../../data/index.ts";
import { plotHistory } from "../../inspect/index.ts";
import { showCount, showMany as many } from "../../inspect/table.ts";
import { INTERRUPTED, UsageError } from "../command.ts";
import type { Command, Given, Output } from "../command.ts";
import { checkSvg, checkWritable, writeFile } from "../paths.ts";
import { report } from "../report.ts";
import { encodeWithRecipe } from "../tabular.ts";
import { DELIMITER_HELP, openCsv } from "../texts.ts";
import { checkScales, filled, prepare, statistics } from "../training-table.ts";

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

/** Ends the training after the epoch that runs when Ctrl-C is pressed; pressed again it ends the program at once, as it does otherwise. */
function interruptible(out: Output): { readonly callback: Callback; readonly interrupted: () => boolean; readonly end: () => void } {
  let interrupted = false;
  const onInterrupt = (): void => {
    interrupted = true;
    out.note("\nending after this epoch; Ctrl-C again ends at once, without a file");
  };
  process.once("SIGINT", onInterrupt);
  return {
    callback: {
      onEpochEnd(_epoch, _logs, training) {
        if (interrupted) training.stop();
      },
    },
    interrupted: () => interrupted,
    end: () => void process.off("SIGINT", onInterrupt),
  };
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
      help: "classification or regression; default: by the target, of which texts and up to 10 different whole numbers are classes",
    },
    exclude: { value: "COLUMNS", multiple: true, help: "columns to leave out, with commas between, such as row numbers" },
    categorical: { value: "COLUMNS", multiple: true, help: "columns of numbers that are names of kinds" },
    missing: {
      value: "HOW",
      help: "cells without a value: fill (the mean of the column, of texts a category of its own) or drop (the row); default: refused",
    },
    delimiter: { value: "C", help: DELIMITER_HELP },
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
    const plot = checkSvg("plot", given.text("plot"));
    // Before minutes of training.
    for (const file of [path, plot]) if (file !== undefined) checkWritable(file);
    const csv = await openCsv(given.arguments[0], given.text("delimiter"));
    const { recipe, encoded } = prepare(csv, given, out);
    const { classes, columns, target } = recipe;
    const [rows, width] = encoded.x.shape;
    const y = encoded.y as Float32Array;
    const { xTrain, yTrain, xTest, yTest } = trainTestSplit(encoded.x, { data: y, shape: [rows] }, { testFraction, seed });
    const { mean, variance } = statistics(xTrain.data, width);
    checkScales(csv.path, recipe, { mean, variance }, out);
    const whole = filled(recipe, mean, xTrain.data, xTest.data);
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
    out.result(`${many(rows, "row")}, ${many(columns.length, "column")} as ${many(width, "number")}; ${target}: ${what}`);
    // Targets of any size are learned as if their mean were 0 and their deviation 1.
    const scale = statistics(yTrain.data, 1);
    if (classes === undefined) checkScales(csv.path, { columns: [{ name: target }] }, scale, out);
    const deviation = Math.sqrt(scale.variance[0]);
    const labels = classes === undefined ? yTrain.data.map((v) => (v - scale.mean[0]) / deviation) : Int32Array.from(yTrain.data);
    const interruption = interruptible(out);
    const history = await model
      .fit(xTrain, labels, {
        epochs,
        batchSize: fit.batchSize,
        validationSplit: 0.2,
        seed,
        callbacks: [earlyStopping({ patience: fit.patience, restoreBestWeights: true }), interruption.callback],
        verbose: given.flag("quiet") || !process.stderr.isTTY ? 0 : 1,
        stream: process.stderr,
      })
      .finally(interruption.end);
    if (classes === undefined) await unscale(model, scale.mean[0], deviation);
    const parameters = showCount(model.weights.reduce((n, w) => n + w.tensor.size, 0));
    const early = history.epoch.length < epochs ? `, as ${fit.patience} of them brought nothing better` : "";
    out.result(`${many(history.epoch.length, "epoch")}${interruption.interrupted() ? ", interrupted" : early}; ${parameters} parameters`);
    await report(whole, await (await model.predict(xTest)).data(), yTest.data, yTrain.data, out);
    await writeFile(path, await encodeWithRecipe(model, whole));
    out.note(`wrote ${path}; predict with: lockstep run ${path} --input OTHER.csv`);
    if (plot !== undefined) {
      await writeFile(plot, plotHistory(history).toSvg());
      out.note(`wrote ${plot}`);
    }
    return interruption.interrupted() ? INTERRUPTED : 0;
  },
};

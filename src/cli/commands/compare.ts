/** @file `lockstep compare A B --data ...`: models side by side. */
import { compareModels } from "../../inspect/index.ts";
import type { CompileModelOptions, Inputs, Model, Targets } from "../../index.ts";
import { readBytes } from "../../node/files.ts";
import { Failure, UsageError } from "../command.ts";
import type { Command, Given } from "../command.ts";
import { formatsHelp, openLayers } from "../formats.ts";
import { decodeText, readInput } from "../inputs.ts";
import { encodeTable, recipeIn } from "../tabular.ts";
import type { Recipe } from "../tabular.ts";

interface Data {
  readonly x: Inputs;
  readonly y: Targets | undefined;
  /** Class numbers, and not numbers. */
  readonly classes: boolean;
}

/** A table, for models that `lockstep train` made of the same columns. */
async function tableData(paths: readonly string[], csv: string, delimiter: string): Promise<Data> {
  const recipes: (Recipe | null)[] = [];
  for (const path of paths) recipes.push(await recipeIn(path));
  const missing = recipes.indexOf(null);
  if (missing >= 0) throw new Failure(`${paths[missing]} does not say what its columns are; tables are for models of lockstep train`);
  const [first, ...others] = recipes as Recipe[];
  const other = others.findIndex((r) => JSON.stringify(r) !== JSON.stringify(first));
  if (other >= 0) throw new Failure(`${paths[0]} and ${paths[other + 1]} were trained with other columns or classes, and take other data`);
  const { x, y } = encodeTable(decodeText(await readBytes(csv)), first, delimiter);
  const classes = first.classes !== undefined;
  return { x, y: y === null ? undefined : classes ? Int32Array.from(y) : y, classes };
}

async function dataOf(given: Given, paths: readonly string[], models: readonly Model[]): Promise<Data> {
  const data = given.text("data");
  if (data === undefined) throw new UsageError("say what they are to be compared on: --data DATA.csv, or --data X.npy --labels Y.npy");
  if (/\.[ct]sv$/i.test(data)) return tableData(paths, data, given.text("delimiter") ?? ",");
  const [{ inputShapes }] = models;
  if (inputShapes?.length !== 1) throw new Failure("models of several inputs are not compared here; use compareModels of lockstep/inspect");
  const x = await readInput(data, inputShapes[0], 255);
  const labels = given.text("labels");
  if (labels === undefined) return { x, y: undefined, classes: false };
  const y = await readInput(labels, null, 255);
  const numbers = await y.data();
  const classes = y.rank === 1 && numbers.every(Number.isInteger) && (models[0].outputShape.at(-1) ?? 1) > 1;
  return { x, y: classes ? Int32Array.from(numbers) : y, classes };
}

export const compare: Command = {
  name: "compare",
  summary: "Show models side by side: what they measure, their sizes, their times",
  usage: "A B ... --data DATA [options]",
  least: 2,
  most: 16,
  options: {
    data: { value: "DATA", short: "d", help: "a .csv with the target, for models of lockstep train, or inputs as .npy or .json" },
    labels: { value: "Y", help: "for .npy and .json: what they should give, as .npy or .json; without it sizes and times alone" },
    loss: { value: "NAME", help: "for models that are not compiled; default by the labels" },
    "batch-size": { value: "N", help: "samples computed together; default 32" },
    runs: { value: "N", help: "predictions that are timed, at least; default 20" },
    delimiter: { value: "C", help: "tables: between cells; default a comma" },
    json: { help: "as JSON" },
  },
  more: () => `${formatsHelp()}\n\nExample:\n  lockstep compare small.safetensors large.safetensors --data test.csv`,
  async run(given, out) {
    const options = { batchSize: given.count("batch-size", 32), runs: given.count("runs", 20) };
    const paths = given.arguments;
    const twice = paths.find((p, i) => paths.indexOf(p) !== i);
    if (twice !== undefined) throw new UsageError(`${twice} is given twice`);
    const models: Model[] = [];
    for (const path of paths) models.push(await openLayers(path));
    const { x, y, classes } = await dataOf(given, paths, models);
    for (const model of models) {
      if (y === undefined || model.optimizer) continue;
      const loss = (given.text("loss") ?? (classes ? "sparseCategoricalCrossentropy" : "meanSquaredError")) as CompileModelOptions["loss"];
      await model.compile({ loss, metrics: classes ? ["accuracy"] : ["mae"] });
    }
    const named = Object.fromEntries(paths.map((path, i) => [path.replace(/^.*[/\\](?=.)/, "") || path, models[i]]));
    const comparison = await compareModels(
      Object.keys(named).length === models.length ? named : Object.fromEntries(paths.map((p, i) => [p, models[i]])),
      x,
      y,
      options,
    );
    out.result(given.flag("json") ? JSON.stringify(comparison.models, null, 2) : String(comparison));
  },
};

/** @file `lockstep compare A B --data ...`: models side by side. */
import { compareModels } from "../../inspect/index.ts";
import type { CompileModelOptions, Inputs, Model, Targets } from "../../index.ts";
import { Failure, UsageError } from "../command.ts";
import type { Command, Given, Output } from "../command.ts";
import { formatsHelp, openLayers } from "../formats.ts";
import { readInput } from "../inputs.ts";
import { encodeTable, recipeIn } from "../tabular.ts";
import type { Recipe } from "../tabular.ts";
import { DELIMITER_HELP, isTable, openCsv } from "../texts.ts";

interface Data {
  readonly x: Inputs;
  readonly y: Targets | undefined;
  /** What models are measured by that do not say it. */
  readonly measures: Measures;
}

type Measures = Pick<CompileModelOptions, "loss" | "metrics">;

const NUMBERS: Measures = { loss: "meanSquaredError", metrics: ["meanAbsoluteError", "rootMeanSquaredError"] };
const CLASSES: Measures = { loss: "sparseCategoricalCrossentropy", metrics: ["accuracy"] };
const ROWS: Measures = { loss: "categoricalCrossentropy", metrics: ["accuracy"] };

/** What a recipe says but for what stands for missing numbers, which the rows of each training decide. */
const kindOf = (recipe: Recipe): string => JSON.stringify(recipe, (key, value: unknown) => (key === "fill" ? 0 : value));

/** A table, for models that `lockstep train` made of the same columns. */
async function tableData(paths: readonly string[], table: string, given: Given): Promise<Data> {
  const recipes: (Recipe | null)[] = [];
  for (const path of paths) recipes.push(/\.safetensors$/i.test(path) ? await recipeIn(path) : null);
  const missing = recipes.indexOf(null);
  if (missing >= 0) throw new Failure(`${paths[missing]} does not say what its columns are; tables are for models of lockstep train`);
  const [first, ...others] = recipes as Recipe[];
  const other = others.findIndex((r) => kindOf(r) !== kindOf(first));
  if (other >= 0) throw new Failure(`${paths[0]} and ${paths[other + 1]} were trained with other columns or classes, and take other data`);
  const { x, y } = encodeTable(await openCsv(table, given.text("delimiter")), first, true);
  if (first.classes === undefined) return { x, y: y as Float32Array, measures: NUMBERS };
  return { x, y: Int32Array.from(y as Float32Array), measures: CLASSES };
}

async function dataOf(given: Given, paths: readonly string[], models: readonly Model[]): Promise<Data> {
  const data = given.text("data");
  if (data === undefined) throw new UsageError("say what they are to be compared on: --data DATA.csv, or --data X.npy --labels Y.npy");
  const labels = given.text("labels");
  if (isTable(data)) {
    if (labels !== undefined) throw new UsageError("--labels are for .npy and .json; a table has its target in it");
    return tableData(paths, data, given);
  }
  const [{ inputShapes, outputShapes }] = models;
  if (inputShapes?.length !== 1) throw new Failure("models of several inputs are not compared here; use compareModels of lockstep/inspect");
  const x = await readInput(data, { shape: inputShapes[0], dtype: null });
  if (labels === undefined) return { x, y: undefined, measures: NUMBERS };
  const y = await readInput(labels, { shape: null, dtype: null });
  const numbers = await y.data();
  const classes = outputShapes[0].at(-1) ?? 1;
  if (y.rank === 1 && classes > 1 && numbers.every(Number.isInteger)) return { x, y: Int32Array.from(numbers), measures: CLASSES };
  // Rows of which one number is 1 name the class.
  const isRow = (i: number): boolean => Array.from(numbers.subarray(i * classes, (i + 1) * classes)).filter((v) => v === 1).length === 1;
  const oneHot = y.rank === 2 && y.shape[1] === classes && classes > 1 && numbers.every((v: number) => v === 0 || v === 1);
  return { x, y, measures: oneHot && Array.from({ length: y.shape[0] }, (_, i) => i).every(isRow) ? ROWS : NUMBERS };
}

/** The loss that a compiled model is measured by. */
const lossOf = (model: Model): string => model.training?.outputs.find((o) => o.loss !== null)?.loss?.name ?? "none";

/** Compiles models that are not, or all where the loss is said, and tells by what they are measured. */
async function compileAll(named: { readonly [name: string]: Model }, measures: Measures, given: Given, out: Output): Promise<void> {
  const said = given.text("loss");
  const loss = (said ?? measures.loss) as Measures["loss"];
  for (const model of Object.values(named)) if (said !== undefined || !model.optimizer) await model.compile({ ...measures, loss });
  const losses = Object.entries(named).map(([name, model]) => ({ name, loss: lossOf(model) }));
  const differ = losses.some((l) => l.loss !== losses[0].loss);
  if (!differ) out.note(`loss: ${losses[0].loss}${said === undefined ? "; another by --loss" : ""}`);
  else out.note(`loss of ${losses.map((l) => `${l.name}: ${l.loss}`).join(", of ")}: not to be compared; one for all by --loss`);
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
    loss: { value: "NAME", help: "of all models; default that of their files, or by the labels" },
    "batch-size": { value: "N", help: "samples computed together; default 32" },
    runs: { value: "N", help: "predictions that are timed, at least; default 20" },
    delimiter: { value: "C", help: DELIMITER_HELP },
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
    const { x, y, measures } = await dataOf(given, paths, models);
    const short = paths.map((path) => path.replace(/^.*[/\\](?=.)/, "") || path);
    const names = new Set(short).size === paths.length ? short : paths;
    const named = Object.fromEntries(names.map((name, i) => [name, models[i]]));
    if (y !== undefined) await compileAll(named, measures, given, out);
    const comparison = await compareModels(named, x, y, options);
    out.result(given.flag("json") ? JSON.stringify(comparison.models, null, 2) : String(comparison));
  },
};

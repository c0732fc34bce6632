/** @file `lockstep run FILE --input ...`: what a model computes. */
import type { Model, Tensor } from "../../index.ts";
import { showTable } from "../../inspect/table.ts";
import { Failure, UsageError } from "../command.ts";
import type { Command, Given, Output } from "../command.ts";
import { formatsHelp, openModel } from "../formats.ts";
import type { Opened } from "../formats.ts";
import { checkOutput, showTensor, writeOutputs } from "../inputs.ts";
import type { Named } from "../inputs.ts";
import { checkWritable, writeFile } from "../paths.ts";
import type { Scaling } from "../pictures.ts";
import { PROMPT_OPTIONS, runPrompt } from "../prompt.ts";
import { argmax } from "../report.ts";
import { compute, readInputs } from "../running.ts";
import { encodeTable, recipeIn } from "../tabular.ts";
import type { Recipe } from "../tabular.ts";
import { csvCell, DELIMITER_HELP, isTable, openCsv, readText } from "../texts.ts";

/** What is done to pictures; undefined: bytes become numbers from 0 to 1, or stay what they are where a model takes integers. */
function scalingOf(given: Given): Scaling | undefined {
  if (given.text("scale") === undefined && given.text("mean") === undefined) return undefined;
  const numbers = (name: string, fallback: string): number[] => {
    const list = (given.list(name) ?? [fallback]).map(Number);
    if (![1, 3].includes(list.length) || list.some((v) => !Number.isFinite(v) || (name === "scale" && v <= 0)))
      throw new UsageError(`--${name} must be a number, or three with commas between, got ${given.text(name)}`);
    return list;
  };
  return { mean: numbers("mean", "0"), scale: numbers("scale", "255") };
}

/** The greatest of each row, with their names. @throws Failure where there are not as many names */
async function best(t: Tensor, count: number, labels: readonly string[] | null, from: string | undefined): Promise<string> {
  const data = await t.data();
  const width = t.shape.at(-1) ?? 1;
  if (labels !== null && labels.length !== width)
    throw new Failure(`${from ?? "the model"} has ${labels.length} names, and the model gives ${width} numbers for each row`);
  const rows: (string[] | null)[] = [];
  for (let row = 0; row < t.size / (width || 1); row++) {
    const values = Array.from(data.subarray(row * width, (row + 1) * width), (value, i) => ({ value, i }));
    values.sort((a, b) => b.value - a.value || a.i - b.i);
    if (row > 0) rows.push(null);
    for (const { value, i } of values.slice(0, count))
      rows.push([String(row), labels?.[i] ?? String(i), Number(value.toPrecision(4)).toString()]);
  }
  return showTable(
    ["Row", "Class", "Value"].map((title, i) => ({ title, numbers: i !== 1 })),
    rows,
  );
}

/** Lines of a file; empty ones at the end are none. */
async function labelsFrom(path: string | undefined): Promise<string[] | null> {
  return path === undefined ? null : (await readText(path)).replace(/[\r\n]+$/, "").split(/\r?\n/);
}

/** Rows of a table, for a model that `lockstep train` made. */
async function runTable(model: Model, path: string, input: string, given: Given, out: Output): Promise<void> {
  const recipe = await recipeIn(path);
  if (recipe === null)
    throw new Failure(`${path} does not say what its columns are; tables are for models of lockstep train, give .npy or .json`);
  const csv = await openCsv(input, given.text("delimiter"));
  const { x } = encodeTable(csv, recipe, false);
  const output = await model.predict(x);
  const file = given.text("output");
  if (given.count("top", 0, 0) > 0 || (file !== undefined && !isTable(file)))
    return show([["output", output]], given, out, recipe.classes ?? null);
  const text = await predictionsCsv(output, recipe, csv.delimiter);
  if (file === undefined) return out.result(text);
  await writeFile(file, `${text}\n`);
  out.note(`wrote ${file}: ${x.shape[0]} rows`);
}

/** What is predicted for each row, as a table. */
async function predictionsCsv(t: Tensor, { classes, target }: Recipe, delimiter: string): Promise<string> {
  const data = await t.data();
  const width = t.shape[1];
  const cells = Array.from({ length: t.shape[0] }, (_, row): readonly string[] => {
    const values = data.subarray(row * width, (row + 1) * width);
    if (classes === undefined) return [String(Number(values[0].toPrecision(7)))];
    const most = argmax(values);
    return [classes[most], values[most].toFixed(4)];
  });
  const header = classes === undefined ? [target] : [target, "probability"];
  return [header, ...cells].map((row) => row.map((cell) => csvCell(cell, delimiter)).join(delimiter)).join("\n");
}

async function show(outputs: Named, given: Given, out: Output, classes: readonly string[] | null): Promise<void> {
  const file = given.text("labels");
  const labels = (await labelsFrom(file)) ?? classes;
  const top = given.count("top", 0, 0);
  const path = given.text("output");
  if (path !== undefined) {
    const files = await writeOutputs(path, outputs);
    return out.note(`wrote ${files.join(", ")}: ${outputs.map(([name, t]) => `${name} [${t.shape.join(", ")}]`).join(", ")}`);
  }
  for (const [name, t] of outputs) out.result(top > 0 ? await best(t, top, labels, file) : await showTensor(name, t));
}

/** What options say against each other, before anything is computed. @throws UsageError */
function checkTogether(given: Given): void {
  const output = given.text("output");
  if (given.text("labels") !== undefined && given.count("top", 0, 0) === 0)
    throw new UsageError("--labels are the names of what --top N shows: give both");
  if (output !== undefined && given.count("top", 0, 0) > 0) throw new UsageError("give --top, which shows, or --output, which writes all");
  if (output === undefined) return;
  const tables = given.texts("input").some(isTable);
  if (!(tables && isTable(output))) checkOutput(output);
  checkWritable(output);
}

/** The one table among inputs; null: there is none. @throws Failure for a table for what reads none */
function tableOf(opened: Opened, inputs: readonly string[]): string | null {
  const table = inputs.find(isTable) ?? null;
  if (table !== null && inputs.length > 1) throw new UsageError(`${table}: a table is an input alone`);
  if (table !== null && opened.kind === "net") throw new Failure(`${table}: tables are for models of lockstep train; give .npy or .json`);
  return table;
}

const OPTIONS: Command["options"] = Object.assign(
  {
    input: {
      value: "INPUT",
      short: "i",
      multiple: true,
      help: ".npy, .json, a picture, or a .csv for a model of lockstep train; for several inputs in order, or of ONNX NAME=INPUT",
    },
    output: { value: "OUT", short: "o", help: "write the result as .npy or .json, of tables as .csv, in the place of showing it" },
    top: { value: "N", help: "show the N greatest of each row: classes, with their numbers" },
    labels: { value: "FILE", help: "names of the classes for --top, a line each" },
    scale: {
      value: "N",
      help: "pictures: what samples from 0 to 255 are divided by, one number or R,G,B; default 255, where a model takes integers 1",
    },
    mean: { value: "N", help: "pictures: what is subtracted from samples before; default 0" },
    delimiter: { value: "C", help: DELIMITER_HELP },
  },
  PROMPT_OPTIONS,
  { from: { value: "FORMAT", help: "the format of FILE, where its name does not say it" } } satisfies Command["options"],
);

export const run: Command = {
  name: "run",
  summary: "Compute what a model gives for an input",
  usage: "FILE --input INPUT [options]",
  least: 1,
  most: 1,
  options: OPTIONS,
  more: () =>
    [
      formatsHelp(),
      "",
      "Examples:",
      "  lockstep run model.onnx --input x.npy --output y.npy",
      "  lockstep run classifier.keras --input cat.png --top 5 --labels names.txt",
      "  lockstep run mobilenet.h5 --input cat.png --mean 127.5 --scale 127.5 --top 5",
      '  lockstep run SmolLM2-135M --prompt "The sky is" --max-tokens 30',
    ].join("\n"),
  async run(given, out) {
    const [path] = given.arguments;
    const inputs = given.texts("input");
    const prompt = given.text("prompt");
    if (prompt !== undefined && inputs.length > 0) throw new UsageError("give --prompt or --input, and not both");
    if (prompt === undefined && inputs.length === 0)
      throw new UsageError("give what it is to be computed for: --input FILE, or for a checkpoint --prompt TEXT");
    checkTogether(given);
    const scaling = scalingOf(given);
    const opened = await openModel(path, given.text("from"));
    if (prompt !== undefined) {
      if (opened.kind === "net" || opened.pretrained === undefined)
        throw new Failure(`--prompt is for checkpoints of Hugging Face and GGUF files; ${path} is none, give --input`);
      return show(await runPrompt(opened.pretrained, given, out), given, out, null);
    }
    const table = tableOf(opened, inputs);
    if (table !== null && opened.kind === "model") return runTable(opened.model, path, table, given, out);
    const labels = opened.kind === "model" && opened.pretrained?.task === "image-classification" ? opened.pretrained.labels : null;
    await show(await compute(opened, await readInputs(opened, inputs, scaling)), given, out, labels);
  },
};

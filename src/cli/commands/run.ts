/** @file `lockstep run FILE --input ...`: what a model computes. */
import { Tensor } from "../../index.ts";
import type { Model } from "../../index.ts";
import { readBytes } from "../../node/files.ts";
import { showTable } from "../../inspect/table.ts";
import { Failure, UsageError } from "../command.ts";
import type { Command, Given, Output } from "../command.ts";
import { formatsHelp, openModel } from "../formats.ts";
import type { Net } from "../formats.ts";
import { decodeText, readInput, showTensor, writeOutputs } from "../inputs.ts";
import { encodeTable, recipeIn } from "../tabular.ts";

type Named = readonly (readonly [string, Tensor])[];

/** `name=path`, or a path. */
function split(input: string): readonly [string | null, string] {
  const at = /^[\w.:/-]+=/.exec(input)?.[0].length ?? 0;
  return at === 0 ? [null, input] : [input.slice(0, at - 1), input.slice(at)];
}

async function runModel(model: Model, inputs: readonly string[], scale: number): Promise<Named> {
  const shapes = model.inputShapes;
  if (shapes === null) throw new Failure("the model does not say what it takes");
  if (inputs.length !== shapes.length)
    throw new UsageError(`the model takes ${shapes.length} input${shapes.length === 1 ? "" : "s"}, got ${inputs.length} of --input`);
  const given = await Promise.all(inputs.map((input, i) => readInput(split(input)[1], shapes[i], scale)));
  const output: unknown = await model.predict(given.length === 1 ? given[0] : given);
  if (output instanceof Tensor) return [["output", output]];
  return Object.entries(output as { readonly [name: string]: Tensor }).map(([key, t], i) => [model.outputNames[i] || key, t]);
}

async function runNet(net: Net, inputs: readonly string[], scale: number): Promise<Named> {
  const left = net.inputs.map((i) => i.name);
  const given: { [name: string]: Tensor } = {};
  for (const input of inputs) {
    const [name, path] = split(input);
    const own = name !== null && net.inputs.some((i) => i.name === name) ? name : left[0];
    if (own === undefined || !left.includes(own)) throw new UsageError(`the model takes ${net.inputs.map((i) => i.name).join(", ")}`);
    left.splice(left.indexOf(own), 1);
    // The first size is that of the batch, as far as the file says any.
    const { shape } = net.inputs.find((i) => i.name === own) as Net["inputs"][number];
    given[own] = await readInput(name === own ? path : input, shape === null || shape.length === 0 ? null : shape.slice(1), scale);
  }
  if (left.length > 0) throw new UsageError(`inputs are missing: --input ${left.map((n) => `${n}=FILE`).join(" --input ")}`);
  return Object.entries(await net.run(given));
}

/** The greatest of each row, with their names. */
async function best(t: Tensor, count: number, labels: readonly string[] | null): Promise<string> {
  const data = await t.data();
  const width = t.shape.at(-1) ?? 1;
  const rows: (string[] | null)[] = [];
  for (let row = 0; row < t.size / width; row++) {
    const values = Array.from(data.subarray(row * width, (row + 1) * width), (value, i) => ({ value, i }));
    values.sort((a, b) => b.value - a.value);
    if (row > 0) rows.push(null);
    for (const { value, i } of values.slice(0, count)) rows.push([String(row), labels?.[i] ?? String(i), value.toFixed(4)]);
  }
  return showTable(
    ["Row", "Class", "Value"].map((title, i) => ({ title, numbers: i !== 1 })),
    rows,
  );
}

/** Lines of a file. */
async function labelsFrom(path: string | undefined): Promise<string[] | null> {
  return path === undefined
    ? null
    : decodeText(await readBytes(path))
        .split(/\r?\n/)
        .filter((line) => line !== "");
}

/** Rows of a table, for a model that `lockstep train` made. */
async function runTable(
  model: Model,
  path: string,
  csv: string,
  delimiter: string,
): Promise<{ outputs: Named; classes: readonly string[] | null; target: string }> {
  const recipe = await recipeIn(path);
  if (recipe === null)
    throw new Failure(`${path} does not say what its columns are; tables are for models of lockstep train, give .npy or .json`);
  const { x } = encodeTable(decodeText(await readBytes(csv)), recipe, delimiter);
  return { outputs: [["output", await model.predict(x)]], classes: recipe.classes ?? null, target: recipe.target };
}

/** What is predicted for each row, as a table of comma-separated values. */
async function predictionsCsv(t: Tensor, classes: readonly string[] | null, target: string): Promise<string> {
  const data = await t.data();
  const width = t.shape[1];
  const lines = Array.from({ length: t.shape[0] }, (_, row) => {
    const values = data.subarray(row * width, (row + 1) * width);
    if (classes === null) return String(Number(values[0].toPrecision(7)));
    const most = values.indexOf(Math.max(...values));
    const name = classes[most];
    return `${/[",\r\n]/.test(name) ? JSON.stringify(name).replaceAll('\\"', '""') : name},${values[most].toFixed(4)}`;
  });
  return [classes === null ? target : `${target},probability`, ...lines].join("\n");
}

async function show(outputs: Named, given: Given, out: Output, classes: readonly string[] | null): Promise<void> {
  const labels = (await labelsFrom(given.text("labels"))) ?? classes;
  const top = given.count("top", 0, 0);
  const path = given.text("output");
  if (path !== undefined) {
    await writeOutputs(path, outputs);
    return out.note(`wrote ${path}: ${outputs.map(([name, t]) => `${name} [${t.shape.join(", ")}]`).join(", ")}`);
  }
  for (const [name, t] of outputs) out.result(top > 0 ? await best(t, top, labels) : await showTensor(name, t));
}

export const run: Command = {
  name: "run",
  summary: "Compute what a model gives for an input",
  usage: "FILE --input INPUT [options]",
  least: 1,
  most: 1,
  options: {
    input: {
      value: "INPUT",
      short: "i",
      multiple: true,
      help: ".npy, .json, a picture, or a .csv for a model of lockstep train;\nfor several inputs in their order, or NAME=INPUT",
    },
    output: { value: "OUT", short: "o", help: "write the result as .npy or .json, in the place of showing it" },
    top: { value: "N", help: "show the N greatest of each row: classes, with their numbers" },
    labels: { value: "FILE", help: "names of the classes, a line each" },
    scale: { value: "N", help: "pictures: what bytes are divided by; default 255" },
    delimiter: { value: "C", help: "tables: between cells; default a comma" },
    from: { value: "FORMAT", help: "the format of FILE, where its name does not say it" },
  },
  more: () =>
    [
      formatsHelp(),
      "Examples:",
      "  lockstep run model.onnx --input x.npy --output y.npy",
      "  lockstep run classifier.keras --input cat.png --top 5 --labels names.txt",
    ].join("\n"),
  async run(given, out) {
    const [path] = given.arguments;
    const inputs = given.texts("input");
    if (inputs.length === 0) throw new UsageError("give what it is to be computed for: --input FILE");
    const scale = given.number("scale", 255, Number.MIN_VALUE);
    const opened = await openModel(path, given.text("from"));
    const csv = inputs.length === 1 && /\.[ct]sv$/i.test(inputs[0]) ? inputs[0] : null;
    if (csv !== null && opened.kind === "model") {
      const { outputs, classes, target } = await runTable(opened.model, path, csv, given.text("delimiter") ?? ",");
      if (given.text("output") !== undefined || given.flag("top")) return show(outputs, given, out, classes);
      return out.result(await predictionsCsv(outputs[0][1], classes, target));
    }
    const outputs = opened.kind === "net" ? await runNet(opened.net, inputs, scale) : await runModel(opened.model, inputs, scale);
    await show(outputs, given, out, null);
  },
};

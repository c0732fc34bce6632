/** @file `lockstep convert IN OUT`: a model from one format to another. */
import { builtin } from "../../node/files.ts";
import { Failure } from "../command.ts";
import type { Command } from "../command.ts";
import { formatsHelp, formatTo, openModel } from "../formats.ts";
import { checkWritable, writeFile } from "../paths.ts";
import { encodeWithRecipe, recipeIn } from "../tabular.ts";

export const convert: Command = {
  name: "convert",
  summary: "Write a model in another format",
  usage: "IN OUT [options]",
  least: 2,
  most: 2,
  options: {
    from: { value: "FORMAT", help: "the format of IN, where its name does not say it" },
    to: { value: "FORMAT", help: "the format of OUT, where its name does not say it" },
    force: { short: "f", help: "replace OUT where it is there already" },
  },
  more: () => `${formatsHelp()}\n\nExample:\n  lockstep convert model.keras model.safetensors`,
  async run(given, out) {
    const [from, to] = given.arguments;
    // Before a large file is read.
    const format = formatTo(to, given.text("to"));
    const file = format.fileOf?.(to) ?? to;
    if (builtin("node:fs")?.existsSync(file) === true && !given.flag("force"))
      throw new Failure(`${file} is there already; give --force to replace it`);
    if (format.fileOf === undefined) checkWritable(to);
    const opened = await openModel(from, given.text("from"));
    if (opened.kind === "net") {
      if (format.name === opened.format.name) throw new Failure(`${from} is ${format.title} already; copy the file`);
      if (format.writeNet === undefined)
        throw new Failure(
          `${from} is a graph of operators, which has no layers and so becomes no other format; its weights can be written ` +
            `(lockstep convert ${from} OUT.safetensors), and loadOnnx of lockstep/onnx runs and trains it`,
        );
      return out.note(`wrote ${to}: ${await format.writeNet(opened.net, to)}`);
    }
    const { model } = opened;
    // What a model of `lockstep train` knows of its table stays with it where there is a place for it.
    const recipe = opened.format.name === "lockstep" ? await recipeIn(from) : null;
    if (recipe !== null && format.name === "lockstep") await writeFile(to, await encodeWithRecipe(model, recipe));
    else await format.write(model, to);
    const parameters = model.weights.reduce((n, w) => n + w.tensor.size, 0);
    if (recipe !== null && format.name !== "lockstep")
      out.note("what the model knows of its table (columns, classes) has no place in this format");
    out.note(`wrote ${to} (${format.title}): ${model.layers.length} layers, ${parameters.toLocaleString("en-US")} parameters`);
  },
};

/** @file `lockstep convert IN OUT`: a model from one format to another. */
import { builtin } from "../../node/files.ts";
import { Failure } from "../command.ts";
import type { Command } from "../command.ts";
import { formatsHelp, formatTo, openLayers } from "../formats.ts";
import { writeFile } from "../inputs.ts";
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
    const fs = builtin("node:fs");
    if (fs?.existsSync(to) === true && !given.flag("force") && !fs.statSync(to).isDirectory())
      throw new Failure(`${to} is there already; give --force to replace it`);
    const model = await openLayers(from, given.text("from"));
    // What a model of `lockstep train` knows of its table stays with it where there is a place for it.
    const recipe = await recipeIn(from);
    if (recipe !== null && format.name === "lockstep") await writeFile(to, await encodeWithRecipe(model, recipe));
    else await format.write(model, to);
    const parameters = model.weights.reduce((n, w) => n + w.tensor.size, 0);
    out.note(`wrote ${to} (${format.title}): ${model.layers.length} layers, ${parameters.toLocaleString("en-US")} parameters`);
  },
};

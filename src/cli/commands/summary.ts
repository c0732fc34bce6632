/** @file `lockstep summary FILE`: what is in a file. */
import { modelToMermaid, plotModel } from "../../inspect/index.ts";
import { sizeOf } from "../../shape.ts";
import { showCount, showSizes, showTable } from "../../inspect/table.ts";
import { Failure } from "../command.ts";
import type { Command, Output } from "../command.ts";
import { formatsHelp, openModel } from "../formats.ts";
import type { Net } from "../formats.ts";
import { checkSvg, checkWritable, writeFile } from "../paths.ts";

const shown = (shape: readonly (number | null)[] | null): string => (shape === null ? "?" : showSizes(shape, "scalar"));

function showNet(net: Net, out: Output): void {
  const rows = (kind: string, values: Net["inputs"]): string[][] =>
    values.map((v) => [kind, v.name, String(v.dtype ?? "?"), shown(v.shape)]);
  out.result(
    showTable(
      ["", "Name", "Type", "Shape"].map((title) => ({ title })),
      [...rows("input", net.inputs), ...rows("output", net.outputs)],
    ),
  );
  const parameters = [...net.weights.values()].reduce((n, t) => n + t.size, 0);
  out.result(`Parameters: ${showCount(parameters)} in ${net.weights.size} tensors`);
}

/** Tensors of a safetensors file that is no model of Lockstep's. */
async function showTensors(path: string, out: Output): Promise<void> {
  const { openSafetensors } = await import("../../safetensors/index.ts");
  const { tensors, metadata } = await openSafetensors(path);
  const columns = ["Tensor", "Type", "Shape", "Elements"].map((title, i) => ({ title, numbers: i === 3 }));
  out.result(
    showTable(
      columns,
      [...tensors].map(([name, t]) => [name, t.dtype, shown(t.shape), showCount(sizeOf(t.shape))]),
    ),
  );
  const total = [...tensors.values()].reduce((n, t) => n + sizeOf(t.shape), 0);
  out.result(`Parameters: ${showCount(total)} in ${tensors.size} tensors; weights alone, without a model`);
  for (const [key, value] of Object.entries(metadata)) out.result(`${key}: ${value.length > 100 ? `${value.slice(0, 100)}...` : value}`);
}

/** A file of tensors without Lockstep's description, or of a model that is a function. */
async function isTensorsAlone(path: string): Promise<boolean> {
  const { openSafetensors } = await import("../../safetensors/index.ts");
  const { metadata } = await openSafetensors(path);
  if (metadata.lockstep === undefined) return true;
  try {
    return (JSON.parse(metadata.lockstep) as { readonly sequential?: boolean } | null)?.sequential === false;
  } catch {
    // Damaged: who reads the model says so.
    return false;
  }
}

export const summary: Command = {
  name: "summary",
  summary: "Show the layers of a model, or the tensors of a file",
  usage: "FILE [options]",
  least: 1,
  most: 1,
  options: {
    from: { value: "FORMAT", help: "the format, where the name does not say it" },
    mermaid: { help: "the graph as text for Mermaid, in the place of the table" },
    svg: { value: "OUT.svg", help: "write the graph as a picture" },
  },
  more: formatsHelp,
  async run(given, out) {
    const [path] = given.arguments;
    const svg = checkSvg("svg", given.text("svg"));
    if (svg !== undefined) checkWritable(svg);
    const drawing = given.flag("mermaid") || svg !== undefined;
    if (given.text("from") === undefined && /\.safetensors$/i.test(path) && (await isTensorsAlone(path))) {
      if (drawing) throw new Failure(`${path} has weights alone, and no layers`);
      return showTensors(path, out);
    }
    const opened = await openModel(path, given.text("from"));
    if (opened.kind === "net") {
      if (drawing) throw new Failure(`${path} is a graph of operators; its layers are not known`);
      return showNet(opened.net, out);
    }
    const { model } = opened;
    if (given.flag("mermaid")) out.result((await modelToMermaid(model)).trimEnd());
    else model.summary((text) => out.result(text));
    if (svg === undefined) return;
    await writeFile(svg, (await plotModel(model)).toSvg());
    out.note(`wrote ${svg}`);
  },
};

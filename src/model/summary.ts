/** @file The table that `summary()` prints. */
import type { Layer } from "../nn/layer.ts";
import { showShape } from "../shape.ts";
import type { Shape } from "../shape.ts";
import type { InferenceModel } from "./inference.ts";

const count = (n: number): string => n.toLocaleString("en-US");

function bytes(parameters: number): string {
  const b = parameters * 4;
  return b < 1024 ? `${b} B` : b < 1024 ** 2 ? `${(b / 1024).toFixed(2)} KB` : `${(b / 1024 ** 2).toFixed(2)} MB`;
}

const sizeOfWeights = (l: Layer, only?: boolean): number => l.weights.reduce((n, w) => n + (only === undefined || w.trainable === only ? w.tensor.size : 0), 0);

export function summaryOf(model: InferenceModel, outputOf: (layer: Layer) => Shape | null): string {
  const rows = [
    ["Layer (type)", "Output shape", "Parameters"],
    ...model.layers.map((l) => {
      const shape = outputOf(l);
      return [`${l.name} (${l.kind})`, shape === null ? "?" : showShape([null, ...shape].map((d) => d ?? ("batch" as unknown as number))), l.built ? count(sizeOfWeights(l)) : "? (not built)"];
    }),
  ];
  const widths = [0, 1, 2].map((c) => Math.max(...rows.map((r) => r[c].length)));
  const line = (left: string, middle: string, right: string): string => left + widths.map((w) => "─".repeat(w + 2)).join(middle) + right;
  const text = rows.map((r) => `│ ${r[0].padEnd(widths[0])} │ ${r[1].padEnd(widths[1])} │ ${r[2].padStart(widths[2])} │`);
  const trainable = model.layers.reduce((n, l) => n + sizeOfWeights(l, true), 0);
  const fixed = model.layers.reduce((n, l) => n + sizeOfWeights(l, false), 0);
  return [
    `Model: "${model.name}"`,
    line("┌", "┬", "┐"),
    text[0],
    line("├", "┼", "┤"),
    ...text.slice(1),
    line("└", "┴", "┘"),
    `Parameters: ${count(trainable + fixed)} (${bytes(trainable + fixed)}), trainable ${count(trainable)} (${bytes(trainable)}), other ${count(fixed)} (${bytes(fixed)})`,
  ].join("\n");
}

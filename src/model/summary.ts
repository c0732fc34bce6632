/** @file The table that `summary()` prints. */
import type { Layer } from "../nn/layer.ts";
import { showShape } from "../shape.ts";
import type { OpenShape } from "../shape.ts";

const count = (n: number): string => n.toLocaleString("en-US");

function bytes(b: number): string {
  return b < 1024 ? `${b} B` : b < 1024 ** 2 ? `${(b / 1024).toFixed(2)} KB` : `${(b / 1024 ** 2).toFixed(2)} MB`;
}

/** Elements of the weights, or of those only that are trainable or not. */
const parameters = (layers: readonly Layer[], trainable?: boolean): number =>
  layers.reduce((n, l) => l.weights.reduce((m, w) => m + (trainable === !w.trainable ? 0 : w.tensor.size), n), 0);

export function summaryOf(
  model: { readonly name: string; readonly layers: readonly Layer[] },
  outputOf: (layer: Layer) => OpenShape | null,
): string {
  const rows = [
    ["Layer (type)", "Output shape", "Parameters"],
    ...model.layers.map((l) => {
      const shape = outputOf(l);
      const shown = shape === null ? "?" : showShape(["batch" as unknown as number, ...shape]);
      return [`${l.name} (${l.kind})`, shown, l.built ? count(parameters([l])) : "? (not built)"];
    }),
  ];
  const widths = [0, 1, 2].map((c) => Math.max(...rows.map((r) => r[c].length)));
  const line = (left: string, middle: string, right: string): string => left + widths.map((w) => "─".repeat(w + 2)).join(middle) + right;
  const text = rows.map((r) => `│ ${r[0].padEnd(widths[0])} │ ${r[1].padEnd(widths[1])} │ ${r[2].padStart(widths[2])} │`);
  const totals = [["Parameters:", undefined], ["trainable", true], ["other", false]] as const;
  return [
    `Model: "${model.name}"`,
    line("┌", "┬", "┐"),
    text[0],
    line("├", "┼", "┤"),
    ...text.slice(1),
    line("└", "┴", "┘"),
    totals
      .map(
        ([what, trainable]) => `${what} ${count(parameters(model.layers, trainable))} (${bytes(4 * parameters(model.layers, trainable))})`,
      )
      .join(", "),
  ].join("\n");
}

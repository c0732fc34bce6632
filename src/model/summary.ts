/** @file The table that `summary()` prints. */
import { bytesOf } from "../dtype.ts";
import type { Layer } from "../nn/layer.ts";
import { showShape } from "../shape.ts";
import type { OpenShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";

const count = (n: number): string => n.toLocaleString("en-US");

function bytes(b: number): string {
  return b < 1024 ? `${b} B` : b < 1024 ** 2 ? `${(b / 1024).toFixed(2)} KB` : `${(b / 1024 ** 2).toFixed(2)} MB`;
}

/** The sum over the weights, or over those only that are trainable or not. */
const sumOf = (layers: readonly Layer[], of: (t: Tensor) => number, trainable?: boolean): number =>
  layers.reduce((n, l) => l.weights.reduce((m, w) => m + (trainable === !w.trainable ? 0 : of(w.tensor)), n), 0);

const elements = (t: Tensor): number => t.size;

/** As they are kept: those in few bits take less than 4 bytes an element. */
const storedBytes = (t: Tensor): number => bytesOf(t.size, t.storage);

export function summaryOf(
  model: { readonly name: string; readonly layers: readonly Layer[] },
  outputOf: (layer: Layer) => OpenShape | null,
): string {
  const rows = [
    ["Layer (type)", "Output shape", "Parameters"],
    ...model.layers.map((l) => {
      const shape = outputOf(l);
      const shown = shape === null ? "?" : showShape(["batch" as unknown as number, ...shape]);
      return [`${l.name} (${l.kind})`, shown, l.built ? count(sumOf([l], elements)) : "? (not built)"];
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
        ([what, trainable]) =>
          `${what} ${count(sumOf(model.layers, elements, trainable))} (${bytes(sumOf(model.layers, storedBytes, trainable))})`,
      )
      .join(", "),
  ].join("\n");
}

/** @file How well a model of a table predicts rows that it was not trained on. */
import { classificationReport } from "../inspect/index.ts";
import { showTable } from "../inspect/table.ts";
import { Failure } from "./command.ts";
import type { Output } from "./command.ts";
import type { Recipe } from "./tabular.ts";

/** Wider matrices of classes are no reading matter. */
const MOST_CLASSES = 12;

/** The place of the greatest. */
export const argmax = (values: ArrayLike<number>): number => {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
};

const meanOf = (values: Float32Array): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Of numbers: mean absolute error, root mean squared error, and R2 as scikit-learn's `r2_score`, beside what the mean alone gives. */
function numbersReport(predicted: ArrayLike<number>, y: Float32Array, trained: Float32Array): string {
  const errors = (of: (i: number) => number): readonly [absolute: number, squared: number] => {
    let [absolute, squared] = [0, 0];
    y.forEach((v, i) => {
      absolute += Math.abs(v - of(i));
      squared += (v - of(i)) ** 2;
    });
    return [absolute / y.length, squared / y.length];
  };
  const [mean, own] = [meanOf(trained), meanOf(y)];
  const [, spread] = errors(() => own);
  const n = (v: number): string => String(Number(v.toPrecision(4)));
  const row = (name: string, of: (i: number) => number): string[] => {
    const [absolute, squared] = errors(of);
    return [name, n(absolute), n(Math.sqrt(squared)), spread === 0 ? "" : n(1 - squared / spread)];
  };
  return showTable(
    ["", "Mean absolute error", "Root mean squared error", "R2"].map((title, i) => ({ title, numbers: i > 0 })),
    [row("model", (i) => predicted[i]), row("always the mean", () => mean)],
  );
}

/**
 * Tells of predictions of rows that were not trained on. `trained`: targets of those that were. @throws Failure where they are no numbers
 */
export async function report(
  recipe: Recipe,
  predicted: ArrayLike<number>,
  y: Float32Array,
  trained: Float32Array,
  out: Output,
): Promise<void> {
  if (Array.from(predicted).some((v) => !Number.isFinite(v)))
    throw new Failure("training has gone astray: the model gives no numbers; try a smaller --learning-rate, and look for extreme numbers");
  const title = `Test, ${y.length} rows that were not trained on:`;
  const { classes } = recipe;
  if (classes === undefined) return out.result(`${title}\n${numbersReport(predicted, y, trained)}`);
  const width = classes.length;
  const all = Float32Array.from(predicted);
  const numbers = Array.from(y, (_, i) => argmax(all.subarray(i * width, (i + 1) * width)));
  const result = await classificationReport([...y], numbers, { labels: classes });
  out.result(`${title}\n${result}`);
  if (width <= MOST_CLASSES) out.result(result.matrixText());
  const common = argmax(classes.map((_, c) => trained.reduce((n, v) => n + Number(v === c), 0)));
  const part = y.reduce((n, v) => n + Number(v === common), 0) / y.length;
  out.result(`Always ${JSON.stringify(classes[common])} would be right in ${part.toFixed(4)} of the rows.`);
}

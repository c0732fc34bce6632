/** @file How a classifier does for each class: precision, recall, F1, and which classes are taken for which. */
import { checkCount, checkNumber, checkOptions, kindOf } from "../check.ts";
import { ArgumentError, DataError, ShapeError, Tensor } from "../index.ts";
import { Drawing, textWidth } from "./drawing.ts";
import type { Mark } from "./drawing.ts";
import { showCount, showTable } from "./table.ts";

/** Class numbers, probabilities [samples, classes] or one-hot rows. */
export type ClassValues =
  readonly number[] | Exclude<ArrayBufferView & ArrayLike<number>, DataView> | readonly (readonly number[])[] | Tensor;

/** Options of `classificationReport`. */
export interface ClassificationReportOptions {
  /** Names of the classes, in their order. Default: their numbers. */
  readonly labels?: readonly string[];
  /** Digits behind the point in the text. Default 4. */
  readonly digits?: number;
  /**
   * Where one number per sample is given, and not whole ones alone, from where on it is class 1. Default 0.5, for probabilities; for logits
   * give 0.
   */
  readonly threshold?: number;
}

/** Numbers of one class, or means over all. */
export interface ClassScores {
  /** Of those that were predicted to be of the class, the part that is. 0 where none was. */
  readonly precision: number;
  /** Of those that are of the class, the part that was predicted to be. 0 where none is. */
  readonly recall: number;
  /** 2 precision recall / (precision + recall); 0 where both are. */
  readonly f1: number;
  /** Samples that are of the class. */
  readonly support: number;
}

/** How a classifier does. As text it is the table that scikit-learn prints. */
export class ClassificationReport {
  /** Names of the classes. */
  readonly labels: readonly string[];
  /** `matrix[i][j]`: samples of class i that were taken for class j. */
  readonly matrix: readonly (readonly number[])[];
  /** By class. */
  readonly classes: readonly ClassScores[];
  /** Part of the samples that are right. */
  readonly accuracy: number;
  /** Means over the classes that samples are of or were taken for. */
  readonly macro: ClassScores;
  /** Means over classes, each counted by its support. */
  readonly weighted: ClassScores;
  readonly #digits: number;

  /** @internal */
  constructor(matrix: readonly (readonly number[])[], labels: readonly string[], digits: number) {
    this.matrix = matrix;
    this.labels = labels;
    this.#digits = digits;
    const part = (a: number, b: number): number => (b === 0 ? 0 : a / b);
    this.classes = matrix.map((row, i): ClassScores => {
      const support = row.reduce((a, b) => a + b, 0);
      const predicted = matrix.reduce((sum, r) => sum + r[i], 0);
      const [precision, recall] = [part(row[i], predicted), part(row[i], support)];
      return { precision, recall, f1: part(2 * precision * recall, precision + recall), support };
    });
    const total = this.classes.reduce((sum, c) => sum + c.support, 0);
    this.accuracy = part(
      matrix.reduce((sum, row, i) => sum + row[i], 0),
      total,
    );
    const mean = (weightOf: (c: ClassScores) => number, of: number): ClassScores => {
      const over = (key: "precision" | "recall" | "f1"): number =>
        part(
          this.classes.reduce((sum, c) => sum + c[key] * weightOf(c), 0),
          of,
        );
      return { precision: over("precision"), recall: over("recall"), f1: over("f1"), support: total };
    };
    // As scikit-learn's: a class that nothing is of and nothing was taken for says nothing.
    const occurs = ({ support }: ClassScores, i: number): boolean => support > 0 || matrix.some((row) => row[i] > 0);
    const occurring = new Set(this.classes.filter(occurs));
    this.macro = mean((c) => Number(occurring.has(c)), occurring.size);
    this.weighted = mean((c) => c.support, total);
  }

  /** The table: a row for each class, accuracy, and the means. */
  toString(): string {
    const n = (v: number): string => v.toFixed(this.#digits);
    const row = (name: string, s: ClassScores): string[] => [name, n(s.precision), n(s.recall), n(s.f1), showCount(s.support)];
    return showTable(
      ["Class", "Precision", "Recall", "F1", "Support"].map((title, i) => ({ title, numbers: i > 0 })),
      [
        ...this.classes.map((c, i) => row(this.labels[i], c)),
        null,
        ["accuracy", "", "", n(this.accuracy), showCount(this.macro.support)],
        row("macro average", this.macro),
        row("weighted average", this.weighted),
      ],
    );
  }

  /** The confusion matrix as a table of text: rows are what samples are, columns what they were taken for. */
  matrixText(): string {
    return showTable(
      ["is \\ taken for", ...this.labels].map((title, i) => ({ title, numbers: i > 0 })),
      this.matrix.map((row, i) => [this.labels[i], ...row.map(showCount)]),
    );
  }

  /** The confusion matrix as a drawing. */
  plot(): Drawing {
    return plotConfusionMatrix(this.matrix, { labels: this.labels });
  }
}

type Rows = readonly (readonly number[])[] | ArrayLike<number>;

/** What was given as an array, or as rows of one. @throws ArgumentError for promises and what is no array */
async function rowsOf(who: string, name: string, given: unknown): Promise<Rows> {
  if (given instanceof Tensor) {
    const { shape } = given;
    const host = await given.data();
    if (shape.length > 2) throw new ShapeError(`${who}: ${name} must be [samples] or [samples, classes], got [${shape.join(", ")}]`);
    const [rows, columns = 1] = shape;
    if (shape.length < 2 || columns === 1) return host;
    return Array.from({ length: rows }, (_, i) => Array.from(host.subarray(i * columns, (i + 1) * columns)));
  }
  if (!Array.isArray(given) && !(ArrayBuffer.isView(given) && !(given instanceof DataView)))
    throw new ArgumentError(`${who}: ${name} must be class numbers, or rows of probabilities, got ${kindOf(given)}`);
  return given as Rows;
}

/** Class numbers. */
async function classesOf(
  who: string,
  name: string,
  given: unknown,
  threshold: number | null,
): Promise<{ readonly numbers: readonly number[]; readonly columns: number }> {
  const rows = Array.from((await rowsOf(who, name, given)) as ArrayLike<unknown>);
  const columns = rows.reduce<number>((most, r) => Math.max(most, Array.isArray(r) ? r.length : 0), 0);
  // One number: a class, or, where not all are whole, the probability of class 1.
  const single = rows.map((r) => (Array.isArray(r) ? (r as unknown[])[0] : r) as number);
  const areParts = columns <= 1 && single.some((v) => typeof v === "number" && !Number.isNaN(v) && !Number.isInteger(v));
  const numbers = rows.map((row, i) => {
    const values = (Array.isArray(row) ? row : [row]) as unknown[];
    const wrong = values.find((v) => typeof v !== "number" || Number.isNaN(v));
    if (wrong !== undefined || values.length === 0)
      throw new DataError(`${who}: ${name}[${i}] must be numbers, got ${values.length === 0 ? "nothing" : String(wrong)}`);
    const list = values as number[];
    if (columns > 1 && list.length !== columns)
      throw new ShapeError(`${who}: rows of ${name} must be equally long, got ${columns} and, in row ${i}, ${list.length}`);
    if (columns > 1) return list.reduce((best, v, c) => (v > list[best] ? c : best), 0);
    if (!areParts) return list[0];
    if (threshold === null && !(list[0] >= 0 && list[0] <= 1))
      throw new DataError(
        `${who}: ${name}[${i}] must be a class number or a probability from 0 to 1, got ${list[0]}; give threshold for other numbers`,
      );
    return Number(list[0] >= (threshold ?? DEFAULT_THRESHOLD));
  });
  const negative = numbers.findIndex((c) => c < 0);
  if (negative >= 0) throw new DataError(`${who}: ${name}[${negative}] must be a class number of at least 0, got ${numbers[negative]}`);
  return { numbers, columns };
}

/**
 * How well predictions name the class: precision, recall and F1 of each class, accuracy, means, and the confusion matrix.
 * @param yTrue what samples are: class numbers, or one-hot rows
 * @param yPred what they were taken for: class numbers, or what `predict` gave, of which the class with the greatest number counts; of one
 * probability per sample, class 1 from `threshold` on
 * @throws ArgumentError for what is no list, DataError for lengths that differ, no samples, what is no class, and labels that are too few
 * @example const report = await classificationReport(labels, await model.predict(x), { labels: ["cat", "dog"] });
 * console.log(`${report}`);
 */
export async function classificationReport(
  yTrue: ClassValues,
  yPred: ClassValues,
  options?: ClassificationReportOptions,
): Promise<ClassificationReport> {
  const who = "classificationReport";
  const { labels, digits = 4, threshold = null } = checkOptions(who, options, ["labels", "digits", "threshold"]);
  checkCount(who, "digits", digits, 0);
  if (digits > MOST_DIGITS) throw new ArgumentError(`${who}: digits must be at most ${MOST_DIGITS}, got ${digits}`);
  if (threshold !== null) checkNumber(who, "threshold", threshold, -Infinity);
  const truth = await classesOf(who, "yTrue", yTrue, threshold);
  const predicted = await classesOf(who, "yPred", yPred, threshold);
  const samples = truth.numbers.length;
  if (samples !== predicted.numbers.length) throw new DataError(`${who}: yTrue has ${samples} samples, yPred ${predicted.numbers.length}`);
  if (samples === 0) throw new DataError(`${who}: there are no samples`);
  const least = Math.max(
    truth.columns,
    predicted.columns,
    ...[truth, predicted].map((c) => 1 + c.numbers.reduce((a, b) => Math.max(a, b))),
  );
  if (labels !== undefined && labels.length < least)
    throw new DataError(`${who}: there are classes up to ${least - 1}, and ${labels.length} labels`);
  const count = labels?.length ?? least;
  if (count > MOST_CLASSES) throw new DataError(`${who}: ${count} classes are more than ${MOST_CLASSES}; are these class numbers?`);
  const matrix = Array.from({ length: count }, () => new Array<number>(count).fill(0));
  truth.numbers.forEach((c, i) => matrix[c][predicted.numbers[i]]++);
  return new ClassificationReport(matrix, labels ?? matrix.map((_, i) => String(i)), digits);
}

const MOST_CLASSES = 10_000;
/** What `toFixed` takes. */
const MOST_DIGITS = 100;
const DEFAULT_THRESHOLD = 0.5;

/** Options of `plotConfusionMatrix`. */
export interface PlotConfusionMatrixOptions {
  /** Names of the classes, in their order. Default: their numbers. */
  readonly labels?: readonly string[];
}

const CELL = { least: 34, height: 30, margin: 14, title: 26 };

/** Blue from white to dark, by a part in [0, 1]. */
const shade = (part: number): string => {
  const mix = (from: number, to: number): number => Math.round(from + (to - from) * part);
  return `rgb(${mix(247, 8)},${mix(251, 48)},${mix(255, 107)})`;
};

/**
 * A confusion matrix as a drawing: rows are what samples are, columns what they were taken for; the darker, the greater the part of the
 * row.
 * @param matrix what the metric `confusionMatrix` of `evaluate` gives, or `classificationReport(...).matrix`
 * @throws DataError for what is no square matrix of counts, and labels that are not as many
 */
export function plotConfusionMatrix(matrix: readonly (readonly number[])[], options?: PlotConfusionMatrixOptions): Drawing {
  const who = "plotConfusionMatrix";
  const o = checkOptions(who, options, ["labels"]);
  const size = Array.isArray(matrix) ? matrix.length : 0;
  if (size === 0 || matrix.some((row) => row?.length !== size || row.some((v) => !(v >= 0 && v < Infinity))))
    throw new DataError(`${who}: expected a square matrix of counts`);
  const labels = o.labels ?? matrix.map((_, i) => String(i));
  if (labels.length !== size) throw new DataError(`${who}: expected ${size} labels, got ${labels.length}`);
  const widest = Math.max(...labels.map(textWidth), 20);
  const cell = Math.max(CELL.least, ...matrix.flat().map((v) => textWidth(showCount(v)) + 10), Math.min(widest, 80) + 8);
  const left = CELL.margin + CELL.title + widest + 8;
  const top = CELL.margin + CELL.title + 20;
  const marks: Mark[] = [
    { type: "text", x: left + (size * cell) / 2, y: CELL.margin + 12, text: "taken for", anchor: "middle", bold: true },
    { type: "text", x: CELL.margin + 12, y: top + (size * CELL.height) / 2, text: "is", anchor: "middle", bold: true, upward: true },
  ];
  const cut = (label: string): string => {
    const letters = [...label];
    let kept = letters.length;
    while (kept > 1 && textWidth(`${letters.slice(0, kept).join("")}.`) > cell - 4) kept--;
    return textWidth(label) <= cell - 4 ? label : `${letters.slice(0, kept).join("").trimEnd()}.`;
  };
  labels.forEach((label, i) => {
    marks.push({ type: "text", x: left + (i + 0.5) * cell, y: top - 8, text: cut(label), anchor: "middle" });
    marks.push({ type: "text", x: left - 8, y: top + (i + 0.5) * CELL.height + 4, text: label, anchor: "end" });
  });
  matrix.forEach((row, i) => {
    const sum = row.reduce((a, b) => a + b, 0);
    row.forEach((v, j) => {
      const part = sum === 0 ? 0 : v / sum;
      const [x, y] = [left + j * cell, top + i * CELL.height];
      marks.push({ type: "rect", x, y, width: cell, height: CELL.height, fill: shade(part), stroke: "#ccc" });
      const fill = part > 0.5 ? "#fff" : "#222";
      marks.push({ type: "text", x: x + cell / 2, y: y + CELL.height / 2 + 4, text: showCount(v), anchor: "middle", fill });
    });
  });
  return new Drawing("Confusion matrix", left + size * cell + CELL.margin, top + size * CELL.height + CELL.margin, marks);
}

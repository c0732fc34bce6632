/** @file From tables and series on the host to what `fit` takes: labels as rows, train and test parts, windows. */
import { checkOptions, kindOf } from "../check.ts";
import { ArgumentError, DataError } from "../errors.ts";
import { permutation, seedWords } from "../random.ts";
import type { Shape } from "../shape.ts";
import { showShape, sizeOf } from "../shape.ts";

/**
 * Labels `[n]` to rows `[n, classes]` with a one at the label. @throws DataError naming the first label that is not an integer in
 * [0, classes).
 */
export function oneHot(labels: ArrayLike<number>, classes: number): Float32Array {
  if (!Number.isInteger(classes) || classes < 1) {
    throw new ArgumentError(`oneHot: classes must be a positive integer, got ${classes}`);
  }
  if (typeof labels?.length !== "number") throw new ArgumentError(`oneHot: expected an array of labels, got ${kindOf(labels)}`);
  const out = new Float32Array(labels.length * classes);
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i];
    if (!Number.isInteger(label) || label < 0 || label >= classes) {
      throw new DataError(`oneHot: labels must be integers in [0, ${classes - 1}] for ${classes} classes, got ${label} at index ${i}`);
    }
    out[i * classes + label] = 1;
  }
  return out;
}

/** The typed arrays that rows on the host may come in. */
export type RowData =
  Float32Array | Float64Array | Int32Array | Int16Array | Int8Array | Uint32Array | Uint16Array | Uint8Array | Uint8ClampedArray;

/** Elements on the host: `shape[0]` rows, row-major. */
export interface Rows<T extends RowData = RowData> {
  readonly shape: Shape;
  readonly data: T;
}

/** Options of `trainTestSplit`. */
export interface SplitOptions {
  /** The part of the rows that goes to the test set, in (0, 1), rounded to whole rows. Default 0.2. */
  readonly testFraction?: number;
  /** An integer in [0, 2^53), default 0. Equal seeds give equal splits on every engine. */
  readonly seed?: number;
}

/** Rows for training and for testing. */
export interface Split<X extends RowData, Y extends RowData> {
  readonly xTrain: Rows<X>;
  readonly yTrain: Rows<Y>;
  readonly xTest: Rows<X>;
  readonly yTest: Rows<Y>;
}

/**
 * Shuffles the rows of `x` and `y` together and parts them; every row is copied into exactly one part. For time series
 * part them by time instead: a shuffled split lets the model see the future.
 * @throws DataError when x and y differ in rows, have other lengths than their shapes say, or leave one part empty; ArgumentError
 * for a fraction or seed out of range
 */
export function trainTestSplit<X extends RowData, Y extends RowData>(x: Rows<X>, y: Rows<Y>, options: SplitOptions = {}): Split<X, Y> {
  const { testFraction = 0.2, seed = 0 } = checkOptions("trainTestSplit", options, ["testFraction", "seed"]);
  if (!(testFraction > 0 && testFraction < 1)) {
    throw new ArgumentError(`trainTestSplit: testFraction must be between 0 and 1, got ${testFraction}`);
  }
  checkRows("x", x);
  checkRows("y", y);
  const rows = x.shape[0];
  if (y.shape[0] !== rows) {
    throw new DataError(`trainTestSplit: x and y must have the same number of rows, got ${showShape(x.shape)} and ${showShape(y.shape)}`);
  }
  const test = Math.round(rows * testFraction);
  if (test === 0 || test === rows) {
    throw new DataError(
      `trainTestSplit: both parts must have rows, got ${rows - test} for training and ${test} for test from ${rows} rows`,
    );
  }
  const order = permutation(rows, [...seedWords(seed), 0, 0]);
  const testRows = order.subarray(0, test);
  const trainRows = order.subarray(test);
  return {
    xTrain: takeRows(x, trainRows),
    yTrain: takeRows(y, trainRows),
    xTest: takeRows(x, testRows),
    yTest: takeRows(y, testRows),
  };
}

function checkRows(name: string, rows: Rows): void {
  const { shape, data } = rows ?? {};
  if (!Array.isArray(shape) || !ArrayBuffer.isView(data))
    throw new ArgumentError(
      `trainTestSplit: ${name} must be { data, shape } with a typed array; of a tensor t: { data: await t.data(), shape: t.shape }`,
    );
  if (shape.length === 0 || sizeOf(shape) !== data.length) {
    throw new DataError(
      `trainTestSplit: ${name} of shape ${showShape(shape)} must have rows and ${sizeOf(shape)} elements, got ${data.length}`,
    );
  }
}

function takeRows<T extends RowData>({ shape, data }: Rows<T>, rows: ArrayLike<number>): Rows<T> {
  const width = sizeOf(shape.slice(1));
  const out = data.slice(0, rows.length * width) as T; // the same kind of array, filled below
  for (let i = 0; i < rows.length; i++) {
    out.set(data.subarray(rows[i] * width, (rows[i] + 1) * width), i * width);
  }
  return { shape: [rows.length, ...shape.slice(1)], data: out };
}

/**
 * Every run of `length` values of a series with the value that follows it: `x` is `[n, length, 1]`, `y` is `[n, 1]`,
 * n = series.length - length, in the order of time.
 * @throws DataError when the series is too short for one window or a value is not finite, naming its index
 */
export function windows(series: ArrayLike<number>, length: number): { x: Rows<Float32Array>; y: Rows<Float32Array> } {
  if (!Number.isInteger(length) || length < 1) {
    throw new ArgumentError(`windows: length must be a positive integer, got ${length}`);
  }
  if (typeof series?.length !== "number") throw new ArgumentError(`windows: expected an array of numbers, got ${kindOf(series)}`);
  const n = series.length - length;
  if (n < 1) {
    throw new DataError(
      `windows: windows of ${length} values and the next one need a series of at least ${length + 1}, got ${series.length}`,
    );
  }
  const values = Float32Array.from(series);
  const fault = values.findIndex((value) => !Number.isFinite(value));
  if (fault >= 0) throw new DataError(`windows: values must be finite in f32, got ${series[fault]} at index ${fault}`);
  const x = new Float32Array(n * length);
  for (let i = 0; i < n; i++) x.set(values.subarray(i, i + length), i * length);
  return { x: { shape: [n, length, 1], data: x }, y: { shape: [n, 1], data: values.slice(length) } };
}

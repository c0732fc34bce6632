/**
 * @file Metrics with the semantics of Keras 3 (https://keras.io/api/metrics/), counted over a whole epoch inside the
 * compiled step: hits as integers, errors as a sum with its rounding error beside it (Neumaier 1974), so that the result
 * does not depend on batch sizes. Precision, recall and F1 count all elements by a threshold, as in Keras; those of classes that
 * exclude each other are averaged as in scikit-learn. Sample weights are of the loss alone.
 */
import { checkCount, checkMade, checkNumber, checkOneOf, checkOptions, unknownName } from "../check.ts";
import { ArgumentError, DTypeError, ShapeError } from "../errors.ts";
import type { DType, TypedArray } from "../dtype.ts";
import { asTensor } from "../graph.ts";
import type { Config } from "../nn/layer.ts";
import { clip } from "../ops/composite.ts";
import { scatterAdd } from "../ops/gather.ts";
import { abs, add, and, cast, ceil, equal, greater, greaterEqual, less, mul, neg, or, sigmoid, sub, where } from "../ops/map.ts";
import { product } from "../ops/matmul.ts";
import { broadcastTo, expandDims, iota, reshape } from "../ops/move.ts";
import { argMax, sum } from "../ops/reduce.ts";
import { oneHot } from "../ops/softmax.ts";
import { optionsOf } from "../options.ts";
import { sameShape, showShape } from "../shape.ts";
import type { OpenShape, Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { classNumbers, isLossName, lossByName, LOSS_NAMES } from "./losses.ts";
import type { Loss, LossFunction, LossName } from "./losses.ts";

/** A tensor that a metric counts in. */
export interface MetricState {
  readonly name: string;
  readonly shape: Shape;
  readonly dtype: DType;
}

/** A number (or a table) that is counted over an epoch: what `precision()` and the others make. */
export interface Metric {
  /** Its name in logs. */
  readonly name: string;
  readonly config: Config;
  /** What is counted; zero at the start of each epoch. */
  readonly state: readonly MetricState[];
  /** The next state, traced: elements do not exist here. */
  readonly update: (yTrue: Tensor, yPred: Tensor, state: readonly Tensor[]) => readonly Tensor[];
  /** From the state's elements to what logs hold; 0 where nothing has been counted. */
  readonly result: (state: readonly TypedArray[]) => number | number[][];
  /** The metric for a model, where it depends on loss and outputs that options do not tell. */
  readonly resolve?: (context: MetricContext) => Metric;
}

/** What a metric may ask of the model that it is of. */
export interface MetricContext {
  readonly loss: Loss;
  /** Shape of the predictions, with or without the batch. */
  readonly outputShape: OpenShape;
}

/** Gives one value for each sample; its mean over the epoch is the metric. */
export type MetricFunction = LossFunction;

/** What made each of Lockstep's metrics, by the functions that count and resolve: a copy under another name still has them. */
const MADE = new WeakMap<object, { readonly kind: string; readonly metric: Metric }>();

function made(kind: string, metric: Metric): Metric {
  MADE.set(metric.update, { kind, metric });
  if (metric.resolve) MADE.set(metric.resolve, { kind, metric });
  return metric;
}

const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);

/** The share of elements for which `hit` (bool) holds. */
function share(name: string, config: Config, hit: (yTrue: Tensor, yPred: Tensor) => Tensor): Metric {
  return made(name, {
    name, config,
    state: [{ name: "hits", shape: [], dtype: "i32" }, { name: "count", shape: [], dtype: "i32" }],
    update: (yTrue, yPred, [hits, count]) => {
      const now = hit(yTrue, yPred);
      return [add(hits, sum(cast(now, "i32"))), add(count, now.size)];
    },
    result: ([hits, count]) => ratio(hits[0], count[0]),
  });
}

/** The mean of `values`. */
export function average(name: string, config: Config, values: MetricFunction, finish: (mean: number) => number = (m) => m): Metric {
  return {
    name, config,
    state: [{ name: "total", shape: [], dtype: "f32" }, { name: "lost", shape: [], dtype: "f32" }, { name: "count", shape: [], dtype: "i32" }],
    update: (yTrue, yPred, [total, lost, count]) => {
      const perSample = values(yTrue, yPred);
      if (!(perSample instanceof Tensor) || perSample.dtype !== "f32") throw new DTypeError(`metric "${name}": expected a function that returns an f32 tensor, one value for each sample, got ${String(perSample)}`);
      const batch = sum(perSample);
      const next = add(total, batch);
      const error = where(greaterEqual(abs(total), abs(batch)), add(sub(total, next), batch), add(sub(batch, next), total));
      return [next, add(lost, error), add(count, perSample.size)];
    },
    result: ([total, lost, count]) => finish(ratio(total[0] + lost[0], count[0])),
  };
}

/** 1 for a scalar. */
const lastOf = <D extends number | null>(shape: readonly D[]): D | 1 => (shape.length === 0 ? 1 : shape[shape.length - 1]);

/** Targets as f32 in the predictions' shape. */
function alike(who: string, yTrue: Tensor, yPred: Tensor): Tensor {
  if (yTrue.size !== yPred.size) throw new ShapeError(`${who}: expected targets of the predictions' shape ${showShape(yPred.shape)}, got ${showShape(yTrue.shape)}`);
  return reshape(cast(yTrue, "f32"), yPred.shape);
}

/** The true class of each row [...]: where one-hot targets [..., C] are largest, or class numbers as they are. */
function trueClass(who: string, yTrue: Tensor, yPred: Tensor): Tensor {
  const oneHotTargets = sameShape(yTrue.shape, yPred.shape) && lastOf(yPred.shape) > 1;
  return oneHotTargets ? argMax(cast(yTrue, "f32")) : classNumbers(who, yTrue, yPred);
}

/** Share of elements where (prediction > threshold) is the target, 0 or 1. Default threshold 0.5; for logits use 0. */
export function binaryAccuracy(options?: { readonly threshold?: number }): Metric {
  const { threshold } = optionsOf("binaryAccuracy", { threshold: 0.5 }, options);
  checkNumber("binaryAccuracy", "threshold", threshold, -Infinity);
  return share("binaryAccuracy", { threshold }, (yTrue, yPred) => equal(alike("binaryAccuracy", yTrue, yPred), cast(greater(yPred, threshold), "f32")));
}

/** Share of rows whose largest prediction is where the one-hot target is largest; the first of equals counts. */
export function categoricalAccuracy(): Metric {
  return share("categoricalAccuracy", {}, (yTrue, yPred) => equal(argMax(alike("categoricalAccuracy", yTrue, yPred)), argMax(yPred)));
}

/** Share of rows whose largest prediction is at the class number; the first of equals counts. */
export function sparseCategoricalAccuracy(): Metric {
  return share("sparseCategoricalAccuracy", {}, (yTrue, yPred) => equal(classNumbers("sparseCategoricalAccuracy", yTrue, yPred), argMax(yPred)));
}

/** Share of rows in which fewer than `k` (default 5) predictions are larger than that of the true class (one-hot targets or class numbers). */
export function topKCategoricalAccuracy(options?: { readonly k?: number }): Metric {
  const { k } = optionsOf("topKCategoricalAccuracy", { k: 5 }, options);
  checkCount("topKCategoricalAccuracy", "k", k);
  return share("topKCategoricalAccuracy", { k }, (yTrue, yPred) => {
    const at = trueClass("topKCategoricalAccuracy", yTrue, yPred);
    const own = sum(where(equal(expandDims(at, at.rank), iota([lastOf(yPred.shape)])), yPred, 0), { axis: -1, keepDims: true });
    return less(sum(cast(greater(yPred, own), "i32"), { axis: -1 }), k);
  });
}

/** The mean of |target - prediction|. */
export const meanAbsoluteError = (): Metric => made("meanAbsoluteError", average("meanAbsoluteError", {}, lossByName("meanAbsoluteError").call));
/** The mean of (target - prediction)^2. */
export const meanSquaredError = (): Metric => made("meanSquaredError", average("meanSquaredError", {}, lossByName("meanSquaredError").call));
/** The square root of the mean of (target - prediction)^2. */
export const rootMeanSquaredError = (): Metric => made("rootMeanSquaredError", average("rootMeanSquaredError", {}, lossByName("meanSquaredError").call, Math.sqrt));

/** The mean cosine of the angle between target and prediction, 1 where they point the same way: the loss of this name without its minus. */
export const cosineSimilarity = (): Metric =>
  made("cosineSimilarity", average("cosineSimilarity", {}, (yTrue, yPred) => neg(lossByName("cosineSimilarity").call(yTrue, yPred))));

/**
 * How classes become one number, as in scikit-learn: `macro` the mean over all classes, `weighted` that mean weighted by how often a class is true,
 * `micro` one count over all classes, null every class for itself (one row of numbers). A class never met counts as 0, as in Keras' F1Score.
 */
export type Average = "macro" | "weighted" | "micro" | null;

/**
 * Options of metrics of classes. Two kinds of outputs are told apart by the loss. Behind `sparseCategoricalCrossentropy` and
 * `categoricalCrossentropy` one class of a row is true and the one with the largest output is predicted. Behind all other losses,
 * `binaryCrossentropy` above all, each output says yes or no for itself.
 */
export interface ClassOptions {
  /**
   * Number of outputs. Default: as many as the model has. A metric that is used without a model takes one class to be true if this is
   * above 1.
   */
  readonly classes?: number;
  /** Default micro, which counts all elements, as Keras' Precision and Recall do; for classes that exclude each other macro. */
  readonly average?: Average;
  /**
   * A class is predicted where its output is larger, and true where its target is above 0.5. Default 0.5; for classes that exclude each
   * other null: the largest output is predicted.
   */
  readonly threshold?: number | null;
  /** Counts this output alone. Default null: all. */
  readonly classId?: number | null;
  /** Only the `topK` largest outputs of a row are predicted; all of them, where no threshold is given. Default null. */
  readonly topK?: number | null;
}

/** @throws ShapeError unless the model has as many outputs. */
function checkOutputs(name: string, classes: number, outputShape: OpenShape): void {
  const outputs = lastOf(outputShape);
  if (classes !== outputs) throw new ShapeError(`${name}: made for ${classes} output${classes === 1 ? "" : "s"}, the model has ${outputs}; set classes: ${outputs}`);
}

/** The outputs of a model, by which a metric has counters. @throws ShapeError where their number is not fixed. */
function outputsOf(name: string, { outputShape }: MetricContext): number {
  const outputs = lastOf(outputShape);
  if (outputs === null) throw new ShapeError(`${name}: expected a fixed number of outputs, got ${showShape(outputShape)}`);
  return outputs;
}

/** Whether an element is among the `k` largest of its row [..., C]; of equals the first. */
function amongLargest(x: Tensor, k: number): Tensor {
  const [own, other] = [expandDims(x, x.rank), expandDims(x, x.rank - 1)];
  const at = iota([lastOf(x.shape)]);
  const before = or(greater(other, own), and(equal(other, own), less(at, expandDims(at, 1))));
  return less(sum(cast(before, "i32"), { axis: -1 }), k);
}

type Score = (hits: number, predicted: number, actual: number) => number;

/** Whether one class of a row is true, so that the others are not. */
const isExclusive = (loss: Loss): boolean => loss.labels === "class" || loss.name === "categoricalCrossentropy";

/** Counts true positives, predictions and occurrences of each class, or of all elements together. */
function perClass(name: string, options: ClassOptions | undefined, score: Score, context: MetricContext | null = null): Metric {
  const given = checkOptions(name, options, ["classes", "average", "threshold", "classId", "topK"]);
  const { classes, classId = null, topK = null } = given;
  const independent = context === null ? (classes ?? 1) === 1 : !isExclusive(context.loss);
  const { average = independent ? "micro" : "macro" } = given;
  if (classes !== undefined) checkCount(name, "classes", classes);
  if (classes !== undefined && context !== null) checkOutputs(name, classes, context.outputShape);
  // All elements in one count, whatever their number.
  const flat = independent && average === "micro" && classId === null && classes === undefined;
  const columns = flat ? 1 : (classes ?? (context === null ? 1 : outputsOf(name, context)));
  const { threshold = topK !== null ? null : independent || columns === 1 ? 0.5 : null } = given;
  if (threshold !== null) checkNumber(name, "threshold", threshold, -Infinity);
  if (topK !== null) checkCount(name, "topK", topK);
  if (classId !== null) {
    checkCount(name, "classId", classId, 0);
    if (context !== null || classes !== undefined) checkNumber(name, "classId", classId, 0, columns - 1);
  }

  checkOneOf(name, "average", String(average), ["macro", "weighted", "micro", "null"]);
  return made(name, {
    name,
    config: { ...given },
    state: ["hits", "predicted", "actual"].map((counter) => ({ name: counter, shape: [columns], dtype: "i32" })),
    resolve: (model) => perClass(name, options, score, model),
    update: (yTrue, yPred, state) => {
      if (!flat) checkOutputs(name, columns, yPred.shape);
      const rows = [yPred.size / columns, columns];
      const isClass = (at: Tensor): Tensor => equal(reshape(at, [rows[0], 1]), iota([columns]));
      const largest = threshold === null && topK === null;
      const decided = [...(threshold === null ? [] : [greater(yPred, threshold)]), ...(topK === null ? [] : [amongLargest(yPred, topK)])];
      const predicted = largest ? isClass(argMax(yPred)) : reshape(decided.reduce(and), rows);
      const elements = flat || ((independent || !largest) && yTrue.size === yPred.size);
      const actual = elements ? greater(reshape(alike(name, yTrue, yPred), rows), 0.5) : isClass(trueClass(name, yTrue, yPred));
      return [and(predicted, actual), predicted, actual].map((hit, i) => add(state[i], sum(cast(hit, "i32"), { axis: 0 })));
    },
    result: (state) => {
      const [hits, predicted, actual] = state.map((s) => Array.from(s));
      const scores = hits.map((h, i) => score(h, predicted[i], actual[i]));
      const total = (a: readonly number[]): number => a.reduce((x, y) => x + y, 0);
      if (classId !== null) return scores[classId];
      if (average === null) return [scores];
      if (average === "micro") return score(total(hits), total(predicted), total(actual));
      return average === "macro" ? total(scores) / columns : ratio(total(scores.map((s, i) => s * actual[i])), total(actual));
    },
  });
}

/** Which part of what was predicted is true: TP / (TP + FP). */
export const precision = (options?: ClassOptions): Metric => perClass("precision", options, (hits, predicted) => ratio(hits, predicted));
/** Which part of what is true was predicted: TP / (TP + FN). */
export const recall = (options?: ClassOptions): Metric => perClass("recall", options, (hits, _predicted, actual) => ratio(hits, actual));
/** The harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN). */
export const f1 = (options?: ClassOptions): Metric => perClass("f1", options, (hits, predicted, actual) => ratio(2 * hits, predicted + actual));

/**
 * How often each true class (row) was predicted as each class (column). One output (`classes` 1) gives the two classes "no" and "yes",
 * by `threshold` (default 0.5). `classes` default: the model's outputs. @throws ArgumentError for several outputs behind
 * `binaryCrossentropy`, of which any number may be true at once.
 */
export function confusionMatrix(options?: { readonly classes?: number; readonly threshold?: number }): Metric {
  const name = "confusionMatrix";
  const given = checkOptions(name, options, ["classes", "threshold"]);
  const { classes = 1, threshold = 0.5 } = given;
  checkCount(name, "classes", classes);
  checkNumber(name, "threshold", threshold, -Infinity);
  const size = Math.max(2, classes);
  return made(name, {
    name,
    config: { ...given },
    state: [{ name: "counts", shape: [size, size], dtype: "i32" }],
    resolve: (context) => {
      const outputs = outputsOf(name, context);
      if (given.classes !== undefined) checkOutputs(name, given.classes, context.outputShape);
      if (outputs > 1 && context.loss.name === "binaryCrossentropy") {
        const kind = `binaryCrossentropy takes each of ${outputs} outputs for itself`;
        throw new ArgumentError(`${name}: it counts one class for each row, and ${kind}; use precision and recall`);
      }
      return confusionMatrix({ ...given, classes: outputs });
    },
    update: (yTrue, yPred, [counts]) => {
      checkOutputs(name, classes, yPred.shape);
      const predicted = classes === 1 ? cast(greater(yPred, threshold), "i32") : argMax(yPred);
      const actual = classes === 1 ? cast(greater(alike(name, yTrue, yPred), 0.5), "i32") : trueClass(name, yTrue, yPred);
      const rows = (at: Tensor): Tensor => oneHot(reshape(at, [at.size]), size);
      // Products of zeros and ones: exact in f32 for batches below 2^24 rows.
      return [add(counts, cast(product(rows(actual), rows(predicted), true, false), "i32"))];
    },
    result: ([counts]) => Array.from({ length: size }, (_, i) => Array.from(counts.subarray(i * size, (i + 1) * size))),
  });
}

/** Options of `auc`. */
export interface AucOptions {
  /** The curve's points: thresholds at 0, 1 and evenly between them. Default 200. */
  readonly numThresholds?: number;
  /** `ROC`: true positive rate over false positive rate; `PR`: precision over recall. Default ROC. */
  readonly curve?: "ROC" | "PR";
  /** Between two points: `interpolation` (ROC: a line; PR: Davis & Goadrich 2006), or the lower (`minoring`) or the higher (`majoring`) of them. Default interpolation. */
  readonly summationMethod?: "interpolation" | "minoring" | "majoring";
  /** Predictions are logits, not probabilities. Default false. */
  readonly fromLogits?: boolean;
  /** Each output has a curve of its own, and the metric is the mean of their areas. Default false: all elements count as one list. */
  readonly multiLabel?: boolean;
  /** Number of outputs for `multiLabel`. Default null: as many as the model has. */
  readonly numLabels?: number | null;
  /** Its name in logs, for both curves of one model. Default auc. */
  readonly name?: string;
}

const AUC: Required<AucOptions> = {
  numThresholds: 200, curve: "ROC", summationMethod: "interpolation", fromLogits: false, multiLabel: false, numLabels: null, name: "auc",
};

/** The natural logarithm of x >= 1 by sums and products alone, since engines differ in the last bit of theirs and a metric may decide when training stops. */
function logarithm(x: number): number {
  let [m, halvings] = [x, 0];
  for (; m > Math.SQRT2; m /= 2) halvings++;
  // 2 atanh(z), |z| < 0.172: terms beyond z^23 are below 1e-19.
  const z = (m - 1) / (m + 1);
  let series = 0;
  for (let i = 23; i > 0; i -= 2) series = series * z * z + 1 / i;
  return halvings * Math.LN2 + 2 * z * series;
}

/**
 * The area under the curve of all thresholds: how well probabilities tell targets of 1 from those of 0, whatever the share of each; 1 is perfect, 0.5 (ROC) is chance.
 * Approximated as in Keras, from counts at `numThresholds` thresholds (https://keras.io/api/metrics/classification_metrics/#auc-class);
 * several outputs count as one list, unless `multiLabel`. Predictions outside of [0, 1] count as 0 or 1. It is given as `auc()`, not by
 * name, so that only applications that use it, or `loadModel`, hold it.
 * @throws ArgumentError for options that it does not have or cannot use; when called, ShapeError unless there is a target for each prediction.
 */
export function auc(options?: AucOptions): Metric {
  if ((options as unknown) instanceof Tensor) throw new ArgumentError("metrics: auc makes a metric: write auc()");
  const { name, ...config } = optionsOf<Required<AucOptions>>("auc", AUC, options);
  const { numThresholds, curve, summationMethod, fromLogits, multiLabel } = config;
  checkCount("auc", "numThresholds", numThresholds, 2);
  checkOneOf("auc", "curve", curve, ["ROC", "PR"]);
  checkOneOf("auc", "summationMethod", summationMethod, ["interpolation", "minoring", "majoring"]);
  if (config.numLabels !== null) checkCount("auc", "numLabels", config.numLabels);
  const labels = multiLabel ? (config.numLabels ?? 1) : 1;
  const steps = numThresholds - 1;
  /** Of one label's counts [steps, 2]. */
  const area = (counts: ArrayLike<number>): number => {
    // From the highest threshold, above which nothing is, to the lowest.
    let [fp, tp, sum] = [0, 0, 0];
    const [negatives, positives] = [0, 1].map((k) => Array.from(counts).reduce((all, n, i) => (i % 2 === k ? all + n : all), 0));
    const point = (): readonly [number, number] =>
      curve === "ROC" ? [ratio(fp, negatives), ratio(tp, positives)] : [ratio(tp, positives), ratio(tp, tp + fp)];
    for (let i = steps - 1; i >= 0; i--) {
      const [x0, y0] = point();
      const [dfp, dtp] = [counts[2 * i], counts[2 * i + 1]];
      const [before, after] = [tp + fp, tp + fp + dtp + dfp];
      [fp, tp] = [fp + dfp, tp + dtp];
      const [x1, y1] = point();
      if (summationMethod !== "interpolation") sum += (x1 - x0) * (summationMethod === "minoring" ? Math.min(y0, y1) : Math.max(y0, y1));
      else if (curve === "ROC") sum += ((x1 - x0) * (y0 + y1)) / 2;
      else {
        // Between two points false positives grow in proportion to true ones: the integral of tp / (tp + fp) over tp.
        const slope = ratio(dtp, after - before);
        sum += ratio(slope * (dtp + (tp - dtp - slope * before) * (before > 0 ? logarithm(after / before) : 0)), positives);
      }
    }
    return sum;
  };
  return made("auc", {
    name,
    config,
    // How many predictions lie between two thresholds, the upper one included, for targets of 0 and of 1: a count per threshold would be 200 comparisons of each prediction.
    state: [{ name: "counts", shape: [labels * steps, 2], dtype: "i32" }],
    ...(multiLabel && config.numLabels === null && {
      resolve: (context: MetricContext) => auc({ ...config, name, numLabels: outputsOf(name, context) }),
    }),
    update: (yTrue, yPred, [counts]) => {
      const outputs = lastOf(yPred.shape);
      if (multiLabel && labels !== outputs) {
        throw new ShapeError(`auc: made for ${labels} labels, the model has ${outputs} outputs; set numLabels: ${outputs}`);
      }
      const actual = cast(greater(alike("auc", yTrue, yPred), 0.5), "i32");
      const between = cast(clip(sub(ceil(mul(fromLogits ? sigmoid(yPred) : yPred, steps)), 1), 0, steps - 1), "i32");
      const at = add(mul(labels > 1 ? add(between, mul(iota([labels]), steps)) : between, 2), actual);
      // Sums of ones: exact in f32 for batches below 2^24 predictions.
      const sums = scatterAdd(broadcastTo(asTensor(1), [yPred.size]), reshape(at, [yPred.size]), labels * steps * 2);
      return [add(counts, reshape(cast(sums, "i32"), [labels * steps, 2]))];
    },
    result: ([counts]) => {
      let all = 0;
      for (let label = 0; label < labels; label++) all += area(counts.subarray(label * steps * 2, (label + 1) * steps * 2));
      return all / labels;
    },
  });
}

export const METRICS = {
  binaryAccuracy, categoricalAccuracy, sparseCategoricalAccuracy, topKCategoricalAccuracy, precision, recall, f1, confusionMatrix, meanAbsoluteError, meanSquaredError, rootMeanSquaredError,
  cosineSimilarity, mae: meanAbsoluteError, mse: meanSquaredError, rmse: rootMeanSquaredError, sparseTopKCategoricalAccuracy: topKCategoricalAccuracy,
} as const satisfies { readonly [name: string]: (options: never) => Metric };

/**
 * A metric's name in camelCase, its short form, or that of a loss, whose mean is then taken: accuracy (acc), binaryAccuracy, categoricalAccuracy, sparseCategoricalAccuracy,
 * topKCategoricalAccuracy, precision, recall, f1, confusionMatrix, meanAbsoluteError (mae), meanSquaredError (mse), rootMeanSquaredError (rmse), cosineSimilarity.
 */
export type MetricName = "accuracy" | "acc" | keyof typeof METRICS | LossName;

/** Names that `metrics` options take, besides those of losses. */
export const METRIC_NAMES: readonly string[] = ["accuracy", "acc"].concat(Object.keys(METRICS));

/**
 * One output is binary, class numbers are sparse, everything else is categorical, as in Keras; but outputs that binary cross-entropy
 * trains each for itself are counted so.
 */
function accuracyFor({ loss, outputShape }: MetricContext): Metric {
  if (lastOf(outputShape) === 1 || loss.name === "binaryCrossentropy") return binaryAccuracy();
  return loss.labels === "class" ? sparseCategoricalAccuracy() : categoricalAccuracy();
}

/** A metric in a file: a name, what made it with its options and the name it has, or, `own`, the name of one that is not Lockstep's. */
export type DescribedMetric = string | { readonly name: string; readonly kind?: string; readonly config?: Config; readonly own?: boolean };

/** What `save` writes of a metric. */
export function describeMetric(metric: MetricName | Metric | MetricFunction): DescribedMetric {
  if (typeof metric === "string") return metric;
  const { kind, metric: first } = (typeof metric === "object" && MADE.get(metric.update)) || {};
  // A copy that counts or results otherwise is another metric.
  if (typeof metric === "function" || !first || first.config !== metric.config || first.result !== metric.result || first.state !== metric.state) {
    return { name: metric.name || "metric", own: true };
  }
  return { name: metric.name, ...(kind !== metric.name && { kind }), config: metric.config };
}

/** The metric that `describeMetric` described, if it is Lockstep's. @throws ArgumentError for another kind, listing them. */
export function metricFromConfig(kind: string, config: Config, factories: { readonly [kind: string]: (options: never) => Metric } = METRICS): Metric {
  if (!Object.hasOwn(factories, kind)) throw unknownName("metrics", kind, METRIC_NAMES);
  return factories[kind](config as never);
}

/**
 * A metric from what `metrics` options take: a name, a metric, or a function whose mean is taken. A name is also the metric's name in logs.
 * `accuracy` becomes binary, categorical or sparse by the loss and the number of outputs; names of losses give that loss's mean.
 * @throws ArgumentError listing the names.
 */
export function metricByName(metric: MetricName | Metric | MetricFunction, context: MetricContext): Metric {
  if (typeof metric === "function") {
    checkMade("metrics", "a metric", metric, METRICS);
    return average(metric.name || "metric", {}, metric);
  }
  if (typeof metric !== "string") {
    if (metric === null || typeof metric !== "object" || typeof metric.update !== "function") throw new ArgumentError(`metrics: expected a name, a metric or a function of (yTrue, yPred), got ${String(metric)}`);
    if (!metric.resolve) return metric;
    // What a copy has of its own, such as another name, stays.
    const first = MADE.get(metric.resolve)?.metric ?? metric;
    const own = Object.entries(metric).filter(([key, value]) => first[key as keyof Metric] !== value);
    return { ...metric.resolve(context), ...Object.fromEntries(own) };
  }
  if (metric === "accuracy" || metric === "acc") return { ...accuracyFor(context), name: metric };
  if (Object.hasOwn(METRICS, metric)) return { ...metricByName(metricFromConfig(metric, {}), context), name: metric };
  if (isLossName(metric)) return average(metric, {}, lossByName(metric).call);
  if (/^auc$/i.test(metric)) throw new ArgumentError('metrics: instead of its name give auc(), imported from "lockstep"');
  throw unknownName("metrics", metric, [...METRIC_NAMES, ...LOSS_NAMES]);
}

/**
 * @file Metrics of classes: precision, recall, F1, the confusion matrix and the area under a curve. All elements are counted by a
 * threshold, as in Keras; those of classes that exclude each other are averaged as in scikit-learn.
 */
import { checkCount, checkNumber, checkOneOf, checkOptions } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import { asTensor } from "../graph.ts";
import { clip } from "../ops/composite.ts";
import { scatterAdd } from "../ops/gather.ts";
import { add, and, cast, ceil, equal, greater, less, mul, or, sigmoid, sub } from "../ops/map.ts";
import { product } from "../ops/matmul.ts";
import { broadcastTo, expandDims, iota, reshape } from "../ops/move.ts";
import { argMax, sum } from "../ops/reduce.ts";
import { oneHot } from "../ops/softmax.ts";
import { optionsOf } from "../options.ts";
import { showShape } from "../shape.ts";
import type { OpenShape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import type { Loss } from "./losses.ts";
import { alike, lastOf, made, ratio, trueClass } from "./metric.ts";
import type { Metric, MetricContext } from "./metric.ts";

/**
 * How classes become one number, as in scikit-learn: `macro` the mean over all classes, `weighted` that mean weighted by how often a class
 * is true, `micro` one count over all classes, null every class for itself (one row of numbers). A class never met counts as 0, as in
 * Keras' F1Score.
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
  if (classes !== outputs)
    throw new ShapeError(
      `${name}: made for ${classes} output${classes === 1 ? "" : "s"}, the model has ${outputs}; set classes: ${outputs}`,
    );
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
export const f1 = (options?: ClassOptions): Metric =>
  perClass("f1", options, (hits, predicted, actual) => ratio(2 * hits, predicted + actual));

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
  /**
   * Between two points: `interpolation` (ROC: a line; PR: Davis & Goadrich 2006), or the lower (`minoring`) or the higher (`majoring`) of
   * them. Default interpolation.
   */
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
  numThresholds: 200,
  curve: "ROC",
  summationMethod: "interpolation",
  fromLogits: false,
  multiLabel: false,
  numLabels: null,
  name: "auc",
};

/**
 * The natural logarithm of x >= 1 by sums and products alone, since engines differ in the last bit of theirs and a metric may decide when
 * training stops.
 */
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
 * The area under the curve of all thresholds: how well probabilities tell targets of 1 from those of 0, whatever the share of each; 1 is
 * perfect, 0.5 (ROC) is chance. Approximated as in Keras, from counts at `numThresholds` thresholds
 * (https://keras.io/api/metrics/classification_metrics/#auc-class); several outputs count as one list, unless `multiLabel`. Predictions
 * outside of [0, 1] count as 0 or 1. It is given as `auc()`, not by name, so that only applications that use it, or `loadModel`, hold it.
 * @throws ArgumentError for options that it does not have or cannot use; when called, ShapeError unless there is a target for each
 * prediction.
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
    // How many predictions lie between two thresholds, the upper one included, for targets of 0 and of 1: a count per threshold would be
    // 200 comparisons of each prediction.
    state: [{ name: "counts", shape: [labels * steps, 2], dtype: "i32" }],
    ...(multiLabel &&
      config.numLabels === null && {
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

/**
 * @file Metrics with the semantics of Keras 3 (https://keras.io/api/metrics/), counted over a whole epoch inside the
 * compiled step: hits as integers, errors as a sum with its rounding error beside it (Neumaier 1974), so that the result
 * does not depend on batch sizes. Precision, recall and F1 count all elements by a threshold, as in Keras; those of classes that
 * exclude each other are averaged as in scikit-learn. Sample weights are of the loss alone.
 */
import { checkCount, checkMade, checkNumber, unknownName } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import type { Config } from "../nn/layer.ts";
import { cast, equal, greater, less, neg, where } from "../ops/map.ts";
import { expandDims, iota } from "../ops/move.ts";
import { argMax, sum } from "../ops/reduce.ts";
import { optionsOf } from "../options.ts";
import { classNumbers, isLossName, lossByName, LOSS_NAMES } from "./losses.ts";
import type { LossName } from "./losses.ts";
import { confusionMatrix, f1, precision, recall } from "./class-metrics.ts";
import { alike, average, lastOf, made, MADE, share, trueClass } from "./metric.ts";
import type { Metric, MetricContext, MetricFunction } from "./metric.ts";

export { auc, confusionMatrix, f1, precision, recall } from "./class-metrics.ts";
export type { AucOptions, Average, ClassOptions } from "./class-metrics.ts";
export { average } from "./metric.ts";
export type { Metric, MetricContext, MetricFunction, MetricState } from "./metric.ts";

/** Share of elements where (prediction > threshold) is the target, 0 or 1. Default threshold 0.5; for logits use 0. */
export function binaryAccuracy(options?: { readonly threshold?: number }): Metric {
  const { threshold } = optionsOf("binaryAccuracy", { threshold: 0.5 }, options);
  checkNumber("binaryAccuracy", "threshold", threshold, -Infinity);
  return share("binaryAccuracy", { threshold }, (yTrue, yPred) =>
    equal(alike("binaryAccuracy", yTrue, yPred), cast(greater(yPred, threshold), "f32")),
  );
}

/** Share of rows whose largest prediction is where the one-hot target is largest; the first of equals counts. */
export function categoricalAccuracy(): Metric {
  return share("categoricalAccuracy", {}, (yTrue, yPred) => equal(argMax(alike("categoricalAccuracy", yTrue, yPred)), argMax(yPred)));
}

/** Share of rows whose largest prediction is at the class number; the first of equals counts. */
export function sparseCategoricalAccuracy(): Metric {
  return share("sparseCategoricalAccuracy", {}, (yTrue, yPred) =>
    equal(classNumbers("sparseCategoricalAccuracy", yTrue, yPred), argMax(yPred)),
  );
}

/**
 * Share of rows in which fewer than `k` (default 5) predictions are larger than that of the true class (one-hot targets or class numbers).
 */
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
export const meanAbsoluteError = (): Metric =>
  made("meanAbsoluteError", average("meanAbsoluteError", {}, lossByName("meanAbsoluteError").call));
/** The mean of (target - prediction)^2. */
export const meanSquaredError = (): Metric =>
  made("meanSquaredError", average("meanSquaredError", {}, lossByName("meanSquaredError").call));
/** The square root of the mean of (target - prediction)^2. */
export const rootMeanSquaredError = (): Metric =>
  made("rootMeanSquaredError", average("rootMeanSquaredError", {}, lossByName("meanSquaredError").call, Math.sqrt));

/** The mean cosine of the angle between target and prediction, 1 where they point the same way: the loss of this name without its minus. */
export const cosineSimilarity = (): Metric =>
  made(
    "cosineSimilarity",
    average("cosineSimilarity", {}, (yTrue, yPred) => neg(lossByName("cosineSimilarity").call(yTrue, yPred))),
  );

export const METRICS = {
  binaryAccuracy,
  categoricalAccuracy,
  sparseCategoricalAccuracy,
  topKCategoricalAccuracy,
  precision,
  recall,
  f1,
  confusionMatrix,
  meanAbsoluteError,
  meanSquaredError,
  rootMeanSquaredError,
  cosineSimilarity,
  mae: meanAbsoluteError,
  mse: meanSquaredError,
  rmse: rootMeanSquaredError,
  sparseTopKCategoricalAccuracy: topKCategoricalAccuracy,
} as const satisfies { readonly [name: string]: (options: never) => Metric };

/**
 * A metric's name in camelCase, its short form, or that of a loss, whose mean is then taken: accuracy (acc), binaryAccuracy,
 * categoricalAccuracy, sparseCategoricalAccuracy, topKCategoricalAccuracy, precision, recall, f1, confusionMatrix, meanAbsoluteError (mae),
 * meanSquaredError (mse), rootMeanSquaredError (rmse), cosineSimilarity.
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
  if (
    typeof metric === "function" ||
    !first ||
    first.config !== metric.config ||
    first.result !== metric.result ||
    first.state !== metric.state
  ) {
    return { name: metric.name || "metric", own: true };
  }
  return { name: metric.name, ...(kind !== metric.name && { kind }), config: metric.config };
}

/** The metric that `describeMetric` described, if it is Lockstep's. @throws ArgumentError for another kind, listing them. */
export function metricFromConfig(
  kind: string,
  config: Config,
  factories: { readonly [kind: string]: (options: never) => Metric } = METRICS,
): Metric {
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
    if (metric === null || typeof metric !== "object" || typeof metric.update !== "function")
      throw new ArgumentError(`metrics: expected a name, a metric or a function of (yTrue, yPred), got ${String(metric)}`);
    if (!metric.resolve) return metric;
    // What a copy has of its own, such as another name, stays.
    const first = MADE.get(metric.resolve)?.metric ?? metric;
    const own = Object.entries(metric).filter(([key, value]) => first[key as keyof Metric] !== value);
    return { ...metric.resolve(context), ...Object.fromEntries(own) };
  }
  if (metric === "accuracy" || metric === "acc") return { ...accuracyFor(context), name: metric };
  if (Object.hasOwn(METRICS, metric)) return { ...metricByName(metricFromConfig(metric, {}), context), name: metric };
  if (isLossName(metric)) return average(metric, {}, lossByName(metric).call);
  if (/^(auc|perplexity)$/i.test(metric))
    throw new ArgumentError(`metrics: instead of its name give ${metric.toLowerCase()}(), imported from "lockstep"`);
  throw unknownName("metrics", metric, [...METRIC_NAMES, ...LOSS_NAMES]);
}

/** @file What a metric is: counts over an epoch inside the compiled step, and what most metrics share. */
import { DTypeError, ShapeError } from "../errors.ts";
import type { DType, TypedArray } from "../dtype.ts";
import type { Config } from "../nn/layer.ts";
import { abs, add, cast, greaterEqual, sub, where } from "../ops/map.ts";
import { reshape } from "../ops/move.ts";
import { argMax, sum } from "../ops/reduce.ts";
import { sameShape, showShape } from "../shape.ts";
import type { OpenShape, Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { classNumbers } from "./losses.ts";
import type { Loss, LossFunction } from "./losses.ts";

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
export const MADE = new WeakMap<object, { readonly kind: string; readonly metric: Metric }>();

export function made(kind: string, metric: Metric): Metric {
  MADE.set(metric.update, { kind, metric });
  if (metric.resolve) MADE.set(metric.resolve, { kind, metric });
  return metric;
}

export const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);

/** The share of elements for which `hit` (bool) holds. */
export function share(name: string, config: Config, hit: (yTrue: Tensor, yPred: Tensor) => Tensor): Metric {
  return made(name, {
    name,
    config,
    state: [{ name: "hits", shape: [], dtype: "i32" }, { name: "count", shape: [], dtype: "i32" }],
    update: (yTrue, yPred, [hits, count]) => {
      const now = hit(yTrue, yPred);
      return [add(hits, sum(cast(now, "i32"))), add(count, now.size)];
    },
    result: ([hits, count]) => ratio(hits[0], count[0]),
  });
}

/** A sum and what rounding has lost of it (Neumaier 1974), after another term. */
export function summed(total: Tensor, lost: Tensor, term: Tensor): readonly [Tensor, Tensor] {
  const next = add(total, term);
  const error = where(greaterEqual(abs(total), abs(term)), add(sub(total, next), term), add(sub(term, next), total));
  return [next, add(lost, error)];
}

/** The mean of `values`. */
export function average(name: string, config: Config, values: MetricFunction, finish: (mean: number) => number = (m) => m): Metric {
  return {
    name,
    config,
    state: [
      { name: "total", shape: [], dtype: "f32" },
      { name: "lost", shape: [], dtype: "f32" },
      { name: "count", shape: [], dtype: "i32" },
    ],
    update: (yTrue, yPred, [total, lost, count]) => {
      const perSample = values(yTrue, yPred);
      if (!(perSample instanceof Tensor) || perSample.dtype !== "f32")
        throw new DTypeError(
          `metric "${name}": expected a function that returns an f32 tensor, one value for each sample, got ${String(perSample)}`,
        );
      return [...summed(total, lost, sum(perSample)), add(count, perSample.size)];
    },
    result: ([total, lost, count]) => finish(ratio(total[0] + lost[0], count[0])),
  };
}

/** 1 for a scalar. */
export const lastOf = <D extends number | null>(shape: readonly D[]): D | 1 => (shape.length === 0 ? 1 : shape[shape.length - 1]);

/** Targets as f32 in the predictions' shape. */
export function alike(who: string, yTrue: Tensor, yPred: Tensor): Tensor {
  if (yTrue.size !== yPred.size)
    throw new ShapeError(`${who}: expected targets of the predictions' shape ${showShape(yPred.shape)}, got ${showShape(yTrue.shape)}`);
  return reshape(cast(yTrue, "f32"), yPred.shape);
}

/** The true class of each row [...]: where one-hot targets [..., C] are largest, or class numbers as they are. */
export function trueClass(who: string, yTrue: Tensor, yPred: Tensor): Tensor {
  const oneHotTargets = sameShape(yTrue.shape, yPred.shape) && lastOf(yPred.shape) > 1;
  return oneHotTargets ? argMax(cast(yTrue, "f32")) : classNumbers(who, yTrue, yPred);
}

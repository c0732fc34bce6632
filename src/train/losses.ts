/**
 * @file Losses with the semantics and defaults of Keras 3 (https://keras.io/api/losses/). Each gives one value for each
 * sample, the last axis reduced; `reduceLoss` makes the number that training descends on. Cross-entropies of a softmax
 * or sigmoid are computed from what went into it: without clipping, finite for every logit, and in one kernel.
 */
import { apply } from "../apply.ts";
import { checkMade, checkNumber, checkPositive, unknownName } from "../check.ts";
import { ArgumentError, DTypeError, ShapeError } from "../errors.ts";
import type { Config } from "../nn/layer.ts";
import { clip, mean } from "../ops/composite.ts";
import {
  abs,
  add,
  cast,
  div,
  equal,
  exp,
  lessEqual,
  log,
  log1p,
  maximum,
  mul,
  neg,
  notEqual,
  and,
  rsqrt,
  sigmoid,
  sigmoidOp,
  square,
  sub,
  where,
} from "../ops/map.ts";
import { reshape, reshapeOp } from "../ops/move.ts";
import { max, sum } from "../ops/reduce.ts";
import { oneHot, softmaxCrossEntropy, softmaxOp } from "../ops/softmax.ts";
import { optionsOf } from "../options.ts";
import { sameShape, showShape } from "../shape.ts";
import { Tensor } from "../tensor.ts";

/** Probabilities are kept this far from 0 and 1 where their logits are not known. */
const EPSILON = 1e-7;

/** Targets and predictions [..., C] to one value for each sample [...], f32. */
export type LossFunction = (yTrue: Tensor, yPred: Tensor) => Tensor;

/** A loss with its options: what `binaryCrossentropy()` and the others make. */
export interface Loss {
  /** What made it: meanSquaredError, sparseCategoricalCrossentropy … or a function's own name. */
  readonly name: string;
  readonly config: Config;
  readonly call: LossFunction;
  /**
   * `same`: targets have the shape of the predictions. `class`: they are class numbers (i32) without the last axis, or with a last axis
   * of 1.
   */
  readonly labels: "same" | "class";
}

/** The losses that are Lockstep's, by what they compute. */
const MADE = new WeakMap<LossFunction, Loss>();

function make(name: string, config: Config, call: LossFunction, labels: Loss["labels"] = "same"): Loss {
  const made = { name, config, call, labels };
  MADE.set(call, made);
  return made;
}

/** True where name and config are all that it takes to make the loss again. */
export function isMadeLoss({ name, config, call, labels }: Loss): boolean {
  const made = MADE.get(call);
  return made !== undefined && config.custom !== true && made.name === name && made.config === config && made.labels === labels;
}
const overLast = { axis: -1 } as const;

/** Targets and predictions as f32 of one shape; a last axis of 1 may be missing on either side. Broadcasting would hide mistakes. */
function matched(who: string, yTrue: Tensor, yPred: Tensor): readonly [Tensor, Tensor] {
  if (yPred.dtype !== "f32") throw new DTypeError(`${who}: expected f32 predictions, got ${yPred}`);
  const y = cast(yTrue, "f32");
  if (sameShape(y.shape, yPred.shape) && y.rank > 0) return [y, yPred];
  if (sameShape([...y.shape, 1], yPred.shape)) return [reshape(y, yPred.shape), yPred];
  if (sameShape(y.shape, [...yPred.shape, 1])) return [y, reshape(yPred, y.shape)];
  throw new ShapeError(`${who}: expected targets of the predictions' shape ${showShape(yPred.shape)}, got ${showShape(yTrue.shape)}`);
}

/** Class numbers as i32 of the predictions' shape without its last axis. */
export function classNumbers(who: string, yTrue: Tensor, yPred: Tensor): Tensor {
  const lead = yPred.shape.slice(0, -1);
  if (yPred.rank === 0 || !(sameShape(yTrue.shape, lead) || sameShape(yTrue.shape, [...lead, 1]))) {
    throw new ShapeError(
      `${who}: predictions ${showShape(yPred.shape)} need class numbers ${showShape(lead)}, got ${showShape(yTrue.shape)}; for ` +
        "one-hot targets use the categorical form",
    );
  }
  return reshape(cast(yTrue, "i32"), lead);
}

const throughReshape = (y: Tensor): Tensor => (y.node !== null && y.node.op === reshapeOp ? throughReshape(y.node.inputs[0] as Tensor) : y);

/** What went into the softmax that `yPred` is, in its shape; null when it is no softmax over the last axis. */
function softmaxLogits(yPred: Tensor): Tensor | null {
  const { node, shape } = throughReshape(yPred);
  if (node === null || node.op !== softmaxOp || shape[shape.length - 1] !== yPred.shape[yPred.rank - 1]) return null;
  return reshape(node.inputs[0] as Tensor, yPred.shape);
}

/**
 * What went into the sigmoid that `yPred` is, in its shape; null when it is none. A kernel that applies sigmoid itself is traced again
 * without.
 */
function sigmoidLogits(yPred: Tensor): Tensor | null {
  const { node } = throughReshape(yPred);
  if (node === null) return null;
  if (node.op === sigmoidOp) return reshape(node.inputs[0] as Tensor, yPred.shape);
  // By name: not every bundler leaves out convolutions that are only compared with.
  if (!/^(matmul|conv2d)$/.test(node.op.name) || node.attrs.activation !== "sigmoid") return null;
  return reshape(apply(node.op, node.inputs, { ...node.attrs, activation: "linear" })[0], yPred.shape);
}

/**
 * The same predictions in the form from which a cross-entropy and metrics share one product: where a matmul or convolution applies
 * sigmoid itself, sigmoid of its linear result; any other tensor as it is.
 */
export function separateSigmoid(yPred: Tensor): Tensor {
  const { node } = throughReshape(yPred);
  if (node === null || node.op === sigmoidOp) return yPred;
  const logits = sigmoidLogits(yPred);
  return logits === null ? yPred : sigmoid(logits);
}

/**
 * max(z, 0) - z y + log(1 + exp(-|z|)) = -log sigmoid(z) where y = 1, -log(1 - sigmoid(z)) where y = 0. `maximum` has the right slopes at
 * z = 0.
 */
function sigmoidCrossEntropy(z: Tensor, y: Tensor): Tensor {
  return add(sub(maximum(z, 0), mul(z, y)), log1p(exp(neg(maximum(z, neg(z))))));
}

/** Options of cross-entropies. */
export interface CrossentropyOptions {
  /** Predictions are logits, not probabilities. Default false. */
  readonly fromLogits?: boolean;
  /** Part of each target that is spread evenly over the classes, in [0, 1]. Default 0. */
  readonly labelSmoothing?: number;
}

function crossentropyOptions(who: string, options: CrossentropyOptions | undefined): Required<CrossentropyOptions> {
  const o = optionsOf<Required<CrossentropyOptions>>(who, { fromLogits: false, labelSmoothing: 0 }, options);
  checkNumber(who, "labelSmoothing", o.labelSmoothing, 0, 1);
  return o;
}

/** `y` with a part of it spread evenly over the classes. */
const smoothed = (y: Tensor, part: number, classes: number): Tensor => (part === 0 ? y : add(mul(y, 1 - part), part / classes));

/** Independent yes-or-no targets (0, 1 or between) [..., C] against probabilities [..., C]: mean of -y log p - (1 - y) log(1 - p). */
export function binaryCrossentropy(options?: CrossentropyOptions): Loss {
  const name = "binaryCrossentropy";
  const config = crossentropyOptions(name, options);
  const { fromLogits, labelSmoothing } = config;
  return make(name, { ...config }, (yTrue, yPred) => {
    const [t, p] = matched(name, yTrue, yPred);
    const y = smoothed(t, labelSmoothing, 2);
    const logits = fromLogits ? p : sigmoidLogits(p);
    if (logits !== null) return mean(sigmoidCrossEntropy(logits, y), overLast);
    const q = clip(p, EPSILON, 1 - EPSILON);
    return neg(mean(add(mul(y, log(q)), mul(sub(1, y), log(sub(1, q)))), overLast));
  });
}

/** Class probabilities (one-hot) [..., C] against predicted probabilities [..., C]: -sum(y log(p / sum p)). */
export function categoricalCrossentropy(options?: CrossentropyOptions): Loss {
  const name = "categoricalCrossentropy";
  const config = crossentropyOptions(name, options);
  const { fromLogits, labelSmoothing } = config;
  return make(name, { ...config }, (yTrue, yPred) => {
    const [t, p] = matched(name, yTrue, yPred);
    const y = smoothed(t, labelSmoothing, p.shape[p.rank - 1]);
    const logits = fromLogits ? p : softmaxLogits(p);
    if (logits !== null) return softmaxCrossEntropy(logits, y).loss;
    const q = clip(div(p, sum(p, { axis: -1, keepDims: true })), EPSILON, 1 - EPSILON);
    return neg(sum(mul(y, log(q)), overLast));
  });
}

/**
 * Class numbers (i32) [...] or [..., 1] against predicted probabilities [..., C]: -log of the class's share. Numbers outside of [0, C) must
 * be refused before.
 */
export function sparseCategoricalCrossentropy(options?: { readonly fromLogits?: boolean }): Loss {
  const name = "sparseCategoricalCrossentropy";
  const { fromLogits } = optionsOf(name, { fromLogits: false }, options);
  return make(
    name,
    { fromLogits },
    (yTrue, yPred) => {
      const classes = classNumbers(name, yTrue, yPred);
      const logits = fromLogits ? yPred : softmaxLogits(yPred);
      if (logits !== null) return softmaxCrossEntropy(logits, classes).loss;
      const picked = sum(mul(yPred, oneHot(classes, yPred.shape[yPred.rank - 1])), overLast);
      return neg(log(clip(div(picked, sum(yPred, overLast)), EPSILON, 1 - EPSILON)));
    },
    "class",
  );
}

/** A loss over targets and predictions of one shape. */
function elementwise(name: string, config: Config, values: LossFunction): Loss {
  return make(name, config, (yTrue, yPred) => values(...matched(name, yTrue, yPred)));
}

/** mean((y - p)^2) */
export const meanSquaredError = (): Loss => elementwise("meanSquaredError", {}, (y, p) => mean(square(sub(p, y)), overLast));

/** mean(|y - p|) */
export const meanAbsoluteError = (): Loss => elementwise("meanAbsoluteError", {}, (y, p) => mean(abs(sub(p, y)), overLast));

/** 100 mean(|y - p| / max(|y|, 1e-7)) */
export const meanAbsolutePercentageError = (): Loss =>
  elementwise("meanAbsolutePercentageError", {}, (y, p) => mul(mean(abs(div(sub(y, p), maximum(abs(y), EPSILON))), overLast), 100));

/** mean((log(1 + y) - log(1 + p))^2), both no smaller than 1e-7 */
export const meanSquaredLogarithmicError = (): Loss =>
  elementwise("meanSquaredLogarithmicError", {}, (yTrue, yPred) => {
    const [y, p] = [yTrue, yPred].map((x) => log1p(maximum(x, EPSILON)));
    return mean(square(sub(p, y)), overLast);
  });

/** mean(p - y log(p + 1e-7)): targets are counts, predictions the rates that they are expected with, which must not be negative. */
export const poisson = (): Loss => elementwise("poisson", {}, (y, p) => mean(sub(p, mul(y, log(add(p, EPSILON)))), overLast));

/** Huber 1964: quadratic for errors up to `delta` (default 1), linear beyond. */
export function huber(options?: { readonly delta?: number }): Loss {
  const { delta } = optionsOf("huber", { delta: 1 }, options);
  checkPositive("huber", "delta", delta);
  return elementwise("huber", { delta }, (y, p) => {
    const error = sub(p, y);
    const distance = abs(error);
    return mean(where(lessEqual(distance, delta), mul(square(error), 0.5), sub(mul(distance, delta), 0.5 * delta * delta)), overLast);
  });
}

/** sum(y log(y / p)), both clipped to [1e-7, 1] */
export const klDivergence = (): Loss =>
  elementwise("klDivergence", {}, (yTrue, yPred) => {
    const [y, p] = [clip(yTrue, EPSILON, 1), clip(yPred, EPSILON, 1)];
    return sum(mul(y, log(div(y, p))), overLast);
  });

/** max(1 - y p, 0) for targets -1 and 1; targets that are all 0 or 1 are taken as -1 and 1. */
function margin(y: Tensor, p: Tensor): Tensor {
  const others = sum(cast(and(notEqual(y, 0), notEqual(y, 1)), "i32"));
  const signed = where(equal(others, 0), sub(mul(y, 2), 1), y);
  return maximum(sub(1, mul(signed, p)), 0);
}

/** mean(max(1 - y p, 0)) for targets -1 and 1; targets that are all 0 or 1 are taken as -1 and 1. */
export const hinge = (): Loss => elementwise("hinge", {}, (y, p) => mean(margin(y, p), overLast));

/** mean(max(1 - y p, 0)^2) for targets -1 and 1; targets that are all 0 or 1 are taken as -1 and 1. */
export const squaredHinge = (): Loss => elementwise("squaredHinge", {}, (y, p) => mean(square(margin(y, p)), overLast));

/** max(1 + max((1 - y) p) - sum(y p), 0) over the classes, for one-hot targets: by how much the true class fails to lead by 1. */
export const categoricalHinge = (): Loss =>
  elementwise("categoricalHinge", {}, (y, p) => maximum(add(sub(max(mul(sub(1, y), p), overLast), sum(mul(y, p), overLast)), 1), 0));

/** mean(log(cosh(p - y))), without overflow. */
export const logCosh = (): Loss =>
  elementwise("logCosh", {}, (y, p) => {
    const error = sub(p, y);
    const distance = maximum(error, neg(error));
    return mean(sub(add(distance, log1p(exp(mul(distance, -2)))), Math.LN2), overLast);
  });

/** Minus the cosine of the angle between target and prediction; 0 where one of them is 0. */
export const cosineSimilarity = (): Loss =>
  elementwise("cosineSimilarity", {}, (y, p) => {
    const unit = (x: Tensor): Tensor => mul(x, rsqrt(maximum(sum(square(x), { axis: -1, keepDims: true }), EPSILON * EPSILON)));
    return neg(sum(mul(unit(y), unit(p)), overLast));
  });

const LOSSES = {
  binaryCrossentropy,
  categoricalCrossentropy,
  sparseCategoricalCrossentropy,
  meanSquaredError,
  meanAbsoluteError,
  meanAbsolutePercentageError,
  huber,
  klDivergence,
  hinge,
  squaredHinge,
  categoricalHinge,
  logCosh,
  cosineSimilarity,
  poisson,
  meanSquaredLogarithmicError,
  bce: binaryCrossentropy,
  mse: meanSquaredError,
  mae: meanAbsoluteError,
  mape: meanAbsolutePercentageError,
  msle: meanSquaredLogarithmicError,
  kld: klDivergence,
  logcosh: logCosh,
} as const satisfies { readonly [name: string]: (options: never) => Loss };

/**
 * Keras' name in camelCase, or its short form: binaryCrossentropy (bce), categoricalCrossentropy, sparseCategoricalCrossentropy,
 * meanSquaredError (mse), meanAbsoluteError (mae), meanAbsolutePercentageError (mape), meanSquaredLogarithmicError (msle), huber,
 * klDivergence (kld), poisson, hinge, squaredHinge, categoricalHinge, logCosh (logcosh), cosineSimilarity.
 */
export type LossName = keyof typeof LOSSES;

/** Names that `loss` options take. */
export const LOSS_NAMES: readonly string[] = Object.keys(LOSSES);

/** True for names that `lossByName` knows. */
export const isLossName = (name: string): name is LossName => LOSS_NAMES.includes(name);

/** A loss from its name and options. @throws ArgumentError listing the names. */
export function lossFromConfig(name: string, config: Config): Loss {
  if (!isLossName(name)) throw unknownName("loss", name, LOSS_NAMES);
  return (LOSSES[name] as (options: never) => Loss)(config as never);
}

/**
 * A loss from what `loss` options take: a name (Keras' in camelCase, or mse, mae, bce …) with default options, a loss, or a
 * function. @throws ArgumentError listing the names.
 */
export function lossByName(loss: LossName | Loss | LossFunction): Loss {
  if (typeof loss === "string") return lossFromConfig(loss, {});
  if (typeof loss === "function") {
    checkMade("loss", "a loss", loss, LOSSES);
    return make(loss.name || "loss", { custom: true }, loss);
  }
  if (loss === null || typeof loss !== "object" || typeof loss.call !== "function")
    throw new ArgumentError(
      `loss: expected a name, a loss or a function of (yTrue, yPred), got ${String(loss)}; names: ${LOSS_NAMES.join(", ")}`,
    );
  return loss;
}

/**
 * sum(perSample * weights) / number of values, a scalar: Keras' `sum_over_batch_size`. `weights` (default: all 1) have the shape of
 * `perSample` [batch, ...] or miss dimensions at its end ([batch] weighs whole samples).
 * `mask`: which of the values count, of a shape as that of weights; the sum is divided by the number of those.
 * @throws ShapeError when they do not fit.
 */
export function reduceLoss(perSample: Tensor, weights: Tensor | null = null, mask: Tensor | null = null): Tensor {
  if (!(perSample instanceof Tensor) || perSample.dtype !== "f32")
    throw new DTypeError(`loss: expected a function that returns an f32 tensor, got ${String(perSample)}`);
  const weighted = weights === null ? perSample : mul(perSample, spread(weights, perSample));
  if (mask === null) return div(sum(weighted), Math.max(1, perSample.size));
  const counts = spread(mask, perSample);
  return div(sum(mul(weighted, counts)), mul(maximum(sum(counts), 1), Math.max(1, perSample.size) / Math.max(1, counts.size)));
}

/** Weights in a shape that broadcasts to `perSample` from the front. */
function spread(weights: Tensor, { shape, rank }: Tensor): Tensor {
  if (rank === 0) {
    const expected = "one value for each sample, for sample weights, class weights or a mask";
    throw new ShapeError(`loss: expected ${expected}, got a scalar; reduce the last axis alone: mean(x, { axis: -1 })`);
  }
  const own = weights.rank === rank + 1 && weights.shape[rank] === 1 ? weights.shape.slice(0, rank) : weights.shape;
  if (own.length > rank || own.some((d, i) => d !== 1 && d !== shape[i]))
    throw new ShapeError(`sample weights: expected ${showShape(shape)} or its first dimensions, got ${showShape(weights.shape)}`);
  return reshape(cast(weights, "f32"), [...own, ...new Array<number>(rank - own.length).fill(1)]);
}

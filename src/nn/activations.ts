/** @file Activations that have parameters, as layers. */
import { ArgumentError, ShapeError } from "../errors.ts";
import { elu as eluOf, leakyRelu as leakyReluOf } from "../ops/activation.ts";
import { add, cast, greater, greaterEqual, minimum, mul, neg, relu as reluOf, sub, where } from "../ops/map.ts";
import { softmax as softmaxOf } from "../ops/softmax.ts";
import { normalizeAxis, sameShape, showShape } from "../shape.ts";
import type { Layer } from "./layer.ts";
import { checkNumber, checkRank, layerOf } from "./options.ts";
import type { InitializerOption, NameOption } from "./options.ts";
import type { RegularizerOption } from "./regularizers.ts";

/** Options of `relu`. */
export interface ReluOptions extends NameOption {
  /** Values end here. Default null: no limit. */
  readonly maxValue?: number | null;
  /** Factor below the threshold. Default 0. */
  readonly negativeSlope?: number;
  /** Default 0. */
  readonly threshold?: number;
}

/** min(x, maxValue) where x >= threshold, else negativeSlope * (x - threshold). @throws ArgumentError for negative options. */
export function relu(options: ReluOptions = {}): Layer {
  return layerOf<Required<ReluOptions>>(
    "relu",
    {},
    { name: "", maxValue: null, negativeSlope: 0, threshold: 0 },
    options,
    ({ maxValue, negativeSlope, threshold }) => {
      if (maxValue !== null) checkNumber("relu", "maxValue", maxValue, 0);
      checkNumber("relu", "negativeSlope", negativeSlope, 0);
      checkNumber("relu", "threshold", threshold, 0);
      return {
        mask: "pass",
        call: (x) => {
          if (negativeSlope === 0 && threshold === 0) return maxValue === null ? reluOf(x) : minimum(reluOf(x), maxValue);
          const above = maxValue === null ? x : minimum(x, maxValue);
          return where(threshold === 0 ? greater(x, 0) : greaterEqual(x, threshold), above, mul(sub(x, threshold), negativeSlope));
        },
      };
    },
  );
}

/** Options of `leakyRelu`. */
export interface LeakyReluOptions extends NameOption {
  /** Factor below 0. Default 0.3. */
  readonly negativeSlope?: number;
}

/**
 * x where positive, else negativeSlope * x. The default slope is 0.3, that of the activation "leakyRelu" 0.2, as in
 * Keras. @throws ArgumentError for a negative slope.
 */
export function leakyRelu(options: LeakyReluOptions = {}): Layer {
  return layerOf<Required<LeakyReluOptions>>("leakyRelu", {}, { name: "", negativeSlope: 0.3 }, options, ({ negativeSlope }) => {
    checkNumber("leakyRelu", "negativeSlope", negativeSlope, 0);
    return { mask: "pass", call: (x) => leakyReluOf(x, negativeSlope) };
  });
}

/** Options of `elu`. */
export interface EluOptions extends NameOption {
  /** The limit for small x is -alpha. Default 1. */
  readonly alpha?: number;
}

/** x where positive, else alpha (exp(x) - 1). @throws ArgumentError unless alpha is a number >= 0. */
export function elu(options: EluOptions = {}): Layer {
  return layerOf<Required<EluOptions>>("elu", {}, { name: "", alpha: 1 }, options, ({ alpha }) => {
    checkNumber("elu", "alpha", alpha, 0);
    return { mask: "pass", call: (x) => eluOf(x, alpha) };
  });
}

/** Options of `prelu`. */
export interface PreluOptions extends NameOption {
  /** Default zeros. */
  readonly alphaInitializer?: InitializerOption;
  /** Default none. */
  readonly alphaRegularizer?: RegularizerOption;
  /** Dimensions (the batch is 0) along which alpha is shared. Default none. */
  readonly sharedAxes?: readonly number[] | null;
}

/** x where positive, else alpha x, with a learned alpha for each element of a sample (He et al. 2015). Weights: alpha. */
export function prelu(options: PreluOptions = {}): Layer {
  return layerOf<Required<PreluOptions>>(
    "prelu",
    {},
    { name: "", alphaInitializer: "zeros", alphaRegularizer: null, sharedAxes: null },
    options,
    ({ sharedAxes }) => ({
      build: (shape, weight) => {
        checkRank(shape, "[batch, ...]", 2, Infinity);
        const shared = (sharedAxes ?? []).map((axis) => normalizeAxis("sharedAxes", axis, shape.length));
        if (shared.includes(0)) throw new ArgumentError("sharedAxes: the batch, 0, is always shared");
        weight(
          "alpha",
          shape.slice(1).map((d, i) => (shared.includes(i + 1) ? 1 : d)),
        );
      },
      mask: "pass",
      call: (x, { alpha }) => {
        if (
          !sameShape(
            x.shape.slice(1).map((d, i) => (alpha.shape[i] === 1 ? 1 : d)),
            alpha.shape,
          )
        )
          throw new ShapeError(`its alpha was made for samples ${showShape(alpha.shape)}, got ${showShape(x.shape.slice(1))}`);
        return sub(reluOf(x), mul(alpha, reluOf(neg(x))));
      },
    }),
  );
}

/** Options of `softmax`. */
export interface SoftmaxOptions extends NameOption {
  /** Default -1. */
  readonly axis?: number;
}

/** exp(x) / sum(exp(x)) along `axis`. A second tensor in `call` is a mask of what counts: where it is 0 the probability is 0. */
export function softmax(options: SoftmaxOptions = {}): Layer {
  return layerOf<Required<SoftmaxOptions>>("softmax", {}, { name: "", axis: -1 }, options, ({ axis }) => ({
    mask: "pass",
    inputs: 2,
    call: (x, _weights, mask) => softmaxOf(mask ? add(x, where(cast(mask, "bool"), 0, -1e9)) : x, axis),
  }));
}

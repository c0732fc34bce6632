/** @file Layers that bring values to a common mean and size: by statistics of the data, of the batch, or of each sample. */
import { ArgumentError, DataError, LockstepError, ShapeError } from "../errors.ts";
import { update } from "../graph.ts";
import { isTraining } from "../mode.ts";
import { mean as meanOf } from "../ops/composite.ts";
import { add, cast, div, maximum, mul, rsqrt, sqrt, square, sub } from "../ops/map.ts";
import { reshape, stopGradient } from "../ops/move.ts";
import { sum } from "../ops/reduce.ts";
import { normalizeLast } from "../ops/norm.ts";
import { toTensor } from "../samples.ts";
import type { Data } from "../samples.ts";
import { normalizeAxes, normalizeAxis, sameShape, showShape, sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import type { Layer } from "./layer.ts";
import { maskOf } from "./masks.ts";
import { featureStatistics } from "./statistics.ts";
import { checkCount, checkNumber, checkRank, lastOf, layerOf } from "./options.ts";
import type { Given, InitializerOption, MakeWeight, NameOption } from "./options.ts";
import type { RegularizerOption } from "./regularizers.ts";
import { TRAINING } from "../training.ts";

/** Options of `normalization`. */
export interface NormalizationOptions extends NameOption {
  /** The dimensions (batch included in the count) that have a mean of their own; null: one mean for everything. Default -1. */
  readonly axis?: number | readonly number[] | null;
  /** One number or one per feature, in place of `adapt`. Needs `variance`. */
  readonly mean?: number | readonly number[] | null;
  /** Default null. */
  readonly variance?: number | readonly number[] | null;
}

/** A normalization layer, which learns from data before training, not from gradients. */
export interface NormalizationLayer extends Layer {
  /**
   * Takes mean and variance from `data` [samples, ...], replacing those of an earlier call. Sums are in double precision (Welford).
   * @param data as `fit` takes it: a tensor, nested arrays, `{ data, shape }`, or a typed array, which `shape` may follow. Data handed
   * over as arrays are read before this returns; wait for tensors.
   * @throws DataError for empty or non-finite data, ShapeError when shapes do not fit, ArgumentError for what is no data
   */
  adapt(data: Data, shape?: Shape): Promise<void>;
}

const SMALLEST_DEVIATION = 1e-7;
const SMALLEST_LENGTH = 1e-12;

/**
 * (x - mean) / max(sqrt(variance), 1e-7) with the mean and variance of data that `adapt` has seen, or of the options.
 * Weights (not trained): mean and variance of the shape of the axes.
 * @throws ArgumentError for bad options; when called, LockstepError before `adapt`, ShapeError for another number of features
 * @example const scale = normalization(); await scale.adapt(xTrain);
 */
export function normalization(options: NormalizationOptions = {}): NormalizationLayer {
  const { axis = -1, mean: givenMean = null, variance: givenVariance = null } = options ?? {};
  if ((givenMean === null) !== (givenVariance === null)) throw new ArgumentError("normalization: mean and variance must be given together");
  let known: { mean: readonly number[]; variance: readonly number[] } | null =
    givenMean === null || givenVariance === null ? null : { mean: listOf("mean", givenMean), variance: listOf("variance", givenVariance) };
  if (known !== null && known.variance.some((v) => v < 0))
    throw new ArgumentError(`normalization: variance must be >= 0, got ${JSON.stringify(givenVariance)}`);

  const axesOf = (rank: number): readonly number[] => {
    const axes = axis === null ? [] : normalizeAxes("axis", axis, rank);
    if (axes.includes(0)) throw new ArgumentError("normalization: axis 0 is the batch and cannot have means of its own");
    return axes;
  };
  const featuresOf = (shape: Shape): Shape => axesOf(shape.length).map((a) => shape[a]);

  const fill = (values: readonly number[], shape: Shape): Float32Array => {
    const size = sizeOf(shape);
    if (values.length !== size && values.length !== 1)
      throw new ShapeError(
        `it has the mean and variance of ${values.length} features, got inputs of ${size} (axis ${JSON.stringify(axis)})`,
      );
    return Float32Array.from({ length: size }, (_, i) => values[values.length === 1 ? 0 : i]);
  };
  const base = layerOf<Required<NormalizationOptions>>(
    "normalization",
    {},
    { name: "", axis: -1, mean: null, variance: null },
    options,
    () => ({
      build: (shape, weight) => {
        checkRank(shape, "[batch, ...]", 1, Infinity);
        if (known === null)
          throw new LockstepError(
            "it has seen no data: call await layer.adapt(data) before the model is used, or give the options mean and variance",
          );
        const features = featuresOf(shape);
        for (const [name, values] of Object.entries(known))
          weight(name, features, { init: "zeros", trainable: false }).set(fill(values, features));
      },
      call: (x, { mean, variance }) => {
        const features = featuresOf(x.shape);
        if (!sameShape(features, mean.shape))
          throw new ShapeError(
            `it has the mean and variance of features ${showShape(mean.shape)}, got ${showShape(features)} in ${showShape(x.shape)}`,
          );
        const axes = axesOf(x.rank);
        const broad = x.shape.map((d, i) => (axes.includes(i) ? d : 1));
        return div(sub(x, reshape(mean, broad)), maximum(sqrt(reshape(variance, broad)), SMALLEST_DEVIATION));
      },
    }),
  );

  const take = (data: ArrayLike<number>, shape: Shape): void => {
    if (shape.length === 0 || sizeOf(shape) === 0)
      throw new DataError(`normalization: adapt needs at least one sample, got data of shape ${showShape(shape)}`);
    const features = featuresOf(shape);
    const [mean, variance] = base.weights;
    if (mean !== undefined && !sameShape(mean.tensor.shape, features))
      throw new ShapeError(
        `normalization: the layer is in use for features ${showShape(mean.tensor.shape)}, the data has ${showShape(features)}`,
      );
    known = featureStatistics(data, shape, axesOf(shape.length));
    Object.assign(base.config, known);
    mean?.tensor.set(Float32Array.from(known.mean));
    variance?.tensor.set(Float32Array.from(known.variance));
  };
  return Object.assign(base, {
    async adapt(data: Data, shape?: Shape): Promise<void> {
      const given = (shape === undefined || data instanceof Tensor ? data : { data, shape }) as Exclude<Data, number>;
      const elements: unknown = given instanceof Float64Array ? given : (given as { data?: unknown } | null)?.data;
      // Doubles are not rounded before they are summed.
      if (elements instanceof Float64Array) {
        const own = (given as { shape?: Shape }).shape ?? [elements.length];
        const size = sizeOf(own);
        if (size !== elements.length) {
          throw new ShapeError(`normalization: shape ${showShape(own)} has ${size} elements, the data has ${elements.length}`);
        }
        return take(elements, own);
      }
      const t = toTensor("normalization: adapt", given);
      take(t.host ?? (await t.data()), t.shape);
    },
  });
}

function listOf(what: string, value: number | readonly number[]): readonly number[] {
  const list = typeof value === "number" ? [value] : value;
  if (!Array.isArray(list) || list.length === 0 || !list.every(Number.isFinite))
    throw new ArgumentError(`normalization: ${what} must be a number or an array of numbers, got ${JSON.stringify(value)}`);
  return list;
}

/** Options of normalizations that scale and shift. */
interface AffineOptions extends NameOption {
  /** Default 1e-3. */
  readonly epsilon?: number;
  /** Add the weight beta. Default true. */
  readonly center?: boolean;
  /** Multiply by the weight gamma. Default true. */
  readonly scale?: boolean;
  /** Default zeros. */
  readonly betaInitializer?: InitializerOption;
  /** Default ones. */
  readonly gammaInitializer?: InitializerOption;
  /** Default none. */
  readonly betaRegularizer?: RegularizerOption;
  /** Default none. */
  readonly gammaRegularizer?: RegularizerOption;
}

const AFFINE: Required<AffineOptions> = {
  name: "",
  epsilon: 1e-3,
  center: true,
  scale: true,
  betaInitializer: "zeros",
  gammaInitializer: "ones",
  betaRegularizer: null,
  gammaRegularizer: null,
};

/** Makes gamma and beta, as far as the options want them. */
function affine(o: Required<AffineOptions>, shape: Shape, weight: MakeWeight): void {
  if (o.scale) weight("gamma", shape);
  if (o.center) weight("beta", shape);
}

/** The dimensions `axis`, none of which is the batch. */
function sampleAxes(axis: number | readonly number[], rank: number): readonly number[] {
  const axes = normalizeAxes("axis", axis, rank);
  if (axes.includes(0)) throw new ArgumentError("axis 0 is the batch; give dimensions of a sample, which count from 1, or back from -1");
  return axes;
}

/** Options of `batchNorm`. */
export interface BatchNormOptions extends AffineOptions {
  /** The dimension of features. Default -1. */
  readonly axis?: number;
  /** How much of the moving averages stays at each step. Default 0.99. */
  readonly momentum?: number;
  /** Default zeros. */
  readonly movingMeanInitializer?: InitializerOption;
  /** Default ones. */
  readonly movingVarianceInitializer?: InitializerOption;
}

/**
 * Batch normalization (Ioffe & Szegedy 2015): gamma (x - mean) / sqrt(variance + epsilon) + beta for each feature. In training with the
 * batch's mean and (biased) variance, which also move the averages that inference uses.
 * Weights: gamma, beta, and not trained movingMean, movingVariance, all [features].
 * @throws ArgumentError for bad options; when called, ShapeError for another number of features
 */
export function batchNorm(options: BatchNormOptions = {}): Layer {
  const self: Layer = layerOf<Required<BatchNormOptions>>(
    "batchNorm",
    {},
    { ...AFFINE, axis: -1, momentum: 0.99, movingMeanInitializer: "zeros", movingVarianceInitializer: "ones" },
    options,
    (o) => {
      checkNumber("batchNorm", "epsilon", o.epsilon, 0);
      checkNumber("batchNorm", "momentum", o.momentum, 0, 1);
      return {
        build: (shape, weight) => {
          checkRank(shape, "[batch, ..., features]", 2, Infinity);
          const features = [shape[sampleAxes(o.axis, shape.length)[0]]];
          affine(o, features, weight);
          weight("movingMean", features, { trainable: false });
          weight("movingVariance", features, { trainable: false });
        },
        mask: "pass",
        call: (x, { gamma, beta, movingMean, movingVariance }) => {
          const at = normalizeAxis("axis", o.axis, x.rank);
          if (x.shape[at] !== movingMean.shape[0])
            throw new ShapeError(`its weights were made for ${movingMean.shape[0]} features in dimension ${at}, got ${showShape(x.shape)}`);
          const broad = (t: Tensor): Tensor =>
            at === x.rank - 1
              ? t
              : reshape(
                  t,
                  x.shape.map((d, i) => (i === at ? d : 1)),
                );
          const scaleOf = (variance: Tensor): Tensor =>
            o.scale ? mul(rsqrt(add(variance, o.epsilon)), gamma) : rsqrt(add(variance, o.epsilon));
          if (!TRAINING || !self.trainable || !isTraining(x)) {
            const y = mul(sub(x, broad(movingMean)), broad(scaleOf(movingVariance)));
            return o.center ? add(y, broad(beta)) : y;
          }
          if (x.size === 0) throw new ShapeError(`a batch without elements has no mean, got ${showShape(x.shape)}`);
          const axis = x.shape.map((_, i) => i).filter((i) => i !== at);
          const meanOfBatch = meanWhere(maskOf(x), x, at);
          const mean = meanOfBatch(x, { axis });
          // The derivative of the variance by the mean is 0, and y depends on the mean only through the shift: with the mean a constant
          // in both passes over x, the gradient is two sums over the batch (dy and dy * centered), the rest is of the size of the features.
          const center = stopGradient(mean);
          const centered = sub(x, broad(center));
          const variance = meanOfBatch(square(centered), { axis });
          const scale = scaleOf(variance);
          const moved = mul(sub(center, mean), scale);
          const y = add(mul(centered, broad(scale)), broad(o.center ? add(moved, beta) : moved));
          update(movingMean, (average) => blendIn(average, mean, o.momentum));
          update(movingVariance, (average) => blendIn(average, variance, o.momentum));
          return y;
        },
      };
    },
  );
  return self;
}

/** The mean over steps that count alone, where there is a mask [batch, ...] of them: Keras divides by their number and 1e-7. */
function meanWhere(mask: Tensor | null, x: Tensor, feature: number): typeof meanOf {
  if (mask === null) return meanOf;
  const counts = cast(reshape(mask, [...mask.shape, ...new Array<number>(x.rank - mask.rank).fill(1)]), "f32");
  const each = x.size / x.shape[feature] / mask.size;
  return (t, options) => div(sum(mul(t, counts), options), add(mul(sum(counts), each), 1e-7));
}

const blendIn = (average: Tensor, value: Tensor, momentum: number): Tensor =>
  add(mul(average, momentum), mul(stopGradient(value), 1 - momentum));

/** True when `axes` are the last dimensions in order, so that a sample's part is one run of memory. */
const areLast = (axes: readonly number[], rank: number): boolean => axes.every((a, i) => a === rank - axes.length + i);

/** (x - mean) / sqrt(variance + epsilon) over `axis`; the mean counts as 0 where not `centered`. */
function standardize(x: Tensor, axis: readonly number[], epsilon: number, centered = true): Tensor {
  const y = centered ? sub(x, meanOf(x, { axis, keepDims: true })) : x;
  return mul(y, rsqrt(add(meanOf(square(y), { axis, keepDims: true }), epsilon)));
}

function scaleAndShift(y: Tensor, gamma: Tensor | undefined, beta: Tensor | undefined, shape: Shape): Tensor {
  const scaled = gamma === undefined ? y : mul(y, reshape(gamma, shape));
  return beta === undefined ? scaled : add(scaled, reshape(beta, shape));
}

/** Layers that normalize each sample over `axis`. */
function overAxes<D extends { readonly axis: number | readonly number[]; readonly epsilon: number }>(
  kind: string,
  defaults: D,
  options: Given<D>,
  centered: boolean,
  build: (o: D, shape: Shape, weight: MakeWeight) => void,
): Layer {
  return layerOf(kind, {}, defaults, options, (o) => {
    const { epsilon } = o;
    checkNumber(kind, "epsilon", epsilon, 0);
    return {
      mask: "pass",
      build: (shape, weight) =>
        build(
          o,
          sampleAxes(o.axis, shape.length).map((a) => shape[a]),
          weight,
        ),
      call: (x, { scale, gamma = scale, beta }) => {
        const axes = normalizeAxes("axis", o.axis, x.rank);
        if (areLast(axes, x.rank)) return normalizeLast(x, axes.length, { gamma, beta, epsilon, centered });
        return scaleAndShift(
          standardize(x, axes, epsilon, centered),
          gamma,
          beta,
          x.shape.map((d, i) => (axes.includes(i) ? d : 1)),
        );
      },
    };
  });
}

/** Options of `layerNorm`. */
export interface LayerNormOptions extends AffineOptions {
  /** The dimensions to normalize over. Default -1. */
  readonly axis?: number | readonly number[];
}

/**
 * Layer normalization (Ba et al. 2016): each sample is brought to mean 0 and variance 1 over `axis`, then scaled and shifted.
 * Weights: gamma, beta of the shape of the axes. @throws as `batchNorm`.
 */
export const layerNorm = (options: LayerNormOptions = {}): Layer =>
  overAxes<Required<LayerNormOptions>>("layerNorm", { ...AFFINE, axis: -1 }, options, true, affine);

/** Options of `rmsNorm`. */
export interface RmsNormOptions extends NameOption {
  /** The dimensions to normalize over. Default -1. */
  readonly axis?: number | readonly number[];
  /** Default 1e-6. */
  readonly epsilon?: number;
}

/**
 * Root mean square normalization (Zhang & Sennrich 2019): x / sqrt(mean(x^2) + epsilon) * scale over `axis`. Weights: scale, of the shape
 * of the axes.
 */
export const rmsNorm = (options: RmsNormOptions = {}): Layer =>
  overAxes<Required<RmsNormOptions>>("rmsNorm", { name: "", axis: -1, epsilon: 1e-6 }, options, false, (_o, shape, weight) =>
    weight("scale", shape, { init: "ones" }),
  );

/** Options of `unitNormalization`. */
export interface UnitNormalizationOptions extends NameOption {
  /** The dimensions whose length becomes 1. Default -1. */
  readonly axis?: number | readonly number[];
}

/** x / sqrt(sum(x^2)) over `axis`: each sample's part has length 1; zeros stay. */
export const unitNormalization = (options: UnitNormalizationOptions = {}): Layer =>
  layerOf<Required<UnitNormalizationOptions>>("unitNormalization", {}, { name: "", axis: -1 }, options, (o) => ({
    mask: "pass",
    call: (x) => {
      const axis = normalizeAxes("axis", o.axis, x.rank);
      return mul(x, rsqrt(maximum(sum(square(x), { axis, keepDims: true }), SMALLEST_LENGTH ** 2)));
    },
  }));

/** Options of `groupNorm`. */
export interface GroupNormOptions extends AffineOptions {
  /** The dimension of features, which is the last. Default -1. */
  readonly axis?: number;
}

/**
 * Group normalization (Wu & He 2018): each sample is brought to mean 0 and variance 1 within `groups` parts of its features (the last
 * dimension). `groups` default 32; -1: each feature alone. Weights: gamma, beta [features]. @throws as `batchNorm`.
 */
export function groupNorm(groups = 32, options: GroupNormOptions = {}): Layer {
  return layerOf<Required<GroupNormOptions>>("groupNorm", { groups }, { ...AFFINE, axis: -1 }, options, (o) => {
    if (groups !== -1) checkCount("groupNorm", "groups", groups);
    checkNumber("groupNorm", "epsilon", o.epsilon, 0);
    return {
      build: (shape, weight) => {
        checkRank(shape, "[batch, ..., features]", 2, Infinity);
        const features = lastOf(shape);
        if (normalizeAxis("axis", o.axis, shape.length) !== shape.length - 1)
          throw new ArgumentError(`axis must be the last dimension, got ${o.axis}`);
        if (groups !== -1 && features % groups !== 0)
          throw new ShapeError(`${features} features cannot be split into ${groups} groups of one size`);
        affine(o, [features], weight);
      },
      mask: "pass",
      call: (x, { gamma, beta }) => {
        const features = lastOf(x.shape);
        const count = groups === -1 ? features : groups;
        const parts = reshape(x, [x.shape[0], sizeOf(x.shape.slice(1, -1)), count, features / count]);
        return scaleAndShift(reshape(standardize(parts, [1, 3], o.epsilon), x.shape), gamma, beta, [features]);
      },
    };
  });
}

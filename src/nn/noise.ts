/** @file Layers that disturb what passes through them in training alone, as Keras' regularization layers do, and two that never do. */
import { checkNumber, checkPart } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import { isTraining, randomKey } from "../mode.ts";
import { add, greaterEqual, mul, where } from "../ops/map.ts";
import { randomNormal, randomUniform } from "../ops/random.ts";
import type { Tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { dropoutFactors } from "./dropout.ts";
import type { Layer } from "./layer.ts";
import { checkImages, layerOf } from "./options.ts";
import type { NameOption } from "./options.ts";

/** A layer of one number that is the identity but for what `disturb` does in training. */
const disturbing = (kind: string, args: { readonly [name: string]: number }, options: NameOption, disturb: (x: Tensor) => Tensor): Layer =>
  layerOf(kind, args, { name: "" }, options, () => ({
    mask: "pass",
    call: (x) => (TRAINING && isTraining(x) ? disturb(x) : x),
  }));

function spatial(kind: string, rank: 3 | 4 | 5, rate: number, options: NameOption): Layer {
  checkNumber(kind, "rate", rate, 0, 1);
  return layerOf(kind, { rate }, { name: "" }, options, () => ({
    mask: "pass",
    call: (x) => {
      checkImages(x.shape, rank);
      const factors = dropoutFactors(
        rate,
        x.shape.map((d, i) => (i === 0 || i === rank - 1 ? d : 1)),
        x,
      );
      return factors === null ? x : mul(x, factors);
    },
  }));
}

/**
 * `dropout` of whole channels of sequences [batch, time, channels]: their steps are alike, so that single ones would tell of each other
 * (Tompson et al. 2015). @throws as `dropout`; when called, ShapeError for another rank
 */
export const spatialDropout1d = (rate: number, options: NameOption = {}): Layer => spatial("spatialDropout1d", 3, rate, options);
/** The same of images [batch, height, width, channels]. @throws as `spatialDropout1d` */
export const spatialDropout2d = (rate: number, options: NameOption = {}): Layer => spatial("spatialDropout2d", 4, rate, options);
/** The same of volumes [batch, depth, height, width, channels]. @throws as `spatialDropout1d` */
export const spatialDropout3d = (rate: number, options: NameOption = {}): Layer => spatial("spatialDropout3d", 5, rate, options);

/**
 * While training, adds noise of mean 0 and standard deviation `stddev` to each element; otherwise the identity. Which depends on the
 * model's seed, the step and the layer only. @throws ArgumentError for a negative number
 */
export function gaussianNoise(stddev: number, options: NameOption = {}): Layer {
  checkNumber("gaussianNoise", "stddev", stddev, 0);
  return disturbing("gaussianNoise", { stddev }, options, (x) => add(x, mul(randomNormal(randomKey(), x.shape), stddev)));
}

/**
 * While training, multiplies each element by noise of mean 1 and standard deviation sqrt(rate / (1 - rate)) (Srivastava et al. 2014,
 * section 10); otherwise the identity. @throws ArgumentError unless 0 <= rate < 1
 */
export function gaussianDropout(rate: number, options: NameOption = {}): Layer {
  checkPart("gaussianDropout", "rate", rate);
  const deviation = Math.sqrt(rate / (1 - rate));
  return disturbing("gaussianDropout", { rate }, options, (x) => mul(x, add(mul(randomNormal(randomKey(), x.shape), deviation), 1)));
}

/** What selu gives for very small inputs. */
const LEAST_SELU = -1.6732632423543772 * 1.0507009873554805;

/**
 * Dropout for networks of selu (Klambauer et al. 2017): while training, elements become selu's least value with probability `rate`, and all
 * are scaled and moved so that mean and variance stay; otherwise the identity. @throws ArgumentError unless 0 <= rate < 1
 */
export function alphaDropout(rate: number, options: NameOption = {}): Layer {
  checkPart("alphaDropout", "rate", rate);
  const scale = 1 / Math.sqrt((1 - rate) * (1 + rate * LEAST_SELU ** 2));
  const offset = -scale * LEAST_SELU * rate;
  return disturbing("alphaDropout", { rate }, options, (x) =>
    rate === 0 ? x : add(mul(where(greaterEqual(randomUniform(randomKey(), x.shape), rate), x, LEAST_SELU), scale), offset),
  );
}

/** Options of `rescaling`. */
export interface RescalingOptions extends NameOption {
  /** Added behind the product: one number or one for each feature. Default 0. */
  readonly offset?: number | readonly number[];
}

/**
 * x * scale + offset, as for pixels: rescaling(1 / 255), or rescaling(1 / 127.5, { offset: -1 }). `scale` may be one number for each
 * feature.
 * @throws ArgumentError for what is no number
 */
export function rescaling(scale: number | readonly number[], options: RescalingOptions = {}): Layer {
  return layerOf<Required<RescalingOptions>>("rescaling", { scale }, { name: "", offset: 0 }, options, ({ offset }) => {
    for (const [name, value] of Object.entries({ scale, offset }))
      if (![value].flat().every((v) => Number.isFinite(v)))
        throw new ArgumentError(`rescaling: ${name} must be a number or a list of them, got ${JSON.stringify(value)}`);
    return { mask: "pass", call: (x) => add(mul(x, scale as number), offset as number) };
  });
}

/** Gives what it is given. */
export const identity = (options: NameOption = {}): Layer =>
  layerOf("identity", {}, { name: "" }, options, () => ({ mask: "pass", call: (x) => x, anyDtype: true }));

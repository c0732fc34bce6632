/**
 * @file Layers that change images at random in training alone: each image otherwise, by numbers that the program draws. Which depends on
 * the model's seed, the step and the layer only.
 */
import { ArgumentError } from "../errors.ts";
import { isTraining, randomKey } from "../mode.ts";
import { clip, mean } from "../ops/composite.ts";
import { gather } from "../ops/gather.ts";
import { add, cast, cos, mul, sin, sub } from "../ops/map.ts";
import { iota } from "../ops/move.ts";
import { randomUniform } from "../ops/random.ts";
import type { Tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { largestMiddle } from "./images.ts";
import type { Layer } from "./layer.ts";
import { checkCount, checkImages, layerOf } from "./options.ts";
import type { NameOption } from "./options.ts";
import { checkResampling, fromMiddle, RESAMPLING, resample } from "./resample.ts";
import type { ResamplingOptions } from "./resample.ts";

/** Where a random number is drawn from: f stands for [-f, f]. */
export type Factor = number | readonly [number, number];

type Range = readonly [number, number];

const isPair = (value: unknown): value is Range => Array.isArray(value) && value.length === 2 && value.every((v) => Number.isFinite(v));

/**
 * The range that a factor stands for; the ends of a pair may come in either order, as in Keras. `least`: the smallest number that it may
 * have, which zooming cannot reach. @throws ArgumentError
 */
function rangeOf(who: string, what: string, factor: Factor, least = -1, open = false): Range {
  const ends: unknown = typeof factor === "number" ? [factor, factor] : factor;
  if (!isPair(ends) || ends.some((v) => v < least || v > 1 || (open && v === least)))
    throw new ArgumentError(
      `${who}: ${what} must be a number or a pair of numbers in ${open ? "(" : "["}${least}, 1], got ${JSON.stringify(factor)}`,
    );
  if (typeof factor === "number") return [-Math.abs(factor), Math.abs(factor)];
  return [Math.min(...ends), Math.max(...ends)];
}

/** A number of `range` for each image of x, f32 [batch, 1, 1] or with one more dimension. */
const drawn = (x: Tensor, [low, high]: Range, rank: 3 | 4 = 3): Tensor =>
  add(mul(randomUniform(randomKey(), [x.shape[0], ...(rank === 3 ? [1, 1] : [1, 1, 1])]), high - low), low);

/** A layer of images that is the identity but for what `change` does in training. */
const changing = <O extends NameOption>(
  kind: string,
  args: { readonly [name: string]: unknown },
  defaults: O,
  given: Partial<O>,
  describe: (options: O) => (x: Tensor) => Tensor,
): Layer =>
  layerOf<O>(kind, args, defaults, given, (options) => {
    const change = describe(options);
    return {
      call: (x) => {
        checkImages(x.shape, 4);
        return TRAINING && isTraining(x) ? change(x) : x;
      },
    };
  });

/** Options of `randomRotation` and `randomTranslation`. */
export interface RandomPlaceOptions extends NameOption, ResamplingOptions {}

const PLACE: Required<RandomPlaceOptions> = Object.assign({ name: "" }, RESAMPLING);

/**
 * While training, turns each image [height, width, channels] about its middle by a random part of a full turn: `factor` 0.1 is from -36 to
 * 36 degrees, [0, 0.25] up to a quarter. As Keras' `RandomRotation`. Otherwise the identity.
 * @throws ArgumentError for a factor outside [-1, 1] and bad options; when called, ShapeError for another rank
 */
export function randomRotation(factor: Factor, options: RandomPlaceOptions = {}): Layer {
  return changing("randomRotation", { factor }, PLACE, options, (o) => {
    const [low, high] = rangeOf("randomRotation", "factor", factor);
    checkResampling("randomRotation", o);
    return (x) => {
      const [, height, width] = x.shape;
      const angle = drawn(x, [low * 2 * Math.PI, high * 2 * Math.PI]);
      const [across, along] = [fromMiddle(width, 2), fromMiddle(height, 1)];
      const rows = add(add(mul(sin(angle), across), mul(cos(angle), along)), (height - 1) / 2);
      const columns = add(sub(mul(cos(angle), across), mul(sin(angle), along)), (width - 1) / 2);
      return resample(x, rows, columns, o);
    };
  });
}

/**
 * While training, moves each image [height, width, channels] down by a random part of its height and to the right by one of its width;
 * negative parts are up and to the left. As Keras' `RandomTranslation`. Otherwise the identity. @throws as `randomRotation`
 */
export function randomTranslation(heightFactor: Factor, widthFactor: Factor, options: RandomPlaceOptions = {}): Layer {
  return changing("randomTranslation", { heightFactor, widthFactor }, PLACE, options, (o) => {
    const vertical = rangeOf("randomTranslation", "heightFactor", heightFactor);
    const horizontal = rangeOf("randomTranslation", "widthFactor", widthFactor);
    checkResampling("randomTranslation", o);
    return (x) => {
      const [, height, width] = x.shape;
      const down = mul(drawn(x, vertical), height);
      const right = mul(drawn(x, horizontal), width);
      const rows = sub(iota([1, height, 1], { axis: 1, dtype: "f32" }), down);
      const columns = sub(iota([1, 1, width], { axis: 2, dtype: "f32" }), right);
      return resample(x, rows, columns, o);
    };
  });
}

/** Options of `randomZoom`. */
export interface RandomZoomOptions extends RandomPlaceOptions {
  /** How much the width changes, by a number of its own. Default null: as much as the height, so that nothing is distorted. */
  readonly widthFactor?: Factor | null;
}

/**
 * While training, shows 1 + f times as much of each image [height, width, channels], about its middle, for a random f of `heightFactor`:
 * positive ones zoom out, negative ones in. As Keras' `RandomZoom`. Otherwise the identity.
 * @throws ArgumentError for factors outside (-1, 1] and bad options; when called, ShapeError for another rank
 */
export function randomZoom(heightFactor: Factor, options: RandomZoomOptions = {}): Layer {
  const defaults: Required<RandomZoomOptions> = { ...PLACE, widthFactor: null };
  return changing("randomZoom", { heightFactor }, defaults, options, (o) => {
    const vertical = rangeOf("randomZoom", "heightFactor", heightFactor, -1, true);
    const horizontal = o.widthFactor === null ? null : rangeOf("randomZoom", "widthFactor", o.widthFactor, -1, true);
    checkResampling("randomZoom", o);
    return (x) => {
      const [, height, width] = x.shape;
      const tall = add(drawn(x, vertical), 1);
      const wide = horizontal === null ? tall : add(drawn(x, horizontal), 1);
      const rows = add(mul(tall, fromMiddle(height, 1)), (height - 1) / 2);
      const columns = add(mul(wide, fromMiddle(width, 2)), (width - 1) / 2);
      return resample(x, rows, columns, o);
    };
  });
}

/** `size` of `x` along `axis`, from a random place on that is the same for the whole batch. */
function cut(x: Tensor, axis: 1 | 2, size: number): Tensor {
  const places = x.shape[axis] - size + 1;
  if (places === 1) return x;
  const start = cast(mul(randomUniform(randomKey(), [1]), places), "i32");
  return gather(x, add(iota([size]), start), axis);
}

/**
 * While training, a part of the images at a random place, the same in the whole batch: [batch, rows, columns, channels] -> [batch, height,
 * width, channels]. Otherwise, and for images that are smaller than that, the largest part about the middle that is as wide for its height,
 * resized: what Keras' `RandomCrop` says that it does (3.16 leaves images as they are in inference).
 * @throws ArgumentError for sizes below 1; when called, ShapeError for another rank
 */
export function randomCrop(height: number, width: number, options: NameOption = {}): Layer {
  return layerOf("randomCrop", { height, width }, { name: "" }, options, () => {
    checkCount("randomCrop", "height", height);
    checkCount("randomCrop", "width", width);
    return {
      call: (x) => {
        checkImages(x.shape, 4);
        const fits = x.shape[1] >= height && x.shape[2] >= width;
        return TRAINING && fits && isTraining(x) ? cut(cut(x, 1, height), 2, width) : largestMiddle(x, height, width);
      },
    };
  });
}

/** Options of `randomContrast` and `randomBrightness`. */
export interface RandomColorOptions extends NameOption {
  /** The smallest and the largest value of pixels, to which results are clipped: [0, 1] behind `rescaling(1 / 255)`. Default [0, 255]. */
  readonly valueRange?: readonly [number, number];
}

const COLOR: Required<RandomColorOptions> = { name: "", valueRange: [0, 255] };

/** @throws ArgumentError */
function checkValueRange(who: string, range: Range): void {
  if (!isPair(range) || range[0] >= range[1])
    throw new ArgumentError(`${who}: valueRange must be [low, high] with low < high, got ${JSON.stringify(range)}`);
}

/**
 * While training, moves the pixels of each channel of each image away from their mean, or towards it: (x - mean) * c + mean, clipped to
 * `valueRange`, for a random c of one image. `factor` 0.2 draws from 0.8 to 1.2, [a, b] from 1 - a to 1 + b. As the page of Keras'
 * `RandomContrast` says; of a number its code takes the upper half alone. Otherwise the identity.
 * @throws ArgumentError for a factor outside [0, 1] and a bad range; when called, ShapeError for another rank
 */
export function randomContrast(factor: Factor, options: RandomColorOptions = {}): Layer {
  return changing("randomContrast", { factor }, COLOR, options, ({ valueRange }) => {
    const ends: unknown = typeof factor === "number" ? [factor, factor] : factor;
    if (!isPair(ends) || ends.some((v) => v < 0 || v > 1))
      throw new ArgumentError(`randomContrast: factor must be a number or a pair of numbers in [0, 1], got ${JSON.stringify(factor)}`);
    checkValueRange("randomContrast", valueRange);
    return (x) => {
      const middle = mean(x, { axis: [1, 2], keepDims: true });
      const c = drawn(x, [1 - ends[0], 1 + ends[1]], 4);
      return clip(add(mul(sub(x, middle), c), middle), ...valueRange);
    };
  });
}

/**
 * While training, adds to each image a random part of the length of `valueRange`, to which the results are clipped: `factor` 0.2 is from
 * -0.2 to 0.2, [a, b] from a to b. As Keras' `RandomBrightness`. Otherwise the identity. @throws as `randomContrast`, of [-1, 1]
 */
export function randomBrightness(factor: Factor, options: RandomColorOptions = {}): Layer {
  return changing("randomBrightness", { factor }, COLOR, options, ({ valueRange }) => {
    const [low, high] = rangeOf("randomBrightness", "factor", factor);
    checkValueRange("randomBrightness", valueRange);
    const length = valueRange[1] - valueRange[0];
    return (x) => clip(add(x, drawn(x, [low * length, high * length], 4)), ...valueRange);
  });
}

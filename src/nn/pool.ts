/** @file Pooling layers: windows of images, windows of sequences (as images of height 1), and whole images and sequences. */
import { mean } from "../ops/composite.ts";
import { avgPool2d as averageWindows, maxPool2d as maximizeWindows } from "../ops/pool.ts";
import type { PoolOptions } from "../ops/pool.ts";
import { cast, div, mul } from "../ops/map.ts";
import { expandDims } from "../ops/move.ts";
import { max, sum } from "../ops/reduce.ts";
import type { ReduceOptions } from "../ops/reduce.ts";
import type { Padding, Pair } from "../ops/window.ts";
import type { Tensor } from "../tensor.ts";
import type { Layer } from "./layer.ts";
import { maskOf } from "./masks.ts";
import { checkImages, checkPadding, layerOf, onImages, windowOf } from "./options.ts";
import type { NameOption, PairOrSingle } from "./options.ts";

/** Options of `maxPool2d` and `avgPool2d`. */
export interface Pool2dOptions extends NameOption {
  /** Default: the pool size. */
  readonly strides?: Pair | null;
  /** `same`: output is ceil(input / stride); what lies outside does not count. Default `valid`. */
  readonly padding?: Padding;
}

type Windows = (x: Tensor, size: Pair, options: PoolOptions) => Tensor;

/** Images by themselves; with a rank of 3 sequences, as images of height 1. */
function pool<P extends PairOrSingle>(
  kind: string,
  rank: 3 | 4,
  windows: Windows,
  poolSize: P,
  options: { readonly name?: string; readonly strides?: P | null; readonly padding?: Padding },
): Layer {
  return layerOf<{ name: string; strides: P | null; padding: Padding }>(
    kind,
    { poolSize },
    { name: "", strides: null, padding: "valid" },
    options,
    (o) => {
      const size = windowOf(kind, rank, "poolSize", poolSize);
      const strides = o.strides === null ? size : windowOf(kind, rank, "strides", o.strides);
      checkPadding(kind, o.padding, ["valid", "same"]);
      return { call: (x) => onImages(x, rank, (images) => windows(images, size, { strides, padding: o.padding })) };
    },
  );
}

/**
 * The largest element of each window: [batch, height, width, channels] -> [batch, rows, columns, channels]. `poolSize`
 * default 2. @throws ArgumentError for bad options; when called, ShapeError for another rank.
 */
export const maxPool2d = (poolSize: Pair = 2, options: Pool2dOptions = {}): Layer =>
  pool("maxPool2d", 4, maximizeWindows, poolSize, options);
/**
 * The mean of each window: [batch, height, width, channels] -> [batch, rows, columns, channels]. `poolSize` default 2. @throws as
 * `maxPool2d`.
 */
export const avgPool2d = (poolSize: Pair = 2, options: Pool2dOptions = {}): Layer =>
  pool("avgPool2d", 4, averageWindows, poolSize, options);

/** Options of `maxPool1d` and `avgPool1d`. */
export interface Pool1dOptions extends NameOption {
  /** Default: the pool size. */
  readonly strides?: number | readonly [number] | null;
  /** Default `valid`. */
  readonly padding?: Padding;
}

/**
 * The largest element of each window: [batch, time, channels] -> [batch, steps, channels]. `poolSize` default 2. @throws as `maxPool2d`.
 */
export const maxPool1d = (poolSize: number | readonly [number] = 2, options: Pool1dOptions = {}): Layer =>
  pool("maxPool1d", 3, maximizeWindows, poolSize, options);
/** The mean of each window: [batch, time, channels] -> [batch, steps, channels]. `poolSize` default 2. @throws as `maxPool2d`. */
export const avgPool1d = (poolSize: number | readonly [number] = 2, options: Pool1dOptions = {}): Layer =>
  pool("avgPool1d", 3, averageWindows, poolSize, options);

/** Options of pooling over all positions. */
export interface GlobalPoolOptions extends NameOption {
  /** Keep the reduced dimensions as 1. Default false. */
  readonly keepDims?: boolean;
}

export function globalPool(
  kind: string,
  reduce: (x: Tensor, options: ReduceOptions) => Tensor,
  axis: readonly number[],
  options: GlobalPoolOptions,
  mask?: "use",
): Layer {
  return layerOf<Required<GlobalPoolOptions>>(kind, {}, { name: "", keepDims: false }, options, ({ keepDims }) => ({
    mask,
    call: (x) => {
      checkImages(x.shape, axis.length + 2);
      return reduce(x, { axis, keepDims });
    },
  }));
}

/** The mean of each channel: [batch, height, width, channels] -> [batch, channels]. */
export const globalAvgPool2d = (options: GlobalPoolOptions = {}): Layer => globalPool("globalAvgPool2d", mean, [1, 2], options);
/** The largest element of each channel: [batch, height, width, channels] -> [batch, channels]. Equal largest ones share the gradient. */
export const globalMaxPool2d = (options: GlobalPoolOptions = {}): Layer => globalPool("globalMaxPool2d", max, [1, 2], options);
/** The mean over time, of the steps that count where there is a mask: [batch, time, channels] -> [batch, channels]. */
export const globalAvgPool1d = (options: GlobalPoolOptions = {}): Layer => globalPool("globalAvgPool1d", meanOfSteps, [1], options, "use");

/** Not a number for a sequence no step of which counts, as in Keras. */
function meanOfSteps(x: Tensor, options: ReduceOptions): Tensor {
  const mask = maskOf(x);
  if (mask === null) return mean(x, options);
  const counts = cast(expandDims(mask, -1), "f32");
  return div(sum(mul(x, counts), options), sum(counts, options));
}
/** The largest element over time: [batch, time, channels] -> [batch, channels]. Equal largest ones share the gradient. */
export const globalMaxPool1d = (options: GlobalPoolOptions = {}): Layer => globalPool("globalMaxPool1d", max, [1], options);

/** @file Pooling layers: windows of images, windows of sequences (as images of height 1), and whole images and sequences. */
import { mean } from "../ops/composite.ts";
import { reshape } from "../ops/move.ts";
import { avgPool2d as averageWindows, maxPool2d as maximizeWindows } from "../ops/pool.ts";
import type { PoolOptions } from "../ops/pool.ts";
import { max } from "../ops/reduce.ts";
import type { ReduceOptions } from "../ops/reduce.ts";
import type { Padding, Pair } from "../ops/window.ts";
import type { Tensor } from "../tensor.ts";
import { layer } from "./layer.ts";
import type { Layer } from "./layer.ts";
import { checkOneOf, checkRank, configOf, optionsOf, pairOf, singleOf } from "./options.ts";
import type { NameOption } from "./options.ts";

/** Options of `maxPool2d` and `avgPool2d`. */
export interface Pool2dOptions extends NameOption {
  /** Default: the pool size. */
  readonly strides?: Pair | null;
  /** `same`: output is ceil(input / stride); what lies outside does not count. Default `valid`. */
  readonly padding?: Padding;
}

type Windows = (x: Tensor, size: Pair, options: PoolOptions) => Tensor;

function pool2d(kind: string, windows: Windows, poolSize: Pair, options: Pool2dOptions): Layer {
  const o = optionsOf<Required<Pool2dOptions>>(kind, { name: "", strides: null, padding: "valid" }, options);
  const size = pairOf(kind, "poolSize", poolSize);
  const strides = o.strides === null ? size : pairOf(kind, "strides", o.strides);
  checkOneOf(kind, "padding", o.padding, ["valid", "same"]);
  return layer({ kind, config: configOf({ poolSize, ...o }), call: (x) => windows(x, size, { strides, padding: o.padding }) });
}

/** The largest element of each window: [batch, height, width, channels] -> [batch, rows, columns, channels]. `poolSize` default 2. @throws ArgumentError for bad options; when called, ShapeError for another rank. */
export const maxPool2d = (poolSize: Pair = 2, options: Pool2dOptions = {}): Layer => pool2d("maxPool2d", maximizeWindows, poolSize, options);
/** The mean of each window: [batch, height, width, channels] -> [batch, rows, columns, channels]. `poolSize` default 2. @throws as `maxPool2d`. */
export const avgPool2d = (poolSize: Pair = 2, options: Pool2dOptions = {}): Layer => pool2d("avgPool2d", averageWindows, poolSize, options);

/** Options of `maxPool1d` and `avgPool1d`. */
export interface Pool1dOptions extends NameOption {
  /** Default: the pool size. */
  readonly strides?: number | readonly [number] | null;
  /** Default `valid`. */
  readonly padding?: Padding;
}

function pool1d(kind: string, windows: Windows, poolSize: number | readonly [number], options: Pool1dOptions): Layer {
  const o = optionsOf<Required<Pool1dOptions>>(kind, { name: "", strides: null, padding: "valid" }, options);
  const size = singleOf(kind, "poolSize", poolSize);
  const stride = o.strides === null ? size : singleOf(kind, "strides", o.strides);
  checkOneOf(kind, "padding", o.padding, ["valid", "same"]);
  return layer({
    kind,
    config: configOf({ poolSize, ...o }),
    call: (x) => {
      checkRank(x.shape, "[batch, time, channels]", 3);
      const [batch, time, channels] = x.shape;
      const y = windows(reshape(x, [batch, 1, time, channels]), [1, size], { strides: [1, stride], padding: o.padding });
      return reshape(y, [batch, y.shape[2], channels]);
    },
  });
}

/** The largest element of each window: [batch, time, channels] -> [batch, steps, channels]. `poolSize` default 2. @throws as `maxPool2d`. */
export const maxPool1d = (poolSize: number | readonly [number] = 2, options: Pool1dOptions = {}): Layer => pool1d("maxPool1d", maximizeWindows, poolSize, options);
/** The mean of each window: [batch, time, channels] -> [batch, steps, channels]. `poolSize` default 2. @throws as `maxPool2d`. */
export const avgPool1d = (poolSize: number | readonly [number] = 2, options: Pool1dOptions = {}): Layer => pool1d("avgPool1d", averageWindows, poolSize, options);

/** Options of pooling over all positions. */
export interface GlobalPoolOptions extends NameOption {
  /** Keep the reduced dimensions as 1. Default false. */
  readonly keepDims?: boolean;
}

function globalPool(kind: string, reduce: (x: Tensor, options: ReduceOptions) => Tensor, axis: readonly number[], options: GlobalPoolOptions): Layer {
  const o = optionsOf<Required<GlobalPoolOptions>>(kind, { name: "", keepDims: false }, options);
  const meaning = axis.length === 2 ? "[batch, height, width, channels]" : "[batch, time, channels]";
  return layer({
    kind,
    config: configOf({ ...o }),
    call: (x) => {
      checkRank(x.shape, meaning, axis.length + 2);
      return reduce(x, { axis, keepDims: o.keepDims });
    },
  });
}

/** The mean of each channel: [batch, height, width, channels] -> [batch, channels]. */
export const globalAvgPool2d = (options: GlobalPoolOptions = {}): Layer => globalPool("globalAvgPool2d", mean, [1, 2], options);
/** The largest element of each channel: [batch, height, width, channels] -> [batch, channels]. Equal largest ones share the gradient. */
export const globalMaxPool2d = (options: GlobalPoolOptions = {}): Layer => globalPool("globalMaxPool2d", max, [1, 2], options);
/** The mean over time: [batch, time, channels] -> [batch, channels]. */
export const globalAvgPool1d = (options: GlobalPoolOptions = {}): Layer => globalPool("globalAvgPool1d", mean, [1], options);
/** The largest element over time: [batch, time, channels] -> [batch, channels]. Equal largest ones share the gradient. */
export const globalMaxPool1d = (options: GlobalPoolOptions = {}): Layer => globalPool("globalMaxPool1d", max, [1], options);

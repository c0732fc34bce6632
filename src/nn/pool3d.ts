/** @file Pooling of volumes [batch, depth, height, width, channels]: windows, and whole volumes. */
import { mean } from "../ops/composite.ts";
import { reshape } from "../ops/move.ts";
import { avgPool2d, maxPool2d } from "../ops/pool.ts";
import type { PoolOptions } from "../ops/pool.ts";
import { max } from "../ops/reduce.ts";
import { checkFits } from "../ops/volumes.ts";
import type { Padding, Pair } from "../ops/window.ts";
import type { Tensor } from "../tensor.ts";
import type { Layer } from "./layer.ts";
import { checkImages, checkPadding, layerOf } from "./options.ts";
import type { NameOption } from "./options.ts";
import { globalPool } from "./pool.ts";
import type { GlobalPoolOptions } from "./pool.ts";
import { tripleOf } from "./sizes.ts";
import type { Triple } from "./sizes.ts";

/** Options of `maxPool3d` and `avgPool3d`. */
export interface Pool3dOptions extends NameOption {
  /** Default: the pool size. */
  readonly strides?: Triple | null;
  /** `same`: output is ceil(input / stride); what lies outside does not count. Default `valid`. */
  readonly padding?: Padding;
}

type Windows = (x: Tensor, size: Pair, options: PoolOptions) => Tensor;

/**
 * Windows of rows and columns first, then of the depth, as rows of images whose pixels are all that lies at one depth. The largest of the
 * largest is the largest of all, and the mean of means the mean, since those at the border are of as many elements as their neighbours.
 */
function pool(kind: string, windows: Windows, poolSize: Triple, options: Pool3dOptions): Layer {
  const defaults: Required<Pool3dOptions> = { name: "", strides: null, padding: "valid" };
  return layerOf(kind, { poolSize }, defaults, options, ({ padding, ...o }) => {
    const size = tripleOf(kind, "poolSize", poolSize);
    const strides = o.strides === null ? size : tripleOf(kind, "strides", o.strides);
    checkPadding(kind, padding, ["valid", "same"]);
    return {
      call: (x) => {
        checkImages(x.shape, 5);
        checkFits(x, size, [1, 1, 1], padding);
        const [n, d, h, w, c] = x.shape;
        const images = windows(reshape(x, [n * d, h, w, c]), [size[1], size[2]], { strides: [strides[1], strides[2]], padding });
        const [, rows, columns] = images.shape;
        const y = windows(reshape(images, [n, d, 1, rows * columns * c]), [size[0], 1], { strides: [strides[0], 1], padding });
        return reshape(y, [n, y.shape[1], rows, columns, c]);
      },
    };
  });
}

/**
 * The largest element of each window: [batch, depth, height, width, channels] -> [batch, depths, rows, columns, channels]. `poolSize`
 * default 2. As Keras' `MaxPooling3D`. @throws ArgumentError for bad options; when called, ShapeError for another rank and inputs smaller
 * than the window.
 */
export const maxPool3d = (poolSize: Triple = 2, options: Pool3dOptions = {}): Layer => pool("maxPool3d", maxPool2d, poolSize, options);
/**
 * The mean of each window: [batch, depth, height, width, channels] -> [batch, depths, rows, columns, channels]. `poolSize` default 2. As
 * Keras' `AveragePooling3D`. @throws as `maxPool3d`.
 */
export const avgPool3d = (poolSize: Triple = 2, options: Pool3dOptions = {}): Layer => pool("avgPool3d", avgPool2d, poolSize, options);

/** The mean of each channel: [batch, depth, height, width, channels] -> [batch, channels]. As Keras' `GlobalAveragePooling3D`. */
export const globalAvgPool3d = (options: GlobalPoolOptions = {}): Layer => globalPool("globalAvgPool3d", mean, [1, 2, 3], options);
/**
 * The largest element of each channel: [batch, depth, height, width, channels] -> [batch, channels]. Equal largest ones share the gradient.
 * As Keras' `GlobalMaxPooling3D`.
 */
export const globalMaxPool3d = (options: GlobalPoolOptions = {}): Layer => globalPool("globalMaxPool3d", max, [1, 2, 3], options);

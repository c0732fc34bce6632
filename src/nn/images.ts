/** @file Layers that images go through before a network: another size, a part, and in training a mirror. */
import { checkCount } from "../check.ts";
import { ShapeError } from "../errors.ts";
import { isTraining, randomKey } from "../mode.ts";
import { greater, where } from "../ops/map.ts";
import { matmul } from "../ops/matmul.ts";
import { flip, reshape, slice } from "../ops/move.ts";
import { randomBernoulli } from "../ops/random.ts";
import { Tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import type { Layer } from "./layer.ts";
import { checkImages, checkOneOf, layerOf } from "./options.ts";
import type { NameOption } from "./options.ts";

/** Options of `resizing`. */
export interface ResizingOptions extends NameOption {
  /** `bilinear` interpolates between the centers of pixels, `nearest` takes the nearest one. Default `bilinear`. */
  readonly interpolation?: "nearest" | "bilinear";
}

/** [to, from]: the shares that each of the old rows has in a new one. Pixels outside count as the edge. */
function sharesOf(from: number, to: number, bilinear: boolean): Tensor {
  const shares = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const center = ((i + 0.5) * from) / to;
    const at = bilinear ? center - 0.5 : Math.floor(center);
    const before = Math.floor(at);
    const clamp = (k: number): number => Math.min(Math.max(k, 0), from - 1);
    shares[i * from + clamp(before)] += 1 - (at - before);
    shares[i * from + clamp(before + 1)] += at - before;
  }
  return new Tensor([to, from], "f32", null, 0, shares);
}

/**
 * Images in another size: [batch, rows, columns, channels] -> [batch, height, width, channels]. A smaller size is not smoothed first, as
 * Keras' `Resizing` with `antialias=False`. @throws ArgumentError for sizes below 1; when called, ShapeError for another rank
 */
export function resizing(height: number, width: number, options: ResizingOptions = {}): Layer {
  return layerOf<Required<ResizingOptions>>("resizing", { height, width }, { name: "", interpolation: "bilinear" }, options, (o) => {
    checkCount("resizing", "height", height);
    checkCount("resizing", "width", width);
    checkOneOf("resizing", "interpolation", o.interpolation, ["nearest", "bilinear"]);
    const bilinear = o.interpolation === "bilinear";
    return {
      call: (x) => {
        checkImages(x.shape, 4);
        const [n, h, w, c] = x.shape;
        const tall = h === height ? x : matmul(sharesOf(h, height, bilinear), reshape(x, [n, h, w * c]));
        if (w === width) return reshape(tall, [n, height, width, c]);
        return reshape(matmul(sharesOf(w, width, bilinear), reshape(tall, [n * height, w, c])), [n, height, width, c]);
      },
    };
  });
}

/**
 * The middle of images: [batch, rows, columns, channels] -> [batch, height, width, channels]. @throws ArgumentError for sizes below 1; when
 * called, ShapeError for smaller images, which Keras would enlarge: put `resizing` in front
 */
export function centerCrop(height: number, width: number, options: NameOption = {}): Layer {
  return layerOf("centerCrop", { height, width }, { name: "" }, options, () => {
    checkCount("centerCrop", "height", height);
    checkCount("centerCrop", "width", width);
    return {
      call: (x) => {
        checkImages(x.shape, 4);
        const [n, h, w, c] = x.shape;
        if (h < height || w < width)
          throw new ShapeError(`images of ${h}x${w} have no middle of ${height}x${width}; put resizing in front`);
        return slice(x, [0, Math.floor((h - height) / 2), Math.floor((w - width) / 2), 0], [n, height, width, c]);
      },
    };
  });
}

/** Options of `randomFlip`. */
export interface RandomFlipOptions extends NameOption {
  /** `horizontal`: left and right change places; `vertical`: top and bottom. Default both, each by itself. */
  readonly mode?: "horizontal" | "vertical" | "horizontalAndVertical";
}

/**
 * While training, mirrors each image [height, width, channels] with probability 1/2; otherwise the identity. Which depends on the model's
 * seed, the step and the layer only. @throws ArgumentError for bad options; when called, ShapeError for another rank
 */
export function randomFlip(options: RandomFlipOptions = {}): Layer {
  return layerOf<Required<RandomFlipOptions>>("randomFlip", {}, { name: "", mode: "horizontalAndVertical" }, options, ({ mode }) => {
    checkOneOf("randomFlip", "mode", mode, ["horizontal", "vertical", "horizontalAndVertical"]);
    const axes = mode === "horizontal" ? [2] : mode === "vertical" ? [1] : [1, 2];
    return {
      call: (x) => {
        checkImages(x.shape, 4);
        if (!TRAINING || !isTraining(x)) return x;
        return axes.reduce((y, axis) => where(greater(randomBernoulli(randomKey(), 0.5, [x.shape[0], 1, 1, 1]), 0), flip(y, axis), y), x);
      },
    };
  });
}

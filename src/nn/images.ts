/** @file Layers that images go through before a network: another size, a part, and in training a mirror. */
import { checkCount, checkFlag, checkNumber } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import { isTraining, randomKey } from "../mode.ts";
import { greater, where } from "../ops/map.ts";
import { matmul } from "../ops/matmul.ts";
import { flip, pad, reshape, slice } from "../ops/move.ts";
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
  /** Takes the largest part about the middle that is as wide for its height as the result, so that nothing is distorted. Default false. */
  readonly cropToAspectRatio?: boolean;
  /** Puts `fillValue` above and below, or left and right, so that nothing is distorted or lost. Default false. */
  readonly padToAspectRatio?: boolean;
  /** Default 0. */
  readonly fillValue?: number;
  /** Where the result is smaller, `bilinear` smooths over all pixels that one of the result stands for. Default false. */
  readonly antialias?: boolean;
}

/**
 * [to, from]: the shares that each of the old rows has in a new one. What lies beyond the edges has none. `reach`: how many pixels on
 * around the place of a new one there is something of; 0: of the nearest alone.
 */
function sharesOf(from: number, to: number, reach: number): Tensor {
  const shares = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const center = ((i + 0.5) * from) / to;
    const at = reach > 0 ? center - 0.5 : Math.floor(center);
    const first = Math.max(Math.ceil(at - reach), 0);
    const some = Array.from({ length: Math.min(Math.floor(at + reach), from - 1) - first + 1 }, (_, k) =>
      reach > 0 ? 1 - Math.abs(at - first - k) / reach : 1,
    );
    const sum = some.reduce((a, b) => a + b, 0);
    some.forEach((share, k) => (shares[i * from + first + k] = share / sum));
  }
  return new Tensor([to, from], "f32", null, 0, shares);
}

function resized(x: Tensor, height: number, width: number, bilinear = true, antialias = false): Tensor {
  const [n, h, w, c] = x.shape;
  const shares = (from: number, to: number): Tensor => sharesOf(from, to, bilinear ? (antialias ? Math.max(from / to, 1) : 1) : 0);
  const tall = h === height ? x : matmul(shares(h, height), reshape(x, [n, h, w * c]));
  if (w === width) return reshape(tall, [n, height, width, c]);
  return reshape(matmul(shares(w, width), reshape(tall, [n * height, w, c])), [n, height, width, c]);
}

/** The part of height x width about the middle. */
function middle(x: Tensor, height: number, width: number): Tensor {
  const [n, h, w, c] = x.shape;
  return slice(x, [0, Math.floor((h - height) / 2), Math.floor((w - width) / 2), 0], [n, height, width, c]);
}

/** How tall images of `width` are, and how wide those of `height`, that have the shape of `like`: as Keras rounds it. */
const inShapeOf = (like: readonly [number, number], height: number, width: number): readonly [number, number] => [
  Math.floor((width * like[0]) / like[1]),
  Math.floor((height * like[1]) / like[0]),
];

/** The largest part about the middle that is as wide for its height as the result: what `largestMiddle` resizes. */
function aspectMiddle(x: Tensor, height: number, width: number): Tensor {
  const [, h, w] = x.shape;
  const [tall, wide] = inShapeOf([height, width], h, w);
  return middle(x, Math.max(Math.min(h, tall), 1), Math.max(Math.min(w, wide), 1));
}

/** The largest part about the middle that is as wide for its height as height x width, resized to that: `smart_resize` of Keras. */
export const largestMiddle = (x: Tensor, height: number, width: number): Tensor => resized(aspectMiddle(x, height, width), height, width);

/** x with `value` around its middle where it is too flat, or too narrow, for the shape of height x width. */
function padded(x: Tensor, height: number, width: number, value: number): Tensor {
  const [, h, w] = x.shape;
  const [tall, wide] = inShapeOf([height, width], h, w);
  const around = (more: number): readonly [number, number] => [Math.max(Math.floor(more / 2), 0), Math.max(Math.floor(more / 2), 0)];
  return pad(x, [[0, 0], around(tall - h), around(wide - w), [0, 0]], value);
}

/**
 * Images in another size: [batch, rows, columns, channels] -> [batch, height, width, channels]. As Keras' `Resizing`, whose cubic and
 * Lanczos interpolation are not there. @throws ArgumentError for sizes below 1 and bad options; when called, ShapeError for another rank
 */
export function resizing(height: number, width: number, options: ResizingOptions = {}): Layer {
  const defaults: Required<ResizingOptions> = {
    name: "",
    interpolation: "bilinear",
    cropToAspectRatio: false,
    padToAspectRatio: false,
    fillValue: 0,
    antialias: false,
  };
  return layerOf("resizing", { height, width }, defaults, options, (o) => {
    checkCount("resizing", "height", height);
    checkCount("resizing", "width", width);
    checkOneOf("resizing", "interpolation", o.interpolation, ["nearest", "bilinear"]);
    checkNumber("resizing", "fillValue", o.fillValue, -Infinity);
    for (const name of ["cropToAspectRatio", "padToAspectRatio", "antialias"] as const) checkFlag("resizing", name, o[name]);
    if (o.cropToAspectRatio && o.padToAspectRatio)
      throw new ArgumentError("resizing: one of cropToAspectRatio and padToAspectRatio can be true, got both");
    return {
      call: (x) => {
        checkImages(x.shape, 4);
        const whole = o.cropToAspectRatio ? aspectMiddle(x, height, width) : o.padToAspectRatio ? padded(x, height, width, o.fillValue) : x;
        return resized(whole, height, width, o.interpolation === "bilinear", o.antialias);
      },
    };
  });
}

/**
 * The middle of images: [batch, rows, columns, channels] -> [batch, height, width, channels]. Of images that are smaller than that, the
 * largest part about the middle that is as wide for its height, resized (bilinear), as in Keras. @throws ArgumentError for sizes below 1;
 * when called, ShapeError for another rank
 */
export function centerCrop(height: number, width: number, options: NameOption = {}): Layer {
  return layerOf("centerCrop", { height, width }, { name: "" }, options, () => {
    checkCount("centerCrop", "height", height);
    checkCount("centerCrop", "width", width);
    return {
      call: (x) => {
        checkImages(x.shape, 4);
        const fits = x.shape[1] >= height && x.shape[2] >= width;
        return fits ? middle(x, height, width) : largestMiddle(x, height, width);
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

/**
 * @file Pooling to a size that is given, of sequences, images and volumes: bin i of n covers the elements from floor(i size / n) to below
 * ceil((i + 1) size / n), as Keras' and PyTorch's adaptive pooling. Dimensions are pooled one after another.
 */
import { ShapeError } from "../errors.ts";
import { gather } from "../ops/gather.ts";
import { matmul } from "../ops/matmul.ts";
import { reshape } from "../ops/move.ts";
import { avgPool2d, maxPool2d } from "../ops/pool.ts";
import { showShape, sizeOf } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import type { Layer } from "./layer.ts";
import { checkImages, layerOf } from "./options.ts";
import type { NameOption } from "./options.ts";
import { sizesOf } from "./sizes.ts";
import type { Triple } from "./sizes.ts";

type Bin = readonly [from: number, to: number];

const binsOf = (size: number, count: number): readonly Bin[] =>
  Array.from({ length: count }, (_, i) => [Math.floor((i * size) / count), Math.ceil(((i + 1) * size) / count)]);

/** Windows of one length. */
const isRegular = (size: number, count: number): boolean => size % count === 0;

/** x[rows, size, behind] -> [rows, count, behind], the mean of each bin: where bins overlap or differ, a product with their shares. */
function means(x: Tensor, count: number): Tensor {
  const [rows, size, behind] = x.shape;
  if (isRegular(size, count)) return reshape(avgPool2d(reshape(x, [rows, size, 1, behind]), [size / count, 1]), [rows, count, behind]);
  const shares = new Float32Array(count * size);
  binsOf(size, count).forEach(([from, to], i) => shares.fill(1 / (to - from), i * size + from, i * size + to));
  return matmul(new Tensor([count, size], "f32", null, 0, shares), x);
}

/** The same with the largest of each bin: bins of one length are made of those that differ by taking an element again. */
function largest(x: Tensor, count: number): Tensor {
  const [rows, size, behind] = x.shape;
  let [all, length] = [x, size / count];
  if (!isRegular(size, count)) {
    const bins = binsOf(size, count);
    length = Math.max(...bins.map(([from, to]) => to - from));
    const taken = Int32Array.from({ length: count * length }, (_, k) => {
      const [from, to] = bins[Math.floor(k / length)];
      return Math.min(from + (k % length), to - 1);
    });
    all = gather(x, new Tensor([count * length], "i32", null, 0, taken), 1);
  }
  return reshape(maxPool2d(reshape(all, [rows, count * length, 1, behind]), [length, 1]), [rows, count, behind]);
}

function adaptive(
  kind: string,
  rank: 1 | 2 | 3,
  along: (x: Tensor, count: number) => Tensor,
  outputSize: unknown,
  options: NameOption,
): Layer {
  return layerOf(kind, { outputSize }, { name: "" }, options, () => {
    const sizes = sizesOf(kind, "outputSize", outputSize, rank);
    return {
      call: (x) => {
        checkImages(x.shape, rank + 2);
        if (x.shape.slice(1, -1).includes(0))
          throw new ShapeError(`expected at least one element in each dimension, got ${showShape(x.shape)}`);
        return sizes.reduce((y, count, i) => {
          const shape = [...y.shape];
          if (shape[i + 1] === count) return y;
          const pooled = along(reshape(y, [sizeOf(shape.slice(0, i + 1)), shape[i + 1], sizeOf(shape.slice(i + 2))]), count);
          shape[i + 1] = count;
          return reshape(pooled, shape);
        }, x);
      },
    };
  });
}

/**
 * The mean of each of `outputSize` parts of sequences of any length: [batch, time, channels] -> [batch, outputSize, channels]. As Keras'
 * `AdaptiveAveragePooling1D`. @throws ArgumentError for sizes below 1; when called, ShapeError for another rank
 */
export const adaptiveAvgPool1d = (outputSize: number | readonly [number], options: NameOption = {}): Layer =>
  adaptive("adaptiveAvgPool1d", 1, means, outputSize, options);
/** The same of images: [batch, height, width, channels] -> [batch, rows, columns, channels]. @throws as `adaptiveAvgPool1d` */
export const adaptiveAvgPool2d = (outputSize: number | readonly [number, number], options: NameOption = {}): Layer =>
  adaptive("adaptiveAvgPool2d", 2, means, outputSize, options);
/** The same of volumes: [batch, depth, height, width, channels] -> [batch, depths, rows, columns, channels]. @throws as `adaptiveAvgPool1d` */
export const adaptiveAvgPool3d = (outputSize: Triple, options: NameOption = {}): Layer =>
  adaptive("adaptiveAvgPool3d", 3, means, outputSize, options);
/**
 * The largest element of each of `outputSize` parts of sequences of any length: [batch, time, channels] -> [batch, outputSize, channels]. As
 * Keras' `AdaptiveMaxPooling1D`. @throws as `adaptiveAvgPool1d`
 */
export const adaptiveMaxPool1d = (outputSize: number | readonly [number], options: NameOption = {}): Layer =>
  adaptive("adaptiveMaxPool1d", 1, largest, outputSize, options);
/** The same of images: [batch, height, width, channels] -> [batch, rows, columns, channels]. @throws as `adaptiveAvgPool1d` */
export const adaptiveMaxPool2d = (outputSize: number | readonly [number, number], options: NameOption = {}): Layer =>
  adaptive("adaptiveMaxPool2d", 2, largest, outputSize, options);
/** The same of volumes: [batch, depth, height, width, channels] -> [batch, depths, rows, columns, channels]. @throws as `adaptiveAvgPool1d` */
export const adaptiveMaxPool3d = (outputSize: Triple, options: NameOption = {}): Layer =>
  adaptive("adaptiveMaxPool3d", 3, largest, outputSize, options);

/** @file Layers that move elements, drop them, and frame images. */
import { shown } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import { mul } from "../ops/map.ts";
import { matmul } from "../ops/matmul.ts";
import { broadcastTo, expandDims, pad, reshape as reshaped, slice, transpose } from "../ops/move.ts";
import type { Pair } from "../ops/window.ts";
import { showShape, sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { dropoutFactors } from "./dropout.ts";
import type { Layer } from "./layer.ts";
import { activationOf, checkCount, checkImages, checkNumber, checkOneOf, checkRank, layerOf, pairOf, whole } from "./options.ts";
import type { ActivationOption, NameOption } from "./options.ts";

/** A layer without weights and without options but its name. */
const optionless = (
  kind: string,
  args: { readonly [name: string]: unknown },
  options: NameOption,
  call: (x: Tensor) => Tensor,
  mask?: "pass",
): Layer => layerOf(kind, args, { name: "" }, options, () => ({ call, mask, anyDtype: true }));

/** [batch, ...] -> [batch, the rest as one dimension]. */
export function flatten(options: NameOption = {}): Layer {
  return optionless("flatten", {}, options, (x) => {
    checkRank(x.shape, "[batch, ...]", 1, Infinity);
    return reshaped(x, [x.shape[0], sizeOf(x.shape.slice(1))]);
  });
}

/**
 * [batch, ...] -> [batch, ...targetShape]; one dimension may be -1 (what is left). @throws ArgumentError for other dimensions below 0; when
 * called, ShapeError when the sizes differ.
 */
export function reshape(targetShape: Shape, options: NameOption = {}): Layer {
  if (
    !Array.isArray(targetShape) ||
    targetShape.some((d) => !Number.isInteger(d) || d < -1) ||
    targetShape.filter((d) => d === -1).length > 1
  ) {
    throw new ArgumentError(`reshape: expected the shape of one sample, with at most one -1, got ${JSON.stringify(targetShape)}`);
  }
  return optionless("reshape", { targetShape: [...targetShape] }, options, (x) => {
    checkRank(x.shape, "[batch, ...]", 1, Infinity);
    const known = sizeOf(targetShape.filter((d) => d !== -1));
    const sample = sizeOf(x.shape.slice(1));
    const full = targetShape.map((d) => (d === -1 ? sample / known : d));
    if (!full.every(Number.isInteger) || sizeOf(full) !== sample)
      throw new ShapeError(`a sample ${showShape(x.shape.slice(1))} has ${sample} elements and cannot become ${showShape(targetShape)}`);
    return reshaped(x, [x.shape[0], ...full]);
  });
}

/**
 * Dimensions of a sample in the order `dims`, which counts from 1: permute([2, 1]) takes [batch, a, b] to
 * [batch, b, a]. @throws ArgumentError unless each of 1 .. dims.length comes once.
 */
export function permute(dims: readonly number[], options: NameOption = {}): Layer {
  if (!Array.isArray(dims) || [...dims].sort((a, b) => a - b).some((d, i) => d !== i + 1))
    throw new ArgumentError(
      `permute: dims must name each of 1 to ${Array.isArray(dims) ? dims.length : "n"} once (the batch, 0, stays), got ` +
        `${Array.isArray(dims) ? `[${dims.join(", ")}]` : shown(dims)}`,
    );
  return optionless("permute", { dims: [...dims] }, options, (x) => {
    checkRank(x.shape, `a batch of rank ${dims.length + 1}`, dims.length + 1);
    return transpose(x, [0, ...dims]);
  });
}

/** [batch, features] -> [batch, n, features]. @throws ArgumentError for n below 1. */
export function repeatVector(n: number, options: NameOption = {}): Layer {
  checkCount("repeatVector", "n", n);
  return optionless("repeatVector", { n }, options, (x) => {
    checkRank(x.shape, "[batch, features]", 2);
    return broadcastTo(expandDims(x, 1), [x.shape[0], n, x.shape[1]]);
  });
}

/**
 * While training, sets each element to 0 with probability `rate` and scales the others by 1 / (1 - rate); otherwise the identity.
 * Which elements depends on the model's seed, the step and the layer only.
 * @throws ArgumentError unless 0 <= rate <= 1; when called for training outside of a traced function or model, LockstepError.
 */
export function dropout(rate: number, options: NameOption = {}): Layer {
  checkNumber("dropout", "rate", rate, 0, 1);
  return optionless(
    "dropout",
    { rate },
    options,
    (x) => {
      const factors = dropoutFactors(rate, x.shape, x);
      return factors === null ? x : mul(x, factors);
    },
    "pass",
  );
}

/** An activation as a layer. @throws ArgumentError for an unknown name. */
export function activation(fn: Exclude<ActivationOption, null>, options: NameOption = {}): Layer {
  return optionless("activation", { activation: fn }, options, whole(activationOf("activation", fn)), "pass");
}

/** One number for all sides, [rows, columns], or [[top, bottom], [left, right]]. */
export type Frame = Pair | readonly [readonly [number, number], readonly [number, number]];

function frameOf(who: string, what: string, value: Frame): readonly [readonly [number, number], readonly [number, number]] {
  if (Array.isArray(value) && value.length === 2 && value.every(Array.isArray)) {
    const [rows, columns] = value as unknown as readonly [Pair, Pair];
    return [pairOf(who, what, rows, 0), pairOf(who, what, columns, 0)];
  }
  const [h, w] = pairOf(who, what, value as Pair, 0);
  return [[h, h], [w, w]];
}

/** Steps at both ends of sequences: one number, or [before, after]. */
const endsOf = (who: string, what: string, value: Pair): readonly [number, number] => pairOf(who, what, value, 0);

/**
 * Steps of zeros around sequences [batch, time, channels]. `padding`: so many at each end, or [before, after]; default 1. @throws
 * ArgumentError for negative numbers.
 */
export function zeroPadding1d(padding: Pair = 1, options: NameOption = {}): Layer {
  const ends = endsOf("zeroPadding1d", "padding", padding);
  return optionless("zeroPadding1d", { padding }, options, (x) => {
    checkImages(x.shape, 3);
    return pad(x, [[0, 0], ends, [0, 0]]);
  });
}

/**
 * Sequences [batch, time, channels] without their outer steps. `cropping`: so many at each end, or [before, after]; default 1. @throws
 * ArgumentError for negative numbers; when called, ShapeError when nothing is left.
 */
export function cropping1d(cropping: Pair = 1, options: NameOption = {}): Layer {
  const [before, after] = endsOf("cropping1d", "cropping", cropping);
  return optionless("cropping1d", { cropping }, options, (x) => {
    checkImages(x.shape, 3);
    const [n, t, c] = x.shape;
    if (before + after >= t) throw new ShapeError(`cropping ${JSON.stringify(cropping)} leaves nothing of ${t} steps`);
    return slice(x, [0, before, 0], [n, t - before - after, c]);
  });
}

/** Rows and columns of zeros around images. `padding` default 1. @throws ArgumentError for negative numbers. */
export function zeroPadding2d(padding: Frame = 1, options: NameOption = {}): Layer {
  const [rows, columns] = frameOf("zeroPadding2d", "padding", padding);
  return optionless("zeroPadding2d", { padding }, options, (x) => {
    checkImages(x.shape, 4);
    return pad(x, [[0, 0], rows, columns, [0, 0]]);
  });
}

/**
 * Images without their outer rows and columns. `cropping` default 0. @throws ArgumentError for negative numbers; when called, ShapeError
 * when nothing is left.
 */
export function cropping2d(cropping: Frame = 0, options: NameOption = {}): Layer {
  const [[top, bottom], [left, right]] = frameOf("cropping2d", "cropping", cropping);
  return optionless("cropping2d", { cropping }, options, (x) => {
    checkImages(x.shape, 4);
    const [n, h, w, c] = x.shape;
    if (top + bottom >= h || left + right >= w)
      throw new ShapeError(`cropping ${JSON.stringify(cropping)} leaves nothing of the ${h}x${w} input`);
    return slice(x, [0, top, left, 0], [n, h - top - bottom, w - left - right, c]);
  });
}

/**
 * Sequences with each step `size` times (default 2): [batch, time, channels] -> [batch, time * size, channels]. @throws ArgumentError for
 * sizes below 1.
 */
export function upSampling1d(size = 2, options: NameOption = {}): Layer {
  checkCount("upSampling1d", "size", size);
  return optionless("upSampling1d", { size }, options, (x) => {
    checkImages(x.shape, 3);
    const [n, t, c] = x.shape;
    return reshaped(broadcastTo(reshaped(x, [n, t, 1, c]), [n, t, size, c]), [n, t * size, c]);
  });
}

/** Options of `upSampling2d`. */
export interface UpSampling2dOptions extends NameOption {
  /** `nearest` repeats rows and columns; `bilinear` interpolates between the centers of pixels. Default `nearest`. */
  readonly interpolation?: "nearest" | "bilinear";
}

/**
 * Images enlarged by whole factors: [batch, height, width, channels] -> [batch, height * rows, width * columns, channels]. `size`
 * default 2. @throws ArgumentError for sizes below 1.
 */
export function upSampling2d(size: Pair = 2, options: UpSampling2dOptions = {}): Layer {
  return layerOf<Required<UpSampling2dOptions>>(
    "upSampling2d",
    { size },
    { name: "", interpolation: "nearest" },
    options,
    ({ interpolation }) => {
      const [rows, columns] = pairOf("upSampling2d", "size", size);
      checkOneOf("upSampling2d", "interpolation", interpolation, ["nearest", "bilinear"]);
      return {
        call: (x) => {
          checkImages(x.shape, 4);
          const [n, h, w, c] = x.shape;
          if (interpolation === "bilinear") {
            const tall = matmul(interpolationMatrix(h, rows), reshaped(x, [n, h, w * c]));
            return reshaped(matmul(interpolationMatrix(w, columns), reshaped(tall, [n * h * rows, w, c])), [n, h * rows, w * columns, c]);
          }
          const spread = broadcastTo(reshaped(x, [n, h, 1, w, 1, c]), [n, h, rows, w, columns, c]);
          return reshaped(spread, [n, h * rows, w * columns, c]);
        },
      };
    },
  );
}

/**
 * [size * factor, size]: row i holds the shares of the two pixels on both sides of output center (i + 1/2) / factor - 1/2, those outside
 * counting as the edge.
 */
function interpolationMatrix(size: number, factor: number): Tensor {
  const shares = new Float32Array(size * factor * size);
  for (let i = 0; i < size * factor; i++) {
    const at = (i + 0.5) / factor - 0.5;
    const before = Math.floor(at);
    const clamp = (k: number): number => Math.min(Math.max(k, 0), size - 1);
    shares[i * size + clamp(before)] += 1 - (at - before);
    shares[i * size + clamp(before + 1)] += at - before;
  }
  return new Tensor([size * factor, size], "f32", null, 0, shares);
}

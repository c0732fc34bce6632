/**
 * @file Images looked up at other places than those of their pixels: what turns, moves and scales them. Places, shares and what lies
 * beyond the edges are tensors of the program, so that nothing is worked out on the host.
 */
import { checkNumber, checkOneOf } from "../check.ts";
import { clip } from "../ops/composite.ts";
import { gather } from "../ops/gather.ts";
import { add, and, cast, equal, floor, minimum, mod, mul, round, sub, where } from "../ops/map.ts";
import { expandDims, iota, reshape } from "../ops/move.ts";
import type { Tensor } from "../tensor.ts";

/** How images are looked up beside and beyond their pixels. */
export interface ResamplingOptions {
  /**
   * What lies beyond the edges of a row `a b c d`. `reflect`: d c b a | a b c d | d c b a. `wrap`: a b c d | a b c d | a b c d. `nearest`:
   * a a a a | a b c d | d d d d. `constant`: `fillValue`. Default `reflect`.
   */
  readonly fillMode?: "reflect" | "wrap" | "constant" | "nearest";
  /** `bilinear` interpolates between the four pixels around a place, `nearest` takes the nearest one. Default `bilinear`. */
  readonly interpolation?: "bilinear" | "nearest";
  /** What `constant` has beyond the edges. Default 0. */
  readonly fillValue?: number;
}

export const RESAMPLING: Required<ResamplingOptions> = { fillMode: "reflect", interpolation: "bilinear", fillValue: 0 };

/** @throws ArgumentError */
export function checkResampling(who: string, { fillMode, interpolation, fillValue }: Required<ResamplingOptions>): void {
  checkOneOf(who, "fillMode", fillMode, ["reflect", "wrap", "constant", "nearest"]);
  checkOneOf(who, "interpolation", interpolation, ["bilinear", "nearest"]);
  checkNumber(who, "fillValue", fillValue, -Infinity);
}

/** One of the pixels along a side that a place lies between. */
interface Neighbor {
  /** i32, within the image. */
  readonly index: Tensor;
  /** False where it lies beyond the edges; null where something stands there. */
  readonly inside: Tensor | null;
  /** How much of it there is in the result; null: all. */
  readonly share: Tensor | null;
}

/** Pixel number `k` (whole numbers as f32) of a side of `size`. */
function neighbor(k: Tensor, size: number, mode: ResamplingOptions["fillMode"], share: Tensor | null): Neighbor {
  if (mode === "wrap") return { index: cast(mod(k, size), "i32"), inside: null, share };
  if (mode === "reflect") {
    const there = mod(k, 2 * size);
    return { index: cast(minimum(there, sub(2 * size - 1, there)), "i32"), inside: null, share };
  }
  const index = clip(k, 0, size - 1);
  return { index: cast(index, "i32"), inside: mode === "constant" ? equal(index, k) : null, share };
}

function neighbors(at: Tensor, size: number, { fillMode, interpolation }: Required<ResamplingOptions>): readonly Neighbor[] {
  if (interpolation === "nearest") return [neighbor(round(at), size, fillMode, null)];
  const low = floor(at);
  const rest = sub(at, low);
  return [neighbor(low, size, fillMode, sub(1, rest)), neighbor(add(low, 1), size, fillMode, rest)];
}

/**
 * x [batch, height, width, channels] at the places `rows` and `columns` (f32, each broadcastable to [batch, height, width]; 0 is the center
 * of the first pixel), of the same shape. Pixels are f32. As `ops.image.affine_transform` of Keras, whose backends agree but for
 * `wrap` in TensorFlow, which passes over the gap between the last pixel and the first.
 */
export function resample(x: Tensor, rows: Tensor, columns: Tensor, options: Required<ResamplingOptions>): Tensor {
  const [batch, height, width, channels] = x.shape;
  const pixels = reshape(x, [batch * height * width, channels]);
  const image = mul(iota([batch, 1, 1], { axis: 0 }), height * width);
  const parts = neighbors(rows, height, options).flatMap((row) =>
    neighbors(columns, width, options).map((column) => {
      const value = gather(pixels, add(add(image, mul(row.index, width)), column.index));
      const seen =
        row.inside === null || column.inside === null
          ? value
          : where(expandDims(and(row.inside, column.inside), -1), value, options.fillValue);
      return row.share === null || column.share === null ? seen : mul(seen, expandDims(mul(row.share, column.share), -1));
    }),
  );
  return parts.reduce((sum, part) => add(sum, part));
}

/** Distances of pixels from the middle of a side: f32, of rank 3 with `size` along `axis`. */
export const fromMiddle = (size: number, axis: 1 | 2): Tensor =>
  sub(iota(axis === 1 ? [1, size, 1] : [1, 1, size], { axis, dtype: "f32" }), (size - 1) / 2);

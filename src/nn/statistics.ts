/** @file Means and variances of data on the host, in double precision. */
import { DataError } from "../errors.ts";
import { sizeOf, stridesOf } from "../shape.ts";
import type { Shape } from "../shape.ts";

/**
 * Mean and biased variance of each feature in one pass, by Welford's update ("Note on a method for calculating corrected sums of squares
 * and products", 1962), which does not lose digits where the mean is large. Features are the positions along `axes` (ascending), row-major.
 * @throws DataError for elements that are not finite
 */
export function featureStatistics(data: ArrayLike<number>, shape: Shape, axes: readonly number[]): { mean: number[]; variance: number[] } {
  const features = axes.map((a) => shape[a]);
  const featureStrides = stridesOf(features);
  const strides = shape.map((_, i) => (axes.includes(i) ? featureStrides[axes.indexOf(i)] : 0));
  const size = sizeOf(features);
  const mean = new Float64Array(size);
  const squares = new Float64Array(size);
  const counts = new Float64Array(size);
  const index = new Array<number>(shape.length).fill(0);
  for (let i = 0, feature = 0; i < data.length; i++) {
    const value = data[i];
    if (!Number.isFinite(value))
      throw new DataError(
        `normalization: adapt needs finite data, got ${value} at element ${i}; leave such samples out or replace the value`,
      );
    const delta = value - mean[feature];
    mean[feature] += delta / ++counts[feature];
    squares[feature] += delta * (value - mean[feature]);
    for (let d = shape.length - 1; d >= 0; d--) {
      feature += strides[d];
      if (++index[d] < shape[d]) break;
      feature -= strides[d] * shape[d];
      index[d] = 0;
    }
  }
  return { mean: [...mean], variance: Array.from(squares, (s, k) => s / counts[k]) };
}

/** @file Quantiles of times. */

/** The least of the values that so large a part of all does not exceed (nearest rank); of an even number the median is the lower one. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)];
}

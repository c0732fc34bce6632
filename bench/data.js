/** @file Data of the benchmarks: plain numbers, the same in every run and every library. Imports nothing, so that pages can load it. */

/** Uniform numbers in [0, 1), the same in every run. */
export function noise(count, seed) {
  let state = seed * 2654435761 || 1;
  return Float32Array.from({ length: count }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4294967296;
  });
}

/** One-hot rows of n classes in turn. */
export const classes = (count, n) => Float32Array.from({ length: count * n }, (_, i) => Number(Math.floor(i / n) % n === i % n));

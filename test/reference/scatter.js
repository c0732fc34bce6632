/** @file Rows replaced by others, in the order of `index`; one outside [0, size) writes nothing. */

export function scatterUpdate({ size, inner, count }, [index, updates], [y]) {
  for (let j = 0; j < count; j++) {
    if (index[j] >= 0 && index[j] < size) y.set(updates.subarray(j * inner, (j + 1) * inner), index[j] * inner);
  }
}

/** @file Rows replaced by others, in the order of `index`; one outside [0, size) writes nothing. */
import { toHalves } from "./halves.js";

export function scatterUpdate({ size, inner, count, halves }, [index, given], [y]) {
  const updates = halves ? toHalves(given) : given;
  for (let j = 0; j < count; j++) {
    if (index[j] >= 0 && index[j] < size) y.set(updates.subarray(j * inner, (j + 1) * inner), index[j] * inner);
  }
}

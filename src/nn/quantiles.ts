/**
 * @file Boundaries of bins that hold about as many elements each: a summary of the sorted data, and places in between, as Keras' layer
 * `Discretization` makes them. Sums are in single precision, where Keras has them so.
 */

/** Elements of a summary, ascending, and how many of the data each stands for. */
interface Summary {
  readonly values: readonly number[];
  readonly weights: readonly number[];
}

/** What a broken line through (xs, ys) has at each of `places`; beyond its ends it is constant. xs and places ascend. */
function onLine(places: readonly number[], xs: readonly number[], ys: readonly number[]): readonly number[] {
  const last = xs.length - 1;
  let k = 0;
  return places.map((x) => {
    while (k < last && xs[k + 1] <= x) k++;
    if (k === last || x <= xs[k]) return ys[k];
    return ((ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k])) * (x - xs[k]) + ys[k];
  });
}

/** A summary of about 1 / epsilon elements; of fewer than that there is nothing to be left out. */
function compressed(summary: Summary, epsilon: number): Summary {
  const { values, weights } = summary;
  if (values.length * epsilon < 1) return summary;
  let total = 0;
  const sums = weights.map((w) => (total = Math.fround(total + w)));
  const parts = sums.map((s) => Math.fround(s / total));
  const places = Array.from({ length: Math.ceil(1 / epsilon) }, (_, i) => epsilon + i * epsilon);
  const found = onLine(places, parts, sums);
  return {
    values: onLine(places, parts, values).map(Math.fround),
    weights: found.map((s, i) => Math.fround(s - (i === 0 ? 0 : found[i - 1]))),
  };
}

/** The boundaries of `bins` bins of finite `data`, f32. Fewer where there are fewer elements, or 1 / epsilon is less than that. */
export function binBoundaries(data: Float32Array, bins: number, epsilon: number): readonly number[] {
  const sorted = data.slice().sort();
  const step = Math.max(sorted.length / (1 / epsilon), 1);
  const values: number[] = [];
  for (let i = Math.floor(step - 1); i < sorted.length; i += Math.floor(step)) values.push(sorted[i]);
  const summary = { values, weights: values.map(() => Math.fround(step)) };
  return compressed(compressed(summary, epsilon), 1 / bins).values.slice(0, -1);
}

/** @file Sums of many elements against float64: the relative error stays near that of one addition. */
import { layerNorm } from "../../build/esm/nn/index.js";
import { mean, variance } from "../../build/esm/ops/composite.js";
import { mul } from "../../build/esm/ops/map.js";
import { columnSum } from "../../build/esm/ops/matmul.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { softmax } from "../../build/esm/ops/softmax.js";
import { randomSource, runOnce, traceForward } from "./harness.js";

/** Many of one number, whose roundings all go one way, and numbers of nine magnitudes. */
const DATA = {
  0.1: (n) => new Float64Array(n).fill(Math.fround(0.1)),
  mixed: (n) => {
    const random = randomSource(7);
    return Float64Array.from({ length: n }, (_, i) => Math.fround(random() * 10 ** (((i * 7) % 9) - 4)));
  },
};

/** [outer, size, inner] summed over size. */
function sums(x, [outer, size, inner], of = (v) => v) {
  const totals = new Float64Array(outer * inner);
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (let r = 0; r < size; r++) {
      for (let k = 0; k < inner; k++) totals[o * inner + k] += of(x[at++]);
    }
  }
  return totals;
}

const meanAndVariance = (x, size) => {
  const m = x.reduce((a, v) => a + v, 0) / size;
  return { m, v: x.reduce((a, v) => a + (v - m) ** 2, 0) / size };
};

/** Cases for about `n` elements (a multiple of 1000): a name, the shape, what is computed, and the wanted elements. */
function casesOf(n) {
  const along = (name, shape, axis, parts) => [
    { name: `${name}: sum`, shape, fn: (x) => sum(x, { axis }), want: (x) => sums(x, parts) },
    { name: `${name}: mean`, shape, fn: (x) => mean(x, { axis }), want: (x) => sums(x, parts).map((s) => s / parts[1]) },
    { name: `${name}: sum of a chain`, shape, fn: (x) => sum(mul(mul(x, 2), x), { axis }), want: (x) => sums(x, parts, (v) => 2 * v * v) },
  ];
  return [
    ...along("all", [n], null, [1, n, 1]),
    ...along("rows", [10, n / 10], 1, [10, n / 10, 1]),
    ...along("short rows", [n / 100, 100], 1, [n / 100, 100, 1]),
    ...along("2 columns in 4 parts", [4, n / 8, 2], 1, [4, n / 8, 2]),
    ...along("10 columns", [n / 10, 10], 0, [1, n / 10, 10]),
    ...along("1000 columns", [n / 1000, 1000], 0, [1, n / 1000, 1000]),
    { name: "gradient of a bias", shape: [n / 200, 20, 10], fn: (x) => columnSum(x), want: (x) => sums(x, [1, n / 10, 10]) },
    { name: "variance", shape: [n], fn: (x) => variance(x), want: (x) => [meanAndVariance(x, n).v], only: "mixed" },
    { name: "softmax", shape: [1, n], fn: (x) => softmax(x), want: (x) => x.map(() => 1 / n), only: "0.1" },
    {
      name: "layerNorm",
      shape: [1, n],
      fn: (x) => layerNorm({ center: false, scale: false, epsilon: 0 }).call(x),
      only: "mixed",
      want: (x) => {
        const { m, v } = meanAndVariance(x, n);
        return x.map((e) => (e - m) / Math.sqrt(v));
      },
    },
  ];
}

/**
 * A list of `{ name, tolerance, error }`, where `error(backend)` is the largest relative error (of layerNorm to the largest element). A
 * mean of one number is off by no more than the rounding of 1 / n and of the result.
 */
export function sumCases(n) {
  return Object.entries(DATA).flatMap(([kind, make]) =>
    casesOf(n)
      .filter((c) => !c.only || c.only === kind)
      .map((c) => ({
        name: `${c.name} of ${n} times ${kind}`,
        tolerance: c.name === "softmax" ? 4e-6 : c.name.startsWith("all: mean") && kind === "0.1" ? 1.2e-7 : 1e-6,
        async error(backend) {
          const data = make(n);
          const { graph, results } = traceForward({ inputs: [{ shape: c.shape, dtype: "f32", list: [] }], fn: c.fn });
          const [got] = await runOnce(backend, { graph, results, data: [data] });
          const want = c.want(data);
          const scale = c.name === "layerNorm" ? want.reduce((a, v) => Math.max(a, Math.abs(v)), 0) : null;
          return got.reduce(
            (worst, v, i) => Math.max(worst, Number.isFinite(v) ? Math.abs(v - want[i]) / (scale ?? Math.abs(want[i])) : Infinity),
            0,
          );
        },
      })),
  );
}

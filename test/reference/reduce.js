/** @file reduce: one of six reductions over the middle axis of [outer, size, inner], of an input or of a body's values. */
import { wrap } from "./dtype.js";
import { eachElement, registerTypes } from "./map.js";

/** Folds over f32: the value to start with and the step. */
const FOLDS = {
  sum: { start: 0, step: (a, x) => a + x },
  prod: { start: 1, step: (a, x) => a * x },
  max: { start: -Infinity, step: (a, x) => Math.max(a, x) },
  min: { start: Infinity, step: (a, x) => Math.min(a, x) },
};

/** Folds over i32: sums and products wrap at every step. */
const INTEGER_FOLDS = {
  ...FOLDS,
  sum: { start: 0, step: (a, x) => wrap(a + x, "i32") },
  prod: { start: 1, step: (a, x) => Math.imul(a, x) },
};

/** The body's value at every point, or the one input as it is. */
function reducedValues(body, inputs, call) {
  if (body === null) return { values: inputs[0], dtype: call.inputs[0].dtype };
  const dtypes = registerTypes(body, call.inputs);
  const values = new Float64Array(body.space.reduce((a, d) => a * d, 1));
  eachElement(body, inputs, dtypes, (i, registers) => {
    values[i] = registers[body.results[0]];
  });
  return { values, dtype: dtypes[body.results[0]] };
}

/** The first index whose element `better` prefers to all before it. */
function firstBest(column, better) {
  let best = 0;
  for (let i = 1; i < column.length; i++) if (better(column[i], column[best])) best = i;
  return best;
}

function reduceColumn(op, column, dtype) {
  if (op === "argmax") return firstBest(column, (a, b) => a > b);
  if (op === "argmin") return firstBest(column, (a, b) => a < b);
  const { start, step } = (dtype === "f32" ? FOLDS : INTEGER_FOLDS)[op];
  return column.reduce((a, x) => step(a, x), start);
}

export function reduce({ op, outer, size, inner, body }, inputs, [y], call) {
  const { values, dtype } = reducedValues(body, inputs, call);
  for (let o = 0; o < outer; o++) {
    for (let k = 0; k < inner; k++) {
      const column = Float64Array.from({ length: size }, (_, i) => values[(o * size + i) * inner + k]);
      y[o * inner + k] = reduceColumn(op, column, dtype);
    }
  }
}

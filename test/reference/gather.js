/** @file gather and scatterAdd along the middle axis of [outer, size, inner]. An index outside [0, size) is clamped in both. */

/** Calls `visit(wholeAt, partAt)` for every element: x[outer, index[j], inner] and y[outer, j, inner]. */
function eachIndexed({ outer, size, inner, count }, index, visit) {
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < count; j++) {
      const i = Math.min(Math.max(index[j], 0), size - 1);
      for (let k = 0; k < inner; k++) visit((o * size + i) * inner + k, (o * count + j) * inner + k);
    }
  }
}

export function gather(attrs, [x, index], [y]) {
  eachIndexed(attrs, index, (xAt, yAt) => {
    y[yAt] = x[xAt];
  });
}

export function scatterAdd(attrs, [updates, index], [y]) {
  y.fill(0);
  eachIndexed(attrs, index, (yAt, updateAt) => {
    y[yAt] += updates[updateAt];
  });
}

/** @file softmax and logSoftmax over the rows of a matrix, and their gradients in terms of the forward result y. */

/** The rows of x[rows, cols], as views. */
export function rowsOf({ rows, cols }, x) {
  return Array.from({ length: rows }, (_, i) => x.subarray(i * cols, (i + 1) * cols));
}

export const sum = (row) => row.reduce((a, x) => a + x, 0);

/** log(sum(exp(row))), computed about the largest element. */
export function logSumExp(row) {
  const largest = row.reduce((a, x) => Math.max(a, x), -Infinity);
  return largest + Math.log(sum(row.map((x) => Math.exp(x - largest))));
}

/** exp(row) / sum(exp(row)), computed about the largest element. */
export function softmaxRow(row) {
  const largest = row.reduce((a, x) => Math.max(a, x), -Infinity);
  const powers = row.map((x) => Math.exp(x - largest));
  const total = sum(powers);
  return powers.map((e) => e / total);
}

export function softmax(attrs, [x], [y]) {
  rowsOf(attrs, x).forEach((row, i) => y.set(softmaxRow(row), i * attrs.cols));
}

export function logSoftmax(attrs, [x], [y]) {
  rowsOf(attrs, x).forEach((row, i) => {
    const total = logSumExp(row);
    y.set(
      row.map((v) => v - total),
      i * attrs.cols,
    );
  });
}

/** dx = (dy - sum(dy*y)) * y */
export function softmaxGrad(attrs, [dy, y], [dx]) {
  const yRows = rowsOf(attrs, y);
  rowsOf(attrs, dy).forEach((dyRow, i) => {
    const dot = sum(dyRow.map((d, j) => d * yRows[i][j]));
    dx.set(
      dyRow.map((d, j) => (d - dot) * yRows[i][j]),
      i * attrs.cols,
    );
  });
}

/** dx = dy - exp(y) * sum(dy) */
export function logSoftmaxGrad(attrs, [dy, y], [dx]) {
  const yRows = rowsOf(attrs, y);
  rowsOf(attrs, dy).forEach((dyRow, i) => {
    const total = sum(dyRow);
    dx.set(
      dyRow.map((d, j) => d - Math.exp(yRows[i][j]) * total),
      i * attrs.cols,
    );
  });
}

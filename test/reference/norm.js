/** @file layerNorm and its gradient over the rows of a matrix. */
import { rowsOf, sum } from "./softmax.js";

export function layerNorm(attrs, [x, gamma, beta], [y, means, rstds]) {
  const { cols, epsilon, centered } = attrs;
  rowsOf(attrs, x).forEach((row, i) => {
    const mean = centered ? sum(row) / cols : 0;
    const rstd = 1 / Math.sqrt(sum(row.map((v) => (v - mean) ** 2)) / cols + epsilon);
    y.set(
      row.map((v, j) => (v - mean) * rstd * (gamma?.[j] ?? 1) + (beta?.[j] ?? 0)),
      i * cols,
    );
    if (means !== null) means[i] = mean;
    if (rstds !== null) rstds[i] = rstd;
  });
}

/** dx = rstd (g - mean(g) - z mean(g z)) with g = dy gamma and z = (x - mean) rstd; dgamma and dbeta are column sums of dy z and dy. */
export function layerNormGrad(attrs, [dy, x, gamma, means, rstds], [dx, dgamma, dbeta]) {
  const { cols, centered } = attrs;
  const dyRows = rowsOf(attrs, dy);
  dgamma?.fill(0);
  dbeta?.fill(0);
  rowsOf(attrs, x).forEach((row, i) => {
    const g = dyRows[i].map((d, j) => d * (gamma?.[j] ?? 1));
    const z = row.map((v) => (v - means[i]) * rstds[i]);
    const meanG = centered ? sum(g) / cols : 0;
    const meanGz = sum(g.map((v, j) => v * z[j])) / cols;
    dx.set(
      g.map((v, j) => rstds[i] * (v - meanG - z[j] * meanGz)),
      i * cols,
    );
    dyRows[i].forEach((d, j) => {
      if (dgamma) dgamma[j] += d * z[j];
      if (dbeta) dbeta[j] += d;
    });
  });
}

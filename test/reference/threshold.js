/** @file The greatest element of each row from which on all elements together weigh the row's mass, by trying each. */

export function massThreshold({ rows, cols, shared }, [x, weights, mass], [y]) {
  for (let row = 0; row < rows; row++) {
    const at = [...Array(cols).keys()].map((i) => row * cols + i);
    const value = (i) => (Number.isNaN(x[i]) ? -Infinity : x[i]);
    const weight = (i) => (weights === null ? 1 : weights[i] > 0 ? weights[i] : 0);
    const order = at.sort((a, b) => (value(a) < value(b) ? 1 : value(a) > value(b) ? -1 : 0));
    let total = 0;
    let found = null;
    for (let k = 0; k < cols && found === null;) {
      const candidate = value(order[k]);
      for (; k < cols && value(order[k]) === candidate; k++) total += weight(order[k]);
      if (total >= mass[shared ? 0 : row]) found = candidate;
    }
    y[row] = found ?? value(order[cols - 1]);
  }
}

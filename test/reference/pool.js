/** @file maxPool, avgPool and their gradients. Only elements inside the input take part; a window without any gives 0. */
import { eachTap, eachWindow, inputAt, outputAt } from "./window.js";

/** Calls `visit(n, p, q, c, yAt)` for every output element. */
function eachOutput(attrs, visit) {
  eachWindow(attrs, (n, p, q) => {
    for (let c = 0; c < attrs.c; c++) visit(n, p, q, c, outputAt(attrs, attrs.c, n, p, q, c));
  });
}

export function maxPool(attrs, [x], [y, index]) {
  eachOutput(attrs, (n, p, q, c, yAt) => {
    let best = { value: 0, tap: null };
    eachTap(attrs, p, q, (r, s, h, w) => {
      const value = x[inputAt(attrs, n, h, w, c)];
      if (best.tap === null || value > best.value) best = { value, tap: r * attrs.s + s };
    });
    y[yAt] = best.value;
    if (index) index[yAt] = best.tap ?? 0;
  });
}

export function maxPoolGrad(attrs, [dy, index], [dx]) {
  dx.fill(0);
  eachOutput(attrs, (n, p, q, c, yAt) => {
    eachTap(attrs, p, q, (r, s, h, w) => {
      if (index[yAt] === r * attrs.s + s) dx[inputAt(attrs, n, h, w, c)] += dy[yAt];
    });
  });
}

/** How many taps of window (p, q) are inside the input. */
function countInside(attrs, p, q) {
  let count = 0;
  eachTap(attrs, p, q, () => count++);
  return count;
}

export function avgPool(attrs, [x], [y]) {
  eachOutput(attrs, (n, p, q, c, yAt) => {
    let sum = 0;
    eachTap(attrs, p, q, (_r, _s, h, w) => {
      sum += x[inputAt(attrs, n, h, w, c)];
    });
    y[yAt] = sum / Math.max(1, countInside(attrs, p, q));
  });
}

export function avgPoolGrad(attrs, [dy], [dx]) {
  dx.fill(0);
  eachOutput(attrs, (n, p, q, c, yAt) => {
    const share = dy[yAt] / countInside(attrs, p, q);
    eachTap(attrs, p, q, (_r, _s, h, w) => {
      dx[inputAt(attrs, n, h, w, c)] += share;
    });
  });
}

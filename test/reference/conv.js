/**
 * @file conv2d and its two gradients. All three are the same sum over products x[n,h,w,c] * w[r,s,c',f] * dy[n,p,q,f]
 * (c' the channel within the group of f); each gathers another of the three factors.
 */
import { activation } from "./activation.js";
import { eachTap, eachWindow, inputAt, outputAt } from "./window.js";

/** Calls `visit(xAt, wAt, yAt)` for every product of the convolution. */
function eachProduct(attrs, visit) {
  const inputsPerGroup = attrs.c / attrs.groups;
  const filtersPerGroup = attrs.f / attrs.groups;
  eachWindow(attrs, (n, p, q) => {
    eachTap(attrs, p, q, (r, s, h, w) => {
      for (let f = 0; f < attrs.f; f++) {
        const group = Math.floor(f / filtersPerGroup);
        for (let c = 0; c < inputsPerGroup; c++) {
          const xAt = inputAt(attrs, n, h, w, group * inputsPerGroup + c);
          const wAt = ((r * attrs.s + s) * inputsPerGroup + c) * attrs.f + f;
          visit(xAt, wAt, outputAt(attrs, attrs.f, n, p, q, f));
        }
      }
    });
  });
}

export function conv2d(attrs, [x, w, bias], [y]) {
  for (let i = 0; i < y.length; i++) y[i] = bias ? bias[i % attrs.f] : 0;
  eachProduct(attrs, (xAt, wAt, yAt) => {
    y[yAt] += x[xAt] * w[wAt];
  });
  const { f } = activation(attrs.activation);
  for (let i = 0; i < y.length; i++) y[i] = f(y[i]);
}

export function conv2dInputGrad(attrs, [dy, w], [dx]) {
  dx.fill(0);
  eachProduct(attrs, (xAt, wAt, yAt) => {
    dx[xAt] += dy[yAt] * w[wAt];
  });
}

export function conv2dFilterGrad(attrs, [x, dy], [dw]) {
  dw.fill(0);
  eachProduct(attrs, (xAt, wAt, yAt) => {
    dw[wAt] += x[xAt] * dy[yAt];
  });
}

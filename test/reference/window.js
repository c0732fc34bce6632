/** @file The geometry that convolution and pooling share: which input element each tap of each window reads. */

/** Calls `visit(n, p, q)` for every window of the output. */
export function eachWindow({ n: N, p: P, q: Q }, visit) {
  for (let n = 0; n < N; n++) {
    for (let p = 0; p < P; p++) {
      for (let q = 0; q < Q; q++) visit(n, p, q);
    }
  }
}

/** Calls `visit(r, s, h, w)` for every tap (r, s) of window (p, q) whose input position (h, w) is inside the input. */
export function eachTap(attrs, p, q, visit) {
  for (let r = 0; r < attrs.r; r++) {
    for (let s = 0; s < attrs.s; s++) {
      const h = p * attrs.strideH - attrs.padTop + r * attrs.dilationH;
      const w = q * attrs.strideW - attrs.padLeft + s * attrs.dilationW;
      if (h >= 0 && h < attrs.h && w >= 0 && w < attrs.w) visit(r, s, h, w);
    }
  }
}

/** Position of x[n, h, w, c]. */
export const inputAt = (attrs, n, h, w, c) => ((n * attrs.h + h) * attrs.w + w) * attrs.c + c;

/** Position of y[n, p, q, channel], y having `channels` channels. */
export const outputAt = (attrs, channels, n, p, q, channel) => ((n * attrs.p + p) * attrs.q + q) * channels + channel;

/** @file Pairs of features turned by the angle of their position. */

export function rotary({ outer, time, heads, dim, half, neighbours, back }, [x, cos, sin], [y]) {
  for (let row = 0; row < outer * time * heads; row++) {
    const t = Math.floor(row / heads) % time;
    for (let i = 2 * half; i < dim; i++) y[row * dim + i] = x[row * dim + i];
    for (let i = 0; i < half; i++) {
      const [first, second] = (neighbours ? [2 * i, 2 * i + 1] : [i, i + half]).map((at) => row * dim + at);
      const [c, s] = [cos[t * half + i], (back ? -1 : 1) * sin[t * half + i]];
      y[first] = x[first] * c - x[second] * s;
      y[second] = x[second] * c + x[first] * s;
    }
  }
}

/** @file Kernels that compute nothing: copy (strided, both ways), fill and iota. */
import { constantOf } from "./dtype.js";
import { advance } from "./map.js";

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

export function copy({ shape, xOffset, xStrides, yOffset, yStrides, fill: padding }, [x], [y], call) {
  if (padding !== null) y.fill(constantOf(padding, call.outputs[0].dtype));
  const size = shape.reduce((a, d) => a * d, 1);
  const index = shape.map(() => 0);
  for (let i = 0; i < size; i++, advance(index, shape)) {
    y[yOffset + dot(index, yStrides)] = x[xOffset + dot(index, xStrides)];
  }
}

export function fill({ value }, _inputs, [y], call) {
  y.fill(constantOf(value, call.outputs[0].dtype));
}

/** y[outer, i, inner] = i */
export function iota({ size, inner }, _inputs, [y]) {
  for (let at = 0; at < y.length; at++) y[at] = Math.floor(at / inner) % size;
}

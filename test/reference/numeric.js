/** @file What tests of numbers need: repeatable random values, finite differences and a comparison. */
import * as assert from "uvu/assert";

export const sizeOf = (shape) => shape.reduce((a, d) => a * d, 1);
export const zeros = (...shape) => new Float64Array(sizeOf(shape));

/** A repeatable source of numbers in [-1, 1). */
export function numbers(seed) {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  return (...shape) => Float64Array.from({ length: sizeOf(shape) }, next);
}

/** d sum(f(x) * dy) / dx by central differences; f changes nothing but its result. */
export function numericGradient(f, x, dy) {
  const loss = () => f().reduce((a, y, i) => a + y * dy[i], 0);
  return x.map((value, i) => {
    const step = 1e-5;
    x[i] = value + step;
    const above = loss();
    x[i] = value - step;
    const below = loss();
    x[i] = value;
    return (above - below) / (2 * step);
  });
}

/** Every element within `tolerance` of the largest expected magnitude (at least 1). */
export function assertNear(got, want, what, tolerance = 1e-6) {
  assert.is(got.length, want.length, what);
  const scale = Math.max(1, ...want.map(Math.abs));
  got.forEach((g, i) => assert.ok(Math.abs(g - want[i]) <= tolerance * scale, `${what}[${i}]: got ${g}, expected ${want[i]}`));
}

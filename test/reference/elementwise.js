/**
 * @file The elementwise operations of map bodies, by name: over real numbers (f32, computed in float64), over integers
 * (results are wrapped to 32 bits by the caller), and over bools (0 or 1). Maximum, minimum and relu hand NaN on.
 */
import { sigmoid } from "./activation.js";

/** Half to even. */
function round(x) {
  const low = Math.floor(x);
  const above = x - low;
  if (above !== 0.5) return above < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

/** The remainder with the divisor's sign, as in Python and NumPy. */
function mod(a, b) {
  const r = a % b;
  if (r === 0) return Math.sign(b) * 0;
  return r < 0 !== b < 0 ? r + b : r;
}

/** IEEE 754: 1 to any power, NaN too, is 1, and so is -1 to an infinite power (ECMAScript differs). */
const pow = (a, b) => (a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b);

/** Integer power modulo 2^32 by squaring; a negative exponent gives the truncated 1 / a^|b|. */
function integerPow(a, b) {
  if (b < 0) return a === 1 ? 1 : a === -1 ? (b % 2 === 0 ? 1 : -1) : 0;
  let y = 1;
  for (let base = a, e = b; e > 0; e = Math.floor(e / 2), base = Math.imul(base, base)) {
    if (e % 2 === 1) y = Math.imul(y, base);
  }
  return y;
}

/** Maclaurin series of erf: all terms have one sign in the form 2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!. */
function erfSeries(x) {
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** erfc for x >= 2 by its continued fraction exp(-x^2)/sqrt(pi) / (x + (1/2)/(x + (2/2)/(x + (3/2)/(x + ...)))), from the inside out. */
function erfcFraction(x) {
  let tail = x;
  for (let n = 100; n >= 1; n--) tail = x + n / 2 / tail;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * tail);
}

/** The error function, to about 1e-15. */
export function erf(x) {
  if (x === 0 || Number.isNaN(x)) return x;
  if (Math.abs(x) < 2) return erfSeries(x);
  return Math.sign(x) * (1 - erfcFraction(Math.abs(x)));
}

/** 1 - erf(x), to about 1e-13 of itself. */
export function erfc(x) {
  return x < 2 ? 1 - erf(x) : x === Infinity ? 0 : Number.isNaN(x) ? x : erfcFraction(x);
}

/** Operations with a result of the arguments' dtype f32. */
export const REAL = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow,
  maximum: (a, b) => Math.max(a, b),
  minimum: (a, b) => Math.min(a, b),
  mod,
  neg: (a) => -a,
  abs: (a) => Math.abs(a),
  sign: (a) => Math.sign(a),
  floor: (a) => Math.floor(a),
  ceil: (a) => Math.ceil(a),
  round,
  exp: (a) => Math.exp(a),
  log: (a) => Math.log(a),
  expm1: (a) => Math.expm1(a),
  log1p: (a) => Math.log1p(a),
  sqrt: (a) => Math.sqrt(a),
  rsqrt: (a) => 1 / Math.sqrt(a),
  square: (a) => a * a,
  reciprocal: (a) => 1 / a,
  sin: (a) => Math.sin(a),
  cos: (a) => Math.cos(a),
  tanh: (a) => Math.tanh(a),
  sigmoid: (a) => sigmoid(a),
  erf: (a) => erf(a),
  erfc: (a) => erfc(a),
  relu: (a) => Math.max(a, 0),
};

/** Operations with a result of the arguments' dtype i32 or u32, before wrapping. Division by zero gives 0. */
export const INTEGER = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => Math.imul(a, b),
  div: (a, b) => Math.trunc(a / b),
  pow: integerPow,
  maximum: (a, b) => Math.max(a, b),
  minimum: (a, b) => Math.min(a, b),
  mod,
  neg: (a) => -a,
  abs: (a) => Math.abs(a),
  sign: (a) => Math.sign(a),
  floor: (a) => a,
  ceil: (a) => a,
  round: (a) => a,
  square: (a) => Math.imul(a, a),
  relu: (a) => Math.max(a, 0),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  not: (a) => ~a,
};

/** Operations from bool to bool. */
export const LOGICAL = {
  and: (a, b) => a && b,
  or: (a, b) => a || b,
  xor: (a, b) => (a !== b ? 1 : 0),
  not: (a) => (a ? 0 : 1),
};

/** Operations from any one dtype to bool. */
export const PREDICATE = {
  equal: (a, b) => (a === b ? 1 : 0),
  notEqual: (a, b) => (a !== b ? 1 : 0),
  less: (a, b) => (a < b ? 1 : 0),
  lessEqual: (a, b) => (a <= b ? 1 : 0),
  greater: (a, b) => (a > b ? 1 : 0),
  greaterEqual: (a, b) => (a >= b ? 1 : 0),
  isFinite: (a) => (Number.isFinite(a) ? 1 : 0),
};

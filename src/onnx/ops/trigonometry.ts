/**
 * @file Circular and hyperbolic functions and their inverses, of the functions that kernels have. The inverse circular ones are polynomials
 * of Moshier's Cephes library (atanf, asinf), within 2e-7 of the exact value.
 */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { elementwise } from "../call.ts";
import type { Operators } from "../call.ts";

const { abs, add, div, exp, expm1, greater, less, log, log1p, mul, neg, reciprocal, sqrt, square, sub, where } = lockstep;

/** ((c0 x + c1) x + c2) ... */
const polynomial = (x: Tensor, coefficients: readonly number[]): Tensor =>
  coefficients.slice(2).reduce((y, c) => add(mul(y, x), c), add(mul(x, coefficients[0]), coefficients[1]));

/** The lesser; NaN stays NaN. */
const atMost = (x: Tensor, most: number): Tensor => where(greater(x, most), most, x);

/** `f` of the magnitude, with the sign of x. */
function odd(x: Tensor, f: (x: Tensor) => Tensor): Tensor {
  const y = f(abs(x));
  return where(less(x, 0), neg(y), y);
}

const tan = (x: Tensor): Tensor => div(lockstep.sin(x), lockstep.cos(x));

/** For x of at least 0. */
function atanOf(x: Tensor): Tensor {
  const [isLarge, isMiddle] = [greater(x, 2.414213562373095), greater(x, 0.4142135623730951)];
  const t = where(isLarge, neg(reciprocal(x)), where(isMiddle, div(sub(x, 1), add(x, 1)), x));
  const base = where(isLarge, Math.PI / 2, where(isMiddle, Math.PI / 4, 0));
  const z = square(t);
  const p = polynomial(z, [8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1]);
  return add(base, add(mul(mul(p, z), t), t));
}

/** asin(s) for s of 0 to 1/2, z its square. */
const asinSmall = (s: Tensor, z: Tensor): Tensor =>
  add(mul(mul(polynomial(z, [4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1]), z), s), s);

/** For x of at least 0; NaN above 1. */
function asinOf(x: Tensor): Tensor {
  const isLarge = greater(x, 0.5);
  const z = where(isLarge, mul(sub(1, x), 0.5), square(x));
  const y = asinSmall(where(isLarge, sqrt(z), x), z);
  return where(isLarge, sub(Math.PI / 2, mul(y, 2)), y);
}

function acos(x: Tensor): Tensor {
  const magnitude = abs(x);
  const isLarge = greater(magnitude, 0.5);
  const z = where(isLarge, mul(sub(1, magnitude), 0.5), square(x));
  const y = asinSmall(where(isLarge, sqrt(z), x), z);
  return where(isLarge, where(less(x, 0), sub(Math.PI, mul(y, 2)), mul(y, 2)), sub(Math.PI / 2, y));
}

/** Beyond 10 a power of e alone, halved before it overflows. */
function sinhOf(x: Tensor): Tensor {
  const e = expm1(atMost(x, 11));
  const half = exp(mul(x, 0.5));
  return where(greater(x, 10), mul(mul(half, 0.5), half), mul(add(e, div(e, add(e, 1))), 0.5));
}

function cosh(x: Tensor): Tensor {
  const half = exp(mul(abs(x), 0.5));
  return add(mul(mul(half, 0.5), half), div(div(0.5, half), half));
}

/** Where squares leave 32 bits, the logarithm of twice the number. */
const HUGE = 1e9;
const logOfTwice = (x: Tensor): Tensor => add(log(x), Math.LN2);

function asinhOf(x: Tensor): Tensor {
  const s = square(atMost(x, HUGE));
  return where(greater(x, HUGE), logOfTwice(x), log1p(add(x, div(s, add(sqrt(add(s, 1)), 1)))));
}

function acosh(x: Tensor): Tensor {
  // Below 1 there is none: -2 stands for what is less, whose square overflows.
  const t = sub(where(less(x, -2), -2, atMost(x, HUGE)), 1);
  return where(greater(x, HUGE), logOfTwice(x), log1p(add(t, sqrt(mul(t, add(t, 2))))));
}

const atanhOf = (x: Tensor): Tensor => mul(log1p(div(mul(x, 2), sub(1, x))), 0.5);

export const TRIGONOMETRY: Operators = {
  Sin: elementwise((x) => lockstep.sin(x)),
  Cos: elementwise((x) => lockstep.cos(x)),
  Tan: elementwise(tan),
  Asin: elementwise((x) => odd(x, asinOf)),
  Acos: elementwise(acos),
  Atan: elementwise((x) => odd(x, atanOf)),
  Sinh: elementwise((x) => odd(x, sinhOf)),
  Cosh: elementwise(cosh),
  Asinh: elementwise((x) => odd(x, asinhOf)),
  Acosh: elementwise(acosh),
  Atanh: elementwise((x) => odd(x, atanhOf)),
};

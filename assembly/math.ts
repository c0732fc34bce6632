/**
 * @file Elementary functions on four f32 lanes, without branches. NaN in gives NaN out; infinities,
 * signed zeros, subnormal results and overflow are those of IEEE 754. The plain build gives the same bits on every
 * engine; the relaxed build (see simd.ts) differs by the rounding of `madd`.
 *
 * Method: reduce the argument, evaluate a polynomial, rebuild. Polynomials are minimax fits of the relative error of
 * the whole function (Remez exchange in 30-digit arithmetic, then coefficients rounded to f32 one after another with
 * the others fitted again). Reductions follow Cody & Waite, "Software Manual for the Elementary Functions" (1980).
 * "ULP a / b" is the largest error seen in the plain / relaxed build, against double, over every 251st f32 and a
 * million arguments each in [-4, 4] and [-110, 110].
 */
import { COS, ERF, ERFC, EXP, EXPM1, EXPM1_SHORT, LOG, NUMBERS, SIN } from "./constants";
import { madd, vmax, vmin } from "./simd";

// @ts-ignore: decorator
@inline
function f4(x: f32): v128 {
  return f32x4.splat(x);
}

/**
 * A constant of the table in all lanes. V8 makes a vector constant of the code anew at each use, in three instructions of which one of a
 * kind runs per cycle; reading it is one of two (exp: 2.1 ns a vector instead of 3.3).
 */
// @ts-ignore: decorator
@inline
export function c(address: usize): v128 {
  return v128.load_splat<f32>(address);
}

/** Coefficient i of a polynomial, the highest power first. */
// @ts-ignore: decorator
@inline
export function at(polynomial: usize, i: usize): v128 {
  return v128.load_splat<f32>(polynomial + (i << 2));
}

export const LOG2E: usize = NUMBERS;
/** -ln 2 as a sum: 15 leading bits, so that its product with an exponent is exact, and the rest. */
export const MINUS_LN2_HIGH: usize = NUMBERS + 4;
export const MINUS_LN2_LOW: usize = NUMBERS + 8;
/** Adding this rounds to an integer n and leaves n + 254 in the low bits. */
const ROUND: usize = NUMBERS + 12;
/** The same with n + 127, for n whose 2^n is a normal float. */
export const ROUND_BIASED: usize = NUMBERS + 16;
/** The same for an even integer n = 2m, with m + 127 in the low bits. */
const ROUND_EVEN: usize = NUMBERS + 20;
/** Below it exp rounds to 0. */
const EXP_LOW: usize = NUMBERS + 24;
/** ln 2 in one step. */
export const LN2: usize = NUMBERS + 28;
/** Above it exp is infinite. */
const EXP_HIGH: usize = NUMBERS + 32;
export const ONE: usize = NUMBERS + 36;
const TWO: usize = NUMBERS + 40;
/** From here on tanh is 1, and erf. */
const TANH_HIGH: usize = NUMBERS + 44;
const ERF_HIGH: usize = NUMBERS + 48;
/** Where 1 + exp x is exp x. */
const SIGMOID_HIGH: usize = NUMBERS + 52;
export const MINUS_HALF: usize = NUMBERS + 56;
const LEAST_NORMAL: usize = NUMBERS + 60;
const TWENTY_THREE: usize = NUMBERS + 64;
const LN2_LOW: usize = NUMBERS + 68;
const LN2_HIGH: usize = NUMBERS + 72;
const LARGEST: usize = NUMBERS + 76;
/** From here on erfc is 0. */
const ERFC_HIGH: usize = ERFC + 40;
const THREE_QUARTERS: usize = ERFC + 44;

// @ts-ignore: decorator
@inline
function expPolynomial(r: v128): v128 {
  return madd(expSlope(r), r, c(ONE));
}

/** (exp r - 1) / r */
// @ts-ignore: decorator
@inline
function expSlope(r: v128): v128 {
  let q = madd(at(EXP, 0), r, at(EXP, 1));
  q = madd(q, r, at(EXP, 2));
  q = madd(q, r, at(EXP, 3));
  q = madd(q, r, at(EXP, 4));
  return madd(q, r, c(ONE));
}

/** z - n ln 2 */
// @ts-ignore: decorator
@inline
function reduceLn2(z: v128, n: v128): v128 {
  return madd(n, c(MINUS_LN2_LOW), madd(n, c(MINUS_LN2_HIGH), z));
}

/**
 * exp x = 2^n exp r with |r| <= ln(2) / 2. The scale is applied as two powers of two, halves of n, so that subnormal
 * results and overflow take one rounding and no case apart. ULP 1.15 / 0.89.
 */
// @ts-ignore: decorator
@inline
export function exp(x: v128): v128 {
  return expUpTo(c(EXP_HIGH), x);
}

/** exp x for x <= 0: 0 below -87, where 2^n is no normal float. */
// @ts-ignore: decorator
@inline
export function expBounded(x: v128): v128 {
  const low = f32x4.splat(-87);
  const round = c(ROUND_BIASED);
  const t = madd(vmax(low, x), c(LOG2E), round);
  const r = reduceLn2(vmax(low, x), f32x4.sub(t, round));
  return v128.and(f32x4.mul(expPolynomial(r), i32x4.shl(t, 23)), f32x4.ge(x, low));
}

/** exp of x or, where that is smaller, of `high`, which is at most EXP_HIGH. */
// @ts-ignore: decorator
@inline
function expUpTo(high: v128, x: v128): v128 {
  const z = vmin(high, vmax(c(EXP_LOW), x));
  const round = c(ROUND);
  const t = madd(z, c(LOG2E), round);
  return scaled(expPolynomial(reduceLn2(z, f32x4.sub(t, round))), t);
}

/** 2^n q for n + 254 in the low bits of t. */
// @ts-ignore: decorator
@inline
function scaled(q: v128, t: v128): v128 {
  const half = i32x4.shr_u(t, 1);
  const rest = i32x4.sub(t, half);
  return f32x4.mul(f32x4.mul(q, i32x4.shl(half, 23)), i32x4.shl(rest, 23));
}

/**
 * expm1(z) for EXP_LOW <= z <= EXP_HIGH, with even n as 2^n (expm1 r + 1 - 2^-n): |r| <= ln 2 keeps the cancellation
 * small. The sign of zero is the caller's business.
 */
// @ts-ignore: decorator
@inline
function expm1Core(z: v128): v128 {
  const round = c(ROUND_EVEN);
  const t = madd(z, c(LOG2E), round);
  const r = reduceLn2(z, f32x4.sub(t, round));
  let q = madd(at(EXPM1, 0), r, at(EXPM1, 1));
  q = madd(q, r, at(EXPM1, 2));
  q = madd(q, r, at(EXPM1, 3));
  q = madd(q, r, at(EXPM1, 4));
  q = madd(q, r, at(EXPM1, 5));
  q = madd(q, r, at(EXPM1, 6));
  const p = madd(f32x4.mul(r, r), q, r);
  const s = i32x4.shl(t, 23);
  const inverse = i32x4.sub(i32x4.splat(254 << 23), s);
  return f32x4.mul(madd(p, s, f32x4.sub(s, inverse)), s);
}

/** exp x - 1, also for small x. ULP 1.36 / 1.39. */
// @ts-ignore: decorator
@inline
export function expm1(x: v128): v128 {
  const z = vmin(c(EXP_HIGH), vmax(c(EXP_LOW), x));
  return withSign(expm1Core(z), x);
}

/** y >= 0 with the sign of x, or y < 0 with a negative x. */
// @ts-ignore: decorator
@inline
function withSign(y: v128, x: v128): v128 {
  return v128.or(y, v128.and(x, f4(-0.0)));
}

/** expm1(z) for |z| < 87 where 2^n needs no halves. The sign of zero is the caller's business. */
// @ts-ignore: decorator
@inline
function expm1Bounded(z: v128): v128 {
  const round = c(ROUND_BIASED);
  const t = madd(z, c(LOG2E), round);
  const r = reduceLn2(z, f32x4.sub(t, round));
  let q = madd(at(EXPM1_SHORT, 0), r, at(EXPM1_SHORT, 1));
  q = madd(q, r, at(EXPM1_SHORT, 2));
  q = madd(q, r, at(EXPM1_SHORT, 3));
  q = madd(q, r, at(EXPM1_SHORT, 4));
  const p = madd(f32x4.mul(r, r), q, r);
  const s = i32x4.shl(t, 23);
  return madd(p, s, f32x4.sub(s, c(ONE)));
}

/** tanh |x| = m / (m + 2) with m = expm1(2 |x|); at 9.02 the result has rounded to 1. ULP 2.39 / 2.39. */
// @ts-ignore: decorator
@inline
export function tanh(x: v128): v128 {
  const a = vmin(c(TANH_HIGH), f32x4.abs(x));
  const m = expm1Bounded(f32x4.add(a, a));
  return withSign(f32x4.div(m, f32x4.add(m, c(TWO))), x);
}

/**
 * erf |x| = -expm1(-a (1 + q(a))) with a = |x| and a + a q(a) = -log(erfc a): a smooth function that a polynomial fits
 * well and whose errors the exponential damps; at 3.95 the result has rounded to 1. ULP 1.89 / 1.66.
 */
// @ts-ignore: decorator
@inline
export function erf(x: v128): v128 {
  const a = vmin(c(ERF_HIGH), f32x4.abs(x));
  let q = madd(at(ERF, 0), a, at(ERF, 1));
  q = madd(q, a, at(ERF, 2));
  q = madd(q, a, at(ERF, 3));
  q = madd(q, a, at(ERF, 4));
  q = madd(q, a, at(ERF, 5));
  q = madd(q, a, at(ERF, 6));
  q = madd(q, a, at(ERF, 7));
  q = madd(q, a, at(ERF, 8));
  const m = expm1Bounded(f32x4.neg(madd(a, q, a)));
  return withSign(f32x4.abs(m), x);
}

/**
 * erfc |x| = exp(-a^2) t (1 + u R(u)) with a = |x|, t = 1 / (1 + 3/4 a) and u = 1 - t = 3/4 a t; erfc(-a) = 2 - erfc(a). That exp(a^2)
 * erfc(a) is smooth in such a t for all a is Shepherd & Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x", Math. Comp. 36
 * (1981). Rounding a^2 would cost the tail 70 ulp: as in Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23
 * (1969), it is the square of a's leading 12 bits, which is exact, and a rest. exp r is applied as g + g (exp r - 1), a rounding less. ULP
 * 4.2 / 3.9.
 */
// @ts-ignore: decorator
@inline
export function erfc(x: v128): v128 {
  const a = vmin(c(ERFC_HIGH), f32x4.abs(x));
  const one = c(ONE);
  const leading = v128.and(a, i32x4.splat(0xfffff000));
  const z = f32x4.neg(f32x4.mul(leading, leading));
  const rest = f32x4.mul(f32x4.sub(leading, a), f32x4.add(leading, a));
  const round = c(ROUND);
  const n = madd(f32x4.add(z, rest), c(LOG2E), round);
  const r = f32x4.add(reduceLn2(z, f32x4.sub(n, round)), rest);
  const b = f32x4.mul(a, c(THREE_QUARTERS));
  const t = f32x4.div(one, f32x4.add(one, b));
  const u = f32x4.mul(b, t);
  let p = madd(at(ERFC, 0), u, at(ERFC, 1));
  p = madd(p, u, at(ERFC, 2));
  p = madd(p, u, at(ERFC, 3));
  p = madd(p, u, at(ERFC, 4));
  p = madd(p, u, at(ERFC, 5));
  p = madd(p, u, at(ERFC, 6));
  p = madd(p, u, at(ERFC, 7));
  p = madd(p, u, at(ERFC, 8));
  p = madd(p, u, at(ERFC, 9));
  const g = madd(p, f32x4.mul(u, t), t);
  const y = scaled(madd(f32x4.mul(r, expSlope(r)), g, g), n);
  return v128.bitselect(f32x4.sub(c(TWO), y), y, f32x4.lt(x, f4(0)));
}

/** sigmoid x = e / (1 + e) with e = exp x: e is finite after the clamp, and 1 + e = e where the result is 1. ULP 2.30 / 2.26. */
// @ts-ignore: decorator
@inline
export function sigmoid(x: v128): v128 {
  const e = expUpTo(c(SIGMOID_HIGH), x);
  return f32x4.div(e, f32x4.add(e, c(ONE)));
}

/** log(1 + f) + k ln 2 for f in [sqrt(1/2) - 1, sqrt(2) - 1] and integers k. */
// @ts-ignore: decorator
@inline
function logCore(f: v128, k: v128): v128 {
  let p = madd(at(LOG, 0), f, at(LOG, 1));
  p = madd(p, f, at(LOG, 2));
  p = madd(p, f, at(LOG, 3));
  p = madd(p, f, at(LOG, 4));
  p = madd(p, f, at(LOG, 5));
  p = madd(p, f, at(LOG, 6));
  p = madd(p, f, at(LOG, 7));
  p = madd(p, f, at(LOG, 8));
  const f2 = f32x4.mul(f, f);
  p = f32x4.mul(f32x4.mul(p, f), f2);
  p = madd(k, c(LN2_LOW), p);
  p = madd(f2, c(MINUS_HALF), p);
  return madd(k, c(LN2_HIGH), f32x4.add(f, p));
}

/** The bits of sqrt(1/2): subtracting them makes the exponent field that of the mantissa range [sqrt(1/2), sqrt(2)). */
const SQRT_HALF: i32 = 0x3f3504f3;

/** The natural logarithm. ULP 0.78 / 0.78. */
// @ts-ignore: decorator
@inline
export function log(x: v128): v128 {
  const tiny = f32x4.lt(x, c(LEAST_NORMAL));
  const one = c(ONE);
  // 2^23 where x is subnormal, else 1.
  const scale = v128.xor(one, v128.and(tiny, i32x4.splat(0x74800000)));
  const u = f32x4.mul(x, scale);
  const e = i32x4.shr_s(i32x4.sub(u, i32x4.splat(SQRT_HALF)), 23);
  const k = f32x4.sub(f32x4.convert_i32x4_s(e), v128.and(tiny, c(TWENTY_THREE)));
  const f = f32x4.sub(i32x4.sub(u, i32x4.shl(e, 23)), one);
  return logSpecial(x, logCore(f, k));
}

/** Puts -inf for 0, NaN below 0, +inf and NaN for themselves into y, the logarithm of the other x. */
// @ts-ignore: decorator
@inline
function logSpecial(x: v128, y: v128): v128 {
  y = f32x4.add(y, v128.andnot(x, f32x4.lt(x, f4(Infinity))));
  y = f32x4.add(y, v128.and(f32x4.eq(x, f4(0)), f4(-Infinity)));
  return v128.or(y, f32x4.lt(x, f4(0)));
}

/** log u + (what rounding u = 1 + x lost, scaled as u's mantissa): Knuth's two-sum gives the loss exactly. ULP 1.37 / 1.37. */
// @ts-ignore: decorator
@inline
export function log1p(x: v128): v128 {
  const z = vmin(c(LARGEST), x);
  const one = c(ONE);
  const u = f32x4.add(z, one);
  const b = f32x4.sub(u, one);
  const lost = f32x4.add(f32x4.sub(one, f32x4.sub(u, b)), f32x4.sub(z, b));
  const e = i32x4.shr_s(i32x4.sub(u, i32x4.splat(SQRT_HALF)), 23);
  const inverse = vmax(f4(0), i32x4.shl(i32x4.sub(i32x4.splat(127), e), 23));
  const m = i32x4.sub(u, i32x4.shl(e, 23));
  const f = madd(lost, inverse, f32x4.sub(m, one));
  const y = logSpecial(f32x4.add(x, one), logCore(f, f32x4.convert_i32x4_s(e)));
  return withSign(y, x);
}

/** pi/2 as a sum of doubles: the product of the high part with a whole number below 2^22 is exact. */
const HALF_PI_HIGH: f64 = 1.5707963267341256;
const HALF_PI_LOW: f64 = 6.077100506506192e-11;
/** Adding this to a double rounds it to an integer, whose low bits are those of the sum. */
const ROUND_DOUBLE: f64 = 6755399441055744.0;

/** sin for |r| <= pi/4. */
// @ts-ignore: decorator
@inline
export function sinReduced(r: v128): v128 {
  const u = f32x4.mul(r, r);
  const s = madd(madd(at(SIN, 0), u, at(SIN, 1)), u, at(SIN, 2));
  return madd(f32x4.mul(u, r), s, r);
}

/** cos for |r| <= pi/4. */
// @ts-ignore: decorator
@inline
export function cosReduced(r: v128): v128 {
  const u = f32x4.mul(r, r);
  const k = madd(madd(at(COS, 0), u, at(COS, 1)), u, at(COS, 2));
  return madd(f32x4.mul(u, u), k, madd(u, c(MINUS_HALF), c(ONE)));
}

/** x - n pi/2 as f32 in the low two lanes, for two doubles and n as they were rounded into t. */
// @ts-ignore: decorator
@inline
function reduceHalf(x: v128, t: v128): v128 {
  const n = f64x2.sub(t, f64x2.splat(ROUND_DOUBLE));
  const r = f64x2.sub(x, f64x2.mul(n, f64x2.splat(HALF_PI_HIGH)));
  return f32x4.demote_f64x2_zero(f64x2.sub(r, f64x2.mul(n, f64x2.splat(HALF_PI_LOW))));
}

// @ts-ignore: decorator
@inline
function roundQuarters(x: v128): v128 {
  return f64x2.add(f64x2.mul(x, f64x2.splat(0.6366197723675814)), f64x2.splat(ROUND_DOUBLE));
}

/**
 * sin(x + quarter pi/2): x - n pi/2 in doubles, since f32 loses everything near multiples of pi; then both polynomials,
 * of which the last bit of n chooses one and the bit before it the sign.
 */
// @ts-ignore: decorator
@inline
function sinTurned(x: v128, quarter: i32): v128 {
  const low = f64x2.promote_low_f32x4(x);
  const high = f64x2.promote_low_f32x4(i32x4.shuffle(x, x, 2, 3, 2, 3));
  const tLow = roundQuarters(low);
  const tHigh = roundQuarters(high);
  const k = i32x4.add(i32x4.shuffle(tLow, tHigh, 0, 2, 4, 6), i32x4.splat(quarter));
  const rest = i64x2.shuffle(reduceHalf(low, tLow), reduceHalf(high, tHigh), 0, 2);
  // Only where |x| is so large that its digits are spent does this clamp anything.
  const r = vmin(f4(0.7854), vmax(f4(-0.7854), rest));
  return turned(sinReduced(r), cosReduced(r), k);
}

/** sin(r + k pi/2) from s = sin r and c = cos r. */
// @ts-ignore: decorator
@inline
export function turned(s: v128, c: v128, k: v128): v128 {
  const odd = i32x4.shr_s(i32x4.shl(k, 31), 31);
  return v128.xor(v128.bitselect(c, s, odd), i32x4.shl(i32x4.shr_u(k, 1), 31));
}

/** ULP 1.55 / 1.54 for |x| < 6.5e6; beyond that the absolute error grows as about 2^-53 |x|, and the value stays in [-1, 1]. */
// @ts-ignore: decorator
@inline
export function sin(x: v128): v128 {
  return v128.or(sinTurned(x, 0), v128.and(f32x4.eq(x, f4(0)), x));
}

/** ULP 1.57 / 1.57, beyond 6.5e6 as sin. */
// @ts-ignore: decorator
@inline
export function cos(x: v128): v128 {
  return sinTurned(x, 1);
}

const ONE_BITS: i64 = 0x3ff0000000000000;
/** The bits of 1.0 less those of sqrt(1/2). */
const SQRT_HALF_BIAS: i64 = 0x95f619980c433;
/** 2^52 as a float: with a whole number below 2^52 or-ed or added to it, its low bits are that number. */
const TWO_52: f64 = 4503599627370496.0;

/** a^y for two lanes of doubles, a >= 0, by 2^(y log2 a), with log2 m = log2((1+s)/(1-s)) and s = (m-1)/(m+1). */
function powPositive(a: v128, y: v128): v128 {
  const e = i64x2.shr_u(i64x2.add(a, i64x2.splat(SQRT_HALF_BIAS)), 52);
  const m = i64x2.add(i64x2.sub(a, i64x2.shl(e, 52)), i64x2.splat(ONE_BITS));
  const k = f64x2.sub(v128.or(e, f64x2.splat(TWO_52)), f64x2.splat(TWO_52 + 1023.0));
  const s = f64x2.div(f64x2.sub(m, f64x2.splat(1)), f64x2.add(m, f64x2.splat(1)));
  const u = f64x2.mul(s, s);
  let p = f64x2.add(f64x2.mul(f64x2.splat(0.3407699897076846), u), f64x2.splat(0.4116706622767645));
  p = f64x2.add(f64x2.mul(p, u), f64x2.splat(0.5770836174346923));
  p = f64x2.add(f64x2.mul(p, u), f64x2.splat(0.9617966731822714));
  p = f64x2.add(f64x2.mul(p, u), f64x2.splat(2.8853900817902036));
  let log2 = f64x2.add(f64x2.mul(p, s), k);
  // 0 gives -inf, inf and NaN themselves.
  log2 = f64x2.add(log2, v128.andnot(a, f64x2.lt(a, f64x2.splat(Infinity))));
  log2 = f64x2.add(log2, v128.and(f64x2.eq(a, f64x2.splat(0)), f64x2.splat(-Infinity)));
  // Beyond these every f32 is 0 or inf. The operand order lets NaN through.
  const z = f64x2.pmin(f64x2.pmax(f64x2.mul(y, log2), f64x2.splat(-160)), f64x2.splat(160));
  const n = f64x2.nearest(z);
  const g = f64x2.sub(z, n);
  let q = f64x2.add(f64x2.mul(f64x2.splat(0.000153457810317374), g), f64x2.splat(0.001339995745821954));
  q = f64x2.add(f64x2.mul(q, g), f64x2.splat(0.009618489273115819));
  q = f64x2.add(f64x2.mul(q, g), f64x2.splat(0.05550328712348151));
  q = f64x2.add(f64x2.mul(q, g), f64x2.splat(0.2402264688584499));
  q = f64x2.add(f64x2.mul(q, g), f64x2.splat(0.6931472057669829));
  q = f64x2.add(f64x2.mul(q, g), f64x2.splat(1.0000000005551068));
  const scale = i64x2.shl(f64x2.add(n, f64x2.splat(TWO_52 + 1023.0)), 52);
  return f32x4.demote_f64x2_zero(f64x2.mul(q, scale));
}

/**
 * x^y with the special cases of IEEE 754 pow: 1 for y = 0 and for x = 1 even with NaN, NaN for x < 0 with y not whole.
 * In doubles throughout, so both builds give the same bits. ULP 0.54.
 */
// @ts-ignore: decorator
@inline
export function pow(x: v128, y: v128): v128 {
  const a = f32x4.abs(x);
  const low = powPositive(f64x2.promote_low_f32x4(a), f64x2.promote_low_f32x4(y));
  const high = powPositive(
    f64x2.promote_low_f32x4(i32x4.shuffle(a, a, 2, 3, 2, 3)),
    f64x2.promote_low_f32x4(i32x4.shuffle(y, y, 2, 3, 2, 3)),
  );
  const half = f32x4.mul(y, f4(0.5));
  const whole = f32x4.eq(f32x4.trunc(y), y);
  const odd = v128.andnot(whole, f32x4.eq(f32x4.trunc(half), half));
  const sign = v128.and(v128.and(x, odd), f4(-0.0));
  const invalid = v128.andnot(v128.and(f32x4.lt(x, f4(0)), f32x4.gt(x, f4(-Infinity))), whole);
  const z = v128.or(v128.xor(i64x2.shuffle(low, high, 0, 2), sign), invalid);
  const infinite = f32x4.eq(f32x4.abs(y), f4(Infinity));
  const one = v128.or(v128.or(f32x4.eq(y, f4(0)), f32x4.eq(x, f4(1))), v128.and(f32x4.eq(x, f4(-1)), infinite));
  return v128.bitselect(f4(1), z, one);
}

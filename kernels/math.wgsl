// Elementary functions on f32, the twin of assembly/math.ts: the same reductions and polynomials, one scalar at a time.
// WGSL's own exp, log and tanh may be wrong by many units in the last place and tanh may overflow; these are good to
// about 2 ulp everywhere, erfc to 4. NaN, infinities and their signs are found and made by integer bit operations only, because
// WGSL lets a compiler assume that neither occurs. Subnormal arguments and results may be flushed to zero by the device.
// f32_pow and f32_sin have no doubles here: pow carries the logarithm as a sum of two floats, sin reduces its argument
// by pi/2 in three parts (Cody & Waite), good for |x| < 8192, with an absolute error of about 1e-7 |x| / 8192 beyond.

const LOG2E: f32 = 1.44269504;
// ln 2 as a sum: 15 leading bits, so that its product with an exponent is exact, and the rest.
const LN2_HIGH: f32 = 0.693145751953125;
const LN2_LOW: f32 = 1.428606765330187e-6;
const SQRT_HALF: i32 = 0x3f3504f3;

// A float from its bits. Not a constant expression, so that NaN and infinities may be made with it.
fn f32_bits(bits: u32) -> f32 {
  var b = bits;
  return bitcast<f32>(b);
}

fn f32_isnan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn is_infinite(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u;
}

fn with_sign(x: f32, sign: f32) -> f32 {
  return bitcast<f32>((bitcast<u32>(x) & 0x7fffffffu) | (bitcast<u32>(sign) & 0x80000000u));
}

// 2^n for -126 <= n <= 127.
fn power_of_two(n: i32) -> f32 {
  return bitcast<f32>((n + 127) << 23u);
}

// Largest of two; NaN where either is NaN.
fn f32_maximum(a: f32, b: f32) -> f32 {
  return select(select(select(b, a, a > b), b, f32_isnan(b)), a, f32_isnan(a));
}

// Smallest of two; NaN where either is NaN.
fn f32_minimum(a: f32, b: f32) -> f32 {
  return select(select(select(b, a, a < b), b, f32_isnan(b)), a, f32_isnan(a));
}

// exp x = 2^n exp r with |r| <= ln(2) / 2. The scale is two powers of two, halves of n: overflow needs no case apart.
fn f32_exp(x: f32) -> f32 {
  let z = clamp(x, -104.0, 89.0);
  let n = round(z * LOG2E);
  let r = (z - n * LN2_HIGH) - n * LN2_LOW;
  var q = 0.001383643364533782 * r + 0.00836913101375103;
  q = q * r + 0.041668105870485306;
  q = q * r + 0.16666516661643982;
  q = q * r + 0.4999999403953552;
  q = q * r + 1.0;
  q = q * r + 1.0;
  let k = i32(n);
  let half = k >> 1u;
  let y = q * power_of_two(half) * power_of_two(k - half);
  if (f32_isnan(x)) { return x; }
  return select(y, f32_bits(0x7f800000u), x > 88.8);
}

// expm1 z for |z| < 87. The sign of zero is the caller's business.
fn bounded_expm1(z: f32) -> f32 {
  let n = round(z * LOG2E);
  let r = (z - n * LN2_HIGH) - n * LN2_LOW;
  var q = 0.0013839015737175941 * r + 0.008367069996893406;
  q = q * r + 0.041667744517326355;
  q = q * r + 0.16666539013385773;
  q = q * r + 0.4999999701976776;
  let p = (r * r) * q + r;
  let s = power_of_two(i32(n));
  return p * s + (s - 1.0);
}

// exp x - 1, also for small x.
fn f32_expm1(x: f32) -> f32 {
  if (x > 80.0 || f32_isnan(x)) { return f32_exp(x); }
  return with_sign(bounded_expm1(max(x, -80.0)), x);
}

// tanh |x| = m / (m + 2) with m = expm1(2 |x|); at 9.02 the result has rounded to 1.
fn f32_tanh(x: f32) -> f32 {
  let a = min(9.02, abs(x));
  let m = bounded_expm1(a + a);
  return select(with_sign(m / (m + 2.0), x), x, f32_isnan(x));
}

// erf |x| = -expm1(-a (1 + q(a))) with a + a q(a) = -log(erfc a); at 3.95 the result has rounded to 1.
fn f32_erf(x: f32) -> f32 {
  let a = min(3.95, abs(x));
  var q = -9.38598077482311e-6 * a + 0.00011884818377438933;
  q = q * a + -0.0006373308133333921;
  q = q * a + 0.001675638952292502;
  q = q * a + -0.0001694845996098593;
  q = q * a + -0.019147826358675957;
  q = q * a + 0.10277630388736725;
  q = q * a + 0.6366195678710938;
  q = q * a + 0.12837916612625122;
  let m = bounded_expm1(-(a * q + a));
  return select(with_sign(m, x), x, f32_isnan(x));
}

// erfc |x| = exp(-a^2) t (1 + u R(u)) with t = 1 / (1 + 3/4 a) and u = 1 - t. a^2 is the square of a's leading bits, which is exact, and a
// rest.
fn f32_erfc(x: f32) -> f32 {
  let a = min(10.1, abs(x));
  let high = leading_bits(a);
  let z = -(high * high);
  let rest = (high - a) * (high + a);
  let n = round((z + rest) * LOG2E);
  let r = ((z - n * LN2_HIGH) - n * LN2_LOW) + rest;
  var q = 0.001383643364533782 * r + 0.00836913101375103;
  q = q * r + 0.041668105870485306;
  q = q * r + 0.16666516661643982;
  q = q * r + 0.4999999403953552;
  q = q * r + 1.0;
  let b = 0.75 * a;
  let t = 1.0 / (1.0 + b);
  let u = b * t;
  var p = -0.016683265566825867 * u + 0.20398560166358948;
  p = p * u + -0.5227160453796387;
  p = p * u + 0.5303887128829956;
  p = p * u + -0.32631704211235046;
  p = p * u + 0.18124642968177795;
  p = p * u + 0.06911755353212357;
  p = p * u + 0.04008667543530464;
  p = p * u + -0.23143944144248962;
  p = p * u + -0.504501223564148;
  let g = p * (u * t) + t;
  let k = i32(n);
  let half = k >> 1u;
  let y = (r * q * g + g) * power_of_two(half) * power_of_two(k - half);
  return select(select(y, 2.0 - y, x < 0.0), x, f32_isnan(x));
}

// sigmoid x = e / (1 + e) with e = exp x: e is finite after the clamp, and 1 + e = e where the result is 1.
fn f32_sigmoid(x: f32) -> f32 {
  let e = f32_exp(min(80.0, x));
  return select(e / (e + 1.0), x, f32_isnan(x));
}

// Of a > 0 = 2^k (1 + f): f in [sqrt(1/2) - 1, sqrt(2) - 1] and k, whole.
fn log_parts(a: f32) -> vec2<f32> {
  let bits = bitcast<u32>(a);
  // A subnormal is its bits times 2^-149: exact as a float, whether the device flushes subnormals or not.
  let tiny = bits < 0x00800000u;
  let u = select(bitcast<i32>(a), bitcast<i32>(f32(bits)), tiny);
  let e = (u - SQRT_HALF) >> 23u;
  return vec2(bitcast<f32>(u - (e << 23u)) - 1.0, f32(e) - select(0.0, 149.0, tiny));
}

// (log(1 + f) - f + f^2 / 2) / f^3.
fn log_rest(f: f32) -> f32 {
  var p = 0.05317102372646332 * f + -0.10904499143362045;
  p = p * f + 0.12112025916576385;
  p = p * f + -0.1255202442407608;
  p = p * f + 0.1420944333076477;
  p = p * f + -0.16659215092658997;
  p = p * f + 0.20002225041389465;
  p = p * f + -0.2500016987323761;
  return p * f + 0.3333331346511841;
}

// log(1 + f) + k ln 2.
fn log_core(f: f32, k: f32) -> f32 {
  let f2 = f * f;
  var p = log_rest(f) * f * f2;
  p = k * LN2_LOW + p;
  p = f2 * -0.5 + p;
  return k * LN2_HIGH + (f + p);
}

// The natural logarithm.
fn f32_log(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  if (f32_isnan(x) || bits == 0x7f800000u) { return x; }
  if ((bits & 0x7fffffffu) == 0u) { return f32_bits(0xff800000u); }
  if (bits > 0x80000000u) { return f32_bits(0x7fc00000u); }
  let parts = log_parts(x);
  return log_core(parts.x, parts.y);
}

// log(1 + x): near zero the polynomial itself, elsewhere what 1 + x loses is less than the logarithm's last place.
fn f32_log1p(x: f32) -> f32 {
  if (f32_isnan(x)) { return x; }
  if (x > -0.2928932 && x < 0.4142135) { return with_sign(log_core(x, 0.0), x); }
  return f32_log(1.0 + x);
}

// sin(x + quarter pi/2): both polynomials, of which the last bit of n chooses one and the bit before it the sign.
fn turned_sin(x: f32, quarter: i32) -> f32 {
  if ((bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u) { return f32_bits(0x7fc00000u); }
  let n = round(x * 0.63661977);
  // pi/2 as 8, 11 and 24 bits: the first two products are exact while n < 2^13.
  let rest = ((x - n * 1.5703125) - n * 4.837512969970703e-4) - n * 7.549789948768648e-8;
  let r = clamp(rest, -0.7854, 0.7854);
  let u = r * r;
  let s = (u * r) * ((-0.00019517897453624755 * u + 0.008332187309861183) * u + -0.16666655242443085) + r;
  let c = (u * u) * ((2.4432327336398885e-5 * u + -0.0013887309469282627) * u + 0.04166664555668831) + (u * -0.5 + 1.0);
  let k = i32(n) + quarter;
  let y = select(s, c, (k & 1) != 0);
  return select(y, -y, (k & 2) != 0);
}

fn f32_sin(x: f32) -> f32 {
  return select(turned_sin(x, 0), x, (bitcast<u32>(x) & 0x7fffffffu) == 0u);
}

fn f32_cos(x: f32) -> f32 {
  return turned_sin(x, 1);
}

// The 12 leading bits of x: products of two such parts are exact.
fn leading_bits(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u);
}

// What rounding p = a * b lost (Dekker's product; needs no fused operation).
fn product_error(a: f32, b: f32, p: f32) -> f32 {
  let ah = leading_bits(a);
  let al = a - ah;
  let bh = leading_bits(b);
  let bl = b - bh;
  return (((ah * bh - p) + ah * bl) + al * bh) + al * bl;
}

// a^y for finite a > 0 and finite y: 2^(y log2 a), the logarithm and its product with y as sums of two floats.
fn positive_pow(a: f32, y: f32) -> f32 {
  let parts = log_parts(a);
  let f = parts.x;
  let k = parts.y;
  // ln(1 + f) = high + low: f - f^2/2 exactly, then the rest of the series.
  let p = log_rest(f);
  let f2 = f * f;
  let lost = product_error(f, f, f2);
  // Sums of two floats are split by bits, which no compiler that takes a + b - a for b undoes.
  let high = leading_bits(f - 0.5 * f2);
  let low = ((f - high) - 0.5 * f2) + (p * f * f2 - 0.5 * lost);
  // log2 = k + (high + low) / ln 2
  let t = high * LOG2E;
  let t_low = product_error(high, LOG2E, t) + (high * 1.925963033500911e-8 + low * LOG2E);
  let s = leading_bits(k + t);
  let s_low = ((k - s) + t) + t_low;
  let z = y * s;
  // Beyond these every f32 is 0 or infinite.
  if (z > 130.0) { return f32_bits(0x7f800000u); }
  if (z < -160.0) { return 0.0; }
  let n = round(z);
  let g = (z - n) + (product_error(y, s, z) + y * s_low);
  var q = 0.000153457810317374 * g + 0.001339995745821954;
  q = q * g + 0.009618489273115819;
  q = q * g + 0.05550328712348151;
  q = q * g + 0.2402264688584499;
  q = q * g + 0.6931472057669829;
  q = q * g + 1.0000000005551068;
  let whole = i32(n);
  let half = whole >> 1u;
  return q * power_of_two(half) * power_of_two(whole - half);
}

// x^y with the special cases of IEEE 754 pow: 1 for y = 0 and for x = 1 even with NaN, NaN for finite x < 0 with y not whole.
fn f32_pow(x: f32, y: f32) -> f32 {
  let x_bits = bitcast<u32>(x);
  let y_bits = bitcast<u32>(y);
  let y_infinite = is_infinite(y);
  if ((y_bits & 0x7fffffffu) == 0u || x_bits == 0x3f800000u || (x_bits == 0xbf800000u && y_infinite)) { return 1.0; }
  // To the first power the largest floats are next to overflow.
  if (f32_isnan(x) || y_bits == 0x3f800000u) { return x; }
  if (f32_isnan(y)) { return y; }
  let a = abs(x);
  let y_negative = y_bits > 0x80000000u;
  // Beyond 2^24 every float is an even number.
  let large = y_infinite || abs(y) >= 16777216.0;
  let whole = large || trunc(y) == y;
  let odd = !large && whole && (i32(select(y, 0.0, large)) & 1) != 0;
  var z = 0.0;
  if ((x_bits & 0x7fffffffu) == 0u || is_infinite(x)) {
    z = select(0.0, f32_bits(0x7f800000u), ((x_bits & 0x7fffffffu) == 0u) == y_negative);
  } else if (y_infinite) {
    z = select(0.0, f32_bits(0x7f800000u), (a > 1.0) != y_negative);
  } else if (x_bits > 0x80000000u && !whole) {
    return f32_bits(0x7fc00000u);
  } else {
    z = positive_pow(a, y);
  }
  return bitcast<f32>(bitcast<u32>(z) | select(0u, x_bits & 0x80000000u, odd));
}

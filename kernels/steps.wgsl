// The elementwise steps of map bodies and prologues, the twin of assembly/steps.ts: op_<name> for f32, with _i32, _u32 and _bool behind it
// for other operands. What is not here is f32_<name> of kernels/math.wgsl, or any_<name> with the type put in for Scalar. bool is u32 0
// or 1. NaN is found by its bits, never by comparing. Integer results wrap; division by zero gives 0.

alias Scalar = i32;

fn any_add(a: Scalar, b: Scalar) -> Scalar { return a + b; }
fn any_sub(a: Scalar, b: Scalar) -> Scalar { return a - b; }
fn any_mul(a: Scalar, b: Scalar) -> Scalar { return a * b; }
fn any_div(a: Scalar, b: Scalar) -> Scalar {
  if (b == 0) { return 0; }
  return a / b;
}
fn any_mod(a: Scalar, b: Scalar) -> Scalar {
  if (b == 0) { return 0; }
  return a % b;
}
fn any_maximum(a: Scalar, b: Scalar) -> Scalar { return max(a, b); }
fn any_minimum(a: Scalar, b: Scalar) -> Scalar { return min(a, b); }
fn any_neg(a: Scalar) -> Scalar { return 0 - a; }
fn any_abs(a: Scalar) -> Scalar { return abs(a); }
fn any_square(a: Scalar) -> Scalar { return a * a; }
fn any_equal(a: Scalar, b: Scalar) -> u32 { return u32(a == b); }
fn any_less(a: Scalar, b: Scalar) -> u32 { return u32(a < b); }
fn any_lessEqual(a: Scalar, b: Scalar) -> u32 { return u32(a <= b); }
fn any_greater(a: Scalar, b: Scalar) -> u32 { return u32(a > b); }
fn any_greaterEqual(a: Scalar, b: Scalar) -> u32 { return u32(a >= b); }
fn any_notEqual(a: Scalar, b: Scalar) -> u32 { return u32(a != b); }
fn any_and(a: Scalar, b: Scalar) -> Scalar { return a & b; }
fn any_or(a: Scalar, b: Scalar) -> Scalar { return a | b; }
fn any_xor(a: Scalar, b: Scalar) -> Scalar { return a ^ b; }
fn any_not(a: Scalar) -> Scalar { return ~a; }
// The branch not taken may be NaN.
fn any_where(c: u32, a: Scalar, b: Scalar) -> Scalar { return select(b, a, c != 0u); }

// Devices may multiply by the reciprocal, which of a divisor beyond 2^126 is subnormal and may be flushed: then a / b is 0, and infinity /
// b NaN. A fourth of both has the same quotient.
fn op_div(a: f32, b: f32) -> f32 {
  let scale = select(1.0, 0.25, abs(b) > 8.507059e37);
  return (a * scale) / (b * scale);
}
// Of the bits of a positive f32: its exponent, that of subnormal numbers as it counts, and its digits as a whole number.
fn exponent_of(bits: u32) -> u32 { return max(bits >> 23u, 1u); }
fn digits_of(bits: u32) -> u32 { return bits - ((exponent_of(bits) - 1u) << 23u); }
// The remainder with the divisor's sign: exact, by whole numbers, since a quotient may have more digits than an f32.
fn op_mod(a: f32, b: f32) -> f32 {
  let most = bitcast<u32>(b) & 0x7fffffffu;
  var rest = bitcast<u32>(a) & 0x7fffffffu;
  if (most == 0u || most > 0x7f800000u || rest >= 0x7f800000u) { return f32_bits(0x7fc00000u); }
  if (rest >= most) {
    let exponent = exponent_of(most);
    let divisor = digits_of(most);
    var left = exponent_of(rest) - exponent;
    rest = digits_of(rest) % divisor;
    while (left > 0u) {
      let digits = min(left, 8u);
      rest = (rest << digits) % divisor;
      left -= digits;
    }
    if (rest > 0u) {
      let up = min(countLeadingZeros(rest) - 8u, exponent - 1u);
      rest = (rest << up) + ((exponent - up - 1u) << 23u);
    }
  }
  let r = with_sign(bitcast<f32>(rest), select(b, a, rest > 0u));
  return select(r, r + b, rest > 0u && ((bitcast<u32>(a) ^ bitcast<u32>(b)) >> 31u) == 1u);
}
fn op_neg(a: f32) -> f32 { return bitcast<f32>(bitcast<u32>(a) ^ 0x80000000u); }
fn op_abs(a: f32) -> f32 { return bitcast<f32>(bitcast<u32>(a) & 0x7fffffffu); }
fn op_sign(a: f32) -> f32 {
  let magnitude = bitcast<u32>(a) & 0x7fffffffu;
  return select(with_sign(1.0, a), a, magnitude == 0u || magnitude > 0x7f800000u);
}
fn op_floor(a: f32) -> f32 { return floor(a); }
fn op_ceil(a: f32) -> f32 { return ceil(a); }
fn op_round(a: f32) -> f32 { return round(a); }
fn op_sqrt(a: f32) -> f32 { return sqrt(a); }
fn op_rsqrt(a: f32) -> f32 { return inverseSqrt(a); }
fn op_reciprocal(a: f32) -> f32 { return 1.0 / a; }
fn op_relu(a: f32) -> f32 { return select(select(0.0, a, a > 0.0), a, f32_isnan(a)); }
fn op_isFinite(a: f32) -> u32 { return u32((bitcast<u32>(a) & 0x7f800000u) != 0x7f800000u); }

fn ordered(a: f32, b: f32) -> bool { return !f32_isnan(a) && !f32_isnan(b); }
fn op_equal(a: f32, b: f32) -> u32 { return u32(a == b && ordered(a, b)); }
fn op_less(a: f32, b: f32) -> u32 { return u32(a < b && ordered(a, b)); }
fn op_lessEqual(a: f32, b: f32) -> u32 { return u32(a <= b && ordered(a, b)); }
fn op_greater(a: f32, b: f32) -> u32 { return u32(a > b && ordered(a, b)); }
fn op_greaterEqual(a: f32, b: f32) -> u32 { return u32(a >= b && ordered(a, b)); }
fn op_notEqual(a: f32, b: f32) -> u32 { return u32(a != b || !ordered(a, b)); }

fn op_div_i32(a: i32, b: i32) -> i32 {
  if (b == 0) { return 0; }
  if (b == -1) { return -a; }
  return a / b;
}
fn op_mod_i32(a: i32, b: i32) -> i32 {
  if (b == 0 || b == -1) { return 0; }
  let r = a % b;
  return select(r, r + b, r != 0 && (r ^ b) < 0);
}
fn op_sign_i32(a: i32) -> i32 { return sign(a); }
fn op_sign_u32(a: u32) -> u32 { return min(a, 1u); }
fn op_not_bool(a: u32) -> u32 { return a ^ 1u; }

// Casts: f32 to integers truncates and saturates, NaN gives 0; to bool means "not zero".
fn cast_f32_i32(a: f32) -> i32 {
  if (f32_isnan(a)) { return 0; }
  if (a >= 2147483648.0) { return 2147483647; }
  if (a <= -2147483648.0) { return -2147483647 - 1; }
  return i32(a);
}
fn cast_f32_u32(a: f32) -> u32 {
  if (f32_isnan(a) || a <= 0.0) { return 0u; }
  if (a >= 4294967296.0) { return 0xffffffffu; }
  return u32(a);
}
fn cast_f32_bool(a: f32) -> u32 { return u32((bitcast<u32>(a) & 0x7fffffffu) != 0u); }
fn cast_i32_f32(a: i32) -> f32 { return f32(a); }
fn cast_u32_f32(a: u32) -> f32 { return f32(a); }
fn cast_i32_u32(a: i32) -> u32 { return bitcast<u32>(a); }
fn cast_u32_i32(a: u32) -> i32 { return bitcast<i32>(a); }
fn cast_i32_bool(a: i32) -> u32 { return u32(a != 0); }
fn cast_u32_bool(a: u32) -> u32 { return u32(a != 0u); }

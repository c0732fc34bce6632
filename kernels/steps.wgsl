// The elementwise steps of map bodies and prologues, the twin of assembly/steps.ts: op_<name> for f32, with _i32, _u32 and
// _bool behind it for other operands. bool is u32 0 or 1. NaN is found by its bits, never by comparing. Integer results wrap;
// division by zero gives 0. Functions of kernels/math.wgsl are added by the loader.

fn op_add(a: f32, b: f32) -> f32 { return a + b; }
fn op_sub(a: f32, b: f32) -> f32 { return a - b; }
fn op_mul(a: f32, b: f32) -> f32 { return a * b; }
fn op_div(a: f32, b: f32) -> f32 { return a / b; }
fn op_pow(a: f32, b: f32) -> f32 { return f32_pow(a, b); }
fn op_maximum(a: f32, b: f32) -> f32 { return f32_max(a, b); }
fn op_minimum(a: f32, b: f32) -> f32 { return f32_min(a, b); }
// Floor modulo. A quotient rounded over a whole number leaves a remainder outside [0, b), which is put back.
fn op_mod(a: f32, b: f32) -> f32 {
  let r = a - b * floor(a / b);
  let low = select(r, r + b, r != 0.0 && (r < 0.0) != (b < 0.0));
  return select(low, low - b, abs(low) >= abs(b));
}
fn op_neg(a: f32) -> f32 { return bitcast<f32>(bitcast<u32>(a) ^ 0x80000000u); }
fn op_abs(a: f32) -> f32 { return bitcast<f32>(bitcast<u32>(a) & 0x7fffffffu); }
fn op_sign(a: f32) -> f32 {
  let magnitude = bitcast<u32>(a) & 0x7fffffffu;
  return select(f32_with_sign(1.0, a), a, magnitude == 0u || magnitude > 0x7f800000u);
}
fn op_floor(a: f32) -> f32 { return floor(a); }
fn op_ceil(a: f32) -> f32 { return ceil(a); }
fn op_round(a: f32) -> f32 { return round(a); }
fn op_exp(a: f32) -> f32 { return f32_exp(a); }
fn op_log(a: f32) -> f32 { return f32_log(a); }
fn op_expm1(a: f32) -> f32 { return f32_expm1(a); }
fn op_log1p(a: f32) -> f32 { return f32_log1p(a); }
fn op_sqrt(a: f32) -> f32 { return sqrt(a); }
fn op_rsqrt(a: f32) -> f32 { return inverseSqrt(a); }
fn op_square(a: f32) -> f32 { return a * a; }
fn op_reciprocal(a: f32) -> f32 { return 1.0 / a; }
fn op_sin(a: f32) -> f32 { return f32_sin(a); }
fn op_cos(a: f32) -> f32 { return f32_cos(a); }
fn op_tanh(a: f32) -> f32 { return f32_tanh(a); }
fn op_sigmoid(a: f32) -> f32 { return f32_sigmoid(a); }
fn op_erf(a: f32) -> f32 { return f32_erf(a); }
fn op_relu(a: f32) -> f32 { return select(select(0.0, a, a > 0.0), a, f32_isnan(a)); }
fn op_isFinite(a: f32) -> u32 { return u32((bitcast<u32>(a) & 0x7f800000u) != 0x7f800000u); }

fn ordered(a: f32, b: f32) -> bool { return !f32_isnan(a) && !f32_isnan(b); }
fn op_equal(a: f32, b: f32) -> u32 { return u32(a == b && ordered(a, b)); }
fn op_less(a: f32, b: f32) -> u32 { return u32(a < b && ordered(a, b)); }
fn op_lessEqual(a: f32, b: f32) -> u32 { return u32(a <= b && ordered(a, b)); }
fn op_greater(a: f32, b: f32) -> u32 { return u32(a > b && ordered(a, b)); }
fn op_greaterEqual(a: f32, b: f32) -> u32 { return u32(a >= b && ordered(a, b)); }
fn op_notEqual(a: f32, b: f32) -> u32 { return u32(a != b || !ordered(a, b)); }

fn op_add_i32(a: i32, b: i32) -> i32 { return a + b; }
fn op_sub_i32(a: i32, b: i32) -> i32 { return a - b; }
fn op_mul_i32(a: i32, b: i32) -> i32 { return a * b; }
fn op_maximum_i32(a: i32, b: i32) -> i32 { return max(a, b); }
fn op_minimum_i32(a: i32, b: i32) -> i32 { return min(a, b); }
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
fn op_neg_i32(a: i32) -> i32 { return -a; }
fn op_abs_i32(a: i32) -> i32 { return abs(a); }
fn op_sign_i32(a: i32) -> i32 { return sign(a); }
fn op_square_i32(a: i32) -> i32 { return a * a; }
fn op_equal_i32(a: i32, b: i32) -> u32 { return u32(a == b); }
fn op_less_i32(a: i32, b: i32) -> u32 { return u32(a < b); }
fn op_lessEqual_i32(a: i32, b: i32) -> u32 { return u32(a <= b); }
fn op_greater_i32(a: i32, b: i32) -> u32 { return u32(a > b); }
fn op_greaterEqual_i32(a: i32, b: i32) -> u32 { return u32(a >= b); }
fn op_notEqual_i32(a: i32, b: i32) -> u32 { return u32(a != b); }
fn op_and_i32(a: i32, b: i32) -> i32 { return a & b; }
fn op_or_i32(a: i32, b: i32) -> i32 { return a | b; }
fn op_xor_i32(a: i32, b: i32) -> i32 { return a ^ b; }
fn op_not_i32(a: i32) -> i32 { return ~a; }

fn op_add_u32(a: u32, b: u32) -> u32 { return a + b; }
fn op_sub_u32(a: u32, b: u32) -> u32 { return a - b; }
fn op_mul_u32(a: u32, b: u32) -> u32 { return a * b; }
fn op_maximum_u32(a: u32, b: u32) -> u32 { return max(a, b); }
fn op_minimum_u32(a: u32, b: u32) -> u32 { return min(a, b); }
fn op_div_u32(a: u32, b: u32) -> u32 {
  if (b == 0u) { return 0u; }
  return a / b;
}
fn op_mod_u32(a: u32, b: u32) -> u32 {
  if (b == 0u) { return 0u; }
  return a % b;
}
fn op_neg_u32(a: u32) -> u32 { return ~a + 1u; }
fn op_abs_u32(a: u32) -> u32 { return a; }
fn op_sign_u32(a: u32) -> u32 { return min(a, 1u); }
fn op_square_u32(a: u32) -> u32 { return a * a; }
fn op_equal_u32(a: u32, b: u32) -> u32 { return u32(a == b); }
fn op_less_u32(a: u32, b: u32) -> u32 { return u32(a < b); }
fn op_lessEqual_u32(a: u32, b: u32) -> u32 { return u32(a <= b); }
fn op_greater_u32(a: u32, b: u32) -> u32 { return u32(a > b); }
fn op_greaterEqual_u32(a: u32, b: u32) -> u32 { return u32(a >= b); }
fn op_notEqual_u32(a: u32, b: u32) -> u32 { return u32(a != b); }
fn op_and_u32(a: u32, b: u32) -> u32 { return a & b; }
fn op_or_u32(a: u32, b: u32) -> u32 { return a | b; }
fn op_xor_u32(a: u32, b: u32) -> u32 { return a ^ b; }
fn op_not_u32(a: u32) -> u32 { return ~a; }

fn op_and_bool(a: u32, b: u32) -> u32 { return a & b; }
fn op_or_bool(a: u32, b: u32) -> u32 { return a | b; }
fn op_xor_bool(a: u32, b: u32) -> u32 { return a ^ b; }
fn op_not_bool(a: u32) -> u32 { return a ^ 1u; }
fn op_equal_bool(a: u32, b: u32) -> u32 { return u32(a == b); }
fn op_notEqual_bool(a: u32, b: u32) -> u32 { return a ^ b; }

// where: the branch not taken may be NaN.
fn op_where(c: u32, a: f32, b: f32) -> f32 { return select(b, a, c != 0u); }
fn op_where_i32(c: u32, a: i32, b: i32) -> i32 { return select(b, a, c != 0u); }
fn op_where_u32(c: u32, a: u32, b: u32) -> u32 { return select(b, a, c != 0u); }

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
fn cast_bool_f32(a: u32) -> f32 { return f32(a); }
fn cast_i32_u32(a: i32) -> u32 { return bitcast<u32>(a); }
fn cast_u32_i32(a: u32) -> i32 { return bitcast<i32>(a); }
fn cast_bool_i32(a: u32) -> i32 { return bitcast<i32>(a); }
fn cast_bool_u32(a: u32) -> u32 { return a; }
fn cast_i32_bool(a: i32) -> u32 { return u32(a != 0); }
fn cast_u32_bool(a: u32) -> u32 { return u32(a != 0u); }

// The activations that kernels apply themselves, the twin of assembly/activation.ts: `activation_x(x)` and `derivative_x(y)`,
// the latter written in the activation's output y. x is a name of `Activation` (src/plan/kernels.ts). Definitions are those of
// Keras 3 (hardSigmoid is clip(x/6 + 1/2, 0, 1), leakyRelu's slope is 0.2, elu's alpha is 1). All keep NaN: signs are read from
// the bits, because a comparison with NaN may go either way. At 0 the derivative of relu and relu6 is 0, of leakyRelu 0.2, of
// selu its scale, as in TensorFlow; where hardSigmoid and relu6 saturate it is 0.

const SELU_SCALE: f32 = 1.0507009873554805;
const SELU_SCALE_ALPHA: f32 = 1.7580993408473766;
const LEAKY_SLOPE: f32 = 0.2;

// Whether x is -0, below 0 or -infinity; not for NaN.
fn activation_is_negative(x: f32) -> bool {
  return bitcast<u32>(x) - 0x80000000u <= 0x7f800000u;
}

// x where positive, else 0.
fn activation_positive(x: f32) -> f32 {
  return select(x, 0.0, activation_is_negative(x));
}

// x where negative, else 0.
fn activation_negative(x: f32) -> f32 {
  return select(0.0, x, bitcast<u32>(x) > 0x7f800000u);
}

// The least of x and a positive bound; NaN stays.
fn activation_at_most(x: f32, bound: f32) -> f32 {
  return select(x, bound, bitcast<u32>(x) - bitcast<u32>(bound) <= 0x7f800000u - bitcast<u32>(bound));
}

// Of kernels whose hook `activate` is one of these.
fn activate_vector(v: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(activate(v.x), activate(v.y), activate(v.z), activate(v.w));
}

fn activation_linear(x: f32) -> f32 {
  return x;
}

fn activation_relu(x: f32) -> f32 {
  return activation_positive(x);
}

fn activation_tanh(x: f32) -> f32 {
  return f32_tanh(x);
}

fn activation_sigmoid(x: f32) -> f32 {
  return f32_sigmoid(x);
}

fn activation_hardSigmoid(x: f32) -> f32 {
  return activation_at_most(activation_positive(x / 6.0 + 0.5), 1.0);
}

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|): no overflow.
fn activation_softplus(x: f32) -> f32 {
  return activation_positive(x) + f32_log1p(f32_exp(-abs(x)));
}

fn activation_softsign(x: f32) -> f32 {
  return op_div(x, 1.0 + abs(x));
}

fn activation_elu(x: f32) -> f32 {
  return activation_positive(x) + f32_expm1(activation_negative(x));
}

fn activation_selu(x: f32) -> f32 {
  return SELU_SCALE * activation_positive(x) + SELU_SCALE_ALPHA * f32_expm1(activation_negative(x));
}

fn activation_leakyRelu(x: f32) -> f32 {
  return select(x, LEAKY_SLOPE * x, activation_is_negative(x));
}

fn activation_exponential(x: f32) -> f32 {
  return f32_exp(x);
}

fn activation_relu6(x: f32) -> f32 {
  return activation_at_most(activation_positive(x), 6.0);
}

fn derivative_linear(y: f32) -> f32 {
  return 1.0;
}

fn derivative_relu(y: f32) -> f32 {
  return select(0.0, 1.0, y > 0.0);
}

fn derivative_tanh(y: f32) -> f32 {
  return 1.0 - y * y;
}

fn derivative_sigmoid(y: f32) -> f32 {
  return y * (1.0 - y);
}

fn derivative_hardSigmoid(y: f32) -> f32 {
  return select(0.0, 1.0 / 6.0, y > 0.0 && y < 1.0);
}

// sigmoid(x) = 1 - 1 / (1 + e^x) = 1 - e^-y.
fn derivative_softplus(y: f32) -> f32 {
  return -f32_expm1(-y);
}

fn derivative_softsign(y: f32) -> f32 {
  let rest = 1.0 - abs(y);
  return rest * rest;
}

// Left of zero y = e^x - 1, so that the derivative is y + 1; right of it 1.
fn derivative_elu(y: f32) -> f32 {
  return 1.0 + activation_negative(y);
}

fn derivative_selu(y: f32) -> f32 {
  return select(SELU_SCALE, y + SELU_SCALE_ALPHA, y < 0.0);
}

fn derivative_leakyRelu(y: f32) -> f32 {
  return select(LEAKY_SLOPE, 1.0, y > 0.0);
}

fn derivative_exponential(y: f32) -> f32 {
  return y;
}

fn derivative_relu6(y: f32) -> f32 {
  return select(0.0, 1.0, y > 0.0 && y < 6.0);
}

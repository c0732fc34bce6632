/**
 * @file The activations that kernels apply themselves, and each one's derivative written in the activation's output y
 * (what a gradient kernel has at hand). Constants are those of Keras 3: hardSigmoid clip(x/6 + 1/2, 0, 1), elu alpha 1,
 * leakyRelu slope 0.2. Where a function has a kink the derivative there is the one from the left; selu alone has its
 * right one, as in TensorFlow.
 */

/** selu's constants, from Klambauer et al., "Self-Normalizing Neural Networks" (2017). */
const SELU_ALPHA = 1.6732632423543772;
const SELU_SCALE = 1.0507009873554805;
const LEAKY_SLOPE = 0.2;

const clip = (x, low, high) => Math.min(Math.max(x, low), high);

export const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

const ACTIVATIONS = {
  linear: { f: (x) => x, derivative: () => 1 },
  relu: { f: (x) => Math.max(x, 0), derivative: (y) => (y > 0 ? 1 : 0) },
  tanh: { f: Math.tanh, derivative: (y) => 1 - y * y },
  sigmoid: { f: sigmoid, derivative: (y) => y * (1 - y) },
  hardSigmoid: { f: (x) => clip(x / 6 + 0.5, 0, 1), derivative: (y) => (y > 0 && y < 1 ? 1 / 6 : 0) },
  softplus: { f: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), derivative: (y) => -Math.expm1(-y) },
  softsign: { f: (x) => x / (1 + Math.abs(x)), derivative: (y) => (1 - Math.abs(y)) ** 2 },
  elu: { f: (x) => (x > 0 ? x : Math.expm1(x)), derivative: (y) => (y > 0 ? 1 : y + 1) },
  selu: {
    f: (x) => SELU_SCALE * (x > 0 ? x : SELU_ALPHA * Math.expm1(x)),
    derivative: (y) => (y < 0 ? y + SELU_SCALE * SELU_ALPHA : SELU_SCALE),
  },
  leakyRelu: { f: (x) => (x > 0 ? x : LEAKY_SLOPE * x), derivative: (y) => (y > 0 ? 1 : LEAKY_SLOPE) },
  exponential: { f: Math.exp, derivative: (y) => y },
  relu6: { f: (x) => clip(x, 0, 6), derivative: (y) => (y > 0 && y < 6 ? 1 : 0) },
};

export const ACTIVATION_NAMES = Object.keys(ACTIVATIONS);

/** `{ f(x), derivative(y) }` for a name of `Activation`; y is f(x). */
export function activation(name) {
  if (!Object.hasOwn(ACTIVATIONS, name)) throw new Error(`internal: no activation "${name}"; there are ${ACTIVATION_NAMES.join(", ")}`);
  return ACTIVATIONS[name];
}

/**
 * @file Activations by Keras' names. Those that kernels apply themselves (`Activation` of plan/kernels.ts) have a
 * derivative in terms of their output, so that only the output is kept; the others are composites.
 */
import { checkFlag, unknownName } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import { ACTIVATIONS } from "../plan/kernels.ts";
import type { Activation } from "../plan/kernels.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import {
  abs,
  add,
  addOp,
  and,
  div,
  erf,
  exp,
  expm1,
  greater,
  greaterEqual,
  less,
  log1p,
  maximum,
  maximumOp,
  minimum,
  minimumOp,
  mul,
  mulOp,
  neg,
  onFloats,
  relu,
  reluOp,
  sigmoid,
  sub,
  tanh,
  where,
} from "./map.ts";
import { sloped } from "./move.ts";
import { toFloat } from "./promote.ts";
import { logSoftmaxOfRows, softmaxOfRows } from "./softmax.ts";

const SELU_SCALE = 1.0507009873554805;
const SELU_ALPHA = 1.6732632423543772;

// Integers and bools become f32 first, and not where a fraction happens to meet them: sums would wrap, and a u32 has no negative.
// Bounds are the first operands of maximum and minimum, where ties have their gradient: slopes at a kink are 0, as where a kernel applies
// the activation.

// Of f32 alone: what dense layers apply behind their kernel brings no rule of dtypes along.
const plus = onFloats(addOp);
const times = onFloats(mulOp);
const larger = onFloats(maximumOp);
const smaller = onFloats(minimumOp);
const positive = onFloats(reluOp);

/** clip(x / 6 + 0.5, 0, 1), as in Keras 3. */
export const hardSigmoid = (x: TensorLike): Tensor => minimum(1, maximum(0, add(mul(toFloat("hardSigmoid", x), 1 / 6), 0.5)));
/** log(1 + exp(x)), without overflow. With `maximum` and not relu and abs the slope at 0 is sigmoid(0). */
export function softplus(x: TensorLike): Tensor {
  const t = toFloat("softplus", x);
  return plus(larger(t, 0), log1p(exp(neg(larger(t, neg(t))))));
}
/** x / (1 + |x|) */
export function softsign(x: TensorLike): Tensor {
  const t = toFloat("softsign", x);
  return div(t, add(abs(t), 1));
}
/** x where positive, else alpha (exp(x) - 1). Default alpha 1. */
export function elu(x: TensorLike, alpha = 1): Tensor {
  const t = toFloat("elu", x);
  return where(greater(t, 0), t, mul(expm1(minimum(t, 0)), alpha));
}
/** Klambauer et al. 2017, with the paper's constants. */
export const selu = (x: TensorLike): Tensor => mul(elu(x, SELU_ALPHA), SELU_SCALE);
/** x where positive, else slope * x. Default slope 0.2. */
export function leakyRelu(x: TensorLike, slope = 0.2): Tensor {
  const t = toFloat("leakyRelu", x);
  return where(greater(t, 0), t, mul(t, slope));
}
/** min(max(x, 0), 6) */
export const relu6 = (x: TensorLike): Tensor => minimum(6, relu(x));
/** x sigmoid(x), also called swish. */
export function silu(x: TensorLike): Tensor {
  const t = toFloat("silu", x);
  const s = sigmoid(t);
  return sloped(t, times(t, s), () => times(s, plus(times(t, sub(1, s)), 1)));
}
/** gelu, not approximated: x Phi(x), whose slope is Phi(x) + x phi(x). */
function exactGelu(x: Tensor): Tensor {
  const phi = times(plus(erf(times(x, Math.SQRT1_2)), 1), 0.5);
  return sloped(x, times(x, phi), () => plus(phi, times(x, times(exp(times(times(x, x), -0.5)), NORMAL))));
}
/** The density of the normal distribution at 0: 1 / sqrt(2 pi). */
const NORMAL = 0.3989422804014327;
/** Of gelu's tanh form. */
const CUBIC = 0.044715;
/** x Phi(x); `approximate`: the tanh form. Hendrycks & Gimpel 2016. */
export function gelu(x: TensorLike, approximate = false): Tensor {
  const t = toFloat("gelu", x);
  checkFlag("gelu", "approximate", approximate);
  if (!approximate) return exactGelu(t);
  const s = tanh(times(plus(t, times(times(times(t, t), t), CUBIC)), 2 * NORMAL));
  const half = times(plus(s, 1), 0.5);
  const inner = (): Tensor => times(plus(times(times(t, t), 3 * CUBIC), 1), NORMAL);
  return sloped(t, times(t, half), () => plus(half, times(t, times(sub(1, times(s, s)), inner()))));
}
/** x tanh(softplus(x)) */
export function mish(x: TensorLike): Tensor {
  const t = toFloat("mish", x);
  return times(t, tanh(softplus(t)));
}
/** relu6(x + 3) / 6 * x */
export function hardSilu(x: TensorLike): Tensor {
  const t = toFloat("hardSilu", x);
  return times(t, times(smaller(6, positive(plus(t, 3))), 1 / 6));
}

/** As composites; the same functions that kernels apply. */
export const KERNEL_ACTIVATIONS: { readonly [name in Activation]: (x: Tensor) => Tensor } = {
  linear: (x) => x,
  relu,
  tanh,
  sigmoid,
  hardSigmoid,
  softplus,
  softsign,
  elu: (x) => elu(x),
  selu,
  leakyRelu: (x) => leakyRelu(x),
  exponential: exp,
  relu6,
};

/** What no kernel applies. */
export const OTHER_ACTIVATIONS = {
  softmax: softmaxOfRows,
  logSoftmax: logSoftmaxOfRows,
  gelu: exactGelu,
  silu,
  swish: silu,
  mish,
  hardSilu,
  hardSwish: hardSilu,
} as const satisfies { readonly [name: string]: (x: Tensor) => Tensor };

/**
 * Names that `activation` options take: linear, relu, relu6, leakyRelu, elu, selu, tanh, sigmoid, hardSigmoid, softplus, softsign,
 * exponential (applied by the kernels of dense, convolution and recurrent layers), softmax, logSoftmax, gelu, silu (swish), mish, hardSilu
 * (hardSwish). softmax and logSoftmax act along the last axis.
 */
export type ActivationName = Activation | keyof typeof OTHER_ACTIVATIONS;

/**
 * True for activations that matmul, convolution and recurrent kernels apply themselves: layers that leave them to these do not bring the
 * composites along.
 */
export function isKernelActivation(name: string): name is Activation {
  return (ACTIVATIONS as readonly string[]).includes(name);
}

/** @throws ArgumentError for any other. */
export function checkKernelActivation(who: string, name: string): void {
  if (!isKernelActivation(name))
    throw new ArgumentError(`${who}: activation "${String(name)}" is not applied by the kernel; call it on the result`);
}

/** The function of a name that no kernel applies. @throws ArgumentError listing all names. */
export function otherActivation(who: string, name: string): (x: Tensor) => Tensor {
  if (Object.hasOwn(OTHER_ACTIVATIONS, name)) return OTHER_ACTIVATIONS[name as keyof typeof OTHER_ACTIVATIONS];
  throw unknownName(who, name, [...ACTIVATIONS, ...Object.keys(OTHER_ACTIVATIONS)], "activation ");
}

/** dy times the derivative of `activation` where its output is y. */
export function activationGrad(activation: Activation, dy: Tensor, y: Tensor): Tensor {
  switch (activation) {
    case "linear":
      return dy;
    case "relu":
      return where(greater(y, 0), dy, 0);
    case "tanh":
      return mul(dy, sub(1, mul(y, y)));
    case "sigmoid":
      return mul(dy, mul(y, sub(1, y)));
    case "hardSigmoid":
      return where(and(greater(y, 0), less(y, 1)), mul(dy, 1 / 6), 0);
    case "softplus":
      return mul(dy, neg(expm1(neg(y))));
    case "softsign":
      return mul(dy, mul(sub(1, abs(y)), sub(1, abs(y))));
    case "elu":
      return mul(dy, where(greater(y, 0), 1, add(y, 1)));
    case "selu":
      return mul(dy, where(greater(y, 0), SELU_SCALE, add(y, SELU_SCALE * SELU_ALPHA)));
    case "leakyRelu":
      return where(greater(y, 0), dy, mul(dy, 0.2));
    case "exponential":
      return mul(dy, y);
    case "relu6":
      return where(and(greater(y, 0), less(y, 6)), dy, 0);
    default:
      return activation satisfies never;
  }
}

/** 1 where x >= threshold. Used by metrics. */
export const atLeast = (x: Tensor, threshold: number): Tensor => greaterEqual(x, threshold);

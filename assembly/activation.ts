/**
 * @file The activations that kernels apply themselves: `activateRow(act, to, from, n)`, and `derivative(act, y)`, where y
 * is four lanes of the activation's output. Definitions are those of Keras 3 (hardSigmoid is clip(x/6 + 1/2, 0, 1), leakyRelu's slope
 * is 0.2, elu's alpha is 1). `activateRow` keeps NaN. At 0 the derivative of relu and relu6 is 0, of leakyRelu 0.2, of selu
 * its scale, as in TensorFlow; where hardSigmoid and relu6 saturate it is 0.
 * `derivative` is a call: what it does is long. `slope` and `gateSlope` are for loops that exist twice: for the usual activations of
 * recurrent cells, which need no call, and for all others.
 */
import {
  ACT_ELU,
  ACT_EXPONENTIAL,
  ACT_HARD_SIGMOID,
  ACT_LEAKY_RELU,
  ACT_RELU,
  ACT_RELU6,
  ACT_SELU,
  ACT_SIGMOID,
  ACT_SOFTPLUS,
  ACT_SOFTSIGN,
  ACT_TANH,
} from "../src/wasm/opcodes";
import { exp, expm1, log1p, sigmoid, tanh } from "./math";
import { storeUpTo, vmax, vmin } from "./simd";

const SELU_SCALE: f32 = 1.0507009873554805;
const SELU_SCALE_ALPHA: f32 = 1.7580993408473766;
const LEAKY_SLOPE: f32 = 0.2;

/** x where positive, else zero (NaN stays). */
// @ts-ignore: decorator
@inline
function positive(x: v128): v128 {
  return vmax(f32x4.splat(0), x);
}

// @ts-ignore: decorator
@inline
function negative(x: v128): v128 {
  return vmin(f32x4.splat(0), x);
}

/** 1 in lanes where low < y < high, else 0. */
// @ts-ignore: decorator
@inline
function inside(y: v128, low: f32, high: f32): v128 {
  const mask = v128.and(f32x4.gt(y, f32x4.splat(low)), f32x4.lt(y, f32x4.splat(high)));
  return v128.and(mask, f32x4.splat(1));
}

/** An activation that `activateRow` has no loop for. */
// @ts-ignore: decorator
@inline
function activate(act: u32, x: v128): v128 {
  switch (act) {
    case ACT_HARD_SIGMOID: {
      const line = f32x4.add(f32x4.div(x, f32x4.splat(6)), f32x4.splat(0.5));
      return vmin(f32x4.splat(1), positive(line));
    }
    // log(1 + e^x) = max(x, 0) + log(1 + e^-|x|): no overflow.
    case ACT_SOFTPLUS:
      return f32x4.add(positive(x), log1p(exp(f32x4.neg(f32x4.abs(x)))));
    case ACT_SOFTSIGN:
      return f32x4.div(x, f32x4.add(f32x4.splat(1), f32x4.abs(x)));
    case ACT_ELU:
      return f32x4.add(positive(x), expm1(negative(x)));
    case ACT_SELU: {
      const left = f32x4.mul(f32x4.splat(SELU_SCALE_ALPHA), expm1(negative(x)));
      return f32x4.add(f32x4.mul(f32x4.splat(SELU_SCALE), positive(x)), left);
    }
    case ACT_LEAKY_RELU:
      return vmax(f32x4.mul(f32x4.splat(LEAKY_SLOPE), x), x);
    case ACT_EXPONENTIAL:
      return exp(x);
    case ACT_RELU6:
      return vmin(f32x4.splat(6), positive(x));
    default:
      return x;
  }
}

/** The core's `activateRow`, a fifth of a part's bytes. */
// @ts-ignore: decorator
@external("core", "activateRow")
declare function activateRowOfCore(act: u32, to: usize, from: usize, n: u32): void;

/** to[0..n) = the activation `act` (ACT_*) of from[0..n), which may be the same row. */
export function activateRow(act: u32, to: usize, from: usize, n: u32): void {
  if (PART) return activateRowOfCore(act, to, from, n);
  let left = <i32>n;
  switch (act) {
    case ACT_SIGMOID: {
      for (; left > 0; left -= 4, to += 16, from += 16) storeUpTo(to, sigmoid(v128.load(from)), left);
      return;
    }
    case ACT_TANH: {
      for (; left > 0; left -= 4, to += 16, from += 16) storeUpTo(to, tanh(v128.load(from)), left);
      return;
    }
    case ACT_RELU: {
      for (; left > 0; left -= 4, to += 16, from += 16) storeUpTo(to, positive(v128.load(from)), left);
      return;
    }
    default: {
      for (; left > 0; left -= 4, to += 16, from += 16) storeUpTo(to, activate(act, v128.load(from)), left);
    }
  }
}

/** The derivative of the activation `act` (ACT_*) where its output is y. */
export function derivative(act: u32, y: v128): v128 {
  const one = f32x4.splat(1);
  switch (act) {
    case ACT_RELU:
      return v128.and(f32x4.gt(y, f32x4.splat(0)), one);
    case ACT_TANH:
      return f32x4.sub(one, f32x4.mul(y, y));
    case ACT_SIGMOID:
      return f32x4.mul(y, f32x4.sub(one, y));
    case ACT_HARD_SIGMOID:
      return f32x4.div(inside(y, 0, 1), f32x4.splat(6));
    // sigmoid(x) = 1 - 1 / (1 + e^x) = 1 - e^-y.
    case ACT_SOFTPLUS:
      return f32x4.neg(expm1(f32x4.neg(y)));
    case ACT_SOFTSIGN: {
      const rest = f32x4.sub(one, f32x4.abs(y));
      return f32x4.mul(rest, rest);
    }
    // Left of zero y = e^x - 1, so that the derivative is y + 1; right of it 1.
    case ACT_ELU:
      return f32x4.add(one, negative(y));
    case ACT_SELU: {
      const left = f32x4.lt(y, f32x4.splat(0));
      return v128.bitselect(f32x4.add(y, f32x4.splat(SELU_SCALE_ALPHA)), f32x4.splat(SELU_SCALE), left);
    }
    case ACT_LEAKY_RELU:
      return v128.bitselect(one, f32x4.splat(LEAKY_SLOPE), f32x4.gt(y, f32x4.splat(0)));
    case ACT_EXPONENTIAL:
      return y;
    case ACT_RELU6:
      return inside(y, 0, 6);
    default:
      return one;
  }
}

/** Whether a recurrent cell has the activations of `slope` and `gateSlope` with `fast`. */
// @ts-ignore: decorator
@inline
export function usual(act: u32, gateAct: u32): bool {
  return gateAct == ACT_SIGMOID && (act == ACT_TANH || act == ACT_RELU);
}

/** `derivative` of a cell's activation; `fast` is known where the loop is compiled. */
// @ts-ignore: decorator
@inline
export function slope(fast: bool, act: u32, y: v128): v128 {
  if (!fast) return derivative(act, y);
  const one = f32x4.splat(1);
  return act == ACT_RELU ? v128.and(f32x4.gt(y, f32x4.splat(0)), one) : f32x4.sub(one, f32x4.mul(y, y));
}

/** The same of its gates' activation. */
// @ts-ignore: decorator
@inline
export function gateSlope(fast: bool, act: u32, y: v128): v128 {
  return fast ? f32x4.mul(y, f32x4.sub(f32x4.splat(1), y)) : derivative(act, y);
}

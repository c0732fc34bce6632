/** @file Activations: functions of one number, softmax and its kin, and Clip. */
import * as lockstep from "../../index.ts";
import type { Tensor, TensorLike } from "../../index.ts";
import { elementwise, mapped, sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { areKnown, mapKnown } from "../known.ts";
import { INTEGERS, dtypeOf, isFloat } from "../types.ts";
import { Value } from "../value.ts";
import { reshaped } from "./shapes.ts";
import { together, withRank, wrapped } from "./arithmetic.ts";

const { add, div, expm1, greater, less, maximum, minimum, mul, sub, where } = lockstep;

/** x where positive, else `f` of it. */
const whereNegative = (x: Tensor, f: (x: Tensor) => Tensor): Tensor => where(less(x, 0), f(x), x);

/** alpha (exp(x / beta) - 1) below 0. */
const exponential = (x: Tensor, alpha: number, beta = 1): Tensor => whereNegative(x, (t) => mul(expm1(div(minimum(t, 0), beta)), alpha));

const PRelu: Operator = (call) => {
  const [x, slope] = [call.input(0), call.input(1)];
  // Before opset 7 nothing broadcast: one slope, or one for each channel.
  const behind = call.opset < 7 && slope.rank === 1 && slope.size > 1 ? Math.max(0, x.rank - 2) : 0;
  const spread = reshaped(slope, [...slope.shape, ...new Array<number>(behind).fill(1)]);
  const y = together(call, x.type, [x, spread], (t, s) => wrapped(x.type, where(less(t, 0), mul(t, s), t)));
  if (y.shape.join() !== x.shape.join()) throw call.mismatch(`slopes [${slope.shape.join()}] do not broadcast to [${x.shape.join()}]`);
  return y;
};

const hardSigmoid = (x: Tensor, alpha: number, beta: number): Tensor => maximum(minimum(add(mul(x, alpha), beta), 1), 0);

function shrink(x: Tensor, call: Call): Tensor {
  const [lambd, bias] = [call.float("lambd", 0.5), call.float("bias", 0)];
  return where(less(x, -lambd), add(x, bias), where(greater(x, lambd), sub(x, bias), 0));
}

/** Of integers too, which are cut off. */
const Shrink: Operator = (call) => {
  const x = call.input(0);
  if (isFloat(x.type)) return mapped(x, (t) => shrink(t, call));
  const dtype = dtypeOf(call.who, x.type);
  return mapped(x, (t) => lockstep.cast(shrink(lockstep.cast(t, "f32"), call), dtype));
};

const Gelu: Operator = (call) => {
  const form = call.word("approximate", ["none", "tanh"]);
  return mapped(call.input(0), (x) => lockstep.gelu(x, form === "tanh"));
};

/** A limit of Clip: an input, or in old files an attribute; null for none. */
function limit(call: Call, place: number, name: string): Value | null {
  const given = call.optional(place);
  if (given !== null) {
    if (given.size !== 1) throw call.mismatch(`${name} must have one element, got [${given.shape.join()}]`);
    return reshaped(given, []);
  }
  const old = call.float(name);
  return old === null ? null : Value.numbers(call.input(0).type, [old], []);
}

const Clip: Operator = (call) => {
  const [x, low, high] = [call.input(0), limit(call, 1, "min"), limit(call, 2, "max")];
  if (areKnown([x, low, high])) {
    const [least, most] = [low?.elements[0] ?? -Infinity, high?.elements[0] ?? Infinity];
    return mapKnown(x.type, [x], (v) => Math.min(most, Math.max(least, v))) as Value;
  }
  // Known limits are numbers in the program; those that a dtype does not reach do not matter.
  const of = (v: Value): Tensor | number => {
    const range = INTEGERS[x.type];
    if (v.known === null) return v.tensor;
    const n = v.elements[0];
    const [least, most] = range?.least === 0 ? [0, 2 ** 32 - 1] : [-(2 ** 31), 2 ** 31 - 1];
    return range === undefined ? n : Math.min(most, Math.max(least, n));
  };
  return mapped(x, (t) => {
    const above = low === null ? t : maximum(t, of(low) as TensorLike);
    return high === null ? above : minimum(above, of(high) as TensorLike);
  });
};

/** `fn` along an axis of [outer, size, inner]: of however many dimensions. */
export function alongAxis(x: Tensor, axis: number, fn: (x: Tensor, axis: number) => Tensor): Tensor {
  if (x.rank <= 3) return fn(x, axis);
  const { shape } = x;
  const [outer, inner] = [sizeOf(shape.slice(0, axis)), sizeOf(shape.slice(axis + 1))];
  const flat = inner === 1 ? [outer, shape[axis]] : [outer, shape[axis], inner];
  return lockstep.reshape(fn(lockstep.reshape(x, flat), 1), shape);
}

/** Along one axis; up to opset 12 over all dimensions from `axis` on. */
const normalized =
  (fn: (x: Tensor, axis: number) => Tensor): Operator =>
  (call) => {
    const x = call.input(0);
    const isOld = call.opset < 13;
    const given = call.int("axis", isOld ? 1 : -1);
    if (x.rank === 0) return reshaped(Value.of(x.type, fn(lockstep.reshape(x.tensor, [1]), 0)), []);
    const axis = isOld && given === x.rank ? given : call.axis(given, x.rank);
    if (x.size === 0) return x;
    if (isOld) {
      const flat = reshaped(x, [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))]);
      return reshaped(Value.of(x.type, fn(flat.tensor, 1)), x.shape);
    }
    if (x.isChannelsLast) return Value.channelsLast(x.type, fn(x.last, axis === 0 ? 0 : axis === 1 ? x.rank - 1 : axis - 1));
    return Value.of(x.type, alongAxis(x.tensor, axis, fn));
  };

/** 1 at the first of the largest, else 0. */
function hardmax(x: Tensor, axis: number): Tensor {
  const places = lockstep.iota(x.shape, { axis });
  return lockstep.cast(lockstep.equal(places, lockstep.expandDims(lockstep.argMax(x, axis), axis)), "f32");
}

/** x sigmoid(alpha x) */
const swish = (x: Tensor, alpha: number): Tensor => (alpha === 1 ? lockstep.silu(x) : mul(x, lockstep.sigmoid(mul(x, alpha))));

/** The activation that an optimizer has put behind an operator, with the numbers that it takes. */
export function activated(call: Call, alpha: number | null, beta: number | null): (t: Tensor) => Tensor {
  const functions: { readonly [name: string]: (t: Tensor) => Tensor } = {
    "": (t) => t,
    Relu: lockstep.relu,
    Tanh: lockstep.tanh,
    Sigmoid: lockstep.sigmoid,
    LeakyRelu: (t) => lockstep.ops.leakyRelu(t, alpha ?? 0.01),
    Clip: (t) => lockstep.clip(t, alpha ?? -Infinity, beta ?? Infinity),
    HardSigmoid: (t) => lockstep.clip(lockstep.add(lockstep.mul(t, alpha ?? 0.2), beta ?? 0.5), 0, 1),
  };
  return functions[call.word("activation", Object.keys(functions))];
}

export const ACTIVATIONS: Operators = {
  Relu: elementwise((x) => (x.dtype === "f32" ? (lockstep.relu(x) as Tensor) : maximum(x, 0))),
  Sigmoid: elementwise((x) => lockstep.sigmoid(x)),
  Tanh: elementwise((x) => lockstep.tanh(x)),
  Erf: elementwise((x) => lockstep.erf(x)),
  Elu: elementwise((x, call) => exponential(x, call.float("alpha", 1))),
  Celu: elementwise((x, call) => exponential(x, call.float("alpha", 1), call.float("alpha", 1))),
  Selu: elementwise((x, call) => mul(exponential(x, call.float("alpha", 1.6732632423543772)), call.float("gamma", 1.0507009873554805))),
  LeakyRelu: elementwise((x, call) => whereNegative(x, (t) => mul(t, call.float("alpha", 0.01)))),
  PRelu,
  ThresholdedRelu: elementwise((x, call) => where(greater(x, call.float("alpha", 1)), x, 0)),
  HardSigmoid: elementwise((x, call) => hardSigmoid(x, call.float("alpha", 0.2), call.float("beta", 0.5))),
  HardSwish: elementwise((x) => mul(x, hardSigmoid(x, 1 / 6, 0.5))),
  Softplus: elementwise((x) => lockstep.softplus(x)),
  Softsign: elementwise((x) => lockstep.softsign(x)),
  Mish: elementwise((x) => mul(x, lockstep.tanh(lockstep.softplus(x)))),
  Swish: elementwise((x, call) => swish(x, call.float("alpha", 1))),
  SwiGLU: (call) => together(call, call.input(0).type, [call.input(0), call.input(1)], (a, b) => mul(swish(a, call.float("alpha", 1)), b)),
  Gelu,
  Shrink,
  Clip,
  Softmax: normalized((x, axis) => lockstep.softmax(x, axis) as Tensor),
  LogSoftmax: normalized((x, axis) => lockstep.logSoftmax(x, axis)),
  Hardmax: normalized(hardmax),
};

/** Those of com.microsoft. */
export const MICROSOFT_ACTIVATIONS: Operators = {
  Gelu: elementwise((x) => lockstep.gelu(x)),
  BiasGelu: (call) =>
    together(call, call.input(0).type, [call.input(0), withRank(call.input(1), call.input(0).rank)], (x, b) => lockstep.gelu(add(x, b))),
  FastGelu: (call) => {
    const bias = call.optional(1);
    if (bias === null) return mapped(call.input(0), (x) => lockstep.gelu(x, true));
    return together(call, call.input(0).type, [call.input(0), bias], (x, b) => lockstep.gelu(add(x, b), true));
  },
  QuickGelu: elementwise((x, call) => swish(x, call.float("alpha", 1.702))),
};

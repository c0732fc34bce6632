/** @file Elementwise operators of one, two or more inputs. */
import * as lockstep from "../../index.ts";
import type { Tensor, TensorLike } from "../../index.ts";
import { mapped } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { areKnown, broadcast, mapKnown, sameKind } from "../known.ts";
import { INTEGERS, dtypeOf, isFloat } from "../types.ts";
import type { ElementType } from "../types.ts";
import { Value } from "../value.ts";

/** Integers of few bits wrap around, as they do in ONNX. */
export function wrapped(type: ElementType, x: Tensor): Tensor {
  const range = INTEGERS[type];
  if (range === undefined || range.bits >= 32) return x;
  const of = 2 ** range.bits;
  return range.least === 0 ? lockstep.mod(x, of) : lockstep.sub(lockstep.mod(lockstep.sub(x, range.least), of), -range.least);
}

/**
 * `fn` of values that broadcast. Channels-last where one is so: the others are of the same shape, of one element, or have channels alone.
 */
export function together(call: Call, type: ElementType, values: readonly Value[], fn: (...x: Tensor[]) => Tensor): Value {
  const shape = broadcast(values.map((v) => v.shape));
  if (shape === null) throw call.mismatch(`shapes ${values.map((v) => `[${v.shape.join()}]`).join(" and ")} do not broadcast`);
  const rank = shape.length;
  const fits = (v: Value): boolean => v.rank === rank || v.size === 1;
  if (values.some((v) => v.isChannelsLast && v.rank === rank) && values.every(fits))
    return Value.channelsLast(type, fn(...values.map((v) => (v.rank === rank ? v.last : lockstep.reshape(v.tensor, [])))));
  return Value.of(type, fn(...values.map((v) => v.tensor)));
}

type Binary = (a: TensorLike, b: TensorLike) => Tensor;

/** All inputs of one type. */
function checkTypes(call: Call, values: readonly Value[]): ElementType {
  const other = values.find((v) => !sameKind(v.type, values[0].type));
  if (other !== undefined) throw call.fault(`operands are of one type, got ${values[0].type} and ${other.type}`);
  return values[0].type;
}

/** Two inputs that broadcast. Files before opset 7 give the axis at which the second begins. */
function operands(call: Call): Value[] {
  const [a, b] = [call.input(0), call.input(1)];
  const axis = call.int("axis");
  if (call.opset >= 7 || axis === null || b.rank === 0) return [a, b];
  const behind = a.rank - (axis < 0 ? axis + a.rank : axis) - b.rank;
  const shape = [...b.shape, ...new Array<number>(Math.max(0, behind)).fill(1)];
  return [a, b.known ? Value.known({ ...b.known, shape }) : Value.of(b.type, lockstep.reshape(b.tensor, shape))];
}

const binary =
  (fn: Binary, known: (a: number, b: number, type: ElementType) => number): Operator =>
  (call) => {
    const pair = operands(call);
    const type = checkTypes(call, pair);
    const result = areKnown(pair) ? mapKnown(type, pair, (a, b) => known(a, b, type)) : null;
    return result ?? together(call, type, pair, (a, b) => wrapped(type, fn(a, b)));
  };

const compare =
  (fn: Binary, known: (a: number, b: number) => boolean): Operator =>
  (call) => {
    const pair = operands(call);
    checkTypes(call, pair);
    const result = areKnown(pair) ? mapKnown("bool", pair, (a, b) => Number(known(a, b))) : null;
    return result ?? together(call, "bool", pair, fn);
  };

/** Sum, Max and the like: any number of inputs. */
const variadic =
  (fn: Binary, known: (a: number, b: number) => number, last?: (x: Tensor, count: number) => Tensor): Operator =>
  (call) => {
    const values = call.inputs.map((_, i) => call.input(i));
    const type = checkTypes(call, values);
    if (last === undefined && areKnown(values)) {
      const result = mapKnown(type, values, (...x) => x.reduce(known));
      if (result !== null) return result;
    }
    return together(call, type, values, (...x) => {
      const y = x.reduce((a, b) => fn(a, b));
      return last === undefined ? y : last(y, x.length);
    });
  };

const unary =
  (fn: (x: Tensor, call: Call) => Tensor, known: ((x: number) => number) | null = null): Operator =>
  (call) => {
    const x = call.input(0);
    const result = known !== null && areKnown([x]) ? mapKnown(x.type, [x], known) : null;
    return result ?? mapped(x, (t) => wrapped(x.type, fn(t, call)));
  };

const { add, sub, mul, div } = lockstep;

/** Integers are divided towards zero. */
function quotient(a: TensorLike, b: TensorLike): Tensor {
  const [x, y] = [a as Tensor, b as Tensor];
  if (x.dtype === "f32") return div(x, y);
  if (x.dtype === "u32") return lockstep.floorDiv(x, y);
  const q = lockstep.floorDiv(x, y);
  const isInexact = lockstep.notEqual(mul(q, y), x);
  return lockstep.where(lockstep.and(isInexact, lockstep.less(q, 0)), add(q, 1), q);
}

/** `fmod` 0: the sign of the divisor; 1: that of the dividend. */
const Mod: Operator = (call) => {
  const [a, b] = [call.input(0), call.input(1)];
  const type = checkTypes(call, [a, b]);
  const isFmod = call.flag("fmod");
  if (areKnown([a, b])) {
    const result = mapKnown(type, [a, b], (x, y) => (isFmod ? x % y : x - y * Math.floor(x / y)));
    if (result !== null) return result;
  }
  return together(call, type, [a, b], (x, y) => {
    if (!isFmod) return lockstep.mod(x, y);
    const m = lockstep.mod(lockstep.abs(x), lockstep.abs(y));
    return lockstep.where(lockstep.less(x, 0), lockstep.neg(m), m);
  });
};

const Pow: Operator = (call) => {
  const [a, b] = [call.input(0), call.input(1)];
  const base = isFloat(a.type) ? null : dtypeOf(call.who, a.type);
  // The commonest exponents are known, and cheaper.
  const exponent = b.size === 1 && b.known !== null ? b.elements[0] : null;
  if (base === null && exponent === 2) return mapped(a, (x) => lockstep.square(x));
  if (base === null && exponent === 0.5) return mapped(a, (x) => lockstep.sqrt(x));
  return together(call, a.type, [a, b], (x, y) => {
    const result = lockstep.pow(lockstep.cast(x, "f32"), lockstep.cast(y, "f32"));
    return base === null ? result : wrapped(a.type, lockstep.cast(lockstep.round(result), base));
  });
};

const Where: Operator = (call) => {
  const [c, a, b] = [call.input(0), call.input(1), call.input(2)];
  const type = checkTypes(call, [a, b]);
  const result = areKnown([c, a, b]) ? mapKnown(type, [c, a, b], (k, x, y) => (k ? x : y)) : null;
  return result ?? together(call, type, [c, a, b], (k, x, y) => lockstep.where(k, x, y));
};

const Not: Operator = (call) => {
  const x = call.input(0);
  return (areKnown([x]) ? mapKnown("bool", [x], (v) => Number(!v)) : null) ?? mapped(x, (t) => lockstep.not(t));
};

const logical = (fn: Binary, known: (a: boolean, b: boolean) => boolean): Operator => compare(fn, (a, b) => known(a !== 0, b !== 0));

export const ARITHMETIC: Operators = {
  Add: binary(add, (a, b) => a + b),
  Sub: binary(sub, (a, b) => a - b),
  Mul: binary(mul, (a, b) => a * b),
  Div: binary(quotient, (a, b, type) => (isFloat(type) ? a / b : Math.trunc(a / b))),
  Mod,
  Pow,
  Where,
  Not,
  And: logical(lockstep.and, (a, b) => a && b),
  Or: logical(lockstep.or, (a, b) => a || b),
  Xor: logical(lockstep.xor, (a, b) => a !== b),
  Equal: compare(lockstep.equal, (a, b) => a === b),
  Greater: compare(lockstep.greater, (a, b) => a > b),
  GreaterOrEqual: compare(lockstep.greaterEqual, (a, b) => a >= b),
  Less: compare(lockstep.less, (a, b) => a < b),
  LessOrEqual: compare(lockstep.lessEqual, (a, b) => a <= b),
  Max: variadic(lockstep.maximum, (a, b) => Math.max(a, b)),
  Min: variadic(lockstep.minimum, (a, b) => Math.min(a, b)),
  Sum: variadic(add, (a, b) => a + b),
  Mean: variadic(
    add,
    (a, b) => a + b,
    (x, count) => div(x, count),
  ),
  Abs: unary((x) => lockstep.abs(x), Math.abs),
  Neg: unary(
    (x) => lockstep.neg(x),
    (x) => -x,
  ),
  Floor: unary((x) => lockstep.floor(x), Math.floor),
  Ceil: unary((x) => lockstep.ceil(x), Math.ceil),
  Sqrt: unary((x) => lockstep.sqrt(x), Math.sqrt),
  Exp: unary((x) => lockstep.exp(x)),
  Log: unary((x) => lockstep.log(x)),
  Reciprocal: unary(
    (x) => lockstep.reciprocal(x),
    (x) => 1 / x,
  ),
  Sign: unary((x) => lockstep.sign(x), Math.sign),
  Round: unary((x) => lockstep.round(x)),
  Relu: unary((x) => lockstep.relu(x)),
  Sigmoid: unary((x) => lockstep.sigmoid(x)),
  Tanh: unary((x) => lockstep.tanh(x)),
  Erf: unary((x) => lockstep.erf(x)),
  Sin: unary((x) => lockstep.sin(x)),
  Cos: unary((x) => lockstep.cos(x)),
};

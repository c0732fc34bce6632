/** @file Elementwise operators of one, two or more inputs. */
import * as lockstep from "../../index.ts";
import type { Tensor, TensorLike } from "../../index.ts";
import { mapped } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { areKnown, broadcast, forEach, mapKnown, sameKind, stridesOf } from "../known.ts";
import { INTEGERS, dtypeOf, isFloat } from "../types.ts";
import type { ElementType } from "../types.ts";
import { Value, checkShape } from "../value.ts";

/** Integers of few bits wrap around, as they do in ONNX. */
export function wrapped(type: ElementType, x: Tensor): Tensor {
  const range = INTEGERS[type];
  if (range === undefined || range.bits >= 32) return x;
  const low = lockstep.and(x, 2 ** range.bits - 1);
  // The highest bit of what is signed counts negative.
  return range.least === 0 ? low : lockstep.sub(lockstep.xor(low, -range.least), -range.least);
}

/** `x` with dimensions of 1 in front. */
export function withRank(x: Value, rank: number): Value {
  if (x.rank === rank) return x;
  const shape = [...new Array<number>(rank - x.rank).fill(1), ...x.shape];
  return x.known !== null ? Value.known({ ...x.known, shape }) : Value.of(x.type, lockstep.reshape(x.tensor, shape));
}

/** `fn` of values that broadcast. Channels-last where one of all dimensions is so. */
export function together(call: Call, type: ElementType, values: readonly Value[], fn: (...x: Tensor[]) => Tensor): Value {
  const shape = broadcast(values.map((v) => v.shape));
  if (shape === null) throw call.mismatch(`shapes ${values.map((v) => `[${v.shape.join()}]`).join(" and ")} do not broadcast`);
  const rank = shape.length;
  if (!values.some((v) => v.isChannelsLast && v.rank === rank)) return Value.of(type, fn(...values.map((v) => v.tensor)));
  return Value.channelsLast(type, fn(...values.map((v) => (v.size === 1 ? lockstep.reshape(v.tensor, []) : withRank(v, rank).last))));
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
      return wrapped(type, last === undefined ? y : last(y, x.length));
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
export function quotient(a: TensorLike, b: TensorLike): Tensor {
  const [x, y] = [a as Tensor, b as Tensor];
  if (x.dtype === "f32") return div(x, y);
  if (x.dtype === "u32") return lockstep.floorDiv(x, y);
  const q = lockstep.floorDiv(x, y);
  const isInexact = lockstep.notEqual(mul(q, y), x);
  return lockstep.where(lockstep.and(isInexact, lockstep.less(q, 0)), add(q, 1), q);
}

/** What is left by a quotient that is rounded down: it has the sign of the divisor, 0 too. */
function floored(x: number, y: number): number {
  const rest = x % y;
  if (rest === 0) return y < 0 ? -0 : 0;
  return rest < 0 !== y < 0 ? rest + y : rest;
}

/** `fmod` 0: the sign of the divisor; 1: that of the dividend. */
const Mod: Operator = (call) => {
  const [a, b] = [call.input(0), call.input(1)];
  const type = checkTypes(call, [a, b]);
  const isFmod = call.flag("fmod");
  if (areKnown([a, b])) {
    const result = mapKnown(type, [a, b], isFmod ? (x, y) => x % y : floored);
    if (result !== null) return result;
  }
  return together(call, type, [a, b], (x, y) => {
    if (x.dtype === "u32" || (x.dtype !== "f32" && !isFmod)) return lockstep.mod(x, y);
    const isNegative = lockstep.less(x, 0);
    const m = lockstep.mod(lockstep.abs(x), lockstep.abs(y));
    const signed = lockstep.where(isNegative, lockstep.neg(m), m);
    if (x.dtype !== "f32") return signed;
    // A finite number is less than an infinity, which it is not divided by.
    const isInfinite = lockstep.and(lockstep.not(lockstep.isFinite(y)), lockstep.equal(y, y));
    const rest = lockstep.where(lockstep.and(isInfinite, lockstep.isFinite(x)), x, signed);
    if (isFmod) return rest;
    const isBelow = lockstep.less(y, 0);
    const floored = lockstep.where(lockstep.notEqual(isNegative, isBelow), add(rest, y), rest);
    return lockstep.where(lockstep.equal(rest, 0), lockstep.where(isBelow, -0, 0), floored);
  });
};

/** Integers to integer powers, wrapping around: the square of the square ... of those bits that the exponent has. */
function integerPower(x: Tensor, y: Tensor, bits: number): Tensor {
  let result = lockstep.broadcastTo(lockstep.tensor([1], [], x.dtype), x.shape);
  let square = x;
  for (let i = 0; i < bits; i++) {
    const has = lockstep.notEqual(lockstep.and(y, lockstep.tensor([2 ** i], [], y.dtype)), 0);
    result = mul(result, lockstep.where(has, square, 1));
    square = mul(square, square);
  }
  if (y.dtype === "u32") return result;
  // 1 / x: of 1 and -1 what their powers are, of 0 nothing that is a number, else less than 1.
  const isUnit = lockstep.equal(mul(x, x), 1);
  const unit = lockstep.where(lockstep.equal(lockstep.and(y, 1), 0), mul(x, x), x);
  return lockstep.where(lockstep.less(y, 0), lockstep.where(isUnit, unit, 0), result);
}

/** Bits of the exponents, where they are known to be whole; else null. */
function bitsOf(exponent: Value): number | null {
  if (!areKnown([exponent])) return isFloat(exponent.type) ? null : 31;
  const numbers = Array.from(exponent.elements);
  if (!numbers.every(Number.isInteger)) return null;
  return Math.min(31, Math.max(1, ...numbers.map((n) => Math.ceil(Math.log2(Math.max(0, n) + 1)))));
}

const Pow: Operator = (call) => {
  const [a, b] = operands(call);
  if (areKnown([a, b])) {
    const result = mapKnown(a.type, [a, b], (x, y) => (isFloat(a.type) ? x ** y : Math.trunc(x ** y)));
    if (result !== null) return result;
  }
  const exponent = b.size === 1 && b.rank <= a.rank && b.known !== null ? b.elements[0] : null;
  if (isFloat(a.type)) {
    // The commonest exponents are known, and cheaper.
    if (exponent === 2) return mapped(a, (x) => lockstep.square(x));
    if (exponent === 0.5) return mapped(a, (x) => lockstep.sqrt(x));
    return together(call, a.type, [a, b], (x, y) => lockstep.pow(x, lockstep.cast(y, "f32")));
  }
  const dtype = dtypeOf(call.who, a.type);
  const bits = bitsOf(b);
  if (bits !== null)
    return together(call, a.type, [a, b], (x, y) =>
      wrapped(a.type, integerPower(...spread(x, y.dtype === "u32" ? y : lockstep.cast(y, "i32")), bits)),
    );
  return together(call, a.type, [a, b], (x, y) => wrapped(a.type, lockstep.cast(nearly(lockstep.pow(lockstep.cast(x, "f32"), y)), dtype)));
};

/** Floats that stand for integers, before they are cut off: what is whole but for rounding in 32 bits is whole. */
export function nearly(x: Tensor): Tensor {
  const whole = lockstep.round(x);
  return lockstep.where(lockstep.lessEqual(lockstep.abs(sub(x, whole)), mul(lockstep.abs(x), 1e-6)), whole, x);
}

/** Two tensors in the shape that both broadcast to. */
function spread(x: Tensor, y: Tensor): [Tensor, Tensor] {
  const shape = broadcast([x.shape, y.shape]) as number[];
  return [lockstep.broadcastTo(x, shape), lockstep.broadcastTo(y, shape)];
}

/** Strings are compared, and chosen, where they are known. */
function mapStrings(call: Call, type: ElementType, values: readonly Value[], fn: (x: (number | string)[]) => number | string): Value {
  const shape = broadcast(values.map((v) => v.shape));
  if (shape === null) throw call.mismatch(`shapes ${values.map((v) => `[${v.shape.join()}]`).join(" and ")} do not broadcast`);
  const lists = values.map((v) => v.constant.elements);
  const out: (number | string)[] = [];
  forEach(
    checkShape(shape),
    values.map((v) => stridesOf(v.shape, shape)),
    (_at, of) => out.push(fn(of.map((o, k) => lists[k][o]))),
  );
  return Value.known({ type, shape, elements: out as string[] });
}

const Where: Operator = (call) => {
  const [c, a, b] = [call.input(0), call.input(1), call.input(2)];
  const type = checkTypes(call, [a, b]);
  if (type === "string") return mapStrings(call, type, [c, a, b], ([k, x, y]) => (k ? x : y));
  const result = areKnown([c, a, b]) ? mapKnown(type, [c, a, b], (k, x, y) => (k ? x : y)) : null;
  return result ?? together(call, type, [c, a, b], (k, x, y) => lockstep.where(k, x, y));
};

const numbersEqual = compare(lockstep.equal, (a, b) => a === b);
const Equal: Operator = (call) => {
  const pair = operands(call);
  return checkTypes(call, pair) === "string" ? mapStrings(call, "bool", pair, ([x, y]) => Number(x === y)) : numbersEqual(call);
};

const Not: Operator = (call) => {
  const x = call.input(0);
  return (areKnown([x]) ? mapKnown("bool", [x], (v) => Number(!v)) : null) ?? mapped(x, (t) => lockstep.not(t));
};

const logical = (fn: Binary, known: (a: boolean, b: boolean) => boolean): Operator => compare(fn, (a, b) => known(a !== 0, b !== 0));

/** To the nearest, halves to the even one. */
function halfToEven(x: number): number {
  const low = Math.floor(x);
  const over = x - low;
  return over < 0.5 || (over === 0.5 && low % 2 === 0) ? low : low + 1;
}

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
  Equal,
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
    (x, count) => (x.dtype === "f32" ? div(x, count) : quotient(x, lockstep.tensor([count], [], x.dtype))),
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
  Round: unary((x) => lockstep.round(x), halfToEven),
};

/** @file Reductions over axes, and the places of extremes. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { axesOf, sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { areKnown, fit, forEach, stridesOf } from "../known.ts";
import { INTEGERS, dtypeOf, isFloat } from "../types.ts";
import type { ElementType } from "../types.ts";
import { Value, toLast } from "../value.ts";
import { nearly, quotient, wrapped } from "./arithmetic.ts";

const { abs, add, cast, exp, isFinite, log, sqrt, square, sub, sum, where } = lockstep;

interface Over {
  readonly axis: readonly number[];
  readonly keepDims: true;
}

/** A reduction. */
interface Reduction {
  /** Of a tensor; dimensions are kept as 1. */
  readonly of: (x: Tensor, over: Over, count: number) => Tensor;
  /** Of known elements. */
  readonly known: (x: readonly number[]) => number;
  /** Of no elements. */
  readonly empty: (type: ElementType) => number;
  /** It is computed of floats alone; integers are cut off. */
  readonly isFloat?: boolean;
}

/** A tensor of one number. */
export function filled(call: Call, type: ElementType, value: number, shape: readonly number[]): Value {
  if (sizeOf(shape) <= 4096) return Value.numbers(type, new Array<number>(sizeOf(shape)).fill(value), shape);
  const dtype = dtypeOf(call.who, type);
  return Value.of(type, lockstep.broadcastTo(dtype === "f32" ? value : lockstep.tensor([value], [], dtype), shape));
}

/** u32 as i32 in the same order, and back. */
export const ordered = (x: Tensor): Tensor =>
  x.dtype === "u32" ? cast(lockstep.xor(x, lockstep.tensor(Uint32Array.of(2 ** 31), [], "u32")), "i32") : x;
export const unordered = (x: Tensor, dtype: string): Tensor =>
  dtype === "u32" ? lockstep.xor(cast(x, "u32"), lockstep.tensor(Uint32Array.of(2 ** 31), [], "u32")) : x;

/** Elements that are reduced to one, for each. */
function groups(x: Value, axes: readonly number[]): number[][] {
  const kept = x.shape.map((d, i) => (axes.includes(i) ? 1 : d));
  const lists = Array.from({ length: sizeOf(kept) }, (): number[] => []);
  const { elements } = x;
  forEach(x.shape, [stridesOf(kept, x.shape)], (at, [of]) => lists[of].push(elements[at]));
  return lists;
}

/** Whether what is left of a channels-last tensor lies in ONNX's order. */
const isInOrder = (rank: number, axes: readonly number[]): boolean =>
  axes.includes(1) || Array.from({ length: rank - 2 }, (_, i) => i + 2).every((i) => axes.includes(i));

/** `fn` along axes, of the tensor as it lies; dimensions that become 1 are dropped unless they are kept. */
function along(x: Value, type: ElementType, axes: readonly number[], keeps: boolean, fn: (t: Tensor, axes: number[]) => Tensor): Value {
  const rest = x.shape.filter((_, i) => !axes.includes(i));
  if (x.isChannelsLast && (keeps || isInOrder(x.rank, axes))) {
    const order = toLast(x.rank);
    const y = fn(
      x.last,
      axes.map((axis) => order.indexOf(axis)),
    );
    return keeps ? Value.channelsLast(type, y) : Value.of(type, lockstep.reshape(y, rest));
  }
  const y = fn(x.tensor, [...axes]);
  return Value.of(type, keeps ? y : lockstep.reshape(y, rest));
}

const reduction =
  (r: Reduction): Operator =>
  (call) => {
    const x = call.input(0);
    if (x.type === "string") throw call.fault("strings are not reduced");
    const keeps = call.flag("keepdims", true);
    const given = axesOf(call, 1) ?? [];
    const axes = given.length > 0 ? call.axes(given, x.rank) : call.flag("noop_with_empty_axes") ? [] : x.shape.map((_, i) => i);
    const count = sizeOf(axes.map((axis) => x.shape[axis]));
    const shape = x.shape.flatMap((d, i) => (axes.includes(i) ? (keeps ? [1] : []) : [d]));
    if (count === 0 || sizeOf(shape) === 0) return filled(call, x.type, r.empty(x.type), shape);
    const isCut = r.isFloat && !isFloat(x.type);
    if (areKnown([x]))
      return Value.numbers(
        x.type,
        groups(x, axes).map((list) => fit(x.type, isCut ? Math.trunc(r.known(list)) : r.known(list))),
        shape,
      );
    return along(x, x.type, axes, keeps, (t, axis) => {
      const over: Over = { axis, keepDims: true };
      return wrapped(x.type, isCut ? cast(nearly(r.of(cast(t, "f32"), over, count)), t.dtype) : r.of(t, over, count));
    });
  };

const total = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);
const least = (type: ElementType): number => (type === "bool" ? 0 : (INTEGERS[type]?.least ?? -Infinity));
const most = (type: ElementType): number => (type === "bool" ? 1 : (INTEGERS[type]?.most ?? Infinity));
/** Integers of 64 bits are computed in 32. */
const within32 = (type: ElementType, n: number): number => {
  if (INTEGERS[type]?.bits !== 64) return n;
  return Math.min(type === "uint64" ? 2 ** 32 - 1 : 2 ** 31 - 1, Math.max(type === "uint64" ? 0 : -(2 ** 31), n));
};

/** Without overflow: the largest is taken out first. */
function logSumExp(x: Tensor, over: Over): Tensor {
  const top = lockstep.max(x, over);
  const largest = where(isFinite(top), top, 0);
  return add(log(sum(exp(sub(x, largest)), over)), largest);
}

function logSumExpOf(x: readonly number[]): number {
  const top = Math.max(...x);
  return Number.isFinite(top) ? Math.log(total(x.map((v) => Math.exp(v - top)))) + top : top;
}

const mean: Reduction = {
  of: (x, over, count) => (x.dtype === "f32" ? lockstep.mean(x, over) : quotient(sum(x, over), lockstep.tensor([count], [], x.dtype))),
  known: (x) => total(x) / x.length,
  empty: (type) => (isFloat(type) ? NaN : 0),
};

/** The place of the first or last extreme, as int64. */
const place =
  (isMost: boolean): Operator =>
  (call) => {
    const x = call.input(0);
    const axis = x.rank === 0 ? 0 : call.axis(call.int("axis", 0), x.rank);
    const keeps = call.flag("keepdims", true);
    const takesLast = call.flag("select_last_index");
    const size = x.shape[axis] ?? 1;
    if (size === 0) throw call.mismatch(`axis ${axis} of [${x.shape.join()}] is empty`);
    const shape = x.shape.flatMap((d, i) => (i === axis ? (keeps ? [1] : []) : [d]));
    if (x.rank === 0 || sizeOf(shape) === 0) return filled(call, "int64", 0, shape);
    return along(x, "int64", [axis], keeps, (given, [at]) => {
      const t = ordered(given);
      const found = (isMost ? lockstep.argMax : lockstep.argMin)(takesLast ? lockstep.flip(t, at) : t, at);
      return lockstep.expandDims(takesLast ? sub(size - 1, found) : found, at);
    });
  };

export const REDUCTIONS: Operators = {
  ReduceSum: reduction({ of: sum, known: total, empty: () => 0 }),
  ReduceMean: (call) => reduction(isFloat(call.input(0).type) ? mean : { ...mean, known: (x) => Math.trunc(total(x) / x.length) })(call),
  ReduceProd: reduction({ of: lockstep.prod, known: (x) => x.reduce((a, b) => a * b, 1), empty: () => 1 }),
  ReduceMax: reduction({
    of: (x, over) => unordered(lockstep.max(ordered(x), over), x.dtype),
    known: (x) => Math.max(...x),
    empty: (type) => within32(type, least(type)),
  }),
  ReduceMin: reduction({
    of: (x, over) => unordered(lockstep.min(ordered(x), over), x.dtype),
    known: (x) => Math.min(...x),
    empty: (type) => within32(type, most(type)),
  }),
  ReduceL1: reduction({ of: (x, over) => sum(abs(x), over), known: (x) => total(x.map(Math.abs)), empty: () => 0 }),
  ReduceL2: reduction({
    of: (x, over) => sqrt(sum(square(x), over)),
    known: (x) => Math.sqrt(total(x.map((v) => v * v))),
    empty: () => 0,
    isFloat: true,
  }),
  ReduceSumSquare: reduction({ of: (x, over) => sum(square(x), over), known: (x) => total(x.map((v) => v * v)), empty: () => 0 }),
  ReduceLogSum: reduction({ of: (x, over) => log(sum(x, over)), known: (x) => Math.log(total(x)), empty: () => -Infinity, isFloat: true }),
  ReduceLogSumExp: reduction({ of: logSumExp, known: logSumExpOf, empty: () => -Infinity, isFloat: true }),
  ArgMax: place(true),
  ArgMin: place(false),
};

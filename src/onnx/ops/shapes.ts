/** @file Operators that look at shapes, or move elements without computing. */
import * as lockstep from "../../index.ts";
import { axesOf, mapped, sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { areKnown, fit, forEach, mapKnown, stridesOf } from "../known.ts";
import { rounded, roundedNumber, smallFloatOf } from "../small.ts";
import type { SmallFloat } from "../small.ts";
import { INTEGERS, dtypeOf, elementType, isFloat } from "../types.ts";
import type { ElementType } from "../types.ts";
import { Value, checkShape, toLast } from "../value.ts";
import { wrapped } from "./arithmetic.ts";

/** Another shape for the same elements. */
export function reshaped(x: Value, shape: readonly number[]): Value {
  if (shape.length === x.rank && shape.every((d, i) => d === x.shape[i])) return x;
  return x.known !== null ? Value.known({ ...x.known, shape }) : Value.of(x.type, lockstep.reshape(x.tensor, shape));
}

/** Elements of a known value at other places: a copy in which element i is that at `of[i]`. */
export function picked(x: Value, shape: readonly number[], strides: readonly number[], begin = 0): Value {
  const { type, elements } = x.constant;
  const out: (number | string)[] = [];
  forEach(shape, [strides], (_at, [of]) => out.push(elements[begin + of]));
  return Value.known({ type, shape, elements: out as number[] });
}

/** Whether elements are moved while tracing. */
export const isSmall = (x: Value): boolean => x.type === "string" || areKnown([x]);

const Shape: Operator = (call) => {
  const { shape, rank } = call.input(0);
  const place = (given: number): number => Math.min(rank, Math.max(0, given < 0 ? given + rank : given));
  return Value.numbers("int64", shape.slice(place(call.int("start", 0)), place(call.int("end", rank))));
};

const Reshape: Operator = (call) => {
  const x = call.input(0);
  const given = call.numbers(1) ?? call.ints("shape");
  if (given === null) throw call.fault("no shape is given");
  const takesZero = call.flag("allowzero");
  const shape = given.map((d, i) => (d === 0 && !takesZero ? x.shape[i] : d));
  const free = shape.indexOf(-1);
  const rest = shape.reduce((n, d, i) => (i === free ? n : n * d), 1);
  if (free >= 0) shape[free] = rest === 0 ? 0 : x.size / rest;
  if (shape.some((d) => !Number.isInteger(d) || d < 0) || sizeOf(shape) !== x.size)
    throw call.mismatch(`[${x.shape.join()}] cannot become [${given.join()}]`);
  return reshaped(x, shape);
};

const Flatten: Operator = (call) => {
  const x = call.input(0);
  const given = call.int("axis", 1);
  const axis = given === x.rank ? given : call.axis(given, x.rank + 1) - (given < 0 ? 1 : 0);
  return reshaped(x, [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))]);
};

const Squeeze: Operator = (call) => {
  const x = call.input(0);
  const given = axesOf(call, 1);
  const axes = given === null ? x.shape.flatMap((d, i) => (d === 1 ? [i] : [])) : call.axes(given, x.rank);
  const other = axes.find((axis) => x.shape[axis] !== 1);
  if (other !== undefined) throw call.mismatch(`dimension ${other} of [${x.shape.join()}] is not 1`);
  return reshaped(
    x,
    x.shape.filter((_, i) => !axes.includes(i)),
  );
};

const Unsqueeze: Operator = (call) => {
  const x = call.input(0);
  const given = axesOf(call, 1) ?? [];
  const rank = x.rank + given.length;
  const axes = call.axes(given, rank);
  const rest = [...x.shape];
  return reshaped(
    x,
    Array.from({ length: rank }, (_, i) => (axes.includes(i) ? 1 : (rest.shift() as number))),
  );
};

const Transpose: Operator = (call) => {
  const x = call.input(0);
  const perm = call.ints("perm") ?? x.shape.map((_, i) => x.rank - 1 - i);
  if (perm.length !== x.rank || call.axes(perm, x.rank).length !== x.rank)
    throw call.mismatch(`perm [${perm.join()}] for [${x.shape.join()}]`);
  const shape = perm.map((p) => x.shape[p]);
  if (isSmall(x)) {
    const strides = stridesOf(x.shape);
    return picked(
      x,
      shape,
      perm.map((p) => strides[p]),
    );
  }
  return Value.of(x.type, lockstep.transpose(x.tensor, perm));
};

/** Values one behind the other along an axis. */
export function joined(values: readonly Value[], axis: number): Value {
  if (values.length === 1) return values[0];
  const { type, rank } = values[0];
  if (values.every(isSmall)) {
    const shape = [...values[0].shape];
    shape[axis] = values.reduce((n, v) => n + v.shape[axis], 0);
    const inner = sizeOf(shape.slice(axis + 1));
    const out: (number | string)[] = [];
    for (let o = 0; o < sizeOf(shape.slice(0, axis)); o++) {
      for (const v of values) {
        const run = v.shape[axis] * inner;
        for (let i = 0; i < run; i++) out.push(v.constant.elements[o * run + i]);
      }
    }
    return Value.known({ type, shape: checkShape(shape), elements: out as number[] });
  }
  if (rank > 2 && values.some((v) => v.isChannelsLast)) {
    const place = axis === 0 ? 0 : axis === 1 ? rank - 1 : axis - 1;
    return Value.channelsLast(
      type,
      lockstep.concat(
        values.map((v) => v.last),
        place,
      ),
    );
  }
  return Value.of(
    type,
    lockstep.concat(
      values.map((v) => v.tensor),
      axis,
    ),
  );
}

const Concat: Operator = (call) => {
  const values = call.inputs.map((_, i) => call.input(i));
  if (values.length === 0) throw call.fault("there is nothing to join");
  const [{ type, shape, rank }] = values;
  const axis = call.axis(call.int("axis", 1), rank);
  const other = values.find((v) => v.type !== type || v.rank !== rank || v.shape.some((d, i) => i !== axis && d !== shape[i]));
  if (other !== undefined)
    throw call.mismatch(`${type}[${shape.join()}] and ${other.type}[${other.shape.join()}] are not joined along axis ${axis}`);
  return joined(values, axis);
};

/** Where a slice along one dimension begins, how many it takes, and by which steps. */
function sliceAlong(size: number, start: number, end: number, step: number): { readonly begin: number; readonly count: number } {
  const clamp = (v: number, least: number, most: number): number => Math.min(most, Math.max(least, v < 0 ? v + size : v));
  const [begin, stop] = step > 0 ? [clamp(start, 0, size), clamp(end, 0, size)] : [clamp(start, 0, size - 1), clamp(end, -1, size - 1)];
  return { begin, count: Math.max(0, Math.ceil((stop - begin) / step)) };
}

const Slice: Operator = (call) => {
  const x = call.input(0);
  const starts = call.numbers(1) ?? call.ints("starts") ?? [];
  const ends = call.numbers(2) ?? call.ints("ends") ?? [];
  const axes = call.axes(call.numbers(3) ?? call.ints("axes") ?? starts.map((_, i) => i), x.rank);
  const steps = call.numbers(4) ?? axes.map(() => 1);
  if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length || steps.includes(0))
    throw call.fault(`starts, ends, axes and steps differ in length, or a step is 0`);
  const begin = x.shape.map(() => 0);
  const shape = [...x.shape];
  const step = x.shape.map(() => 1);
  axes.forEach((axis, i) => {
    const along = sliceAlong(x.shape[axis], starts[i], ends[i], steps[i]);
    [begin[axis], shape[axis], step[axis]] = [along.begin, along.count, steps[i]];
  });
  return strided(call, x, begin, shape, step);
};

/** Elements from `begin` on by steps, which may go backwards, as many as `shape` says. */
export function strided(call: Call, x: Value, begin: readonly number[], shape: readonly number[], step: readonly number[]): Value {
  if (shape.every((d, i) => d === x.shape[i] && step[i] === 1)) return x;
  if (isSmall(x)) {
    const strides = stridesOf(x.shape);
    const first = begin.reduce((n, b, i) => n + b * strides[i], 0);
    return picked(
      x,
      shape,
      strides.map((s, i) => s * step[i]),
      first,
    );
  }
  if (sizeOf(shape) === 0) return Value.of(x.type, lockstep.zeros(checkShape(shape), dtypeOf(call.who, x.type)));
  const order = x.isChannelsLast ? toLast(x.rank) : x.shape.map((_, i) => i);
  const own = (list: readonly number[]): number[] => order.map((d) => list[d]);
  const [from, size, steps] = [own(begin), own(shape), own(step)];
  // Backwards: the elements that are taken, in their order, turned around.
  const low = from.map((b, i) => (steps[i] < 0 ? b + (size[i] - 1) * steps[i] : b));
  let t = x.isChannelsLast ? x.last : x.tensor;
  const isWhole = low.every((b, i) => b === 0 && size[i] === t.shape[i]);
  if (!isWhole || steps.some((s) => Math.abs(s) !== 1)) t = lockstep.slice(t, low, size, steps.map(Math.abs));
  steps.forEach((s, i) => {
    if (s < 0 && size[i] > 1) t = lockstep.flip(t, i);
  });
  return x.isChannelsLast ? Value.channelsLast(x.type, t) : Value.of(x.type, t);
}

/** A number as an integer type has it: cut off, at the ends of 32 bits and more the nearest, NaN 0, as devices convert. */
function integerOf(type: ElementType, x: number): number {
  const range = INTEGERS[type];
  if (range === undefined) return x;
  const whole = Number.isNaN(x) ? 0 : Math.trunc(x);
  return range.bits < 32
    ? fit(type, Math.min(2 ** 31 - 1, Math.max(-(2 ** 31), whole)))
    : Math.min(range.most, Math.max(range.least, whole));
}

/** Text of a number: that of a float is the shortest from which it comes back. */
function textOf(type: ElementType, x: number): string {
  if (type === "bool") return x ? "True" : "False";
  if (!isFloat(type) || Number.isInteger(x)) return String(x);
  if (type === "float64" || !Number.isFinite(x)) return Number.isFinite(x) || Number.isNaN(x) ? String(x) : x > 0 ? "INF" : "-INF";
  const digits = [6, 7, 8].find((d) => Math.fround(Number(x.toPrecision(d))) === x) ?? 9;
  return String(Number(x.toPrecision(digits)));
}

function numberOf(call: Call, text: string): number {
  const word = text.trim().toLowerCase().replace(/^\+/, "");
  const special: { readonly [word: string]: number | undefined } = {
    inf: Infinity,
    infinity: Infinity,
    "-inf": -Infinity,
    "-infinity": -Infinity,
    nan: NaN,
  };
  const n = Object.hasOwn(special, word) ? (special[word] as number) : Number(word);
  if (word === "" || (Number.isNaN(n) && word !== "nan")) throw call.fault(`"${text.slice(0, 40)}" is no number`);
  return n;
}

/** Floats as those of few bits have them. */
function small(call: Call, x: Value, type: ElementType, format: SmallFloat): Value {
  const saturates = call.flag("saturate", true);
  if (areKnown([x])) return mapKnown(type, [x], (v) => roundedNumber(format, v, saturates)) as Value;
  return mapped(x, (t) => rounded(format, lockstep.cast(t, "f32"), saturates), type);
}

/** Elements of another type. */
export function castTo(call: Call, x: Value, type: ElementType): Value {
  if (x.type === type) return x;
  if (type === "float8e8m0") throw call.fault("powers of two in 8 bits are read, and not made");
  const format = smallFloatOf(type);
  if (format !== null && x.type !== "string") return small(call, x, type, format);
  if (x.type === "string") {
    const numbers = Array.from(x.constant.elements as readonly string[], (s) => numberOf(call, s));
    return Value.numbers(
      type,
      numbers.map((n) => fit(type, integerOf(type, n))),
      x.shape,
    );
  }
  if (type === "string") return Value.known({ type, shape: x.shape, elements: Array.from(x.elements, (n) => textOf(x.type, n)) });
  if (areKnown([x])) return mapKnown(type, [x], (v) => (isFloat(x.type) ? integerOf(type, v) : fit(type, v))) as Value;
  if (isFloat(x.type) && isFloat(type)) return x.as(type);
  const dtype = dtypeOf(call.who, type);
  const fn = (t: lockstep.Tensor): lockstep.Tensor => (t.dtype === dtype ? wrapped(type, t) : wrapped(type, lockstep.cast(t, dtype)));
  return x.isChannelsLast ? Value.channelsLast(type, fn(x.last)) : Value.of(type, fn(x.tensor));
}

const Cast: Operator = (call) => {
  const [x, type] = [call.input(0), elementType(call.who, call.int("to", 0))];
  return x.floats !== null && isFloat(type) && call.isAlone(0) ? x.floats().as(type) : castTo(call, x, type);
};

const Expand: Operator = (call) => {
  const x = call.input(0);
  const given = call.numbers(1) ?? [];
  const rank = Math.max(x.rank, given.length);
  const [from, to] = [x.shape, given].map((s) => [...new Array<number>(rank - s.length).fill(1), ...s]);
  const shape = checkShape(to.map((d, i) => (d === 1 ? from[i] : d)));
  if (shape.some((d, i) => from[i] !== 1 && from[i] !== d))
    throw call.mismatch(`[${x.shape.join()}] does not broadcast to [${given.join()}]`);
  if (isSmall(x) && sizeOf(shape) <= 4096) return picked(x, shape, stridesOf(x.shape, shape));
  return Value.of(x.type, lockstep.broadcastTo(x.tensor, shape));
};

const Constant: Operator = (call) => {
  const number = call.float("value_float") ?? call.int("value_int");
  const list = call.floats("value_floats") ?? call.ints("value_ints");
  const constant = call.constant("value");
  if (constant !== null) return Value.known(constant);
  if (call.has("value_float") || call.has("value_int"))
    return Value.numbers(call.has("value_float") ? "float32" : "int64", [number as number], []);
  if (list !== null) return Value.numbers(call.has("value_floats") ? "float32" : "int64", list);
  const strings = call.strings("value_strings") ?? (call.has("value_string") ? [call.string("value_string", "")] : null);
  if (strings === null) throw call.fault("it has no value that is known here");
  return Value.known({ type: "string", shape: call.has("value_strings") ? [strings.length] : [], elements: strings });
};

export const SHAPES: Operators = {
  Shape,
  Size: (call) => Value.numbers("int64", [call.input(0).size], []),
  Reshape,
  Flatten,
  Squeeze,
  Unsqueeze,
  Transpose,
  Concat,
  Slice,
  Cast,
  CastLike: (call) => castTo(call, call.input(0), call.input(1).type),
  Expand,
  Constant,
  Identity: (call) => call.input(0),
};

const ExpandDims: Operator = (call) => {
  const x = call.input(0);
  const at = call.axis(call.number(1) ?? 0, x.rank + 1);
  return reshaped(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
};

/** Of the domain com.microsoft. */
export const SHAPES_MICROSOFT: Operators = { ExpandDims };

/** @file Elements at given places, and elements put at given places. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { areKnown, stridesOf } from "../known.ts";
import { dtypeOf } from "../types.ts";
import type { ElementType } from "../types.ts";
import { Value, checkShape, toLast } from "../value.ts";
import { wrapped } from "./arithmetic.ts";
import { shown } from "./rows.ts";
import { filled, ordered, unordered } from "./reductions.ts";
import { isSmall } from "./shapes.ts";

const { add, broadcastTo, cast, equal, expandDims, gather, iota, less, mul, reshape, sum, where } = lockstep;

/** Places of rows: a tensor i32, and the numbers where they are known. */
interface Places {
  readonly tensor: Tensor;
  readonly known: Int32Array | null;
  /** bool: where an index is outside, that only a run can tell; of the shape of `tensor`. */
  readonly outside: Tensor | null;
}

/** Each place counted from the front. @throws ShapeError for known ones that there are not */
function fromFront(call: Call, index: ArrayLike<number>, sizeAt: (i: number) => number): Int32Array {
  return Int32Array.from(index, (given, i) => {
    const size = sizeAt(i);
    if (!(given >= -size && given < size)) throw call.mismatch(`index ${given} is none of ${size}`);
    return given < 0 ? given + size : given;
  });
}

/** Whether the numbers of an index are in the program: those of inputs that vary are not. */
const isConstant = (index: Value): boolean => index.known !== null && index.type !== "string";

/** Places along an axis of `size`. Those that only a run can tell are clamped into it where they are read. */
function along(call: Call, index: Value, size: number): Places {
  if (isConstant(index)) {
    const known = fromFront(call, index.elements, () => size);
    return { known, tensor: lockstep.tensor(known, index.shape, "i32"), outside: null };
  }
  const i = cast(index.tensor, "i32");
  const tensor = where(less(i, 0), add(i, size), i);
  return { known: null, tensor, outside: lockstep.or(less(tensor, 0), lockstep.greaterEqual(tensor, size)) };
}

const Gather: Operator = (call) => {
  const [x, index] = [call.input(0), call.input(1)];
  const axis = call.axis(call.int("axis", 0), x.rank);
  const shape = checkShape([...x.shape.slice(0, axis), ...index.shape, ...x.shape.slice(axis + 1)]);
  if (sizeOf(shape) === 0) return filled(call, x.type, 0, shape);
  if (isSmall(x) && areKnown([index])) {
    const places = fromFront(call, index.elements, () => x.shape[axis]);
    const { elements } = x.constant;
    const [outer, inner] = [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis + 1))];
    const out: (number | string)[] = [];
    for (let o = 0; o < outer; o++)
      for (const i of places) for (let n = 0; n < inner; n++) out.push(elements[(o * x.shape[axis] + i) * inner + n]);
    return Value.known({ type: x.type, shape, elements: out as number[] });
  }
  const { tensor, outside } = along(call, index, x.shape[axis]);
  const taken = (t: Tensor, at: number): Tensor => {
    const y = gather(t, tensor, at);
    return outside === null ? y : shown(y, reshape(outside, [...t.shape.slice(0, at).map(() => 1), ...index.shape]));
  };
  // Along an axis of a picture that lies channels-last: one index in the place of another leaves it so.
  if (x.isChannelsLast && index.rank === 1) return Value.channelsLast(x.type, taken(x.last, toLast(x.rank).indexOf(axis)));
  return Value.of(x.type, taken(x.tensor, axis));
};

/** What the places of `shape` add to a place along `axis`, by the strides of another shape: i32. */
function offsets(shape: readonly number[], strides: readonly number[], axis: number): Tensor | null {
  let total: Tensor | null = null;
  shape.forEach((d, i) => {
    if (i === axis || d === 1) return;
    const own = mul(
      iota(
        shape.map((n, k) => (k === i ? n : 1)),
        { axis: i },
      ),
      strides[i],
    );
    total = total === null ? own : add(total, own);
  });
  return total;
}

/** Places in all of `data`, for an index along one axis. */
function elementPlaces(call: Call, index: Value, data: readonly number[], axis: number): Places {
  const strides = stridesOf(data).map((s, i) => (data[i] === 1 ? 1 : s));
  if (index.shape.length !== data.length || index.shape.some((d, i) => i !== axis && d > data[i]))
    throw call.mismatch(`indices [${index.shape.join()}] into [${data.join()}] along axis ${axis}`);
  const { tensor, known, outside } = along(call, index, data[axis]);
  const rest = offsets(index.shape, strides, axis);
  // What is outside of the axis is not taken for a place in the next row.
  const inside = known === null ? lockstep.clip(tensor, 0, data[axis] - 1) : tensor;
  const at = mul(inside, strides[axis]);
  const flat = reshape(broadcastTo(rest === null ? at : add(at, rest), index.shape), [index.size]);
  if (known === null) return { tensor: flat, known: null, outside: outside && reshape(outside, [index.size]) };
  const steps = stridesOf(index.shape);
  return {
    tensor: flat,
    outside: null,
    known: known.map((place, i) =>
      data.reduce((n, _, d) => n + (d === axis ? place : steps[d] === 0 ? 0 : Math.floor(i / steps[d]) % index.shape[d]) * strides[d], 0),
    ),
  };
}

const GatherElements: Operator = (call) => {
  const [x, index] = [call.input(0), call.input(1)];
  const axis = call.axis(call.int("axis", 0), x.rank);
  if (index.size === 0) return filled(call, x.type, 0, index.shape);
  const { tensor, outside } = elementPlaces(call, index, x.shape, axis);
  return Value.of(x.type, reshape(shown(gather(reshape(x.tensor, [x.size]), tensor), outside), index.shape));
};

/** Rows that index[batch, many, K] names, in dimensions `dims` of each of the batch. */
function rowPlaces(call: Call, index: Value, batch: number, dims: readonly number[]): Places {
  const [rows, K] = [sizeOf(dims), dims.length];
  const strides = dims.map((_, k) => sizeOf(dims.slice(k + 1)));
  const many = K === 0 ? index.size : index.size / K;
  const each = many / batch;
  if (isConstant(index)) {
    const at = fromFront(call, index.elements, (i) => dims[i % K]);
    const known = Int32Array.from({ length: many }, (_, i) =>
      strides.reduce((n, s, k) => n + at[i * K + k] * s, Math.floor(i / each) * rows),
    );
    return { known, tensor: lockstep.tensor(known, [many], "i32"), outside: null };
  }
  const i = reshape(cast(index.tensor, "i32"), [batch, each, K]);
  const numbers = (list: readonly number[]): Tensor => lockstep.tensor(Int32Array.from(list), [K], "i32");
  const front = where(less(i, 0), add(i, numbers(dims)), i);
  // What is outside stays within its own dimension, and is not taken for a place in the next.
  const inside = lockstep.minimum(lockstep.maximum(front, 0), numbers(dims.map((d) => d - 1)));
  const place = add(sum(mul(inside, numbers(strides)), { axis: 2 }), mul(iota([batch, 1], { axis: 0 }), rows));
  const isOutside = lockstep.greater(sum(cast(lockstep.notEqual(front, inside), "i32"), { axis: 2 }), 0);
  return { known: null, tensor: reshape(place, [many]), outside: reshape(isOutside, [many]) };
}

const GatherND: Operator = (call) => {
  const [x, index] = [call.input(0), call.input(1)];
  const batchDims = call.int("batch_dims", 0);
  const K = index.shape[index.rank - 1];
  if (index.rank === 0 || batchDims < 0 || batchDims >= index.rank || batchDims + K > x.rank)
    throw call.mismatch(`indices [${index.shape.join()}] into [${x.shape.join()}] with batch_dims ${batchDims}`);
  if (index.shape.slice(0, batchDims).some((d, i) => d !== x.shape[i]))
    throw call.mismatch(`the first ${batchDims} dimensions of [${x.shape.join()}] and [${index.shape.join()}] differ`);
  const rest = x.shape.slice(batchDims + K);
  const shape = checkShape([...index.shape.slice(0, -1), ...rest]);
  if (sizeOf(shape) === 0) return filled(call, x.type, 0, shape);
  const batch = sizeOf(x.shape.slice(0, batchDims));
  const { tensor, outside } = rowPlaces(call, index, batch, x.shape.slice(batchDims, batchDims + K));
  const rows = reshape(x.tensor, [x.size / sizeOf(rest), sizeOf(rest)]);
  return Value.of(x.type, reshape(shown(gather(rows, tensor), outside), shape));
};

/** What is done with an element and an update for it. */
interface Combination {
  readonly fn: (a: Tensor, b: Tensor) => Tensor;
  /** Of many updates. */
  readonly all: (x: Tensor, options: { axis: number }) => Tensor;
  /** Leaves the other as it is: for f32, and for i32. */
  readonly neutral: readonly [number, number];
}

const COMBINATIONS: { readonly [name: string]: Combination } = {
  add: { fn: (a, b) => add(a, b), all: lockstep.sum, neutral: [0, 0] },
  mul: { fn: (a, b) => mul(a, b), all: lockstep.prod, neutral: [1, 1] },
  max: { fn: (a, b) => lockstep.maximum(a, b), all: lockstep.max, neutral: [-Infinity, -(2 ** 31)] },
  min: { fn: (a, b) => lockstep.minimum(a, b), all: lockstep.min, neutral: [Infinity, 2 ** 31 - 1] },
};

/** Updates in rounds of which none has a place twice: for each where it goes, and which it is. Null for many. */
function rounds(places: Int32Array): { to: number[]; of: number[] }[] | null {
  const seen = new Map<number, number>();
  const list: { to: number[]; of: number[] }[] = [];
  for (let i = 0; i < places.length; i++) {
    const round = seen.get(places[i]) ?? 0;
    if (round === 32) return null;
    seen.set(places[i], round + 1);
    const into = (list[round] ??= { to: [], of: [] });
    into.to.push(places[i]);
    into.of.push(i);
  }
  return list;
}

/** More comparisons are made update by update. */
const MOST_COMPARED = 2 ** 26;

/** Rows of x[rows, inner] combined with updates[count, inner] at their places, where several may be for one. */
function combined(x: Tensor, { tensor, known }: Places, updates: Tensor, { fn, all, neutral }: Combination): Tensor {
  const [[rows, inner], count] = [x.shape, updates.shape[0]];
  const list = known === null ? null : rounds(known);
  const index = (numbers: readonly number[]): Tensor => lockstep.tensor(Int32Array.from(numbers), [numbers.length], "i32");
  if (list !== null)
    return list.reduce((y, { to, of }) => {
      const own = of.length === count ? updates : gather(updates, index(of));
      return lockstep.ops.scatterUpdate(y, index(to), fn(gather(y, index(to)), own));
    }, x);
  if (fn === COMBINATIONS.add.fn && x.dtype === "f32") return add(x, lockstep.scatterAdd(updates, tensor, rows, 0));
  if (rows * count * inner <= MOST_COMPARED) {
    const isFor = equal(reshape(tensor, [1, count, 1]), iota([rows, 1, 1], { axis: 0 }));
    return fn(x, all(where(isFor, expandDims(updates, 0), neutral[x.dtype === "f32" ? 0 : 1]), { axis: 1 }));
  }
  const [y] = lockstep.scan(
    (now: Tensor, step: { at: Tensor; update: Tensor }) => {
      const at = reshape(step.at, [1]);
      return [lockstep.ops.scatterUpdate(now, at, fn(gather(now, at), expandDims(step.update, 0))), null] as const;
    },
    x,
    { at: tensor, update: updates },
  );
  return y;
}

/** `updates` put into rows of `x`, by one of the reductions. */
function scattered(call: Call, x: Value, inner: number, places: Places, updates: Value): Value {
  const reduction = call.word("reduction", ["none", "add", "mul", "max", "min"]);
  if (updates.type !== x.type) throw call.fault(`updates are of the type of the data, got ${x.type} and ${updates.type}`);
  if (places.tensor.size * inner !== updates.size)
    throw call.mismatch(`${places.tensor.size} indices of ${inner} elements need as many updates, got [${updates.shape.join()}]`);
  if (updates.size === 0 || x.size === 0) return x;
  const rows = (t: Tensor): Tensor => reshape(t, [t.size / inner, inner]);
  const given = shown(rows(updates.tensor), places.outside);
  const made = (t: Tensor, type: ElementType = x.type): Value => Value.of(type, reshape(t, x.shape));
  if (reduction === "none") return made(lockstep.ops.scatterUpdate(rows(x.tensor), places.tensor, given));
  const how = COMBINATIONS[reduction];
  const dtype = dtypeOf(call.who, x.type);
  if (dtype === "f32" || dtype === "i32") return made(wrapped(x.type, combined(rows(x.tensor), places, given, how)));
  // Sums and products of u32 are those of i32 by their bits; extremes are of numbers in the same order; bools are 0 and 1.
  const isOrder = reduction === "max" || reduction === "min";
  const [to, back] =
    dtype === "u32" && isOrder
      ? [ordered, (t: Tensor) => unordered(t, "u32")]
      : [(t: Tensor) => cast(t, "i32"), (t: Tensor) => cast(t, dtype)];
  return made(back(combined(rows(to(x.tensor)), places, rows(to(updates.tensor)), how)));
}

const ScatterElements: Operator = (call) => {
  const [x, index, updates] = [call.input(0), call.input(1), call.input(2)];
  const axis = call.axis(call.int("axis", 0), x.rank);
  if (index.shape.join() !== updates.shape.join())
    throw call.mismatch(`indices [${index.shape.join()}] and updates [${updates.shape.join()}] are of one shape`);
  if (index.size === 0) return x;
  return scattered(call, x, 1, elementPlaces(call, index, x.shape, axis), updates);
};

const ScatterND: Operator = (call) => {
  const [x, index, updates] = [call.input(0), call.input(1), call.input(2)];
  const K = index.shape[index.rank - 1];
  if (index.rank === 0 || K > x.rank) throw call.mismatch(`indices [${index.shape.join()}] into [${x.shape.join()}]`);
  const wanted = [...index.shape.slice(0, -1), ...x.shape.slice(K)];
  if (wanted.join() !== updates.shape.join())
    throw call.mismatch(`updates are [${wanted.join()}] for indices [${index.shape.join()}], got [${updates.shape.join()}]`);
  if (updates.size === 0) return x;
  return scattered(call, x, sizeOf(x.shape.slice(K)), rowPlaces(call, index, 1, x.shape.slice(0, K)), updates);
};

/** 1 at an index along a new axis; negative ones count from the end. */
const OneHot: Operator = (call) => {
  const [index, values] = [call.input(0), call.input(2)];
  const depth = Math.trunc(call.number(1) as number);
  if (values.size !== 2) throw call.mismatch(`values are [off, on], got [${values.shape.join()}]`);
  const axis = call.axis(call.int("axis", -1), index.rank + 1);
  const shape = checkShape([...index.shape.slice(0, axis), depth, ...index.shape.slice(axis)]);
  if (sizeOf(shape) === 0) return filled(call, values.type, 0, shape);
  const i = cast(index.tensor, "i32");
  const at = expandDims(where(less(i, 0), add(i, depth), i), axis);
  const isOn = equal(at, iota([depth, ...index.shape.slice(axis).map(() => 1)], { axis: 0 }));
  const [off, on] = [0, 1].map((place) => reshape(lockstep.slice(reshape(values.tensor, [2]), [place], [1]), []));
  return Value.of(values.type, where(isOn, on, off));
};

export const INDEXING: Operators = {
  Gather,
  GatherElements,
  GatherND,
  Scatter: ScatterElements,
  ScatterElements,
  ScatterND,
  OneHot,
};

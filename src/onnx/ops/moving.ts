/** @file Operators that put elements elsewhere: Split, Pad, Tile, Trilu, ReverseSequence, CenterCropPad. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { axesOf, sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { forEach, stridesOf } from "../known.ts";
import { Value, checkShape, toLast } from "../value.ts";
import { filled } from "./reductions.ts";
import { isSmall, picked, strided } from "./shapes.ts";

/** Sizes of equal parts, of which the last may be smaller from opset 18 on. */
function equalParts(call: Call, size: number, count: number): number[] {
  if (count < 1 || (call.opset < 18 && size % count !== 0)) throw call.mismatch(`${size} elements are not split into ${count} equal parts`);
  const part = Math.ceil(size / count);
  const sizes = Array.from({ length: count }, (_, i) => Math.min(part, size - i * part));
  if (sizes.some((n) => n < 0)) throw call.mismatch(`${size} elements are not split into ${count} parts`);
  return sizes;
}

/** Blocks one after another along an axis. */
export function parts(call: Call, x: Value, axis: number, sizes: readonly number[]): Value[] {
  const total = sizes.reduce((n, d) => n + d, 0);
  if (total !== x.shape[axis] || sizes.some((n) => !Number.isInteger(n) || n < 0))
    throw call.mismatch(`parts of ${sizes.join()} do not make up ${x.shape[axis]} along axis ${axis}`);
  let at = 0;
  return sizes.map((size) => {
    const begin = x.shape.map((_, i) => (i === axis ? at : 0));
    at += size;
    return strided(
      call,
      x,
      begin,
      x.shape.map((d, i) => (i === axis ? size : d)),
      x.shape.map(() => 1),
    );
  });
}

const Split: Operator = (call) => {
  const x = call.input(0);
  const axis = call.axis(call.int("axis", 0), x.rank);
  const count = call.int("num_outputs", call.outputs.length);
  if (count !== call.outputs.length) throw call.fault(`num_outputs is ${count}, and it has ${call.outputs.length} outputs`);
  return parts(call, x, axis, call.numbers(1) ?? call.ints("split") ?? equalParts(call, x.shape[axis], count));
};

/** Elements at places along one axis, in the order that the tensor lies in. */
function taken(x: Value, axis: number, index: Tensor): Value {
  if (x.isChannelsLast) return Value.channelsLast(x.type, lockstep.gather(x.last, index, toLast(x.rank).indexOf(axis)));
  return Value.of(x.type, lockstep.gather(x.tensor, index, axis));
}

/** Which element stands at a place, i32, before the first or behind the last of n. */
const PLACES: { readonly [mode: string]: (i: Tensor, n: number) => Tensor } = {
  edge: (i, n) => lockstep.clip(i, 0, n - 1),
  wrap: (i, n) => lockstep.mod(i, n),
  reflect: (i, n) => {
    const period = Math.max(1, 2 * (n - 1));
    const at = lockstep.mod(i, period);
    return lockstep.minimum(at, lockstep.sub(period, at));
  },
};

/** `x` with [before, after] elements around each dimension; fewer where they are negative. */
export function padded(call: Call, x: Value, pads: readonly (readonly [number, number])[], mode: string, value: Value | null): Value {
  const none = x.shape.map(() => 0);
  const cropped = strided(
    call,
    x,
    pads.map(([before]) => Math.max(0, -before)),
    checkShape(x.shape.map((d, i) => d + Math.min(0, pads[i][0]) + Math.min(0, pads[i][1]))),
    none.map(() => 1),
  );
  const more = pads.map(([before, after]): [number, number] => [Math.max(0, before), Math.max(0, after)]);
  const shape = checkShape(cropped.shape.map((d, i) => d + more[i][0] + more[i][1]));
  if (more.every(([before, after]) => before + after === 0)) return cropped;
  if (mode !== "constant") {
    return more.reduce((t, [before, after], axis) => {
      if (before + after === 0) return t;
      const n = t.shape[axis];
      if (n === 0) throw call.mismatch(`axis ${axis} of [${x.shape.join()}] is empty: there is nothing to repeat`);
      return taken(t, axis, PLACES[mode](lockstep.sub(lockstep.iota([n + before + after]), before), n));
    }, cropped);
  }
  const number = value === null ? 0 : value.known !== null ? (value.elements[0] as number) : null;
  if (sizeOf(shape) <= 4096 && isSmall(cropped) && number !== null && x.type !== "string") return paddedKnown(cropped, more, shape, number);
  if (cropped.size === 0 && number !== null) return filled(call, x.type, number, shape);
  const lies = <T>(list: readonly T[]): T[] => (cropped.isChannelsLast ? toLast(x.rank) : none.map((_, i) => i)).map((d) => list[d]);
  const t = cropped.isChannelsLast ? cropped.last : cropped.tensor;
  const made = (y: Tensor): Value => (cropped.isChannelsLast ? Value.channelsLast(x.type, y) : Value.of(x.type, y));
  if (number !== null) return made(lockstep.pad(t, lies(more), x.type === "bool" ? Number(number !== 0) : number));
  // A value that only a run can tell stands where a padded mask has nothing.
  const isOwn = lockstep.pad(lockstep.broadcastTo(lockstep.tensor([true], [], "bool"), t.shape), lies(more), 0);
  return made(lockstep.where(isOwn, lockstep.pad(t, lies(more)), lockstep.reshape((value as Value).tensor, [])));
}

function paddedKnown(x: Value, pads: readonly (readonly [number, number])[], shape: readonly number[], value: number): Value {
  const out = new Array<number>(sizeOf(shape)).fill(value);
  const strides = stridesOf(shape);
  const first = pads.reduce((n, [before], i) => n + before * strides[i], 0);
  const { elements } = x;
  forEach(x.shape, [strides.map((s, i) => (x.shape[i] === 1 ? 0 : s))], (at, [to]) => (out[first + to] = elements[at]));
  return Value.numbers(x.type, out, shape);
}

const Pad: Operator = (call) => {
  const x = call.input(0);
  const given = call.numbers(1) ?? call.ints("pads") ?? call.ints("paddings");
  if (given === null) throw call.fault("pads are not given");
  const axes = call.axes(call.numbers(3) ?? x.shape.map((_, i) => i), x.rank);
  if (given.length !== 2 * axes.length) throw call.mismatch(`${axes.length} axes need ${2 * axes.length} pads, got ${given.length}`);
  const value = call.optional(2);
  if (value !== null && value.size !== 1) throw call.mismatch(`the value must have one element, got [${value.shape.join()}]`);
  const old = call.float("value");
  const pads = x.shape.map((): [number, number] => [0, 0]);
  axes.forEach((axis, i) => (pads[axis] = [given[i], given[i + axes.length]]));
  const mode = call.word("mode", ["constant", "edge", "reflect", "wrap"]);
  return padded(call, x, pads, mode, value ?? (old === null ? null : Value.numbers(x.type, [old], [])));
};

const Tile: Operator = (call) => {
  const x = call.input(0);
  // Opset 1 has a number of copies, and an axis.
  const isOld = call.opset < 6;
  const axis = isOld ? call.axis(call.number(2) ?? 0, x.rank) : 0;
  const repeats = isOld ? x.shape.map((_, i) => (i === axis ? (call.number(1) ?? 1) : 1)) : (call.numbers(1) ?? []);
  if (repeats.length !== x.rank || repeats.some((n) => !Number.isInteger(n) || n < 0))
    throw call.mismatch(`repeats [${repeats.join()}] for [${x.shape.join()}]`);
  const shape = checkShape(x.shape.map((d, i) => d * repeats[i]));
  if (repeats.every((n) => n === 1)) return x;
  if (isSmall(x) && sizeOf(shape) <= 4096) {
    const split = x.shape.flatMap((d) => [1, d]);
    const spread = x.shape.flatMap((d, i) => [repeats[i], d]);
    return Value.known({ ...picked(x, spread, stridesOf(split, spread)).constant, shape });
  }
  if (sizeOf(shape) === 0) return filled(call, x.type, 0, shape);
  // Along one axis after another a row of copies, so that no tensor has more than three dimensions.
  const t = repeats.reduce((y, n, i) => {
    if (n === 1) return y;
    const outer = sizeOf(shape.slice(0, i));
    const inner = y.size / outer;
    return lockstep.reshape(lockstep.broadcastTo(lockstep.reshape(y, [outer, 1, inner]), [outer, n, inner]), [outer * n * inner]);
  }, x.tensor);
  return Value.of(x.type, lockstep.reshape(t, shape));
};

/** The triangle of each matrix that lies at or above (or below) a diagonal. */
const Trilu: Operator = (call) => {
  const x = call.input(0);
  const k = call.number(1) ?? 0;
  if (x.rank < 2) throw call.mismatch(`matrices are [..., rows, columns], got [${x.shape.join()}]`);
  if (x.size === 0) return x;
  const [rows, columns] = x.shape.slice(-2);
  const [isUpper, offset] = [call.flag("upper", true), Math.min(columns, Math.max(-rows, k))];
  if (isSmall(x)) {
    const isKept = (i: number): boolean => {
      const over = (i % columns) - (Math.floor(i / columns) % rows);
      return isUpper ? over >= offset : over <= offset;
    };
    return Value.numbers(
      x.type,
      Array.from(x.elements, (v, i) => (isKept(i) ? v : 0)),
      x.shape,
    );
  }
  const over = lockstep.sub(lockstep.iota([1, columns]), lockstep.iota([rows, 1], { axis: 0 }));
  const isKept = isUpper ? lockstep.greaterEqual(over, offset) : lockstep.lessEqual(over, offset);
  return Value.of(x.type, x.type === "bool" ? lockstep.and(isKept, x.tensor) : lockstep.where(isKept, x.tensor, 0));
};

/** The first elements of each sequence backwards, as many as it has; what is behind stays. */
const ReverseSequence: Operator = (call) => {
  const [x, lengths] = [call.input(0), call.input(1)];
  const [batchAxis, timeAxis] = [call.int("batch_axis", 1), call.int("time_axis", 0)].map((axis) => call.axis(axis, x.rank));
  if (batchAxis + timeAxis !== 1) throw call.fault(`batch_axis and time_axis are 0 and 1, got ${batchAxis} and ${timeAxis}`);
  const [batch, time] = [x.shape[batchAxis], x.shape[timeAxis]];
  if (lengths.size !== batch) throw call.mismatch(`${batch} sequences need as many lengths, got [${lengths.shape.join()}]`);
  if (x.size === 0) return x;
  const along = (axis: number): Tensor => lockstep.iota(x.shape.slice(0, 2), { axis });
  const own = lockstep.reshape(lengths.tensor, batchAxis === 0 ? [batch, 1] : [1, batch]);
  const at = along(timeAxis);
  const from = lockstep.where(lockstep.less(at, own), lockstep.sub(lockstep.sub(own, 1), at), at);
  const step = timeAxis === 0 ? batch : 1;
  const index = lockstep.add(lockstep.mul(from, step), lockstep.mul(along(batchAxis), batchAxis === 0 ? time : 1));
  const rest = x.shape.slice(2);
  const flat = lockstep.reshape(x.tensor, [batch * time, ...rest]);
  return Value.of(x.type, lockstep.reshape(lockstep.gather(flat, lockstep.reshape(index, [batch * time])), x.shape));
};

/** Cropped, or padded with zeros, to a size around the middle. */
const CenterCropPad: Operator = (call) => {
  const x = call.input(0);
  const size = call.numbers(1) ?? [];
  const axes = call.axes(axesOf(call, 2) ?? x.shape.map((_, i) => i), x.rank);
  if (size.length !== axes.length) throw call.mismatch(`${axes.length} axes need as many sizes, got ${size.length}`);
  const pads = x.shape.map((d, i): [number, number] => {
    const at = axes.indexOf(i);
    const more = at < 0 ? 0 : size[at] - d;
    // Half in front: of a crop and of padding alike rounded down.
    return more < 0 ? [-Math.floor(-more / 2), more + Math.floor(-more / 2)] : [Math.floor(more / 2), more - Math.floor(more / 2)];
  });
  return padded(call, x, pads, "constant", null);
};

export const MOVING: Operators = { Split, Pad, Tile, Trilu, ReverseSequence, CenterCropPad };
/** Of the domain com.microsoft. */
export const MOVING_MICROSOFT: Operators = { Trilu };

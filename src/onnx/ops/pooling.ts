/** @file Pooling: the largest element, the mean or a norm of windows, or of whole images. It runs channels-last, as convolutions do. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { INTEGERS, dtypeOf, isFloat } from "../types.ts";
import { Value } from "../value.ts";
import { insideOf, padsOf, perDimension, reachOf, windowsOf } from "../windows.ts";
import type { Along } from "../windows.ts";

const { reshape } = lockstep;

/** The windows of a call of pooling. */
function poolingOf(call: Call, x: Value): readonly Along[] {
  if (x.rank < 3) throw call.mismatch(`expected [batch, channels, ...], got [${x.shape.join()}]`);
  const taps = call.ints("kernel_shape");
  if (taps === null) throw call.fault("kernel_shape is missing");
  return windowsOf(call, x.shape.slice(2), taps, call.flag("ceil_mode"));
}

/** `fn` for each tap along dimension `axis` of x[..., size, ...], from the first to the last; what is outside is `outside`. */
function eachTap(x: Tensor, axis: number, along: Along, outside: number): Tensor[] {
  const padding = x.shape.map((_, i): [number, number] => (i === axis ? [along.begin, reachOf(along)] : [0, 0]));
  const padded = lockstep.pad(x, padding, outside);
  const shape = x.shape.map((d, i) => (i === axis ? along.count : d));
  const step = x.shape.map((_, i) => (i === axis ? along.stride : 1));
  return Array.from({ length: along.taps }, (_, t) =>
    lockstep.slice(
      padded,
      x.shape.map((_d, i) => (i === axis ? t * along.dilation : 0)),
      shape,
      step,
    ),
  );
}

type Pool = (x: Tensor, size: [number, number], options: lockstep.ops.PoolOptions) => Tensor;

/** A reduction that can be taken along one dimension after another, of x channels-last. `slow` is for windows with holes. */
function separately(x: Tensor, windows: readonly Along[], pool: Pool, slow: (x: Tensor, axis: number, along: Along) => Tensor): Tensor {
  const plain = (along: Along): boolean => along.dilation === 1 || along.taps === 1;
  const isIdle = ({ taps, stride, begin, end, count, size }: Along): boolean => taps * stride === 1 && begin + end === 0 && count === size;
  let y = x;
  for (let i = 0; i < windows.length; i++) {
    const [rows, columns] = [windows[i], windows[i + 1] as Along | undefined];
    if (isIdle(rows)) continue;
    const [before, behind] = [y.shape.slice(0, i + 1), y.shape.slice(i + 2)];
    if (!plain(rows)) y = slow(y, i + 1, rows);
    else if (columns !== undefined && plain(columns)) {
      // Two at a time where they are neighbours.
      const image = reshape(y, [sizeOf(before), rows.size, columns.size, sizeOf(behind.slice(1))]);
      const padding = [rows, columns].map((a): [number, number] => [a.begin, reachOf(a)]);
      const pooled = pool(image, [rows.taps, columns.taps], {
        strides: [rows.stride, columns.stride],
        padding: padding as [[number, number], [number, number]],
      });
      y = reshape(pooled, [...before, rows.count, columns.count, ...behind.slice(1)]);
      i++;
    } else {
      const image = reshape(y, [sizeOf(before), rows.size, 1, sizeOf(behind)]);
      const padding: [[number, number], [number, number]] = [
        [rows.begin, reachOf(rows)],
        [0, 0],
      ];
      y = reshape(pool(image, [rows.taps, 1], { strides: [rows.stride, 1], padding }), [...before, rows.count, ...behind]);
    }
  }
  return y;
}

const largest = (x: Tensor, windows: readonly Along[]): Tensor =>
  separately(x, windows, lockstep.ops.maxPool2d, (y, axis, along) =>
    eachTap(y, axis, along, -Infinity).reduce((a, b) => lockstep.maximum(a, b)),
  );

/** Factors of each window, one list for each dimension, for x channels-last. */
function times(x: Tensor, factors: readonly (readonly number[])[]): Tensor {
  return factors.reduce((y, list, i) => {
    if (list.every((v) => v === 1)) return y;
    const shape = y.shape.map((d, axis) => (axis === i + 1 ? d : 1));
    return lockstep.mul(y, lockstep.tensor(Float32Array.from(list), shape));
  }, x);
}

/** Means of what is inside the windows. */
const means = (x: Tensor, windows: readonly Along[]): Tensor =>
  separately(x, windows, lockstep.ops.avgPool2d, (y, axis, along) => {
    const sum = eachTap(y, axis, along, 0).reduce((a, b) => lockstep.add(a, b));
    const list = insideOf(along).map((n) => 1 / Math.max(1, n));
    return lockstep.mul(
      sum,
      lockstep.tensor(
        Float32Array.from(list),
        sum.shape.map((d, i) => (i === axis ? d : 1)),
      ),
    );
  });

/** Sums of the windows. */
const sums = (x: Tensor, windows: readonly Along[]): Tensor =>
  times(
    means(x, windows),
    windows.map((along) => insideOf(along)),
  );

/** The result's shape, channels-last. */
const shapeOf = (x: Value, windows: readonly Along[]): number[] => [x.shape[0], ...windows.map(({ count }) => count), x.shape[1]];

/**
 * Places of the largest elements: of each window the first, counted in x[N, C, ...] as `strides` say. Taps are compared one after another.
 */
function placesOf(x: Tensor, windows: readonly Along[], strides: readonly number[]): Tensor {
  const n = windows.length;
  let best: Tensor | null = null;
  let place: Tensor | null = null;
  const starts = windows.map(({ count }) => count);
  const at = (axis: number, from: number, step: number, size: number): Tensor =>
    lockstep.tensor(
      Int32Array.from({ length: size }, (_, i) => (from + i * step) * strides[axis]),
      [...new Array<number>(axis).fill(1), size, ...new Array<number>(n + 1 - axis).fill(1)],
      "i32",
    );
  const visit = (y: Tensor, axis: number, places: readonly Tensor[]): void => {
    if (axis < n + 2 && axis >= 2) {
      const along = windows[axis - 2];
      eachTap(y, axis, along, -Infinity).forEach((t, tap) =>
        visit(t, axis + 1, [...places, at(axis, tap * along.dilation - along.begin, along.stride, starts[axis - 2])]),
      );
      return;
    }
    const sum = places.reduce((a, b) => lockstep.add(a, b));
    if (best === null || place === null) [best, place] = [y, lockstep.broadcastTo(sum, y.shape)];
    else {
      const isMore = lockstep.greater(y, best);
      place = lockstep.where(isMore, sum, place);
      best = lockstep.where(isMore, y, best);
    }
  };
  visit(x, 2, [at(0, 0, 1, x.shape[0]), at(1, 0, 1, x.shape[1])]);
  return place as unknown as Tensor;
}

const MaxPool: Operator = (call) => {
  const x = call.input(0);
  const windows = poolingOf(call, x);
  const isColumnMajor = call.flag("storage_order");
  const isInteger = !isFloat(x.type);
  const shape = shapeOf(x, windows);
  if (sizeOf(shape) === 0) return [Value.channelsLast(x.type, lockstep.zeros(shape, dtypeOf(call.who, x.type)))];
  const float = (t: Tensor): Tensor => (isInteger ? lockstep.cast(t, "f32") : t);
  if (isInteger && (INTEGERS[x.type]?.bits ?? 32) > 16) throw call.fault(`${x.type} is not pooled here`);
  // A window that sees nothing: what is outside counts as -infinity.
  const isBlind = windows.some((along) => insideOf(along).includes(0));
  let y: Tensor;
  if (isBlind)
    y = windows.reduce((t, along, i) => eachTap(t, i + 1, along, -Infinity).reduce((a, b) => lockstep.maximum(a, b)), float(x.last));
  else y = largest(float(x.last), windows);
  if (isInteger) y = lockstep.cast(y, dtypeOf(call.who, x.type));
  const result = Value.channelsLast(x.type, y);
  if (!call.wants(1)) return [result];
  // Of the whole tensor, rows before columns, or the other way round.
  const strides = new Array<number>(x.rank).fill(1);
  if (isColumnMajor) {
    for (let i = 3; i < x.rank; i++) strides[i] = strides[i - 1] * x.shape[i - 1];
    strides[1] = sizeOf(x.shape.slice(2));
  } else for (let i = x.rank - 2; i >= 1; i--) strides[i] = strides[i + 1] * x.shape[i + 1];
  strides[0] = strides[1] * x.shape[1];
  return [result, Value.of("int64", placesOf(float(x.tensor), windows, strides))];
};

const AveragePool: Operator = (call) => {
  const x = call.input(0);
  const windows = poolingOf(call, x);
  const shape = shapeOf(x, windows);
  if (sizeOf(shape) === 0) return Value.channelsLast(x.type, lockstep.zeros(shape));
  let y = means(x.last, windows);
  // Padding counts as zeros; what windows of ceil_mode see behind it does not.
  if (call.flag("count_include_pad"))
    y = times(
      y,
      windows.map((along) => {
        const all = insideOf(along, along.begin, along.end);
        return insideOf(along).map((n, i) => n / Math.max(1, all[i]));
      }),
    );
  return Value.channelsLast(x.type, y);
};

/** (sum of |x|^p)^(1/p) by a sum of powers. */
function norm(call: Call, x: Tensor, sum: (powers: Tensor) => Tensor): Tensor {
  const p = call.int("p") ?? call.float("p", 2);
  if (!(p > 0)) throw call.fault(`p must be above 0, got ${p}`);
  if (p === 1) return sum(lockstep.abs(x));
  if (p === 2) return lockstep.sqrt(sum(lockstep.square(x)));
  return lockstep.pow(sum(lockstep.pow(lockstep.abs(x), p)), 1 / p);
}

const LpPool: Operator = (call) => {
  const x = call.input(0);
  const windows = poolingOf(call, x);
  const shape = shapeOf(x, windows);
  if (sizeOf(shape) === 0) return Value.channelsLast(x.type, lockstep.zeros(shape));
  return Value.channelsLast(
    x.type,
    norm(call, x.last, (t) => sums(t, windows)),
  );
};

/** Over the whole image: [batch, channels, 1, ...]. */
const whole =
  (fn: (call: Call, x: Tensor, axes: readonly number[]) => Tensor): Operator =>
  (call) => {
    const x = call.input(0);
    if (x.rank < 3) throw call.mismatch(`expected [batch, channels, ...], got [${x.shape.join()}]`);
    const [first, last] = [x.shape.slice(2).map((_, i) => i + 2), x.shape.slice(2).map((_, i) => i + 1)];
    return x.isChannelsLast ? Value.channelsLast(x.type, fn(call, x.last, last)) : Value.of(x.type, fn(call, x.tensor, first));
  };

/** Elements put where indices say, in zeros. */
const MaxUnpool: Operator = (call) => {
  const [x, index] = [call.input(0), call.input(1)];
  const n = x.rank - 2;
  const taps = perDimension(call, "kernel_shape", n, 1, 1);
  const strides = perDimension(call, "strides", n, 1, 1);
  const pads = padsOf(call, n);
  const inferred = [...x.shape.slice(0, 2), ...taps.map((t, i) => (x.shape[i + 2] - 1) * strides[i] - pads[i][0] - pads[i][1] + t)];
  const wanted = call.numbers(2) ?? inferred;
  if (wanted.length !== x.rank || wanted.some((d, i) => d < inferred[i]))
    throw call.mismatch(`what is unpooled is [${inferred.join()}], which [${wanted.join()}] does not hold`);
  const places = lockstep.cast(reshape(index.tensor, [x.size]), "i32");
  const zeros = lockstep.zeros([sizeOf(inferred)]);
  const y = reshape(lockstep.ops.scatterUpdate(zeros, places, reshape(x.tensor, [x.size])), inferred);
  return Value.of(
    x.type,
    lockstep.pad(
      y,
      wanted.map((d, i): [number, number] => [0, d - inferred[i]]),
    ),
  );
};

const keep = (axis: readonly number[]): lockstep.ops.ReduceOptions => ({ axis, keepDims: true });

/** An operator of pictures, of such as lie channels-last in the file. */
export const onLast =
  (operator: Operator): Operator =>
  (call) => {
    const x = call.input(0);
    const [y] = [operator(call.withInputs([Value.channelsLast(x.type, x.tensor)]))].flat() as Value[];
    return Value.of(y.type, y.last);
  };

export const POOLING: Operators = {
  MaxPool,
  AveragePool,
  LpPool,
  GlobalAveragePool: whole((_call, x, axes) => lockstep.mean(x, keep(axes))),
  GlobalMaxPool: whole((_call, x, axes) => lockstep.max(x, keep(axes))),
  GlobalLpPool: whole((call, x, axes) => norm(call, x, (t) => lockstep.sum(t, keep(axes)))),
  MaxUnpool,
};
/** Of the domain com.microsoft. */
export const POOLING_MICROSOFT: Operators = { NhwcMaxPool: onLast(MaxPool) };

/** @file What orders elements, and what goes on along an axis: TopK, CumSum, CumProd. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { isFloat } from "../types.ts";
import { Value } from "../value.ts";
import { wrapped } from "./arithmetic.ts";
import { ordered } from "./reductions.ts";

const {
  add,
  and,
  argMax,
  argMin,
  broadcastTo,
  cast,
  equal,
  expandDims,
  gather,
  greater,
  iota,
  less,
  mul,
  or,
  reshape,
  sum,
  transpose,
  where,
} = lockstep;

/** `axis` last, and back. */
function lastly(x: Tensor, axis: number): { readonly t: Tensor; readonly back: (y: Tensor) => Tensor } {
  if (axis === x.rank - 1) return { t: x, back: (y) => y };
  const order = x.shape.map((_, i) => (i === axis ? x.rank - 1 : i === x.rank - 1 ? axis : i));
  return { t: transpose(x, order), back: (y) => transpose(y, order) };
}

/** Places of the k largest of each row of x[rows, n], in order: each element's rank is how many come before it. n^2 comparisons. */
function byRank(x: Tensor, k: number): Tensor {
  const [rows, n] = x.shape;
  const [own, other] = [expandDims(x, 2), expandDims(x, 1)];
  const isEarlier = less(iota([1, 1, n]), iota([1, n, 1], { axis: 1 }));
  const ranks = sum(cast(or(greater(other, own), and(equal(other, own), isEarlier)), "i32"), { axis: 2 });
  const isAt = equal(reshape(ranks, [rows, 1, n]), iota([1, k, 1], { axis: 1 }));
  return sum(where(isAt, iota([1, 1, n]), 0), { axis: 2 });
}

/** The same by k passes, each of which finds the largest of those that are left. */
function byPasses(x: Tensor, k: number): Tensor {
  const [rows, n] = x.shape;
  const least = x.dtype === "f32" ? -Infinity : -(2 ** 31);
  const places = iota([1, n]);
  const [, found] = lockstep.scan(
    (taken: Tensor) => {
      const left = where(taken, least, x);
      const largest = expandDims(argMax(left, 1), 1);
      // Where the least is left alone, the first that is not taken.
      const isLeast = equal(lockstep.max(left, { axis: 1, keepDims: true }), least);
      const at = where(isLeast, expandDims(argMin(cast(taken, "i32"), 1), 1), largest);
      return [or(taken, equal(places, at)), reshape(at, [rows])] as const;
    },
    lockstep.greater(broadcastTo(lockstep.tensor([0], [], "i32"), [rows, n]), 0),
    null,
    { length: k },
  );
  return transpose(found as Tensor, [1, 0]);
}

/**
 * The same by Batcher's bitonic network (1968), for rows of a power of two: in each of log2(n) (log2(n) + 1) / 2 steps elements and their
 * partners, `half` away, are put in order, in one direction or the other.
 */
function byNetwork(x: Tensor, k: number): Tensor {
  const [rows, n] = x.shape;
  const size = 2 ** Math.ceil(Math.log2(n));
  const least = x.dtype === "f32" ? -Infinity : -(2 ** 31);
  let key = lockstep.pad(
    x,
    [
      [0, 0],
      [0, size - n],
    ],
    least,
  );
  let place = broadcastTo(iota([1, size]), [rows, size]);
  for (let run = 2; run <= size; run *= 2) {
    for (let half = run / 2; half >= 1; half /= 2) {
      const shape = [rows, size / (2 * half), 2, half];
      const [own, at] = [reshape(key, shape), reshape(place, shape)];
      const [other, otherAt] = [lockstep.flip(own, 2), lockstep.flip(at, 2)];
      const isFirst = equal(iota([1, 1, 2, 1], { axis: 2 }), 0);
      const isFalling = equal(and(iota([1, shape[1], 1, 1], { axis: 1 }), run / (2 * half)), 0);
      const isBefore = or(greater(own, other), and(equal(own, other), less(at, otherAt)));
      const stays = equal(equal(isFirst, isFalling), isBefore);
      key = where(stays, own, other);
      place = where(stays, at, otherAt);
    }
  }
  return lockstep.slice(reshape(place, [rows, size]), [0, 0], [rows, k]);
}

/** Rows of so many elements are sorted by comparing all. */
const MOST_COMPARED = 64;

/** The cheapest way: a pass over all costs about four reads of the row, a step of the network three. */
function placesOf(x: Tensor, k: number): Tensor {
  const [, n] = x.shape;
  if (n <= MOST_COMPARED) return byRank(x, k);
  const steps = Math.ceil(Math.log2(n));
  return k * 4 < 1.5 * steps * (steps + 1) ? byPasses(x, k) : byNetwork(x, k);
}

/** Elements that rows of x[rows, n] have at i32 places [rows, k]. */
function atPlaces(x: Tensor, places: Tensor): Tensor {
  const [rows, n] = x.shape;
  return gather(reshape(x, [rows * n]), add(places, mul(iota([rows, 1], { axis: 0 }), n)));
}

const TopK: Operator = (call) => {
  const x = call.input(0);
  const k = call.number(1) ?? call.int("k");
  if (k === null) throw call.fault("k is not given");
  if (x.type === "string" || x.type === "bool") throw call.fault(`${x.type} is not ordered`);
  const axis = call.axis(call.int("axis", -1), x.rank);
  const size = x.shape[axis];
  if (!(k >= 0 && k <= size)) throw call.mismatch(`k = ${k} of ${size} along axis ${axis}`);
  const isLargest = call.flag("largest", true);
  const shape = x.shape.map((d, i) => (i === axis ? k : d));
  if (sizeOf(shape) === 0) return [Value.numbers(x.type, [], shape), Value.numbers("int64", [], shape)];
  const { t, back } = lastly(x.tensor, axis);
  const flat = reshape(t, [t.size / size, size]);
  // Integers by their complement, which orders them the other way without overflow; NaN is the largest.
  const up = isFloat(x.type) ? where(equal(flat, flat), flat, Infinity) : ordered(flat);
  const key = isLargest ? up : isFloat(x.type) ? lockstep.neg(up) : lockstep.not(up);
  const places = placesOf(key, k);
  const out = [...t.shape.slice(0, -1), k];
  return [Value.of(x.type, back(reshape(atPlaces(flat, places), out))), Value.of("int64", back(reshape(places, out)))];
};

/** Longer rows are cut into such blocks. */
const BLOCK = 64;

/** Each element with all before it along the last axis, by doubling how many are taken together; of blocks, and of their totals. */
function cumulated(x: Tensor, fn: (a: Tensor, b: Tensor) => Tensor, neutral: number): Tensor {
  const n = x.shape[x.rank - 1];
  if (n > BLOCK) {
    const blocks = Math.ceil(n / BLOCK);
    const rows = x.size / n;
    const behind: [number, number][] = [
      [0, 0],
      [0, blocks * BLOCK - n],
    ];
    const cut = reshape(lockstep.pad(reshape(x, [rows, n]), behind, neutral), [rows, blocks, BLOCK]);
    const within = cumulated(cut, fn, neutral);
    const totals = reshape(lockstep.slice(within, [0, 0, BLOCK - 1], [rows, blocks, 1]), [rows, blocks]);
    const before = shifted(cumulated(totals, fn, neutral), 1, neutral);
    const all = reshape(fn(within, expandDims(before, 2)), [rows, blocks * BLOCK]);
    return reshape(lockstep.slice(all, [0, 0], [rows, n]), x.shape);
  }
  let y = x;
  for (let step = 1; step < n; step *= 2) y = fn(y, shifted(y, step, neutral));
  return y;
}

/** `by` elements of `value` in front of each row, for as many that fall off its end. */
function shifted(x: Tensor, by: number, value: number): Tensor {
  const kept = lockstep.slice(
    x,
    x.shape.map(() => 0),
    x.shape.map((d, i) => (i === x.rank - 1 ? Math.max(0, d - by) : d)),
  );
  return lockstep.pad(
    kept,
    x.shape.map((d, i): [number, number] => [i === x.rank - 1 ? Math.min(d, by) : 0, 0]),
    value,
  );
}

const cumulative =
  (fn: (a: Tensor, b: Tensor) => Tensor, neutral: number): Operator =>
  (call: Call) => {
    const x = call.input(0);
    const axis = call.axis(call.number(1) ?? 0, x.rank);
    if (x.size === 0) return x;
    const { t, back } = lastly(x.tensor, axis);
    const isReverse = call.flag("reverse");
    const turned = isReverse ? lockstep.flip(t) : t;
    const sums = cumulated(call.flag("exclusive") ? shifted(turned, 1, neutral) : turned, fn, neutral);
    return Value.of(x.type, wrapped(x.type, back(isReverse ? lockstep.flip(sums) : sums)));
  };

export const SORTING: Operators = {
  TopK,
  CumSum: cumulative((a, b) => add(a, b), 0),
  CumProd: cumulative((a, b) => mul(a, b), 1),
};

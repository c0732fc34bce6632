/** @file Operators whose results have as many elements as their inputs say: they are computed in JavaScript, between two stages. */
import * as lockstep from "../../index.ts";
import { sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import type { Constant } from "../tensors.ts";
import { Value } from "../value.ts";
import { filled } from "./reductions.ts";
import { isSmall } from "./shapes.ts";

const numbersOf = (c: Constant): ArrayLike<number> => c.elements as ArrayLike<number>;
const int64 = (elements: readonly number[], shape: readonly number[] = [elements.length]): Constant => ({ type: "int64", shape, elements });

/** Places of what is not 0: [rank, count], in order. */
const NonZero: Operator = (call) => {
  const x = call.input(0);
  return call.host("places", [x], ([c]) => {
    const places: number[] = [];
    for (let i = 0; i < c.elements.length; i++) if (c.elements[i] !== 0 && c.elements[i] !== "") places.push(i);
    const strides = c.shape.map((_, d) => sizeOf(c.shape.slice(d + 1)));
    return [
      int64(
        strides.flatMap((s, d) => places.map((i) => Math.floor(i / s) % c.shape[d])),
        [c.shape.length, places.length],
      ),
    ];
  });
};

/** Slices along an axis, or elements of all, for which a list of bools says so. */
const Compress: Operator = (call) => {
  const [x, condition] = [call.input(0), call.input(1)];
  const given = call.int("axis");
  const flat = given === null ? [x.size] : x.shape;
  const axis = given === null ? 0 : call.axis(given, x.rank);
  if (condition.rank !== 1 || condition.size > flat[axis])
    throw call.mismatch(`a condition for ${flat[axis]} along axis ${axis} is a list of at most as many, got [${condition.shape.join()}]`);
  const [places] = call.host("places", [condition], ([c]) => [int64(Array.from(numbersOf(c)).flatMap((v, i) => (v ? [i] : [])))]);
  const shape = flat.map((d, i) => (i === axis ? places.size : d));
  if (sizeOf(shape) === 0) return filled(call, x.type, 0, shape);
  if (isSmall(x) && places.known !== null) {
    const inner = sizeOf(flat.slice(axis + 1));
    const chosen = new Set(Array.from(places.elements));
    const elements = Array.from(x.constant.elements as ArrayLike<number>).filter((_, i) => chosen.has(Math.floor(i / inner) % flat[axis]));
    return Value.known({ type: x.type, shape, elements });
  }
  return Value.of(x.type, lockstep.gather(lockstep.reshape(x.tensor, flat), places.tensor, axis));
};

/** NaN behind all numbers, all NaNs alike. */
function order(a: number | string, b: number | string): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Subtensors along an axis that differ, where they first are, which each is, and how often. */
function unique(c: Constant, axis: number | null, isSorted: boolean): Constant[] {
  const shape = axis === null ? [c.elements.length] : c.shape;
  const at = axis ?? 0;
  const [outer, count, inner] = [sizeOf(shape.slice(0, at)), shape[at], sizeOf(shape.slice(at + 1))];
  const element = (k: number, i: number): number | string => c.elements[(Math.floor(i / inner) * count + k) * inner + (i % inner)];
  const each = outer * inner;
  const compared = (a: number, b: number): number => {
    for (let i = 0; i < each; i++) {
      const way = order(element(a, i), element(b, i));
      if (way !== 0) return way;
    }
    return 0;
  };
  const sorted = Array.from({ length: count }, (_, k) => k).sort((a, b) => compared(a, b) || a - b);
  // Equal ones stand beside each other, the first of them in front.
  const groups: number[][] = [];
  sorted.forEach((k, i) => {
    if (i > 0 && compared(sorted[i - 1], k) === 0) groups[groups.length - 1].push(k);
    else groups.push([k]);
  });
  if (!isSorted) groups.sort((a, b) => a[0] - b[0]);
  const inverse = new Array<number>(count);
  groups.forEach((group, g) => group.forEach((k) => (inverse[k] = g)));
  const elements: (number | string)[] = [];
  for (let o = 0; o < outer; o++)
    for (const [k] of groups) for (let i = 0; i < inner; i++) elements.push(c.elements[(o * count + k) * inner + i]);
  return [
    { type: c.type, shape: shape.map((d, i) => (i === at ? groups.length : d)), elements: elements as number[] },
    int64(groups.map(([first]) => first)),
    int64(inverse),
    int64(groups.map((group) => group.length)),
  ];
}

const Unique: Operator = (call) => {
  const x = call.input(0);
  const given = call.int("axis");
  const axis = given === null ? null : call.axis(given, x.rank);
  const isSorted = call.flag("sorted", true);
  return call.host("unique", [x], ([c]) => unique(c, axis, isSorted));
};

/** Top, left, bottom and right of `count` boxes from `first` on, and their areas: a list of each. */
function cornersOf(boxes: ArrayLike<number>, first: number, count: number, isCentered: boolean): Float64Array[] {
  const lists = Array.from({ length: 5 }, () => new Float64Array(count));
  const [top, left, bottom, right, area] = lists;
  for (let i = 0; i < count; i++) {
    const [a, b, c, d] = [0, 1, 2, 3].map((k) => boxes[4 * (first + i) + k]);
    top[i] = isCentered ? b - d / 2 : Math.min(a, c);
    left[i] = isCentered ? a - c / 2 : Math.min(b, d);
    bottom[i] = isCentered ? b + d / 2 : Math.max(a, c);
    right[i] = isCentered ? a + c / 2 : Math.max(b, d);
    area[i] = (bottom[i] - top[i]) * (right[i] - left[i]);
  }
  return lists;
}

interface Limits {
  readonly most: number;
  readonly iou: number;
  readonly score: number;
  readonly isCentered: boolean;
}

/** [batch, class, box] of boxes by falling score, without those that overlap one before too much. */
function selected(boxes: Constant, scores: Constant, { most, iou, score, isCentered }: Limits): Constant {
  const [batches, classes, count] = scores.shape;
  const [at, of] = [numbersOf(boxes), numbersOf(scores)];
  const rows: number[] = [];
  for (let b = 0; b < batches; b++) {
    const [top, left, bottom, right, area] = cornersOf(at, b * count, count, isCentered);
    /** Whether intersection over union is too large. Most boxes are far from each other, and detectors give tens of thousands. */
    const overlaps = (i: number, k: number): boolean => {
      const height = Math.min(bottom[i], bottom[k]) - Math.max(top[i], top[k]);
      if (!(height > 0)) return 0 > iou;
      const width = Math.min(right[i], right[k]) - Math.max(left[i], left[k]);
      if (!(width > 0)) return 0 > iou;
      const union = area[i] + area[k] - height * width;
      return (union > 0 ? (height * width) / union : 0) > iou;
    };
    for (let c = 0; c < classes; c++) {
      const first = (b * classes + c) * count;
      const candidates = Array.from({ length: count }, (_, i) => i).filter((i) => of[first + i] > score);
      candidates.sort((i, j) => of[first + j] - of[first + i] || i - j);
      const kept: number[] = [];
      for (const i of candidates) {
        if (kept.length >= most) break;
        if (!kept.some((k) => overlaps(i, k))) kept.push(i);
      }
      for (const i of kept) rows.push(b, c, i);
    }
  }
  return int64(rows, [rows.length / 3, 3]);
}

/** A number that an input gives; `absent` where it is left out. */
const numberOr = (call: Call, place: number, absent: number): number => call.number(place) ?? absent;

const NonMaxSuppression: Operator = (call) => {
  const [boxes, scores] = [call.input(0), call.input(1)];
  const fits = boxes.rank === 3 && scores.rank === 3 && boxes.shape[2] === 4;
  if (!fits || boxes.shape[0] !== scores.shape[0] || boxes.shape[1] !== scores.shape[2])
    throw call.mismatch(
      `boxes are [batch, boxes, 4] and scores [batch, classes, boxes], got [${boxes.shape.join()}] and [${scores.shape.join()}]`,
    );
  const limits: Limits = {
    most: numberOr(call, 2, 0),
    iou: numberOr(call, 3, 0),
    score: numberOr(call, 4, -Infinity),
    isCentered: call.flag("center_point_box"),
  };
  if (limits.most <= 0) return Value.numbers("int64", [], [0, 3]);
  return call.host("boxes", [boxes, scores], ([b, s]) => [selected(b, s, limits)]);
};

export const SELECTING: Operators = { NonZero, Compress, Unique, NonMaxSuppression };

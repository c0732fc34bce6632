/**
 * @file Resize: along one dimension after another each element becomes a sum of some neighbours, whose places and weights are known while
 * tracing.
 */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { dtypeOf, isFloat } from "../types.ts";
import { Value, checkShape } from "../value.ts";

/** How a dimension is resized. */
interface Along {
  readonly from: number;
  readonly to: number;
  readonly scale: number;
  /** Of tf_crop_and_resize: where the part begins and ends, of 1. */
  readonly roi: readonly [number, number];
}

/** How all are. */
interface Rule {
  readonly mode: string;
  readonly coordinates: string;
  readonly nearest: string;
  readonly cubic: number;
  readonly antialias: boolean;
  readonly excludes: boolean;
}

/** One of the neighbours of each element of the result. */
interface Tap {
  readonly places: Int32Array;
  readonly weights: Float32Array;
}

/** Where element `x` of the result lies in the input. */
function origin({ from, to, scale, roi: [begin, end] }: Along, how: string, x: number): number {
  switch (how) {
    case "align_corners":
      return to === 1 ? 0 : (x * (from - 1)) / (to - 1);
    case "asymmetric":
      return x / scale;
    case "tf_half_pixel_for_nn":
      return (x + 0.5) / scale;
    case "tf_crop_and_resize": {
      // In f32, so that places between pixels are rounded as elsewhere.
      const { fround } = Math;
      const first = fround(begin * (from - 1));
      const span = fround(fround(end - begin) * (from - 1));
      return to === 1 ? fround(first + span / 2) : fround(first + fround(fround(x * span) / (to - 1)));
    }
    case "pytorch_half_pixel":
      return to === 1 ? 0 : (x + 0.5) / scale - 0.5;
    case "half_pixel_symmetric":
      return (from / 2) * (1 - to / (scale * from)) + (x + 0.5) / scale - 0.5;
    default:
      return (x + 0.5) / scale - 0.5;
  }
}

/** The cubic of Keys (1981), at a distance. */
function cubic(distance: number, a: number): number {
  const x = Math.abs(distance);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

function nearest(x: number, how: string, shrinks: boolean): number {
  // Before opset 11: a pixel that is seen whole.
  if (how === "") return shrinks ? Math.ceil(x) : Math.floor(x);
  if (how === "floor") return Math.floor(x);
  if (how === "ceil") return Math.ceil(x);
  return how === "round_prefer_ceil" ? Math.floor(x + 0.5) : Math.ceil(x - 0.5);
}

/** The neighbours along a dimension, and their weights. */
function tapsOf(along: Along, rule: Rule): Tap[] {
  const { from, to } = along;
  const clamp = (place: number): number => Math.max(0, Math.min(from - 1, place));
  if (rule.mode === "nearest") {
    const places = Int32Array.from({ length: to }, (_, x) => clamp(nearest(origin(along, rule.coordinates, x), rule.nearest, to < from)));
    return [{ places, weights: new Float32Array(to).fill(1) }];
  }
  const reach = rule.mode === "cubic" ? 2 : 1;
  // Where less comes out than goes in, the filter is as much wider.
  const stretch = rule.antialias ? Math.min(1, along.scale) : 1;
  const half = rule.antialias ? -Math.floor(-reach / stretch) : reach;
  const kernel = (x: number): number => (rule.mode === "cubic" ? cubic(x, rule.cubic) : Math.max(0, 1 - Math.abs(x)));
  const taps = Array.from({ length: 2 * half }, () => ({ places: new Int32Array(to), weights: new Float32Array(to) }));
  for (let x = 0; x < to; x++) {
    const at = origin(along, rule.coordinates, x);
    const first = Math.ceil(at) - half;
    const weights = taps.map((_, i) => kernel((first + i - at) * stretch));
    if (rule.excludes) taps.forEach((_, i) => (first + i < 0 || first + i >= from) && (weights[i] = 0));
    const sum = rule.antialias || rule.excludes ? weights.reduce((a, b) => a + b) || 1 : 1;
    taps.forEach((tap, i) => {
      tap.places[x] = clamp(first + i);
      tap.weights[x] = weights[i] / sum;
    });
  }
  return taps.filter(({ weights }) => weights.some((w) => w !== 0));
}

/** `list` along one axis. */
const alongAxis = (t: Tensor, list: Float32Array, axis: number): Tensor =>
  lockstep.tensor(
    list,
    t.shape.map((_, i) => (i === axis ? list.length : 1)),
  );

function resizeAlong(t: Tensor, axis: number, taps: readonly Tap[]): Tensor {
  const parts = taps.map(({ places, weights }) => {
    const isWhole = places.length === t.shape[axis] && places.every((p, i) => p === i);
    const taken = isWhole ? t : lockstep.gather(t, lockstep.tensor(places, [places.length], "i32"), axis);
    return weights.every((w) => w === 1) ? taken : lockstep.mul(taken, alongAxis(taken, weights, axis));
  });
  return parts.reduce((a, b) => lockstep.add(a, b));
}

/** The most places along an axis: which elements each takes is listed while tracing. */
const MOST_ALONG = 2 ** 20;

/** Scales of all dimensions, and sizes of the result. */
function sizesOf(
  call: Call,
  x: Value,
): { readonly scales: number[]; readonly sizes: number[]; readonly axes: number[]; readonly roi: number[] } {
  const axes = call.axes(call.ints("axes") ?? x.shape.map((_, i) => i), x.rank);
  const at = call.opset >= 11 ? 2 : 1;
  const given = call.floats("scales") ?? call.numbers(at);
  const scales = given !== null && given.length > 0 ? given : null;
  const wanted = call.opset >= 11 && scales === null ? call.numbers(3) : null;
  const count = (scales ?? wanted)?.length;
  if (count !== axes.length) throw call.fault(`scales or sizes must be ${axes.length} numbers, got ${count ?? "none"}`);
  const sizes = [...x.shape];
  const all = x.shape.map(() => 1);
  const roi = x.shape.flatMap(() => [0, 1]);
  axes.forEach((axis, i) => {
    if (scales !== null) [all[axis], sizes[axis]] = [scales[i], Math.floor(x.shape[axis] * scales[i])];
    else if (wanted !== null) [all[axis], sizes[axis]] = [wanted[i] / x.shape[axis], wanted[i]];
  });
  const policy = call.word("keep_aspect_ratio_policy", ["stretch", "not_larger", "not_smaller"]);
  if (wanted !== null && policy !== "stretch") {
    const scale = (policy === "not_larger" ? Math.min : Math.max)(...axes.map((axis) => all[axis]));
    for (const axis of axes) [all[axis], sizes[axis]] = [scale, Math.floor(scale * x.shape[axis] + 0.5)];
  }
  if (call.opset >= 11 && call.string("coordinate_transformation_mode") === "tf_crop_and_resize") {
    const numbers = call.numbers(1) ?? [];
    if (numbers.length !== 2 * axes.length) throw call.fault(`roi must be ${2 * axes.length} numbers, got ${numbers.length}`);
    axes.forEach((axis, i) => ([roi[2 * axis], roi[2 * axis + 1]] = [numbers[i], numbers[axes.length + i]]));
  }
  if (all.some((s) => !(s > 0)) || sizes.some((d) => !Number.isInteger(d) || d < 0))
    throw call.fault(`[${x.shape.join()}] by scales [${all.join()}] to [${sizes.join()}]`);
  checkShape(sizes);
  const long = axes.find((axis) => sizes[axis] > MOST_ALONG);
  if (long !== undefined) throw call.fault(`${sizes[long]} places along axis ${long}; at most ${MOST_ALONG} are computed`);
  return { scales: all, sizes, axes, roi };
}

const Resize: Operator = (call) => {
  const x = call.input(0);
  const { scales, sizes, axes, roi } = sizesOf(call, x);
  // Before opset 11 there was one way alone; that of Upsample.
  const isOld = call.opset < 11;
  const mode = call.word("mode", ["nearest", "linear", "bilinear", "cubic"]);
  const rule: Rule = {
    mode: mode === "bilinear" ? "linear" : mode,
    coordinates: isOld
      ? "asymmetric"
      : call.word("coordinate_transformation_mode", [
          "half_pixel",
          "half_pixel_symmetric",
          "pytorch_half_pixel",
          "align_corners",
          "asymmetric",
          "tf_crop_and_resize",
          "tf_half_pixel_for_nn",
        ]),
    nearest: isOld ? "" : call.word("nearest_mode", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
    cubic: call.float("cubic_coeff_a", -0.75),
    antialias: call.flag("antialias") && mode !== "nearest",
    excludes: call.flag("exclude_outside"),
  };
  const isCrop = rule.coordinates === "tf_crop_and_resize";
  const changed = axes.filter((axis) => sizes[axis] !== x.shape[axis] || scales[axis] !== 1 || isCrop);
  if (changed.length === 0) return x;
  if (sizes.includes(0) || x.size === 0) return Value.of(x.type, lockstep.zeros(sizes, dtypeOf(call.who, x.type)));
  const isLast = x.rank > 2 && changed.every((axis) => axis > 1) && (x.isChannelsLast || x.shape[1] >= 4);
  const casts = rule.mode !== "nearest" && !isFloat(x.type);
  let t = isLast ? x.last : x.tensor;
  if (casts) t = lockstep.cast(t, "f32");
  for (const axis of changed) {
    const along: Along = { from: x.shape[axis], to: sizes[axis], scale: scales[axis], roi: [roi[2 * axis], roi[2 * axis + 1]] };
    const place = isLast ? axis - 1 : axis;
    t = resizeAlong(t, place, tapsOf(along, rule));
    if (!isCrop) continue;
    const outside = Float32Array.from({ length: along.to }, (_, i) => {
      const at = origin(along, rule.coordinates, i);
      return Number(at < 0 || at > along.from - 1);
    });
    if (outside.includes(1))
      t = lockstep.where(lockstep.notEqual(alongAxis(t, outside, place), 0), call.float("extrapolation_value", 0), t);
  }
  if (casts) t = lockstep.cast(t, dtypeOf(call.who, x.type));
  return isLast ? Value.channelsLast(x.type, t) : Value.of(x.type, t);
};

/** Before Resize: to a multiple of the size. */
const Upsample: Operator = (call) => {
  const x = call.input(0);
  const scales = call.floats("scales") ?? call.numbers(1);
  if (scales === null || scales.length !== x.rank || scales.some((s) => !(s >= 1)))
    throw call.fault(`scales must be ${x.rank} numbers of at least 1, got [${scales?.join() ?? ""}]`);
  return Resize(call);
};

export const RESIZE: Operators = { Resize, Upsample };

/** @file Normalizations. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { Value } from "../value.ts";

const { add, mean, mul, reshape, rsqrt, square, sub } = lockstep;

const keep = (axis: readonly number[]): lockstep.ops.ReduceOptions => ({ axis, keepDims: true });

/** (x - mean) and the mean of its square, over `axes`. */
function centred(x: Tensor, axes: readonly number[]): { readonly centre: Tensor; readonly average: Tensor; readonly variance: Tensor } {
  const average = mean(x, keep(axes));
  const centre = sub(x, average);
  return { centre, average, variance: mean(square(centre), keep(axes)) };
}

/** A scale or bias of each channel, as it broadcasts with x in the order in which it is held. */
const ofChannels = (x: Value, t: Tensor): Tensor =>
  x.isChannelsLast || x.rank <= 2 || t.rank !== 1 ? t : reshape(t, [t.size, ...x.shape.slice(2).map(() => 1)]);

/** x * scale + bias of channels. */
const scaled = (x: Value, scale: Tensor, bias: Tensor): Value => {
  const [a, b] = [ofChannels(x, scale), ofChannels(x, bias)];
  return x.isChannelsLast ? Value.channelsLast(x.type, add(mul(x.last, a), b)) : Value.of(x.type, add(mul(x.tensor, a), b));
};

const BatchNormalization: Operator = (call) => {
  const x = call.input(0);
  const statistics = { scale: call.input(1), bias: call.input(2), mean: call.input(3), variance: call.input(4) };
  const epsilon = call.float("epsilon", 1e-5);
  const isTraining = call.opset >= 14 ? call.flag("training_mode") : call.opset < 7 && call.has("is_test") && !call.flag("is_test");
  if (!isTraining) {
    if (call.wants(1)) throw call.fault("statistics of a batch are computed with training_mode alone");
    const inside = call.isAlone(0) ? (x.scaled?.({ ...statistics, epsilon }) ?? null) : null;
    if (inside !== null) return inside;
    const by = [statistics.scale, statistics.variance];
    const factor = call.kept(`factor ${epsilon}`, by, (s, v) => mul(s, rsqrt(add(v, epsilon))));
    const shift = call.kept(`shift ${epsilon}`, [...by, statistics.bias, statistics.mean], (s, v, beta, m) =>
      sub(beta, mul(m, mul(s, rsqrt(add(v, epsilon))))),
    );
    return scaled(x, factor, shift);
  }
  const [scale, bias, runningMean, runningVariance] = [1, 2, 3, 4].map((i) => call.tensor(i));
  if (call.opset < 14) throw call.fault("training is computed from opset 14 on");
  const axes = x.shape.map((_, i) => i).filter((i) => (x.isChannelsLast ? i < x.rank - 1 : i !== 1));
  const t = x.isChannelsLast ? x.last : x.tensor;
  const average = mean(t, keep(axes));
  const variance = mean(square(sub(t, average)), keep(axes));
  const flat = (s: Tensor): Tensor => reshape(s, [s.size]);
  const factor = mul(scale, rsqrt(add(flat(variance), epsilon)));
  const momentum = call.float("momentum", 0.9);
  const running = (before: Tensor, now: Tensor): Tensor => add(mul(before, momentum), mul(flat(now), 1 - momentum));
  return [
    scaled(x, factor, sub(bias, mul(flat(average), factor))),
    Value.of(call.input(3).type, running(runningMean, average)),
    Value.of(call.input(4).type, running(runningVariance, variance)),
  ];
};

const InstanceNormalization: Operator = (call) => {
  const x = call.input(0);
  const epsilon = call.float("epsilon", 1e-5);
  const [scale, bias] = [1, 2].map((i) => ofChannels(x, call.tensor(i)));
  if (x.size === 0) return x;
  if (!x.isChannelsLast) {
    const rows = reshape(x.tensor, [...x.shape.slice(0, 2), sizeOf(x.shape.slice(2))]);
    return Value.of(x.type, add(mul(reshape(lockstep.normalizeLast(rows, 1, { epsilon }), x.shape), scale), bias));
  }
  const { centre, variance } = centred(
    x.last,
    x.shape.slice(2).map((_, i) => i + 1),
  );
  return Value.channelsLast(x.type, add(mul(centre, mul(rsqrt(add(variance, epsilon)), scale)), bias));
};

/** Axes from the attribute on. */
const axesBehind = (call: Call, x: Value): number[] => {
  const axis = call.axis(call.int("axis", -1), x.rank);
  return x.shape.map((_, i) => i).slice(axis);
};

const sameShape = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && a.every((d, i) => d === b[i]);

/** By the kernel where it takes them: scale and bias of the shape of what is normalized, and no statistics asked for. */
function byKernel(x: Tensor, count: number, scale: Tensor, bias: Tensor | null, epsilon: number, centered: boolean): Tensor | null {
  const shape = x.shape.slice(x.rank - count);
  if (!sameShape(scale.shape, shape) || (bias !== null && !sameShape(bias.shape, shape)) || x.size === 0) return null;
  return lockstep.normalizeLast(x, count, { gamma: scale, beta: bias, epsilon, centered });
}

/** What the axes from `axes[0]` on become, with mean and reciprocal of the deviation where they are wanted. */
export function layerNormalized(
  x: Tensor,
  axes: readonly number[],
  scale: Tensor,
  bias: Tensor | null,
  epsilon: number,
  all: boolean,
): Tensor[] {
  const whole = all ? null : byKernel(x, axes.length, scale, bias, epsilon, true);
  if (whole !== null) return [whole];
  const { centre, average, variance } = centred(x, axes);
  const deviation = rsqrt(add(variance, epsilon));
  const y = mul(mul(centre, deviation), scale);
  return [bias === null ? y : add(y, bias), average, deviation];
}

const LayerNormalization: Operator = (call) => {
  const x = call.input(0);
  const all = call.wants(1) || call.wants(2);
  const bias = call.optional(2)?.tensor ?? null;
  return layerNormalized(x.tensor, axesBehind(call, x), call.tensor(1), bias, call.float("epsilon", 1e-5), all).map((t, i) =>
    Value.of(i === 0 ? x.type : "float32", t),
  );
};

/** x / sqrt(mean of x^2 + epsilon) * scale, and the reciprocal of the root where it is wanted. */
function rootMeanSquare(x: Tensor, axes: readonly number[], scale: Tensor, epsilon: number, all: boolean): Tensor[] {
  const whole = all ? null : byKernel(x, axes.length, scale, null, epsilon, false);
  if (whole !== null) return [whole];
  const root = rsqrt(add(mean(square(x), keep(axes)), epsilon));
  return [mul(mul(x, root), scale), root];
}

const RMSNormalization: Operator = (call) => {
  const x = call.input(0);
  return Value.of(x.type, rootMeanSquare(x.tensor, axesBehind(call, x), call.tensor(1), call.float("epsilon", 1e-5), false)[0]);
};

/** As files of ONNX Runtime have it, in the standard domain too. */
const SimplifiedLayerNormalization: Operator = (call) => {
  const x = call.input(0);
  const made = rootMeanSquare(x.tensor, axesBehind(call, x), call.tensor(1), call.float("epsilon", 1e-5), call.wants(1));
  return made.map((t, i) => Value.of(i === 0 ? x.type : "float32", t));
};

/** Channels in groups; scales are of groups before opset 21, of channels since. */
const GroupNormalization: Operator = (call) => {
  const x = call.input(0);
  const groups = call.int("num_groups");
  const [batch, channels] = x.shape;
  if (groups === null || groups < 1 || channels % groups !== 0)
    throw call.mismatch(`${channels} channels in ${groups ?? "no number of"} groups`);
  if (x.size === 0) return x;
  const rows = reshape(x.tensor, [batch, groups, (channels / groups) * sizeOf(x.shape.slice(2))]);
  const y = lockstep.normalizeLast(rows, 1, { epsilon: call.float("epsilon", 1e-5) });
  const ones = x.shape.slice(2).map(() => 1);
  if (call.opset < 21 && call.input(1).size === groups) {
    const [scale, bias] = [1, 2].map((i) => reshape(call.tensor(i), [groups, 1]));
    return Value.of(x.type, reshape(add(mul(y, scale), bias), x.shape));
  }
  const [scale, bias] = [1, 2].map((i) => reshape(call.tensor(i), [channels, ...ones]));
  return Value.of(x.type, add(mul(reshape(y, x.shape), scale), bias));
};

/**
 * x / (bias + alpha / size * sum of squares of neighbouring channels)^beta: the sum is a product with a matrix of ones around its diagonal.
 */
const LRN: Operator = (call) => {
  const x = call.input(0);
  const size = call.int("size", 0);
  if (size < 1 || x.rank < 2) throw call.fault(`size ${size} for [${x.shape.join()}]`);
  const channels = x.shape[1];
  const [before, behind] = [Math.floor((size - 1) / 2), Math.ceil((size - 1) / 2)];
  const band = Float32Array.from({ length: channels * channels }, (_, i) => {
    const [from, to] = [Math.floor(i / channels), i % channels];
    return Number(from >= to - before && from <= to + behind);
  });
  const t = x.last;
  const squares = reshape(square(t), [t.size / Math.max(1, channels), channels]);
  const sums = reshape(lockstep.matmul(squares, lockstep.tensor(band, [channels, channels])), t.shape);
  const base = add(mul(sums, call.float("alpha", 1e-4) / size), call.float("bias", 1));
  const y = mul(t, lockstep.pow(base, -call.float("beta", 0.75)));
  return x.rank > 2 ? Value.channelsLast(x.type, y) : Value.of(x.type, y);
};

const MeanVarianceNormalization: Operator = (call) => {
  const x = call.input(0);
  const axes = call.axes(call.ints("axes") ?? [0, 2, 3], x.rank);
  const { centre, variance } = centred(x.tensor, axes);
  return Value.of(x.type, lockstep.div(centre, add(lockstep.sqrt(variance), 1e-9)));
};

const LpNormalization: Operator = (call) => {
  const x = call.input(0);
  const p = call.int("p", 2);
  if (p !== 1 && p !== 2) throw call.fault(`p must be 1 or 2, got ${p}`);
  const axis = [call.axis(call.int("axis", -1), x.rank)];
  const t = x.tensor;
  const norm = p === 1 ? lockstep.sum(lockstep.abs(t), keep(axis)) : lockstep.sqrt(lockstep.sum(square(t), keep(axis)));
  // What is all zeros stays so.
  return Value.of(x.type, lockstep.div(t, lockstep.where(lockstep.equal(norm, 0), 1, norm)));
};

/** The sum of two inputs and a bias, normalized, two statistics where they are wanted, and the sum. */
const skip =
  (normalize: (call: Call, sum: Tensor, all: boolean) => readonly Tensor[], biasAt: number): Operator =>
  (call) => {
    const x = call.input(0);
    const bias = call.optional(biasAt);
    const both = add(x.tensor, call.tensor(1));
    const sum = bias === null ? both : add(both, bias.tensor);
    const [y, average, deviation] = normalize(call, sum, call.wants(1) || call.wants(2));
    // Statistics that nobody wants stand for themselves.
    return [y, average ?? sum, deviation ?? sum, sum].map((t) => Value.of(x.type, t));
  };

const SkipLayerNormalization = skip(
  (call, sum, all) =>
    layerNormalized(sum, [sum.rank - 1], call.tensor(2), call.optional(3)?.tensor ?? null, call.float("epsilon", 1e-12), all),
  4,
);

const SkipSimplifiedLayerNormalization = skip((call, sum, all) => {
  const [y, root] = rootMeanSquare(sum, [sum.rank - 1], call.tensor(2), call.float("epsilon", 1e-12), all);
  return root === undefined ? [y] : [y, lockstep.zeros(root.shape), root];
}, 3);

export const NORMALIZATION: Operators = {
  BatchNormalization,
  InstanceNormalization,
  LayerNormalization,
  SimplifiedLayerNormalization,
  RMSNormalization,
  GroupNormalization,
  LRN,
  MeanVarianceNormalization,
  LpNormalization,
};

export const NORMALIZATION_MICROSOFT: Operators = {
  SimplifiedLayerNormalization,
  SkipLayerNormalization,
  SkipSimplifiedLayerNormalization,
};

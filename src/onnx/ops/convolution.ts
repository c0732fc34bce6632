/**
 * @file Convolutions. They run channels-last: an image [batch, channels, rows, columns] is held [batch, rows, columns, channels], and
 * filters [filters, channels, rows, columns] are read as [rows, columns, channels, filters]. One dimension is an image of one row; of three
 * the taps along the first become channels.
 */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { sizeOf } from "../call.ts";
import { Value } from "../value.ts";
import { activated } from "./activations.ts";
import type { Scaled } from "../value.ts";
import { autoPad, padsOf, perDimension, reachOf, shared, spanOf, windowsOf } from "../windows.ts";
import type { Along } from "../windows.ts";

const { add, mul, reshape, transpose } = lockstep;

/** What a convolution adds and applies. */
export interface After {
  readonly bias?: Tensor | null;
  readonly activation?: "linear" | "relu";
}

/** Filters [F, C/groups, ...] with channels and filters last. */
const turned = (w: Tensor): Tensor => transpose(w, [...w.shape.slice(2).map((_, i) => i + 2), 1, 0]);

/** As kernels read them: those of volumes as filters of images. */
const laid = (w: Tensor): Tensor => (w.rank === 5 ? lockstep.mergeTaps(turned(w)) : turned(w));

/** Filters as kernels read them, made once where they are weights. */
const filtersOf = (call: Call, w: Value): Tensor => call.kept("filters", [w], laid);

const pair = (of: readonly Along[], key: "stride" | "dilation"): [number, number] => [of[0][key], of[1][key]];

/** Options of a convolution of images. */
const optionsOf = (windows: readonly Along[], groups: number, after: After): lockstep.ops.Conv2dOptions => ({
  strides: pair(windows, "stride"),
  dilation: pair(windows, "dilation"),
  padding: windows.map((along) => [along.begin, reachOf(along)] as const) as [[number, number], [number, number]],
  groups,
  bias: after.bias ?? null,
  activation: after.activation ?? "linear",
});

/** Channels-last, of any dimensions from 1 to 3. */
export function convolve(x: Tensor, w: Tensor, windows: readonly Along[], groups: number, after: After): Tensor {
  const n = windows.length;
  if (n === 3) {
    const [depth, ...images] = windows;
    return lockstep.convVolumes(x, w, { ...depth, end: reachOf(depth) }, optionsOf(images, groups, after));
  }
  if (n === 2) return lockstep.conv2d(x, w, optionsOf(windows, groups, after));
  const one: Along = { size: 1, taps: 1, stride: 1, dilation: 1, begin: 0, end: 0, count: 1 };
  const [image, filters] = [x, w].map((t, i) => reshape(t, [...t.shape.slice(0, i === 0 ? 1 : 0), 1, ...t.shape.slice(i === 0 ? 1 : 0)]));
  const y = lockstep.conv2d(image, filters, optionsOf([one, ...windows], groups, after));
  return reshape(y, [y.shape[0], ...y.shape.slice(2)]);
}

/** The windows and groups of a convolution. @throws FileError, ShapeError where shapes do not belong together */
export function geometryOf(call: Call, x: Value, w: Value): { readonly windows: readonly Along[]; readonly groups: number } {
  const groups = call.int("group", 1);
  const dimensions = x.rank - 2;
  if (dimensions < 1 || dimensions > 3) throw call.fault(`images have 1 to 3 dimensions here, got [${x.shape.join()}]`);
  if (w.rank !== x.rank || groups < 1 || w.shape[1] * groups !== x.shape[1] || w.shape[0] % groups !== 0)
    throw call.mismatch(`[${x.shape.join()}] with filters [${w.shape.join()}] in ${groups} group(s)`);
  const taps = call.ints("kernel_shape") ?? w.shape.slice(2);
  if (taps.join() !== w.shape.slice(2).join()) throw call.fault(`kernel_shape [${taps.join()}] for filters [${w.shape.join()}]`);
  return { windows: windowsOf(call, x.shape.slice(2), taps), groups };
}

/** Of x with filters of `w`'s shape, channels-last. */
function convolution(call: Call, x: Value, w: Value, filters: () => Tensor, after: After): Value {
  const { windows, groups } = geometryOf(call, x, w);
  const shape = [x.shape[0], ...windows.map(({ count }) => count), w.shape[0]];
  if (sizeOf(shape) === 0 || x.size === 0) return Value.channelsLast(x.type, lockstep.zeros(shape));
  // Where it is normalized nobody reads it.
  return Value.later(x.type, [x.shape[0], w.shape[0], ...windows.map(({ count }) => count)], () =>
    convolve(x.last, filters(), windows, groups, after),
  );
}

/** The same normalized: with filters and bias that are so much larger, made once. */
const scaled =
  (call: Call, x: Value, w: Value, bias: Value | null): Scaled =>
  ({ epsilon, ...by }) => {
    const all = [w, ...(bias === null ? [] : [bias]), ...Object.values(by)];
    if (!all.every((v) => v.origin !== null) || Object.values(by).some((v) => v.rank !== 1)) return null;
    const factor = (scale: Tensor, variance: Tensor): Tensor => mul(scale, lockstep.rsqrt(add(variance, epsilon)));
    const filters = call.kept(`filters with ${epsilon}`, [w, by.scale, by.variance], (t, scale, variance) =>
      mul(laid(t), factor(scale, variance)),
    );
    const shift = call.kept(
      `bias with ${epsilon}`,
      [by.scale, by.bias, by.mean, by.variance, ...(bias === null ? [] : [bias])],
      (scale, beta, mean, variance, own?: Tensor) =>
        add(beta, mul(own === undefined ? lockstep.neg(mean) : lockstep.sub(own, mean), factor(scale, variance))),
    );
    return convolution(call, x, w, () => filters, { bias: shift });
  };

/** x with filters w, channels-last. */
export const convolved = (call: Call, x: Value, w: Value): Value => convolution(call, x, w, () => filtersOf(call, w), {});

const Conv: Operator = (call) => {
  const [x, w, bias] = [call.input(0), call.input(1), call.optional(2)];
  const y = convolution(call, x, w, () => filtersOf(call, w), { bias: bias?.tensor ?? null });
  y.scaled = scaled(call, x, w, bias);
  return y;
};

/** What a transposed convolution leaves out before and behind, and its size. */
function transposedAlong(
  call: Call,
  size: number,
  o: {
    readonly span: number;
    readonly stride: number;
    readonly more: number;
    readonly given: number | null;
    readonly pads: [number, number];
  },
): { readonly begin: number; readonly count: number } {
  const auto = autoPad(call);
  const whole = o.stride * (size - 1) + o.more + o.span;
  if (o.given === null && auto === "NOTSET") return { begin: o.pads[0], count: whole - o.pads[0] - o.pads[1] };
  if (o.given === null && auto === "VALID") return { begin: 0, count: whole };
  const count = o.given ?? size * o.stride;
  // With an output_shape that is larger than what is reached there is nothing to leave out, and zeros behind.
  if (auto === "NOTSET" && call.has("pads")) return { begin: o.pads[0], count };
  return { begin: shared(Math.max(0, whole - count), auto !== "SAME_UPPER")[0], count };
}

const ConvTranspose: Operator = (call) => {
  const [x, w] = [call.input(0), call.input(1)];
  const groups = call.int("group", 1);
  const n = x.rank - 2;
  if (n < 1 || n > 3) throw call.fault(`images have 1 to 3 dimensions here, got [${x.shape.join()}]`);
  if (w.rank !== x.rank || w.shape[0] !== x.shape[1] || groups < 1 || x.shape[1] % groups !== 0)
    throw call.mismatch(`[${x.shape.join()}] with filters [${w.shape.join()}] in ${groups} group(s)`);
  const taps = w.shape.slice(2);
  if ((call.ints("kernel_shape") ?? taps).join() !== taps.join())
    throw call.fault(`kernel_shape [${call.ints("kernel_shape")?.join()}] for filters [${w.shape.join()}]`);
  const strides = perDimension(call, "strides", n, 1, 1);
  const dilations = perDimension(call, "dilations", n, 1, 1);
  const more = perDimension(call, "output_padding", n, 0, 0);
  const pads = padsOf(call, n);
  // Some files give the whole shape.
  const given = call.ints("output_shape")?.slice(-n) ?? null;
  const along = taps.map((t, i) => {
    const o = { span: spanOf(t, dilations[i]), stride: strides[i], more: more[i], given: given?.[i] ?? null, pads: pads[i] };
    return { ...transposedAlong(call, x.shape[i + 2], o), taps: t, stride: strides[i], dilation: dilations[i] };
  });
  const shape = [x.shape[0], ...along.map(({ count }) => count), w.shape[1] * groups];
  if (shape.some((d) => d < 0)) throw call.mismatch(`[${x.shape.join()}] would become [${shape.join()}]`);
  if (sizeOf(shape) === 0 || x.size === 0) return Value.channelsLast(x.type, lockstep.zeros(shape));
  const filters = filtersOf(call, w);
  const y = convolveTransposed(x.last, filters, along, groups);
  const bias = call.optional(2);
  return Value.channelsLast(x.type, bias === null ? y : lockstep.add(y, bias.tensor));
};

interface TransposedAlong {
  readonly taps: number;
  readonly stride: number;
  readonly dilation: number;
  readonly begin: number;
  readonly count: number;
}

/** x[N, ..., F] with w[..., C/groups, F], channels-last; of volumes with taps along the first dimension as channels. */
function convolveTransposed(x: Tensor, w: Tensor, along: readonly TransposedAlong[], groups: number): Tensor {
  const [batch, f] = [x.shape[0], x.shape[x.rank - 1]];
  const channels = w.shape[w.rank - 2] / (along.length === 3 ? along[0].taps : 1);
  // What is reached behind the result is left out, as what is before it is.
  const around = ({ taps, stride, dilation, begin, count }: TransposedAlong, size: number): [number, number] => [
    begin,
    Math.max(0, stride * (size - 1) + spanOf(taps, dilation) - begin - count),
  ];
  const onImage = (image: Tensor, filters: Tensor, [rows, columns]: readonly TransposedAlong[]): Tensor =>
    lockstep.conv2dTranspose(image, filters, {
      strides: [rows.stride, columns.stride],
      dilation: [rows.dilation, columns.dilation],
      padding: [around(rows, image.shape[1]), around(columns, image.shape[2])],
      groups,
      outputSize: [rows.count, columns.count],
    });
  const one: TransposedAlong = { taps: 1, stride: 1, dilation: 1, begin: 0, count: 1 };
  if (along.length === 2) return onImage(x, w, along);
  if (along.length === 1) {
    const y = onImage(reshape(x, [batch, 1, x.shape[1], f]), reshape(w, [1, ...w.shape]), [one, along[0]]);
    return reshape(y, [batch, along[0].count, channels * groups]);
  }
  // Taps along the first dimension are further channels; what they give is added up where it belongs.
  const [depth, ...image] = along;
  const size = x.shape[1];
  const { taps } = depth;
  const flat = reshape(x, [batch * size, ...x.shape.slice(2)]);
  const [h, width] = image.map(({ count }) => count);
  // Channels of the result are [groups, taps, channels].
  const y = reshape(onImage(flat, w, image), [batch * size * h * width, groups, taps, channels]);
  const byTap = reshape(transpose(y, [0, 2, 1, 3]), [batch, size, h * width, taps, groups * channels]);
  const parts = reshape(transpose(byTap, [0, 1, 3, 2, 4]), [batch, size * taps, h * width * groups * channels]);
  const places = Int32Array.from({ length: size * taps }, (_, i) => {
    const at = Math.floor(i / taps) * depth.stride - depth.begin + (i % taps) * depth.dilation;
    return at < 0 || at >= depth.count ? depth.count : at;
  });
  const summed = lockstep.scatterAdd(parts, lockstep.tensor(places, [places.length], "i32"), depth.count + 1, 1);
  const kept = lockstep.slice(summed, [0, 0, 0], [batch, depth.count, parts.shape[2]]);
  return reshape(kept, [batch, depth.count, h, width, groups * channels]);
}

/** A convolution along time of each channel by itself, which begins with what the one before it ended with. */
const CausalConvWithState: Operator = (call) => {
  const [x, w] = [call.input(0), call.input(1)];
  const activation = call.word("activation", ["none", "silu", "swish"]);
  const [batch, channels] = x.shape;
  if (x.rank !== 3 || w.rank !== 3 || w.shape[0] !== channels || w.shape[1] !== 1)
    throw call.mismatch(`expected [batch, channels, length] and [channels, 1, taps], got [${x.shape.join()}] and [${w.shape.join()}]`);
  const taps = w.shape[2];
  const past = call.optional(3)?.tensor ?? lockstep.zeros([batch, channels, taps - 1]);
  const all = taps === 1 ? x.tensor : lockstep.concat([past, x.tensor], 2);
  const size = all.shape[2];
  const window: Along = { size, taps, stride: 1, dilation: 1, begin: 0, end: 0, count: x.shape[2] };
  const last = transpose(all, [0, 2, 1]);
  const y = convolve(last, filtersOf(call, w), [window], channels, { bias: call.optional(2)?.tensor ?? null });
  const present =
    taps === 1 ? lockstep.zeros([batch, channels, 0]) : lockstep.slice(all, [0, 0, size - taps + 1], [batch, channels, taps - 1]);
  return [Value.channelsLast(x.type, activation === "none" ? y : lockstep.silu(y)), Value.of(call.optional(3)?.type ?? x.type, present)];
};

/** With what ONNX Runtime's optimizer has put behind it: an addition and an activation. */
const FusedConv: Operator = (call) => {
  const [alpha, beta] = call.floats("activation_params") ?? [];
  const fn = activated(call, alpha ?? null, beta ?? null);
  const z = call.optional(3);
  const isRelu = call.string("activation") === "Relu" && z === null;
  const w = call.input(1);
  const y = convolution(call, call.input(0), w, () => filtersOf(call, w), {
    bias: call.optional(2)?.tensor ?? null,
    activation: isRelu ? "relu" : "linear",
  });
  if (isRelu) return y;
  return Value.channelsLast(y.type, fn(z === null ? y.last : lockstep.add(y.last, z.last)));
};

export const CONVOLUTION: Operators = { Conv, ConvTranspose, CausalConvWithState };
export const CONVOLUTION_MICROSOFT: Operators = { FusedConv, CausalConvWithState };

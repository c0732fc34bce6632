/** @file Convolutions. Those of one dimension run as rows of height 1, depthwise ones as as many groups as channels. */
import { ArgumentError, ShapeError } from "../errors.ts";
import { conv2d as convolve, conv2dTranspose as convolveTransposed } from "../ops/conv.ts";
import type { Conv2dOptions as ConvolveOptions } from "../ops/conv.ts";
import { add } from "../ops/map.ts";
import { pad, reshape } from "../ops/move.ts";
import type { Padding, Pair } from "../ops/window.ts";
import type { Tensor } from "../tensor.ts";
import { layer } from "./layer.ts";
import type { Layer } from "./layer.ts";
import { activationOf, checkCount, checkFeatures, checkOneOf, checkRank, configOf, lastOf, optionsOf, pairOf, singleOf, weightOptions } from "./options.ts";
import type { ActivationOption, InitializerOption, NameOption } from "./options.ts";
import type { RegularizerOption } from "./regularizers.ts";

/** Options of layers with a bias. */
interface BiasOptions extends NameOption {
  /** Default none. */
  readonly activation?: ActivationOption;
  /** Default true. */
  readonly useBias?: boolean;
  /** Default zeros. */
  readonly biasInitializer?: InitializerOption;
  /** Default none. */
  readonly biasRegularizer?: RegularizerOption;
}

/** Options of layers with a kernel and a bias. */
interface KernelOptions extends BiasOptions {
  /** Default glorotUniform. */
  readonly kernelInitializer?: InitializerOption;
  /** Default none. */
  readonly kernelRegularizer?: RegularizerOption;
}

/** How the window of a convolution moves. */
interface WindowOptions {
  /** Steps of the window. Default 1. */
  readonly strides?: Pair;
  /** `valid`: no padding; `same`: output is ceil(input / stride), the odd element of padding at the end. Default `valid`. */
  readonly padding?: Padding;
  /** Distance of the kernel's elements. Default 1. */
  readonly dilationRate?: Pair;
}

/** Options of the layer `conv2d`. */
export interface Conv2dLayerOptions extends KernelOptions, WindowOptions {
  /** Channels are split into this many parts, each with filters / groups filters of its own. Default 1. */
  readonly groups?: number;
}

const BIAS: Required<BiasOptions> = { name: "", activation: null, useBias: true, biasInitializer: "zeros", biasRegularizer: null };
const KERNEL: Required<KernelOptions> = { ...BIAS, kernelInitializer: "glorotUniform", kernelRegularizer: null };
const WINDOW: Required<WindowOptions> = { strides: 1, padding: "valid", dilationRate: 1 };
const IMAGES = "[batch, height, width, channels]";
const SEQUENCES = "[batch, time, channels]";

const biasOf = (who: string, o: Required<BiasOptions>) => weightOptions(who, o.biasInitializer, o.biasRegularizer);
const kernelOf = (who: string, o: Required<KernelOptions>) => weightOptions(who, o.kernelInitializer, o.kernelRegularizer);

function windowOptions(who: string, o: Required<WindowOptions>): ConvolveOptions {
  checkOneOf(who, "padding", o.padding, ["valid", "same"]);
  return { strides: pairOf(who, "strides", o.strides), dilation: pairOf(who, "dilationRate", o.dilationRate), padding: o.padding };
}

/** @throws ArgumentError unless `filters` and `groups` are counts and divide. */
function checkFilters(who: string, filters: number, groups = 1): void {
  checkCount(who, "filters", filters);
  checkCount(who, "groups", groups);
  if (filters % groups !== 0) throw new ArgumentError(`${who}: filters must be a multiple of groups, got ${filters} filters and ${groups} groups`);
}

/** Channels of one group. @throws ShapeError when they do not divide. */
function groupChannels(channels: number, groups: number): number {
  if (channels % groups !== 0) throw new ShapeError(`${channels} channels cannot be split into ${groups} groups of one size`);
  return channels / groups;
}

/**
 * 2-D convolution: [batch, height, width, channels] -> [batch, rows, columns, filters].
 * Weights: kernel [height, width, channels / groups, filters], bias [filters].
 * @throws ArgumentError for bad options; when called, ShapeError for another rank, channels that do not divide into groups and inputs smaller than the kernel.
 */
export function conv2d(filters: number, kernelSize: Pair, options: Conv2dLayerOptions = {}): Layer {
  const o = optionsOf("conv2d", { ...KERNEL, ...WINDOW, groups: 1 }, options);
  checkFilters("conv2d", filters, o.groups);
  const size = pairOf("conv2d", "kernelSize", kernelSize);
  const window = windowOptions("conv2d", o);
  const activation = activationOf("conv2d", o.activation);
  const [kernelOptions, biasOptions] = [kernelOf("conv2d", o), biasOf("conv2d", o)];
  return layer({
    kind: "conv2d",
    config: configOf({ filters, kernelSize, ...o }),
    build: (shape, weight) => {
      checkRank(shape, IMAGES, 4);
      weight("kernel", [...size, groupChannels(lastOf(shape), o.groups), filters], kernelOptions);
      if (o.useBias) weight("bias", [filters], biasOptions);
    },
    call: (x, { kernel, bias = null }) => activation.after(convolve(x, kernel, { ...window, groups: o.groups, bias, activation: activation.kernel })),
  });
}

/** Options of `conv1d`. */
export interface Conv1dOptions extends KernelOptions {
  /** Default 1. */
  readonly strides?: number | readonly [number];
  /** `causal`: padded at the start only, so that no output sees later inputs. Default `valid`. */
  readonly padding?: Padding | "causal";
  /** Default 1. */
  readonly dilationRate?: number | readonly [number];
  /** Default 1. */
  readonly groups?: number;
}

const CONV1D: Required<Conv1dOptions> = { ...KERNEL, strides: 1, padding: "valid", dilationRate: 1, groups: 1 };
/** [batch, time, channels] as images of height 1. */
const asRow = (x: Tensor): Tensor => reshape(x, [x.shape[0], 1, ...x.shape.slice(1)]);
const fromRow = (y: Tensor): Tensor => reshape(y, [y.shape[0], y.shape[2], y.shape[3]]);

/**
 * 1-D convolution: [batch, time, channels] -> [batch, steps, filters]. Weights: kernel [size, channels / groups, filters], bias [filters].
 * @throws as `conv2d`.
 */
export function conv1d(filters: number, kernelSize: number | readonly [number], options: Conv1dOptions = {}): Layer {
  const o = optionsOf("conv1d", CONV1D, options);
  checkFilters("conv1d", filters, o.groups);
  const size = singleOf("conv1d", "kernelSize", kernelSize);
  const [stride, dilation] = [singleOf("conv1d", "strides", o.strides), singleOf("conv1d", "dilationRate", o.dilationRate)];
  checkOneOf("conv1d", "padding", o.padding, ["valid", "same", "causal"]);
  const causal = o.padding === "causal";
  const activation = activationOf("conv1d", o.activation);
  const [kernelOptions, biasOptions] = [kernelOf("conv1d", o), biasOf("conv1d", o)];
  return layer({
    kind: "conv1d",
    config: configOf({ filters, kernelSize, ...o }),
    build: (shape, weight) => {
      checkRank(shape, SEQUENCES, 3);
      weight("kernel", [size, groupChannels(lastOf(shape), o.groups), filters], kernelOptions);
      if (o.useBias) weight("bias", [filters], biasOptions);
    },
    call: (x, { kernel, bias = null }) => {
      checkRank(x.shape, SEQUENCES, 3);
      const padded = causal ? pad(x, [[0, 0], [(size - 1) * dilation, 0], [0, 0]]) : x;
      const y = convolve(asRow(padded), reshape(kernel, [1, ...kernel.shape]), {
        strides: [1, stride], dilation: [1, dilation], padding: o.padding === "same" ? "same" : "valid", groups: o.groups, bias, activation: activation.kernel,
      });
      return activation.after(fromRow(y));
    },
  });
}

/** Convolves each channel alone with kernel [height, width, channels, multiplier]: filters of one channel lie side by side, as groups have them. */
function depthwise(x: Tensor, kernel: Tensor, options: ConvolveOptions): Tensor {
  const [r, s, channels, multiplier] = kernel.shape;
  return convolve(x, reshape(kernel, [r, s, 1, channels * multiplier]), { ...options, groups: channels });
}

/** Options of `depthwiseConv2d`. */
export interface DepthwiseConv2dOptions extends BiasOptions, WindowOptions {
  /** Filters of each channel. Default 1. */
  readonly depthMultiplier?: number;
  /** Default glorotUniform. */
  readonly depthwiseInitializer?: InitializerOption;
  /** Default none. */
  readonly depthwiseRegularizer?: RegularizerOption;
}

const DEPTHWISE: Required<DepthwiseConv2dOptions> = { ...BIAS, ...WINDOW, depthMultiplier: 1, depthwiseInitializer: "glorotUniform", depthwiseRegularizer: null };

/**
 * Convolution of each channel alone: [batch, height, width, channels] -> [batch, rows, columns, channels * depthMultiplier].
 * Weights: kernel [height, width, channels, depthMultiplier], bias [channels * depthMultiplier]. @throws as `conv2d`.
 */
export function depthwiseConv2d(kernelSize: Pair, options: DepthwiseConv2dOptions = {}): Layer {
  const who = "depthwiseConv2d";
  const o = optionsOf(who, DEPTHWISE, options);
  checkCount(who, "depthMultiplier", o.depthMultiplier);
  const size = pairOf(who, "kernelSize", kernelSize);
  const window = windowOptions(who, o);
  const activation = activationOf(who, o.activation);
  const [kernelOptions, biasOptions] = [weightOptions(who, o.depthwiseInitializer, o.depthwiseRegularizer), biasOf(who, o)];
  return layer({
    kind: who,
    config: configOf({ kernelSize, ...o }),
    build: (shape, weight) => {
      checkRank(shape, IMAGES, 4);
      weight("kernel", [...size, lastOf(shape), o.depthMultiplier], kernelOptions);
      if (o.useBias) weight("bias", [lastOf(shape) * o.depthMultiplier], biasOptions);
    },
    call: (x, { kernel, bias = null }) => activation.after(depthwise(x, kernel, { ...window, bias, activation: activation.kernel })),
  });
}

/** Options of `separableConv2d`. */
export interface SeparableConv2dOptions extends DepthwiseConv2dOptions {
  /** Default glorotUniform. */
  readonly pointwiseInitializer?: InitializerOption;
  /** Default none. */
  readonly pointwiseRegularizer?: RegularizerOption;
}

/**
 * Convolution of each channel alone, then of all channels with a 1x1 kernel: [batch, height, width, channels] -> [batch, rows, columns, filters].
 * Weights: depthwiseKernel [height, width, channels, depthMultiplier], pointwiseKernel [1, 1, channels * depthMultiplier, filters], bias [filters]. @throws as `conv2d`.
 */
export function separableConv2d(filters: number, kernelSize: Pair, options: SeparableConv2dOptions = {}): Layer {
  const who = "separableConv2d";
  const o = optionsOf<Required<SeparableConv2dOptions>>(who, { ...DEPTHWISE, pointwiseInitializer: "glorotUniform", pointwiseRegularizer: null }, options);
  checkFilters(who, filters);
  checkCount(who, "depthMultiplier", o.depthMultiplier);
  const size = pairOf(who, "kernelSize", kernelSize);
  const window = windowOptions(who, o);
  const activation = activationOf(who, o.activation);
  const depthwiseOptions = weightOptions(who, o.depthwiseInitializer, o.depthwiseRegularizer);
  const pointwiseOptions = weightOptions(who, o.pointwiseInitializer, o.pointwiseRegularizer);
  const biasOptions = biasOf(who, o);
  return layer({
    kind: who,
    config: configOf({ filters, kernelSize, ...o }),
    build: (shape, weight) => {
      checkRank(shape, IMAGES, 4);
      weight("depthwiseKernel", [...size, lastOf(shape), o.depthMultiplier], depthwiseOptions);
      weight("pointwiseKernel", [1, 1, lastOf(shape) * o.depthMultiplier, filters], pointwiseOptions);
      if (o.useBias) weight("bias", [filters], biasOptions);
    },
    call: (x, { depthwiseKernel, pointwiseKernel, bias = null }) =>
      activation.after(convolve(depthwise(x, depthwiseKernel, window), pointwiseKernel, { bias, activation: activation.kernel })),
  });
}

/** Options of `conv2dTranspose`. */
export interface Conv2dTransposeOptions extends KernelOptions {
  /** Default 1. */
  readonly strides?: Pair;
  /** `valid`: rows = (height - 1) * stride + max(size, stride); `same`: rows = height * stride. Default `valid`. */
  readonly padding?: Padding;
}

/** The convolution, the bias and the activation: the transposed kernel applies neither. */
function transposed(x: Tensor, kernel: Tensor, bias: Tensor | null, strides: Pair, padding: Padding, apply: (y: Tensor) => Tensor): Tensor {
  checkFeatures(x, lastOf(kernel.shape));
  const y = convolveTransposed(x, kernel, { strides, padding });
  return apply(bias === null ? y : add(y, bias));
}

/**
 * Transposed convolution ("deconvolution"), the gradient of conv2d: [batch, height, width, channels] -> [batch, rows, columns, filters].
 * Weights: kernel [height, width, filters, channels], bias [filters]. @throws as `conv2d`.
 */
export function conv2dTranspose(filters: number, kernelSize: Pair, options: Conv2dTransposeOptions = {}): Layer {
  const who = "conv2dTranspose";
  const o = optionsOf<Required<Conv2dTransposeOptions>>(who, { ...KERNEL, strides: 1, padding: "valid" }, options);
  checkFilters(who, filters);
  const size = pairOf(who, "kernelSize", kernelSize);
  const strides = pairOf(who, "strides", o.strides);
  checkOneOf(who, "padding", o.padding, ["valid", "same"]);
  const activation = activationOf(who, o.activation);
  const [kernelOptions, biasOptions] = [kernelOf(who, o), biasOf(who, o)];
  return layer({
    kind: who,
    config: configOf({ filters, kernelSize, ...o }),
    build: (shape, weight) => {
      checkRank(shape, IMAGES, 4);
      weight("kernel", [...size, filters, lastOf(shape)], kernelOptions);
      if (o.useBias) weight("bias", [filters], biasOptions);
    },
    call: (x, { kernel, bias = null }) => transposed(x, kernel, bias, strides, o.padding, activation.apply),
  });
}

/** Options of `conv1dTranspose`. */
export interface Conv1dTransposeOptions extends KernelOptions {
  /** Default 1. */
  readonly strides?: number | readonly [number];
  /** As in `conv2dTranspose`. Default `valid`. */
  readonly padding?: Padding;
}

/** Transposed 1-D convolution: [batch, time, channels] -> [batch, steps, filters]. Weights: kernel [size, filters, channels], bias [filters]. @throws as `conv2d`. */
export function conv1dTranspose(filters: number, kernelSize: number | readonly [number], options: Conv1dTransposeOptions = {}): Layer {
  const who = "conv1dTranspose";
  const o = optionsOf<Required<Conv1dTransposeOptions>>(who, { ...KERNEL, strides: 1, padding: "valid" }, options);
  checkFilters(who, filters);
  const size = singleOf(who, "kernelSize", kernelSize);
  const stride = singleOf(who, "strides", o.strides);
  checkOneOf(who, "padding", o.padding, ["valid", "same"]);
  const activation = activationOf(who, o.activation);
  const [kernelOptions, biasOptions] = [kernelOf(who, o), biasOf(who, o)];
  return layer({
    kind: who,
    config: configOf({ filters, kernelSize, ...o }),
    build: (shape, weight) => {
      checkRank(shape, SEQUENCES, 3);
      weight("kernel", [size, filters, lastOf(shape)], kernelOptions);
      if (o.useBias) weight("bias", [filters], biasOptions);
    },
    call: (x, { kernel, bias = null }) => {
      checkRank(x.shape, SEQUENCES, 3);
      return fromRow(transposed(asRow(x), reshape(kernel, [1, ...kernel.shape]), bias, [1, stride], o.padding, activation.apply));
    },
  });
}

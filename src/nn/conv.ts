/** @file Convolutions. Those of one dimension run as rows of height 1, depthwise ones as as many groups as channels. */
import { ArgumentError, ShapeError } from "../errors.ts";
import { conv2d as convolve, conv2dTranspose as convolveTransposed } from "../ops/conv.ts";
import type { Conv2dOptions as ConvolveOptions } from "../ops/conv.ts";
import { add } from "../ops/map.ts";
import { reshape } from "../ops/move.ts";
import type { ConvPadding, Padding, Pair } from "../ops/window.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { Layer } from "./layer.ts";
import {
  activationOf,
  checkCount,
  checkFeatures,
  checkImages,
  checkPadding,
  lastOf,
  layerOf,
  onImages,
  windowOf,
  whole,
} from "./options.ts";
import type { ActivationOption, Given, InitializerOption, NameOption, PairOrSingle, SplitActivation } from "./options.ts";
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
export interface KernelOptions extends BiasOptions {
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

/** The options of all kinds; those that a kind does not have are absent from its defaults, and so refused. */
interface Options extends Required<BiasOptions> {
  readonly strides: PairOrSingle;
  readonly padding: ConvPadding;
  readonly dilationRate?: PairOrSingle;
  readonly groups?: number;
  readonly depthMultiplier?: number;
}

const BIAS: Required<BiasOptions> = { name: "", activation: null, useBias: true, biasInitializer: "zeros", biasRegularizer: null };
// What bundles may leave out has no spread at module level: bundlers take it for an effect, a call that the build marks as pure not.
export const KERNEL: Required<KernelOptions> = Object.assign(
  { kernelInitializer: "glorotUniform" as const, kernelRegularizer: null },
  BIAS,
);
const MOVES = { strides: 1, padding: "valid" } as const;

/** What tells one kind of convolution from another. */
interface Kind {
  readonly kind: string;
  /** Of the input: 4 for images; 3 for sequences, which run as images of height 1. */
  readonly rank: 3 | 4;
  readonly defaults: Options;
  /** Name and shape of each kernel, and the name of its options where it is another. @throws ShapeError for channels that do not fit */
  readonly kernels: (
    size: readonly number[],
    channels: number,
    filters: number,
    o: Options,
  ) => readonly (readonly [name: string, shape: Shape, option?: string])[];
  readonly run: (images: Tensor, kernels: readonly Tensor[], options: ConvolveOptions, activation: SplitActivation) => Tensor;
}

/** `filters`: of each channel by itself where there is `depthMultiplier` and this is null. */
function convolution(
  { kind, rank, defaults, kernels, run }: Kind,
  filters: number | null,
  kernelSize: PairOrSingle,
  options: Given<Options>,
): Layer {
  return layerOf(kind, filters === null ? { kernelSize } : { filters, kernelSize }, defaults, options, (o) => {
    const { padding, groups = 1, depthMultiplier = 1 } = o;
    for (const [what, count] of Object.entries({ filters: filters ?? 1, groups, depthMultiplier })) checkCount(kind, what, count);
    if (filters !== null && filters % groups !== 0)
      throw new ArgumentError(`${kind}: filters must be a multiple of groups, got ${filters} filters and ${groups} groups`);
    const size = windowOf(kind, rank, "kernelSize", kernelSize);
    const strides = windowOf(kind, rank, "strides", o.strides);
    const dilation = windowOf(kind, rank, "dilationRate", o.dilationRate ?? 1);
    checkPadding(kind, padding, ["valid", "same", ...(kind === "conv1d" ? (["causal"] as const) : [])]);
    const activation = activationOf(kind, o.activation);
    return {
      build: (shape, weight) => {
        checkImages(shape, rank);
        const channels = lastOf(shape);
        const outputs = filters ?? channels * depthMultiplier;
        for (const [name, kernel, option] of kernels(size.slice(4 - rank), channels, outputs, o)) weight(name, kernel, {}, option);
        if (o.useBias) weight("bias", [outputs]);
      },
      call: (x, { bias = null, ...weights }) =>
        onImages(x, rank, (images) =>
          run(
            images,
            Object.values(weights).map((w) => (rank === 4 ? w : reshape(w, [1, ...w.shape]))),
            { strides, dilation, padding, groups, bias, activation: activation.kernel },
            activation,
          ),
        ),
    };
  });
}

/** Shared by `conv2d` and `conv1d`. */
const PLAIN: Pick<Kind, "kernels" | "run"> = {
  kernels: (size, channels, filters, { groups = 1 }) => {
    if (channels % groups !== 0) throw new ShapeError(`${channels} channels cannot be split into ${groups} groups of one size`);
    return [["kernel", [...size, channels / groups, filters]]];
  },
  run: (x, [kernel], options, activation) => activation.after(convolve(x, kernel, options)),
};
const CONV2D: Kind = Object.assign(
  { kind: "conv2d", rank: 4, defaults: Object.assign({ dilationRate: 1, groups: 1 }, KERNEL, MOVES) } as const,
  PLAIN,
);
const CONV1D: Kind = Object.assign({}, CONV2D, { kind: "conv1d", rank: 3 } as const);

/**
 * 2-D convolution: [batch, height, width, channels] -> [batch, rows, columns, filters].
 * Weights: kernel [height, width, channels / groups, filters], bias [filters].
 * @throws ArgumentError for bad options; when called, ShapeError for another rank, channels that do not divide into groups and inputs
 * smaller than the kernel.
 */
export const conv2d = (filters: number, kernelSize: Pair, options: Conv2dLayerOptions = {}): Layer =>
  convolution(CONV2D, filters, kernelSize, options);

/** Options of `conv1d`. */
export interface Conv1dOptions extends KernelOptions {
  /** Default 1. */
  readonly strides?: number | readonly [number];
  /** `causal`: padded at the start only, so that no output sees later inputs. Default `valid`. */
  readonly padding?: ConvPadding;
  /** Default 1. */
  readonly dilationRate?: number | readonly [number];
  /** Default 1. */
  readonly groups?: number;
}

/**
 * 1-D convolution: [batch, time, channels] -> [batch, steps, filters]. Weights: kernel [size, channels / groups, filters], bias [filters].
 * @throws as `conv2d`.
 */
export const conv1d = (filters: number, kernelSize: number | readonly [number], options: Conv1dOptions = {}): Layer =>
  convolution(CONV1D, filters, kernelSize, options);

/**
 * Convolves each channel alone with kernel [height, width, channels, multiplier]: filters of one channel lie side by side, as groups have
 * them.
 */
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

/** A name of their own: bundlers keep what reads a property at the top level. */
const DEPTHWISE_DEFAULTS: Required<DepthwiseConv2dOptions> = Object.assign(
  { dilationRate: 1, depthMultiplier: 1, depthwiseInitializer: "glorotUniform", depthwiseRegularizer: null } as const,
  BIAS,
  MOVES,
);

const DEPTHWISE: Kind = {
  kind: "depthwiseConv2d",
  rank: 4,
  defaults: DEPTHWISE_DEFAULTS,
  kernels: (size, channels, _filters, o) => [["kernel", [...size, channels, o.depthMultiplier as number], "depthwise"]],
  run: (x, [kernel], options, activation) => activation.after(depthwise(x, kernel, options)),
};

/**
 * Convolution of each channel alone: [batch, height, width, channels] -> [batch, rows, columns, channels * depthMultiplier].
 * Weights: kernel [height, width, channels, depthMultiplier], bias [channels * depthMultiplier]. @throws as `conv2d`.
 */
export const depthwiseConv2d = (kernelSize: Pair, options: DepthwiseConv2dOptions = {}): Layer =>
  convolution(DEPTHWISE, null, kernelSize, options);

/** Options of `depthwiseConv1d`. */
export interface DepthwiseConv1dOptions extends Omit<DepthwiseConv2dOptions, keyof WindowOptions> {
  /** Default 1. */
  readonly strides?: number | readonly [number];
  /** As in `conv2d`. Default `valid`. */
  readonly padding?: Padding;
  /** Default 1. */
  readonly dilationRate?: number | readonly [number];
}

const DEPTHWISE1D: Kind = Object.assign({}, DEPTHWISE, { kind: "depthwiseConv1d", rank: 3 } as const);

/**
 * Convolution of each channel alone: [batch, time, channels] -> [batch, steps, channels * depthMultiplier]. Weights: kernel [size,
 * channels, depthMultiplier], bias [channels * depthMultiplier]. @throws as `conv2d`.
 */
export const depthwiseConv1d = (kernelSize: number | readonly [number], options: DepthwiseConv1dOptions = {}): Layer =>
  convolution(DEPTHWISE1D, null, kernelSize, options);

/** Options of `separableConv2d`. */
export interface SeparableConv2dOptions extends DepthwiseConv2dOptions {
  /** Default glorotUniform. */
  readonly pointwiseInitializer?: InitializerOption;
  /** Default none. */
  readonly pointwiseRegularizer?: RegularizerOption;
}

const SEPARABLE: Kind = {
  kind: "separableConv2d",
  rank: 4,
  defaults: Object.assign({ pointwiseInitializer: "glorotUniform", pointwiseRegularizer: null } as const, DEPTHWISE_DEFAULTS),
  kernels: (size, channels, filters, { depthMultiplier = 1 }) => [
    ["depthwiseKernel", [...size, channels, depthMultiplier], "depthwise"],
    ["pointwiseKernel", [...size.map(() => 1), channels * depthMultiplier, filters], "pointwise"],
  ],
  run: (x, [first, second], { bias, activation, ...moves }, { after }) =>
    after(convolve(depthwise(x, first, moves), second, { bias, activation })),
};

/**
 * Convolution of each channel alone, then of all channels with a 1x1 kernel: [batch, height, width, channels] ->
 * [batch, rows, columns, filters]. Weights: depthwiseKernel [height, width, channels, depthMultiplier], pointwiseKernel
 * [1, 1, channels * depthMultiplier, filters], bias [filters]. @throws as `conv2d`.
 */
export const separableConv2d = (filters: number, kernelSize: Pair, options: SeparableConv2dOptions = {}): Layer =>
  convolution(SEPARABLE, filters, kernelSize, options);

/** Options of `separableConv1d`. */
export interface SeparableConv1dOptions extends DepthwiseConv1dOptions {
  /** Default glorotUniform. */
  readonly pointwiseInitializer?: InitializerOption;
  /** Default none. */
  readonly pointwiseRegularizer?: RegularizerOption;
}

const SEPARABLE1D: Kind = Object.assign({}, SEPARABLE, { kind: "separableConv1d", rank: 3 } as const);

/**
 * Convolution of each channel alone, then of all channels with a kernel of 1: [batch, time, channels] -> [batch, steps, filters]. Weights:
 * depthwiseKernel [size, channels, depthMultiplier], pointwiseKernel [1, channels * depthMultiplier, filters], bias [filters]. @throws as
 * `conv2d`.
 */
export const separableConv1d = (filters: number, kernelSize: number | readonly [number], options: SeparableConv1dOptions = {}): Layer =>
  convolution(SEPARABLE1D, filters, kernelSize, options);

/** Options of `conv2dTranspose`. */
export interface Conv2dTransposeOptions extends KernelOptions {
  /** Default 1. */
  readonly strides?: Pair;
  /** `valid`: rows = (height - 1) * stride + max(size, stride); `same`: rows = height * stride. Default `valid`. */
  readonly padding?: Padding;
}

/** The transposed kernel applies neither the bias nor the activation. */
const TRANSPOSE2D: Kind = {
  kind: "conv2dTranspose",
  rank: 4,
  defaults: Object.assign({}, KERNEL, MOVES),
  kernels: (size, channels, filters) => [["kernel", [...size, filters, channels]]],
  run: (x, [kernel], { strides, padding, bias }, activation) => {
    checkFeatures(x, lastOf(kernel.shape));
    const y = convolveTransposed(x, kernel, { strides, padding: padding as Padding });
    return whole(activation)(bias ? add(y, bias) : y);
  },
};
const TRANSPOSE1D: Kind = Object.assign({}, TRANSPOSE2D, { kind: "conv1dTranspose", rank: 3 } as const);

/**
 * Transposed convolution ("deconvolution"), the gradient of conv2d: [batch, height, width, channels] -> [batch, rows, columns, filters].
 * Weights: kernel [height, width, filters, channels], bias [filters]. @throws as `conv2d`.
 */
export const conv2dTranspose = (filters: number, kernelSize: Pair, options: Conv2dTransposeOptions = {}): Layer =>
  convolution(TRANSPOSE2D, filters, kernelSize, options);

/** Options of `conv1dTranspose`. */
export interface Conv1dTransposeOptions extends KernelOptions {
  /** Default 1. */
  readonly strides?: number | readonly [number];
  /** As in `conv2dTranspose`. Default `valid`. */
  readonly padding?: Padding;
}

/**
 * Transposed 1-D convolution: [batch, time, channels] -> [batch, steps, filters]. Weights: kernel [size, filters, channels], bias
 * [filters]. @throws as `conv2d`.
 */
export const conv1dTranspose = (filters: number, kernelSize: number | readonly [number], options: Conv1dTransposeOptions = {}): Layer =>
  convolution(TRANSPOSE1D, filters, kernelSize, options);

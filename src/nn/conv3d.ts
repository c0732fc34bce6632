/** @file Convolutions of volumes [batch, depth, height, width, channels]. */
import { ArgumentError, ShapeError } from "../errors.ts";
import { add } from "../ops/map.ts";
import { conv3d as convolve, conv3dTranspose as convolveTransposed } from "../ops/volumes.ts";
import type { Padding } from "../ops/window.ts";
import { KERNEL } from "./conv.ts";
import type { KernelOptions } from "./conv.ts";
import type { Layer } from "./layer.ts";
import { activationOf, checkCount, checkFeatures, checkImages, checkPadding, lastOf, layerOf, whole } from "./options.ts";
import { tripleOf } from "./sizes.ts";
import type { Triple } from "./sizes.ts";

/** Options of `conv3d`. */
export interface Conv3dOptions extends KernelOptions {
  /** Steps of the window. Default 1. */
  readonly strides?: Triple;
  /** `valid`: no padding; `same`: output is ceil(input / stride), the odd element of padding at the end. Default `valid`. */
  readonly padding?: Padding;
  /** Distance of the kernel's elements. Default 1. */
  readonly dilationRate?: Triple;
  /** Channels are split into this many parts, each with filters / groups filters of its own. Default 1. */
  readonly groups?: number;
}

/**
 * 3-D convolution, of volumes, or of images over time: [batch, depth, height, width, channels] -> [batch, depths, rows, columns, filters].
 * Weights: kernel [depth, height, width, channels / groups, filters], bias [filters]. As Keras' `Conv3D`.
 * @throws ArgumentError for bad options; when called, ShapeError for another rank, channels that do not divide into groups and inputs
 * smaller than the kernel.
 */
export function conv3d(filters: number, kernelSize: Triple, options: Conv3dOptions = {}): Layer {
  const defaults: Required<Conv3dOptions> = { ...KERNEL, strides: 1, padding: "valid", dilationRate: 1, groups: 1 };
  return layerOf("conv3d", { filters, kernelSize }, defaults, options, ({ padding, groups, useBias, ...o }) => {
    checkCount("conv3d", "filters", filters);
    checkCount("conv3d", "groups", groups);
    if (filters % groups !== 0)
      throw new ArgumentError(`conv3d: filters must be a multiple of groups, got ${filters} filters and ${groups} groups`);
    const size = tripleOf("conv3d", "kernelSize", kernelSize);
    const strides = tripleOf("conv3d", "strides", o.strides);
    const dilation = tripleOf("conv3d", "dilationRate", o.dilationRate);
    checkPadding("conv3d", padding, ["valid", "same"]);
    const activation = whole(activationOf("conv3d", o.activation));
    return {
      build: (shape, weight) => {
        checkImages(shape, 5);
        const channels = lastOf(shape);
        if (channels % groups !== 0) throw new ShapeError(`${channels} channels cannot be split into ${groups} groups of one size`);
        weight("kernel", [...size, channels / groups, filters]);
        if (useBias) weight("bias", [filters]);
      },
      call: (x, { kernel, bias = null }) => {
        checkImages(x.shape, 5);
        checkFeatures(x, kernel.shape[3] * groups);
        return activation(convolve(x, kernel, { strides, dilation, padding, groups, bias }));
      },
    };
  });
}

/** Options of `conv3dTranspose`. */
export interface Conv3dTransposeOptions extends KernelOptions {
  /** Default 1. */
  readonly strides?: Triple;
  /** `valid`: each size becomes (size - 1) * stride + max(kernel, stride); `same`: size * stride. Default `valid`. */
  readonly padding?: Padding;
}

/**
 * Transposed convolution ("deconvolution"), the gradient of conv3d: [batch, depth, height, width, channels] -> [batch, depths, rows,
 * columns, filters]. Weights: kernel [depth, height, width, filters, channels], bias [filters]. As Keras' `Conv3DTranspose`. @throws as
 * `conv3d`
 */
export function conv3dTranspose(filters: number, kernelSize: Triple, options: Conv3dTransposeOptions = {}): Layer {
  const defaults: Required<Conv3dTransposeOptions> = { ...KERNEL, strides: 1, padding: "valid" };
  return layerOf("conv3dTranspose", { filters, kernelSize }, defaults, options, ({ padding, useBias, ...o }) => {
    checkCount("conv3dTranspose", "filters", filters);
    const size = tripleOf("conv3dTranspose", "kernelSize", kernelSize);
    const strides = tripleOf("conv3dTranspose", "strides", o.strides);
    checkPadding("conv3dTranspose", padding, ["valid", "same"]);
    const activation = whole(activationOf("conv3dTranspose", o.activation));
    return {
      build: (shape, weight) => {
        checkImages(shape, 5);
        weight("kernel", [...size, filters, lastOf(shape)]);
        if (useBias) weight("bias", [filters]);
      },
      call: (x, { kernel, bias = null }) => {
        checkImages(x.shape, 5);
        checkFeatures(x, kernel.shape[4]);
        const y = convolveTransposed(x, kernel, { strides, padding });
        return activation(bias === null ? y : add(y, bias));
      },
    };
  });
}

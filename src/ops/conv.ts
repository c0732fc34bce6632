/** @file 2-D convolution and its two gradients, each other's gradients in turn, so that second derivatives exist. */
import { apply } from "../apply.ts";
import { checkCount, checkOptions } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import { asTensor, floats } from "../graph.ts";
import type { Op } from "../graph.ts";
import type { Activation, ConvAttrs } from "../plan/kernels.ts";
import type { Attrs } from "../op.ts";
import { showShape } from "../shape.ts";
import { checkDType } from "../tensor.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import * as kernels from "../kernels.ts";
import { TRAINING } from "../training.ts";
import { activationGrad, checkKernelActivation } from "./activation.ts";
import { checkBias, columnSum } from "./matmul.ts";
import { pair, windowOf } from "./window.ts";
import type { ConvPadding, Padding, Pads, Pair } from "./window.ts";

const shapes = {
  x: (a: ConvAttrs) => [a.n, a.h, a.w, a.c],
  w: (a: ConvAttrs) => [a.r, a.s, a.c / a.groups, a.f],
  y: (a: ConvAttrs) => [a.n, a.p, a.q, a.f],
};
const attrsOf = (attrs: Attrs): ConvAttrs => attrs as unknown as ConvAttrs;
const linear = (a: ConvAttrs): Attrs => ({ ...a, activation: "linear" });

export const conv2dOp: Op = {
  name: "conv2d",
  infer: (_inputs, attrs) => floats(shapes.y(attrsOf(attrs))),
  vjp: TRAINING
    ? ({ dy, y, x, needs, attrs }) => {
        const a = attrsOf(attrs);
        const dz = activationGrad(a.activation, dy[0] as Tensor, y[0]);
        return [
          needs[0] ? apply(conv2dInputGradOp, [dz, x[1]], linear(a))[0] : null,
          needs[1] ? apply(conv2dFilterGradOp, [x[0], dz], linear(a))[0] : null,
          needs[2] ? columnSum(dz) : null,
        ];
      }
    : null,
  lower: kernels.conv2d,
};

/** (dy, w) -> dx; linear in both. */
export const conv2dInputGradOp: Op = {
  name: "conv2dInputGrad",
  infer: (_inputs, attrs) => floats(shapes.x(attrsOf(attrs))),
  vjp: TRAINING
    ? ({ dy, x, needs, attrs }) => [
        needs[0] ? apply(conv2dOp, [dy[0], x[1], null], attrs)[0] : null,
        needs[1] ? apply(conv2dFilterGradOp, [dy[0], x[0]], attrs)[0] : null,
      ]
    : null,
  lower: kernels.conv2dInputGrad,
};

/** (x, dy) -> dw; linear in both. */
export const conv2dFilterGradOp: Op = {
  name: "conv2dFilterGrad",
  infer: (_inputs, attrs) => floats(shapes.w(attrsOf(attrs))),
  vjp: TRAINING
    ? ({ dy, x, needs, attrs }) => [
        needs[0] ? apply(conv2dInputGradOp, [x[1], dy[0]], attrs)[0] : null,
        needs[1] ? apply(conv2dOp, [x[0], dy[0], null], attrs)[0] : null,
      ]
    : null,
  lower: kernels.conv2dFilterGrad,
};

/** Options of the op `conv2d`. */
export interface Conv2dOptions {
  /** Default 1. */
  readonly strides?: Pair;
  /**
   * `valid`: no padding; `same`: output is ceil(input / stride), as in TensorFlow; `causal`: so too, all padding before the first row and
   * column; [[top, bottom], [left, right]]: so many zeros. Default `valid`.
   */
  readonly padding?: ConvPadding | Pads;
  /** Distance of the taps. Default 1. */
  readonly dilation?: Pair;
  /** Channels are split into this many independent parts. Default 1. */
  readonly groups?: number;
  /** [F] */
  readonly bias?: TensorLike | null;
  /** Applied by the kernel. Default linear. */
  readonly activation?: Activation;
}

/**
 * x[N, H, W, C] with filters w[R, S, C/groups, F] -> [N, P, Q, F], f32.
 * Many 3x3 convolutions run on tiles of 4x4 pixels (Winograd's method), on WebAssembly and, where they are large, on a GPU in f32: the mean
 * error of an element is then about twice that of a direct sum, and a NaN or an infinity of x reaches all elements of the tiles that read
 * it. Where that is so is decided by shapes and by what the adapter is.
 * @throws ShapeError when ranks or channels do not fit or the window is larger than the input.
 */
export function conv2d(input: TensorLike, filters: TensorLike, options: Conv2dOptions = {}): Tensor {
  const [x, w] = [asTensor(input, "f32", "conv2d"), asTensor(filters, "f32", "conv2d")];
  checkOptions("conv2d", options, ["strides", "padding", "dilation", "groups", "bias", "activation"]);
  const { strides = 1, padding = "valid", dilation = 1, groups = 1, bias: given = null, activation = "linear" } = options;
  const bias = given === null ? null : asTensor(given, "f32", "conv2d: bias");
  for (const t of [x, w]) checkDType("conv2d", t, ["f32"]);
  if (w.rank !== 4) throw new ShapeError(`conv2d: expected filters [rows, columns, channels, filters], got ${showShape(w.shape)}`);
  checkKernelActivation("conv2d", activation);
  const window = windowOf("conv2d", x.shape, {
    size: [w.shape[0], w.shape[1]],
    strides: pair("conv2d: strides", strides),
    dilation: pair("conv2d: dilation", dilation),
    padding,
    paddings: ["valid", "same", "causal"],
  });
  const f = w.shape[3];
  if (w.shape[2] * groups !== window.c || f % groups !== 0) {
    throw new ShapeError(
      `conv2d: input ${showShape(x.shape)} has ${window.c} channels, filters ${showShape(w.shape)} with ${groups} ` +
        `group${groups === 1 ? "" : "s"} read ${w.shape[2] * groups}`,
    );
  }
  checkBias("conv2d", bias, f);
  const attrs: ConvAttrs = { ...window, f, groups, activation };
  return apply(conv2dOp, [x, w, bias], attrs as unknown as Attrs)[0];
}

/** Options of the op `conv2dTranspose`. */
export interface Conv2dTransposeOptions {
  /** Default 1. */
  readonly strides?: Pair;
  /** Of the convolution whose gradient it is: what of the output's border is left out. Default `valid`. */
  readonly padding?: Padding | Pads;
  /** Distance of the taps. Default 1. */
  readonly dilation?: Pair;
  /** Channels are split into this many independent parts. Default 1. */
  readonly groups?: number;
  /** Rows and columns of the output; only with padding in numbers. Default: as many as filters reach, less the padding. */
  readonly outputSize?: Pair | null;
}

/**
 * The gradient of conv2d with respect to its input, as an op of its own ("transposed convolution"): x[N, P, Q, F] with w[R, S, C/groups, F]
 * -> [N, H, W, C], f32. `valid`: H = (P-1)*stride + the taps' span (at least P*stride); `same`: H = P*stride; with padding in numbers H =
 * (P-1)*stride + span - top - bottom, or `outputSize`.
 * @throws ShapeError where shapes do not fit, ArgumentError for options out of range
 */
export function conv2dTranspose(input: TensorLike, filters: TensorLike, options: Conv2dTransposeOptions = {}): Tensor {
  const [x, w] = [asTensor(input, "f32", "conv2dTranspose"), asTensor(filters, "f32", "conv2dTranspose")];
  for (const t of [x, w]) checkDType("conv2dTranspose", t, ["f32"]);
  const {
    strides = 1,
    padding = "valid",
    dilation = 1,
    groups = 1,
    outputSize = null,
  } = checkOptions("conv2dTranspose", options, ["strides", "padding", "dilation", "groups", "outputSize"]);
  const [by, apart] = [pair("conv2dTranspose: strides", strides), pair("conv2dTranspose: dilation", dilation)];
  checkCount("conv2dTranspose", "groups", groups);
  if (x.rank !== 4 || w.rank !== 4 || x.shape[3] !== w.shape[3] || x.shape[3] % groups !== 0)
    throw new ShapeError(
      `conv2dTranspose: expected x [N, P, Q, F] and w [R, S, C/groups, F], F a multiple of ${groups} ` +
        `group${groups === 1 ? "" : "s"}, got ${showShape(x.shape)} and ${showShape(w.shape)}`,
    );
  const [n, p, q, f] = x.shape;
  const c = w.shape[2] * groups;
  const size: readonly [number, number] = [w.shape[0], w.shape[1]];
  const geometry = (h: number, width: number): ConvAttrs => ({
    ...windowOf("conv2dTranspose", [n, h, width, c], { size, strides: by, dilation: apart, padding }),
    p,
    q,
    f,
    groups,
    activation: "linear",
  });
  const full = (along: 0 | 1): number => {
    const [count, span] = [along === 0 ? p : q, (size[along] - 1) * apart[along] + 1];
    if (typeof padding !== "string") return (count - 1) * by[along] + span - padding[along][0] - padding[along][1];
    return count * by[along] + (padding === "same" ? 0 : Math.max(span - by[along], 0));
  };
  if (outputSize !== null && typeof padding === "string")
    throw new ArgumentError(`conv2dTranspose: outputSize needs padding in numbers, got ${JSON.stringify(padding)}`);
  const [h, width] = outputSize === null ? [full(0), full(1)] : pair("conv2dTranspose: outputSize", outputSize);
  return apply(conv2dInputGradOp, [x, w], geometry(h, width) as unknown as Attrs)[0];
}

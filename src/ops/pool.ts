/** @file Max and average pooling over 2-D windows. */
import { apply } from "../apply.ts";
import { checkOptions } from "../check.ts";
import { asTensor, floats } from "../graph.ts";
import type { Op } from "../graph.ts";
import type { PoolAttrs } from "../plan/kernels.ts";
import type { Attrs } from "../op.ts";
import { checkDType } from "../tensor.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import * as kernels from "../kernels.ts";
import { TRAINING } from "../training.ts";
import { pair, windowOf } from "./window.ts";
import type { Padding, Pads, Pair } from "./window.ts";

const attrsOf = (attrs: Attrs): PoolAttrs => attrs as unknown as PoolAttrs;
const input = (a: PoolAttrs): readonly number[] => [a.n, a.h, a.w, a.c];
const output = (a: PoolAttrs): readonly number[] => [a.n, a.p, a.q, a.c];

/** x -> y, index; the index is only computed where the gradient wants it. */
export const maxPoolOp: Op = {
  name: "maxPool",
  infer: (_inputs, attrs) => [...floats(output(attrsOf(attrs))), { shape: output(attrsOf(attrs)), dtype: "i32" }],
  vjp: TRAINING ? ({ dy, y, attrs }) => [dy[0] === null ? null : apply(maxPoolGradOp, [dy[0], y[1]], attrs)[0]] : null,
  lower: kernels.maxPool,
};

/** Linear in dy; its own gradient would gather by the index and is not offered. */
export const maxPoolGradOp: Op = {
  name: "maxPoolGrad",
  infer: (_inputs, attrs) => floats(input(attrsOf(attrs))),
  vjp: null,
  gradientOf: "max pooling",
  lower: kernels.maxPoolGrad,
};

export const avgPoolOp: Op = {
  name: "avgPool",
  infer: (_inputs, attrs) => floats(output(attrsOf(attrs))),
  vjp: TRAINING ? ({ dy, attrs }) => [apply(avgPoolGradOp, [dy[0]], attrs)[0]] : null,
  lower: kernels.avgPool,
};

export const avgPoolGradOp: Op = {
  name: "avgPoolGrad",
  infer: (_inputs, attrs) => floats(input(attrsOf(attrs))),
  vjp: TRAINING ? ({ dy, attrs }) => [apply(avgPoolOp, [dy[0]], attrs)[0]] : null,
  lower: kernels.avgPoolGrad,
};

/** Options of the ops `maxPool2d` and `avgPool2d`. */
export interface PoolOptions {
  /** Default: the pool size. */
  readonly strides?: Pair;
  /**
   * Default `valid`. `same`: as many windows as there are strides; [[top, bottom], [left, right]]: so much around. Elements outside do not
   * count: a window with nothing inside gives 0.
   */
  readonly padding?: Padding | Pads;
}

function pool(op: Op, who: string, input: TensorLike, size: Pair, options: PoolOptions): Tensor {
  const x = asTensor(input, "f32", who);
  const { strides = size, padding = "valid" } = checkOptions(who, options, ["strides", "padding"]);
  checkDType(who, x, ["f32"]);
  const attrs = windowOf(who, x.shape, { size: pair(`${who}: poolSize`, size), strides: pair(`${who}: strides`, strides), padding });
  return apply(op, [x], attrs as unknown as Attrs)[0];
}

/** Largest element of each window, x[N, H, W, C] -> [N, P, Q, C]. The gradient goes to the first largest. */
export const maxPool2d = (x: TensorLike, size: Pair = 2, options: PoolOptions = {}): Tensor =>
  pool(maxPoolOp, "maxPool2d", x, size, options);
/** Mean of each window, x[N, H, W, C] -> [N, P, Q, C]. */
export const avgPool2d = (x: TensorLike, size: Pair = 2, options: PoolOptions = {}): Tensor =>
  pool(avgPoolOp, "avgPool2d", x, size, options);

/**
 * @file Names that are both an op and a layer. Called with a tensor they compute; called with options they make a layer.
 */
import * as layers from "./nn/index.ts";
import type { Layer } from "./nn/index.ts";
import * as ops from "./ops/public.ts";
import { Tensor } from "./tensor.ts";
import type { TensorLike } from "./tensor.ts";

type Operation = (...args: never[]) => Tensor;
type Factory = (...args: never[]) => Layer;

type Dual<Op extends Operation, Make extends Factory, First> = {
  (x: First, ...rest: Parameters<Op> extends [unknown, ...infer Rest] ? Rest : []): Tensor;
  (...args: Parameters<Make>): Layer;
};

/** A promise of a tensor goes to the op, which says that it must be awaited. */
const forOp = (x: unknown): boolean => x instanceof Tensor || x instanceof Promise;

function dual<Op extends Operation, Make extends Factory>(op: Op, make: Make): Dual<Op, Make, Tensor> {
  const either = (...args: never[]): Tensor | Layer => (forOp(args[0]) ? op(...args) : make(...args));
  return either as unknown as Dual<Op, Make, Tensor>;
}

/** Where the layer takes options alone, an array or a number is an operand. */
function dualActivation<Op extends Operation, Make extends Factory>(op: Op, make: Make): Dual<Op, Make, TensorLike> {
  const operand = (x: unknown): boolean => forOp(x) || Array.isArray(x) || typeof x === "number";
  const either = (...args: never[]): Tensor | Layer => (operand(args[0]) ? op(...args) : make(...args));
  return either as unknown as Dual<Op, Make, TensorLike>;
}

/** `conv2d(x, w, options)` convolves tensors; `conv2d(filters, kernelSize, options)` is the layer. */
export const conv2d = /* @__PURE__ */ dual(ops.conv2d, layers.conv2d);
/** `conv2dTranspose(x, w, options)` computes; `conv2dTranspose(filters, kernelSize, options)` is the layer. */
export const conv2dTranspose = /* @__PURE__ */ dual(ops.conv2dTranspose, layers.conv2dTranspose);
/** `attention(q, k, v, options)` computes with heads; `attention(options)` is Keras' layer without. */
export const attention = /* @__PURE__ */ dual(ops.attention, layers.attention);
/** `maxPool2d(x, size, options)` computes; `maxPool2d(size, options)` is the layer. */
export const maxPool2d = /* @__PURE__ */ dual(ops.maxPool2d, layers.maxPool2d);
/** `avgPool2d(x, size, options)` computes; `avgPool2d(size, options)` is the layer. */
export const avgPool2d = /* @__PURE__ */ dual(ops.avgPool2d, layers.avgPool2d);
/** `reshape(x, shape)` computes; `reshape(shape)` is the layer, which keeps the batch dimension. */
export const reshape = /* @__PURE__ */ dual(ops.reshape, layers.reshape);
/** `relu(x)` computes; `relu(options)` is the layer. */
export const relu = /* @__PURE__ */ dualActivation(ops.relu, layers.relu);
/** `leakyRelu(x, slope)` computes (slope 0.2, as Keras' function); `leakyRelu(options)` is the layer (slope 0.3, as Keras' layer). */
export const leakyRelu = /* @__PURE__ */ dualActivation(ops.leakyRelu, layers.leakyRelu);
/** `elu(x, alpha)` computes; `elu(options)` is the layer. */
export const elu = /* @__PURE__ */ dualActivation(ops.elu, layers.elu);
/** `softmax(x, axis)` computes; `softmax(options)` is the layer. */
export const softmax = /* @__PURE__ */ dualActivation(ops.softmax, layers.softmax);

/**
 * `add(a, b)` is a + b, elementwise, for tensors, numbers and nested arrays. Shapes broadcast by NumPy's rule, dtypes promote
 * (docs/numbers.md). `add(options)` is the layer that adds its inputs: `add().call(a, b)`.
 * @throws DTypeError for i32 with u32, ShapeError where shapes do not broadcast.
 */
export function add(a: TensorLike, b: TensorLike): Tensor;
export function add(options?: Parameters<typeof layers.merge.add>[0]): Layer;
export function add(...args: readonly unknown[]): Tensor | Layer {
  if (args.length > 1 || forOp(args[0])) return ops.add(args[0] as TensorLike, args[1] as TensorLike);
  return layers.merge.add(args[0] as Parameters<typeof layers.merge.add>[0]);
}

/**
 * `dot(a, b)` is the dot product over the last axis of a and the last-but-one of b, as `matmul` for vectors and matrices of any rank >= 1.
 * `dot({ axes, normalize })` is the layer that multiplies two inputs sample by sample: `dot({ axes: 1 }).call(a, b)`.
 * @throws ShapeError where sizes do not fit, ArgumentError for bad options.
 */
export function dot(a: TensorLike, b: TensorLike): Tensor;
export function dot(options: Parameters<typeof layers.merge.dot>[0]): Layer;
export function dot(...args: readonly unknown[]): Tensor | Layer {
  if (args.length > 1 || forOp(args[0])) return ops.dot(args[0] as TensorLike, args[1] as TensorLike);
  return layers.merge.dot(args[0] as Parameters<typeof layers.merge.dot>[0]);
}

/**
 * @file Names that are both an op and a layer. Called with a tensor they compute; called with options they make a layer.
 */
import * as layers from "./nn/index.ts";
import type { Layer } from "./nn/index.ts";
import * as ops from "./ops/public.ts";
import { Tensor } from "./tensor.ts";
import type { TensorLike } from "./tensor.ts";

type Dual<Op extends (...args: never[]) => Tensor, Make extends (...args: never[]) => Layer> = {
  (...args: Parameters<Op>): Tensor;
  (...args: Parameters<Make>): Layer;
};

function dual<Op extends (...args: never[]) => Tensor, Make extends (...args: never[]) => Layer>(op: Op, make: Make): Dual<Op, Make> {
  const either = (...args: never[]): Tensor | Layer => ((args[0] as unknown) instanceof Tensor ? op(...args) : make(...args));
  return either as Dual<Op, Make>;
}

/** `conv2d(x, w, options)` convolves tensors; `conv2d(filters, kernelSize, options)` is the layer. */
export const conv2d = /* @__PURE__ */ dual(ops.conv2d, layers.conv2d);
/** `conv2dTranspose(x, w, options)` computes; `conv2dTranspose(filters, kernelSize, options)` is the layer. */
export const conv2dTranspose = /* @__PURE__ */ dual(ops.conv2dTranspose, layers.conv2dTranspose);
/** `maxPool2d(x, size, options)` computes; `maxPool2d(size, options)` is the layer. */
export const maxPool2d = /* @__PURE__ */ dual(ops.maxPool2d, layers.maxPool2d);
/** `avgPool2d(x, size, options)` computes; `avgPool2d(size, options)` is the layer. */
export const avgPool2d = /* @__PURE__ */ dual(ops.avgPool2d, layers.avgPool2d);
/** `reshape(x, shape)` computes; `reshape(shape)` is the layer, which keeps the batch dimension. */
export const reshape = /* @__PURE__ */ dual(ops.reshape, layers.reshape);
/** `relu(x)` computes; `relu(options)` is the layer. */
export const relu = /* @__PURE__ */ dual(ops.relu as (x: Tensor) => Tensor, layers.relu);
/** `leakyRelu(x, slope)` computes (slope 0.2, as Keras' function); `leakyRelu(options)` is the layer (slope 0.3, as Keras' layer). */
export const leakyRelu = /* @__PURE__ */ dual(ops.leakyRelu, layers.leakyRelu);
/** `elu(x, alpha)` computes; `elu(options)` is the layer. */
export const elu = /* @__PURE__ */ dual(ops.elu, layers.elu);
/** `softmax(x, axis)` computes; `softmax(options)` is the layer. */
export const softmax = /* @__PURE__ */ dual(ops.softmax, layers.softmax);

/**
 * `add(a, b)` is a + b, elementwise, for tensors (or a tensor and a number) of one dtype: f32, i32 or u32. Shapes broadcast by NumPy's rule. `add(options)` is the layer that adds
 * its inputs: `add().call(a, b)`.
 * @throws DTypeError for other or unequal dtypes, ShapeError where shapes do not broadcast.
 */
export function add(a: TensorLike, b: TensorLike): Tensor;
export function add(options?: Parameters<typeof layers.merge.add>[0]): Layer;
export function add(a?: TensorLike | Parameters<typeof layers.merge.add>[0], b?: TensorLike): Tensor | Layer {
  return b === undefined ? layers.merge.add(a as Parameters<typeof layers.merge.add>[0]) : ops.add(a as TensorLike, b);
}

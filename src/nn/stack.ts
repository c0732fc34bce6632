/** @file Many layers of one kind, one after another, as one layer: their weights are stacked, and a loop runs over them. */
import { checkCount, checkFlag } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import { reshape, slice } from "../ops/move.ts";
import { loop } from "../ops/loop.ts";
import { keysOfSteps } from "../ops/random.ts";
import { sameShape, showShape } from "../shape.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { isDecoding } from "./decoding.ts";
import { context, withContext } from "./layer.ts";
import type { Layer, Stack } from "./layer.ts";
import { maskOf, masked } from "./masks.ts";
import { described, layerOf, partOf } from "./options.ts";
import type { ModelAsLayer, NameOption } from "./options.ts";

/** Options of `layerStack`. */
export interface LayerStackOptions extends NameOption {
  /**
   * Training keeps what each layer was given and computes the rest again in the backward pass: memory for one layer in place of all, about
   * a third more time. Default false.
   */
  readonly remat?: boolean;
}

/** Row `k` of what is stacked. */
const row = (whole: Tensor, k: number): Tensor =>
  reshape(slice(whole, [k, ...whole.shape.slice(1).map(() => 0)], [1, ...whole.shape.slice(1)]), whole.shape.slice(1));

/** `outer`: the stack that this one is in. */
function stackOf(count: number, outer: Stack | undefined, own: Stack["weightOf"]): Stack {
  const weightOf = (whole: Tensor): Tensor => own(outer?.weightOf(whole) ?? whole);
  const shapeOf = (shape: Shape): Shape => [count, ...shape];
  const valuesOf = (one: () => Float32Array): Float32Array => {
    const all = Array.from({ length: count }, one);
    const data = new Float32Array(all.reduce((n, { length }) => n + length, 0));
    all.forEach((values, k) => data.set(values, k * values.length));
    return data;
  };
  return {
    shapeOf: (shape) => outer?.shapeOf(shapeOf(shape)) ?? shapeOf(shape),
    valuesOf: (one) => outer?.valuesOf(() => valuesOf(one)) ?? valuesOf(one),
    weightOf,
    weightsOf: (whole) => Object.fromEntries(Object.entries(whole).map(([name, t]) => [name, weightOf(t)])),
    get apart() {
      return stackOf(count, outer?.apart, (whole) => row(whole, 0));
    },
  };
}

/**
 * `count` layers like `inner`, one after another, each with weights of its own and given what the one before gave: [batch, ...] of any
 * shape that `inner` keeps. It is traced once and runs in a loop: a hundred layers compile as fast as one. As Haiku's `layer_stack`.
 * Weights: those of `inner`, [count, ...] each, which optimizers take for one tensor: `clipNorm` clips them together, and `muon` leaves
 * them to adamw. Layers that keep averages, such as `batchNorm`, cannot be trained in it.
 * @param inner a layer, or a model of one input and one output that is not built yet, such as `sequential([dense(8), layerNorm()])`
 * @example layerStack(transformerEncoder(512, 4), 12)
 * @throws ArgumentError unless `inner` is a layer or a model without weights yet and `count` is 1 or more; when called, ShapeError where
 * `inner` gives another shape than it is given
 */
export function layerStack(inner: Layer | ModelAsLayer, count: number, options: LayerStackOptions = {}): Layer {
  const one = partOf("layerStack", inner, "transformerEncoder(512, 4)");
  checkCount("layerStack", "count", count);
  if (one.built || inner.weights.length > 0) {
    const how = one === inner ? "" : ", without inputShape";
    throw new ArgumentError(`layerStack: ${one.kind} "${inner.name}" has weights of one layer; give a new one${how}`);
  }
  return layerOf("layerStack", { layer: described(one), count }, { name: "", remat: false }, options, ({ remat }) => {
    checkFlag("layerStack", "remat", remat);
    const step = (x: Tensor, weightOf: (whole: Tensor) => Tensor): Tensor => {
      const y = withContext({ stack: stackOf(count, context().stack, weightOf) }, () => one.call(x));
      if (!sameShape(x.shape, y.shape) || x.dtype !== y.dtype)
        throw new ShapeError(
          `each layer must give what the next one takes: ${one.kind} was given ${x.dtype}${showShape(x.shape)} and gave ` +
            `${y.dtype}${showShape(y.shape)}`,
        );
      return y;
    };
    return {
      parts: { "": one },
      mask: "pass",
      call: (x) => {
        // Each layer has keys and values of its own there, which no loop tells apart.
        if (isDecoding()) return Array.from({ length: count }).reduce((y: Tensor, _, k) => step(y, (whole) => row(whole, k)), x);
        const mask = maskOf(x);
        const { carry } = loop({
          begin: [x],
          xs: [],
          length: count,
          reverse: false,
          remat,
          keys: keysOfSteps(count),
          step: ([y], _x, sliceOf) => ({ next: [step(masked(y, mask), sliceOf)], ys: [] }),
        });
        return carry[0];
      },
    };
  });
}

/** @file Many layers of one kind, one after another, as one layer: their weights are stacked, and a loop runs over them. */
import { checkCount, checkFlag } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import { reshape, slice } from "../ops/move.ts";
import { loop } from "../ops/loop.ts";
import { keysOfSteps } from "../ops/random.ts";
import { sameShape, showShape, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { isDecoding } from "./decoding.ts";
import { context, withContext } from "./layer.ts";
import type { Layer, MakeTensor } from "./layer.ts";
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

/** Weights that have one more dimension in front, which counts layers. */
const stacks = new WeakSet<Tensor>();

/** Whether the first dimension of the weight `t` counts layers. */
export const isStacked = (t: Tensor): boolean => stacks.has(t);

/** Makes weights of `count` layers as one, which begins with those of one layer after another. */
const stackedBy =
  (make: MakeTensor, count: number): MakeTensor =>
  (layer, name, shape, begin) => {
    const all = (): Float32Array => {
      const size = sizeOf(shape);
      const data = new Float32Array(count * size);
      for (let k = 0; k < count; k++) data.set(begin() as Float32Array, k * size);
      return data;
    };
    const whole = make(layer, name, [count, ...shape], TRAINING ? all : begin);
    stacks.add(whole);
    return whole;
  };

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
    const step = (x: Tensor, own: (whole: Tensor) => Tensor): Tensor => {
      // The stack that this one is in.
      const outer = context();
      const inside = {
        makeWeight: stackedBy(outer.makeWeight, count),
        usedOf: (whole: Tensor) => own(outer.usedOf?.(whole) ?? whole),
        firstOf: (whole: Tensor) => row(outer.firstOf?.(whole) ?? whole, 0),
      };
      const y = withContext(inside, () => one.call(x));
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

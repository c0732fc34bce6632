/** @file Optimizers for half precision: the loss scaled while gradients are computed. */
import { checkCount, checkOptions, checkPositive } from "../check.ts";
import { FileError, LockstepError } from "../errors.ts";
import { assign, currentGraph } from "../graph.ts";
import type { Attr } from "../op.ts";
import { add, cast, div, equal, isFinite, maximum, minimum, mul, not, or, where } from "../ops/map.ts";
import { sum } from "../ops/reduce.ts";
import { tensor } from "../tensor.ts";
import { flatten, mapTree } from "../tree.ts";
import { DEFAULTS, LossScaling } from "./loss-scaling.ts";
import type { LossScaleOptions, ScalingFunctions } from "./loss-scaling.ts";
import { Runner } from "./optimizer.ts";
import type { Optimizer } from "./optimizer.ts";

export type { LossScaleOptions } from "./loss-scaling.ts";

/** @internal What LossScaling calls. */
export const SCALING: ScalingFunctions = {
  add,
  assign,
  cast,
  currentGraph,
  div,
  equal,
  isFinite,
  maximum,
  minimum,
  mul,
  not,
  or,
  sum,
  tensor,
  where,
};

/** What `lossScaleOptimizer()` makes. */
export type LossScaleOptimizer = Optimizer & Required<Pick<Optimizer, "scaleLoss">>;

const KIND = "lossScaleOptimizer";

/**
 * An optimizer for products whose operands are rounded to f16 (`open("webgpu", { precision: "mixed" })`), as which gradients below 6e-8
 * would be 0. Gradients are taken of `scaleLoss(loss)`, a multiple of the loss, and divided by its factor again before `inner` clips and
 * applies them. The factor adapts: an update with a gradient that is not finite does not take place, no step is counted, and the factor is
 * halved (to 1 at least); after `dynamicGrowthSteps` updates in a row it is doubled. `state()` has it as `dynamicScale`, with
 * `stepCounter`, besides that of `inner`. As Keras' `LossScaleOptimizer`.
 *
 * Models do this by themselves when they are trained with mixed precision, and are saved with the factor; an optimizer that one makes by
 * this function is used instead of that, on any backend, and is of one's own for files: `loadModel` is given it again.
 * @throws ArgumentError for unknown options, a scale that is not positive, and steps below 1
 */
export function lossScaleOptimizer(inner: Optimizer, options: LossScaleOptions = {}): LossScaleOptimizer {
  const { initialScale = DEFAULTS.initialScale, dynamicGrowthSteps = DEFAULTS.dynamicGrowthSteps } = checkOptions(KIND, options, [
    "initialScale",
    "dynamicGrowthSteps",
  ]);
  checkPositive(KIND, "initialScale", initialScale);
  checkCount(KIND, "dynamicGrowthSteps", dynamicGrowthSteps);
  const scaling = new LossScaling(SCALING, { initialScale, dynamicGrowthSteps });
  const applying = new Runner();
  const { dynamicScale, stepCounter } = scaling;
  return {
    kind: KIND,
    config: {
      innerOptimizer: { kind: inner.kind, config: inner.config as Attr },
      initialScale,
      dynamicGrowthSteps,
    },
    iterations: inner.iterations,
    get learningRate() {
      return inner.learningRate;
    },
    set learningRate(value: number) {
      inner.learningRate = value;
    },
    scaleLoss: (loss) => scaling.scaleLoss(loss),
    update(params, grads) {
      if (currentGraph() === null) throw new LockstepError(`${KIND}: call update() inside compile(fn)`);
      scaling.update(flatten(grads), (unscaled) => {
        let next = 0;
        inner.update(
          params,
          mapTree(grads, () => unscaled[next++]),
        );
      });
    },
    apply(params, grads) {
      if (currentGraph() !== null) throw new LockstepError(`${KIND}: inside compile(fn) call update()`);
      return applying.run(flatten(params), flatten(grads), undefined, (_, inputs) => {
        let next = 0;
        this.update(
          params,
          mapTree(grads, () => inputs[next++]),
        );
      });
    },
    ...(inner.swapEmaWeights && { swapEmaWeights: (averaged, backend) => inner.swapEmaWeights?.(averaged, backend) as Promise<void> }),
    ...(inner.finalizeVariableValues && {
      finalizeVariableValues: (backend) => inner.finalizeVariableValues?.(backend) as Promise<void>,
    }),
    release: () => inner.release?.(),
    state: () => ({ ...inner.state(), dynamicScale, stepCounter }),
    load({ dynamicScale: scale, stepCounter: steps, ...rest }) {
      if (scale?.data.length !== 1 || steps?.data.length !== 1)
        throw new FileError(`${KIND}: the state has no scalars dynamicScale and stepCounter; it was saved without scaling the loss`);
      inner.load(rest);
      dynamicScale.set(Float32Array.of(scale.data[0]));
      stepCounter.set(Int32Array.of(steps.data[0]));
    },
  };
}

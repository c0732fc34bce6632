/**
 * @file The scale that keeps small gradients from vanishing in half precision (Micikevicius et al. 2018, arXiv 1710.03740), and how it
 * adapts. It is given the functions of the library that it calls: `fit` loads it on demand, as it does padding.ts.
 */
import type { assign, currentGraph, Graph } from "../graph.ts";
import type { add, cast, div, equal, isFinite, maximum, minimum, mul, not, or, where } from "../ops/map.ts";
import type { sum } from "../ops/reduce.ts";
import type { Tensor, tensor } from "../tensor.ts";

/** Options of `lossScaleOptimizer`. */
export interface LossScaleOptions {
  /** What the loss is multiplied by at first. Powers of two round nothing. Default 2^15. */
  readonly initialScale?: number;
  /** After so many updates in a row with finite gradients the scale is doubled. Default 2000. */
  readonly dynamicGrowthSteps?: number;
}

/** @internal What it calls. */
export interface ScalingFunctions {
  readonly add: typeof add;
  readonly assign: typeof assign;
  readonly cast: typeof cast;
  readonly currentGraph: typeof currentGraph;
  readonly div: typeof div;
  readonly equal: typeof equal;
  readonly isFinite: typeof isFinite;
  readonly maximum: typeof maximum;
  readonly minimum: typeof minimum;
  readonly mul: typeof mul;
  readonly not: typeof not;
  readonly or: typeof or;
  readonly sum: typeof sum;
  readonly tensor: typeof tensor;
  readonly where: typeof where;
}

export const DEFAULTS = { initialScale: 2 ** 15, dynamicGrowthSteps: 2000 };

/** Beyond these the scale does not go: larger ones would become infinite, and smaller ones gain nothing where numbers are NaN anyway. */
const LEAST = 1;
const MOST = 2 ** 126;

/** A factor of losses, f32 [], and the updates since it last changed, i32 []. */
export interface LossScale {
  readonly dynamicScale: Tensor;
  readonly stepCounter: Tensor;
}

/** @internal Scales losses, and adapts the scale. */
export class LossScaling implements LossScale {
  readonly dynamicScale: Tensor;
  readonly stepCounter: Tensor;
  readonly #f: ScalingFunctions;
  readonly #growth: number;

  /** @param scale one that there is already */
  constructor(
    functions: ScalingFunctions,
    { initialScale, dynamicGrowthSteps }: Required<LossScaleOptions>,
    scale: LossScale | null = null,
  ) {
    this.#f = functions;
    this.#growth = dynamicGrowthSteps;
    this.dynamicScale = scale?.dynamicScale ?? functions.tensor(initialScale, [], "f32");
    this.stepCounter = scale?.stepCounter ?? functions.tensor(0, [], "i32");
  }

  /** What gradients are to be taken of. */
  scaleLoss(loss: Tensor): Tensor {
    return this.#f.mul(loss, this.dynamicScale);
  }

  /**
   * Inside a trace: `apply` is called with the gradients as they would be without the scale. Where one of them is not finite nothing that
   * it assigns changes, and the scale is halved.
   */
  update(grads: readonly Tensor[], apply: (grads: readonly Tensor[]) => void): void {
    const { add, assign, cast, currentGraph, div, equal, isFinite, maximum, minimum, mul, not, or, sum, where } = this.#f;
    const { dynamicScale: scale, stepCounter: counter } = this;
    const graph = currentGraph() as Graph;
    const faults = grads.map((g) => sum(cast(not(isFinite(g)), "i32"))).reduce((a, b) => add(a, b), sum(cast(not(isFinite(scale)), "i32")));
    const finite = equal(faults, 0);
    const before = new Map(graph.assigns);
    apply(grads.map((g) => div(g, scale)));
    // There are no branches: all is computed, and what was stays.
    for (const [target, value] of [...graph.assigns])
      if (before.get(target) !== value) graph.assigns.set(target, where(finite, value, target));
    const next = add(counter, 1);
    const grows = equal(next, this.#growth);
    assign(scale, where(finite, where(grows, minimum(mul(scale, 2), MOST), scale), maximum(div(scale, 2), LEAST)));
    assign(counter, where(or(grows, not(finite)), 0, next));
  }
}

/** @file Random factors that layers drop elements with. */
import { isTraining, randomKey } from "../mode.ts";
import { mul } from "../ops/map.ts";
import { randomBernoulli } from "../ops/random.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";

/**
 * 0 with probability `rate`, else 1 / (1 - rate), for each element of `shape`; null where nothing is dropped: in inference and for rate
 * 0. `x` is what is to be dropped of.
 * @throws LockstepError for training without a source of random numbers
 */
export function dropoutFactors(rate: number, shape: Shape, x: Tensor): Tensor | null {
  if (!TRAINING || rate === 0 || !isTraining(x)) return null;
  return mul(randomBernoulli(randomKey(), 1 - rate, shape), rate === 1 ? 0 : 1 / (1 - rate));
}

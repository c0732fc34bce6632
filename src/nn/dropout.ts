/** @file Random factors that layers drop elements with. */
import { LockstepError } from "../errors.ts";
import { mul } from "../ops/map.ts";
import { randomBernoulli } from "../ops/random.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { context } from "./layer.ts";

/**
 * 0 with probability `rate`, else 1 / (1 - rate), for each element; null where nothing is dropped: in inference and for rate 0.
 * @throws LockstepError for training without a source of random numbers
 */
export function dropoutFactors(rate: number, shape: Shape): Tensor | null {
  const { training, key } = context();
  if (!training || rate === 0) return null;
  if (key === null) throw new LockstepError("dropout in training needs random numbers, and there is no key: train through a model, which has one");
  return mul(randomBernoulli(key, 1 - rate, shape), rate === 1 ? 0 : 1 / (1 - rate));
}

/** @file What adapters (lora/) and readers (keras/) need of layers and programs: they are entries of their own, without a copy of it. */
import { traceAnew } from "../cache.ts";
import { KERNEL_ACTIVATIONS } from "../ops/activation.ts";
import { Random } from "../random.ts";
import { dropoutFactors } from "./dropout.ts";
import { context, insideOf, setOwner } from "./layer.ts";
import { maskOf, masked } from "./masks.ts";
import { products } from "./projection.ts";
import { isStacked } from "./stack.ts";

/** @internal */
export const adapting = {
  context,
  dropoutFactors,
  insideOf,
  isStacked,
  KERNEL_ACTIVATIONS,
  maskOf,
  masked,
  products,
  Random,
  setOwner,
  traceAnew,
};

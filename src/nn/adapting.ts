/** @file What adapters (lora/) need of layers and programs: an entry of its own, they have no copy of what is kept here. */
import { traceAnew } from "../cache.ts";
import { KERNEL_ACTIVATIONS } from "../ops/activation.ts";
import { Random } from "../random.ts";
import { dropoutFactors } from "./dropout.ts";
import { context, insideOf, setOwner } from "./layer.ts";
import { products } from "./projection.ts";
import { isStacked } from "./stack.ts";

/** @internal */
export const adapting = { context, dropoutFactors, insideOf, isStacked, KERNEL_ACTIVATIONS, products, Random, setOwner, traceAnew };

/** @file What adapters (lora/) need of layers and programs: an entry of its own, they have no copy of what is kept here. */
import { traceAnew } from "../cache.ts";
import { Random } from "../random.ts";
import { context, insideOf, isStacked, setOwner } from "./layer.ts";
import { products } from "./projection.ts";

export const adapting = { context, insideOf, isStacked, products, Random, setOwner, traceAnew };

/** @file Normalizations: loaded when a graph has one of these operators. */
import type { Domains } from "../call.ts";
import { NORMALIZATION, NORMALIZATION_MICROSOFT } from "../ops/normalization.ts";

export const operators: Domains = {
  "": NORMALIZATION,
  "com.microsoft": NORMALIZATION_MICROSOFT,
};

/** @file Regions of images, and what is between their places: loaded when a graph has one of these operators. */
import { tableOf } from "../call.ts";
import type { Domains } from "../call.ts";
import { REGIONS } from "../ops/regions.ts";
import { SAMPLING, SAMPLING_MICROSOFT } from "../ops/sampling.ts";

export const operators: Domains = {
  "": tableOf(SAMPLING, REGIONS),
  "com.microsoft": SAMPLING_MICROSOFT,
};

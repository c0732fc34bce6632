/** @file What picks elements, and puts them elsewhere: loaded when a graph has one of these operators. */
import { tableOf } from "../call.ts";
import type { Domains } from "../call.ts";
import { FILLING } from "../ops/filling.ts";
import { INDEXING } from "../ops/indexing.ts";
import { MOVING, MOVING_MICROSOFT } from "../ops/moving.ts";
import { SELECTING } from "../ops/selecting.ts";
import { SORTING } from "../ops/sorting.ts";

export const operators: Domains = {
  "": tableOf(INDEXING, MOVING, FILLING, SELECTING, SORTING),
  "com.microsoft": MOVING_MICROSOFT,
};

/** @file What few graphs have: loaded when a graph has one of these operators. */
import { tableOf } from "../call.ts";
import type { Domains } from "../call.ts";
import { BITS } from "../ops/bits.ts";
import { DETERMINANT } from "../ops/determinant.ts";
import { LOSSES } from "../ops/losses.ts";
import { RANDOM } from "../ops/random.ts";
import { SPECTRAL } from "../ops/spectral.ts";
import { TEXT } from "../ops/text.ts";
import { TRIGONOMETRY } from "../ops/trigonometry.ts";

export const operators: Domains = {
  "": tableOf(BITS, TRIGONOMETRY, RANDOM, LOSSES, SPECTRAL, TEXT, DETERMINANT),
};

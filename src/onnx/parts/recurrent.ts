/** @file Recurrent layers: loaded when a graph has one of these operators. */
import type { Domains } from "../call.ts";
import { RECURRENT } from "../ops/recurrent.ts";

export const operators: Domains = {
  "": RECURRENT,
};

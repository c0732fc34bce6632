/** @file Graphs inside of graphs, and sequences of tensors: loaded when a graph has one of these operators. */
import { tableOf } from "../call.ts";
import type { Domains } from "../call.ts";
import { CONTROL } from "../ops/control.ts";
import { SEQUENCES } from "../ops/sequences.ts";

export const operators: Domains = {
  "": tableOf(CONTROL, SEQUENCES),
};

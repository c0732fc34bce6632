/** @file Where the weights of a layer are in files. */
import type { Groups } from "./rule.ts";

/** Where the weights of a layer stand in files. */
export interface Place {
  /** Of Keras 3: the group, such as layers/dense_1. */
  readonly group: string;
  readonly groups: Groups;
  /** Names that are in those of its weights in other files, the outermost first: dense_1; or bidirectional, forward. */
  readonly names: readonly string[];
  /** The class, for errors and for what else a file says of its weights. */
  readonly className: string;
}

/** The class of a Normalization that was told its mean and variance, which are then no variables. */
export const KNOWN = "Normalization of options";

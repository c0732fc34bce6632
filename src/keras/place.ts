/** @file Where the weights of a layer are in files. */
import { groupName } from "./fields.ts";
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

/** What TensorFlow.js calls the cell at a place of several that are stacked, in the names of its weights. */
export const cellName = (i: number): string => `RNNCell_${i}`;
export const isCell = (name: string): boolean => /^RNNCell_\d+$/.test(name);

/** Whether a name in that of a weight is the direction in which a layer of two reads. */
export const isWay = (name: string): boolean => name === "forward" || name === "backward";

/** Groups of the layers of one list, which are numbered for each class. */
export function groupsIn(prefix: string, folder = "layers"): (className: string) => string {
  const used = new Map<string, number>();
  return (className) => {
    const name = groupName(className);
    const count = used.get(name) ?? 0;
    used.set(name, count + 1);
    return `${prefix}${folder}/${count === 0 ? name : `${name}_${count}`}`;
  };
}

/**
 * @file Copies of all elements: a body of no steps, since backends always have the kernel of bodies, and that of copies only where ops move
 * elements.
 */
import type { LoweredOf } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { MAP } from "./fuse.ts";
import type { Call, MapBody } from "./plan.ts";

/** A copy of all elements. */
export const copyCall = (from: Tensor, to: Tensor): LoweredOf<Tensor> => ({
  kernel: MAP,
  inputs: [from],
  outputs: [to],
  attrs: { body: { space: [from.size], strides: [[1]], steps: [], results: [0] } },
});

/** Whether a call is one of `copyCall`. */
export function copiesAll({ kernel, inputs, attrs }: Pick<LoweredOf<Tensor>, "kernel" | "inputs" | "attrs">): boolean {
  return kernel === MAP && inputs.length === 1 && (attrs.body as unknown as MapBody).steps.length === 0;
}

/** Whether all that a call does is to copy elements to where they are: the planner has put what is updated into the place of what was. */
export function changesNothing({ kernel, inputs: [x], outputs: [y], attrs }: Call): boolean {
  if (kernel !== MAP.name || (attrs.body as unknown as MapBody).steps.length > 0 || !x || !y) return false;
  const same = (["space", "index", "offset"] as const).every((key) => x.place[key] === y.place[key]);
  return same && x.storage === y.storage;
}

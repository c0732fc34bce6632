/** @file A copy of all elements of a tensor, as a call. */
import type { Kernel, LoweredOf } from "../op.ts";
import type { Tensor } from "../tensor.ts";

/** The kernel of elementwise nodes. */
export const MAP: Kernel = { name: "map" };

/**
 * A copy of all elements: a body of no steps, since backends always have the kernel of bodies, and that of copies only where ops move
 * elements.
 */
export const wholeCopy = (from: Tensor, to: Tensor): LoweredOf<Tensor> => ({
  kernel: MAP,
  inputs: [from],
  outputs: [to],
  attrs: { body: { space: [from.size], strides: [[1]], steps: [], results: [0] } },
});

/** @file The masks that tensors carry from layer to layer: see masking.ts. */
import type { Tensor } from "../tensor.ts";

const masks = new WeakMap<Tensor, Tensor>();

/** Which steps of `x` count, bool [batch, time]; null where nobody said. */
export const maskOf = (x: Tensor): Tensor | null => masks.get(x) ?? null;

/** `y`, of which from now on those steps count. */
export function masked(y: Tensor, mask: Tensor | null): Tensor {
  if (mask !== null) masks.set(y, mask);
  return y;
}

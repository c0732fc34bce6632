/** @file Where the elements of tensors come from, through casts and other shapes. */
import { castOp } from "../ops/map.ts";
import { reshapeOp } from "../ops/move.ts";
import type { Tensor } from "../tensor.ts";

/** The tensor whose elements `t` has. */
export const source = (t: Tensor): Tensor =>
  t.node !== null && (t.node.op === reshapeOp || t.node.op === castOp) ? source(t.node.inputs[0] as Tensor) : t;

/** What `t` is another shape of. */
export const given = (t: Tensor): Tensor => (t.node?.op === reshapeOp ? given(t.node.inputs[0] as Tensor) : t);

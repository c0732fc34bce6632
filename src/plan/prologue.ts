/** @file Chains that only feed a reduction: its kernel computes them itself. Ops whose kernels do so bring this along. */
import type { Node } from "../graph.ts";
import { sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { PrologueOf } from "./fuse.ts";
import { base } from "./simplify.ts";

export const prologueOf: PrologueOf = (fuser, n) => {
  const u = fuser.unit(base(n.inputs[0] as Tensor).node as Node);
  if (u === undefined || u.space === null || u.outputs !== 1 || sizeOf(u.space) === 0) return null;
  const { inputs, outputs } = fuser.operands(u);
  if (fuser.roots.has(outputs[0]) || inputs.length === 0) return null;
  return fuser.readers(outputs[0].node as Node).every((c) => c === n || fuser.unit(c) === u) ? u : null;
};

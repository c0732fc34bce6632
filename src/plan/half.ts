/**
 * @file Which temporaries are stored as f16, on backends that can. Only values of the forward pass: what a backward pass reads again is
 * most of a training step's memory, and rounding it by 2^-11 does little harm (Micikevicius et al. 2018, arXiv 1710.03740). Gradients stay
 * f32, since they become too small for f16, and so do weights, optimizer states, inputs and results, which are no temporaries.
 */
import { sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { UnplacedCall } from "./limits.ts";
import type { Place } from "./plan.ts";
import { base } from "./simplify.ts";

/** For each operand of a call, whether the kernel can read or write it as f16. */
export interface HalfOperands {
  readonly inputs: readonly boolean[];
  readonly outputs: readonly boolean[];
}

/** Below this many elements nothing is gained: scalars, statistics, losses. */
const LEAST_SIZE = 1024;

/**
 * Temporaries that `calls` hold as f16: f32 tensors made before `firstGradient`, of which every call that touches them says that it can.
 * @param fixed tensors that live in bindings
 */
export function halfTensors(
  calls: readonly UnplacedCall[],
  fixed: ReadonlyMap<Tensor, Place>,
  firstGradient: number,
  halves: (call: UnplacedCall) => HalfOperands,
): Set<Tensor> {
  const found = new Set<Tensor>();
  const refused = new Set<Tensor>(fixed.keys());
  for (const call of calls) {
    const { inputs, outputs } = halves(call);
    call.outputs.forEach((t, k) => {
      if (t === null) return;
      const b = base(t);
      const fits = b.dtype === "f32" && sizeOf(b.shape) >= LEAST_SIZE && b.node !== null && b.node.id < firstGradient;
      (fits && outputs[k] ? found : refused).add(b);
    });
    call.inputs.forEach((t, k) => {
      if (t !== null && !inputs[k]) refused.add(base(t));
    });
  }
  for (const t of refused) found.delete(t);
  return found;
}

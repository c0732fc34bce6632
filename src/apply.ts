/** @file `apply`: the one door through which ops enter a graph, or run at once when nothing is being traced. */
import { kindOf } from "./check.ts";
import { checkShape } from "./elements.ts";
import { ArgumentError, LockstepError } from "./errors.ts";
import { currentGraph, symbolOf } from "./graph.ts";
import type { Op } from "./graph.ts";
import type { Attrs } from "./op.ts";
import { runEagerly } from "./run.ts";
import { Tensor } from "./tensor.ts";

/** Adds `op` to the graph being traced; outside of one, runs it as a one-op plan on the default backend (see `open`). */
export function apply(op: Op, inputs: readonly (Tensor | null)[], attrs: Attrs = {}): readonly Tensor[] {
  for (const t of inputs) {
    if (t !== null && !(t instanceof Tensor)) {
      throw new ArgumentError(`${op.name}: expected tensors, got ${kindOf(t)}`);
    }
  }
  const graph = currentGraph();
  if (graph !== null)
    return graph.add(
      op,
      inputs.map((t) => (t === null ? null : symbolOf(graph, t))),
      attrs,
    );
  const symbol = inputs.find((t) => t !== null && t.node !== null);
  if (symbol) throw new LockstepError(`${op.name}: ${symbol} belongs to a traced function that has ended; return it from there`);
  for (const { shape } of op.infer(inputs, attrs)) checkShape(op.name, shape);
  return runEagerly(op, inputs, attrs);
}

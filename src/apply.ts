/** @file `apply`: the one door through which ops enter a graph, or run at once when nothing is being traced. */
import { LockstepError } from "./errors.ts";
import { currentGraph, symbolOf } from "./graph.ts";
import type { Op } from "./graph.ts";
import type { Attrs } from "./plan/plan.ts";
import { runEagerly } from "./run.ts";
import type { Tensor } from "./tensor.ts";

/** Adds `op` to the graph being traced; outside of one, runs it as a one-op plan on the default backend (see `open`). */
export function apply(op: Op, inputs: readonly (Tensor | null)[], attrs: Attrs = {}): readonly Tensor[] {
  const graph = currentGraph();
  if (graph !== null) return graph.add(op, inputs.map((t) => (t === null ? null : symbolOf(graph, t))), attrs);
  const symbol = inputs.find((t) => t !== null && t.node !== null);
  if (symbol) throw new LockstepError(`${op.name}: ${symbol} belongs to a traced function that has ended; return it from that function instead of keeping it`);
  return runEagerly(op, inputs, attrs);
}

/** @file What is left of a graph when nobody reads the rest. Equal nodes are already shared by Graph; constants are folded by the ops. */
import type { Graph, Node } from "../graph.ts";
import type { Tensor } from "../tensor.ts";

/** The tensor whose bytes `t` is: through reshape and stopGradient. */
export function base(t: Tensor): Tensor {
  return t.node?.base ?? t;
}

/** Nodes that compute something for `roots`, in graph order, without leaves and aliases. */
export function liveNodes(graph: Graph, roots: readonly Tensor[]): Node[] {
  const live = new Set(roots.map((t) => t.node));
  // What is added to a set while it is walked is walked too.
  for (const node of live) for (const t of node?.inputs ?? []) if (t !== null) live.add(t.node);
  return graph.nodes.filter((n) => live.has(n) && n.op.lower !== "leaf" && n.op.lower !== "alias");
}

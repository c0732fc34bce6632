/** @file What is left of a graph when nobody reads the rest. Equal nodes are already shared by Graph; constants are folded by the ops. */
import type { Graph, Node } from "../graph.ts";
import type { Tensor } from "../tensor.ts";

/** The tensor whose bytes `t` is: through reshape and stopGradient. */
export function base(t: Tensor): Tensor {
  let b = t;
  while (b.node !== null && b.node.op.lower === "alias") b = b.node.inputs[0] as Tensor;
  return b;
}

/** Nodes that compute something for `roots`, in graph order, without leaves and aliases. */
export function liveNodes(graph: Graph, roots: readonly Tensor[]): Node[] {
  const live = new Set<Node>();
  const visit: Tensor[] = [...roots];
  for (let t = visit.pop(); t !== undefined; t = visit.pop()) {
    const node = t.node as Node;
    if (live.has(node)) continue;
    live.add(node);
    for (const input of node.inputs) if (input !== null) visit.push(input);
  }
  return graph.nodes.filter((n) => live.has(n) && n.op.lower !== "leaf" && n.op.lower !== "alias");
}

/** True when output `index` of `node` is read by a live node or is a root. */
export function readOutputs(nodes: readonly Node[], roots: readonly Tensor[]): Set<Tensor> {
  const read = new Set<Tensor>(roots.map(base));
  for (const n of nodes) for (const t of n.inputs) if (t !== null) read.add(base(t));
  return read;
}

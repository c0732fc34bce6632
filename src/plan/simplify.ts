/** @file What is left of a graph when nobody reads the rest. Equal nodes are already shared by Graph; constants are folded by the ops. */
import type { Graph, Node } from "../graph.ts";
import type { Tensor } from "../tensor.ts";

/** The tensor whose bytes `t` is: through reshape and stopGradient. */
export function base(t: Tensor): Tensor {
  return t.node?.base ?? t;
}

/** Nodes that compute something for `roots`, in graph order, without leaves and aliases, which are read for their first input alone. */
export function liveNodes(graph: Graph, roots: readonly Tensor[]): Node[] {
  const live = new Uint8Array(graph.nodes.length);
  const waiting: Node[] = [];
  const visit = (t: Tensor | null): void => {
    if (t === null || t.node === null || live[t.node.id] === 1) return;
    live[t.node.id] = 1;
    waiting.push(t.node);
  };
  roots.forEach(visit);
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop())
    (node.op.lower === "alias" ? node.inputs.slice(0, 1) : node.inputs).forEach(visit);
  return graph.nodes.filter((n) => live[n.id] === 1 && n.op.lower !== "leaf" && n.op.lower !== "alias");
}

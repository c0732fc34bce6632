/**
 * @file The order in which Keras has the layers of a functional model. It finds it anew when it opens a file, whatever the order there, and
 * numbers the groups of weights by it: https://github.com/keras-team/keras/blob/master/keras/src/ops/function.py, map_graph.
 */
import type { Layer } from "../index.ts";
import type { Made, Recording } from "./record.ts";

/** A call of a layer; inputs of the model are none. */
interface Call {
  readonly layer: Layer;
  readonly parents: readonly Call[];
}

/** The calls of a recording from inputs to outputs as a walk from the outputs ends them, and layers as it meets them first. */
function walk({ calls, outputs }: Recording): { readonly ended: readonly Call[]; readonly met: ReadonlyMap<Layer, number> } {
  const ended: Call[] = [];
  const met = new Map<Layer, number>();
  const known = new Map<Layer, Map<number, Call>>();
  const callOf = ({ layer, node }: Made): Call | null => {
    if (layer === null) return null;
    const own = known.get(layer) ?? new Map<number, Call>();
    known.set(layer, own);
    const found = own.get(node) ?? { layer, parents: [] };
    own.set(node, found);
    return found;
  };
  const parentsOf = ({ layer, node }: Made): readonly Made[] =>
    (calls.get(layer as Layer)?.[node].tensors ?? []).filter((t) => t !== null && t.layer !== null) as Made[];
  const begun = new Set<Call>();
  // Without calling itself: graphs are as deep as they have layers.
  const waiting: { readonly made: Made; readonly call: Call; readonly rest: Made[] }[] = [];
  const visit = (made: Made): void => {
    const call = callOf(made);
    if (call === null || begun.has(call)) return;
    begun.add(call);
    if (!met.has(call.layer)) met.set(call.layer, met.size);
    waiting.push({ made, call, rest: [...parentsOf(made)].reverse() });
  };
  for (const output of outputs) {
    visit(output);
    while (waiting.length > 0) {
      const { made, call, rest } = waiting[waiting.length - 1];
      const next = rest.pop();
      if (next !== undefined) {
        visit(next);
        continue;
      }
      waiting.pop();
      (call.parents as Call[]).push(...parentsOf(made).map((p) => callOf(p) as Call));
      ended.push(call);
    }
  }
  return { ended, met };
}

/** The layers of a recorded model as Keras orders them: the farthest from an output first; of one distance, as a walk meets them. */
export function layersOf(recording: Recording): readonly Layer[] {
  const { ended, met } = walk(recording);
  const ofCalls = new Map<Call, number>();
  const ofLayers = new Map<Layer, number>();
  for (const call of [...ended].reverse()) {
    const depth = Math.max(ofCalls.get(call) ?? 0, ofLayers.get(call.layer) ?? 0);
    ofCalls.set(call, depth);
    ofLayers.set(call.layer, depth);
    for (const parent of call.parents) ofCalls.set(parent, Math.max(depth + 1, ofCalls.get(parent) ?? 0));
  }
  const place = (layer: Layer): readonly [number, number] => [ofLayers.get(layer) as number, met.get(layer) as number];
  return [...met.keys()].sort((a, b) => {
    const [[deep, first], [deeper, second]] = [place(a), place(b)];
    return deeper - deep || first - second;
  });
}

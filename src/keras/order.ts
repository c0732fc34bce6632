/**
 * @file The order in which Keras has the layers of a functional model. It finds it anew when it opens a file, whatever the order there, and
 * numbers the groups of weights by it: https://github.com/keras-team/keras/blob/master/keras/src/ops/function.py, map_graph.
 */
import type { Layer } from "../index.ts";
import type { Made, Recorded, Recording } from "./record.ts";

/** A call of a layer; inputs of the model are none. */
interface Call {
  readonly layer: Layer;
  readonly node: number;
  readonly parents: readonly Call[];
}

const sortedBy = <T>(list: readonly T[], names: readonly string[]): readonly T[] =>
  list
    .map((item, i) => ({ item, name: names[i] }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ item }) => item);

/** The calls of a recording from inputs to outputs as a walk from the outputs ends them, and layers as it meets them first. */
function walk({ calls, outputs: given, names }: Recording): { readonly ended: readonly Call[]; readonly met: ReadonlyMap<Layer, number> } {
  // Keras has outputs that have names in the order of these.
  const outputs = names === null ? given : sortedBy(given, names);
  const ended: Call[] = [];
  const met = new Map<Layer, number>();
  const known = new Map<Layer, Map<number, Call>>();
  const callOf = ({ layer, node }: Made): Call | null => {
    if (layer === null) return null;
    const own = known.get(layer) ?? new Map<number, Call>();
    known.set(layer, own);
    const found = own.get(node) ?? { layer, node, parents: [] };
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

/** A recording without the calls that lead to no output, which Keras has not; those of models within it likewise. */
export function alive(recording: Recording): Recording {
  const nodes = new Map<Layer, number[]>();
  for (const { layer, node } of walk(recording).ended)
    nodes.set(
      layer,
      [...(nodes.get(layer) ?? []), node].sort((a, b) => a - b),
    );
  const renumbered = (made: Made): Made =>
    made.layer === null ? made : { ...made, node: (nodes.get(made.layer) as number[]).indexOf(made.node) };
  const called = ({ tensors, options }: Recorded): Recorded => ({ options, tensors: tensors.map((t) => t && renumbered(t)) });
  return {
    ...recording,
    calls: new Map(
      [...nodes].map(([layer, own]) => [layer, own.map((i) => called((recording.calls.get(layer) as readonly Recorded[])[i]))]),
    ),
    outputs: recording.outputs.map(renumbered),
    inside: new Map([...recording.inside].map(([layer, inside]) => [layer, alive(inside)])),
  };
}

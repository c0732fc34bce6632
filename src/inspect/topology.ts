/** @file Which layer of a model reads what which other gives: found by tracing the model once, with its layers' calls looked on. */
import { kindOf } from "../check.ts";
import { add, ArgumentError, compile, LockstepError, ShapeError, Tensor, zeros } from "../index.ts";
import type { InferenceModel, Layer, OpenShape, Outputs } from "../index.ts";
import type { Node } from "../graph.ts";

/** A box of a model's graph: an input, a layer, a function outside of layers, or an output. */
export interface GraphNode {
  /** Unique: i0, l3, f1, o0. */
  readonly id: string;
  readonly type: "input" | "layer" | "function" | "output";
  /** Of a layer its name, of a function that of the op. */
  readonly name: string;
  /** What made the layer: dense, conv2d … */
  readonly kind: string;
  /** Of what it gives, for one sample; null is any size. Of a function with the batch. */
  readonly shape: OpenShape;
  /** Elements of its weights. */
  readonly parameters: number;
}

/** What a model is made of, and what reads what. */
export interface Topology {
  readonly name: string;
  readonly nodes: readonly GraphNode[];
  /** Pairs of ids, each once. */
  readonly edges: readonly (readonly [from: string, to: string])[];
}

/** Pairs of sizes to try where an input has any size: what differs between the two is of any size, too. As in model/open.ts. */
const SIZES = [
  [64, 48],
  [960, 640],
  [12, 8],
  [6, 4],
  [3, 2],
  [2, 1],
];

/** Ends a trace once it has been seen: nothing is to be compiled. */
class Seen extends Error {}

/** Ops that only say the same in other words: not worth a box. */
const SILENT = new Set(["cast", "reshape", "stopGradient", "identity"]);

type Call = Layer["call"];

interface Trace {
  readonly nodes: Map<string, GraphNode>;
  readonly edges: Map<string, readonly [string, string]>;
  /** How many boxes of functions there are. */
  readonly functions: { count: number };
}

/** What gave a tensor: the id of a box. */
type Makers = Map<Tensor, string>;

/** Adds boxes of functions between what layers gave and `t`, and tells whose output `t` is; none for what is no function of an input. */
function makersOf(t: Tensor, makers: Makers, { nodes, edges, functions }: Trace): readonly string[] {
  const known = (each: Tensor): readonly string[] | null => {
    const id = makers.get(each);
    if (id !== undefined) return [id];
    return each.node === null || each.node.inputs.length === 0 ? [] : null;
  };
  const found = new Map<Node, readonly string[]>();
  // Without recursion: chains of functions may be long.
  const stack: Node[] = [];
  const sources = (each: Tensor): readonly string[] | null => known(each) ?? found.get(each.node as Node) ?? null;
  const result = known(t);
  if (result !== null) return result;
  stack.push(t.node as Node);
  while (stack.length > 0) {
    const node = stack[stack.length - 1];
    const missing = node.inputs.filter((i): i is Tensor => i !== null && sources(i) === null);
    if (missing.length > 0) {
      stack.push(...missing.map((i) => i.node as Node));
      continue;
    }
    stack.pop();
    if (found.has(node)) continue;
    const from = [...new Set(node.inputs.flatMap((i) => (i === null ? [] : (sources(i) as readonly string[]))))];
    if (from.length === 0 || (from.length === 1 && SILENT.has(node.op.name))) {
      found.set(node, from);
      continue;
    }
    const id = `f${functions.count++}`;
    nodes.set(id, { id, type: "function", name: node.op.name, kind: node.op.name, shape: node.outputs[0].shape, parameters: 0 });
    for (const each of from) edges.set(`${each} ${id}`, [each, id]);
    for (const output of node.outputs) makers.set(output, id);
    found.set(node, [id]);
  }
  return sources(t) as readonly string[];
}

/** Runs the model on symbols with calls of its layers looked on. */
function traceLayers(model: InferenceModel<Outputs>, inputs: readonly Tensor[]): Trace {
  const trace: Trace = { nodes: new Map(), edges: new Map(), functions: { count: 0 } };
  const { nodes, edges } = trace;
  const makers: Makers = new Map();
  const shapes = model.inputShapes as readonly OpenShape[];
  inputs.forEach((t, i) => {
    const name = inputs.length > 1 ? `input ${i}` : "input";
    nodes.set(`i${i}`, { id: `i${i}`, type: "input", name, kind: "input", shape: shapes[i], parameters: 0 });
    makers.set(t, `i${i}`);
  });
  let count = 0;
  let within = 0;
  const originals = model.layers.map((l) => [l, l.call] as const);
  for (const [place, [l, call]] of originals.entries()) {
    const id = `l${place}`;
    const looked: Call = (x, ...more) => {
      if (within > 0) return call(x, ...more);
      const from = [x, ...more].flatMap((t) => (t instanceof Tensor ? makersOf(t, makers, trace) : []));
      within++;
      let y: Tensor;
      try {
        y = call(x, ...more);
      } finally {
        within--;
      }
      const parameters = l.weights.reduce((n, w) => n + w.tensor.size, 0);
      nodes.set(id, { id, type: "layer", name: l.name, kind: l.kind, shape: y.shape.slice(1), parameters });
      for (const each of new Set(from)) edges.set(`${each} ${id}`, [each, id]);
      // What gives back what it got, as dropout, gives something of its own here: who reads it is to be told apart.
      if (makers.has(y) && y.dtype !== "bool") y = add(y, ++count);
      makers.set(y, id);
      return y;
    };
    l.call = looked;
  }
  try {
    const given = model.forward(inputs);
    const list = given instanceof Tensor ? [given] : (Object.values(given) as Tensor[]);
    list.forEach((t, i) => {
      const name = model.outputNames[i] || (list.length > 1 ? `output ${i}` : "output");
      const id = `o${i}`;
      nodes.set(id, { id, type: "output", name, kind: "output", shape: model.outputShapes[i] ?? t.shape.slice(1), parameters: 0 });
      for (const from of makersOf(t, makers, trace)) edges.set(`${from} ${id}`, [from, id]);
    });
  } finally {
    for (const [l, call] of originals) l.call = call;
  }
  return trace;
}

/**
 * What a model is made of: its inputs, layers, functions between them and outputs, and what reads what. A layer that is called several
 * times is one node.
 * @throws ArgumentError for what is no model, LockstepError for one that is not built yet
 */
export async function topology(who: string, model: InferenceModel<Outputs>): Promise<Topology> {
  if (typeof (model as Partial<typeof model> | null)?.predict !== "function")
    throw new ArgumentError(`${who}: expected a model, got ${kindOf(model)}`);
  const { inputShapes } = model;
  if (inputShapes === null)
    throw new LockstepError(`${who}: model "${model.name}" is not built yet: give inputShape, or call build(), fit() or predict() first`);
  const traced = inputShapes.flat().includes(null) ? await tracedOpen(model, inputShapes) : await traceOnce(model, inputShapes, 0);
  // In the order of the model, inputs first: layers may have been seen in another.
  const order = ["input", "layer", "function", "output"];
  const nodes = [...traced.nodes.values()].sort((a, b) => order.indexOf(a.type) - order.indexOf(b.type));
  return { name: model.name, nodes, edges: [...traced.edges.values()] };
}

/** Traces the model with `size` in the place of what is open. */
async function traceOnce(model: InferenceModel<Outputs>, inputShapes: readonly OpenShape[], size: number): Promise<Trace> {
  let traced: Trace | undefined;
  const run = compile((...inputs: Tensor[]) => {
    traced = traceLayers(model, inputs);
    throw new Seen();
  });
  try {
    await run(...inputShapes.map((shape) => zeros([1, ...shape.map((d) => d ?? size)])));
  } catch (error) {
    if (!(error instanceof Seen)) throw error;
  } finally {
    run.close();
  }
  return traced as Trace;
}

async function tracedOpen(model: InferenceModel<Outputs>, inputShapes: readonly OpenShape[]): Promise<Trace> {
  let reason: unknown = null;
  for (const [large, small] of SIZES) {
    try {
      const [trace, other] = [await traceOnce(model, inputShapes, large), await traceOnce(model, inputShapes, small)];
      for (const [id, node] of trace.nodes) {
        const shape = node.shape.map((d, i) => (d === other.nodes.get(id)?.shape[i] ? d : null));
        trace.nodes.set(id, { ...node, shape });
      }
      return trace;
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      reason ??= error;
    }
  }
  throw reason;
}

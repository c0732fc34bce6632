/** @file Nodes of a traced graph, one after another, as nodes of ONNX; and loops, which have a graph inside. */
import type { Tensor } from "../../index.ts";
import { operandsOf, repeatedBy } from "../../ops/step.ts";
import { TYPES, Writing } from "./context.ts";
import type { Batches, Dim, Node, WriteNode, Writers } from "./context.ts";
import type { GraphWriter, WrittenValue } from "./writer.ts";

/** Nodes that outputs depend on. */
function liveNodes(nodes: readonly Node[], outputs: readonly Tensor[]): Set<Node> {
  const live = new Set<Node>();
  const wanted = new Set(outputs.map((t) => t.node));
  for (const node of [...nodes].reverse()) {
    if (!wanted.has(node)) continue;
    live.add(node);
    for (const t of node.inputs) if (t !== null) wanted.add(t.node);
  }
  return live;
}

/** Nodes that read each tensor, of those that outputs depend on. */
export function readersOf(nodes: readonly Node[], outputs: readonly Tensor[]): Map<Tensor, Node[]> {
  const readers = new Map<Tensor, Node[]>();
  for (const node of liveNodes(nodes, outputs)) {
    for (const t of node.inputs) if (t !== null) readers.set(t, [...(readers.get(t) ?? []), node]);
  }
  return readers;
}

/** What is written, and with what. */
export interface Written {
  readonly nodes: readonly Node[];
  /** The same nodes for another batch. */
  readonly others: readonly Node[];
  /** What is asked for. */
  readonly outputs: readonly Tensor[];
  /** Of what has been written, and of inputs and weights. */
  readonly names: Map<Tensor, string>;
  readonly writer: GraphWriter;
  readonly batches: Batches;
  readonly writers: Writers;
}

/** @throws ArgumentError naming the layer of an op that cannot be written */
export function writeNodes({ nodes, others, outputs, ...around }: Written): void {
  const { names, writers } = around;
  const live = liveNodes(nodes, outputs);
  const readers = readersOf(nodes, outputs);
  nodes.forEach((node, i) => {
    if (!live.has(node) || node.outputs.some((t) => names.has(t))) return;
    const given = node.inputs.map((t) => (t === null ? "" : (names.get(t) as string)));
    const writing = new Writing([node, others[i]], given, around, (output) => readers.get(node.outputs[output]) ?? []);
    const write = writers[node.op.name];
    if (write === undefined) throw writing.fault("ONNX has no operator for what it computes");
    const written = write(writing);
    (typeof written === "string" ? [written] : written).forEach((name, k) => names.set(node.outputs[k], name));
  });
}

const scan: WriteNode = (w) => {
  const { writer, node, other, inputs, batches } = w;
  const [repeated, second] = [repeatedBy(node.attrs), repeatedBy(other.attrs)];
  const { body, carried, collected, reverse } = repeated;
  const fills = node.attrs.fills as readonly number[];
  const first = carried.map((t, i) =>
    inputs[i] === "" ? writer.node("Expand", [writer.scalar(fills[i], TYPES[t.dtype]), w.shapeOf(w.shape(i))]) : inputs[i],
  );
  const operands = operandsOf(repeated).map(({ tensor, moves }, i) => ({ tensor, moves, name: inputs[carried.length + i] }));
  // Inside the loop it could be read there alone.
  if (body.nodes.some((n, i) => n.outputs.some((t, k) => t.shape.join() !== second.body.nodes[i]?.outputs[k]?.shape.join())))
    batches.size();
  const inner = new Map<Tensor, string>();
  const free = (dims: readonly Dim[]): (number | string)[] => dims.map((d) => (typeof d === "number" ? d : "batch"));
  const value = (name: string, t: Tensor, like: Tensor): WrittenValue => ({
    name,
    type: TYPES[t.dtype],
    shape: free(w.dims(t.shape, like.shape)),
  });
  const graph = writer.inner(() => {
    const given: WrittenValue[] = carried.map((t, i) => {
      const name = writer.name("carried");
      inner.set(body.captures.get(t) as Tensor, name);
      return value(name, t, second.carried[i]);
    });
    const own = [...body.inputs, ...[...body.captures].filter(([t]) => !body.assigns.has(t)).map(([, symbol]) => symbol)];
    own.forEach((symbol, i) => {
      const { moves, name } = operands[i];
      const inside = moves ? writer.name("slice") : name;
      inner.set(symbol, inside);
      if (moves) given.push(value(inside, symbol, second.body.inputs[i]));
    });
    if (given.length === carried.length) given.push({ name: writer.name("step"), type: "float32", shape: [] });
    const results = [...carried.map((t) => body.assigns.get(t) as Tensor), ...collected.slice(0, node.outputs.length - carried.length)];
    const like = [...second.carried.map((t) => second.body.assigns.get(t) as Tensor), ...second.collected];
    writeNodes({
      nodes: body.nodes,
      others: second.body.nodes,
      outputs: results,
      names: inner,
      writer,
      batches,
      writers: w.writers,
    });
    // Outputs have names of their own: one value may be several, or an input.
    return { inputs: given, outputs: results.map((t, i) => value(writer.output(inner.get(t) as string, "next"), t, like[i])) };
  });
  // ONNX tells by what moves how many steps there are.
  const moving = operands.filter(({ moves }) => moves).map(({ name }) => name);
  if (moving.length === 0) moving.push(writer.constant("float32", new Array<number>(repeated.length).fill(0)));
  const direction = Number(reverse);
  return writer.nodes(
    "Scan",
    [...first, ...moving],
    {
      body: { graph },
      num_scan_inputs: moving.length,
      ...(reverse && {
        scan_input_directions: moving.map(() => direction),
        scan_output_directions: node.outputs.slice(carried.length).map(() => direction),
      }),
    },
    node.outputs.length,
  );
};

/** Loops. */
export const SCAN: Writers = { scan };

/** @file A graph of ONNX that is being written: nodes and constants with names of their own, then the bytes of a file. */
import { PbfWriter } from "pbf";
import { codeOf } from "../types.ts";
import type { ElementType } from "../types.ts";

/** Attributes of a node: whole numbers and lists of them, text; other numbers as `{ float }`. */
export interface NodeAttributes {
  readonly [name: string]:
    | number
    | string
    | readonly number[]
    | readonly string[]
    | { readonly float: number }
    | { readonly floats: readonly number[] }
    | { readonly graph: InnerGraph };
}

/** The graph of a loop's body. It may read names of the graph around. */
export interface InnerGraph {
  readonly nodes: readonly WrittenNode[];
  readonly inputs: readonly WrittenValue[];
  readonly outputs: readonly WrittenValue[];
}

interface WrittenNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: NodeAttributes;
}

interface WrittenTensor {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** An input or output: sizes, or names of free ones. */
export interface WrittenValue {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly (number | string)[];
}

/** Operators are those of this version. */
export const OPSET = 18;
/** The version of the file format that has them. */
const IR_VERSION = 8;

/** ONNX's word for "to the end". */
export const TO_THE_END = 2 ** 62;

/** Elements of each width. */
function bytesOf(type: ElementType, values: ArrayLike<number>): Uint8Array {
  if (type === "int64") return new Uint8Array(BigInt64Array.from(Array.from(values, (v) => BigInt(v))).buffer);
  if (type === "bool") return Uint8Array.from(Array.from(values, (v) => Number(v !== 0)));
  const words = type === "float32" ? Float32Array.from(values) : type === "uint32" ? Uint32Array.from(values) : Int32Array.from(values);
  return new Uint8Array(words.buffer);
}

/** A graph that grows. */
export class GraphWriter {
  #nodes: WrittenNode[] = [];
  readonly #tensors = new Map<string, WrittenTensor>();
  readonly #constants = new Map<string, string>();
  readonly #names = new Set<string>();
  /** Of what a Transpose gives, what it takes, and how. */
  #transposed = new Map<string, { readonly from: string; readonly perm: readonly number[] }>();

  /** A name that nothing else has. */
  name(wanted: string): string {
    let name = wanted;
    for (let i = 1; this.#names.has(name); i++) name = `${wanted}_${i}`;
    this.#names.add(name);
    return name;
  }

  /** A node; its outputs are returned. */
  nodes(op: string, inputs: readonly string[], attributes: NodeAttributes = {}, count = 1): string[] {
    const outputs = Array.from({ length: count }, () => this.name(op.toLowerCase()));
    this.#nodes.push({ op, inputs, outputs, attributes });
    return outputs;
  }

  /** A node of one output. */
  node(op: string, inputs: readonly string[], attributes: NodeAttributes = {}): string {
    return this.nodes(op, inputs, attributes)[0];
  }

  /** The nodes that `write` adds, as a graph inside. */
  inner(write: () => { readonly inputs: readonly WrittenValue[]; readonly outputs: readonly WrittenValue[] }): InnerGraph {
    const [nodes, transposed] = [this.#nodes, this.#transposed];
    this.#nodes = [];
    // What is made inside cannot be read behind it.
    this.#transposed = new Map(transposed);
    const { inputs, outputs } = write();
    const graph = { nodes: live(this.#nodes, outputs), inputs, outputs };
    [this.#nodes, this.#transposed] = [nodes, transposed];
    return graph;
  }

  /** `from` by the name that an output of the graph must have. */
  output(from: string, wanted: string): string {
    const name = this.name(wanted);
    this.#nodes.push({ op: "Identity", inputs: [from], outputs: [name], attributes: {} });
    return name;
  }

  /** Dimensions in another order. Two that undo each other are none. */
  transpose(x: string, perm: readonly number[]): string {
    const before = this.#transposed.get(x);
    const [from, whole] = before === undefined ? [x, perm] : [before.from, perm.map((p) => before.perm[p])];
    if (whole.every((p, i) => p === i)) return from;
    const y = this.node("Transpose", [from], { perm: whole });
    this.#transposed.set(y, { from, perm: whole });
    return y;
  }

  /** A tensor of a name. */
  tensor(wanted: string, type: ElementType, shape: readonly number[], values: ArrayLike<number>): string {
    const name = this.name(wanted);
    this.#tensors.set(name, { type, shape, bytes: bytesOf(type, values) });
    return name;
  }

  /** A small constant, written once. */
  constant(type: ElementType, values: readonly number[], shape: readonly number[] = [values.length]): string {
    const key = `${type} ${shape.join()} ${values.join()}`;
    let name = this.#constants.get(key);
    if (name === undefined) this.#constants.set(key, (name = this.tensor("constant", type, shape, values)));
    return name;
  }

  ints(values: readonly number[]): string {
    return this.constant("int64", values);
  }

  scalar(value: number, type: ElementType = "float32"): string {
    return this.constant(type, [value], []);
  }

  /** The file. What nothing needs of the outputs is left out. */
  finish(name: string, inputs: readonly WrittenValue[], outputs: readonly WrittenValue[]): Uint8Array {
    const nodes = live(this.#nodes, outputs);
    const needed = namesIn(nodes, outputs);
    const tensors = [...this.#tensors].filter(([tensor]) => needed.has(tensor));
    const pbf = new PbfWriter();
    pbf.writeVarintField(1, IR_VERSION);
    pbf.writeStringField(2, "lockstep");
    pbf.writeMessage(7, writeGraph, { name, nodes, tensors, inputs, outputs });
    pbf.writeMessage(8, (version: number, p: PbfWriter) => p.writeVarintField(2, version), OPSET);
    return pbf.finish();
  }
}

/** Names that nodes and outputs read. */
function namesIn(nodes: readonly WrittenNode[], outputs: readonly WrittenValue[]): Set<string> {
  const names = new Set(outputs.map((o) => o.name));
  for (const node of nodes) namesOf(node).forEach((name) => names.add(name));
  return names;
}

/** Names that a node reads, those inside it too. */
const namesOf = ({ inputs, attributes }: WrittenNode): string[] => [
  ...inputs,
  ...Object.values(attributes).flatMap((a) => (typeof a === "object" && "graph" in a ? [...namesIn(a.graph.nodes, a.graph.outputs)] : [])),
];

/** Nodes that outputs depend on. */
function live(nodes: readonly WrittenNode[], outputs: readonly WrittenValue[]): WrittenNode[] {
  const needed = new Set(outputs.map((o) => o.name));
  const kept = [...nodes].reverse().filter((node) => {
    const isNeeded = node.outputs.some((o) => needed.has(o));
    if (isNeeded) namesOf(node).forEach((name) => needed.add(name));
    return isNeeded;
  });
  return kept.reverse();
}

interface WrittenGraph {
  readonly name: string;
  readonly nodes: readonly WrittenNode[];
  readonly tensors: readonly (readonly [string, WrittenTensor])[];
  readonly inputs: readonly WrittenValue[];
  readonly outputs: readonly WrittenValue[];
}

function writeGraph(graph: WrittenGraph, pbf: PbfWriter): void {
  for (const node of graph.nodes) pbf.writeMessage(1, writeNode, node);
  pbf.writeStringField(2, graph.name);
  for (const tensor of graph.tensors) pbf.writeMessage(5, writeTensor, tensor);
  for (const value of graph.inputs) pbf.writeMessage(11, writeValue, value);
  for (const value of graph.outputs) pbf.writeMessage(12, writeValue, value);
}

function writeNode({ op, inputs, outputs, attributes }: WrittenNode, pbf: PbfWriter): void {
  for (const input of inputs) pbf.writeStringField(1, input);
  for (const output of outputs) pbf.writeStringField(2, output);
  pbf.writeStringField(3, outputs[0]);
  pbf.writeStringField(4, op);
  for (const entry of Object.entries(attributes)) pbf.writeMessage(5, writeAttribute, entry);
}

const areTexts = (list: readonly (number | string)[]): list is readonly string[] => typeof list[0] === "string";

/** Types of attributes: f 1, i 2, s 3, graph 5, floats 6, ints 7, strings 8. */
function writeAttribute([name, value]: readonly [string, NodeAttributes[string]], pbf: PbfWriter): void {
  pbf.writeStringField(1, name);
  const typed = (type: number): void => pbf.writeVarintField(20, type);
  if (typeof value === "number") {
    pbf.writeVarintField(3, value);
    typed(2);
  } else if (typeof value === "string") {
    pbf.writeStringField(4, value);
    typed(3);
  } else if ("float" in value) {
    pbf.writeFloatField(2, value.float);
    typed(1);
  } else if ("graph" in value) {
    pbf.writeMessage(6, writeGraph, { ...value.graph, name: "body", tensors: [] });
    typed(5);
  } else if ("floats" in value) {
    for (const v of value.floats) pbf.writeFloatField(7, v);
    typed(6);
  } else if (areTexts(value)) {
    for (const v of value) pbf.writeStringField(9, v);
    typed(8);
  } else {
    for (const v of value) pbf.writeVarintField(8, v);
    typed(7);
  }
}

function writeTensor([name, { type, shape, bytes }]: readonly [string, WrittenTensor], pbf: PbfWriter): void {
  for (const d of shape) pbf.writeVarintField(1, d);
  pbf.writeVarintField(2, codeOf(type));
  pbf.writeStringField(8, name);
  pbf.writeBytesField(9, bytes);
}

function writeValue({ name, type, shape }: WrittenValue, pbf: PbfWriter): void {
  pbf.writeStringField(1, name);
  const dimension = (d: number | string, p: PbfWriter): void =>
    typeof d === "number" ? p.writeVarintField(1, d) : p.writeStringField(2, d);
  const dimensions = (_: null, p: PbfWriter): void => {
    for (const d of shape) p.writeMessage(1, dimension, d);
  };
  const tensor = (_: null, p: PbfWriter): void => {
    p.writeVarintField(1, codeOf(type));
    p.writeMessage(2, dimensions, null);
  };
  pbf.writeMessage(2, (_: null, p: PbfWriter) => p.writeMessage(1, tensor, null), null);
}

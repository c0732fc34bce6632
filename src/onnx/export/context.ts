/** @file What is known of a node of a traced graph while it is written as nodes of ONNX. */
import { ArgumentError } from "../../index.ts";
import type { DType, Shape, Tensor } from "../../index.ts";
import type { Attrs, NodeOf } from "../../op.ts";
import type { ElementType } from "../types.ts";
import type { GraphWriter } from "./writer.ts";

export type Node = NodeOf<Tensor>;

/** A size, or one that is so many times the batch. */
export type Dim = number | { readonly times: number };

/** ONNX's types of what is computed here. */
export const TYPES: { readonly [dtype in DType]: ElementType } = { f32: "float32", i32: "int32", u32: "uint32", bool: "bool" };

/** The batches that a model is traced with, to see what depends on it. */
export interface Batches {
  readonly sizes: readonly [number, number];
  /** The batch as an int64 of one element. */
  size(): string;
}

/** Sizes of two batches as what they are for any; null where that cannot be said. */
export function dimsOf(a: readonly number[], b: readonly number[], [one, other]: Batches["sizes"]): Dim[] | null {
  const dims = a.map((d, i): Dim => (d === b[i] ? d : { times: d / one }));
  return dims.every((d, i) => typeof d === "number" || (Number.isInteger(d.times) && d.times * other === b[i])) ? dims : null;
}

/** A shape as an input of a node. */
export function shapeInput(writer: GraphWriter, dims: readonly Dim[], batches: Batches): string {
  if (dims.every((d) => typeof d === "number")) return writer.ints(dims as number[]);
  const parts = dims.map((d) => {
    if (typeof d === "number") return writer.ints([d]);
    return d.times === 1 ? batches.size() : writer.node("Mul", [batches.size(), writer.ints([d.times])]);
  });
  return writer.node("Concat", parts, { axis: 0 });
}

/** How the op of a node is written; and with what, for those that have a graph inside. */
export interface Writers {
  readonly [op: string]: WriteNode;
}

/** A node with the names of its inputs. */
export class Writing {
  readonly node: Node;
  readonly inputs: readonly string[];
  readonly writer: GraphWriter;
  /** Nodes that read an output. */
  readonly readers: (output: number) => readonly Node[];
  readonly other: Node;
  readonly names: Map<Tensor, string>;
  readonly batches: Batches;
  readonly writers: Writers;

  constructor(
    pair: readonly [Node, Node],
    inputs: readonly string[],
    around: { readonly writer: GraphWriter; readonly batches: Batches; readonly names: Map<Tensor, string>; readonly writers: Writers },
    readers: (output: number) => readonly Node[],
  ) {
    [this.node, this.other] = pair;
    this.inputs = inputs;
    this.writer = around.writer;
    this.batches = around.batches;
    this.names = around.names;
    this.writers = around.writers;
    this.readers = readers;
  }

  /** Attributes of a kind. */
  attrs<A>(): A {
    return this.node.attrs as unknown as A;
  }

  fault(why: string): ArgumentError {
    const at = this.node.source ? ` (layer "${this.node.source}")` : "";
    return new ArgumentError(`saveOnnx: ${this.node.op.name}${at}: ${why}`);
  }

  /** Two lists of numbers, of which those that differ are multiples of the batch. */
  dims(a: readonly number[], b: readonly number[]): Dim[] {
    const dims = dimsOf(a, b, this.batches.sizes);
    if (dims === null) throw this.fault("it depends on the batch in a way that ONNX cannot say");
    return dims;
  }

  /** The shape of an output. */
  shape(output = 0): Dim[] {
    return this.dims(this.node.outputs[output].shape, this.other.outputs[output].shape);
  }

  inputShape(input: number): Dim[] {
    return this.dims((this.node.inputs[input] as Tensor).shape, (this.other.inputs[input] as Tensor).shape);
  }

  /** A list among the attributes. */
  list(name: string): Dim[] {
    const of = (attrs: Attrs): readonly number[] => attrs[name] as unknown as Shape;
    return this.dims(of(this.node.attrs), of(this.other.attrs));
  }

  /** A list that does not depend on the batch. */
  fixed(name: string): number[] {
    const list = this.list(name);
    if (list.some((d) => typeof d !== "number")) throw this.fault(`${name} depends on the batch`);
    return list as number[];
  }

  dtype(output = 0): ElementType {
    return TYPES[this.node.outputs[output].dtype];
  }

  input(i: number): Tensor {
    return this.node.inputs[i] as Tensor;
  }

  /** A shape as an input of a node. `free`: one size may be told from the others, as Reshape does. */
  shapeOf(dims: readonly Dim[], free = false): string {
    const open = dims.filter((d) => typeof d !== "number").length;
    if (free && open === 1 && !dims.includes(0)) return this.writer.ints(dims.map((d) => (typeof d === "number" ? d : -1)));
    return shapeInput(this.writer, dims, this.batches);
  }

  /** `x` by another shape. */
  reshape(x: string, dims: readonly Dim[]): string {
    return this.writer.node("Reshape", [x, this.shapeOf(dims, true)], dims.includes(0) ? { allowzero: 1 } : {});
  }
}

/** Writes a node. Returns the names of its outputs, "" for what cannot be read. */
export type WriteNode = (w: Writing) => string | readonly string[];

/** @file What an operator is given: inputs, attributes, and who it is. */
import { FileError, LockstepError, ShapeError } from "../index.ts";
import type { Shape, Tensor } from "../index.ts";
import type { AttributeProto, GraphProto } from "./proto.ts";
import { constantOf, storedOf } from "./tensors.ts";
import type { Constant, Files } from "./tensors.ts";
import { HostStep, Value } from "./value.ts";
import type { Make } from "./kept.ts";
import type { HostFunction, Origin } from "./value.ts";
import type { ElementType } from "./types.ts";

/** Computes the outputs of one node: all of them, or those that begin the list. */
export type Operator = (call: Call) => Value | readonly Value[];

/** Operators by name. */
export interface Operators {
  readonly [name: string]: Operator;
}

/** Tables of operators by domain; "" is that of ONNX. */
export interface Domains {
  readonly [domain: string]: Operators;
}

/** Several tables as one. */
export const tableOf = (...tables: readonly Operators[]): Operators => Object.assign({}, ...tables);

/** Runs a graph inside the graph around. `apart`: in the body of a loop, whose tensors are of no use outside. */
export type RunGraph = (graph: GraphProto, inputs: readonly Value[], apart: boolean) => readonly Value[];

/** What a graph runs in. */
export interface Surroundings {
  readonly run: RunGraph;
  readonly files: Files;
  /** What was computed in JavaScript at a place of the node; null before. */
  readonly made: (place: string) => readonly Value[] | null;
  /** The name of such a place among all. */
  readonly place: (name: string) => string;
  /** What `make` makes of weights, kept from run to run where there are such. */
  readonly keep: (key: string, weights: readonly Tensor[], make: Make) => Tensor;
  /** Whether the node alone reads its input. */
  readonly isAlone: (place: number) => boolean;
}

/** The most elements of a constant that is part of a key. */
const MOST_IN_KEY = 4096;

/** How `make` makes something of what `values` are made of; null where that is not of weights alone. */
function originOf(key: string, values: readonly Value[], make: Make): Origin | null {
  const origins: Origin[] = [];
  for (const v of values) {
    const { known } = v;
    const isConstant = known !== null && v.size <= MOST_IN_KEY && v.type !== "string";
    const origin = isConstant
      ? { key: `${v.type}[${v.shape.join()}]${Array.from(v.elements).join()}`, weights: [], make: () => v.anew().tensor }
      : v.origin;
    if (origin === null || v.size === 0) return null;
    origins.push(origin);
  }
  const weights = origins.flatMap((o) => o.weights);
  if (weights.length === 0) return null;
  const all = (...tensors: Tensor[]): Tensor => {
    let place = 0;
    return make(...origins.map((o) => o.make(...tensors.slice(place, (place += o.weights.length)))));
  };
  return { key: `${key}(${origins.map((o) => o.key).join()})`, weights, make: all };
}

/** A node with its inputs. */
export class Call {
  /** What errors call it: its operator and name. */
  readonly who: string;
  /** The version of the operator's domain. */
  readonly opset: number;
  /** Null where an optional input is left out. */
  readonly inputs: readonly (Value | null)[];
  /** Names of outputs, "" where nobody reads one. */
  readonly outputs: readonly string[];
  readonly #attributes: ReadonlyMap<string, AttributeProto>;
  readonly #around: Surroundings;

  constructor(
    who: string,
    opset: number,
    inputs: readonly (Value | null)[],
    outputs: readonly string[],
    attributes: ReadonlyMap<string, AttributeProto>,
    around: Surroundings,
  ) {
    this.who = who;
    this.opset = opset;
    this.inputs = inputs;
    this.outputs = outputs;
    this.#attributes = attributes;
    this.#around = around;
  }

  /** @throws FileError for a node that lacks it */
  input(place: number): Value {
    const value = this.optional(place);
    if (value === null) throw this.fault(`input ${place} is missing`);
    return value;
  }

  optional(place: number): Value | null {
    return this.inputs[place] ?? null;
  }

  /** An input's tensor in ONNX's order. */
  tensor(place: number): Tensor {
    return this.input(place).tensor;
  }

  /**
   * What `make` makes of tensors: once, where they are of weights alone, and in each run otherwise. `key` tells it from what else is made
   * of them.
   */
  kept(key: string, values: readonly Value[], make: Make): Tensor {
    const origin = originOf(key, values, make);
    return origin === null ? make(...values.map((v) => v.tensor)) : this.#around.keep(origin.key, origin.weights, origin.make);
  }

  /** The same as a value, which is not made where only what is made of it, by `kept`, is read. */
  made(type: ElementType, shape: Shape, key: string, values: readonly Value[], make: Make): Value {
    const origin = originOf(key, values, make);
    return origin === null
      ? Value.of(type, make(...values.map((v) => v.tensor)))
      : Value.lazy(type, shape, () => this.#around.keep(origin.key, origin.weights, origin.make), origin);
  }

  /** The same node with other inputs. */
  withInputs(inputs: readonly (Value | null)[]): Call {
    return new Call(this.who, this.opset, inputs, this.outputs, this.#attributes, this.#around);
  }

  /** Whether nothing else reads an input. */
  isAlone(place: number): boolean {
    return this.#around.isAlone(place);
  }

  /** Whether anything may read an output. */
  wants(place: number): boolean {
    return (this.outputs[place] ?? "") !== "";
  }

  /** Elements of an input that must be known, as a list of numbers; null where it is left out. @throws NotYetKnown */
  numbers(place: number): number[] | null {
    const value = this.optional(place);
    return value === null ? null : Array.from(value.elements);
  }

  /** One element. */
  number(place: number): number | null {
    const list = this.numbers(place);
    if (list !== null && list.length !== 1) throw this.fault(`input ${place} must have one element, got ${list.length}`);
    return list === null ? null : list[0];
  }

  /**
   * What `compute` makes of elements in JavaScript: for results whose shapes follow from elements. Where these are not known, the program
   * ends here, and what follows is made for the shapes of the results, whatever elements they have. `name` tells several apart.
   * @throws HostStep
   */
  host(name: string, values: readonly Value[], compute: HostFunction): readonly Value[] {
    const constants = values.map((v) => v.constantOrNull);
    if (constants.every((c) => c !== null)) return compute(constants).map((c) => Value.known(c));
    const made = this.#around.made(name);
    if (made === null) throw new HostStep(this.#around.place(name), values, compute);
    return made;
  }

  fault(why: string): FileError {
    return new FileError(`${this.who}: ${why}`);
  }

  mismatch(why: string): ShapeError {
    return new ShapeError(`${this.who}: ${why}`);
  }

  has(name: string): boolean {
    return this.#attributes.has(name);
  }

  int(name: string): number | null;
  int(name: string, absent: number): number;
  int(name: string, absent: number | null = null): number | null {
    const a = this.#attributes.get(name);
    // Zero is what protobuf does not write.
    return a === undefined ? absent : Number(a.i ?? 0n);
  }

  flag(name: string, absent = false): boolean {
    return this.int(name, Number(absent)) !== 0;
  }

  float(name: string): number | null;
  float(name: string, absent: number): number;
  float(name: string, absent: number | null = null): number | null {
    const a = this.#attributes.get(name);
    return a === undefined ? absent : (a.f ?? 0);
  }

  string(name: string): string | null;
  string(name: string, absent: string): string;
  string(name: string, absent: string | null = null): string | null {
    const a = this.#attributes.get(name);
    return a === undefined ? absent : (a.s ?? "");
  }

  /** One of some words. @throws FileError for another */
  word(name: string, known: readonly string[], absent = known[0]): string {
    const given = this.string(name, absent);
    if (!known.includes(given)) throw this.fault(`${name} must be one of ${known.join(", ")}, got "${given.slice(0, 60)}"`);
    return given;
  }

  ints(name: string): number[] | null {
    return this.#attributes.get(name)?.ints.map(Number) ?? null;
  }

  floats(name: string): number[] | null {
    return this.#attributes.get(name)?.floats ?? null;
  }

  strings(name: string): string[] | null {
    return this.#attributes.get(name)?.strings ?? null;
  }

  constant(name: string): Constant | null {
    const a = this.#attributes.get(name);
    return a?.tensor ? constantOf(storedOf(a.tensor, this.who, this.#around.files)) : null;
  }

  /** Runs the graph of an attribute. `apart`: in the body of a loop. */
  run(name: string, inputs: readonly Value[], apart = false): readonly Value[] {
    return this.#around.run(this.graph(name), inputs, apart);
  }

  graph(name: string): GraphProto {
    const graph = this.#attributes.get(name)?.graph;
    if (!graph) throw this.fault(`it has no graph "${name}"`);
    return graph;
  }

  /** Axes counted from the front, in the order given. @throws ShapeError for those that there are not, and for repeated ones */
  axes(given: readonly number[], rank: number): number[] {
    const list = given.map((axis) => this.axis(axis, rank));
    if (new Set(list).size !== list.length) throw this.mismatch(`axes [${given.join()}] name one twice`);
    return list;
  }

  axis(axis: number, rank: number): number {
    if (!Number.isInteger(axis) || axis < -rank || axis >= rank)
      throw this.mismatch(`axis ${axis} is none of a tensor of ${rank} dimensions`);
    return axis < 0 ? axis + rank : axis;
  }
}

/** The axes of an input or, in files of old versions, of an attribute. */
export const axesOf = (call: Call, place: number): number[] | null => call.numbers(place) ?? call.ints("axes");

export const sizeOf = (shape: Shape): number => shape.reduce((n, d) => n * d, 1);

/** An operator of one input and one output of the same type, channels last where the input is: it knows nothing of places. */
export const elementwise =
  (fn: (x: Tensor, call: Call) => Tensor): Operator =>
  (call) =>
    mapped(call.input(0), (x) => fn(x, call));

/** `fn` of the elements, in whatever order they lie. */
export const mapped = (x: Value, fn: (x: Tensor) => Tensor, type: ElementType = x.type): Value =>
  x.isChannelsLast ? Value.channelsLast(type, fn(x.last)) : Value.of(type, fn(x.tensor));

/** What an operator says goes wrong is told by the node's name. */
export function called(call: Call, operator: Operator): readonly Value[] {
  try {
    const out = operator(call);
    return out instanceof Value ? [out] : out;
  } catch (error) {
    if (error instanceof LockstepError && !error.message.startsWith(call.who)) error.message = `${call.who}: ${error.message}`;
    throw error;
  }
}

/** @file A graph made ready: operators found, names resolved, nodes in an order in which they can run. */
import { FileError } from "../index.ts";
import { Call, called } from "./call.ts";
import type { Surroundings } from "./call.ts";
import type { OperatorOf } from "./operators.ts";
import { quantizedOf } from "./packing.ts";
import type { Quantized } from "./packing.ts";
import type { AttributeProto, FunctionProto, GraphProto, NodeProto } from "./proto.ts";
import { storedOf } from "./tensors.ts";
import type { Constant, Files, Stored } from "./tensors.ts";
import type { Keeper } from "./kept.ts";
import type { Value } from "./value.ts";

/** A node that can be run. */
export interface Step {
  readonly who: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Names of the graph around that graphs of attributes read. */
  readonly captured: readonly string[];
  /** Its outputs. */
  run(inputs: readonly (Value | null)[], scope: Scope): readonly Value[];
}

/** A graph that can be run. */
export interface Prepared {
  readonly constants: ReadonlyMap<string, Stored>;
  /** The constants, once they have been read. */
  readonly values: Map<string, Value>;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly steps: readonly Step[];
  /** Constants that are read as matrices in few bits. */
  readonly quantized: readonly Quantized[];
  /** What it reads of graphs around. */
  readonly captured: readonly string[];
}

/** The most nodes of one program, those of each round of an unrolled loop counted. */
const MOST_RUNS = 2 ** 17;

/** One time of running nodes: what is known of values that are computed, by where they are. */
export class Trace {
  readonly #answers: ReadonlyMap<string, Constant>;
  /** What JavaScript computed, by place. */
  readonly made: ReadonlyMap<string, readonly Value[]>;
  /** Null where weights are trained: all is made of them in the program. */
  readonly keeper: Keeper | null;
  readonly #places = new WeakMap<Value, string>();

  #runs = 0;

  constructor(answers: ReadonlyMap<string, Constant>, made: ReadonlyMap<string, readonly Value[]>, keeper: Keeper | null) {
    this.#answers = answers;
    this.made = made;
    this.keeper = keeper;
  }

  /** Counts a node that runs. @throws FileError where loops in loops, and functions of functions, make too many */
  count(who: string): void {
    if (++this.#runs > MOST_RUNS) throw new FileError(`${who}: with the rounds of loops more than ${MOST_RUNS} nodes would run`);
  }

  /** Where a value was computed first. */
  placeOf(value: Value): string | undefined {
    return this.#places.get(value);
  }

  /** `value` of this place, with its elements where they are known. */
  at(place: string, value: Value): Value {
    const answer = this.#answers.get(place);
    if (answer !== undefined && value.known === null) return value.knowing(answer);
    if (!this.#places.has(value)) this.#places.set(value, place);
    return value;
  }
}

/** Values by name; those of graphs around stand behind. */
export class Scope {
  readonly trace: Trace;
  /** Where it is among others. */
  readonly path: string;
  readonly #values = new Map<string, Value>();
  readonly #around: Scope | null;

  constructor(trace: Trace, path = "", around: Scope | null = null) {
    this.trace = trace;
    this.path = path;
    this.#around = around;
  }

  /** The value of a name, here or around. */
  get(name: string): Value | undefined {
    return this.#values.get(name) ?? this.#around?.get(name);
  }

  /** Gives a name its value. */
  set(name: string, value: Value): void {
    this.#values.set(name, this.trace.at(this.path + name, value));
  }
}

/** What graphs of one file share. */
export interface Library {
  readonly who: string;
  readonly opsets: ReadonlyMap<string, number>;
  readonly functions: readonly FunctionProto[];
  readonly files: Files;
  readonly operatorOf: OperatorOf;
  /** All graphs, those inside others too. */
  readonly graphs: Prepared[];
}

const show = (name: string): string => (name.length > 80 ? `${name.slice(0, 80)}...` : name);

/** What errors call a node. */
const nodeName = (node: NodeProto): string =>
  `${node.domain ? `${show(node.domain)}.` : ""}${show(node.op)} "${show(node.name || node.outputs[0] || "")}"`;

/** Nodes in an order in which each comes behind what it reads: files may have another. @throws FileError for circles and missing names */
function ordered(who: string, steps: readonly Step[], known: ReadonlySet<string>, isInner: boolean): Step[] {
  const makers = new Map<string, Step>();
  for (const step of steps) {
    for (const name of step.outputs) {
      if (name === "") continue;
      if (makers.has(name) || known.has(name)) throw new FileError(`${who}: "${show(name)}" is computed twice`);
      makers.set(name, step);
    }
  }
  const done = new Set<Step>();
  const order: Step[] = [];
  const under = new Set<Step>();
  // A stack of one's own: chains of nodes may be longer than JavaScript's.
  for (const first of steps) {
    const stack: Step[] = [first];
    while (stack.length > 0) {
      const step = stack[stack.length - 1];
      if (done.has(step)) {
        stack.pop();
        continue;
      }
      under.add(step);
      const needs: Step[] = [];
      for (const name of [...step.inputs, ...step.captured]) {
        if (name === "" || known.has(name)) continue;
        const maker = makers.get(name);
        if (maker === undefined) {
          if (isInner) continue;
          throw new FileError(`${who}: ${step.who} reads "${show(name)}", which nothing computes`);
        }
        if (!done.has(maker)) needs.push(maker);
      }
      const circle = needs.find((n) => under.has(n));
      if (circle !== undefined) throw new FileError(`${who}: ${circle.who} waits for its own output`);
      if (needs.length > 0) stack.push(...needs.reverse());
      else {
        stack.pop();
        done.add(step);
        under.delete(step);
        order.push(step);
      }
    }
  }
  return order;
}

/** Attributes of a node inside a function, some of which are taken from the node that calls it. */
function bound(node: NodeProto, given: ReadonlyMap<string, AttributeProto>): ReadonlyMap<string, AttributeProto> {
  const attributes = new Map<string, AttributeProto>();
  for (const [name, a] of node.attributes) {
    const value = a.from === "" ? a : given.get(a.from);
    if (value !== undefined) attributes.set(name, value);
  }
  return attributes;
}

/** Graphs inside, made ready once. */
function graphsOf(library: Library, attributes: ReadonlyMap<string, AttributeProto>): Map<GraphProto, Prepared> {
  const graphs = new Map<GraphProto, Prepared>();
  for (const { graph } of attributes.values()) if (graph !== null) graphs.set(graph, prepare(library, graph, true));
  return graphs;
}

/** How often names are read. */
type Readers = ReadonlyMap<string, number>;

function readersOf(nodes: readonly NodeProto[], outputs: readonly string[]): Readers {
  const readers = new Map<string, number>();
  const read = (name: string): void => void readers.set(name, (readers.get(name) ?? 0) + 1);
  outputs.forEach(read);
  // Graphs inside may read what is around them.
  const all = [...nodes];
  for (let node = all.pop(); node; node = all.pop()) {
    node.inputs.forEach(read);
    for (const { graph } of node.attributes.values()) {
      if (graph === null) continue;
      graph.outputs.forEach(({ name }) => read(name));
      all.push(...graph.nodes);
    }
  }
  return readers;
}

/** A node whose operator is one of those here. */
function stepOf(library: Library, node: NodeProto, attributes: ReadonlyMap<string, AttributeProto>, readers: Readers): Step {
  const own = library.functions.find((f) => f.name === node.op && f.domain === node.domain);
  const who = nodeName(node);
  if (own !== undefined) return functionStep(library, node, own, attributes);
  const opset = library.opsets.get(node.domain) ?? 1;
  const operator = library.operatorOf(node.domain, node.op);
  if (operator === null)
    throw new FileError(
      `${library.who}: ${who}: the operator ${node.domain ? `${show(node.domain)}.` : ""}${show(node.op)} is not supported`,
    );
  const graphs = graphsOf(library, attributes);
  return {
    who,
    inputs: node.inputs,
    outputs: node.outputs,
    captured: [...graphs.values()].flatMap((g) => g.captured),
    run: (inputs, scope) => {
      // Names of nodes may be those of others; outputs are not.
      const path = `${scope.path}${who}>${node.outputs.find((name) => name !== "") ?? ""}`;
      let runs = 0;
      const around: Surroundings = {
        files: library.files,
        made: (place) => scope.trace.made.get(`${path}:${place}`) ?? null,
        place: (place) => `${path}:${place}`,
        keep: (key, weights, make) => scope.trace.keeper?.find(key, weights, make) ?? make(...weights),
        isAlone: (place) => readers.get(node.inputs[place]) === 1,
        run: (graph, given, apart) => {
          const body = graphs.get(graph) as Prepared;
          const inner = new Scope(scope.trace, `${path}#${runs++}/`, scope);
          if (apart) for (const name of body.captured) scope.get(name) && inner.set(name, (scope.get(name) as Value).copy());
          return runGraph(body, given, inner);
        },
      };
      return called(new Call(who, opset, inputs, node.outputs, attributes, around), operator);
    },
  };
}

/** A node whose operator the file itself defines. */
function functionStep(library: Library, node: NodeProto, own: FunctionProto, given: ReadonlyMap<string, AttributeProto>): Step {
  const attributes = new Map([...own.defaults, ...given]);
  // A function knows nothing of those behind it, so that none calls itself.
  const inner: Library = {
    ...library,
    opsets: new Map([...library.opsets, ...own.opsets]),
    functions: library.functions.filter((f) => f !== own),
  };
  const readers = readersOf(own.nodes, own.outputs);
  const steps = own.nodes.map((n) => stepOf(inner, n, bound(n, attributes), readers));
  const body: Prepared = {
    constants: new Map(),
    values: new Map(),
    inputs: own.inputs,
    outputs: own.outputs,
    steps: ordered(library.who, steps, new Set(own.inputs), false),
    quantized: [],
    captured: [],
  };
  return {
    who: nodeName(node),
    inputs: node.inputs,
    outputs: node.outputs,
    captured: [],
    run: (inputs, scope) => runGraph(body, inputs, new Scope(scope.trace, `${scope.path}${nodeName(node)}/`)),
  };
}

/** @throws FileError naming an operator that there is none of, before anything runs */
export function prepare(library: Library, graph: GraphProto, isInner = false): Prepared {
  const { who } = library;
  const constants = new Map<string, Stored>();
  for (const t of graph.initializers) constants.set(t.name, storedOf(t, who, library.files));
  const nodes: NodeProto[] = [];
  for (const node of graph.nodes) {
    const t = node.op === "Constant" && node.domain === "" && node.outputs.length === 1 ? node.attributes.get("value")?.tensor : null;
    if (t) constants.set(node.outputs[0], storedOf(t, `${who}: ${nodeName(node)}`, library.files));
    else nodes.push(node);
  }
  if (graph.sparse.length > 0) throw new FileError(`${who}: sparse initializers are not supported`);
  const inputs = graph.inputs.map((i) => i.name).filter((name) => isInner || !constants.has(name));
  const known = new Set([...constants.keys(), ...inputs]);
  const outputs = graph.outputs.map((o) => o.name);
  const readers = readersOf(nodes, outputs);
  const steps = ordered(
    who,
    nodes.map((n) => stepOf(library, n, n.attributes, readers)),
    known,
    isInner,
  );
  const made = new Set([...known, ...steps.flatMap((s) => s.outputs)]);
  const captured = new Set([...steps.flatMap((s) => [...s.inputs, ...s.captured]), ...outputs].filter((n) => n !== "" && !made.has(n)));
  if (outputs.includes("")) throw new FileError(`${who}: an output of ${isInner ? "an inner" : "the"} graph has no name`);
  if (!isInner && captured.size > 0) throw new FileError(`${who}: "${show([...captured][0])}" is read, but nothing computes it`);
  const quantized = quantizedOf(nodes, constants, readers);
  const prepared = { constants, values: new Map<string, Value>(), inputs, outputs, steps, quantized, captured: [...captured] };
  library.graphs.push(prepared);
  return prepared;
}

/** Runs one node, and puts what it computes into `scope`. */
export function runStep(step: Step, scope: Scope): void {
  scope.trace.count(step.who);
  const inputs = step.inputs.map((name) => (name === "" ? null : (scope.get(name) ?? null)));
  const results = step.run(inputs, scope);
  step.outputs.forEach((name, i) => {
    if (name === "") return;
    if (results[i] === undefined) throw new FileError(`${step.who}: output ${i} is not computed here`);
    scope.set(name, results[i]);
  });
}

/** Runs all of a graph in a scope of its own. */
export function runGraph(graph: Prepared, inputs: readonly (Value | null)[], scope: Scope): Value[] {
  for (const [name, value] of graph.values) scope.set(name, value.anew());
  graph.inputs.forEach((name, i) => {
    const value = inputs[i];
    if (value) scope.set(name, value);
  });
  for (const step of graph.steps) runStep(step, scope);
  return graph.outputs.map((name) => scope.get(name) as Value);
}

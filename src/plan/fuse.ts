/**
 * @file Fusion: elementwise nodes of one iteration space become one `map` call, with as many outputs as are read from
 * outside, and a chain that only feeds a reduction becomes the reduction's prologue. Matmul, convolution and recurrent
 * kernels take bias and activation as operands of their ops, so nothing is left to fuse behind them.
 */
import { assert } from "../assert.ts";
import { once } from "../cache.ts";
import { constantOp } from "../graph.ts";
import type { Attrs, Graph, Kernel, Lowered, Node } from "../graph.ts";
import type { DType } from "../dtype.ts";
import { broadcastStrides, sameShape } from "../shape.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { MAP } from "./copy.ts";
import type { PlanLimits, UnplacedCall } from "./limits.ts";
import type { MapBody, MapStep } from "./plan.ts";
import { base } from "./simplify.ts";

/** Nodes that run as one. */
export interface Unit {
  /** In graph order once `fuse` has merged what it can. */
  readonly nodes: Node[];
  /** The iteration space of elementwise nodes; null for any other single node. */
  readonly space: Shape | null;
  /** What its nodes read of other units and leaves, constants apart. Of elementwise nodes each once. */
  reads: Tensor[];
  readonly constants: Node[];
  /** How many of its nodes' results are roots or read by other units. */
  outputs: number;
}

/**
 * Reads that a search for a way between two units follows before it gives up and takes it that there is one: then the two stay two maps.
 * Ways are mostly short, and so are searches where there is none: they go from both ends and are over when one side has nothing more to
 * follow. So a merge is lost only where both sides have hundreds of reads that have nothing to do with the other.
 */
const MOST_FOLLOWED = 256;

/** Which nodes run as one, and what reads what. */
export class Fuser {
  /** By the node's id, as what follows. */
  readonly #unitOf: (Unit | undefined)[];
  readonly #consumers: Node[][];
  /** How many other units read a node's results. */
  readonly #outside: Uint32Array;
  /** One tensor for all that are the same bytes with the same shape. */
  readonly #operands = new Map<string, Tensor>();
  readonly roots: ReadonlySet<Tensor>;
  /** Outputs that a node reads or that are roots. */
  readonly read: ReadonlySet<Tensor>;
  readonly #limits: PlanLimits;

  constructor(nodes: readonly Node[], roots: readonly Tensor[], limits: PlanLimits) {
    this.roots = new Set(roots.map(base));
    this.#limits = limits;
    const size = 1 + (nodes.at(-1)?.id ?? 0);
    this.#unitOf = new Array<undefined>(size);
    this.#consumers = new Array<Node[]>(size);
    this.#outside = new Uint32Array(size);
    const read = new Set(this.roots);
    this.read = read;
    for (const n of nodes) {
      const u: Unit = { nodes: [n], space: n.op.lower === "map" ? n.outputs[0].shape : null, reads: [], constants: [], outputs: 1 };
      this.#unitOf[n.id] = u;
      this.#consumers[n.id] = [];
      for (const t of n.inputs) {
        if (t === null) continue;
        const b = base(t);
        const source = b.node as Node;
        read.add(b);
        const readers = this.#consumers[source.id] as Node[] | undefined;
        if (readers !== undefined && readers.at(-1) !== n) {
          readers.push(n);
          this.#outside[source.id]++;
        }
        if (source.op === constantOp) {
          if (!u.constants.includes(source)) u.constants.push(source);
          continue;
        }
        const operand = this.#operand(t);
        if (u.space === null || !u.reads.includes(operand)) u.reads.push(operand);
      }
    }
  }

  /** The unit of a node that computes; undefined for inputs and captures. */
  unit(n: Node): Unit | undefined {
    return this.#unitOf[n.id];
  }

  /** Nodes that read `n`, in graph order. */
  readers(n: Node): readonly Node[] {
    return this.#consumers[n.id];
  }

  /**
   * Merges the units of `source` and of `n`, which reads it and is the last node so far, when the result is still one map and nothing would
   * wait for itself.
   */
  tryMerge(source: Node, n: Node): void {
    const [producer, consumer] = [this.unit(source) as Unit, this.unit(n) as Unit];
    if (producer === consumer || producer.space === null || consumer.space === null || !sameShape(producer.space, consumer.space)) return;
    const [into, from] = producer.nodes.length < consumer.nodes.length ? [consumer, producer] : [producer, consumer];
    const constants = from.constants.filter((c) => !into.constants.includes(c));
    if (into.nodes.length + from.nodes.length + into.constants.length + constants.length > this.#limits.maxSteps) return;
    // The producer reads nothing of the consumer, which reads of it.
    const reads = [...producer.reads];
    /** Nodes of the producer that the consumer reads, and others that both read. */
    const [inner, shared]: [Node[], Node[]] = [[], []];
    let outputs = producer.outputs + consumer.outputs;
    for (const t of consumer.reads) {
      const source = base(t).node as Node;
      const unit = this.unit(source);
      if (unit === producer) {
        if (inner.includes(source)) continue;
        inner.push(source);
        if (this.#outside[source.id] === 1 && !this.roots.has(source.outputs[0])) outputs--;
      } else {
        if (!reads.includes(t)) reads.push(t);
        if (unit !== undefined && !shared.includes(source) && producer.reads.some((o) => base(o).node === source)) shared.push(source);
      }
    }
    if (reads.length + outputs > this.#limits.maxOperands || this.#waits(producer, consumer, n.id)) return;

    for (const m of [...inner, ...shared]) this.#outside[m.id]--;
    into.reads = reads;
    into.constants.push(...constants);
    into.outputs = outputs;
    into.nodes.push(...from.nodes);
    for (const m of from.nodes) this.#unitOf[m.id] = into;
  }

  /** True unless it is certain that no way leads from `producer` to `consumer` through another unit. Nodes behind `last` are on none. */
  #waits(producer: Unit, consumer: Unit, last: number): boolean {
    const [below, above] = [new Set([producer]), new Set([consumer])];
    // What is added to a set while it is walked is walked too.
    const [down, up] = [below.values(), above.values()];
    for (let left = MOST_FOLLOWED; left > 0;) {
      const from = down.next().value;
      if (from === undefined) return false;
      for (const n of from.nodes) {
        if (this.#outside[n.id] === 0) continue;
        for (const c of this.readers(n)) {
          if (c.id > last || left-- < 0) break;
          const u = this.unit(c) as Unit;
          if (u === consumer ? from !== producer : above.has(u)) return true;
          if (u !== consumer) below.add(u);
        }
      }
      const to = up.next().value;
      if (to === undefined) return false;
      for (const t of to.reads) {
        left--;
        const u = this.unit(base(t).node as Node);
        if (u === producer ? to !== consumer : u !== undefined && below.has(u)) return true;
        if (u !== undefined && u !== producer) above.add(u);
      }
    }
    return true;
  }

  /** The units that `u` reads, in the order of its nodes and their operands. */
  *sources(u: Unit): Generator<Unit, undefined> {
    for (const n of u.nodes) {
      for (const t of n.inputs) {
        const source = t === null ? undefined : this.unit(base(t).node as Node);
        if (source !== undefined && source !== u) yield source;
      }
    }
  }

  /** Puts the nodes of all units in graph order. */
  finish(): void {
    for (const u of new Set(this.#unitOf)) u?.nodes.sort((a, b) => a.id - b.id);
  }

  /** Tensors a map unit reads from outside and those that outside reads from it. */
  operands(u: Unit): { inputs: Tensor[]; outputs: Tensor[] } {
    const inputs = new Set<Tensor>();
    for (const n of u.nodes) {
      for (const t of n.inputs as readonly Tensor[]) {
        const operand = this.#operand(t);
        if (u.reads.includes(operand)) inputs.add(operand);
      }
    }
    const outputs = u.nodes.map((n) => n.outputs[0]).filter((t) => this.roots.has(t) || this.#outside[(t.node as Node).id] > 0);
    return { inputs: [...inputs], outputs };
  }

  /** The tensor that stands for `t` and all that are the same bytes read with the same shape. */
  #operand(t: Tensor): Tensor {
    const b = base(t);
    if (b === t || sameShape(b.shape, t.shape)) return b;
    return once(this.#operands, `${b.node?.id}.${b.index}:${t.shape.join()}`, () => t);
  }

  body(u: Unit, inputs: readonly Tensor[], outputs: readonly Tensor[]): MapBody {
    const space = u.space as Shape;
    const register = new Map(inputs.map((t, i) => [t, i]));
    const steps: MapStep[] = [];
    const constants = new Map<string, number>();
    const step = (s: MapStep): number => inputs.length + steps.push(s) - 1;
    const argument = (t: Tensor): number => {
      const source = base(t).node as Node;
      if (source.op === constantOp) {
        const value = source.attrs.value as number;
        const key = `${t.dtype}:${Object.is(value, -0) ? "-0" : value}`;
        const known = constants.get(key) ?? step({ op: "const", args: [], dtype: source.attrs.dtype as DType, value });
        constants.set(key, known);
        return known;
      }
      // A reshape of a member's result that still fits the space adds or drops leading ones only: the same elements in order.
      const r = register.get(this.#operand(t)) ?? register.get(base(t));
      assert(r !== undefined, () => `fuse: no register for ${t}`);
      return r;
    };
    for (const n of u.nodes)
      register.set(n.outputs[0], step({ op: n.op.name, args: (n.inputs as readonly Tensor[]).map(argument), dtype: n.outputs[0].dtype }));
    return {
      space,
      strides: inputs.map((t) => broadcastStrides(t.shape, space)),
      steps,
      results: outputs.map((t) => register.get(t) as number),
    };
  }
}

/** The map unit whose one result `n` reads, and nothing else does; null: there is none (prologue.ts). */
export type PrologueOf = (fuser: Fuser, n: Node) => Unit | null;

/** Groups `nodes` and gives the kernel calls in an order in which every operand is computed before it is read. */
export function fuse(nodes: readonly Node[], roots: readonly Tensor[], limits: PlanLimits): UnplacedCall[] {
  const fuser = new Fuser(nodes, roots, limits);
  for (const n of nodes) {
    if (n.op.lower !== "map") continue;
    for (const t of n.inputs as readonly Tensor[]) {
      const source = base(t).node as Node;
      // Aliases of the same shape are what they stand for; a map reads those of another shape as operands.
      if (source.op.lower === "map" && sameShape(base(t).shape, t.shape)) fuser.tryMerge(source, n);
    }
  }
  fuser.finish();
  const prologues = new Map<Unit | undefined, Unit>();
  for (const n of nodes) {
    const prologue = (n.op.prologueOf as PrologueOf | undefined)?.(fuser, n);
    if (prologue) prologues.set(fuser.unit(n), prologue);
  }
  const joined = new Set(prologues.values());
  const calls: UnplacedCall[] = [];
  for (const u of schedule(fuser, nodes)) {
    const last = u.nodes[u.nodes.length - 1];
    if (joined.has(u) || (last.op === constantOp && !needsBytes(fuser, last))) continue;
    /** Operands of a map unit, with its body as an attribute. */
    const mapped = (unit: Unit) => {
      const { inputs, outputs } = fuser.operands(unit);
      // A body is plain data; its type cannot say so by itself.
      return { inputs, outputs, attrs: { body: fuser.body(unit, inputs, outputs) as unknown as Attrs } };
    };
    if (u.space !== null) {
      calls.push({ kernel: MAP, ...mapped(u), source: sourceOf(u) });
      continue;
    }
    const prologue = prologues.get(u);
    for (const call of lowered(last)) {
      const outputs = call.outputs.map((t, i) => (t !== null && (i < (call.required ?? 1) || fuser.read.has(t)) ? t : null));
      const before = prologue && mapped(prologue);
      calls.push({ ...call, ...before, outputs, attrs: { ...call.attrs, ...before?.attrs }, source: last.source });
    }
  }
  return calls;
}

/** The kernel calls of a node that is not elementwise. */
function lowered(n: Node): readonly Lowered[] {
  const { name, lower } = n.op;
  if (typeof lower === "function") return lower(n);
  assert(typeof lower !== "string", () => `cannot lower ${name}`);
  return [{ kernel: lower, inputs: n.inputs, outputs: n.outputs, attrs: n.attrs }];
}

/** The kernels that calls of these nodes need, but for the planner's own. */
export function kernelsOf(nodes: readonly Node[]): Kernel[] {
  return nodes.flatMap((n) => {
    if (typeof n.op.lower === "string") return [];
    return lowered(n).flatMap(({ kernel, body }) => [kernel, ...(body ? kernelsOf((body.graph as Graph).nodes) : [])]);
  });
}

/** A constant that only elementwise nodes read stands in their bodies and needs no memory. */
function needsBytes(fuser: Fuser, n: Node): boolean {
  return fuser.roots.has(n.outputs[0]) || fuser.readers(n).some((c) => c.op.lower !== "map");
}

function sourceOf(u: Unit): string {
  return [...new Set(u.nodes.map((n) => n.source))].slice(0, 3).join(" ").trim();
}

/** An order in which units come behind those whose results they read: that of their last nodes but for that. */
function schedule(fuser: Fuser, nodes: readonly Node[]): Iterable<Unit> {
  const order = new Set<Unit>();
  for (const n of nodes) {
    const u = fuser.unit(n);
    if (u?.nodes.at(-1) !== n) continue;
    // By hand and not by recursion: a chain may be longer than the stack is deep.
    const waiting = [{ unit: u, sources: fuser.sources(u) }];
    for (let top = waiting.at(-1); top !== undefined; top = waiting.at(-1)) {
      const { value } = top.sources.next();
      if (value === undefined) order.add((waiting.pop() as typeof top).unit);
      else if (!order.has(value)) waiting.push({ unit: value, sources: fuser.sources(value) });
    }
  }
  return order;
}

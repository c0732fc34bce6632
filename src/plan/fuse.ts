/**
 * @file Fusion: elementwise nodes of one iteration space become one `map` call, with as many outputs as are read from
 * outside, and a chain that only feeds a reduction becomes the reduction's prologue. Matmul, convolution and recurrent
 * kernels take bias and activation as operands of their ops, so nothing is left to fuse behind them.
 */
import type { Limits } from "../backend.ts";
import { assert } from "../assert.ts";
import { constantOp } from "../graph.ts";
import type { Lowered, Node } from "../graph.ts";
import type { DType } from "../dtype.ts";
import { broadcastStrides, sameShape, sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { map } from "../wasm/encode/map.ts";
import type { KernelPart } from "../wasm/parts.ts";
import type { Attrs, MapBody, MapStep } from "./plan.ts";
import { base } from "./simplify.ts";

/** Nodes that run as one. */
export interface Unit {
  nodes: Node[];
  /** The iteration space of elementwise nodes; null for any other single node. */
  readonly space: Shape | null;
}

/** A kernel call whose operands are still graph tensors. */
export interface UnplacedCall extends Lowered {
  readonly source: string;
}

/** Which nodes run as one, and what reads what. */
export class Fuser {
  readonly #unitOf = new Map<Node, Unit>();
  readonly #consumers = new Map<Node, Node[]>();
  readonly roots: ReadonlySet<Tensor>;
  /** Outputs that a node reads or that are roots. */
  readonly read: ReadonlySet<Tensor>;
  readonly #limits: Limits;

  constructor(nodes: readonly Node[], roots: readonly Tensor[], limits: Limits) {
    this.roots = new Set(roots.map(base));
    this.#limits = limits;
    const read = new Set(this.roots);
    this.read = read;
    for (const n of nodes) {
      this.#unitOf.set(n, { nodes: [n], space: n.op.lower === "map" ? n.outputs[0].shape : null });
      this.#consumers.set(n, []);
    }
    for (const n of nodes) {
      for (const t of n.inputs) {
        if (t === null) continue;
        const b = base(t);
        read.add(b);
        this.#consumers.get(b.node as Node)?.push(n);
      }
    }
  }

  /** The unit of a node that computes; undefined for inputs and captures. */
  unit(n: Node): Unit | undefined {
    return this.#unitOf.get(n);
  }

  /** Nodes that read `n`. */
  readers(n: Node): readonly Node[] {
    return this.#consumers.get(n) as Node[];
  }

  /** Merges the units of a producer and its consumer when the result is still one map and nothing would wait for itself. */
  tryMerge(producer: Unit, consumer: Unit): void {
    if (producer === consumer || producer.space === null || consumer.space === null || !sameShape(producer.space, consumer.space)) return;
    const merged: Unit = { nodes: [...producer.nodes, ...consumer.nodes].sort((a, b) => a.id - b.id), space: producer.space };
    const { inputs, steps, outputs } = this.operands(merged);
    if (inputs.length + outputs.length > this.#limits.maxOperands || steps > this.#limits.maxSteps) return;
    if (this.#reaches(producer, consumer) || this.#reaches(consumer, producer)) return;
    for (const n of merged.nodes) this.#unitOf.set(n, merged);
  }

  /** True when a path leads from `from` to `to` through some other unit. */
  #reaches(from: Unit, to: Unit): boolean {
    // What is added to a set while it is walked is walked too.
    const seen = new Set<Unit>([from]);
    for (const u of seen) {
      for (const n of u.nodes) {
        for (const c of this.readers(n)) {
          const next = this.unit(c) as Unit;
          if (next !== to) seen.add(next);
          else if (u !== from) return true;
        }
      }
    }
    return false;
  }

  /** Tensors a map unit reads from outside and those that outside reads from it. */
  operands(u: Unit): { inputs: Tensor[]; outputs: Tensor[]; steps: number } {
    const members = new Set(u.nodes);
    const inputs: Tensor[] = [];
    const keys = new Set<string>();
    const constants = new Set<Node>();
    for (const n of u.nodes) {
      for (const t of n.inputs as readonly Tensor[]) {
        const source = base(t).node as Node;
        if (source.op === constantOp) constants.add(source);
        if (members.has(source) || source.op === constantOp) continue;
        const key = operandKey(t);
        if (!keys.has(key)) inputs.push(t);
        keys.add(key);
      }
    }
    const outputs = u.nodes.map((n) => n.outputs[0]).filter((t) => this.roots.has(t) || this.readers(t.node as Node).some((c) => !members.has(c)));
    return { inputs, outputs, steps: u.nodes.length + constants.size };
  }

  body(u: Unit, inputs: readonly Tensor[], outputs: readonly Tensor[]): MapBody {
    const space = u.space as Shape;
    const register = new Map<string, number>(inputs.map((t, i) => [operandKey(t), i]));
    const steps: MapStep[] = [];
    const constants = new Map<string, number>();
    const step = (s: MapStep): number => inputs.length + steps.push(s) - 1;
    const argument = (t: Tensor): number => {
      const source = base(t).node as Node;
      if (source.op === constantOp && !register.has(operandKey(t))) {
        const value = source.attrs.value as number;
        const key = `${t.dtype}:${Object.is(value, -0) ? "-0" : value}`;
        const known = constants.get(key) ?? step({ op: "const", args: [], dtype: source.attrs.dtype as DType, value });
        constants.set(key, known);
        return known;
      }
      // A reshape of a member's result that still fits the space adds or drops leading ones only: the same elements in order.
      const r = register.get(operandKey(t)) ?? register.get(operandKey(base(t)));
      assert(r !== undefined, () => `fuse: no register for ${t}`);
      return r;
    };
    for (const n of u.nodes) register.set(operandKey(n.outputs[0]), step({ op: n.op.name, args: (n.inputs as readonly Tensor[]).map(argument), dtype: n.outputs[0].dtype }));
    return { space, strides: inputs.map((t) => broadcastStrides(t.shape, space)), steps, results: outputs.map((t) => register.get(operandKey(t)) as number) };
  }
}

/** Tensors with equal keys are the same bytes read with the same shape. */
function operandKey(t: Tensor): string {
  const b = base(t);
  return `${b.node?.id}.${b.index}:${t.shape.join()}`;
}

/** Groups `nodes` and gives the kernel calls in an order in which every operand is computed before it is read. */
export function fuse(nodes: readonly Node[], roots: readonly Tensor[], limits: Limits): UnplacedCall[] {
  const fuser = new Fuser(nodes, roots, limits);
  for (const n of nodes) {
    if (n.op.lower !== "map") continue;
    for (const t of n.inputs as readonly Tensor[]) {
      const source = base(t).node as Node;
      if (source.op.lower === "map" && t.node?.op.lower === "map") fuser.tryMerge(fuser.unit(source) as Unit, fuser.unit(n) as Unit);
    }
  }
  const prologues = new Map<Unit | undefined, Unit>();
  for (const n of nodes) {
    const prologue = n.op.prologue?.(fuser, n);
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
      calls.push({ kernel: "map", encode: map, ...mapped(u), source: sourceOf(u) });
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
  return [{ kernel: name, ...lower, inputs: n.inputs, outputs: n.outputs, attrs: n.attrs }];
}

/** The parts of WebAssembly's kernels that calls of these nodes need, beside the core. */
export function partsOf(nodes: readonly Node[]): KernelPart[] {
  return nodes.flatMap((n) => (typeof n.op.lower === "string" ? [] : lowered(n).flatMap(({ part }) => part ?? [])));
}

/** A constant that only elementwise nodes read stands in their bodies and needs no memory. */
function needsBytes(fuser: Fuser, n: Node): boolean {
  return fuser.roots.has(n.outputs[0]) || fuser.readers(n).some((c) => c.op.lower !== "map");
}

function sourceOf(u: Unit): string {
  return [...new Set(u.nodes.map((n) => n.source))].slice(0, 3).join(" ").trim();
}

/** For `prologue` of reductions: the map unit whose one result `n` reads and nothing else. */
export function prologueOf(fuser: Fuser, n: Node): Unit | null {
  const u = fuser.unit(base(n.inputs[0] as Tensor).node as Node);
  if (u === undefined || u.space === null || sizeOf(u.space) === 0) return null;
  const { inputs, outputs } = fuser.operands(u);
  if (outputs.length !== 1 || fuser.roots.has(outputs[0]) || inputs.length === 0) return null;
  return fuser.readers(outputs[0].node as Node).every((c) => c === n || fuser.unit(c) === u) ? u : null;
}

/** An order in which units come behind those whose results they read: that of their last nodes but for that. */
function schedule(fuser: Fuser, nodes: readonly Node[]): Iterable<Unit> {
  const order = new Set<Unit>();
  const visit = (u: Unit | undefined, by?: Unit): void => {
    if (u === undefined || u === by || order.has(u)) return;
    for (const n of u.nodes) for (const t of n.inputs) if (t !== null) visit(fuser.unit(base(t).node as Node), u);
    order.add(u);
  };
  for (const n of nodes) {
    const u = fuser.unit(n);
    if (u?.nodes.at(-1) === n) visit(u);
  }
  return order;
}

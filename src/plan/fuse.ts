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
interface Unit {
  nodes: Node[];
  /** The iteration space of elementwise nodes; null for any other single node. */
  readonly space: Shape | null;
}

/** A kernel call whose operands are still graph tensors. */
export interface UnplacedCall extends Lowered {
  readonly source: string;
}

class Fuser {
  readonly #unitOf = new Map<Node, Unit>();
  readonly #consumers = new Map<Node, Node[]>();
  readonly roots: Set<Tensor>;
  readonly #limits: Limits;

  constructor(nodes: readonly Node[], roots: readonly Tensor[], limits: Limits) {
    this.roots = new Set(roots.map(base));
    this.#limits = limits;
    for (const n of nodes) {
      this.#unitOf.set(n, { nodes: [n], space: n.op.lower === "map" ? n.outputs[0].shape : null });
      this.#consumers.set(n, []);
    }
    for (const n of nodes) {
      for (const t of n.inputs) if (t !== null) this.#consumers.get(base(t).node as Node)?.push(n);
    }
  }

  unit(n: Node): Unit {
    return this.#unitOf.get(n) as Unit;
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
    const seen = new Set<Unit>([from]);
    const stack: Unit[] = [];
    const push = (u: Unit): void => {
      for (const n of u.nodes) {
        for (const c of this.readers(n)) {
          const next = this.unit(c);
          if (seen.has(next) || (u === from && next === to)) continue;
          seen.add(next);
          stack.push(next);
        }
      }
    };
    push(from);
    for (let u = stack.pop(); u !== undefined; u = stack.pop()) {
      if (u === to) return true;
      push(u);
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

/** A fused body is plain data; Attrs cannot say so by itself. */
const attrsOf = (value: object): Attrs => value as Attrs;

/** Groups `nodes` and gives the kernel calls in an order in which every operand is computed before it is read. */
export function fuse(nodes: readonly Node[], roots: readonly Tensor[], read: ReadonlySet<Tensor>, limits: Limits): UnplacedCall[] {
  const fuser = new Fuser(nodes, roots, limits);
  for (const n of nodes) {
    if (n.op.lower !== "map") continue;
    for (const t of n.inputs as readonly Tensor[]) {
      const source = base(t).node as Node;
      if (source.op.lower === "map" && t.node?.op.lower === "map") fuser.tryMerge(fuser.unit(source), fuser.unit(n));
    }
  }
  const units = new Set(nodes.map((n) => fuser.unit(n)));
  const prologues = findPrologues(fuser, units);
  const joined = new Set(prologues.values());
  const calls: UnplacedCall[] = [];
  for (const u of schedule(fuser, units)) {
    if (joined.has(u)) continue;
    const last = u.nodes[u.nodes.length - 1];
    if (u.space !== null) {
      const { inputs, outputs } = fuser.operands(u);
      calls.push({ kernel: "map", encode: map, inputs, outputs, attrs: attrsOf({ body: fuser.body(u, inputs, outputs) }), source: sourceOf(u) });
      continue;
    }
    if (last.op === constantOp && !needsBytes(fuser, last)) continue;
    const prologue = prologues.get(last);
    for (const call of lowered(last)) {
      const outputs = call.outputs.map((t, i) => (t !== null && (i < (call.required ?? 1) || read.has(t)) ? t : null));
      if (prologue === undefined) {
        calls.push({ ...call, outputs, source: last.source });
      } else {
        const { inputs, outputs: inner } = fuser.operands(prologue);
        calls.push({ ...call, inputs, outputs, attrs: { ...call.attrs, body: attrsOf(fuser.body(prologue, inputs, inner)) }, source: last.source });
      }
    }
  }
  return calls;
}

/** The kernel calls of a node that is not elementwise. */
export function lowered(n: Node): readonly Lowered[] {
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

/** Reductions with map units whose one result is read by them and nothing else. */
function findPrologues(fuser: Fuser, units: ReadonlySet<Unit>): Map<Node, Unit> {
  const found = new Map<Node, Unit>();
  for (const u of units) {
    if (u.space === null || sizeOf(u.space) === 0) continue;
    const { inputs, outputs } = fuser.operands(u);
    if (outputs.length !== 1 || fuser.roots.has(outputs[0]) || inputs.length === 0) continue;
    const readers = fuser.readers(outputs[0].node as Node).filter((c) => fuser.unit(c) !== u);
    if (readers.length === 1 && REDUCTIONS.has(readers[0].op.name)) found.set(readers[0], u);
  }
  return found;
}

const REDUCTIONS = new Set(["sum", "max", "min", "prod", "argmax", "argmin"]);

/** Topological order of units; among those that are ready, the one whose last node was traced first. */
function schedule(fuser: Fuser, units: ReadonlySet<Unit>): Unit[] {
  const after = new Map<Unit, Set<Unit>>();
  const waiting = new Map<Unit, number>();
  for (const u of units) waiting.set(u, 0);
  for (const u of units) {
    const next = new Set(u.nodes.flatMap((n) => fuser.readers(n).map((c) => fuser.unit(c))));
    next.delete(u);
    after.set(u, next);
    for (const other of next) waiting.set(other, (waiting.get(other) as number) + 1);
  }
  const rank = (u: Unit): number => u.nodes[u.nodes.length - 1].id;
  const ready = [...units].filter((u) => waiting.get(u) === 0).sort((a, b) => rank(b) - rank(a));
  const order: Unit[] = [];
  for (let u = ready.pop(); u !== undefined; u = ready.pop()) {
    order.push(u);
    for (const next of after.get(u) as Set<Unit>) {
      const left = (waiting.get(next) as number) - 1;
      waiting.set(next, left);
      if (left > 0) continue;
      let i = ready.length;
      while (i > 0 && rank(ready[i - 1]) < rank(next)) i--;
      ready.splice(i, 0, next);
    }
  }
  assert(order.length === units.size, () => "fusion made a cycle");
  return order;
}

/**
 * @file The gradient of a loop: another loop the other way round, whose body is the backward pass of a step. What that reads of the forward
 * pass the first loop collects, or, with `remat`, the second computes again. Gradients of tensors that are the same at each step are sums
 * over the steps: those of weights in products become one product of all steps behind the loop, others are carried.
 */
import { Body } from "../body.ts";
import { constantOp, currentGraph, Graph, symbolOf, trace } from "../graph.ts";
import type { Node, TensorType, VjpContext } from "../graph.ts";
import { LockstepError } from "../errors.ts";
import { pullback } from "../grad.ts";
import { sizeBetween } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { reshape } from "./broadcast.ts";
import { collectedTypes } from "./step.ts";
import type { Repeated } from "./step.ts";
import { add } from "./map.ts";
import { matmulOp, product } from "./matmul.ts";

const isFloat = (t: Tensor): boolean => t.dtype === "f32";
const nodeOf = (t: Tensor): Node => t.node as Node;

/** Gives `node` outputs more, behind those that it has: what an op turned out to be asked for after it had been traced. */
function extend(node: Node, types: readonly TensorType[]): void {
  const outputs = node.outputs as Tensor[];
  for (const { shape, dtype } of types) outputs.push(new Tensor(shape, dtype, node, outputs.length, null));
}

/** Where a leaf of the backward pass of one step gets its elements from. */
type Source =
  | { readonly kind: "carried"; readonly symbol: Tensor }
  | { readonly kind: "operand"; readonly tensor: Tensor; readonly moves: boolean }
  | { readonly kind: "gradient"; readonly index: number };

/** The forward pass of a step and behind it its backward pass, in a graph that is only looked at. */
class Backward {
  readonly graph = new Graph();
  readonly sources = new Map<Tensor, Source>();
  /** Nodes of the forward pass, as the body has them. */
  readonly #origins = new Map<Node, Node>();
  readonly #twins = new Map<Tensor, Tensor>();
  readonly #moving: boolean[] = [];

  leaf(like: Tensor, source: Source): Tensor {
    const t = this.graph.input({ shape: like.shape, dtype: like.dtype });
    this.sources.set(t, source);
    return t;
  }

  /** `leaf` for one of the body. */
  stands(symbol: Tensor, source: Source): Tensor {
    const t = this.leaf(symbol, source);
    this.#twins.set(symbol, t);
    return t;
  }

  twin(symbol: Tensor): Tensor {
    return this.#twins.get(symbol) as Tensor;
  }

  /** How the body calls `t` of the forward pass. */
  origin({ node, index }: Tensor): Tensor {
    const origin = this.#origins.get(node as Node) as Node;
    // A loop inside was asked for more by its own gradient.
    const more = (node as Node).outputs.slice(origin.outputs.length);
    extend(origin, more);
    return origin.outputs[index];
  }

  /** Does the forward pass of `body` again; its leaves are there already. */
  replay(body: Graph): void {
    for (const node of body.nodes) {
      if (node.op.lower === "leaf") continue;
      const outputs = again(
        this.graph,
        node,
        node.inputs.map((t) => t && this.twin(t)),
      );
      node.outputs.forEach((t, i) => this.#twins.set(t, outputs[i]));
      if (outputs.length === 0) continue;
      const twin = nodeOf(outputs[0]);
      this.#origins.set(twin, node);
      this.#moving[twin.id] = twin.inputs.some((t) => t !== null && this.varies(t));
    }
  }

  /** Whether `t`, of the forward pass or a leaf, is another one at each step. */
  varies(t: Tensor): boolean {
    const source = this.sources.get(t);
    return source === undefined ? this.#moving[nodeOf(t).id] === true : source.kind !== "operand" || source.moves;
  }

  isForward = (t: Tensor): boolean => nodeOf(t).id < this.graph.firstGradient;
}

/** The op of `node` with other inputs. */
function again(graph: Graph, { op, attrs, source }: Node, inputs: readonly (Tensor | null)[]): readonly Tensor[] {
  const make = (): readonly Tensor[] => graph.add(op, inputs, attrs);
  return source ? graph.scope(source, make) : make();
}

/** Whether `t` is computed from one of `targets` by ops that have gradients. */
function dependsOn(t: Tensor, targets: readonly Tensor[]): boolean {
  const below = new Set([t]);
  for (const b of below) {
    if (targets.includes(b)) return true;
    const { op, inputs } = nodeOf(b);
    if (op.vjp !== null) for (const i of inputs) if (i !== null) below.add(i);
  }
  return false;
}

/** What `t` is the sum of. */
function terms(t: Tensor): Tensor[] {
  const { op, inputs } = nodeOf(t);
  return op.name === "add" && op.lower === "map" && inputs.every((i) => (i as Tensor).size === t.size)
    ? (inputs as Tensor[]).flatMap(terms)
    : [t];
}

/** The two matrices of which `t`, maybe in another shape, is the product a^T b, or null. */
function factors(t: Tensor): readonly [Tensor, Tensor] | null {
  const { op, inputs, attrs } = nodeOf(t);
  if (op.lower === "alias") return factors(inputs[0] as Tensor);
  const [a, b, bias] = inputs as [Tensor, Tensor, Tensor | null];
  const fits = op === matmulOp && bias === null && attrs.activation === "linear" && attrs.transposeA === true && attrs.transposeB === false;
  return fits && a.rank === 2 && b.rank === 2 ? [a, b] : null;
}

/** Gradients of a scan's inputs. `addScan` adds the loop of the backward pass. */
export function scanGradients(
  step: Repeated,
  { dy, y, x, needs }: VjpContext,
  addScan: (step: Repeated, begin: readonly Tensor[]) => readonly Tensor[],
): readonly (Tensor | null)[] {
  const outer = currentGraph() as Graph;
  const { body, length, carried, explicit } = step;
  const node = nodeOf(y[0]);
  const count = carried.length;

  // One step, forward and backward.
  const back = new Backward();
  const descended = carried.slice(0, explicit).filter(isFloat);
  const operands: { readonly twin: Tensor; readonly k: number; readonly tensor: Tensor; readonly moves: boolean }[] = [];
  const operand = (symbol: Tensor, moves: boolean): void => {
    const k = count + operands.length;
    const tensor = x[k] as Tensor;
    operands.push({ twin: back.stands(symbol, { kind: "operand", tensor, moves }), k, tensor, moves });
  };
  body.inputs.forEach((symbol, i) => operand(symbol, body.operands[i].moves));
  for (const [target, symbol] of body.captures) {
    if (body.assigns.has(target)) back.stands(symbol, { kind: "carried", symbol });
    else operand(symbol, false);
  }
  const wanted = operands.filter(({ twin, k }) => needs[k] && isFloat(twin));
  const symbolOfCarry = (target: Tensor): Tensor => body.captures.get(target) as Tensor;
  const found = trace(back.graph, () => {
    back.replay(body);
    const seeds = new Map<Tensor, Tensor>();
    const seed = (of: Tensor, index: number): void => {
      const before = seeds.get(back.twin(of));
      const d = back.leaf(of, { kind: "gradient", index });
      seeds.set(back.twin(of), before === undefined ? d : add(before, d));
    };
    for (const target of descended) seed(body.assigns.get(target) as Tensor, carried.indexOf(target));
    step.collected.forEach((t, i) => {
      if (dy[count + i]) seed(t, count + i);
    });
    const states = carried.slice(explicit).filter(isFloat);
    const targets = [...descended.map((t) => back.twin(symbolOfCarry(t))), ...wanted.map(({ twin }) => twin)];
    const all = pullback(back.graph, seeds, [...targets, ...states.map((t) => back.twin(symbolOfCarry(t)))]);
    // What is read of state at one step and assigned from something differentiated at another would be missed.
    const assigned = (t: Tensor): Tensor => back.twin(body.assigns.get(t) as Tensor);
    const missed = states.find((t, i) => all[targets.length + i] !== null && dependsOn(assigned(t), targets));
    if (missed !== undefined) {
      throw new LockstepError(
        `gradients: a loop assigns ${missed}, reads it at the next step, and gradients would have to go that way; return it in the carry ` +
          "in place of assigning it, or take stopGradient() of what is assigned",
      );
    }
    return all.slice(0, targets.length);
  });

  /** What the first loop collects of `symbol` of its body, which it does from now on if it did not. */
  const collect = (symbol: Tensor): Tensor => {
    if (!step.collected.includes(symbol)) step.collected.push(symbol);
    extend(node, collectedTypes(step, node.outputs.length - count));
    return node.outputs[count + step.collected.indexOf(symbol)];
  };

  const next = new Body(outer, length);
  const collected: Tensor[] = [];
  const made = new Map<Tensor, Tensor>();
  const gradients = new Map<number, { readonly target: Tensor; readonly symbol: Tensor }>();
  for (const target of descended) {
    const own = next.carry(target.shape, "f32");
    gradients.set(carried.indexOf(target), { target: own, symbol: next.capture(own) });
  }

  /** The symbol in the backward loop's body of a leaf. */
  const leafIn = (t: Tensor): Tensor => {
    const source = back.sources.get(t);
    // A tensor with elements that a gradient rule uses.
    if (source === undefined) return next.capture([...back.graph.captures].find(([, symbol]) => symbol === t)?.[0] as Tensor);
    if (source.kind === "carried") return next.slice(collect(source.symbol));
    if (source.kind === "operand") return source.moves ? next.slice(source.tensor) : next.adopt(source.tensor);
    return gradients.get(source.index)?.symbol ?? next.slice(dy[source.index] as Tensor);
  };
  const kept = (t: Tensor): boolean => {
    const { op } = nodeOf(t);
    return !step.remat && op.lower !== "leaf" && op.lower !== "alias" && op !== constantOp && back.isForward(t) && back.varies(t);
  };
  /** Puts what `t` depends on into the backward loop's body, in the order of the nodes. */
  const bring = (roots: readonly Tensor[]): void => {
    const needed = new Set(roots);
    for (const t of needed) {
      if (made.has(t) || nodeOf(t).op.lower === "leaf" || kept(t)) continue;
      for (const i of nodeOf(t).inputs) if (i !== null) needed.add(i);
    }
    for (const t of [...needed].sort((a, b) => nodeOf(a).id - nodeOf(b).id)) {
      const from = nodeOf(t);
      if (made.has(t)) continue;
      if (from.op.lower === "leaf") made.set(t, leafIn(t));
      else if (kept(t)) made.set(t, next.slice(collect(back.origin(t))));
      else {
        const outputs = again(
          next,
          from,
          from.inputs.map((i) => i && (made.get(i) as Tensor)),
        );
        from.outputs.forEach((o, i) => made.set(o, outputs[i]));
      }
    }
  };

  /** All rows [steps * rows, columns] of a matrix that steps have, or how to get them once the loop is there; null where none has it. */
  const allRows = (t: Tensor): (() => Tensor) | null => {
    const rows = (all: Tensor): Tensor => reshape(all, [sizeBetween(all.shape, 0, all.rank - 1), all.shape[all.rank - 1]]);
    const of = nodeOf(t);
    if (of.op.lower === "alias") {
      const inner = of.inputs[0] as Tensor;
      // Rows of rows are still rows.
      return inner.shape.at(-1) === t.shape.at(-1) ? allRows(inner) : null;
    }
    if (back.isForward(t) && !back.varies(t)) return null;
    const source = back.sources.get(t);
    if (source?.kind === "operand") return () => rows(source.tensor);
    if (source?.kind === "gradient" && !gradients.has(source.index)) return () => rows(dy[source.index] as Tensor);
    if (source?.kind === "carried") return () => rows(collect(source.symbol));
    if (kept(t)) return () => rows(collect(back.origin(t)));
    if (step.remat && source === undefined && back.isForward(t)) return null;
    bring([t]);
    const symbol = made.get(t) as Tensor;
    if (!collected.includes(symbol)) collected.push(symbol);
    return () => rows(outputs[begin.length + collected.indexOf(symbol)]);
  };

  const begin: Tensor[] = descended.map((t) => dy[carried.indexOf(t)] ?? outer.constant(0, "f32", t.shape));
  const later = new Map<number, (() => Tensor)[]>();
  let outputs: readonly Tensor[] = [];
  trace(next, () => {
    descended.forEach((target, i) => {
      const d = found[i];
      if (d !== null) bring([d]);
      const own = gradients.get(carried.indexOf(target)) as { readonly target: Tensor };
      next.carryOn(own.target, d === null ? next.constant(0, "f32", target.shape) : (made.get(d) as Tensor));
    });
    wanted.forEach(({ k, tensor, moves }, i) => {
      const d = found[descended.length + i];
      if (d === null) return;
      const parts: (() => Tensor)[] = [];
      later.set(k, parts);
      const whole = (symbol: Tensor): void => {
        if (!collected.includes(symbol)) collected.push(symbol);
        parts.push(() => reshape(outputs[begin.length + collected.indexOf(symbol)], tensor.shape));
      };
      if (moves || length === 1) {
        bring([d]);
        whole(made.get(d) as Tensor);
        return;
      }
      const rest: Tensor[] = [];
      for (const term of terms(d)) {
        const [a, b] = factors(term)?.map(allRows) ?? [null, null];
        if (a && b) parts.push(() => reshape(product(a(), b(), true, false), tensor.shape));
        else rest.push(term);
      }
      if (rest.length === 0) return;
      bring(rest);
      const sum = next.carry(tensor.shape, "f32");
      const at = begin.push(outer.constant(0, "f32", tensor.shape)) - 1;
      next.carryOn(
        sum,
        rest.reduce((s, t) => add(s, made.get(t) as Tensor), next.capture(sum)),
      );
      parts.push(() => outputs[at]);
    });
  });
  const backward: Repeated = {
    body: next,
    length,
    reverse: !step.reverse,
    remat: false,
    carried: [...next.assigns.keys()],
    explicit: begin.length,
    collected,
  };
  outputs = addScan(
    backward,
    begin.map((t) => symbolOf(outer, t)),
  );

  const at = new Map<number, Tensor>(descended.map((t, i) => [carried.indexOf(t), outputs[i]]));
  for (const [k, parts] of later)
    at.set(
      k,
      parts.map((part) => part()).reduce((a, b) => add(a, b)),
    );
  return x.map((_, k) => at.get(k) ?? null);
}

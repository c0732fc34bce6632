/** @file Reverse-mode gradients, graph to graph: walks the nodes backwards, calling each op's rule. */
import { kindOf } from "./check.ts";
import { ArgumentError, LockstepError, ShapeError } from "./errors.ts";
import { currentGraph, symbolOf } from "./graph.ts";
import type { Graph, Node } from "./graph.ts";
import { sameShape, showShape } from "./shape.ts";
import { naming } from "./naming.ts";
import { checkDType, Tensor } from "./tensor.ts";
import { add } from "./ops/map.ts";
import { flatten, mapTree } from "./tree.ts";
import type { Tree } from "./tree.ts";

/** @throws ArgumentError, DTypeError unless all are f32 tensors: what has integers has no gradient. */
function checkParameters(who: string, of: readonly Tensor[]): readonly Tensor[] {
  if (!Array.isArray(of)) throw new ArgumentError(`${who}: expected an array of tensors, got ${kindOf(of)}`);
  for (const t of of) {
    if (!(t instanceof Tensor)) throw new ArgumentError(`${who}: expected tensors, got ${kindOf(t)}`);
    checkDType(who, t, ["f32"]);
  }
  return of;
}

/** By id, up to that of `last`: whether a node depends on one of `targets`. */
function dependents(graph: Graph, targets: readonly Tensor[], last: number): boolean[] {
  const found = new Array<boolean>(last + 1).fill(false);
  for (const { node } of targets) if (node !== null && node.id <= last) found[node.id] = true;
  for (let id = 0; id <= last; id++) {
    const { op, inputs } = graph.nodes[id];
    if (!found[id] && (op.vjp !== null || op.gradientOf !== undefined))
      found[id] = inputs.some((t) => t !== null && t.node !== null && found[t.node.id]);
  }
  return found;
}

/**
 * A value that would be another one in training must not be descended on as if it were that one: dropout would be the identity. @throws
 * LockstepError naming the layer
 */
function checkDecided({ undecided }: Graph, y: Tensor): void {
  if (undecided.size === 0) return;
  const below = new Set<Tensor>([y]);
  for (const t of below) {
    const who = undecided.get(t);
    if (who !== undefined) {
      throw new LockstepError(
        `gradients: layer "${who}" does something else in training, and nobody said whether this is: write compile(fn, { training: ` +
          "true }) or call(x, { training: false })",
      );
    }
    for (const input of t.node?.inputs ?? []) if (input !== null) below.add(input);
  }
}

/**
 * @internal
 * Gradients for each of `targets` of what the keys of `seeds` are sums of products in with their values: the reverse walk itself. null
 * where none of them depends on a target. `graph` is being traced.
 */
export function pullback(graph: Graph, seeds: ReadonlyMap<Tensor, Tensor>, targets: readonly Tensor[]): (Tensor | null)[] {
  graph.firstGradient = Math.min(graph.firstGradient, graph.nodes.length);
  const last = Math.max(-1, ...[...seeds.keys()].map(({ node }) => (node as Node).id));
  const needed = dependents(graph, targets, last);
  const grads = new Map(seeds);
  for (let i = last; i >= 0; i--) {
    const node = graph.nodes[i];
    const {
      source,
      op: { vjp, gradientOf },
    } = node;
    if (!needed[i] || (vjp === null && gradientOf === undefined)) continue;
    const dy = node.outputs.map((t) => grads.get(t) ?? null);
    if (dy.every((d) => d === null)) continue;
    if (vjp === null)
      throw new LockstepError(
        `gradients: the gradient of ${gradientOf} has none of its own; leave ${gradientOf} out of what takes gradients of gradients`,
      );
    const needs = node.inputs.map((t) => t !== null && t.node !== null && needed[t.node.id]);
    const rule = () => vjp({ dy, y: node.outputs, x: node.inputs, needs, attrs: node.attrs });
    const dx = source ? graph.scope(`${source}'`, rule) : rule();
    node.inputs.forEach((input, k) => {
      const d = dx[k] ?? null;
      if (input === null || d === null || !needs[k]) return;
      if (!sameShape(d.shape, input.shape))
        throw new Error(
          `internal: gradient of ${node.op.name}, input ${k}, has shape ${showShape(d.shape)}, the input ${showShape(input.shape)}`,
        );
      const before = grads.get(input);
      grads.set(input, before === undefined ? d : add(before, d));
    });
  }
  return targets.map((t) => grads.get(t) ?? null);
}

/**
 * Gradients of the scalar `y` for each tensor in `of`, symbols of the function being traced or tensors with elements that it uses; zeros
 * where y does not depend on one. @throws LockstepError outside of a traced function, and where a layer on the way behaves differently in
 * training and the mode is not given; ShapeError unless y is a scalar f32.
 */
export function gradients(y: Tensor, of: readonly Tensor[]): Tensor[] {
  const graph = currentGraph();
  if (!(y instanceof Tensor)) throw new ArgumentError(`gradients: expected the loss, a scalar tensor, got ${kindOf(y)}`);
  if (graph === null || y.node === null) throw new LockstepError("gradients: call it inside compile(fn), with a value computed there");
  if (y.size !== 1 || y.dtype !== "f32")
    throw new ShapeError(`gradients: expected a scalar f32 loss, got ${y}; reduce it with sum() or mean()`);
  checkDecided(graph, y);
  const targets = checkParameters("gradients", of).map((t) => symbolOf(graph, t));
  const found = pullback(graph, new Map([[y, graph.constant(1, "f32", y.shape)]]), targets);
  return targets.map((t, i) => found[i] ?? graph.constant(0, "f32", t.shape));
}

/**
 * A function that returns the value of `fn` and its gradients. Call it inside `compile`.
 * @param fn takes the arguments and returns a scalar f32 loss; it uses `params` by closure.
 * @param params tensors, or arrays or objects of tensors (f32).
 * @returns `(...args) => { value, grads }` with `grads` of the structure of `params`.
 * @throws ArgumentError unless both are given
 */
export function valueAndGrad<A extends readonly Tensor[], P extends Tree>(
  fn: (...args: A) => Tensor,
  params: P,
): (...args: A) => { value: Tensor; grads: P };
export function valueAndGrad<A extends readonly unknown[], P extends Tree>(
  fn: (...args: A) => Tensor,
  params: P,
): (...args: A) => { value: Tensor; grads: P };
// Two, so that arguments without a type are tensors.
export function valueAndGrad<A extends readonly unknown[], P extends Tree>(
  fn: (...args: A) => Tensor,
  params: P,
): (...args: A) => { value: Tensor; grads: P } {
  return valueAndGradOf("valueAndGrad", fn, params);
}

function valueAndGradOf<A extends readonly unknown[], P extends Tree>(
  who: string,
  fn: (...args: A) => Tensor,
  params: P,
): (...args: A) => { value: Tensor; grads: P } {
  if (typeof fn !== "function") throw new ArgumentError(`${who}: expected a function that returns the loss, got ${kindOf(fn)}`);
  // In JAX they are the function's arguments, which numbers or nothing name.
  if (params === undefined || params === null || typeof params === "number") {
    throw new ArgumentError(`${who}: params: expected tensors that the function uses, got ${params}; write ${who}(fn, params)`);
  }
  return (...args) => {
    const graph = currentGraph();
    if (graph === null) {
      throw new LockstepError(`${who}: call the returned function inside compile(fn): gradients are part of a compiled program`);
    }
    const leaves = checkParameters(
      who,
      naming(`${who}: params`, () => flatten(params)),
    ).map((t) => symbolOf(graph, t));
    const value = fn(...args);
    if (!(value instanceof Tensor)) {
      throw new ArgumentError(`${who}: the function must return a scalar tensor, the loss, got ${kindOf(value)}`);
    }
    const grads = gradients(symbolOf(graph, value), leaves);
    let i = 0;
    return { value, grads: mapTree(params, () => grads[i++]) as P };
  };
}

/** As `valueAndGrad`, returning the gradients alone. */
export function grad<A extends readonly Tensor[], P extends Tree>(fn: (...args: A) => Tensor, params: P): (...args: A) => P;
export function grad<A extends readonly unknown[], P extends Tree>(fn: (...args: A) => Tensor, params: P): (...args: A) => P;
export function grad<A extends readonly unknown[], P extends Tree>(fn: (...args: A) => Tensor, params: P): (...args: A) => P {
  const both = valueAndGradOf("grad", fn, params);
  return (...args) => both(...args).grads;
}

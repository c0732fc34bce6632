/** @file Reverse-mode gradients, graph to graph: walks the nodes backwards, calling each op's rule. */
import { LockstepError, ShapeError } from "./errors.ts";
import { currentGraph, symbolOf } from "./graph.ts";
import type { Graph } from "./graph.ts";
import { sameShape, showShape } from "./shape.ts";
import { Tensor } from "./tensor.ts";
import { add } from "./ops/map.ts";
import { flatten, mapTree } from "./tree.ts";
import type { Tree } from "./tree.ts";

/** By id, up to that of `last`: whether a node depends on one of `targets`. */
function dependents(graph: Graph, targets: readonly Tensor[], last: number): boolean[] {
  const found = new Array<boolean>(last + 1).fill(false);
  for (const { node } of targets) if (node !== null && node.id <= last) found[node.id] = true;
  for (let id = 0; id <= last; id++) {
    const { op, inputs } = graph.nodes[id];
    if (!found[id] && op.vjp !== null) found[id] = inputs.some((t) => t !== null && t.node !== null && found[t.node.id]);
  }
  return found;
}

/**
 * Gradients of the scalar `y` for each tensor in `of`, symbols of the function being traced or tensors with elements that it uses; zeros where y does
 * not depend on one. @throws LockstepError outside of a traced function, ShapeError unless y is a scalar f32.
 */
export function gradients(y: Tensor, of: readonly Tensor[]): Tensor[] {
  const graph = currentGraph();
  if (graph === null || y.node === null) throw new LockstepError("gradients: call it inside compile(fn), with a value computed there");
  if (y.size !== 1 || y.dtype !== "f32") throw new ShapeError(`gradients: expected a scalar f32 loss, got ${y}; reduce it with sum() or mean()`);
  const targets = of.map((t) => symbolOf(graph, t));
  graph.firstGradient = Math.min(graph.firstGradient, graph.nodes.length);
  const needed = dependents(graph, targets, y.node.id);
  const grads = new Map<Tensor, Tensor>();
  grads.set(y, graph.constant(1, "f32", y.shape));
  for (let i = y.node.id; i >= 0; i--) {
    const node = graph.nodes[i];
    const { source, op: { vjp } } = node;
    if (!needed[i] || vjp === null) continue;
    const dy = node.outputs.map((t) => grads.get(t) ?? null);
    if (dy.every((d) => d === null)) continue;
    const needs = node.inputs.map((t) => t !== null && t.node !== null && needed[t.node.id]);
    const rule = () => vjp({ dy, y: node.outputs, x: node.inputs, needs, attrs: node.attrs });
    const dx = source ? graph.scope(`${source}'`, rule) : rule();
    node.inputs.forEach((input, k) => {
      const d = dx[k] ?? null;
      if (input === null || d === null || !needs[k]) return;
      if (!sameShape(d.shape, input.shape)) throw new Error(`internal: gradient of ${node.op.name}, input ${k}, has shape ${showShape(d.shape)}, the input ${showShape(input.shape)}`);
      const before = grads.get(input);
      grads.set(input, before === undefined ? d : add(before, d));
    });
  }
  return targets.map((t) => grads.get(t) ?? graph.constant(0, "f32", t.shape));
}

/**
 * A function that returns the value of `fn` and its gradients. Call it inside `compile`.
 * @param fn takes the arguments and returns a scalar f32 loss; it uses `params` by closure.
 * @param params tensors, or arrays or objects of tensors (f32).
 * @returns `(...args) => { value, grads }` with `grads` of the structure of `params`.
 */
export function valueAndGrad<A extends readonly Tensor[], P extends Tree>(fn: (...args: A) => Tensor, params: P): (...args: A) => { value: Tensor; grads: P };
export function valueAndGrad<A extends readonly unknown[], P extends Tree>(fn: (...args: A) => Tensor, params: P): (...args: A) => { value: Tensor; grads: P };
// Two, so that arguments without a type are tensors.
export function valueAndGrad<A extends readonly unknown[], P extends Tree>(fn: (...args: A) => Tensor, params: P): (...args: A) => { value: Tensor; grads: P } {
  return (...args) => {
    const graph = currentGraph();
    if (graph === null) throw new LockstepError("valueAndGrad: call the returned function inside compile(fn): gradients are part of a compiled program");
    const leaves = flatten(params).map((t) => symbolOf(graph, t));
    const value = fn(...args);
    if (!(value instanceof Tensor)) throw new LockstepError("valueAndGrad: the function must return a scalar tensor, the loss");
    const grads = gradients(symbolOf(graph, value), leaves);
    let i = 0;
    return { value, grads: mapTree(params, () => grads[i++]) as P };
  };
}

/** As `valueAndGrad`, returning the gradients alone. */
export function grad<A extends readonly Tensor[], P extends Tree>(fn: (...args: A) => Tensor, params: P): (...args: A) => P;
export function grad<A extends readonly unknown[], P extends Tree>(fn: (...args: A) => Tensor, params: P): (...args: A) => P;
export function grad<A extends readonly unknown[], P extends Tree>(fn: (...args: A) => Tensor, params: P): (...args: A) => P {
  const both = valueAndGrad(fn, params);
  return (...args) => both(...args).grads;
}

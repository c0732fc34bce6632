/** @file Graph to Plan: live nodes, fusion, places for results and assigned tensors, memory for the rest. */
import { assert } from "../assert.ts";
import { bytesOf } from "../dtype.ts";
import type { Storage } from "../dtype.ts";
import type { Graph } from "../graph.ts";
import { Tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { changesNothing, copyCall } from "./copy.ts";
import { fuse } from "./fuse.ts";
import { whereInPlace } from "./in-place.ts";
import type { PlanLimits, UnplacedCall } from "./limits.ts";
import { placeTemporaries } from "./memory.ts";
import type { Binding, Call, Operand, Place, Plan } from "./plan.ts";
import { base, liveNodes } from "./simplify.ts";
import { asWords } from "./storage.ts";

const isLeaf = (t: Tensor): boolean => base(t).node?.op.lower === "leaf";

const copied = (from: Tensor, to: Tensor, source: string): UnplacedCall => ({ ...copyCall(from, to), source });

/** A tensor that stands for bytes only: a copy's destination. */
const standIn = (like: Tensor): Tensor => new Tensor(like.shape, like.dtype, like.node, -1, null);

/**
 * Plans `graph`. Bindings are the graph's inputs, then its captures in order, then `results`.
 */
export function buildPlan(graph: Graph, results: readonly Tensor[], limits: PlanLimits): Plan {
  const captures = [...graph.captures.values()];
  const roots = [...results, ...graph.assigns.values()];
  const nodes = liveNodes(graph, roots);
  const calls: UnplacedCall[] = fuse(nodes, roots, limits);

  const fixed = new Map<Tensor, Place>();
  const place = (index: number): Place => ({ space: "binding", index, offset: 0 });
  graph.inputs.forEach((t, i) => fixed.set(t, place(i)));
  captures.forEach((t, i) => fixed.set(t, place(graph.inputs.length + i)));

  // Results: computed straight into their binding, or copied. Values of leaves are copied first, before an assignment can change them.
  const before: UnplacedCall[] = [];
  const after: UnplacedCall[] = [];
  results.forEach((t, i) => {
    const where = place(graph.inputs.length + captures.length + i);
    const b = base(t);
    if (!fixed.has(b)) {
      fixed.set(b, where);
      return;
    }
    const target = standIn(b);
    fixed.set(target, where);
    (isLeaf(t) ? before : after).push(copied(b, target, "result"));
  });

  // Assignments: written in place where nothing reads the old value at or after that call, else copied at the end.
  const late: UnplacedCall[] = [];
  const inPlace = TRAINING && graph.assigns.size > 0 ? whereInPlace(calls, new Set(roots.map(base))) : null;
  const assigned = new Set<Tensor>();
  for (const [target, value] of TRAINING ? graph.assigns : []) {
    const symbol = graph.captures.get(target) as Tensor;
    assigned.add(symbol);
    const b = base(value);
    if (b === symbol) continue;
    const there = fixed.has(b) ? null : inPlace?.(symbol, b);
    if (there) {
      for (const t of there) fixed.set(t, fixed.get(symbol) as Place);
      continue;
    }
    const to = standIn(symbol);
    fixed.set(to, fixed.get(symbol) as Place);
    if (isLeaf(value)) {
      // The value may itself be assigned in this run: save it before anything is written.
      const saved = standIn(b);
      before.push(copied(b, saved, "assign"));
      late.push(copied(saved, to, "assign"));
    } else {
      late.push(copied(b, to, "assign"));
    }
  }

  const stored = new Map<Tensor, Storage>();
  for (const t of [...graph.inputs, ...captures]) if (t.storage) stored.set(t, t.storage);
  const ordered = asWords([...before, ...calls, ...after, ...late], stored, copied);
  const halves = limits.halves?.(ordered, fixed, graph.firstGradient);
  const { places, slots } = placeTemporaries(ordered, fixed, limits, halves);
  const operand = (t: Tensor | null): Operand | null => {
    if (t === null) return null;
    const b = base(t);
    const at = fixed.get(b) ?? places.get(b);
    assert(at !== undefined, () => `no place for ${b}`);
    const storage = halves?.has(b) ? "f16" : stored.get(b);
    return { place: at, shape: t.shape, dtype: t.dtype, ...(storage && { storage }) };
  };
  const placed = ordered
    .map(({ kernel, inputs, outputs, attrs, source }): Call => ({
      kernel: kernel.name,
      inputs: inputs.map(operand),
      outputs: outputs.map(operand),
      attrs,
      source,
    }))
    .filter((call) => !changesNothing(call));
  const binding = (kind: Binding["kind"], { shape, dtype, size }: Tensor, written: boolean, storage?: Storage): Binding => ({
    kind,
    shape,
    dtype,
    ...(storage && { storage }),
    bytes: bytesOf(size, storage),
    written,
  });
  return {
    bindings: [
      ...graph.inputs.map((t) => binding("input", t, false, t.storage)),
      ...captures.map((t) => binding("capture", t, assigned.has(t), t.storage)),
      ...results.map((t) => binding("output", t, true)),
    ],
    slots,
    calls: placed,
    kernels: Object.fromEntries(ordered.map(({ kernel }) => [kernel.name, kernel])),
  };
}

/** @file Graph to Plan: live nodes, fusion, places for results and assigned tensors, memory for the rest. */
import { assert } from "../assert.ts";
import { once } from "../cache.ts";
import { bytesOf, ELEMENT_BYTES } from "../dtype.ts";
import type { Storage } from "../dtype.ts";
import type { Graph } from "../graph.ts";
import { Tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { wholeCopy } from "./copy.ts";
import { fuse } from "./fuse.ts";
import type { PlanLimits, UnplacedCall } from "./limits.ts";
import { placeTemporaries, readsInOrder } from "./memory.ts";
import type { Binding, Call, Operand, Place, Plan } from "./plan.ts";
import { base, liveNodes } from "./simplify.ts";
import { asWords } from "./storage.ts";

const copyCall = (from: Tensor, to: Tensor, source: string): UnplacedCall => ({ ...wholeCopy(from, to), source });

const isLeaf = (t: Tensor): boolean => base(t).node?.op.lower === "leaf";

/** A tensor that stands for bytes only: a copy's destination. */
const standIn = (like: Tensor): Tensor => new Tensor(like.shape, like.dtype, like.node, -1, null);

/**
 * Plans `graph`. Bindings are the graph's inputs, then its captures in order, then `results`.
 */
export function buildPlan(graph: Graph, results: readonly Tensor[], limits: PlanLimits): Plan {
  const captures = [...graph.captures.values()];
  const roots = [...results, ...graph.assigns.values()];
  const nodes = liveNodes(graph, roots);
  const calls = fuse(nodes, roots, limits).map((call) => withBody(call, limits));

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
    (isLeaf(t) ? before : after).push(copyCall(b, target, "result"));
  });

  // Assignments: written in place where nothing reads the old value at or after that call, else copied at the end.
  const late: UnplacedCall[] = [];
  const inPlace = TRAINING ? whereInPlace(calls) : null;
  const assigned = new Set<Tensor>();
  for (const [target, value] of TRAINING ? graph.assigns : []) {
    const symbol = graph.captures.get(target) as Tensor;
    assigned.add(symbol);
    const b = base(value);
    if (b === symbol) continue;
    if (!fixed.has(b) && inPlace?.(symbol, b)) {
      fixed.set(b, fixed.get(symbol) as Place);
      continue;
    }
    const to = standIn(symbol);
    fixed.set(to, fixed.get(symbol) as Place);
    if (isLeaf(value)) {
      // The value may itself be assigned in this run: save it before anything is written.
      const saved = standIn(b);
      before.push(copyCall(b, saved, "assign"));
      late.push(copyCall(saved, to, "assign"));
    } else {
      late.push(copyCall(b, to, "assign"));
    }
  }

  const stored = new Map<Tensor, Storage>();
  for (const t of [...graph.inputs, ...captures]) if (t.storage) stored.set(t, t.storage);
  const ordered = asWords([...before, ...calls, ...after, ...late], stored, copyCall);
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
  const placed = ordered.map(({ kernel, inputs, outputs, attrs, body, source }): Call => ({
    kernel: kernel.name,
    inputs: inputs.map(operand),
    outputs: outputs.map(operand),
    attrs,
    ...(body && { body: body.plan }),
    source,
  }));
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
    kernels: Object.assign({}, ...ordered.map(({ kernel, body }) => ({ ...body?.plan?.kernels, [kernel.name]: kernel }))),
  };
}

/**
 * A call that repeats a graph of its own, with that planned: outputs that nobody reads are no results of it, and its temporaries are
 * outputs of the call, behind the others, which live as long as it runs.
 */
function withBody(call: UnplacedCall, limits: PlanLimits): UnplacedCall {
  const { body, outputs } = call;
  if (body === undefined) return call;
  const carried = outputs.length - body.results.length;
  const plan = buildPlan(
    body.graph as Graph,
    body.results.filter((_, i) => outputs[carried + i] !== null),
    // What is read again at another step is no temporary, and the rest is small.
    { ...limits, halves: undefined },
  );
  const slots = plan.slots.map((bytes) => new Tensor([Math.ceil(bytes / ELEMENT_BYTES)], "f32", null, 0, null));
  return { ...call, outputs: [...outputs.filter((t) => t !== null), ...slots], body: { ...body, plan } };
}

/** Whether the one call of `calls` that gives `value` may write it to `target`, a leaf, which then has no reader at or after it. */
function whereInPlace(calls: readonly UnplacedCall[]): (target: Tensor, value: Tensor) => boolean {
  const writers = new Map<Tensor, number[]>();
  /** Of leaves: the last call that reads it, and as which of its inputs. */
  const reads = new Map<Tensor, { at: number; inputs: number[] }>();
  calls.forEach((c, at) => {
    for (const t of c.outputs) if (t !== null) once(writers, t, () => [] as number[]).push(at);
    c.inputs.forEach((t, k) => {
      if (t === null || !isLeaf(t)) return;
      const read = once(reads, base(t), () => ({ at, inputs: [] as number[] }));
      if (read.at !== at) [read.at, read.inputs] = [at, []];
      read.inputs.push(k);
    });
  });
  return (target, value) => {
    const [at, another] = writers.get(value) ?? [];
    if (at === undefined || another !== undefined) return false;
    const read = reads.get(target);
    return read === undefined || read.at < at || (read.at === at && read.inputs.every((k) => readsInOrder(calls[at], k)));
  };
}

/** @file Graph to Plan: live nodes, fusion, places for results and assigned tensors, memory for the rest. */
import { assert } from "../assert.ts";
import { bytesOf } from "../dtype.ts";
import type { Storage } from "../dtype.ts";
import type { Graph } from "../graph.ts";
import { Tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { copied, isLeaf, placeAssigned, standIn } from "./assigned.ts";
import type { planBody } from "./body.ts";
import { fuse } from "./fuse.ts";
import type { PlanLimits, UnplacedCall } from "./limits.ts";
import { placeTemporaries } from "./memory.ts";
import type { Binding, Call, Operand, Place, Plan } from "./plan.ts";
import { base, liveNodes } from "./simplify.ts";
import { asWords } from "./storage.ts";

/**
 * Plans `graph`. Bindings are the graph's inputs, then its captures in order, then `results`. `placing` places what is assigned; without
 * it a program assigns nothing.
 */
export function buildPlan(
  graph: Graph,
  results: readonly Tensor[],
  limits: PlanLimits,
  placing: typeof placeAssigned | null = TRAINING ? placeAssigned : null,
): Plan {
  const captures = [...graph.captures.values()];
  const roots = [...results, ...graph.assigns.values()];
  const nodes = liveNodes(graph, roots);
  const calls = fuse(nodes, roots, limits).map((call) =>
    call.body ? (call.body.planBody as typeof planBody)(call, limits, buildPlan) : call,
  );

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

  const { late, assigned, needless } = placing?.(graph, calls, roots, fixed, before) ?? {
    late: [],
    assigned: new Set<Tensor>(),
    needless: () => false,
  };

  const stored = new Map<Tensor, Storage>();
  for (const t of [...graph.inputs, ...captures]) if (t.storage) stored.set(t, t.storage);
  const inOrder = asWords([...before, ...calls, ...after, ...late], stored, copied);
  const { calls: ordered, stageOf } = limits.stages?.(inOrder, fixed, limits) ?? { calls: inOrder, stageOf: undefined };
  const halves = limits.halves?.(ordered, fixed, graph.firstGradient);
  const { places, slots } = placeTemporaries(ordered, fixed, limits, halves, stageOf);
  const operand = (t: Tensor | null): Operand | null => {
    if (t === null) return null;
    const b = base(t);
    const at = fixed.get(b) ?? places.get(b);
    assert(at !== undefined, () => `no place for ${b}`);
    const storage = halves?.has(b) ? "f16" : stored.get(b);
    return { place: at, shape: t.shape, dtype: t.dtype, ...(storage && { storage }) };
  };
  const placed = ordered
    .map(({ kernel, inputs, outputs, attrs, body, source }): Call => ({
      kernel: kernel.name,
      inputs: inputs.map(operand),
      outputs: outputs.map(operand),
      attrs,
      ...(body && { body: body.plan }),
      source,
    }))
    .filter((call) => !needless(call));
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

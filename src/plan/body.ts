/** @file Planning of what a call repeats. Apart, so that applications without loops do not hold it: ops with a body bring it along. */
import { ELEMENT_BYTES } from "../dtype.ts";
import type { Graph } from "../graph.ts";
import type { BodyOf } from "../op.ts";
import { Tensor } from "../tensor.ts";
import { placeAssigned } from "./assigned.ts";
import type { PlanLimits, UnplacedCall } from "./limits.ts";
import type { Plan } from "./plan.ts";

/** `buildPlan`. */
type Build = (graph: Graph, results: readonly Tensor[], limits: PlanLimits, placing: typeof placeAssigned) => Plan;

/**
 * A call that repeats a graph of its own, with that planned: outputs that nobody reads are no results of it, and its temporaries are
 * outputs of the call, behind the others, which live as long as it runs.
 */
export function planBody(call: UnplacedCall, limits: PlanLimits, build: Build): UnplacedCall {
  const { outputs } = call;
  const body = call.body as BodyOf<Tensor>;
  const carried = outputs.length - body.results.length;
  const plan = build(
    body.graph as Graph,
    body.results.filter((_, i) => outputs[carried + i] !== null),
    // What is read again at another step is no temporary, and the rest is small.
    { ...limits, halves: undefined },
    placeAssigned,
  );
  const slots = plan.slots.map((bytes) => new Tensor([Math.ceil(bytes / ELEMENT_BYTES)], "f32", null, 0, null));
  return { ...call, outputs: [...outputs.filter((t) => t !== null), ...slots], body: { ...body, plan } };
}

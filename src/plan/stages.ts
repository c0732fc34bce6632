/**
 * @file Stages: calls that need nothing of each other, next to each other and with places of their own, for backends that can do several
 * in one command. A call goes to the earliest stage behind those it must wait for that has room, not far back, so that no temporary lives
 * much longer; large ones stay where they are.
 */
import type { Tensor } from "../tensor.ts";
import type { PlanLimits, Stages, UnplacedCall } from "./limits.ts";
import type { Place } from "./plan.ts";
import { base } from "./simplify.ts";

/** Stages that a call may go back. */
const MOST_BACK = 16;
/** Elements of a call's largest operand beyond which it takes so long, and so much memory, that it has a stage to itself. */
const MOST_ELEMENTS = 2 ** 20;

interface Stage {
  readonly calls: UnplacedCall[];
  /** What its calls read and write; null: of a call that is alone. */
  readonly touched: Set<unknown> | null;
}

/**
 * `calls` in the order of their stages.
 * @param fixed tensors that live in bindings; those of one place are the same bytes
 */
export const inStages: Stages = (calls, fixed, { maxOperands }: PlanLimits) => {
  const stages: Stage[] = [];
  /** By bytes: the last stage that writes them, and the last that reads them. */
  const [written, read] = [new Map<unknown, number>(), new Map<unknown, number>()];
  const bytesOf = (t: Tensor): unknown => {
    const place: Place | undefined = fixed.get(base(t));
    return place === undefined ? base(t) : place.index;
  };
  for (const call of calls) {
    const [inputs, outputs] = [call.inputs, call.outputs].map((all) => all.filter((t) => t !== null).map(bytesOf));
    const waits = [...inputs, ...outputs].map((b) => written.get(b) ?? -1).concat(outputs.map((b) => read.get(b) ?? -1));
    const alone = call.body !== undefined || [...call.inputs, ...call.outputs].some((t) => t !== null && t.size > MOST_ELEMENTS);
    let at = alone ? stages.length : Math.max(stages.length - MOST_BACK, 1 + Math.max(...waits));
    const own = new Set([...inputs, ...outputs]);
    const hasRoom = ({ touched }: Stage): boolean =>
      touched !== null && [...own].reduce<number>((n, b) => n + Number(!touched.has(b)), touched.size) <= maxOperands;
    while (at < stages.length && !hasRoom(stages[at])) at++;
    const stage = (stages[at] ??= { calls: [], touched: alone ? null : new Set() });
    stage.calls.push(call);
    for (const b of own) stage.touched?.add(b);
    for (const b of outputs) written.set(b, at);
    for (const b of inputs) read.set(b, Math.max(at, read.get(b) ?? -1));
  }
  return { calls: stages.flatMap((s) => s.calls), stageOf: stages.flatMap((s, at) => s.calls.map(() => at)) };
};

/**
 * @file What finding calls of a plan that one dispatch can compute has in common: who reads what they leave in temporaries. Each dispatch
 * of a token that is written takes longer to begin than to compute.
 */
import type { Stages } from "../plan/limits.ts";
import type { Call, Operand, Place } from "../plan/plan.ts";
import { inStages } from "../plan/stages.ts";

/** Whether one of the operands is in the buffer of `place`. */
export const among = (place: Place, operands: readonly (Operand | null | undefined)[]): boolean =>
  operands.some((o) => o != null && o.place.space === place.space && o.place.index === place.index);

/** Kernels that leave some of what was in their outputs, or may. */
const UPDATES = /^(scatter|copy$|scan$)/;

/** Whether nobody reads from call `from` on what stands at `place` now: a temporary that is written anew first, or not at all. */
export function dies(calls: readonly Call[], from: number, place: Place): boolean {
  if (place.space !== "slot") return false;
  for (const { inputs, outputs, kernel } of calls.slice(from)) {
    if (among(place, inputs)) return false;
    if (among(place, outputs)) return !UPDATES.test(kernel);
  }
  return true;
}

/** Whether an operand is absent or f32, or with `any` of any dtype, in words. */
export const plain = (o: Operand | null | undefined, any = false): boolean =>
  o == null || ((any || o.dtype === "f32") && o.storage === undefined);

/** A call in the place of the first `count` of those that are looked at. */
export interface Joined {
  readonly call: Call;
  readonly count: number;
}

/** `calls` with what `find` finds from place to place; null: nothing. */
export function joinedBy(calls: readonly Call[], find: (at: number) => Joined | null): readonly Call[] {
  const joined: Call[] = [];
  for (let at = 0; at < calls.length;) {
    const found = find(at);
    joined.push(found?.call ?? calls[at]);
    at += found?.count ?? 1;
  }
  return joined;
}

/** Kernels of plans that write text, whose calls are joined with those behind them. */
export const JOINED = /^(packedMatmul|scatterUpdate)$/;

/** Stages of plans that write no text; in others, calls that may be joined stay next to each other. */
export const stagesOf: Stages = (calls, fixed, limits) =>
  calls.some(({ kernel }) => JOINED.test(kernel.name)) ? { calls, stageOf: calls.map((_, i) => i) } : inStages(calls, fixed, limits);

/**
 * @file Where assigned values go: in place where nothing reads the old value at or after the call that computes the new one, else copied at
 * the end. Apart, so that applications whose programs assign nothing do not hold it.
 */
import type { Graph } from "../graph.ts";
import { Tensor } from "../tensor.ts";
import { changesNothing, copyCall } from "./copy.ts";
import { whereInPlace } from "./in-place.ts";
import type { UnplacedCall } from "./limits.ts";
import type { Call, Place } from "./plan.ts";
import { base } from "./simplify.ts";

export const isLeaf = (t: Tensor): boolean => base(t).node?.op.lower === "leaf";

export const copied = (from: Tensor, to: Tensor, source: string): UnplacedCall => ({ ...copyCall(from, to), source });

/** A tensor that stands for bytes only: a copy's destination. */
export const standIn = (like: Tensor): Tensor => new Tensor(like.shape, like.dtype, like.node, -1, null);

/**
 * Puts what is computed in place into `fixed`, and copies of values that this run overwrites into `before`.
 * @returns the copies at the end, which captures are written, and which calls need not be made once all has its place
 */
export function placeAssigned(
  graph: Graph,
  calls: readonly UnplacedCall[],
  roots: readonly Tensor[],
  fixed: Map<Tensor, Place>,
  before: UnplacedCall[],
): {
  readonly late: readonly UnplacedCall[];
  readonly assigned: ReadonlySet<Tensor>;
  readonly needless: (call: Call) => boolean;
} {
  const late: UnplacedCall[] = [];
  const assigned = new Set<Tensor>();
  if (graph.assigns.size === 0) return { late, assigned, needless: changesNothing };
  const inPlace = whereInPlace(calls, new Set(roots.map(base)));
  for (const [target, value] of graph.assigns) {
    const symbol = graph.captures.get(target) as Tensor;
    assigned.add(symbol);
    const b = base(value);
    if (b === symbol) continue;
    const there = fixed.has(b) ? null : inPlace(symbol, b);
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
  return { late, assigned, needless: changesNothing };
}

/**
 * @file Where an assigned value may be computed in the bytes of its target, so that no copy is left for the end: new weights in the call
 * that computes them, and a cache of which a call updates some rows (scatterUpdate), from which its copy of all others then falls away.
 */
import { once } from "../cache.ts";
import type { Tensor } from "../tensor.ts";
import { copiesAll } from "./copy.ts";
import type { UnplacedCall } from "./limits.ts";
import { readsInOrder } from "./memory.ts";
import { base } from "./simplify.ts";

/**
 * A function that gives the tensors that can lie in the bytes of `target`, a leaf, with `value` there after the last of `calls`: `value`,
 * what it is an update of, and so on. Null where something reads what was there at or after the call that first writes over it.
 * @param kept tensors of which the values are wanted after the last call
 */
export function whereInPlace(
  calls: readonly UnplacedCall[],
  kept: ReadonlySet<Tensor>,
): (target: Tensor, value: Tensor) => readonly Tensor[] | null {
  const writers = new Map<Tensor, number[]>();
  /** The calls that read a tensor, in order. */
  const readers = new Map<Tensor, number[]>();
  const add = (to: Map<Tensor, number[]>, t: Tensor, at: number): void => {
    const list = once(to, t, () => [] as number[]);
    if (list.at(-1) !== at) list.push(at);
  };
  calls.forEach((c, at) => {
    for (const t of c.outputs) if (t !== null) add(writers, t, at);
    for (const t of c.inputs) if (t !== null) add(readers, base(t), at);
  });
  /** Whether no call from `first` on reads `t`. */
  const unreadFrom = (t: Tensor, first: number): boolean => (readers.get(t)?.at(-1) ?? -1) < first;

  return (target, value) => {
    const found: Tensor[] = [];
    for (let t = value; ;) {
      found.push(t);
      const [first, second] = writers.get(t) ?? [];
      if (first === undefined) return null;
      const call = calls[first];
      // A copy that a later call updates: it falls away where its source may be overwritten by that.
      const source = second !== undefined && copiesAll(call) ? base(call.inputs[0] as Tensor) : null;
      if (source !== null && unreadFrom(source, second)) {
        if (source === target) return found;
        if (writers.has(source) && !kept.has(source)) {
          t = source;
          continue;
        }
      }
      const inOrder = call.inputs.every((input, k) => input === null || base(input) !== target || readsInOrder(call, k));
      return unreadFrom(target, inOrder ? first + 1 : first) ? found : null;
    }
  };
}

/**
 * @file Inputs and captures that are not stored as words (`Storage` in dtype.ts). Kernels that gain by it read them as they are; others get
 * a copy. To read another storage, a kernel says so here and in kernels.ts, and its encoders look at the operand's `storage`.
 */
import { once } from "../cache.ts";
import type { Storage } from "../dtype.ts";
import { Tensor } from "../tensor.ts";
import type { UnplacedCall } from "./limits.ts";
import { readsInOrder } from "./memory.ts";
import { base } from "./simplify.ts";

/** True where the kernel reads its input `k` as bytes just as well: gathered rows, and elements that a body takes one after another. */
const readsBytes = (c: UnplacedCall, k: number): boolean => (c.kernel.name === "gather" && k === 0) || readsInOrder(c, k);

/** Puts a copy as words (made by `copy`) before the first call that reads one of `stored` and needs words. */
export function asWords(
  calls: readonly UnplacedCall[],
  stored: ReadonlyMap<Tensor, Storage>,
  copy: (from: Tensor, to: Tensor, source: string) => UnplacedCall,
): readonly UnplacedCall[] {
  if (stored.size === 0) return calls;
  const copies = new Map<Tensor, Tensor>();
  return calls.flatMap((c) => {
    const before: UnplacedCall[] = [];
    const inputs = c.inputs.map((t, k) => {
      if (t === null || !stored.has(base(t)) || readsBytes(c, k)) return t;
      return once(copies, t, () => {
        const from = base(t);
        const words = new Tensor(t.shape, t.dtype, from.node, -1, null);
        before.push(copy(from, words, "unpack"));
        return words;
      });
    });
    return [...before, { ...c, inputs }];
  });
}

/**
 * @file Inputs and captures that are not stored as words (`Storage` in dtype.ts). Kernels that gain by it read them as they are; others get
 * a copy. To read another storage, a kernel says so here and in kernels.ts, and its encoders look at the operand's `storage`; what is
 * packed brings the calls that read it.
 */
import { once } from "../cache.ts";
import { packedIn } from "../dtype.ts";
import type { Storage } from "../dtype.ts";
import { Tensor } from "../tensor.ts";
import type { UnplacedCall } from "./limits.ts";
import { readsInOrder } from "./memory.ts";
import { base } from "./simplify.ts";

/** True where the kernel reads its input `k` as bytes just as well: gathered rows, and elements that a body takes one after another. */
const readsBytes = (c: UnplacedCall, k: number): boolean => (c.kernel.name === "gather" && k === 0) || readsInOrder(c, k);

/** How calls read what is packed (packed/reading.ts). */
export interface PackedReading {
  /** `call` as one that reads its input `k`, `t`, as it is packed; null where it needs words. */
  direct(call: UnplacedCall, k: number, t: Tensor): UnplacedCall | null;
  /** Words of all of it. */
  unpacked(from: Tensor, to: Tensor): UnplacedCall;
}

/** Puts a copy as words (made by `copy`) before the first call that reads one of `stored` and needs words. */
export function asWords(
  calls: readonly UnplacedCall[],
  stored: ReadonlyMap<Tensor, Storage>,
  copy: (from: Tensor, to: Tensor, source: string) => UnplacedCall,
): readonly UnplacedCall[] {
  if (stored.size === 0) return calls;
  const copies = new Map<Tensor, Tensor>();
  return calls.flatMap((c) => {
    let call = c;
    const before: UnplacedCall[] = [];
    const inputs = c.inputs.map((t, k) => {
      if (t === null) return t;
      const from = base(t);
      const storage = stored.get(from);
      if (storage === undefined) return t;
      const reading = packedIn(storage)?.reading as PackedReading | undefined;
      const direct = reading ? reading.direct(call, k, t) : readsBytes(c, k) ? call : null;
      if (direct !== null) {
        call = direct;
        return t;
      }
      return once(copies, t, () => {
        const words = new Tensor(t.shape, t.dtype, from.node, -1, null);
        before.push(reading?.unpacked(from, words) ?? copy(from, words, "unpack"));
        return words;
      });
    });
    return [...before, { ...call, inputs }];
  });
}

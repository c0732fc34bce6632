/**
 * @file Inputs and captures that are not stored as words (`Storage` in dtype.ts). Kernels that gain by it read them as they are; others get
 * a copy. To read another storage, a kernel says so here and in kernels.ts, and its encoders look at the operand's `storage`; what is
 * packed brings the kernels that read it.
 */
import { once } from "../cache.ts";
import { packedIn } from "../dtype.ts";
import type { PackedStorage, Storage } from "../dtype.ts";
import { Tensor } from "../tensor.ts";
import type { UnplacedCall } from "./limits.ts";
import { readsInOrder } from "./memory.ts";
import { base } from "./simplify.ts";

/** True where the kernel reads its input `k` as bytes just as well: gathered rows, and elements that a body takes one after another. */
const readsBytes = (c: UnplacedCall, k: number): boolean => (c.kernel.name === "gather" && k === 0) || readsInOrder(c, k);

/**
 * True where the kernel reads its input `k` as it is packed: the operand that ops gave it for that, or one that the body of a loop captures
 * (which captures stand behind the inputs).
 */
function readsPacked({ kernel, body }: UnplacedCall, k: number, storage: PackedStorage): boolean {
  const { kernels } = storage;
  if (body?.plan) return k >= body.plan.bindings.filter(({ kind }) => kind === "input").length;
  return (kernel === kernels.matmul && k === 1) || ((kernel === kernels.gather || kernel === kernels.unpack) && k === 0);
}

/** Words of what is packed. */
const unpacked = ({ kernels, rows, k, format, transposed }: PackedStorage, from: Tensor, to: Tensor): UnplacedCall => ({
  kernel: kernels.unpack,
  inputs: [from],
  outputs: [to],
  attrs: { rows, k, format, transposed },
  source: "unpack",
});

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
      if (t === null) return t;
      const from = base(t);
      const storage = stored.get(from);
      if (storage === undefined) return t;
      const packed = packedIn(storage);
      if (packed ? readsPacked(c, k, packed) : readsBytes(c, k)) return t;
      return once(copies, t, () => {
        const words = new Tensor(t.shape, t.dtype, from.node, -1, null);
        before.push(packed ? unpacked(packed, from, words) : copy(from, words, "unpack"));
        return words;
      });
    });
    return [...before, { ...c, inputs }];
  });
}

/** @file How plans read a packed matrix: which calls read it as it is, by kernels of their own, and that which gives its words. */
import type { PackedStorage } from "../dtype.ts";
import { packedMatmul, packedRows, unpack } from "../kernels.ts";
import type { Attr } from "../op.ts";
import type { MatmulAttrs } from "../plan/kernels.ts";
import type { UnplacedCall } from "../plan/limits.ts";
import type { PackedReading } from "../plan/storage.ts";
import type { Tensor } from "../tensor.ts";

/** The right operand of products, rows that are gathered, and what the body of a loop captures, which stands behind its inputs. */
function direct(storage: PackedStorage, call: UnplacedCall, input: number, t: Tensor): UnplacedCall | null {
  const { k, rows, format, transposed } = storage;
  const { kernel, attrs, body } = call;
  if (body?.plan) return input >= body.plan.bindings.filter(({ kind }) => kind === "input").length ? call : null;
  // Another shape than it is stored by, behind a reshape.
  if (t.rank !== 2 || t.shape[transposed ? 0 : 1] !== k) return null;
  if (kernel.name === "matmul" && input === 1) {
    const { batch, m, n, activation, transposeA, transposeB } = attrs as unknown as MatmulAttrs;
    if (transposeA || transposeB === transposed) return null;
    return { ...call, kernel: packedMatmul, attrs: { m: batch * m, k, n, format, activation } };
  }
  if (kernel.name === "gather" && input === 0 && !transposed && attrs.outer === 1 && attrs.size === rows)
    return { ...call, kernel: packedRows, attrs: { rows, k, count: attrs.count as Attr, format } };
  return null;
}

/** Of a tensor that is stored so. */
export const readingOf = (storage: PackedStorage): PackedReading => ({
  direct: (call, input, t) => direct(storage, call, input, t),
  unpacked: (from, to) => {
    const { rows, k, format, transposed } = storage;
    return { kernel: unpack, inputs: [from], outputs: [to], attrs: { rows, k, format, transposed }, source: "unpack" };
  },
});

/** @file Products with weights in few bits, in blocks that share a scale (MatMulNBits, GatherBlockQuantized of com.microsoft). */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { isFloat } from "../types.ts";
import { Value } from "../value.ts";

const { cast, reshape } = lockstep;

/** Integers of so many bits out of bytes [..., n] (i32), those of the lower bits first: [..., n * 8 / bits]. */
export function unpacked(bytes: Tensor, bits: number): Tensor {
  if (bits === 8) return bytes;
  const each = 8 / bits;
  const parts = Array.from({ length: each }, (_, i) =>
    lockstep.mod(i === 0 ? bytes : lockstep.floorDiv(bytes, 2 ** (bits * i)), 2 ** bits),
  );
  return reshape(lockstep.stack(parts, bytes.rank), [...bytes.shape.slice(0, -1), bytes.shape[bytes.rank - 1] * each]);
}

/** What `bits` may be. */
function bitsOf(call: Call): number {
  const bits = call.int("bits", 4);
  if (![2, 4, 8].includes(bits)) throw call.fault(`weights of ${bits} bits are not supported; known: 2, 4, 8`);
  return bits;
}

/** The matrix [n, k] that the inputs from 1 on hold. */
function weightsOf(call: Call, n: number, k: number): Tensor {
  const bits = bitsOf(call);
  const size = call.int("block_size", 32);
  const blocks = Math.ceil(k / size);
  const packed = call.input(1);
  if (packed.size !== (n * blocks * size * bits) / 8)
    throw call.mismatch(`weights [${packed.shape.join()}] are no ${n} rows of ${blocks} blocks of ${size} elements in ${bits} bits`);
  const q = reshape(unpacked(reshape(cast(packed.tensor, "i32"), [n, blocks * ((size * bits) / 8)]), bits), [n, blocks, size]);
  const scales = reshape(call.tensor(2), [n, blocks]);
  const zero = call.optional(3);
  let zeros: Tensor | number = 2 ** (bits - 1);
  if (zero !== null) {
    const bytes = Math.ceil((blocks * bits) / 8);
    zeros = isFloat(zero.type)
      ? reshape(zero.tensor, [n, blocks])
      : cast(lockstep.slice(unpacked(reshape(cast(zero.tensor, "i32"), [n, bytes]), bits), [0, 0], [n, blocks]), "f32");
  }
  const groups = call.optional(4);
  if (groups !== null) {
    // Each column says which block's scale it has.
    const of = (t: Tensor): Tensor => lockstep.gather(t, cast(lockstep.slice(groups.tensor, [0], [k]), "i32"), 1);
    const flat = cast(lockstep.slice(reshape(q, [n, blocks * size]), [0, 0], [n, k]), "f32");
    return lockstep.mul(lockstep.sub(flat, typeof zeros === "number" ? zeros : of(zeros)), of(scales));
  }
  const along = (t: Tensor): Tensor => lockstep.expandDims(t, 2);
  const w = lockstep.mul(lockstep.sub(cast(q, "f32"), typeof zeros === "number" ? zeros : along(zeros)), along(scales));
  return lockstep.slice(reshape(w, [n, blocks * size]), [0, 0], [n, k]);
}

const MatMulNBits: Operator = (call) => {
  const x = call.input(0);
  const [n, k] = [call.int("N", 0), call.int("K", 0)];
  if (x.rank < 1 || x.shape[x.rank - 1] !== k) throw call.mismatch(`[${x.shape.join()}] by ${k} rows of weights`);
  const bias = call.optional(5)?.tensor ?? null;
  const rows = reshape(x.tensor, [x.size / Math.max(1, k), k]);
  const y = lockstep.matmul(rows, weightsOf(call, n, k), { transposeB: true, bias });
  return Value.of(x.type, reshape(y, [...x.shape.slice(0, -1), n]));
};

export const PACKED_MICROSOFT: Operators = { MatMulNBits };

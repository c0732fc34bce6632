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

/** How a matrix lies. */
interface Layout {
  readonly n: number;
  readonly k: number;
  readonly bits: number;
  readonly size: number;
}

/** [n, k] of its integers, scales, zero points (floats, or integers like those of the matrix) and, by column, the block with its scale. */
function unpackedMatrix({ n, k, bits, size }: Layout, packed: Tensor, factors: Tensor, zero: Tensor | null, groups: Tensor | null): Tensor {
  const blocks = Math.ceil(k / size);
  const q = reshape(unpacked(reshape(cast(packed, "i32"), [n, blocks * ((size * bits) / 8)]), bits), [n, blocks, size]);
  const scales = reshape(factors, [n, blocks]);
  let zeros: Tensor | number = 2 ** (bits - 1);
  if (zero !== null) {
    const bytes = Math.ceil((blocks * bits) / 8);
    zeros =
      zero.dtype === "f32"
        ? reshape(zero, [n, blocks])
        : cast(lockstep.slice(unpacked(reshape(cast(zero, "i32"), [n, bytes]), bits), [0, 0], [n, blocks]), "f32");
  }
  if (groups !== null) {
    const of = (t: Tensor): Tensor => lockstep.gather(t, cast(lockstep.slice(groups, [0], [k]), "i32"), 1);
    const flat = cast(lockstep.slice(reshape(q, [n, blocks * size]), [0, 0], [n, k]), "f32");
    return lockstep.mul(lockstep.sub(flat, typeof zeros === "number" ? zeros : of(zeros)), of(scales));
  }
  const along = (t: Tensor): Tensor => lockstep.expandDims(t, 2);
  const w = lockstep.mul(lockstep.sub(cast(q, "f32"), typeof zeros === "number" ? zeros : along(zeros)), along(scales));
  return lockstep.slice(reshape(w, [n, blocks * size]), [0, 0], [n, k]);
}

/** The matrix [n, k] that the inputs from 1 on hold: of constants it was packed when the file was opened, or is made once. */
function matrixOf(call: Call, n: number, k: number): Tensor {
  const packed = call.input(1);
  if (isFloat(packed.type)) {
    if (packed.shape.join() !== `${n},${k}`) throw call.fault(`the input 1 is ${packed.type}[${packed.shape.join()}]`);
    return packed.tensor;
  }
  const layout: Layout = { n, k, bits: bitsOf(call), size: call.int("block_size", 32) };
  const { bits, size } = layout;
  if (!(size >= 16) || packed.size !== (n * Math.ceil(k / size) * size * bits) / 8)
    throw call.mismatch(`weights [${packed.shape.join()}] are no ${n} rows of ${k} elements in ${bits} bits, ${size} with a scale each`);
  const [scales, zeros, groups] = [call.input(2), call.optional(3), call.optional(4)];
  const given = [packed, scales, zeros, groups].filter((v) => v !== null);
  return call.kept(`matrix ${n},${k},${bits},${size},${zeros !== null}`, given, (q, s, ...rest) => {
    const zero = zeros === null ? null : rest[0];
    return unpackedMatrix(layout, q, s, zero, groups === null ? null : rest[rest.length - 1]);
  });
}

const MatMulNBits: Operator = (call) => {
  const x = call.input(0);
  const [n, k] = [call.int("N", 0), call.int("K", 0)];
  if (x.rank < 1 || x.shape[x.rank - 1] !== k) throw call.mismatch(`[${x.shape.join()}] by ${k} rows of weights`);
  const bias = call.optional(5)?.tensor ?? null;
  const rows = reshape(x.tensor, [x.size / Math.max(1, k), k]);
  const y = lockstep.matmul(rows, matrixOf(call, n, k), { transposeB: true, bias });
  return Value.of(x.type, reshape(y, [...x.shape.slice(0, -1), n]));
};

export const PACKED_MICROSOFT: Operators = { MatMulNBits };

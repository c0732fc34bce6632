/** @file What all products of matrices come down to. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";

export const isFloats = (...tensors: readonly Tensor[]): boolean => tensors.every((t) => t.dtype === "f32");

/** a[..., M, K] b[..., K, N]. Integers are multiplied as such, and wrap around; floats by the kernels of products. */
export function product(a: Tensor, b: Tensor, options: { readonly transposeA?: boolean; readonly transposeB?: boolean } = {}): Tensor {
  const { transposeA = false, transposeB = false } = options;
  if (isFloats(a, b)) return lockstep.matmul(a, b, { transposeA, transposeB });
  const [x, y] = [transposeA ? lockstep.ops.matrixTranspose(a) : a, transposeB ? lockstep.ops.matrixTranspose(b) : b];
  const terms = lockstep.mul(lockstep.expandDims(x, x.rank), lockstep.expandDims(y, y.rank - 2));
  const unsigned = terms.dtype === "u32";
  const sum = lockstep.sum(unsigned ? lockstep.cast(terms, "i32") : terms, { axis: -2 });
  return unsigned ? lockstep.cast(sum, "u32") : sum;
}

/** @file GPU encoders of pooling (kernels/pool.wgsl). */
import type { PoolAttrs } from "../../plan/kernels.ts";
import type { GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";

/** Invocations of a workgroup, each of which makes one element. */
const THREADS = 64;

function pool(max: boolean, backward: boolean): GpuEncoder {
  return ({ attrs, inputs: [x, index], outputs: [y, taken] }, out) => {
    const a = attrs as unknown as PoolAttrs;
    const size = a.n * a.c * (backward ? a.h * a.w : a.p * a.q);
    if (size === 0) return;
    out.dispatch(
      {
        file: "pool",
        entry: backward ? "pool_grad" : "pool",
        constants: {
          SIZE: size,
          MAX: max,
          HAS_INDEX: taken != null,
          C: a.c,
          IMAGE: [a.h, a.w],
          OUTPUT: [a.p, a.q],
          TAPS: [a.r, a.s],
          STRIDE: [a.strideH, a.strideW],
          PAD: [a.padTop, a.padLeft],
        },
      },
      [read(x), backward ? read(index ?? null) : write(taken ?? null), write(y)],
      Math.ceil(size / THREADS),
    );
  };
}

/** `maxPool(x) -> y, index?` */
export const maxPool = pool(true, false);
/** `maxPoolGrad(dy, index) -> dx` */
export const maxPoolGrad = pool(true, true);
/** `avgPool(x) -> y` */
export const avgPool = pool(false, false);
/** `avgPoolGrad(dy) -> dx` */
export const avgPoolGrad = pool(false, true);

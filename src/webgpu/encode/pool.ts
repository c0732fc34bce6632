/** @file GPU encoders of pooling (kernels/pool.wgsl). */
import type { PoolAttrs } from "../../plan/kernels.ts";
import type { Bound, DispatchWriter, GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";

/** Invocations of a workgroup, each of which makes one element. */
const THREADS = 64;

function dispatch(out: DispatchWriter, entry: string, a: PoolAttrs, buffers: readonly (Bound | null)[], size: number): void {
  if (size === 0) return;
  out.dispatch({
    file: "pool", entry,
    constants: {
      SIZE: size, H: a.h, W: a.w, C: a.c, P: a.p, Q: a.q, R: a.r, S: a.s,
      STRIDE_H: a.strideH, STRIDE_W: a.strideW, PAD_TOP: a.padTop, PAD_LEFT: a.padLeft,
    },
  }, buffers, Math.ceil(size / THREADS));
}

const sizeOfOutput = (a: PoolAttrs): number => a.n * a.p * a.q * a.c;
const sizeOfInput = (a: PoolAttrs): number => a.n * a.h * a.w * a.c;

/** `maxPool(x) -> y, index?` */
export const maxPool: GpuEncoder = (call, out) => {
  const a = call.attrs as unknown as PoolAttrs;
  const [y, index] = call.outputs;
  dispatch(out, index ? "max_pool" : "max_pool_values", a, [read(call.inputs[0]), write(y), write(index ?? null)], sizeOfOutput(a));
};

/** `maxPoolGrad(dy, index) -> dx` */
export const maxPoolGrad: GpuEncoder = (call, out) => {
  const a = call.attrs as unknown as PoolAttrs;
  dispatch(out, "max_pool_grad", a, [read(call.inputs[0]), read(call.inputs[1]), write(call.outputs[0])], sizeOfInput(a));
};

/** `avgPool(x) -> y` */
export const avgPool: GpuEncoder = (call, out) => {
  const a = call.attrs as unknown as PoolAttrs;
  dispatch(out, "avg_pool", a, [read(call.inputs[0]), write(call.outputs[0])], sizeOfOutput(a));
};

/** `avgPoolGrad(dy) -> dx` */
export const avgPoolGrad: GpuEncoder = (call, out) => {
  const a = call.attrs as unknown as PoolAttrs;
  dispatch(out, "avg_pool_grad", a, [read(call.inputs[0]), write(call.outputs[0])], sizeOfInput(a));
};

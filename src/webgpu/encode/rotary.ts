/** @file GPU encoder of rotary (kernels/attention/rotary.wgsl). */
import type { RotaryAttrs } from "../../plan/kernels.ts";
import type { GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";

/** Invocations of a workgroup. */
const THREADS = 256;

/** `rotary(x, cos, sin) -> y`: an invocation makes a pair, or copies a feature that is in none. */
export const rotary: GpuEncoder = (call, out) => {
  const { outer, time, heads, dim, half, neighbours, back } = call.attrs as unknown as RotaryAttrs;
  const rows = outer * time * heads;
  if (rows * dim === 0) return;
  const constants = { ROWS: rows, TIME: time, HEADS: heads, DIM: dim, HALF: half, NEIGHBOURS: neighbours, BACK: back };
  const buffers = [write(call.outputs[0]), ...call.inputs.map(read)];
  out.dispatch({ file: "rotary", constants }, buffers, Math.ceil((rows * (dim - half)) / THREADS));
};

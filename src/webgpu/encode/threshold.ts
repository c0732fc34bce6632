/** @file GPU encoder of massThreshold (kernels/attention/threshold.wgsl). */
import type { MassThresholdAttrs } from "../../plan/kernels.ts";
import type { GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { encodeRows } from "./softmax.ts";

/** `massThreshold(x, weights?, mass) -> y` */
export const massThreshold: GpuEncoder = (call, out) => {
  const { rows, cols, shared } = call.attrs as unknown as MassThresholdAttrs;
  const constants = { WEIGHTED: call.inputs[1] !== null, SHARED: shared };
  encodeRows(out, "threshold", "main", { rows, cols }, constants, [write(call.outputs[0]), ...call.inputs.map(read)]);
};

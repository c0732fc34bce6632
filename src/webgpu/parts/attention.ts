/** @file What transformers have beside products (kernels/attention/): loaded by the first plan that names one of these kernels. */
import files from "#shaders-attention";
import type { GpuKernels } from "../dispatch.ts";
import { attention, attentionGrad } from "../encode/attention.ts";
import { joinAppends, rotary, rotaryAppend } from "../encode/rotary.ts";
import { scatterUpdate } from "../encode/scatter.ts";
import { massThreshold } from "../encode/threshold.ts";

export const encoders: GpuKernels["encoders"] = { attention, attentionGrad, rotary, rotaryAppend, scatterUpdate, massThreshold };
export const joins: GpuKernels["joins"] = [joinAppends];

/** What these files have belongs to those that call it: libraries of the core are for all kernels. */
const joined = (...of: readonly string[]): string => of.map((file) => files[file]).join("\n");
export const shaders: GpuKernels["shaders"] = {
  rotary: files.rotary,
  scatter: files.scatter,
  threshold: files.threshold,
  "attention-few": joined("seen", "few"),
  attention: joined("seen", "tiles", "attention"),
  "attention-grad": joined("seen", "tiles", "attention-grad"),
};

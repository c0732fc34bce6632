/** @file What transformers have beside products (kernels/attention/): loaded by the first plan that names one of these kernels. */
import files from "#shaders-attention";
import type { GpuKernels } from "../dispatch.ts";
import { attention, attentionGrad } from "../encode/attention.ts";
import { joinAppends, rotary, rotaryAppend } from "../encode/rotary.ts";
import { scatterUpdate } from "../encode/scatter.ts";
import { massThreshold } from "../encode/threshold.ts";

export const encoders: GpuKernels["encoders"] = { attention, attentionGrad, rotary, rotaryAppend, scatterUpdate, massThreshold };
export const joins: GpuKernels["joins"] = [joinAppends];

const tiled = (file: string): string => `${files.tiles}\n${files[file]}`;
/** What tiles.wgsl has belongs to the two files that call it: libraries of the core are for all kernels. */
export const shaders: GpuKernels["shaders"] = {
  rotary: files.rotary,
  scatter: files.scatter,
  threshold: files.threshold,
  "attention-few": files.few,
  attention: tiled("attention"),
  "attention-grad": tiled("attention-grad"),
};

/**
 * @file What transformers have beside products, the loops that they write in among it (kernels/attention/): loaded by the first plan that
 * names one of these kernels.
 */
import files from "#shaders-attention";
import type { GpuKernels } from "../dispatch.ts";
import { attention, attentionGrad } from "../encode/attention.ts";
import { rotary } from "../encode/rotary.ts";
import { scan } from "../encode/scan.ts";
import { scatterUpdate } from "../encode/scatter.ts";
import { massThreshold } from "../encode/threshold.ts";

export const encoders: GpuKernels["encoders"] = { attention, attentionGrad, rotary, scan, scatterUpdate, massThreshold };

const tiled = (file: string): string => `${files.tiles}\n${files[file]}`;
/** What tiles.wgsl has belongs to the two files that call it: libraries of the core are for all kernels. */
export const shaders: GpuKernels["shaders"] = {
  rotary: files.rotary,
  scan: files.scan,
  scatter: files.scatter,
  threshold: files.threshold,
  attention: tiled("attention"),
  "attention-grad": tiled("attention-grad"),
};

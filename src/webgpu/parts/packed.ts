/** @file What reads matrices in few bits (kernels/packed/): loaded by the first plan that names one of these kernels. */
import files from "#shaders-packed";
import type { GpuKernels } from "../dispatch.ts";
import { packedMatmul, packedRows, unpack } from "../encode/packed.ts";

export const encoders: GpuKernels["encoders"] = { packedMatmul, packedRows, unpack };

const reading = (file: string): string => `${files.weights}\n${files[file]}`;
/** What weights.wgsl has belongs to the files that call it: libraries of the core are for all kernels. */
export const shaders: GpuKernels["shaders"] = {
  packed: reading("product"),
  "packed-blocks": reading("blocks"),
  "packed-rows": reading("rows"),
};

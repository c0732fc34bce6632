/**
 * @file Products of few rows that read one input, in one dispatch (kernels/several/): loaded by the first plan that writes text, behind the
 * parts whose kernels it names.
 */
import files from "#shaders-several";
import type { GpuKernels } from "../dispatch.ts";
import { DENSE, PACKED } from "../encode/families.ts";
import { joinProducts, productsOf } from "../encode/several.ts";

export const encoders: GpuKernels["encoders"] = { [PACKED.several]: productsOf(PACKED), [DENSE.several]: productsOf(DENSE) };
export const joins: GpuKernels["joins"] = [joinProducts(PACKED), joinProducts(DENSE)];

/** Those that there are, with `several` in the file of packed products, whose functions it calls. */
export const shadersWith = (shaders: GpuKernels["shaders"]): GpuKernels["shaders"] => ({
  ...("packed" in shaders && { packed: `${shaders.packed}\n${files.normal}\n${files.packed}` }),
  dense: `${files.normal}\n${files.dense}`,
});

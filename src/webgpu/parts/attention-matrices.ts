/**
 * @file Attention by subgroup matrices (kernels/attention-matrices/): loaded by the first plan with attention on an adapter that has them,
 * with `precision: "mixed"`, after the part of attention.
 */
import files from "#shaders-attention-matrices";
import type { GpuKernels } from "../dispatch.ts";
import { attentionWithMatrices } from "../encode/attention-matrices.ts";

const extended = (text: string): string => `${text}\n${files.attention}`;

/** The kernels of a plan, with attention by matrices where that suits. */
export const withMatrices = ({ encoders, shaders, ...others }: GpuKernels): GpuKernels => ({
  ...others,
  encoders: attentionWithMatrices(encoders),
  shaders: { ...shaders, attention: extended(shaders.attention), "attention-grad": extended(shaders["attention-grad"]) },
});

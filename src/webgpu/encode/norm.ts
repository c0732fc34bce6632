/** @file GPU encoders of layerNorm and its gradient (kernels/norm.wgsl). */
import type { LayerNormAttrs } from "../../plan/kernels.ts";
import type { GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { encodeRows } from "./softmax.ts";

export const layerNorm: GpuEncoder = (call, out) => {
  const attrs = call.attrs as unknown as LayerNormAttrs;
  const [x, gamma, beta] = call.inputs.map(read);
  const [y, mean, rstd] = call.outputs.map(write);
  const constants = {
    EPSILON: Math.fround(attrs.epsilon), CENTERED: attrs.centered, HAS_GAMMA: gamma !== null, HAS_BETA: beta !== null, HAS_MEAN: mean !== null, HAS_RSTD: rstd !== null,
  };
  encodeRows(out, "norm", "layerNorm", attrs, constants, [y, x, gamma, beta, mean, rstd]);
};

export const layerNormGrad: GpuEncoder = (call, out) => {
  const attrs = call.attrs as unknown as LayerNormAttrs;
  const [dy, x, gamma, mean, rstd] = call.inputs.map(read);
  encodeRows(out, "norm", "layerNormGrad", attrs, { CENTERED: attrs.centered, HAS_GAMMA: gamma !== null }, [write(call.outputs[0]), x, gamma, dy, mean, rstd]);
};

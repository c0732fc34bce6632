/** @file GPU encoders of layerNorm and its gradient (kernels/norm.wgsl). */
import type { LayerNormAttrs } from "../../plan/kernels.ts";
import type { GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { rowLayout } from "./softmax.ts";

export const layerNorm: GpuEncoder = (call, out) => {
  const { rows, cols, epsilon, centered } = call.attrs as unknown as LayerNormAttrs;
  if (rows * cols === 0) return;
  const { lanes, groups } = rowLayout(rows, cols);
  const [x, gamma, beta] = call.inputs.map(read);
  const [y, mean, rstd] = call.outputs.map(write);
  const constants = {
    ROWS: rows, COLS: cols, LANES: lanes, EPSILON: Math.fround(epsilon), CENTERED: centered, HAS_GAMMA: gamma !== null, HAS_BETA: beta !== null,
    HAS_MEAN: mean !== null, HAS_RSTD: rstd !== null,
  };
  out.dispatch({ file: "norm", entry: "layerNorm", constants }, [y, x, gamma, beta, mean, rstd], groups);
};

export const layerNormGrad: GpuEncoder = (call, out) => {
  const { rows, cols, centered } = call.attrs as unknown as LayerNormAttrs;
  if (rows * cols === 0) return;
  const { lanes, groups } = rowLayout(rows, cols);
  const [dy, x, gamma, mean, rstd] = call.inputs.map(read);
  const constants = { ROWS: rows, COLS: cols, LANES: lanes, CENTERED: centered, HAS_GAMMA: gamma !== null };
  out.dispatch({ file: "norm", entry: "layerNormGrad", constants }, [write(call.outputs[0]), x, gamma, dy, mean, rstd], groups);
};

/** @file GPU encoders of layerNorm and its gradient (kernels/norm.wgsl). */
import type { LayerNormAttrs } from "../../plan/kernels.ts";
import type { Attrs, Call, MapBody, Operand } from "../../plan/plan.ts";
import type { GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { reduce } from "./reduce.ts";
import { rowLayout } from "./softmax.ts";

/** dy * (x - mean) * rstd */
const gammaBody = (rows: number, cols: number): MapBody => ({
  space: [rows, cols],
  strides: [[cols, 1], [cols, 1], [1, 0], [1, 0]],
  steps: [["sub", 1, 2], ["mul", 4, 3], ["mul", 0, 5]].map(([op, ...args]) => ({ op: op as string, args: args as number[], dtype: "f32" })),
  results: [6],
});

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
  const columnSum = (inputs: Call["inputs"], y: Operand | null, body: MapBody | null): void => {
    if (y !== null) reduce({ ...call, inputs, outputs: [y], attrs: { op: "sum", outer: 1, size: rows, inner: cols, body } as unknown as Attrs }, out);
  };
  const [dyIn, xIn, , meanIn, rstdIn] = call.inputs;
  columnSum([dyIn, xIn, meanIn, rstdIn], call.outputs[1], gammaBody(rows, cols));
  columnSum([dyIn], call.outputs[2], null);
  if (rows * cols === 0) return;
  const { lanes, groups } = rowLayout(rows, cols);
  const [dy, x, gamma, mean, rstd] = call.inputs.map(read);
  const constants = { ROWS: rows, COLS: cols, LANES: lanes, CENTERED: centered, HAS_GAMMA: gamma !== null };
  out.dispatch({ file: "norm", entry: "layerNormGrad", constants }, [write(call.outputs[0]), x, gamma, dy, mean, rstd], groups);
};

/** @file GPU encoders of layerNorm and its gradient (kernels/norm.wgsl). */
import type { LayerNormAttrs } from "../../plan/kernels.ts";
import type { Attrs } from "../../op.ts";
import type { Call, MapBody, Operand } from "../../plan/plan.ts";
import type { GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { reduce } from "./reduce.ts";
import { encodeRows } from "./softmax.ts";

/** dy * (x - mean) * rstd */
const gammaBody = (rows: number, cols: number): MapBody => ({
  space: [rows, cols],
  strides: [[cols, 1], [cols, 1], [1, 0], [1, 0]],
  steps: [["sub", 1, 2], ["mul", 4, 3], ["mul", 0, 5]].map(([op, ...args]) => ({ op: op as string, args: args as number[], dtype: "f32" })),
  results: [6],
});

export const layerNorm: GpuEncoder = (call, out) => {
  const attrs = call.attrs as unknown as LayerNormAttrs;
  const [x, gamma, beta] = call.inputs.map(read);
  const [y, mean, rstd] = call.outputs.map(write);
  const constants = {
    EPSILON: Math.fround(attrs.epsilon),
    CENTERED: attrs.centered,
    HAS_GAMMA: gamma !== null,
    HAS_BETA: beta !== null,
    HAS_MEAN: mean !== null,
    HAS_RSTD: rstd !== null,
  };
  encodeRows(out, "norm", "layerNorm", attrs, constants, [y, x, gamma, beta, mean, rstd]);
};

export const layerNormGrad: GpuEncoder = (call, out) => {
  const attrs = call.attrs as unknown as LayerNormAttrs;
  const { rows, cols } = attrs;
  const columnSum = (inputs: Call["inputs"], y: Operand | null, body: MapBody | null): void => {
    if (y !== null)
      reduce({ ...call, inputs, outputs: [y], attrs: { op: "sum", outer: 1, size: rows, inner: cols, body } as unknown as Attrs }, out);
  };
  const [dyIn, xIn, , meanIn, rstdIn] = call.inputs;
  columnSum([dyIn, xIn, meanIn, rstdIn], call.outputs[1], gammaBody(rows, cols));
  columnSum([dyIn], call.outputs[2], null);
  const [dy, x, gamma, mean, rstd] = call.inputs.map(read);
  encodeRows(out, "norm", "layerNormGrad", attrs, { CENTERED: attrs.centered, HAS_GAMMA: gamma !== null }, [
    write(call.outputs[0]),
    x,
    gamma,
    dy,
    mean,
    rstd,
  ]);
};

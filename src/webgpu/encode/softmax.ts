/** @file GPU encoders of softmax, logSoftmax and their gradients (kernels/softmax.wgsl). */
import type { SoftmaxAttrs } from "../../plan/kernels.ts";
import type { Constants, GpuEncoder, GpuFeatures, Hooks } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";

/** Invocations of a workgroup. */
const THREADS = 256;
/** Elements that one invocation should at least have. */
const ELEMENTS = 4;

/** How rows are shared out: `lanes` invocations for each, a power of two, and as many rows as fit into a workgroup. */
export function rowLayout(rows: number, cols: number): { lanes: number; groups: number } {
  let lanes = 1;
  while (lanes < THREADS && lanes * ELEMENTS < cols) lanes *= 2;
  return { lanes, groups: Math.ceil((rows * lanes) / THREADS) };
}

/** How the invocations of a row join what they have. */
export function joins({ subgroupSize }: GpuFeatures): { readonly hooks: Hooks; readonly constants: Constants } {
  if (subgroupSize === 0) return { hooks: { join_max: "tree_max", join_sum: "tree_sum" }, constants: {} };
  return { hooks: { join_max: "subgroup_max", join_sum: "subgroup_sum" }, constants: { SUBGROUP_SIZE: subgroupSize } };
}

function rowwise(entry: string): GpuEncoder {
  return (call, out) => {
    const { rows, cols } = call.attrs as unknown as SoftmaxAttrs;
    if (rows * cols === 0) return;
    const { lanes, groups } = rowLayout(rows, cols);
    const { hooks, constants } = joins(out.features);
    out.dispatch({ file: "softmax", entry, constants: { ...constants, ROWS: rows, COLS: cols, LANES: lanes }, hooks }, [write(call.outputs[0]), ...call.inputs.map(read)], groups);
  };
}

export const softmax = rowwise("softmax");
export const logSoftmax = rowwise("logSoftmax");
export const softmaxGrad = rowwise("softmaxGrad");
export const logSoftmaxGrad = rowwise("logSoftmaxGrad");

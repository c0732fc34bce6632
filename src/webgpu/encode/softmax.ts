/** @file GPU encoders of softmax, logSoftmax and their gradients (kernels/softmax.wgsl). */
import type { SoftmaxAttrs } from "../../plan/kernels.ts";
import type { Bound, Constants, DispatchWriter, GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";

/** Invocations of a workgroup. */
const THREADS = 256;
/** Elements that one invocation should at least have. */
const ELEMENTS = 4;

/**
 * Writes the dispatch of a kernel whose rows are shared as kernels/rows.wgsl says: `lanes` invocations for each, a power of two, and as
 * many rows as fit into a workgroup.
 */
export function encodeRows(
  out: DispatchWriter,
  file: string,
  entry: string,
  { rows, cols }: { rows: number; cols: number },
  constants: Constants,
  buffers: readonly (Bound | null)[],
): void {
  if (rows * cols === 0) return;
  let lanes = 1;
  while (lanes < THREADS && lanes * ELEMENTS < cols) lanes *= 2;
  const { subgroupSize } = out.features;
  const join = subgroupSize === 0 ? "tree" : "subgroup";
  out.dispatch(
    {
      file,
      entry,
      constants: { ...constants, ROWS: rows, COLS: cols, LANES: lanes, SUBGROUP_SIZE: subgroupSize },
      hooks: { join_max: `${join}_max`, join_sum: `${join}_sum` },
    },
    buffers,
    Math.ceil((rows * lanes) / THREADS),
  );
}

const rowwise =
  (entry: string): GpuEncoder =>
  (call, out) =>
    encodeRows(out, "softmax", entry, call.attrs as unknown as SoftmaxAttrs, {}, [write(call.outputs[0]), ...call.inputs.map(read)]);

export const softmax = rowwise("softmax");
export const logSoftmax = rowwise("logSoftmax");
export const softmaxGrad = rowwise("softmaxGrad");
export const logSoftmaxGrad = rowwise("logSoftmaxGrad");

/** @file GPU encoder of softmaxCrossEntropy (kernels/softmax.wgsl). */
import type { SoftmaxCrossEntropyAttrs } from "../../plan/kernels.ts";
import type { GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { joins, rowLayout } from "./softmax.ts";

/** Of kernels/move.wgsl. */
const FILL_THREADS = 64;

export const softmaxCrossEntropy: GpuEncoder = (call, out) => {
  const { rows, cols, sparse } = call.attrs as unknown as SoftmaxCrossEntropyAttrs;
  const [loss, probs] = call.outputs.map(write);
  if (rows * cols === 0) {
    // A row of no classes loses nothing.
    if (rows > 0 && loss !== null) out.dispatch({ file: "move", entry: "fill", constants: { COUNT: rows, VALUE: 0 } }, [loss], Math.ceil(rows / FILL_THREADS));
    return;
  }
  const { lanes, groups } = rowLayout(rows, cols);
  const { hooks, constants } = joins(out.features);
  const shape = { ROWS: rows, COLS: cols, LANES: lanes, SPARSE: sparse, HAS_LOSS: loss !== null, HAS_PROBS: probs !== null };
  out.dispatch({ file: "softmax", entry: "softmaxCrossEntropy", constants: { ...constants, ...shape }, hooks }, [loss, ...call.inputs.map(read), probs], groups);
};

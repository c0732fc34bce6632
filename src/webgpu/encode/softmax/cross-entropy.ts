/** @file GPU encoder of softmaxCrossEntropy (kernels/softmax.wgsl). */
import type { SoftmaxCrossEntropyAttrs } from "../../../plan/kernels.ts";
import type { GpuEncoder } from "../../dispatch.ts";
import { read, write } from "../../dispatch.ts";
import { fillWith } from "../move.ts";
import { encodeRows } from "../softmax.ts";

export const softmaxCrossEntropy: GpuEncoder = (call, out) => {
  const attrs = call.attrs as unknown as SoftmaxCrossEntropyAttrs;
  const [loss, probs] = call.outputs;
  // A row of no classes loses nothing.
  if (attrs.cols === 0 && loss !== null) fillWith(loss, 0, out);
  encodeRows(out, "softmax", "softmaxCrossEntropy", attrs, { SPARSE: attrs.sparse, HAS_LOSS: loss !== null, HAS_PROBS: probs !== null }, [
    write(loss),
    ...call.inputs.map(read),
    write(probs),
  ]);
};

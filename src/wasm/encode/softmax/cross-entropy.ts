/** @file Encoder of softmaxCrossEntropy (assembly/softmax/cross-entropy.ts). */
import type { SoftmaxCrossEntropyAttrs } from "../../../plan/kernels.ts";
import { SOFTMAX_CROSS_ENTROPY } from "../../opcodes.ts";
import type { Encoder } from "../../writer.ts";
import { read, write } from "../../writer.ts";
import { split } from "../move.ts";

/** Steps an element costs: four passes, one with an exponential. */
const ELEMENT_WORK = 10;

export const softmaxCrossEntropy: Encoder = (call, out) => {
  const { rows, cols, sparse } = call.attrs as unknown as SoftmaxCrossEntropyAttrs;
  const { pieces, perPiece } = split(rows, cols * ELEMENT_WORK);
  if (pieces === 0) return;
  out.command(SOFTMAX_CROSS_ENTROPY, pieces, [
    read(call.inputs[0]),
    read(call.inputs[1]),
    write(call.outputs[0]),
    write(call.outputs[1]),
    rows,
    cols,
    sparse ? 1 : 0,
    perPiece,
  ]);
};

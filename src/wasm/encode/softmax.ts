/** @file Encoders of softmax, logSoftmax and their gradients (assembly/softmax.ts). */
import type { SoftmaxAttrs } from "../../plan/kernels.ts";
import { LOG_SOFTMAX, LOG_SOFTMAX_GRAD, SOFTMAX, SOFTMAX_GRAD } from "../opcodes.ts";
import type { Encoder } from "../writer.ts";
import { read, write } from "../writer.ts";
import { split } from "./move.ts";

/** Steps an element costs: three passes, one with an exponential. */
const ELEMENT_WORK = 8;

function rowwise(opcode: number): Encoder {
  return (call, out) => {
    const { rows, cols } = call.attrs as unknown as SoftmaxAttrs;
    if (rows * cols === 0) return;
    const { pieces, perPiece } = split(rows, cols * ELEMENT_WORK);
    out.command(opcode, pieces, [...call.inputs.map(read), write(call.outputs[0]), rows, cols, perPiece]);
  };
}

export const softmax = rowwise(SOFTMAX);
export const logSoftmax = rowwise(LOG_SOFTMAX);
export const softmaxGrad = rowwise(SOFTMAX_GRAD);
export const logSoftmaxGrad = rowwise(LOG_SOFTMAX_GRAD);

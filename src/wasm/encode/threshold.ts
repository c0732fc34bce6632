/** @file Encoder of massThreshold (assembly/threshold.ts). */
import type { MassThresholdAttrs } from "../../plan/kernels.ts";
import { MASS_THRESHOLD } from "../opcodes.ts";
import type { Encoder } from "../writer.ts";
import { read, write } from "../writer.ts";
import { split } from "./move.ts";

/** Steps an element costs: some twenty sums. */
const ELEMENT_WORK = 32;

/** `massThreshold(x, weights?, mass) -> y` */
export const massThreshold: Encoder = (call, out) => {
  const { rows, cols, shared } = call.attrs as unknown as MassThresholdAttrs;
  if (rows === 0) return;
  const { pieces, perPiece } = split(rows, cols * ELEMENT_WORK);
  out.command(MASS_THRESHOLD, pieces, [...call.inputs.map(read), write(call.outputs[0]), rows, cols, Number(shared), perPiece]);
};

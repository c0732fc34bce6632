/** @file Encoders of layerNorm and its gradient (assembly/norm.ts). */
import type { LayerNormAttrs } from "../../plan/kernels.ts";
import { LAYER_NORM, LAYER_NORM_GRAD } from "../opcodes.ts";
import type { Encoder } from "../writer.ts";
import { f32Word, read, write } from "../writer.ts";
import { split } from "./move.ts";

/** Steps an element costs: three passes. */
const ELEMENT_WORK = 4;

export const layerNorm: Encoder = (call, out) => {
  const { rows, cols, epsilon, centered } = call.attrs as unknown as LayerNormAttrs;
  if (rows * cols === 0) return;
  const { pieces, perPiece } = split(rows, cols * ELEMENT_WORK);
  out.command(LAYER_NORM, pieces, [...call.inputs.map(read), ...call.outputs.map(write), rows, cols, f32Word(epsilon), Number(centered), perPiece]);
};

export const layerNormGrad: Encoder = (call, out) => {
  const { rows, cols, centered } = call.attrs as unknown as LayerNormAttrs;
  if (rows * cols === 0) return;
  const { pieces, perPiece } = split(rows, cols * ELEMENT_WORK);
  out.command(LAYER_NORM_GRAD, pieces, [...call.inputs.map(read), write(call.outputs[0]), rows, cols, Number(centered), perPiece]);
};

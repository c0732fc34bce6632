/** @file Encoders of layerNorm and its gradient (assembly/norm.ts). */
import type { LayerNormAttrs } from "../../plan/kernels.ts";
import { LAYER_NORM, LAYER_NORM_GRAD } from "../opcodes.ts";
import type { Encoder, Ref } from "../writer.ts";
import { at, f32Word, read, write } from "../writer.ts";
import { split } from "./move.ts";
import { columnSum } from "./reduce.ts";

/** Steps an element costs: two passes. */
const ELEMENT_WORK = 4;

export const layerNorm: Encoder = (call, out) => {
  const { rows, cols, epsilon, centered } = call.attrs as unknown as LayerNormAttrs;
  if (rows * cols === 0) return;
  const { pieces, perPiece } = split(rows, cols * ELEMENT_WORK);
  out.command(LAYER_NORM, pieces, [
    ...call.inputs.map(read),
    ...call.outputs.map(write),
    rows,
    cols,
    f32Word(epsilon),
    Number(centered),
    perPiece,
  ]);
};

export const layerNormGrad: Encoder = (call, out) => {
  const { rows, cols, centered } = call.attrs as unknown as LayerNormAttrs;
  if (cols === 0) return;
  const { pieces, perPiece } = split(rows, cols * ELEMENT_WORK);
  const [dx, ...sums] = call.outputs;
  const bytes = 4 * pieces * cols;
  // Each piece's sums, of dgamma and then of dbeta.
  const parts = out.shared(2 * bytes || 4);
  out.command(LAYER_NORM_GRAD, pieces, [...call.inputs.map(read), write(dx), parts.write, rows, cols, Number(centered), perPiece, bytes]);
  sums.forEach((y, i) => {
    if (y !== null) columnSum(out, y, { ...(at(parts.read, i * bytes) as Ref), bytes }, pieces, cols);
  });
};

/** @file Calls the kernels of layer normalization: a part of the kernels that applications without it do not download. */
import * as O from "../../src/wasm/opcodes";
import { layerNorm, layerNormGrad } from "../norm";

export function call(op: u32, c: usize, piece: u32, scratch: usize): void {
  switch (op) {
    case O.LAYER_NORM:
      layerNorm(c, piece, scratch);
      break;
    case O.LAYER_NORM_GRAD:
      if (TRAINING) layerNormGrad(c, piece, scratch);
      else unreachable();
      break;
    default:
      unreachable();
  }
}

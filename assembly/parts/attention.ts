/** @file Calls the kernels of transformers: a part of the kernels that applications without such layers do not download. */
import * as O from "../../src/wasm/opcodes";
import { attention } from "../attention/forward";
import { attentionGrad } from "../attention/grad";
import { attentionRows } from "../attention/rows";
import { rotary } from "../rotary";
import { scatterUpdate } from "../scatter";
import { massThreshold } from "../threshold";

export function call(op: u32, c: usize, piece: u32, scratch: usize): void {
  switch (op) {
    case O.ROTARY:
      rotary(c, piece, scratch);
      break;
    case O.SCATTER_UPDATE:
      scatterUpdate(c, piece, scratch);
      break;
    case O.MASS_THRESHOLD:
      massThreshold(c, piece, scratch);
      break;
    case O.ATTENTION:
      attention(c, piece, scratch);
      break;
    case O.ATTENTION_ROWS:
      attentionRows(c, piece, scratch);
      break;
    case O.ATTENTION_GRAD:
      if (TRAINING) attentionGrad(c, piece, scratch);
      else unreachable();
      break;
    default:
      unreachable();
  }
}

/** @file Calls the kernels of weights in few bits: a part of the kernels that applications without such weights do not download. */
import * as O from "../../src/wasm/opcodes";
import { packedMatmul } from "../packed";
import { packedDots } from "../packed/halves";
import { quantize } from "../packed/quantize";
import { packedRows, unpack } from "../packed/unpack";

export function call(op: u32, c: usize, piece: u32, scratch: usize): void {
  switch (op) {
    case O.PACKED_QUANTIZE:
      quantize(c, piece, scratch);
      break;
    case O.PACKED_MATMUL:
      packedMatmul(c, piece, scratch);
      break;
    case O.PACKED_DOTS:
      packedDots(c, piece, scratch);
      break;
    case O.PACKED_ROWS:
      packedRows(c, piece, scratch);
      break;
    case O.UNPACK:
      unpack(c, piece, scratch);
      break;
    default:
      unreachable();
  }
}

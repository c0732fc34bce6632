/** @file Calls the kernels of convolutional networks: a part of the kernels that applications without such layers do not download. */
import * as O from "../../src/wasm/opcodes";
import { conv2d, conv2dFilterGrad } from "../conv";
import { conv2dDepthwise } from "../conv/depthwise";
import { conv2dNarrow } from "../conv/narrow";
import { conv2dNarrowFilterGrad } from "../conv/narrow-grad";
import { avgPool, avgPoolGrad, maxPool, maxPoolGrad } from "../pool";
import { winograd, winogradFilters } from "../conv/winograd";
import { winogradFilterGrad, winogradInputGrad, winogradTiles } from "../conv/winograd-grad";

export function call(op: u32, c: usize, piece: u32, scratch: usize): void {
  switch (op) {
    case O.CONV2D:
      conv2d(c, piece, scratch);
      break;
    case O.CONV2D_FILTER_GRAD:
      if (TRAINING) conv2dFilterGrad(c, piece, scratch);
      else unreachable();
      break;
    case O.CONV2D_DEPTHWISE:
      conv2dDepthwise(c, piece, scratch);
      break;
    case O.CONV2D_NARROW:
      conv2dNarrow(c, piece, scratch);
      break;
    case O.CONV2D_NARROW_FILTER_GRAD:
      if (TRAINING) conv2dNarrowFilterGrad(c, piece, scratch);
      else unreachable();
      break;
    case O.WINOGRAD:
      winograd(c, piece, scratch);
      break;
    case O.WINOGRAD_FILTERS:
      winogradFilters(c, piece, scratch);
      break;
    case O.WINOGRAD_INPUT_GRAD:
      if (TRAINING) winogradInputGrad(c, piece, scratch);
      else unreachable();
      break;
    case O.WINOGRAD_TILES:
      if (TRAINING) winogradTiles(c, piece, scratch);
      else unreachable();
      break;
    case O.WINOGRAD_FILTER_GRAD:
      if (TRAINING) winogradFilterGrad(c, piece, scratch);
      else unreachable();
      break;
    case O.MAX_POOL:
      maxPool(c, piece, scratch);
      break;
    case O.MAX_POOL_GRAD:
      if (TRAINING) maxPoolGrad(c, piece, scratch);
      else unreachable();
      break;
    case O.AVG_POOL:
      avgPool(c, piece, scratch);
      break;
    case O.AVG_POOL_GRAD:
      if (TRAINING) avgPoolGrad(c, piece, scratch);
      else unreachable();
      break;
    default:
      unreachable();
  }
}

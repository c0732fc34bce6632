/** @file Convolutions, pools and changes of size: loaded when a graph has one of these operators. */
import { tableOf } from "../call.ts";
import type { Domains } from "../call.ts";
import { CONVOLUTION, CONVOLUTION_MICROSOFT } from "../ops/convolution.ts";
import { POOLING, POOLING_MICROSOFT } from "../ops/pooling.ts";
import { RESIZE } from "../ops/resize.ts";

export const operators: Domains = {
  "": tableOf(CONVOLUTION, POOLING, RESIZE),
  "com.microsoft": tableOf(CONVOLUTION_MICROSOFT, POOLING_MICROSOFT),
};

/** @file Computing with integers in the place of floats: loaded when a graph has one of these operators. */
import { tableOf } from "../call.ts";
import type { Domains } from "../call.ts";
import { MICROSOFT_QUANTIZATION, QUANTIZATION } from "../ops/quantization.ts";
import { QUANTIZED, QUANTIZED_MICROSOFT } from "../ops/quantized.ts";

export const operators: Domains = {
  "": tableOf(QUANTIZATION, QUANTIZED),
  "com.microsoft": tableOf(MICROSOFT_QUANTIZATION, QUANTIZED_MICROSOFT),
};

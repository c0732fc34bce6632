/** @file What language models have, and what optimizers fuse in them: loaded when a graph has one of these operators. */
import { tableOf } from "../call.ts";
import type { Domains } from "../call.ts";
import { ATTENTION, ATTENTION_PREVIEW } from "../ops/attention.ts";
import { ATTENTION_MICROSOFT } from "../ops/contrib.ts";
import { EINSUM } from "../ops/einsum.ts";
import { FUSED_MICROSOFT } from "../ops/fused.ts";
import { PACKED_MICROSOFT } from "../ops/packed.ts";

export const operators: Domains = {
  "": tableOf(ATTENTION, EINSUM),
  "com.microsoft": tableOf(ATTENTION_MICROSOFT, PACKED_MICROSOFT, FUSED_MICROSOFT),
  "ai.onnx.preview": ATTENTION_PREVIEW,
};

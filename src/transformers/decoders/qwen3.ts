/** @file Qwen 3 (Yang et al. 2025, arXiv 2505.09388): Llama with normalized queries and keys, and heads of a size of their own. */
import { decoder } from "../decoder.ts";
import { qwenWindows } from "../qwen.ts";

export default decoder({
  attentionBias: (config) => {
    const useBias = config.flag("attention_bias", false);
    return { useBias, useOutputBias: useBias };
  },
  queryKeyNorm: true,
  headDim: 128,
  windows: qwenWindows,
});

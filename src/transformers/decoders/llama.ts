/** @file Llama (Touvron et al. 2023, arXiv 2302.13971), 1 to 3. */
import { decoder } from "../decoder.ts";

export default decoder({
  attentionBias: (config) => {
    const useBias = config.flag("attention_bias", false);
    return { useBias, useOutputBias: useBias };
  },
  mlpBias: (config) => config.flag("mlp_bias", false),
  windows: (_config, layers) => new Array<null>(layers).fill(null),
});

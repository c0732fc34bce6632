/** @file Mistral (Jiang et al. 2023, arXiv 2310.06825): Llama whose layers may see a window of earlier tokens only. */
import { decoder, windowsOfTypes } from "../decoder.ts";

export default decoder({
  attentionBias: () => ({ useBias: false, useOutputBias: false }),
  windows: (config, layers) => {
    if (config.has("layer_types")) return windowsOfTypes(config, layers, () => config.count("sliding_window"));
    return new Array<number | null>(layers).fill(config.has("sliding_window") ? config.count("sliding_window") : null);
  },
});

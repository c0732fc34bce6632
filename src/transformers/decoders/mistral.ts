/** @file Mistral (Jiang et al. 2023, arXiv 2310.06825): Llama whose layers may see a window of earlier tokens only. */
import { decoder, slidingWindow, windowsOfTypes } from "../decoder.ts";

export default decoder({
  attentionBias: () => ({ useBias: false, useOutputBias: false }),
  windows: (config, layers) => {
    const window = slidingWindow(config);
    const types = config.has("layer_types") ? windowsOfTypes(config, layers, window) : [];
    // Transformers sees by sliding_window alone.
    if (types.some((w) => w !== window)) throw config.fault("layer_types", "that of sliding_window for all layers");
    return new Array<number | null>(layers).fill(window);
  },
});

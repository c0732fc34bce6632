/** @file Qwen 2 and 2.5 (Yang et al. 2024, arXiv 2407.10671): Llama with biases of queries, keys and values. */
import { decoder } from "../decoder.ts";
import { qwenWindows } from "../qwen.ts";

export default decoder({ attentionBias: () => ({ useBias: true, useOutputBias: false }), windows: qwenWindows });

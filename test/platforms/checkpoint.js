/** @file What is the same in every runtime of a checkpoint: ids of a text, and the text that the model writes. */
import { loadPretrained } from "../../build/esm/transformers/index.js";

/** Loads from `source` and writes `maxTokens` tokens behind each prompt. `options`: those of loadPretrained. */
export async function written(source, prompts, maxTokens, options = {}) {
  const lm = await loadPretrained(source, options);
  const out = [];
  for (const prompt of prompts) {
    const tokens = { encoded: lm.tokenizer.encode(prompt), ids: [], text: "" };
    for await (const { id, text } of lm.generate(prompt, { maxTokens })) {
      tokens.ids.push(id);
      tokens.text += text;
    }
    out.push(tokens);
  }
  return out;
}

/** @file Opens a checkpoint that is beside the page, in 4 bits, and writes. Parts of the library are loaded while it does. */
import { open } from "lockstep/inference";
import { loadPretrained } from "lockstep/inference/transformers";

export async function run(_, folder = `${globalThis.location?.origin}/test/models/llama/stories260K`) {
  const files = Object.fromEntries(["config.json", "model.safetensors"].map((name) => [name, `${folder}/${name}`]));
  await open("wasm", { reproducible: true, threads: 1 });
  const lm = await loadPretrained(files, { weights: "q4", task: "text-generation" });
  const ids = [];
  for await (const { id } of lm.generate([1], { maxTokens: 12 })) ids.push(id);
  return { ids };
}

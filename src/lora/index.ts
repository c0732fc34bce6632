/**
 * @file LoRA: models are fine-tuned by low-rank adapters, beside weights that stay as they are.
 * @module lockstep/lora
 */
export { loadLora, lora } from "./lora.ts";
export type { LoadLoraOptions, Lora, LoraOptions } from "./lora.ts";
export type { LoraModule, LoraTarget } from "./projections.ts";
export type { AdapterSource } from "./files.ts";

/** @file Llama's family: architectures that differ in a few lines are one file to load. */
export { default as llama } from "../decoders/llama.ts";
export { default as mistral } from "../decoders/mistral.ts";
export { default as qwen2 } from "../decoders/qwen2.ts";
export { default as qwen3 } from "../decoders/qwen3.ts";

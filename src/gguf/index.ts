/**
 * @file The GGUF format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): files of models for llama.cpp.
 * @module lockstep/gguf
 */
export { dequantize, openGguf } from "./read.ts";
export type { GgufFile, GgufInfo, GgufValue } from "./read.ts";
export type { RangeSource } from "../io/ranges.ts";
export type { ModelSource } from "../io/source.ts";

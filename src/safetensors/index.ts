/**
 * @file The safetensors format (https://huggingface.co/docs/safetensors): files of named tensors, of any program.
 * @module lockstep/safetensors
 */
export { openSafetensors, readSafetensors } from "./read.ts";
export type { RawSafeTensor, Safetensors, SafetensorsFile, SafetensorsInfo, SafetensorsOptions, SafeTensor } from "./read.ts";
export { writeSafetensors } from "./write.ts";
export type { WritableTensor } from "./write.ts";
export type { SafetensorsDType } from "./dtypes.ts";
export type { RangeSource } from "../io/ranges.ts";
export type { ModelSource } from "../io/source.ts";

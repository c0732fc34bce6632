/**
 * @file Models of ONNX.
 * @module lockstep/onnx
 */
export { loadOnnx } from "./load.ts";
export type { LoadOnnxOptions } from "./load.ts";
export { OnnxModel } from "./model.ts";
export type { NamedTensors, OnnxValue } from "./model.ts";
export type { ElementType } from "./types.ts";
export { saveOnnx } from "./save.ts";
export type { SaveOnnxOptions } from "./export/options.ts";

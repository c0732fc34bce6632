/**
 * @file Models of Keras and TensorFlow.js.
 * @module lockstep/keras
 */
export { loadKeras } from "./load.ts";
export type { LoadKerasOptions } from "./load.ts";
export { saveKeras } from "./save.ts";
export type { SaveKerasOptions } from "./save.ts";
export { loadTfjs, saveTfjs } from "./tfjs.ts";
export type { LoadTfjsOptions, TfjsFiles } from "./tfjs.ts";
export type { ModelFiles } from "./files.ts";

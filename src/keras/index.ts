/**
 * @file Models of Keras and TensorFlow.js.
 * @module lockstep/keras
 */
export { loadKeras } from "./load.ts";
export type { LoadKerasOptions } from "./load.ts";
export { loadTfjs } from "./tfjs.ts";
export type { LoadTfjsOptions, TfjsFiles } from "./tfjs.ts";
export { saveKeras, saveTfjs } from "./write.ts";
export type { SaveKerasOptions } from "./options.ts";
export type { ModelFiles } from "./files.ts";

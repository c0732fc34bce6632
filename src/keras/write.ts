/** @file Writing files. What that takes is loaded by the first one. */
import type { Model } from "../index.ts";
import type { SaveKerasOptions } from "./options.ts";
import { part } from "./part.ts";

/**
 * Writes a model as a `.keras` archive, which Keras 3 opens and `loadKeras` reads: its layers, how they call each other, weights and, where
 * it is compiled, what training needs to go on. A model that is a function is traced: what it computes must be layers.
 * @throws ArgumentError for layers, options, losses, metrics and optimizers that Keras has not, each by its name, and for what is computed
 * between layers; LockstepError for a model that is not built
 */
export async function saveKeras(model: Model, options: SaveKerasOptions = {}): Promise<Uint8Array> {
  return (await part("saveKeras", import("./parts/save.ts"))).writeKeras(model, options);
}

/**
 * Writes a model as the files of a layers model, which TensorFlow.js opens and `loadTfjs` reads: layers, how they call each other, and
 * weights. A model that is a function is traced: what it computes must be layers.
 * @returns bytes by file name
 * @throws ArgumentError for layers and options that TensorFlow.js has not, or computes otherwise, each by its name, and for what is
 * computed between layers; LockstepError for a model that is not built
 */
export async function saveTfjs(model: Model): Promise<{ "model.json": Uint8Array; "weights.bin": Uint8Array }> {
  return (await part("saveTfjs", import("./parts/save.ts"))).writeTfjs(model);
}

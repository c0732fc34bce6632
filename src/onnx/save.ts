/** @file Writing a file. What that takes is loaded by the first one. */
import type { AnyModel, SaveOnnxOptions } from "./export/options.ts";

/**
 * `model` as a file of ONNX (opset 18): what it predicts, with its weights in f32. Inputs and outputs have the shapes of `predict`, images
 * with channels last; an input that goes into an embedding alone is int32. Of a model that begins with texts what comes behind them is
 * written: its input is what the layer's `encode` gives.
 * @returns the bytes of the file
 * @throws ArgumentError naming the layer whose computation ONNX's operators cannot say, or for a model that is not built
 * @example await writeFile("model.onnx", await saveOnnx(net));
 */
export async function saveOnnx(model: AnyModel, options: SaveOnnxOptions = {}): Promise<Uint8Array> {
  return (await import("./export/write-onnx.ts")).writeModel(model, options);
}

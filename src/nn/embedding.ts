/** @file Vectors for indices. */
import { gather } from "../ops/gather.ts";
import { cast } from "../ops/map.ts";
import type { Layer } from "./layer.ts";
import { checkCount, layerOf } from "./options.ts";
import type { InitializerOption, NameOption } from "./options.ts";
import type { RegularizerOption } from "./regularizers.ts";

/** Options of `embedding`. */
export interface EmbeddingOptions extends NameOption {
  /** Default randomUniform, from -0.05 to 0.05. */
  readonly embeddingsInitializer?: InitializerOption;
  /** Default none. */
  readonly embeddingsRegularizer?: RegularizerOption;
}

/**
 * A learned vector for each index: i32 [...] -> [..., outputDim]. In an op by itself f32 indices are truncated and those outside
 * [0, inputDim) count as the nearest one inside; a model refuses such elements of its inputs with a DataError. Weights: embeddings [inputDim, outputDim].
 * @throws ArgumentError for sizes below 1 and unknown options
 */
export function embedding(inputDim: number, outputDim: number, options: EmbeddingOptions = {}): Layer {
  checkCount("embedding", "inputDim", inputDim);
  checkCount("embedding", "outputDim", outputDim);
  return layerOf<Required<EmbeddingOptions>>("embedding", { inputDim, outputDim }, { name: "", embeddingsInitializer: "randomUniform", embeddingsRegularizer: null }, options, () => ({
    build: (_shape, weight) => weight("embeddings", [inputDim, outputDim]),
    call: (x, { embeddings }) => gather(embeddings, cast(x, "i32")),
  }));
}

/** @file Vectors for indices. */
import type { HostArray } from "../dtype.ts";
import { DataError } from "../errors.ts";
import { gather } from "../ops/gather.ts";
import { cast, castOp, notEqual } from "../ops/map.ts";
import { reshape, reshapeOp } from "../ops/move.ts";
import type { Tensor } from "../tensor.ts";
import { context } from "./layer.ts";
import type { IndexCheck, Layer } from "./layer.ts";
import { checkCount, layerOf } from "./options.ts";
import { masked } from "./masks.ts";
import type { InitializerOption, NameOption } from "./options.ts";
import type { RegularizerOption } from "./regularizers.ts";

/** Options of `embedding`. */
export interface EmbeddingOptions extends NameOption {
  /** Default randomUniform, from -0.05 to 0.05. */
  readonly embeddingsInitializer?: InitializerOption;
  /** Default none. */
  readonly embeddingsRegularizer?: RegularizerOption;
  /** Index 0 is padding: its steps do not count in the layers behind, as in Keras. Default false. */
  readonly maskZero?: boolean;
}

/** Tensors whose elements have been found to be indices below a limit. */
const indices = new WeakMap<Tensor, { readonly data: HostArray; readonly limit: number }>();

/**
 * Kernels clamp an index, which would hide a vocabulary that is too small. @throws DataError naming the first element that is no index
 * below `limit`.
 */
const checkIndices: IndexCheck = async (who, t, limit) => {
  const data = t.host ?? (await t.data());
  const known = indices.get(t);
  if (known !== undefined && known.data === data && known.limit <= limit) return;
  const wrong = (data as Float32Array).findIndex((v) => !Number.isInteger(v) || v < 0 || v >= limit);
  if (wrong >= 0) {
    throw new DataError(
      `${who}: the embedding takes indices 0 to ${limit - 1}, got ${data[wrong]} in sample ` +
        `${Math.floor(wrong / (t.size / t.shape[0]))} (element ${wrong}); make its inputDim larger or replace the index`,
    );
  }
  indices.set(t, { data, limit });
};

/** The tensor whose elements `t` has. */
const source = (t: Tensor): Tensor =>
  t.node !== null && (t.node.op === reshapeOp || t.node.op === castOp) ? source(t.node.inputs[0] as Tensor) : t;

/** What `t` is another shape of. */
const given = (t: Tensor): Tensor => (t.node?.op === reshapeOp ? given(t.node.inputs[0] as Tensor) : t);

/**
 * A learned vector for each index: i32 [...] -> [..., outputDim]. In an op by itself f32 indices are truncated and those outside
 * [0, inputDim) count as the nearest one inside; a model refuses such elements of its inputs with a DataError. Weights: embeddings
 * [inputDim, outputDim].
 * @throws ArgumentError for sizes below 1 and unknown options
 */
export function embedding(inputDim: number, outputDim: number, options: EmbeddingOptions = {}): Layer {
  checkCount("embedding", "inputDim", inputDim);
  checkCount("embedding", "outputDim", outputDim);
  return layerOf<Required<EmbeddingOptions>>(
    "embedding",
    { inputDim, outputDim },
    { name: "", embeddingsInitializer: "randomUniform", embeddingsRegularizer: null, maskZero: false },
    options,
    ({ maskZero }) => ({
      build: (_shape, weight) => weight("embeddings", [inputDim, outputDim]),
      call: (x, { embeddings }) => {
        context().indexes?.(source(x), inputDim, checkIndices);
        const index = reshape(cast(given(x), "i32"), x.shape);
        return masked(gather(embeddings, index), maskZero ? notEqual(index, 0) : null);
      },
    }),
  );
}

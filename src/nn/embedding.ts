/** @file Vectors for indices, and the way back: how much a vector agrees with that of each index. */
import type { HostArray } from "../dtype.ts";
import { once } from "../cache.ts";
import { checkPositive } from "../check.ts";
import { ArgumentError, DataError, LockstepError } from "../errors.ts";
import { scope } from "../graph.ts";
import type { Attr } from "../op.ts";
import { gather } from "../ops/gather.ts";
import { cast, mul, notEqual, tanh } from "../ops/map.ts";
import { linear } from "../ops/matmul.ts";
import { toFloat } from "../ops/promote.ts";
import { reshape } from "../ops/move.ts";
import type { Tensor } from "../tensor.ts";
import { context } from "./layer.ts";
import type { Layer } from "./layer.ts";
import { checkCount, checkFeatures, checkRank, layerOf } from "./options.ts";
import { maskOf, masked } from "./masks.ts";
import type { InitializerOption, NameOption } from "./options.ts";
import type { RegularizerOption } from "./regularizers.ts";
import { given, source } from "./sources.ts";

/** Options of `embedding`. */
export interface EmbeddingOptions extends NameOption {
  /** Default randomUniform, from -0.05 to 0.05. */
  readonly embeddingsInitializer?: InitializerOption;
  /** Default none. */
  readonly embeddingsRegularizer?: RegularizerOption;
  /** Index 0 is padding: its steps do not count in the layers behind, as in Keras. Default false. */
  readonly maskZero?: boolean;
}

/** A layer of vectors for indices. */
export interface EmbeddingLayer extends Layer {
  /**
   * The products of x [batch, ..., outputDim] with the vector of each index, [batch, ..., inputDim]: logits of a head whose weights are the
   * embeddings themselves, which learn from both (Press & Wolf 2017, arXiv 1608.05859). In `sequential` the layer `tiedHead` does it.
   * @throws LockstepError before the layer's first call, ShapeError for another number of features
   */
  attend(x: Tensor): Tensor;
}

/** `layer`, whose first weight is embeddings [inputDim, outputDim], with the way back. */
export function withAttend(layer: Layer): EmbeddingLayer {
  return Object.assign(layer, {
    attend: (given: Tensor) =>
      scope(layer.name || layer.kind, () => {
        const x = toFloat("attend", given);
        const embeddings = layer.weights[0]?.tensor;
        if (embeddings === undefined) throw new LockstepError("attend: it has no weights yet: call it with indices first");
        checkRank(x.shape, "[batch, ..., features]", 2, Infinity);
        checkFeatures(x, embeddings.shape[1]);
        context().called(layer, null);
        return masked(linear(x, embeddings, null, { transposeB: true }), maskOf(given));
      }),
  });
}

/** Tensors whose elements have been found to be indices below a limit. */
const indices = new WeakMap<Tensor, { readonly data: HostArray; readonly limit: number }>();

/** Looks through the elements of a batch. @throws DataError naming `who` for one that is no index below `limit`. */
export type IndexCheck = (who: string, input: Tensor, limit: number) => Promise<void>;

/** What indices in an input must be below, and who says so, where several layers read them. */
const limits = new WeakMap<Tensor, { readonly limit: number; readonly check: IndexCheck }>();

/**
 * Kernels clamp an index, which would hide a vocabulary that is too small. `noun` takes the indices, below its option `limitName`.
 * @throws DataError naming the first element that is no index below `limit`.
 */
export const indexCheck =
  (noun: string, limitName: string): IndexCheck =>
  async (who, t, limit) => {
    const data = t.host ?? (await t.data());
    const known = indices.get(t);
    if (known !== undefined && known.data === data && known.limit <= limit) return;
    const wrong = (data as Float32Array).findIndex((v) => !Number.isInteger(v) || v < 0 || v >= limit);
    if (wrong >= 0) {
      throw new DataError(
        `${who}: the ${noun} takes indices 0 to ${limit - 1}, got ${data[wrong]} in sample ` +
          `${Math.floor(wrong / (t.size / t.shape[0]))} (element ${wrong}); make its ${limitName} larger or replace the index`,
      );
    }
    indices.set(t, { data, limit });
  };

/** x as indices below `limit`, i32; where it is an input of a model, that looks through its batches by `check`. */
export function asIndices(x: Tensor, limit: number, check: IndexCheck): Tensor {
  const input = source(x);
  const least = once(limits, input, () => ({ limit, check }));
  if (limit < least.limit) Object.assign(least, { limit, check });
  context().reads?.(input, { check: (who, t) => least.check(who, t, least.limit) });
  return reshape(cast(given(x), "i32"), x.shape);
}

const checkIndices = indexCheck("embedding", "inputDim");

/**
 * A learned vector for each index: i32 [...] -> [..., outputDim]. In an op by itself f32 indices are truncated and those outside
 * [0, inputDim) count as the nearest one inside; a model refuses such elements of its inputs with a DataError. Weights: embeddings
 * [inputDim, outputDim].
 * @throws ArgumentError for sizes below 1 and unknown options
 */
export function embedding(inputDim: number, outputDim: number, options: EmbeddingOptions = {}): EmbeddingLayer {
  checkCount("embedding", "inputDim", inputDim);
  checkCount("embedding", "outputDim", outputDim);
  return withAttend(
    layerOf<Required<EmbeddingOptions>>(
      "embedding",
      { inputDim, outputDim },
      { name: "", embeddingsInitializer: "randomUniform", embeddingsRegularizer: null, maskZero: false },
      options,
      ({ maskZero }) => ({
        build: (_shape, weight) => weight("embeddings", [inputDim, outputDim]),
        call: (x, { embeddings }) => {
          const index = asIndices(x, inputDim, checkIndices);
          return masked(gather(embeddings, index), maskZero ? notEqual(index, 0) : null);
        },
      }),
    ),
  );
}

/** Options of `tiedHead`. */
export interface TiedHeadOptions extends NameOption {
  /** Logits are brought between -cap and cap, by cap tanh(logits / cap) (Gemma 2, arXiv 2408.00118). Default null: no. */
  readonly logitSoftCap?: number | null;
}

/**
 * The head of a language model that shares the weights of its `embedding`: x [batch, ..., outputDim] -> embedding.attend(x) [batch, ...,
 * inputDim]. It has no weights of its own; the embedding must stand before it in the same model. In `model(fn)`, `embedding.attend(x)` is
 * the same.
 * @throws ArgumentError for another layer and bad options; when called, as `attend`
 * @example const tokens = embedding(1000, 64); sequential([tokens, transformerDecoder(256, 4), tiedHead(tokens)], { inputShape: [32] });
 */
export function tiedHead(layer: EmbeddingLayer, options: TiedHeadOptions = {}): Layer {
  if (typeof layer?.attend !== "function")
    throw new ArgumentError("tiedHead: expected a layer made by embedding or tokenAndPositionEmbedding");
  // The model gives names later.
  const shared: Attr = {
    kind: layer.kind,
    config: {},
    get shared() {
      return layer.name;
    },
  };
  return layerOf<Required<TiedHeadOptions>>(
    "tiedHead",
    { layer: shared },
    { name: "", logitSoftCap: null },
    options,
    ({ logitSoftCap: cap }) => {
      if (cap !== null) checkPositive("tiedHead", "logitSoftCap", cap);
      return {
        mask: "pass",
        call: (x) => {
          const logits = layer.attend(x);
          return cap === null ? logits : mul(tanh(mul(logits, 1 / cap)), cap);
        },
      };
    },
  );
}

/** @file Which layers can read a sequence a few steps at a time: those that keep steps apart, and those that attend to kept keys. */
import { LockstepError } from "../errors.ts";
import type { Layer } from "../nn/layer.ts";
import { isMade } from "../nn/options.ts";

/** Kinds that do to each step what they do to it alone, or know of earlier steps by `nn/decoding.ts`. */
const APART: ReadonlySet<string> = new Set([
  "dense",
  "embedding",
  "dropout",
  "activation",
  "relu",
  "leakyRelu",
  "elu",
  "softmax",
  "timeDistributed",
  "tiedHead",
  "swiglu",
  "geglu",
  "add",
  "subtract",
  "multiply",
  "average",
  "maximum",
  "minimum",
  "concatenate",
  "batchNorm",
  "layerNorm",
  "rmsNorm",
  "unitNormalization",
  "normalization",
  "attention",
  "multiHeadAttention",
  "groupedQueryAttention",
  "transformerEncoder",
  "transformerDecoder",
  "positionEmbedding",
  "rotaryEmbedding",
  "sinePositionEncoding",
  "tokenAndPositionEmbedding",
]);

/**
 * @throws LockstepError naming a layer whose output for a step depends on others that would not be there. Layers and functions of one's own
 * are not known; they must keep steps apart.
 */
export function checkDecodable(layers: readonly Layer[]): void {
  for (const l of layers) {
    const { axis } = l.config as { readonly axis?: number | readonly number[] | null };
    const elsewhere = axis !== undefined && axis !== -1 && !(Array.isArray(axis) && axis.length === 1 && axis[0] === -1);
    if (l.kind !== "model" && isMade(l) && (elsewhere || !APART.has(l.kind))) {
      const why = APART.has(l.kind) ? `works along axis ${JSON.stringify(axis)}` : `is ${l.kind}`;
      throw new LockstepError(
        `generate: layer "${l.name}" ${why}, which takes several steps together, and tokens are read a few at a time; use layers that ` +
          "keep steps apart (axis: -1) or attend causally",
      );
    }
    checkDecodable(l.layers ?? []);
  }
}

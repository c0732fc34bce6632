/** @file Perplexity, the metric of language models. */
import { checkFlag } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import { add, cast, div, exp, greater, maximum, notEqual, where } from "../ops/map.ts";
import { reshape } from "../ops/move.ts";
import { sum } from "../ops/reduce.ts";
import { optionsOf } from "../options.ts";
import { Tensor } from "../tensor.ts";
import { sparseCategoricalCrossentropy } from "./losses.ts";
import { made, summed } from "./metric.ts";
import type { Metric } from "./metric.ts";

/** Options of `perplexity`. */
export interface PerplexityOptions {
  /** Predictions are logits, not probabilities. Default: as the loss of the model says, false where it does not. */
  readonly fromLogits?: boolean | null;
  /** Tokens of this number, such as padding, do not count. Default null: all do. */
  readonly maskTokenId?: number | null;
  /** Its name in logs. Default "perplexity". */
  readonly name?: string;
}

/**
 * e to the mean cross-entropy of the true tokens, i32 [batch, time] or [batch, time, 1], under predictions [batch, time, vocabulary]: among
 * how many tokens a model hesitates on the average. As KerasHub's `Perplexity`, but a mean over the tokens of an epoch, whatever batches
 * they came in, where that is one over batches. It is given as `perplexity()`, not by name, so that only applications that use it hold it.
 * @throws ArgumentError for unknown options; when called, ShapeError for targets that are no class numbers
 */
export function perplexity(options?: PerplexityOptions): Metric {
  if ((options as unknown) instanceof Tensor) throw new ArgumentError("metrics: perplexity makes a metric: write perplexity()");
  const { name, ...config } = optionsOf<Required<PerplexityOptions>>(
    "perplexity",
    { fromLogits: null, maskTokenId: null, name: "perplexity" },
    options,
  );
  const { fromLogits, maskTokenId } = config;
  if (fromLogits !== null) checkFlag("perplexity", "fromLogits", fromLogits);
  if (maskTokenId !== null && !Number.isSafeInteger(maskTokenId))
    throw new ArgumentError(`perplexity: maskTokenId must be an integer or null, got ${String(maskTokenId)}`);
  const crossentropy = sparseCategoricalCrossentropy({ fromLogits: fromLogits ?? false });
  return made("perplexity", {
    name,
    config,
    state: [
      { name: "total", shape: [], dtype: "f32" },
      { name: "lost", shape: [], dtype: "f32" },
      { name: "count", shape: [], dtype: "i32" },
      // The result itself, since engines differ in the last bit of their e^x, and a metric may decide when training stops.
      { name: "perplexity", shape: [], dtype: "f32" },
    ],
    ...(fromLogits === null && {
      resolve: ({ loss }) => perplexity({ ...config, name, fromLogits: loss.config.fromLogits === true }),
    }),
    update: (yTrue, yPred, [total, lost, count]) => {
      const values = crossentropy.call(yTrue, yPred);
      const counts = maskTokenId === null ? null : reshape(notEqual(yTrue, maskTokenId), values.shape);
      const [next, nextLost] = summed(total, lost, sum(counts === null ? values : where(counts, values, 0)));
      const nextCount = add(count, counts === null ? values.size : sum(cast(counts, "i32")));
      const mean = div(add(next, nextLost), cast(maximum(nextCount, 1), "f32"));
      return [next, nextLost, nextCount, where(greater(nextCount, 0), exp(mean), 0)];
    },
    result: ([, , , value]) => value[0],
  });
}

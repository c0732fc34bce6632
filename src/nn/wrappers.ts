/** @file Layers that call another one: for each step, or in both directions. */
import { kindOf } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import { add, cast, greater, mul, where } from "../ops/map.ts";
import { concat, flip, reshape } from "../ops/move.ts";
import { max } from "../ops/reduce.ts";
import type { Tensor } from "../tensor.ts";
import type { Layer } from "./layer.ts";
import { maskOf, masked } from "./masks.ts";
import { checkOneOf, checkRank, described, layerOf, partOf } from "./options.ts";
import type { ModelAsLayer, NameOption } from "./options.ts";
import { checkMore } from "./recurrent.ts";
import type { RecurrentLayer } from "./recurrent.ts";

/** Options of `bidirectional`. */
export interface BidirectionalOptions extends NameOption {
  /** How the two outputs become one. Default concat. */
  readonly mergeMode?: "concat" | "sum" | "ave" | "mul";
}

const MERGE = {
  concat: (a: Tensor, b: Tensor) => concat([a, b]),
  sum: (a: Tensor, b: Tensor) => add(a, b),
  ave: (a: Tensor, b: Tensor) => mul(add(a, b), 0.5),
  mul: (a: Tensor, b: Tensor) => mul(a, b),
} as const;

/**
 * A recurrent layer and a copy that reads the other way (Schuster & Paliwal 1997), with outputs of the same step merged.
 * `call(x, ...states of the first, ...states of the second, mask)`; with `returnSequences` masked steps give 0. Weights: forwardKernel …
 * backwardBias.
 * @throws ArgumentError unless `inner` is a recurrent layer, and for unknown options
 */
export function bidirectional(inner: RecurrentLayer, options: BidirectionalOptions = {}): Layer {
  if (typeof inner?.backwards !== "function")
    throw new ArgumentError(`bidirectional: expected a recurrent layer, such as lstm(8) or rnn(cell), got ${kindOf(inner)}`);
  const n = inner.stateCount;
  return layerOf<Required<BidirectionalOptions>>(
    "bidirectional",
    { layer: described(inner) },
    { name: "", mergeMode: "concat" },
    options,
    ({ mergeMode }) => {
      checkOneOf("bidirectional", "mergeMode", mergeMode, Object.keys(MERGE) as (keyof typeof MERGE)[]);
      const [forward, backward] = [inner, inner.backwards()];
      return {
        parts: { forward, backward },
        mask: "use",
        inputs: Infinity,
        call: (x, _weights, ...more) => {
          checkMore(more, 2 * n);
          const mask = more[2 * n] ?? maskOf(x);
          const [a, b] = [forward, backward].map((part, i) => part.call(x, ...Array.from({ length: n }, (_, k) => more[i * n + k]), mask));
          if (!inner.returnSequences) return MERGE[mergeMode](a, b);
          const counts = mask && cast(mask, "bool");
          // Both halves are 0 at steps that do not count, where one direction alone repeats its last output: Keras' zero_output_for_mask.
          const shown = (h: Tensor): Tensor =>
            counts === null ? h : where(reshape(counts, counts.shape.concat(h.shape.slice(2).fill(1))), h, 0);
          return masked(MERGE[mergeMode](shown(a), shown(flip(b, 1))), counts);
        },
      };
    },
  );
}

/**
 * Applies `inner` to every step: [batch, time, ...] -> [batch, time, ...]. Weights: those of `inner`. @throws ArgumentError unless `inner`
 * is a layer.
 */
export function timeDistributed(inner: Layer | ModelAsLayer, options: NameOption = {}): Layer {
  const part = partOf("timeDistributed", inner, "dense(10)");
  return layerOf("timeDistributed", { layer: described(part) }, { name: "" }, options, () => ({
    parts: { "": part },
    mask: "use",
    call: (x) => {
      checkRank(x.shape, "[batch, time, ...]", 3, Infinity);
      const [batch, time] = x.shape;
      // A mask of more than steps, of words in sentences, is of what the inner layer reads.
      const mask = maskOf(x);
      const steps = reshape(x, [batch * time, ...x.shape.slice(2)]);
      const y = part.call(masked(steps, mask && reshape(mask, [batch * time, ...mask.shape.slice(2)])));
      const left = maskOf(y);
      const output = reshape(y, [batch, time, ...y.shape.slice(1)]);
      if (mask === null || mask.rank === 2) return masked(output, mask);
      if (left !== null && left.rank > 1) return masked(output, reshape(left, [batch, time, ...left.shape.slice(1)]));
      const inside = mask.shape.slice(2).map((_, i) => i + 2);
      return masked(output, greater(max(cast(mask, "i32"), { axis: inside }), 0));
    },
    anyDtype: true,
  }));
}

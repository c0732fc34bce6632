/**
 * @file Masks: which steps of sequences count. They travel with the tensors that layers hand to layers, as in Keras 3: made by
 * `embedding({ maskZero: true })` and `masking()`, used by recurrent layers, those that attend, `globalAvgPool1d`, `batchNorm` in training
 * and the loss, handed on by layers that keep the steps apart, and lost with any other.
 */
import { cast, greater, mul, notEqual } from "../ops/map.ts";
import { expandDims } from "../ops/move.ts";
import { max } from "../ops/reduce.ts";
import type { Tensor } from "../tensor.ts";
import type { Layer } from "./layer.ts";
import { masked } from "./masks.ts";
import { checkNumber, checkRank, layerOf } from "./options.ts";
import type { NameOption } from "./options.ts";

/** Options of `masking`. */
export interface MaskingOptions extends NameOption {
  /** A step all of whose features are this does not count. Default 0. */
  readonly maskValue?: number;
}

/**
 * Sequences [batch, time, features] with a mask: steps all of whose features are `maskValue` do not count in the layers behind, and
 * become 0. @throws ArgumentError for bad options; when called, ShapeError for another rank
 */
export function masking(options: MaskingOptions = {}): Layer {
  return layerOf<Required<MaskingOptions>>("masking", {}, { name: "", maskValue: 0 }, options, ({ maskValue }) => {
    checkNumber("masking", "maskValue", maskValue, -Infinity);
    return {
      call: (x: Tensor) => {
        checkRank(x.shape, "[batch, time, ..., features]", 3, Infinity);
        const counts = greater(max(cast(notEqual(x, maskValue), "i32"), { axis: -1 }), 0);
        return masked(mul(x, cast(expandDims(counts, -1), "f32")), counts);
      },
    };
  });
}

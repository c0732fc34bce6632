/** @file The fully connected layer. */
import type { Layer } from "./layer.ts";
import { activationOf, checkCount, checkFeatures, checkRank, lastOf, layerOf } from "./options.ts";
import type { ActivationOption, InitializerOption, NameOption } from "./options.ts";
import { project } from "./projection.ts";
import type { RegularizerOption } from "./regularizers.ts";

/** Options of `dense`. */
export interface DenseOptions extends NameOption {
  /** Default none. */
  readonly activation?: ActivationOption;
  /** Default true. */
  readonly useBias?: boolean;
  /** Default glorotUniform. */
  readonly kernelInitializer?: InitializerOption;
  /** Default zeros. */
  readonly biasInitializer?: InitializerOption;
  /** Default none. */
  readonly kernelRegularizer?: RegularizerOption;
  /** Default none. */
  readonly biasRegularizer?: RegularizerOption;
}

const DEFAULTS: Required<DenseOptions> = {
  name: "",
  activation: null,
  useBias: true,
  kernelInitializer: "glorotUniform",
  biasInitializer: "zeros",
  kernelRegularizer: null,
  biasRegularizer: null,
};

/**
 * activation(x kernel + bias) along the last dimension: [batch, ..., features] -> [batch, ..., units].
 * Weights: kernel [features, units], bias [units].
 * @throws ArgumentError for units below 1 and unknown options; when called, ShapeError for a rank below 2.
 */
export function dense(units: number, options: DenseOptions = {}): Layer {
  return layerOf("dense", { units }, DEFAULTS, options, (o) => {
    checkCount("dense", "units", units);
    const activation = activationOf("dense", o.activation);
    return {
      build: (shape, weight) => {
        checkRank(shape, "[batch, ..., features]", 2, Infinity);
        weight("kernel", [lastOf(shape), units]);
        if (o.useBias) weight("bias", [units]);
      },
      mask: "pass",
      call: (x, { kernel, bias }) => {
        checkFeatures(x, kernel.shape[0]);
        return activation.after(project(x, kernel, bias, activation.kernel));
      },
    };
  });
}

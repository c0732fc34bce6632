/** @file Feed-forward blocks with a gate (Shazeer 2020, arXiv 2002.05202), those of Llama and Gemma. */
import { checkFlag } from "../check.ts";
import { gelu, silu } from "../ops/activation.ts";
import { mul } from "../ops/map.ts";
import type { Tensor } from "../tensor.ts";
import type { Layer } from "./layer.ts";
import { checkCount, checkFeatures, checkRank, lastOf, layerOf } from "./options.ts";
import type { Given, InitializerOption, NameOption } from "./options.ts";
import { project } from "./projection.ts";
import type { RegularizerOption } from "./regularizers.ts";

/** Options of `swiglu`. */
export interface SwigluOptions extends NameOption {
  /** Features of the output. Default null: those of the input. */
  readonly outputDim?: number | null;
  /** Add a bias to each of the three products. Default false. */
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

/** Options of `geglu`. */
export interface GegluOptions extends SwigluOptions {
  /** Take gelu's approximation by tanh, as Gemma does. Default false. */
  readonly approximate?: boolean;
}

const DEFAULTS: Required<SwigluOptions> = {
  name: "",
  outputDim: null,
  useBias: false,
  kernelInitializer: "glorotUniform",
  biasInitializer: "zeros",
  kernelRegularizer: null,
  biasRegularizer: null,
};

function gated<D extends Required<SwigluOptions>>(
  kind: string,
  intermediateDim: number,
  defaults: D,
  options: Given<D>,
  activationOf: (o: D) => (x: Tensor) => Tensor,
): Layer {
  return layerOf(kind, { intermediateDim }, defaults, options, (o) => {
    checkCount(kind, "intermediateDim", intermediateDim);
    if (o.outputDim !== null) checkCount(kind, "outputDim", o.outputDim);
    const activation = activationOf(o);
    return {
      mask: "pass",
      build: (shape, weight) => {
        checkRank(shape, "[batch, ..., features]", 2, Infinity);
        const features = lastOf(shape);
        const product = (name: string, from: number, to: number): void => {
          weight(`${name}Kernel`, [from, to], {}, "kernel");
          if (o.useBias) weight(`${name}Bias`, [to], {}, "bias");
        };
        product("gate", features, intermediateDim);
        product("up", features, intermediateDim);
        product("down", intermediateDim, o.outputDim ?? features);
      },
      call: (x, w) => {
        checkFeatures(x, w.gateKernel.shape[0]);
        const hidden = mul(activation(project(x, w.gateKernel, w.gateBias)), project(x, w.upKernel, w.upBias));
        return project(hidden, w.downKernel, w.downBias);
      },
    };
  });
}

/**
 * The feed-forward block of Llama: (silu(x gateKernel) * (x upKernel)) downKernel, [batch, ..., features] -> [batch, ..., outputDim].
 * Shazeer 2020, arXiv 2002.05202. Weights: gateKernel and upKernel [features, intermediateDim], downKernel [intermediateDim, outputDim],
 * each followed by its bias with `useBias`.
 * @throws ArgumentError for sizes below 1 and unknown options; when called, ShapeError for a rank below 2
 */
export const swiglu = (intermediateDim: number, options: SwigluOptions = {}): Layer =>
  gated("swiglu", intermediateDim, DEFAULTS, options, () => silu);

/** As `swiglu`, with gelu in place of silu: the feed-forward block of Gemma, which takes `approximate: true`. @throws as `swiglu` */
export const geglu = (intermediateDim: number, options: GegluOptions = {}): Layer =>
  gated<Required<GegluOptions>>("geglu", intermediateDim, { ...DEFAULTS, approximate: false }, options, ({ approximate }) => {
    checkFlag("geglu", "approximate", approximate);
    return (x) => gelu(x, approximate);
  });

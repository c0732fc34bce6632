/** @file Rotary positions as configurations describe them: `rope_theta` and `rope_scaling`, or `rope_parameters` of Transformers 5. */
import type { RotaryEmbeddingOptions } from "../index.ts";
import { Config } from "./config.ts";

/**
 * Options of the rotation. `factors`: what each frequency is divided by, where a checkpoint holds that as a tensor.
 * @throws FileError naming a type that is not known
 */
export function rotaryOf(config: Config, headDim: number, factors: readonly number[] | null): Omit<RotaryEmbeddingOptions, "name"> {
  const parameters = config.has("rope_parameters") ? config.within("rope_parameters") : null;
  const scaling =
    parameters ?? (config.has("rope_scaling") ? config.within("rope_scaling") : new Config(`${config.who}: rope_scaling`, {}));
  const theta = (parameters?.has("rope_theta") ? parameters : config).positive("rope_theta", 10000);
  for (const place of [config, scaling]) place.must("partial_rotary_factor", 1);
  if (headDim % 2 !== 0) throw config.fault("head_dim", "even, for rotary positions");
  const base = { maxWavelength: theta, ...(factors !== null && { frequencyFactors: factors }) };
  const types: { readonly [type: string]: () => Omit<RotaryEmbeddingOptions, "name"> } = {
    default: () => base,
    linear: () => ({ ...base, scalingFactor: scaling.positive("factor") }),
    llama3: () => ({
      ...base,
      frequencyScaling: {
        factor: scaling.positive("factor"),
        lowFrequencyFactor: scaling.positive("low_freq_factor"),
        highFrequencyFactor: scaling.positive("high_freq_factor"),
        originalMaxPositions: scaling.positive("original_max_position_embeddings"),
      },
    }),
  };
  return scaling.oneOf(scaling.has("rope_type") || !scaling.has("type") ? "rope_type" : "type", types, "default")();
}

/** @file Rotary positions as configurations describe them: `rope_theta` and `rope_scaling`, or `rope_parameters` of Transformers 5. */
import type { RotaryEmbeddingOptions } from "../index.ts";
import { Config } from "./config.ts";

/** How a model turns pairs of features, and how many positions that holds for; null: any number. */
export interface Rotation {
  readonly rotary: Omit<RotaryEmbeddingOptions, "name">;
  readonly contextLength: number | null;
}

/** Engines differ in the last bit of a logarithm, and results must not. */
const ln = (x: number): number => Number(Math.log(x).toPrecision(12));

/** What may be said where no type is. */
const PLAIN = ["rope_theta", "partial_rotary_factor"];
const ORIGINAL = "original_max_position_embeddings";

/**
 * The rotation, as Transformers 5 reads it: `factor` counts where it is not that of the lengths. Types of which the frequencies depend on
 * the length of a text (dynamic, longrope) are those of texts that are not longer than the model was trained with, and no others are read.
 * `factors`: what each frequency is divided by, where a checkpoint holds that as a tensor.
 * @throws FileError naming a type that is not known
 */
export function rotationOf(config: Config, headDim: number, factors: readonly number[] | null): Rotation {
  const place = ["rope_scaling", "rope_parameters"].find((name) => config.has(name) && Object.keys(config.within(name).values).length > 0);
  const scaling = place === undefined ? new Config(`${config.who}: rope_scaling`, {}) : config.within(place);
  const theta = (scaling.has("rope_theta") ? scaling : config).positive("rope_theta", 10000);
  for (const c of [config, scaling]) c.must("partial_rotary_factor", 1);
  if (scaling.has("rope_type")) scaling.must("type", scaling.values.rope_type);
  if (headDim % 2 !== 0) throw config.fault("head_dim", "even, for rotary positions");

  const most = config.has("max_position_embeddings") ? config.count("max_position_embeddings") : null;
  /** Positions before they were stretched, and by how much. */
  const original = (): number => [config, scaling].find((c) => c.has(ORIGINAL))?.count(ORIGINAL) ?? config.count("max_position_embeddings");
  const factor = (from?: number): number => scaling.positive("factor", from && most !== null ? most / from : undefined);
  const base = { maxWavelength: theta, ...(factors !== null && { frequencyFactors: factors }) };

  const types: { readonly [type: string]: () => Rotation } = {
    default: () => ({ rotary: base, contextLength: most }),
    linear: () => ({ rotary: { ...base, scalingFactor: factor() }, contextLength: most }),
    dynamic: () => ({ rotary: base, contextLength: config.count("max_position_embeddings") }),
    llama3: () => ({
      rotary: {
        ...base,
        frequencyScaling: {
          factor: factor(),
          lowFrequencyFactor: scaling.positive("low_freq_factor"),
          highFrequencyFactor: scaling.positive("high_freq_factor"),
          originalMaxPositions: original(),
        },
      },
      contextLength: most,
    }),
    // Peng et al. 2023, arXiv 2309.00071: pairs of few turns are stretched, those of many are not, and between the two is a ramp.
    yarn: () => {
      const trained = original();
      const by = factor(trained);
      scaling.must("attn_factor", 1);
      const temperature = (weight: number): number => (by <= 1 ? 1 : 0.1 * weight * ln(by) + 1);
      const weights = ["mscale", "mscale_all_dim"].map((name) => (scaling.has(name) ? temperature(scaling.positive(name)) : null));
      const [own, all] = weights.includes(null) ? [temperature(1), 1] : (weights as number[]);
      const pairOf = (turns: number): number => (headDim * ln(trained / (turns * 2 * Math.PI))) / (2 * ln(theta));
      const ends = [pairOf(scaling.positive("beta_fast", 32)), pairOf(scaling.positive("beta_slow", 1))];
      const [first, last] = scaling.flag("truncate", true) ? [Math.floor(ends[0]), Math.ceil(ends[1])] : ends;
      const from = Math.max(first, 0);
      const length = Math.min(last, headDim - 1) - from || 0.001;
      const stretched = Array.from({ length: headDim / 2 }, (_, i) => {
        const share = Math.min(1, Math.max(0, (i - from) / length));
        return (factors?.[i] ?? 1) / (share / by + 1 - share);
      });
      const attentionFactor = scaling.positive("attention_factor", own / all);
      return {
        rotary: { ...base, frequencyFactors: stretched, attentionFactor },
        contextLength: Math.max(most ?? 0, Math.floor(by * trained)),
      };
    },
    // Ding et al. 2024, arXiv 2402.13753: the short factors, which hold up to the trained length.
    longrope: () => {
      const trained = original();
      const by = factor(trained);
      const expected = `${headDim / 2} positive numbers`;
      const short = scaling.list<number>("short_factor", expected, (v) => Number.isFinite(v) && (v as number) > 0);
      if (short.length !== headDim / 2) throw scaling.fault("short_factor", `a list of ${expected}`);
      const attentionFactor = scaling.positive("attention_factor", by <= 1 ? 1 : Math.sqrt(1 + ln(by) / ln(trained)));
      return { rotary: { ...base, frequencyFactors: short, attentionFactor }, contextLength: trained };
    },
  };
  const bare = Object.keys(scaling.values).every((name) => PLAIN.includes(name));
  const named = scaling.has("type") && !scaling.has("rope_type") ? "type" : "rope_type";
  return scaling.oneOf(named, types, bare ? "default" : undefined)();
}

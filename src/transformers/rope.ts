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

const isFactor = (v: unknown): boolean => Number.isFinite(v) && (v as number) > 0;

/** Whether two values are one, or lists of the same. */
const isSame = (a: unknown, b: unknown): boolean =>
  a === b || (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((v, i) => v === b[i]));

/** What may be said where no type is. */
const PLAIN = ["rope_theta", "partial_rotary_factor"];
const MOST = "max_position_embeddings";
const ORIGINAL = "original_max_position_embeddings";

/**
 * The rotation, as Transformers 5 reads it: `factor` counts where it is not that of the lengths. Types of which the frequencies depend on
 * the length of a text (dynamic, longrope) are those of texts that are not longer than the model was trained with, and no others are read.
 * `factors`: what each frequency is divided by, where a checkpoint holds that as a tensor.
 * @throws FileError naming a type that is not known
 */
export function rotationOf(config: Config, headDim: number, factors: readonly number[] | null): Rotation {
  const places = ["rope_scaling", "rope_parameters"].filter((name) => config.has(name)).map((name) => config.within(name));
  const said = places.filter(({ values }) => Object.keys(values).length > 0);
  const scaling = said.at(-1) ?? new Config(`${config.who}: rope_scaling`, {});
  for (const [name, value] of Object.entries(said[0]?.values ?? {}))
    if (!isSame(value, scaling.values[name])) throw config.fault("rope_parameters", "what rope_scaling says");
  const theta = (scaling.has("rope_theta") ? scaling : config).positive("rope_theta", 10000);
  for (const c of [config, scaling]) c.must("partial_rotary_factor", 1);
  if (scaling.has("rope_type")) scaling.must("type", scaling.values.rope_type);
  // Lists are made of it before weights are compared with it.
  if (headDim % 2 !== 0 || headDim > 2 ** 16) throw config.fault("head_dim", "even, for rotary positions, and at most 65536");

  const most = config.has(MOST) ? config.count(MOST) : null;
  /** Positions before they were stretched, and by how much. */
  const original = (): number => [config, scaling].find((c) => c.has(ORIGINAL))?.count(ORIGINAL) ?? config.count(MOST);
  const factor = (from?: number): number => scaling.positive("factor", from && most ? most / from : undefined);

  /** Options of the rotation, and the positions that it holds for where these are not all. */
  const types: { readonly [type: string]: () => readonly [options: RotaryEmbeddingOptions, contextLength?: number] } = {
    default: () => [{}],
    linear: () => [{ scalingFactor: factor() }],
    dynamic: () => [{}, config.count(MOST)],
    llama3: () => [
      {
        frequencyScaling: {
          factor: factor(),
          lowFrequencyFactor: scaling.positive("low_freq_factor"),
          highFrequencyFactor: scaling.positive("high_freq_factor"),
          originalMaxPositions: original(),
        },
      },
    ],
    // Peng et al. 2023, arXiv 2309.00071: pairs of few turns are stretched, those of many are not, and between the two is a ramp.
    yarn: () => {
      const trained = original();
      const by = factor(trained);
      scaling.must("attn_factor", 1);
      const temperature = (weight: number): number => 1 + 0.1 * weight * ln(Math.max(1, by));
      const [own, all] = ["mscale", "mscale_all_dim"].map((name) => (scaling.has(name) ? scaling.positive(name) : 0));
      const attentionFactor = scaling.positive("attention_factor", own && all ? temperature(own) / temperature(all) : temperature(1));
      const whole = scaling.flag("truncate", true);
      const pairOf = (turns: string, usual: number, round: (pair: number) => number): number => {
        const pair = (headDim * ln(trained / (scaling.positive(turns, usual) * 2 * Math.PI))) / (2 * ln(theta));
        return whole ? round(pair) : pair;
      };
      const from = Math.max(0, pairOf("beta_fast", 32, Math.floor));
      const length = Math.min(headDim - 1, pairOf("beta_slow", 1, Math.ceil)) - from || 0.001;
      const frequencyFactors = Array.from({ length: headDim / 2 }, (_, i) => {
        const share = Math.min(1, Math.max(0, (i - from) / length));
        return (factors?.[i] ?? 1) / (share / by + 1 - share);
      });
      return [{ frequencyFactors, attentionFactor }, Math.max(most ?? 0, Math.min(2 ** 30, Math.floor(by * trained)))];
    },
    // Ding et al. 2024, arXiv 2402.13753: the short factors, which hold up to the trained length.
    longrope: () => {
      const trained = original();
      const usual = Math.sqrt(1 + ln(Math.max(1, factor(trained))) / ln(trained));
      const frequencyFactors = scaling.list<number>("short_factor", `${headDim / 2} positive numbers`, isFactor, headDim / 2);
      return [{ frequencyFactors, attentionFactor: scaling.positive("attention_factor", usual) }, trained];
    },
  };
  const bare = Object.keys(scaling.values).every((name) => PLAIN.includes(name));
  const named = scaling.has("type") && !scaling.has("rope_type") ? "type" : "rope_type";
  const [options, contextLength = most] = scaling.oneOf(named, types, bare ? "default" : undefined)();
  return { rotary: { maxWavelength: theta, frequencyFactors: factors, ...options }, contextLength };
}

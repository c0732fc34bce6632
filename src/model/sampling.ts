/**
 * @file The next token from logits, traced: penalty for what was there, temperature, the likeliest alone, and a draw by Gumbel noise from
 * the counter-based stream, so that a seed gives the same text on every backend. What decides is read from tensors: options with other
 * numbers compile nothing.
 */
import { checkNumber } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import { add, cast, div, equal, greater, greaterEqual, isFinite, log, maximum, mul, sub, where } from "../ops/map.ts";
import { expandDims, iota, reshape, slice } from "../ops/move.ts";
import { randomCategorical } from "../ops/random.ts";
import { argMax, max } from "../ops/reduce.ts";
import { softmax } from "../ops/softmax.ts";
import { massThreshold } from "../ops/threshold.ts";
import { seedWords } from "../random.ts";
import type { Tensor } from "../tensor.ts";

/** How the next token is chosen from the logits. They are applied in this order, as Hugging Face's `generate` does. */
export interface SamplingOptions {
  /**
   * Logits of tokens that the sequence has already are divided by it where they are positive, multiplied where negative (Keskar et al.
   * 2019, arXiv 1909.05858). Above 1 repeats less. Default 1: no change.
   */
  readonly repetitionPenalty?: number;
  /**
   * Logits are divided by it: below 1 likely tokens become likelier. 0, or what is no normal number of f32, takes the likeliest, the first
   * of equals. Default 1.
   */
  readonly temperature?: number;
  /** Only so many of the likeliest are drawn from, and what is as likely as the last of them. Default null: all. */
  readonly topK?: number | null;
  /** Only the likeliest that have this probability together are drawn from (Holtzman et al. 2020, arXiv 1904.09751). Default null: all. */
  readonly topP?: number | null;
  /** Only tokens at least this times as likely as the likeliest are drawn from (Nguyen et al. 2024, arXiv 2407.01082). Default 0: all. */
  readonly minP?: number;
}

/** Tells this use of a seed from all others. */
const SAMPLING = 2;
/** The word of the key that counts draws. */
const DRAWS = 2;

/** Logits are divided by it: what is smaller would make infinity of them. */
const LEAST_PENALTY = 1e-6;

export const SAMPLING_DEFAULTS: Required<SamplingOptions> = { repetitionPenalty: 1, temperature: 1, topK: null, topP: null, minP: 0 };

/** @throws ArgumentError for numbers that cannot be */
export function checkSampling(who: string, { repetitionPenalty, temperature, topK, topP, minP }: Required<SamplingOptions>): void {
  checkNumber(who, "repetitionPenalty", repetitionPenalty, LEAST_PENALTY);
  checkNumber(who, "temperature", temperature, 0);
  if (topK !== null && !(Number.isSafeInteger(topK) && topK >= 1))
    throw new ArgumentError(`${who}: topK must be an integer >= 1 or null, got ${String(topK)}`);
  if (topP !== null && !(topP > 0 && topP <= 1)) throw new ArgumentError(`${who}: topP must be a number in (0, 1] or null, got ${topP}`);
  checkNumber(who, "minP", minP, 0, 1);
}

/** Below this f32 has fewer digits, and GPUs may take what there is for 0. */
const LEAST_NORMAL = 2 ** -126;

/** The options as one tensor, f32 [5]. What is off is a mass that is never reached. */
export const optionsTensor = ({ repetitionPenalty, temperature, topK, topP, minP }: Required<SamplingOptions>): Float32Array =>
  Float32Array.of(
    repetitionPenalty,
    temperature < LEAST_NORMAL ? 0 : temperature,
    topK ?? Infinity,
    topP === null || topP === 1 ? Infinity : topP,
    minP,
  );

/**
 * What a program chooses by, which leaves out what the options do not ask for: of a vocabulary of 32,000 the search for the least that is
 * kept takes as long as 100 million multiplications in 4 bits.
 */
export type Choice = "likeliest" | "drawn" | "filtered";

/** What these options ask for. */
export function choiceOf({ temperature, topK, topP, minP }: Required<SamplingOptions>): Choice {
  if (temperature < LEAST_NORMAL) return "likeliest";
  return topK === null && (topP === null || topP === 1) && minP === 0 ? "drawn" : "filtered";
}

/** u32[4], of which a word counts the draws. */
export const keyOf = (seed: number, draws = 0): Uint32Array => Uint32Array.of(...seedWords(seed), draws, SAMPLING);

/** The key of the next draw. */
export const nextKey = (key: Tensor): Tensor => add(key, cast(equal(iota([4]), DRAWS), "u32"));

/**
 * i32 [batch] from logits f32 [batch, vocabulary]; -1 where these are not finite. `seen`: i32 [batch, vocabulary], not 0 for what is there
 * already.
 */
export function sampled(logits: Tensor, seen: Tensor, options: Tensor, key: Tensor, choice: Choice): Tensor {
  const [batch] = logits.shape;
  const [penalty, temperature, topK, topP, minP] = Array.from({ length: 5 }, (_, i) => reshape(slice(options, [i], [1]), []));
  const penalized = where(equal(seen, 0), logits, where(greater(logits, 0), div(logits, penalty), mul(logits, penalty)));
  const top = max(penalized, { axis: -1, keepDims: true });
  const orNone = (token: Tensor): Tensor => where(isFinite(reshape(top, [batch])), token, -1);
  if (choice === "likeliest") return orNone(argMax(penalized));
  // Less the largest, which changes no share, so that none overflows where the temperature is next to nothing.
  const scaled = div(sub(penalized, top), temperature);
  const draw = (from: Tensor): Tensor => orNone(reshape(randomCategorical(key, from, 1, { stream: 0 }), [batch]));
  if (choice === "drawn") return draw(scaled);
  const among = massThreshold(scaled, topK);
  const left = where(greaterEqual(scaled, expandDims(among, 1)), scaled, -Infinity);
  const nucleus = massThreshold(left, topP, { weights: softmax(left) });
  const least = maximum(maximum(among, nucleus), log(minP));
  return draw(where(greaterEqual(scaled, expandDims(least, 1)), scaled, -Infinity));
}

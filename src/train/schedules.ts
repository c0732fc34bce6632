/**
 * @file Learning rates that depend on the step, with the formulas of Keras 3
 * (https://keras.io/api/optimizers/learning_rate_schedules/). Traced into the training step: no host work per step.
 */
import { checkFlag, checkOptions } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import type { Config } from "../nn/layer.ts";
import { add, ceil, cos, div, equal, floor, less, lessEqual, minimum, mul, pow, sub, where } from "../ops/map.ts";
import { asTensor } from "../graph.ts";
import type { Tensor } from "../tensor.ts";

/** A learning rate that follows the step: the `learningRate` option of optimizers takes one. */
export interface Schedule {
  /** What made it: exponentialDecay, cosineDecay … */
  readonly kind: string;
  readonly config: Config;
  /** The learning rate at `step` (f32 scalar, 0 for the first). */
  readonly value: (step: Tensor) => Tensor;
}

function checkSteps(who: string, name: string, steps: number): void {
  if (!Number.isFinite(steps) || steps <= 0) throw new ArgumentError(`${who}: ${name} must be a positive number, got ${String(steps)}`);
}

function checkRates(who: string, rates: { readonly [name: string]: number }): void {
  for (const [name, value] of Object.entries(rates)) if (!Number.isFinite(value)) throw new ArgumentError(`${who}: ${name} must be a number, got ${String(value)}`);
}

/** Options of `exponentialDecay` and `inverseTimeDecay`. */
export interface DecayOptions {
  readonly initialLearningRate: number;
  /** Steps in which one whole decay takes place. */
  readonly decaySteps: number;
  readonly decayRate: number;
  /** Decay at multiples of decaySteps only. Default false. */
  readonly staircase?: boolean;
}

const progress = (step: Tensor, decaySteps: number, staircase: boolean): Tensor => {
  const p = div(step, decaySteps);
  return staircase ? floor(p) : p;
};

/** initialLearningRate * decayRate^(step / decaySteps) */
export function exponentialDecay(options: DecayOptions): Schedule {
  const { initialLearningRate, decaySteps, decayRate, staircase = false } = checkOptions("exponentialDecay", options, ["initialLearningRate", "decaySteps", "decayRate", "staircase"]);
  checkFlag("exponentialDecay", "staircase", staircase);
  checkSteps("exponentialDecay", "decaySteps", decaySteps);
  checkRates("exponentialDecay", { initialLearningRate, decayRate });
  return {
    kind: "exponentialDecay",
    config: { initialLearningRate, decaySteps, decayRate, staircase },
    value: (step) => mul(pow(decayRate, progress(step, decaySteps, staircase)), initialLearningRate),
  };
}

/** initialLearningRate / (1 + decayRate * step / decaySteps) */
export function inverseTimeDecay(options: DecayOptions): Schedule {
  const { initialLearningRate, decaySteps, decayRate, staircase = false } = checkOptions("inverseTimeDecay", options, ["initialLearningRate", "decaySteps", "decayRate", "staircase"]);
  checkFlag("inverseTimeDecay", "staircase", staircase);
  checkSteps("inverseTimeDecay", "decaySteps", decaySteps);
  checkRates("inverseTimeDecay", { initialLearningRate, decayRate });
  return {
    kind: "inverseTimeDecay",
    config: { initialLearningRate, decaySteps, decayRate, staircase },
    value: (step) => div(initialLearningRate, add(mul(progress(step, decaySteps, staircase), decayRate), 1)),
  };
}

/** Options of `polynomialDecay`. */
export interface PolynomialDecayOptions {
  readonly initialLearningRate: number;
  readonly decaySteps: number;
  /** Default 0.0001. */
  readonly endLearningRate?: number;
  /** Default 1: a straight line. */
  readonly power?: number;
  /** Start again, over the next multiple of decaySteps, when the end is reached. Default false. */
  readonly cycle?: boolean;
}

/** (initialLearningRate - endLearningRate) * (1 - step / decaySteps)^power + endLearningRate, and endLearningRate after decaySteps. */
export function polynomialDecay(options: PolynomialDecayOptions): Schedule {
  const { initialLearningRate, decaySteps, endLearningRate = 0.0001, power = 1, cycle = false } = checkOptions("polynomialDecay", options, ["initialLearningRate", "decaySteps", "endLearningRate", "power", "cycle"]);
  checkFlag("polynomialDecay", "cycle", cycle);
  checkSteps("polynomialDecay", "decaySteps", decaySteps);
  checkRates("polynomialDecay", { initialLearningRate, endLearningRate, power });
  return {
    kind: "polynomialDecay",
    config: { initialLearningRate, decaySteps, endLearningRate, power, cycle },
    value: (step) => {
      const rounds = cycle ? where(equal(step, 0), 1, ceil(div(step, decaySteps))) : asTensor(1);
      const done = div(cycle ? step : minimum(step, decaySteps), mul(rounds, decaySteps));
      return add(mul(pow(sub(1, done), power), initialLearningRate - endLearningRate), endLearningRate);
    },
  };
}

/** Options of `cosineDecay`. */
export interface CosineDecayOptions {
  readonly initialLearningRate: number;
  /** Steps of the decay, not counting the warmup. */
  readonly decaySteps: number;
  /** The end as a part of where the decay starts. Default 0. */
  readonly alpha?: number;
  /** Where a linear warmup from initialLearningRate leads. Default null: no warmup. */
  readonly warmupTarget?: number | null;
  /** Default 0. */
  readonly warmupSteps?: number;
}

/** Half a cosine wave from initialLearningRate (or warmupTarget) down to alpha times it: Loshchilov & Hutter 2016, without restarts. */
export function cosineDecay(options: CosineDecayOptions): Schedule {
  const { initialLearningRate, decaySteps, alpha = 0, warmupTarget = null, warmupSteps = 0 } = checkOptions("cosineDecay", options, ["initialLearningRate", "decaySteps", "alpha", "warmupTarget", "warmupSteps"]);
  checkSteps("cosineDecay", "decaySteps", decaySteps);
  checkRates("cosineDecay", { initialLearningRate, alpha, warmupSteps, ...(warmupTarget === null ? {} : { warmupTarget }) });
  const decay = (step: Tensor, from: number): Tensor => {
    const wave = mul(add(cos(mul(div(minimum(step, decaySteps), decaySteps), Math.PI)), 1), 0.5);
    return mul(add(mul(wave, 1 - alpha), alpha), from);
  };
  return {
    kind: "cosineDecay",
    config: { initialLearningRate, decaySteps, alpha, warmupTarget, warmupSteps },
    value: (step) => {
      if (warmupTarget === null) return decay(step, initialLearningRate);
      if (warmupSteps <= 0) return decay(step, warmupTarget);
      const warmup = add(mul(div(step, warmupSteps), warmupTarget - initialLearningRate), initialLearningRate);
      return where(less(step, warmupSteps), warmup, decay(sub(step, warmupSteps), warmupTarget));
    },
  };
}

/** values[i] up to and including step boundaries[i], the last value after the last boundary. @throws ArgumentError unless boundaries rise and there is one value more. */
export function piecewiseConstantDecay(options: { readonly boundaries: readonly number[]; readonly values: readonly number[] }): Schedule {
  const { boundaries, values } = checkOptions("piecewiseConstantDecay", options, ["boundaries", "values"]);
  const numbers = (list: unknown): boolean => Array.isArray(list) && list.every((n) => Number.isFinite(n));
  if (!numbers(boundaries) || !numbers(values) || values.length !== boundaries.length + 1 || boundaries.some((b, i) => i > 0 && b <= boundaries[i - 1])) {
    throw new ArgumentError(`piecewiseConstantDecay: expected lists of numbers, rising boundaries and one value more, got boundaries ${JSON.stringify(boundaries)} and values ${JSON.stringify(values)}`);
  }
  return {
    kind: "piecewiseConstantDecay",
    config: { boundaries, values },
    value: (step) => boundaries.reduceRight<Tensor>((after, boundary, i) => where(lessEqual(step, boundary), values[i], after), asTensor(values[boundaries.length])),
  };
}

const SCHEDULES: { readonly [kind: string]: (options: never) => Schedule } = { exponentialDecay, inverseTimeDecay, polynomialDecay, cosineDecay, piecewiseConstantDecay };

/** A schedule from what its `kind` and `config` were. @throws ArgumentError for another kind, listing them. */
export function scheduleFromConfig(kind: string, config: Config): Schedule {
  if (!Object.hasOwn(SCHEDULES, kind)) throw new ArgumentError(`schedule: unknown ${JSON.stringify(kind)}; known: ${Object.keys(SCHEDULES).join(", ")}`);
  return SCHEDULES[kind](config as never);
}

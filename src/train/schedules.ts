/**
 * @file Learning rates that depend on the step, with the formulas of Keras 3
 * (https://keras.io/api/optimizers/learning_rate_schedules/). Traced into the training step: no host work per step.
 */
import { checkNumber, checkOptions, checkPositive, unknownName } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import type { Config } from "../nn/layer.ts";
import { add, ceil, cos, div, equal, floor, less, lessEqual, maximum, minimum, mul, pow, sub, where } from "../ops/map.ts";
import { asTensor } from "../graph.ts";
import { optionsOf } from "../options.ts";
import type { Attr } from "../op.ts";
import type { Tensor } from "../tensor.ts";

/** A learning rate that follows the step: the `learningRate` option of optimizers takes one. */
export interface Schedule {
  /** What made it: exponentialDecay, cosineDecay … */
  readonly kind: string;
  readonly config: Config;
  /** The learning rate at `step` (f32 scalar, 0 for the first). */
  readonly value: (step: Tensor) => Tensor;
}

const MADE = new WeakSet<Schedule["value"]>();

function made(s: Schedule): Schedule {
  MADE.add(s.value);
  return s;
}

/** True for Lockstep's own schedules, whose kind and config are all that it takes to make them again. */
export const isMadeSchedule = ({ value }: Schedule): boolean => MADE.has(value);

/**
 * A schedule by `value(step, options)`. The options are those of `defaults`, all numbers or flags; what is undefined there must be given.
 * @throws ArgumentError for unknown options and other values
 */
function schedule<O extends object>(
  kind: string,
  defaults: Required<O> | { readonly [K in keyof O]-?: O[K] | undefined },
  options: O | undefined,
  value: (step: Tensor, options: Required<O>) => Tensor,
): Schedule {
  const config = optionsOf<object>(kind, defaults, options) as Required<O>;
  for (const [name, n] of Object.entries(config) as [keyof O & string, number | boolean | null][]) {
    if (name === "decaySteps") checkPositive(kind, name, n as number);
    else if (typeof n !== "boolean" && (n !== null || defaults[name] !== null)) checkNumber(kind, name, n as number, -Infinity);
  }
  return made({ kind, config: config as Config, value: (step) => value(step, config) });
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

const DECAY = { decaySteps: undefined, initialLearningRate: undefined, decayRate: undefined, staircase: false };

const progress = (step: Tensor, { decaySteps, staircase }: Required<DecayOptions>): Tensor => {
  const p = div(step, decaySteps);
  return staircase ? floor(p) : p;
};

/** initialLearningRate * decayRate^(step / decaySteps) */
export const exponentialDecay = (options: DecayOptions): Schedule =>
  schedule("exponentialDecay", DECAY, options, (step, o) => mul(pow(o.decayRate, progress(step, o)), o.initialLearningRate));

/** initialLearningRate / (1 + decayRate * step / decaySteps) */
export const inverseTimeDecay = (options: DecayOptions): Schedule =>
  schedule("inverseTimeDecay", DECAY, options, (step, o) => div(o.initialLearningRate, add(mul(progress(step, o), o.decayRate), 1)));

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
export const polynomialDecay = (options: PolynomialDecayOptions): Schedule =>
  schedule(
    "polynomialDecay",
    { decaySteps: undefined, initialLearningRate: undefined, endLearningRate: 0.0001, power: 1, cycle: false },
    options,
    (step, { initialLearningRate, decaySteps, endLearningRate, power, cycle }) => {
      const rounds = cycle ? where(equal(step, 0), 1, ceil(div(step, decaySteps))) : asTensor(1);
      const done = div(cycle ? step : minimum(step, decaySteps), mul(rounds, decaySteps));
      return add(mul(pow(sub(1, done), power), initialLearningRate - endLearningRate), endLearningRate);
    },
  );

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
export const cosineDecay = (options: CosineDecayOptions): Schedule =>
  schedule(
    "cosineDecay",
    { decaySteps: undefined, initialLearningRate: undefined, alpha: 0, warmupTarget: null, warmupSteps: 0 },
    options,
    (step, { initialLearningRate, decaySteps, alpha, warmupTarget, warmupSteps }) => {
      const decay = (at: Tensor, from: number): Tensor => {
        const wave = mul(add(cos(mul(div(minimum(at, decaySteps), decaySteps), Math.PI)), 1), 0.5);
        return mul(add(mul(wave, 1 - alpha), alpha), from);
      };
      if (warmupTarget === null) return decay(step, initialLearningRate);
      if (warmupSteps <= 0) return decay(step, warmupTarget);
      const warmup = add(mul(div(step, warmupSteps), warmupTarget - initialLearningRate), initialLearningRate);
      return where(less(step, warmupSteps), warmup, decay(sub(step, warmupSteps), warmupTarget));
    },
  );

/**
 * values[i] up to and including step boundaries[i], the last value after the last boundary. @throws ArgumentError unless boundaries rise
 * and there is one value more.
 */
export function piecewiseConstantDecay(options: { readonly boundaries: readonly number[]; readonly values: readonly number[] }): Schedule {
  const { boundaries, values } = checkOptions("piecewiseConstantDecay", options, ["boundaries", "values"]);
  const numbers = (list: unknown): boolean => Array.isArray(list) && list.every((n) => Number.isFinite(n));
  if (
    !numbers(boundaries) ||
    !numbers(values) ||
    values.length !== boundaries.length + 1 ||
    boundaries.some((b, i) => i > 0 && b <= boundaries[i - 1])
  ) {
    throw new ArgumentError(
      "piecewiseConstantDecay: expected lists of numbers, rising boundaries and one value more, got boundaries " +
        `${JSON.stringify(boundaries)} and values ${JSON.stringify(values)}`,
    );
  }
  return made({
    kind: "piecewiseConstantDecay",
    config: { boundaries, values },
    value: (step) =>
      boundaries.reduceRight<Tensor>(
        (after, boundary, i) => where(lessEqual(step, boundary), values[i], after),
        asTensor(values[boundaries.length]),
      ),
  });
}

/** Options of `linearWarmup`. */
export interface LinearWarmupOptions {
  /** What comes after: a schedule, which then begins with its step 0, or one rate. */
  readonly learningRate: number | Schedule;
  /** Steps in which the rate rises on a straight line to what comes after. */
  readonly warmupSteps: number;
  /** Where the line begins. Default 0. */
  readonly initialLearningRate?: number;
}

/**
 * A linear warmup before any schedule. `cosineDecay` has one of its own. @throws ArgumentError for bad options
 * @example linearWarmup({ warmupSteps: 100, learningRate: polynomialDecay({ initialLearningRate: 1e-3, decaySteps: 2000 }) })
 */
export function linearWarmup(options: LinearWarmupOptions): Schedule {
  const who = "linearWarmup";
  const known = ["learningRate", "warmupSteps", "initialLearningRate"];
  const { learningRate: after, warmupSteps, initialLearningRate = 0 } = checkOptions(who, options, known);
  checkPositive(who, "warmupSteps", warmupSteps);
  checkNumber(who, "initialLearningRate", initialLearningRate, 0);
  const scheduled = typeof after === "object" && after !== null && typeof after.value === "function";
  if (!scheduled) checkNumber(who, "learningRate", after as number, 0);
  const rateAt = (step: Tensor): Tensor => (scheduled ? after.value(step) : asTensor(after as number));
  const config = { learningRate: scheduled ? { kind: after.kind, config: after.config as Attr } : (after as number) };
  const result: Schedule = {
    kind: who,
    config: { ...config, warmupSteps, initialLearningRate },
    value: (step) => {
      const rise = mul(sub(rateAt(asTensor(0)), initialLearningRate), div(step, warmupSteps));
      return where(less(step, warmupSteps), add(rise, initialLearningRate), rateAt(maximum(sub(step, warmupSteps), 0)));
    },
  };
  return !scheduled || isMadeSchedule(after) ? made(result) : result;
}

const SCHEDULES: { readonly [kind: string]: (options: never) => Schedule } = {
  exponentialDecay,
  inverseTimeDecay,
  polynomialDecay,
  cosineDecay,
  piecewiseConstantDecay,
  linearWarmup,
};

/** A schedule from what its `kind` and `config` were. @throws ArgumentError for another kind, listing them. */
export function scheduleFromConfig(kind: string, config: Config): Schedule {
  if (!Object.hasOwn(SCHEDULES, kind)) throw unknownName("schedule", kind, Object.keys(SCHEDULES));
  const inner = config.learningRate as { readonly kind: string; readonly config: Config } | number | undefined;
  const given = typeof inner === "object" ? { ...config, learningRate: scheduleFromConfig(inner.kind, inner.config) } : config;
  return SCHEDULES[kind](given as never);
}

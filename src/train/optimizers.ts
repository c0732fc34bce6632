/**
 * @file Optimizers with the formulas and defaults of Keras 3 (https://keras.io/api/optimizers/). `update` is traced with
 * the rest of the training step: what a step does to one parameter is elementwise, so that it becomes one `map` call
 * which writes the parameter and its state in place. Bias corrections 1 - beta^t are taken as -expm1(t ln beta), which
 * keeps its digits for small t.
 */
import { checkMade, checkNumber, checkOptions, unknownName } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import type { Config } from "../nn/layer.ts";
import { abs, add, div, maximum, mul, rsqrt, sqrt, square, sub } from "../ops/map.ts";
import type { Attr } from "../op.ts";
import { scheduleFromConfig } from "./schedules.ts";
import { asGiven, correction, optimizer, towards } from "./optimizer.ts";
import type { Optimizer, OptimizerOptions } from "./optimizer.ts";

export { isMadeOptimizer } from "./optimizer.ts";
export type { Optimizer, OptimizerOptions, SavedState } from "./optimizer.ts";

/** Options of `sgd`. */
export interface SgdOptions extends OptimizerOptions {
  /** Default 0. */
  readonly momentum?: number;
  /** Look ahead: Nesterov's form of momentum. Default false. */
  readonly nesterov?: boolean;
}

/** w -= learningRate * g, with momentum m = momentum * m - learningRate * g, w += m. Default learning rate 0.01. */
export function sgd(given?: SgdOptions): Optimizer {
  const { learningRate = 0.01, momentum = 0, nesterov = false, ...options } = checkOptions("sgd", given);
  checkNumber("sgd", "momentum", momentum, 0, 1);
  return optimizer(
    "sgd",
    { learningRate, ...options },
    { momentum, nesterov },
    {
      slots: momentum === 0 ? [] : ["momentum"],
      initial: 0,
      stepSize: asGiven,
      step: (w, g, [m], rate) => {
        const move = mul(g, rate);
        if (momentum === 0) return [sub(w, move)];
        const next = sub(mul(m, momentum), move);
        return [nesterov ? add(w, sub(mul(next, momentum), move)) : add(w, next), next];
      },
    },
  );
}

/** Options of `rmsprop`. */
export interface RmspropOptions extends OptimizerOptions {
  /** How much of the mean square is kept. Default 0.9. */
  readonly rho?: number;
  /** Default 0. */
  readonly momentum?: number;
  /** Default 1e-7. */
  readonly epsilon?: number;
  /** Divide by the variance of the gradient instead of its mean square. Default false. */
  readonly centered?: boolean;
}

/** Tieleman & Hinton 2012: v = rho * v + (1 - rho) * g^2, w -= learningRate * g / sqrt(v + epsilon). Default learning rate 0.001. */
export function rmsprop(given?: RmspropOptions): Optimizer {
  const { learningRate = 0.001, rho = 0.9, momentum = 0, epsilon = 1e-7, centered = false, ...options } = checkOptions("rmsprop", given);
  checkNumber("rmsprop", "rho", rho, 0, 1);
  return optimizer(
    "rmsprop",
    { learningRate, ...options },
    { rho, momentum, epsilon, centered },
    {
      slots: ["velocity", ...(momentum > 0 ? ["momentum"] : []), ...(centered ? ["averageGradient"] : [])],
      initial: 0,
      stepSize: asGiven,
      step: (w, g, state, rate) => {
        const velocity = add(mul(state[0], rho), mul(square(g), 1 - rho));
        const averages = centered ? [add(mul(state[state.length - 1], rho), mul(g, 1 - rho))] : [];
        const spread = centered ? sub(velocity, square(averages[0])) : velocity;
        const move = mul(mul(g, rate), rsqrt(add(spread, epsilon)));
        const moves = momentum > 0 ? [add(mul(state[1], momentum), move)] : [];
        return [sub(w, moves[0] ?? move), velocity, ...moves, ...averages];
      },
    },
  );
}

/** Options of `adam`, `adamw` and `adamax`. */
export interface AdamOptions extends OptimizerOptions {
  /** How much of the mean gradient is kept. Default 0.9. */
  readonly beta1?: number;
  /** How much of the mean square is kept (adamax: of the largest gradient). Default 0.999. */
  readonly beta2?: number;
  /** Default 1e-7. */
  readonly epsilon?: number;
  /** Divide by the largest mean square so far: Reddi et al. 2018. Not for adamax. Default false. */
  readonly amsgrad?: boolean;
}

function adaptiveMoments(
  kind: string,
  { learningRate = 0.001, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7, amsgrad = false, ...options }: AdamOptions,
): Optimizer {
  const [first, second] = [correction(kind, "beta1", beta1), correction(kind, "beta2", beta2)];
  return optimizer(
    kind,
    { learningRate, ...options },
    { beta1, beta2, epsilon, amsgrad },
    {
      slots: amsgrad ? ["m", "v", "vMax"] : ["m", "v"],
      initial: 0,
      stepSize: (rate, t) => div(mul(rate, sqrt(second(t))), first(t)),
      step: (w, g, [m, v, vMax], size) => {
        const m1 = towards(m, g, 1 - beta1);
        const v1 = towards(v, square(g), 1 - beta2);
        const top = amsgrad ? [maximum(vMax, v1)] : [];
        return [sub(w, div(mul(m1, size), add(sqrt(top[0] ?? v1), epsilon))), m1, v1, ...top];
      },
    },
  );
}

/** Kingma & Ba 2015: w -= learningRate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon). Default learning rate 0.001. */
export const adam = (options?: AdamOptions): Optimizer => adaptiveMoments("adam", checkOptions("adam", options));

/** Loshchilov & Hutter 2019: adam with decoupled weight decay, by default 0.004. */
export function adamw(given?: AdamOptions): Optimizer {
  const { weightDecay = 0.004, ...options } = checkOptions("adamw", given);
  return adaptiveMoments("adamw", { weightDecay, ...options });
}

/** The variant of adam with the largest gradient in place of the mean square: Kingma & Ba 2015, section 7. Default learning rate 0.001. */
export function adamax(given?: Omit<AdamOptions, "amsgrad">): Optimizer {
  const { learningRate = 0.001, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7, ...options } = checkOptions("adamax", given);
  checkNumber("adamax", "beta2", beta2, 0, 1);
  const first = correction("adamax", "beta1", beta1);
  return optimizer(
    "adamax",
    { learningRate, ...options },
    { beta1, beta2, epsilon },
    {
      slots: ["m", "u"],
      initial: 0,
      stepSize: (rate, t) => div(rate, first(t)),
      step: (w, g, [m, u], size) => {
        const m1 = towards(m, g, 1 - beta1);
        const u1 = maximum(mul(u, beta2), abs(g));
        return [sub(w, div(mul(m1, size), add(u1, epsilon))), m1, u1];
      },
    },
  );
}

/** Options of `adagrad`. */
export interface AdagradOptions extends OptimizerOptions {
  /** Default 0.1. */
  readonly initialAccumulatorValue?: number;
  /** Default 1e-7. */
  readonly epsilon?: number;
}

/** Duchi et al. 2011: a += g^2, w -= learningRate * g / sqrt(a + epsilon). Default learning rate 0.001. */
export function adagrad(given?: AdagradOptions): Optimizer {
  const { learningRate = 0.001, initialAccumulatorValue = 0.1, epsilon = 1e-7, ...options } = checkOptions("adagrad", given);
  return optimizer(
    "adagrad",
    { learningRate, ...options },
    { initialAccumulatorValue, epsilon },
    {
      slots: ["accumulator"],
      initial: initialAccumulatorValue,
      stepSize: asGiven,
      step: (w, g, [a], rate) => {
        const a1 = add(a, square(g));
        return [sub(w, div(mul(g, rate), sqrt(add(a1, epsilon)))), a1];
      },
    },
  );
}

const OPTIMIZERS = { sgd, rmsprop, adam, adamw, adamax, adagrad } as const satisfies {
  readonly [kind: string]: (options: never) => Optimizer;
};

/** sgd, rmsprop, adam, adamw, adamax or adagrad, with default options. */
export type OptimizerName = keyof typeof OPTIMIZERS;

/** Names that `optimizer` options take. */
export const OPTIMIZER_NAMES: readonly string[] = Object.keys(OPTIMIZERS);

/** What makes optimizers of a kind. @throws ArgumentError for another kind, listing them. */
function factoryOf(kind: string): (config: Config) => Optimizer {
  if (!Object.hasOwn(OPTIMIZERS, kind)) throw unknownName("optimizer", kind, OPTIMIZER_NAMES);
  return OPTIMIZERS[kind as OptimizerName] as (options: object) => Optimizer;
}

/** An optimizer from what its `kind` and `config` were, with fresh state. @throws ArgumentError for another kind, listing them. */
export function optimizerFromConfig(kind: string, config: Config): Optimizer {
  const { learningRate } = config;
  const scheduled =
    typeof learningRate === "object" && learningRate !== null ? (learningRate as unknown as { kind: string; config: Config }) : null;
  return factoryOf(kind)(
    scheduled === null ? config : { ...config, learningRate: scheduleFromConfig(scheduled.kind, scheduled.config) as unknown as Attr },
  );
}

/**
 * An optimizer from what `optimizer` options take: a name, with default options, or an optimizer. @throws ArgumentError listing the names.
 */
export function optimizerByName(optimizer: OptimizerName | Optimizer): Optimizer {
  if (typeof optimizer === "string") return factoryOf(optimizer)({});
  checkMade("optimizer", "an optimizer", optimizer, OPTIMIZERS);
  if (optimizer === null || typeof optimizer !== "object" || typeof optimizer.update !== "function")
    throw new ArgumentError(`optimizer: expected a name or an optimizer, got ${String(optimizer)}; names: ${OPTIMIZER_NAMES.join(", ")}`);
  return optimizer;
}

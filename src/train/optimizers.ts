/**
 * @file Optimizers with the formulas and defaults of Keras 3 (https://keras.io/api/optimizers/). `update` is traced with
 * the rest of the training step: what a step does to one parameter is elementwise, so that it becomes one `map` call
 * which writes the parameter and its state in place. Bias corrections 1 - beta^t are taken as -expm1(t ln beta), which
 * keeps its digits for small t.
 */
import { checkMade, checkNumber, checkOptions, checkPart, checkPositive, unknownName } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import type { Config } from "../nn/layer.ts";
import { abs, add, div, exp, maximum, mul, rsqrt, sign, sqrt, square, sub } from "../ops/map.ts";
import type { Attr } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { naturalLog } from "./log.ts";
import { scheduleFromConfig } from "./schedules.ts";
import { asGiven, correction, optimizer, towards } from "./optimizer.ts";
import type { Optimizer, OptimizerOptions } from "./optimizer.ts";

export { isMadeOptimizer } from "./optimizer.ts";
export type { Optimizer, OptimizerOptions } from "./optimizer.ts";
export type { SavedState } from "./optimizer-state.ts";

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

// Those that follow have no names, so that only applications that use them, or `loadModel`, hold them.

/** Options of `nadam`. */
export type NadamOptions = Omit<AdamOptions, "amsgrad">;

/**
 * Adam that looks ahead, as Nesterov's momentum does (Dozat 2016): u(t) = beta1 * (1 - 0.5 * 0.96^t) in the place of beta1. Default
 * learning rate 0.001.
 */
export function nadam(given?: NadamOptions): Optimizer {
  const { learningRate = 0.001, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7, ...options } = checkOptions("nadam", given);
  checkPart("nadam", "beta1", beta1);
  const second = correction("nadam", "beta2", beta2);
  const u = (t: Tensor): Tensor => mul(sub(1, mul(exp(mul(t, naturalLog(0.96))), 0.5)), beta1);
  return optimizer<readonly Tensor[]>(
    "nadam",
    { learningRate, ...options },
    { beta1, beta2, epsilon },
    {
      slots: ["m", "v"],
      initial: 0,
      // The product of all u so far, which corrects the bias of m as 1 - beta1^t does for adam.
      shared: { name: "uProduct", initial: 1, next: (product, t) => mul(product, u(t)) },
      stepSize: (rate, t, product) => {
        const ahead = u(add(t, 1));
        return [div(mul(rate, ahead), sub(1, mul(product, ahead))), div(mul(rate, sub(1, u(t))), sub(1, product)), sqrt(second(t))];
      },
      step: (w, g, [m, v], [ofMean, ofGradient, ofSquare]) => {
        const m1 = towards(m, g, 1 - beta1);
        const v1 = towards(v, square(g), 1 - beta2);
        const move = add(mul(m1, ofMean), mul(g, ofGradient));
        return [sub(w, div(move, add(div(sqrt(v1), ofSquare), epsilon))), m1, v1];
      },
    },
  );
}

/** Options of `adadelta`. */
export interface AdadeltaOptions extends OptimizerOptions {
  /** How much of the mean squares is kept. Default 0.95. */
  readonly rho?: number;
  /** Default 1e-7. */
  readonly epsilon?: number;
}

/**
 * Zeiler 2012: steps of the root mean square of the steps before over that of the gradients. Default learning rate 0.001; the paper's is 1.
 */
export function adadelta(given?: AdadeltaOptions): Optimizer {
  const { learningRate = 0.001, rho = 0.95, epsilon = 1e-7, ...options } = checkOptions("adadelta", given);
  checkNumber("adadelta", "rho", rho, 0, 1);
  return optimizer(
    "adadelta",
    { learningRate, ...options },
    { rho, epsilon },
    {
      slots: ["gradients", "steps"],
      initial: 0,
      stepSize: asGiven,
      step: (w, g, [gradients, steps], rate) => {
        const gradients1 = add(mul(gradients, rho), mul(square(g), 1 - rho));
        const move = div(mul(sqrt(add(steps, epsilon)), g), sqrt(add(gradients1, epsilon)));
        return [sub(w, mul(move, rate)), gradients1, add(mul(steps, rho), mul(square(move), 1 - rho))];
      },
    },
  );
}

/** Options of `lion`. */
export interface LionOptions extends OptimizerOptions {
  /** How much of the momentum is in a step, above 0. Default 0.9. */
  readonly beta1?: number;
  /** How much of the momentum is kept. Default 0.99. */
  readonly beta2?: number;
}

/**
 * Chen et al. 2023: w -= learningRate * sign(beta1 * m + (1 - beta1) * g), m = beta2 * m + (1 - beta2) * g. One tensor of state for each
 * parameter. Wants a learning rate 3 to 10 times smaller than adamw's, and as many times its weight decay. Default learning rate 0.001.
 */
export function lion(given?: LionOptions): Optimizer {
  const { learningRate = 0.001, beta1 = 0.9, beta2 = 0.99, ...options } = checkOptions("lion", given);
  checkPositive("lion", "beta1", beta1);
  checkNumber("lion", "beta1", beta1, 0, 1);
  checkNumber("lion", "beta2", beta2, 0, 1);
  return optimizer(
    "lion",
    { learningRate, ...options },
    { beta1, beta2 },
    {
      slots: ["m"],
      initial: 0,
      stepSize: asGiven,
      // Both of one difference, so that they are one call of a kernel.
      step: (w, g, [m], rate) => [sub(w, mul(sign(towards(m, g, 1 - beta1)), rate)), towards(m, g, 1 - beta2)],
    },
  );
}

const OPTIMIZERS = { sgd, rmsprop, adam, adamw, adamax, adagrad } as const satisfies {
  readonly [kind: string]: (options: never) => Optimizer;
};

/** sgd, rmsprop, adam, adamw, adamax or adagrad, with default options; the others are given as what `nadam()` and its like make. */
export type OptimizerName = keyof typeof OPTIMIZERS;

/** Names that `optimizer` options take. */
export const OPTIMIZER_NAMES: readonly string[] = Object.keys(OPTIMIZERS);

type Factories = { readonly [kind: string]: (options: never) => Optimizer };

/** What makes optimizers of a kind. @throws ArgumentError for another kind, listing them. */
function factoryOf(kind: string, factories: Factories): (config: Config) => Optimizer {
  if (Object.hasOwn(factories, kind)) return factories[kind] as (options: object) => Optimizer;
  if (/^(nadam|adadelta|lion|muon)$/i.test(kind))
    throw new ArgumentError(`optimizer: instead of its name give ${kind.toLowerCase()}(), imported from "lockstep"`);
  throw unknownName("optimizer", kind, OPTIMIZER_NAMES);
}

/**
 * An optimizer from what its `kind` and `config` were, with fresh state; `more`: kinds that have no name.
 * @throws ArgumentError for another kind, listing them.
 */
export function optimizerFromConfig(kind: string, config: Config, more: Factories = {}): Optimizer {
  const { learningRate } = config;
  const scheduled =
    typeof learningRate === "object" && learningRate !== null ? (learningRate as unknown as { kind: string; config: Config }) : null;
  return factoryOf(kind, { ...OPTIMIZERS, ...more })(
    scheduled === null ? config : { ...config, learningRate: scheduleFromConfig(scheduled.kind, scheduled.config) as unknown as Attr },
  );
}

/**
 * An optimizer from what `optimizer` options take: a name, with default options, or an optimizer. @throws ArgumentError listing the names.
 */
export function optimizerByName(optimizer: OptimizerName | Optimizer): Optimizer {
  if (typeof optimizer === "string") return factoryOf(optimizer, OPTIMIZERS)({});
  checkMade("optimizer", "an optimizer", optimizer, OPTIMIZERS);
  if (optimizer === null || typeof optimizer !== "object" || typeof optimizer.update !== "function")
    throw new ArgumentError(`optimizer: expected a name or an optimizer, got ${String(optimizer)}; names: ${OPTIMIZER_NAMES.join(", ")}`);
  return optimizer;
}

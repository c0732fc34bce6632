/** @file What an optimizer is: state beside the parameters, clipping, decay and schedules, and one rule that differs. */
import { checkCount, checkFlag, checkNumber, checkPart, checkPositive } from "../check.ts";
import { ArgumentError, LockstepError, ShapeError } from "../errors.ts";
import { assign, currentGraph, Graph, trace } from "../graph.ts";
import type { Backend } from "../backend.ts";
import { defaultBackend } from "../init.ts";
import type { Config } from "../nn/layer.ts";
import { clip } from "../ops/composite.ts";
import {
  add,
  and,
  cast,
  div,
  equal,
  expm1,
  greater,
  maximum,
  minimum,
  mul,
  neg,
  or,
  quotient,
  sqrt,
  square,
  sub,
  where,
} from "../ops/map.ts";
import { sum } from "../ops/reduce.ts";
import type { Attr } from "../op.ts";
import { optionsOf } from "../options.ts";
import { Executable, inTurn, using } from "../run.ts";
import { tensor } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";
import { flatten, mapTree } from "../tree.ts";
import type { Tree } from "../tree.ts";
import { naturalLog } from "./log.ts";
import { ACCUMULATED, AVERAGE, OptimizerState } from "./optimizer-state.ts";
import type { Rule, Rules, SavedState } from "./optimizer-state.ts";
import { isMadeSchedule } from "./schedules.ts";
import type { Schedule } from "./schedules.ts";

/** What changes parameters by their gradients: what `sgd()`, `adam()` and the others make. One optimizer serves one set of parameters. */
export interface Optimizer {
  /** What made it: sgd, adam … */
  readonly kind: string;
  readonly config: Config;
  /** Number of calls of `update` so far, an i32 scalar: with `gradientAccumulationSteps` every batch counts, also for schedules. */
  readonly iterations: Tensor;
  /**
   * Setting it changes the next step, without compiling again. With a schedule both reading and setting throw: the rate is
   * `state().learningRate`.
   */
  learningRate: number;
  /**
   * What gradients must be taken of in the place of `loss`, inside a traced function: `lossScaleOptimizer` has this. `fit` asks it.
   */
  scaleLoss?(loss: Tensor): Tensor;
  /**
   * Inside a traced function: records new values for `params` (f32 tensors with elements), state and iterations. State is kept by
   * parameter, so that several traced functions share it.
   * @throws ShapeError when `grads` do not have the structure of `params`, FileError when state that was loaded does not fit them.
   */
  update(params: Tree, grads: Tree): void;
  /**
   * One update outside of a traced function, on the default backend: changes `params` by gradients that have elements. A loop is faster
   * with `update` inside the function that computes the gradients, which is then one program with it.
   * @throws as `update`, and LockstepError inside a traced function
   */
  apply(params: Tree, grads: Tree): Promise<void>;
  /**
   * With `useEma`: puts the moving averages in the place of the parameters, which are kept meanwhile (`averaged` true), or brings these
   * back (false). Harmless when it is so already, and before the first update. To evaluate, predict or save with the averages in the
   * middle of a training; what goes on training calls it with false first, as `fit` does. State that was saved meanwhile brings the
   * parameters back with its first update.
   * @param backend Default: the backend opened last
   */
  swapEmaWeights?(averaged: boolean, backend?: Backend): Promise<void>;
  /** With `useEma`: overwrites the parameters by their moving averages, as `fit` does when it ends. `backend` as in `swapEmaWeights`. */
  finalizeVariableValues?(backend?: Backend): Promise<void>;
  /**
   * Forgets the parameters and their state, whose bytes it gives back, and begins to count steps anew; `model.dispose()` calls it. An
   * optimizer of one's own may go without: the bytes of its state then go back when its tensors are collected.
   */
  release?(): void;
  /** All that a resumed training needs: `iterations`, `learningRate`, and for the i-th parameter `m/i` … */
  state(): { readonly [name: string]: Tensor };
  /**
   * Takes over saved state, before or after the first update. @throws FileError when entries are missing, unknown or of another shape;
   * nothing has changed then.
   */
  load(state: SavedState): void;
}

/** What all optimizers take. At most one of the three ways to clip. */
export interface OptimizerOptions {
  /** A number or a schedule. */
  readonly learningRate?: number | Schedule;
  /** Decoupled weight decay: w -= w * weightDecay * learningRate before the step. Default 0 (adamw: 0.004). */
  readonly weightDecay?: number | null;
  /** Each gradient tensor is scaled down to at most this L2 norm. */
  readonly clipNorm?: number | null;
  /** All gradients together are scaled down to at most this L2 norm. */
  readonly globalClipNorm?: number | null;
  /** Each gradient element is clipped to [-clipValue, clipValue]. */
  readonly clipValue?: number | null;
  /**
   * Gradients of so many calls are summed, and their mean makes one update: batches as large as that, in the memory of one. At least 2.
   * Schedules count the calls, bias corrections the updates. Default null: each call is an update.
   */
  readonly gradientAccumulationSteps?: number | null;
  /**
   * Keep a moving average of each parameter, which takes its place when `fit` ends (Polyak & Juditsky 1992): average = emaMomentum *
   * average + (1 - emaMomentum) * parameter after each call, beginning with the first parameter. See `swapEmaWeights`. Default false.
   */
  readonly useEma?: boolean;
  /** How much of the average is kept, in [0, 1]. Default 0.99. */
  readonly emaMomentum?: number;
  /** After so many updates, each time, the parameters become their averages. Default null: only when `fit` ends. */
  readonly emaOverwriteFrequency?: number | null;
}

type Clipping = (grads: readonly Tensor[]) => readonly Tensor[];

const squares = (g: Tensor): Tensor => sum(square(g));

function clippingOf(kind: string, { clipNorm, globalClipNorm, clipValue }: Required<OptimizerOptions>): Clipping {
  const given = Object.entries({ clipNorm, globalClipNorm, clipValue }).filter(([, value]) => value !== null);
  if (given.length > 1) throw new ArgumentError(`${kind}: give one of ${given.map(([name]) => name).join(" and ")}, not both`);
  for (const [name, value] of given) checkPositive(kind, name, value as number);
  if (clipNorm !== null) return (grads) => grads.map((g) => div(mul(g, clipNorm), maximum(sqrt(squares(g)), clipNorm)));
  if (clipValue !== null) return (grads) => grads.map((g) => clip(g, -clipValue, clipValue));
  if (globalClipNorm === null) return (grads) => grads;
  return (grads) => {
    if (grads.length === 0) return grads;
    const norm = sqrt(grads.map(squares).reduce((a, b) => add(a, b)));
    const scale = minimum(where(greater(norm, 0), div(globalClipNorm, norm), 1), 1);
    return grads.map((g) => mul(g, scale));
  };
}

function checkRate(kind: string, rate: number): void {
  if (!(rate >= 0 && Number.isFinite(rate)))
    throw new ArgumentError(`${kind}: learningRate must be a number of at least 0 or a schedule, got ${String(rate)}`);
}

/** Options that all have, with their defaults. */
const COMMON = {
  weightDecay: null,
  clipNorm: null,
  globalClipNorm: null,
  clipValue: null,
  gradientAccumulationSteps: null,
  useEma: false,
  emaMomentum: 0.99,
  emaOverwriteFrequency: null,
};

/** Updates of Lockstep's own optimizers, with schedules of its own. */
const MADE = new WeakSet<Optimizer["update"]>();

/** True where kind and config are all that it takes to make the optimizer again. */
export const isMadeOptimizer = ({ update }: Optimizer): boolean => MADE.has(update);

/** Places of parameters in what was given. */
function pathsOf(params: Tree): readonly string[] {
  const paths: string[] = [];
  mapTree(params, (p, path) => {
    paths.push(path);
    return p;
  });
  return paths;
}

/** The gradients in the order of the parameters that they belong to by name. @throws ShapeError where the two have not one structure */
function matching(kind: string, params: Tree, grads: Tree): Tensor[] {
  const found = new Map<string, Tensor>();
  mapTree(grads, (g, path) => {
    found.set(path, g);
    return g;
  });
  const paths = pathsOf(params);
  const missing = paths.find((path) => !found.has(path));
  if (missing === undefined && paths.length === found.size) return paths.map((path) => found.get(path) as Tensor);
  const shown = (list: Iterable<string>): string => [...list].join(", ") || "nothing";
  throw new ShapeError(`${kind}: expected gradients of the structure of the parameters, ${shown(paths)}, got ${shown(found.keys())}`);
}

/** @throws ShapeError where gradients are not of the parameters' shapes */
function checkStructure(kind: string, weights: readonly Tensor[], grads: readonly Tensor[]): void {
  if (weights.length !== grads.length || weights.some((w, i) => String(w) !== String(grads[i])))
    throw new ShapeError(`${kind}: expected gradients ${weights.join(", ")}, got ${grads.join(", ")}`);
}

/** What an optimizer runs outside of traced functions; kept, since a loop calls it with the same parameters. */
export class Runner {
  #last: { readonly params: readonly Tensor[]; readonly program: Executable } | null = null;

  /** `body`: what is traced, of `params` and what stands for `given`. `on`: by default the backend opened last. */
  async run(
    params: readonly Tensor[],
    given: readonly Tensor[],
    on: Backend | undefined,
    body: (params: readonly Tensor[], inputs: Tensor[]) => void,
  ): Promise<void> {
    const backend = on ?? (await defaultBackend());
    const find = async (): Promise<Executable> => {
      const last = this.#last;
      const same = last?.params.length === params.length && last.params.every((w, i) => w === params[i]);
      if (last !== null && same && last.program.backend === backend && !last.program.closed) return last.program;
      const graph = new Graph();
      const inputs = given.map((g) => graph.input(g));
      trace(graph, () => body(params, inputs));
      const program = await Executable.create(graph, [], backend);
      this.#last = { params, program };
      return program;
    };
    await using(find, given, (program) => inTurn(program, given, () => {}));
  }
}

/**
 * An optimizer by what it does to one parameter. `rest`: its own options, numbers of at least 0 and flags; `more`: those that have been
 * checked.
 */
export function optimizer<S>(
  kind: string,
  options: OptimizerOptions,
  rest: { readonly [option: string]: Attr },
  rule: Rule<S> | Rules<S>,
  more: { readonly [option: string]: Attr } = {},
): Optimizer {
  for (const [name, value] of Object.entries(rest)) {
    if (typeof value === "boolean" || name === "nesterov" || name === "centered" || name === "amsgrad")
      checkFlag(kind, name, value as boolean);
    else checkNumber(kind, name, value as number, 0);
  }
  const config = optionsOf<object>(kind, { learningRate: 0, ...COMMON, ...rest, ...more }, options) as Required<OptimizerOptions>;
  const { weightDecay, gradientAccumulationSteps: calls, useEma, emaMomentum, emaOverwriteFrequency: often } = config;
  if (weightDecay !== null) checkNumber(kind, "weightDecay", weightDecay, 0);
  if (calls !== null) checkCount(kind, "gradientAccumulationSteps", calls, 2);
  checkNumber(kind, "emaMomentum", emaMomentum, 0, 1);
  if (often !== null) checkCount(kind, "emaOverwriteFrequency", often);
  const learningRate = options.learningRate as number | Schedule;
  const clipped = clippingOf(kind, config);
  const schedule =
    typeof learningRate === "object" && learningRate !== null && typeof learningRate.value === "function" ? learningRate : null;
  if (schedule === null) checkRate(kind, learningRate as number);
  let rate = schedule === null ? (learningRate as number) : 0;
  const rateTensor = tensor(rate, [], "f32");
  const iterations = tensor(0, [], "i32");
  const rules = "all" in rule ? rule : { all: [rule], of: () => rule };
  const { shared } = rules.all[0];
  const sharedTensor = tensor(shared?.initial ?? 0, [], "f32");
  const swapped = tensor(0, [], "i32");
  const state = new OptimizerState(kind, rules, [...(calls === null ? [] : [ACCUMULATED]), ...(useEma ? [AVERAGE] : [])], {
    iterations,
    learningRate: rateTensor,
    ...(shared && { [shared.name]: sharedTensor }),
    ...(useEma && { swapped }),
  });
  const [applying, exchanging] = [new Runner(), new Runner()];

  const scheduleConfig = schedule && { kind: schedule.kind, config: schedule.config as Attr };
  const made: { -readonly [K in keyof Optimizer]: Optimizer[K] } = {
    kind,
    config: { ...config, learningRate: scheduleConfig ?? rate },
    iterations,
    get learningRate() {
      if (schedule !== null)
        throw new LockstepError(
          `${kind}: the learning rate follows ${schedule.kind}; the last one is await optimizer.state().learningRate.item()`,
        );
      return rate;
    },
    set learningRate(value: number) {
      if (schedule !== null)
        throw new LockstepError(`${kind}: the learning rate follows ${schedule.kind} and cannot be set; make the optimizer with a number`);
      checkRate(kind, value);
      rate = value;
      rateTensor.set(Float32Array.of(value));
    },
    update(params, grads) {
      if (currentGraph() === null) throw new LockstepError(`${kind}: call update() inside compile(fn)`);
      const [weights, given] = [flatten(params), matching(kind, params, grads)];
      checkStructure(kind, weights, given);
      for (const w of weights) if (w.dtype !== "f32") throw new ShapeError(`${kind}: parameters must be f32, got ${w}`);
      const states = state.of(weights, pathsOf(params));
      const next = add(iterations, 1);
      const now = schedule === null ? rateTensor : schedule.value(cast(iterations, "f32"));
      // The number of this update, from 1, and whether it takes place in this call: there are no branches, so that others keep what was.
      const updates = calls === null ? iterations : quotient(iterations, calls);
      const t = calls === null ? next : add(updates, 1);
      const takesPlace = calls === null ? null : greater(quotient(next, calls), updates);
      const orBefore = (after: Tensor, before: Tensor): Tensor => (takesPlace === null ? after : where(takesPlace, after, before));
      const step = cast(t, "f32");
      const nextShared = shared ? orBefore(shared.next(sharedTensor, step), sharedTensor) : sharedTensor;
      if (shared) assign(sharedTensor, nextShared);
      const sizes = new Map(rules.all.map((r) => [r, r.stepSize(now, step, nextShared)]));
      const sums = calls === null ? given : given.map((g, i) => add(g, states[i].slots[ACCUMULATED]));
      const momentum = useEma ? where(equal(t, 1), 0, emaMomentum) : null;
      clipped(calls === null ? given : sums.map((g) => div(g, calls))).forEach((g, i) => {
        const { rule: own, slots } = states[i];
        const decay = own.weightDecay === undefined ? weightDecay : own.weightDecay;
        // What the decay leaves of a weight, once for all: one step for each weight instead of three.
        const w = decay ? mul(weights[i], sub(1, mul(now, decay))) : weights[i];
        const olds = own.slots.map((slot) => slots[slot]);
        const [value, ...news] = own.step(w, g, olds, sizes.get(own) as S);
        let after = orBefore(value, weights[i]);
        news.forEach((s, k) => assign(olds[k], orBefore(s, olds[k])));
        if (takesPlace !== null) assign(slots[ACCUMULATED], where(takesPlace, 0, sums[i]));
        if (momentum !== null) {
          const average = add(mul(slots[AVERAGE], momentum), mul(after, sub(1, momentum)));
          assign(slots[AVERAGE], average);
          if (often !== null) after = where(equal(mul(quotient(t, often), often), t), average, after);
        }
        assign(weights[i], after);
      });
      if (schedule !== null) assign(rateTensor, now);
      assign(iterations, next);
    },
    apply(params, grads) {
      if (currentGraph() !== null) throw new LockstepError(`${kind}: inside compile(fn) call update()`);
      const [all, given] = [flatten(params), matching(kind, params, grads)];
      checkStructure(kind, all, given);
      return applying.run(all, given, undefined, (weights, inputs) => {
        this.update(weights, inputs);
      });
    },
    release: () => state.release(),
    state: () => state.all(),
    load(saved) {
      state.load(saved);
      const loaded = saved.learningRate.data[0];
      if (Math.fround(rate) !== loaded) rate = loaded;
    },
  };
  if (schedule === null || isMadeSchedule(schedule)) MADE.add(made.update);
  if (!useEma) return made;
  /** Parameters and averages change places, or, where `swap` is 0, both become the averages. Before the first update there are none. */
  const exchange = async (swap: number, on?: Backend): Promise<void> => {
    const { params } = state;
    if (params.length === 0) return;
    await exchanging.run(params, [tensor(swap, [], "i32")], on, (_params, [given]) => {
      const [exist, swaps] = [greater(iterations, 0), equal(given, 1)];
      const take = and(exist, or(swaps, equal(swapped, 0)));
      state.of(params, []).forEach(({ slots: { [AVERAGE]: average } }, i) => {
        const next = where(take, average, params[i]);
        assign(params[i], next);
        assign(average, where(exist, where(swaps, params[i], next), average));
      });
      assign(swapped, where(swaps, sub(1, swapped), 0));
    });
  };
  made.swapEmaWeights = async (averaged, on) => {
    if ((await swapped.item()) !== Number(averaged)) await exchange(1, on);
  };
  made.finalizeVariableValues = (on) => exchange(0, on);
  return made;
}

/** 1 - beta^t for 0 <= beta < 1. */
export function correction(kind: string, name: string, beta: number): (t: Tensor) => Tensor {
  checkPart(kind, name, beta);
  if (beta === 0) return (t) => div(t, t);
  const ln = naturalLog(beta);
  return (t) => neg(expm1(mul(t, ln)));
}

/** a + (b - a) * part */
export const towards = (a: Tensor, b: Tensor, part: number): Tensor => add(a, mul(sub(b, a), part));
export const asGiven = (learningRate: Tensor): Tensor => learningRate;

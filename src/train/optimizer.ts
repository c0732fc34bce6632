/** @file What an optimizer is: state beside the parameters, clipping, decay and schedules, and one rule that differs. */
import { checkFlag, checkNumber, checkOptions, checkPart, checkPositive } from "../check.ts";
import { ArgumentError, FileError, LockstepError, ShapeError } from "../errors.ts";
import { assign, currentGraph, Graph, trace } from "../graph.ts";
import { defaultBackend } from "../init.ts";
import type { TypedArray } from "../dtype.ts";
import type { Config } from "../nn/layer.ts";
import { clip } from "../ops/composite.ts";
import { add, cast, div, expm1, greater, maximum, minimum, mul, neg, sqrt, square, sub, where } from "../ops/map.ts";
import { sum } from "../ops/reduce.ts";
import type { Attr } from "../op.ts";
import { Executable, inTurn, using } from "../run.ts";
import { sameShape, showShape } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { full, tensor, zeros } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";
import { flatten, mapTree } from "../tree.ts";
import type { Tree } from "../tree.ts";
import { naturalLog } from "./log.ts";
import { isMadeSchedule } from "./schedules.ts";
import type { Schedule } from "./schedules.ts";

/** State as it is read from a file. */
export interface SavedState {
  readonly [name: string]: { readonly shape: Shape; readonly data: TypedArray };
}

/** What changes parameters by their gradients: what `sgd()`, `adam()` and the others make. One optimizer serves one set of parameters. */
export interface Optimizer {
  /** What made it: sgd, adam … */
  readonly kind: string;
  readonly config: Config;
  /** Number of updates so far, an i32 scalar. */
  readonly iterations: Tensor;
  /**
   * Setting it changes the next step, without compiling again. With a schedule both reading and setting throw: the rate is
   * `state().learningRate`.
   */
  learningRate: number;
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

/** How one kind of optimizer changes one parameter. */
interface Rule {
  /** Names of the state tensors of a parameter. */
  readonly slots: readonly string[];
  /** First value of the state. */
  readonly initial: number;
  /** The step size from the learning rate and the number of this update (f32, 1 for the first). */
  readonly stepSize: (learningRate: Tensor, t: Tensor) => Tensor;
  /** The new parameter and its new state. Elementwise in w, g and state. */
  readonly step: (w: Tensor, g: Tensor, state: readonly Tensor[], stepSize: Tensor) => readonly [Tensor, ...Tensor[]];
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
}

type Clipping = (grads: readonly Tensor[]) => readonly Tensor[];

const squares = (g: Tensor): Tensor => sum(square(g));

function clippingOf(kind: string, { clipNorm = null, globalClipNorm = null, clipValue = null }: OptimizerOptions): Clipping {
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

export function checkRate(kind: string, rate: number): void {
  if (!(rate >= 0 && Number.isFinite(rate)))
    throw new ArgumentError(`${kind}: learningRate must be a number of at least 0 or a schedule, got ${String(rate)}`);
}

export const COMMON = ["learningRate", "weightDecay", "clipNorm", "globalClipNorm", "clipValue"];

/** The name of a parameter's state in files. */
const stateName = (slot: string, i: number): string => `${slot}/${i}`;

/** Updates of Lockstep's own optimizers, with schedules of its own. */
const MADE = new WeakSet<Optimizer["update"]>();

/** True where kind and config are all that it takes to make the optimizer again. */
export const isMadeOptimizer = ({ update }: Optimizer): boolean => MADE.has(update);

/** The gradients in the order of the parameters that they belong to by name. @throws ShapeError where the two have not one structure */
function matching(kind: string, params: Tree, grads: Tree): Tensor[] {
  const found = new Map<string, Tensor>();
  mapTree(grads, (g, path) => {
    found.set(path, g);
    return g;
  });
  const paths: string[] = [];
  mapTree(params, (p, path) => {
    paths.push(path);
    return p;
  });
  const missing = paths.find((path) => !found.has(path));
  if (missing === undefined && paths.length === found.size) return paths.map((path) => found.get(path) as Tensor);
  const shown = (list: Iterable<string>): string => [...list].join(", ") || "nothing";
  throw new ShapeError(`${kind}: expected gradients of the structure of the parameters, ${shown(paths)}, got ${shown(found.keys())}`);
}

export function optimizer(kind: string, options: OptimizerOptions, rest: { readonly [option: string]: Attr }, rule: Rule): Optimizer {
  const { weightDecay = null, clipNorm = null, globalClipNorm = null, clipValue = null } = options;
  checkOptions(kind, options, [...COMMON, ...Object.keys(rest)]);
  for (const [name, value] of Object.entries(rest)) {
    if (typeof value === "boolean" || name === "nesterov" || name === "centered" || name === "amsgrad")
      checkFlag(kind, name, value as boolean);
    else checkNumber(kind, name, value as number, 0);
  }
  if (weightDecay !== null) checkNumber(kind, "weightDecay", weightDecay, 0);
  const learningRate = options.learningRate as number | Schedule;
  const clipped = clippingOf(kind, options);
  const schedule =
    typeof learningRate === "object" && learningRate !== null && typeof learningRate.value === "function" ? learningRate : null;
  if (schedule === null) checkRate(kind, learningRate as number);
  let rate = schedule === null ? (learningRate as number) : 0;
  const rateTensor = tensor(rate, [], "f32");
  const iterations = tensor(0, [], "i32");
  /** State by parameter number, and each parameter's number. State that was loaded first waits here for its parameter. */
  let slots: (readonly Tensor[])[] = [];
  const numbers = new Map<Tensor, number>();

  function checkStructure(weights: readonly Tensor[], grads: readonly Tensor[]): void {
    if (weights.length !== grads.length || weights.some((w, i) => String(w) !== String(grads[i]))) {
      throw new ShapeError(`${kind}: expected gradients ${weights.join(", ")}, got ${grads.join(", ")}`);
    }
  }

  /** The state of each parameter, made where there is none. */
  function statesOf(params: readonly Tensor[]): readonly (readonly Tensor[])[] {
    const fresh = params.filter((p) => !numbers.has(p));
    // Bias corrections count the steps of all: what joins later would begin as if it had made them.
    if (numbers.size > 0 && fresh.length > 0)
      throw new LockstepError(`${kind}: it has updated other parameters before; make an optimizer for each set of them`);
    const waiting = slots.length - numbers.size;
    if (waiting > fresh.length)
      throw new FileError(
        `${kind}: the loaded state is of ${slots.length} parameters, there are ${numbers.size + fresh.length}; it belongs to another model`,
      );
    fresh.forEach((p, j) => {
      const wrong = slots[numbers.size + j]?.find((t) => !sameShape(t.shape, p.shape));
      if (wrong !== undefined)
        throw new FileError(
          `${kind}: the loaded state of parameter ${numbers.size + j} has shape ${showShape(wrong.shape)}, the parameter ` +
            `${showShape(p.shape)}; it belongs to another model`,
        );
    });
    for (const p of fresh) {
      const i = numbers.size;
      slots[i] ??= rule.slots.map(() => (rule.initial === 0 ? zeros(p.shape) : full(p.shape, rule.initial)));
      numbers.set(p, i);
    }
    return params.map((p) => slots[numbers.get(p) as number]);
  }

  /** What `apply` ran last: a loop calls it with the same parameters. */
  let applied: { readonly params: readonly Tensor[]; readonly program: Executable } | null = null;

  async function applyOnce(weights: readonly Tensor[], given: readonly Tensor[], update: Optimizer["update"]): Promise<void> {
    checkStructure(weights, given);
    const backend = await defaultBackend();
    const find = async (): Promise<Executable> => {
      if (
        applied?.program.backend === backend &&
        !applied.program.closed &&
        applied.params.length === weights.length &&
        applied.params.every((w, i) => w === weights[i])
      )
        return applied.program;
      const graph = new Graph();
      trace(graph, () =>
        update(
          weights,
          given.map((g) => graph.input(g)),
        ),
      );
      applied = { params: weights, program: await Executable.create(graph, [], backend) };
      return applied.program;
    };
    await using(find, given, (program) => inTurn(program, given, () => {}));
  }

  const scheduleConfig = schedule && { kind: schedule.kind, config: schedule.config as Attr };
  const made: Optimizer = {
    kind,
    config: { learningRate: scheduleConfig ?? rate, ...rest, weightDecay, clipNorm, globalClipNorm, clipValue },
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
      checkStructure(weights, given);
      for (const w of weights) if (w.dtype !== "f32") throw new ShapeError(`${kind}: parameters must be f32, got ${w}`);
      const states = statesOf(weights);
      const next = add(iterations, 1);
      const now = schedule === null ? rateTensor : schedule.value(cast(iterations, "f32"));
      const size = rule.stepSize(now, cast(next, "f32"));
      // What the decay leaves of a weight, once for all: one step for each weight instead of three.
      const left = weightDecay ? sub(1, mul(now, weightDecay)) : null;
      clipped(given).forEach((g, i) => {
        const w = left ? mul(weights[i], left) : weights[i];
        const [value, ...state] = rule.step(w, g, states[i], size);
        assign(weights[i], value);
        state.forEach((s, k) => assign(states[i][k], s));
      });
      if (schedule !== null) assign(rateTensor, now);
      assign(iterations, next);
    },
    apply(params, grads) {
      if (currentGraph() !== null) throw new LockstepError(`${kind}: inside compile(fn) call update()`);
      return applyOnce(flatten(params), matching(kind, params, grads), (w, g) => this.update(w, g));
    },
    release() {
      for (const t of slots.flat()) t.dispose();
      slots = [];
      numbers.clear();
      iterations.set(new Int32Array(1));
    },
    state() {
      const all: { [name: string]: Tensor } = { iterations, learningRate: rateTensor };
      slots.forEach((list, i) => list.forEach((t, k) => (all[stateName(rule.slots[k], i)] = t)));
      return all;
    },
    load(saved) {
      const count =
        numbers.size > 0 || rule.slots.length === 0
          ? slots.length
          : Object.keys(saved).filter((name) => name.startsWith(`${rule.slots[0]}/`)).length;
      const expected = new Map<string, Shape>([["iterations", []], ["learningRate", []]]);
      for (let i = 0; i < count; i++) {
        rule.slots.forEach((slot, k) => {
          const shape = numbers.size > 0 ? slots[i][k].shape : saved[stateName(rule.slots[0], i)]?.shape;
          expected.set(stateName(slot, i), shape ?? []);
        });
      }
      for (const [name, shape] of expected) {
        if (!Object.hasOwn(saved, name))
          throw new FileError(`${kind}: the saved state has no "${name}"; it belongs to another optimizer or model`);
        const { shape: own, data } = saved[name];
        if (!sameShape(own, shape) || data.length !== shape.reduce((a, b) => a * b, 1))
          throw new FileError(
            `${kind}: saved "${name}" must have shape ${showShape(shape)}, got ${showShape(own)} with ${data.length} elements; it ` +
              "belongs to another model",
          );
      }
      const unknown = Object.keys(saved).find((name) => !expected.has(name));
      if (unknown !== undefined)
        throw new FileError(
          `${kind}: the saved state has "${unknown}", which this optimizer does not; it belongs to another optimizer or model`,
        );
      const elements = (slot: string, i: number): Float32Array => new Float32Array(saved[stateName(slot, i)].data);
      if (numbers.size === 0)
        slots = Array.from({ length: count }, (_, i) =>
          rule.slots.map((slot) => tensor(elements(slot, i), saved[stateName(slot, i)].shape)),
        );
      else slots.forEach((list, i) => list.forEach((t, k) => t.set(elements(rule.slots[k], i))));
      iterations.set(Int32Array.from(saved.iterations.data));
      const loaded = saved.learningRate.data[0];
      rateTensor.set(Float32Array.of(loaded));
      if (Math.fround(rate) !== loaded) rate = loaded;
    },
  };
  if (schedule === null || isMadeSchedule(schedule)) MADE.add(made.update);
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

/** @file The state of an optimizer: tensors beside each parameter and scalars of all, made where there are none, saved and loaded. */
import type { TypedArray } from "../dtype.ts";
import { FileError, LockstepError } from "../errors.ts";
import { sameShape, showShape, sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { full, zeros } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";

/** State as it is read from a file. */
export interface SavedState {
  readonly [name: string]: { readonly shape: Shape; readonly data: TypedArray };
}

/** How one kind of optimizer changes one parameter. `S`: what it makes once for all parameters of the learning rate and the step. */
export interface Rule<S = Tensor> {
  /** Names of the state tensors of a parameter. */
  readonly slots: readonly string[];
  /** First value of the state. */
  readonly initial: number;
  /** A scalar of the state that all parameters share; `next` is its value in update `t`. */
  readonly shared?: { readonly name: string; readonly initial: number; readonly next: (before: Tensor, t: Tensor) => Tensor };
  /** The step size from the learning rate and the number of this update (f32, 1 for the first). */
  readonly stepSize: (learningRate: Tensor, t: Tensor, shared: Tensor) => S;
  /** The new parameter and its new state. */
  readonly step: (w: Tensor, g: Tensor, state: readonly Tensor[], stepSize: S) => readonly [Tensor, ...Tensor[]];
  /** In the place of the option. */
  readonly weightDecay?: number | null;
}

/** Rules for parameters of several kinds. The first one's slots are those of all. */
export interface Rules<S = Tensor> {
  readonly all: readonly Rule<S>[];
  /** The rule of a parameter; `path` is its place in what was given. */
  readonly of: (param: Tensor, path: string) => Rule<S>;
}

/** Slots that options add. */
export const ACCUMULATED = "gradientAccumulator";
export const AVERAGE = "average";

/** What one parameter has. */
interface Held<S> {
  readonly rule: Rule<S>;
  readonly slots: { readonly [slot: string]: Tensor };
}

/** The name of a parameter's state in files. */
const stateName = (slot: string, i: number): string => `${slot}/${i}`;

export class OptimizerState<S> {
  readonly #kind: string;
  readonly #rules: Rules<S>;
  readonly #extra: readonly string[];
  readonly #scalars: { readonly [name: string]: Tensor };
  /** What the scalars begin with. */
  readonly #first: readonly (readonly [name: string, elements: TypedArray])[];
  /** By parameter number, which each parameter has. State that was loaded first waits here for its parameter. */
  #slots: { readonly [slot: string]: Tensor }[] = [];
  readonly #numbers = new Map<Tensor, Held<S>>();

  /** `extra`: slots of all parameters besides those of the rules. `scalars`: by their names in files. */
  constructor(kind: string, rules: Rules<S>, extra: readonly string[], scalars: { readonly [name: string]: Tensor }) {
    this.#kind = kind;
    this.#rules = rules;
    this.#extra = extra;
    this.#scalars = scalars;
    this.#first = Object.entries(scalars).map(([name, t]) => [name, (t.host as TypedArray).slice()]);
  }

  /** The rule and state of each parameter, made where there is none. `paths`: where they stand in what was given. */
  of(params: readonly Tensor[], paths: readonly string[]): readonly Held<S>[] {
    const [kind, numbers, slots] = [this.#kind, this.#numbers, this.#slots];
    const fresh = params.filter((p) => !numbers.has(p));
    // Bias corrections count the steps of all: what joins later would begin as if it had made them.
    if (numbers.size > 0 && fresh.length > 0)
      throw new LockstepError(`${kind}: it has updated other parameters before; make an optimizer for each set of them`);
    const waiting = slots.length - numbers.size;
    if (waiting > fresh.length)
      throw new FileError(
        `${kind}: the loaded state is of ${slots.length} parameters, there are ${numbers.size + fresh.length}; it belongs to another model`,
      );
    const rules = fresh.map((p) => this.#rules.of(p, paths[params.indexOf(p)]));
    const names = rules.map((rule) => [...rule.slots, ...this.#extra]);
    fresh.forEach((p, i) => {
      if (slots[i] === undefined) return;
      const shown = (list: [string, Shape][]): string => list.map(([slot, shape]) => `${slot} ${showShape(shape)}`).join(", ");
      const has = shown(Object.entries(slots[i]).map(([slot, { shape }]) => [slot, shape]));
      const needs = shown(names[i].map((slot) => [slot, p.shape]));
      if (has !== needs)
        throw new FileError(`${kind}: the loaded state of parameter ${i} is ${has}, expected ${needs}; it belongs to another model`);
    });
    fresh.forEach((p, i) => {
      const begin = (slot: string): Tensor =>
        rules[i].initial === 0 || this.#extra.includes(slot) ? zeros(p.shape) : full(p.shape, rules[i].initial);
      // Saved while parameters and averages had changed places.
      if (slots[i] && this.#scalars.swapped?.host?.[0] === 1) {
        const [held, kept] = [p.host, slots[i][AVERAGE].host] as (TypedArray | null)[];
        if (held === null || kept === null)
          throw new LockstepError(`${kind}: parameters were averages when the state was saved, and have changed since; load them again`);
        p.set(kept.slice() as TypedArray);
        slots[i][AVERAGE].set(held.slice() as TypedArray);
      }
      slots[i] ??= Object.fromEntries(names[i].map((slot) => [slot, begin(slot)]));
      numbers.set(p, { rule: rules[i], slots: slots[i] });
    });
    if (fresh.length > 0) this.#scalars.swapped?.set(new Int32Array(1));
    return params.map((p) => numbers.get(p) as Held<S>);
  }

  /** Those that have state. */
  get params(): readonly Tensor[] {
    return [...this.#numbers.keys()];
  }

  /** By their names in files. */
  all(): { [name: string]: Tensor } {
    const all = { ...this.#scalars };
    this.#slots.forEach((slots, i) => Object.entries(slots).forEach(([slot, t]) => (all[stateName(slot, i)] = t)));
    return all;
  }

  /** Gives back the bytes of what belongs to parameters, and begins to count anew; the learning rate stays. */
  release(): void {
    for (const t of this.#slots.flatMap((slots) => Object.values(slots))) t.dispose();
    this.#slots = [];
    this.#numbers.clear();
    for (const [name, first] of this.#first) if (name !== "learningRate") this.#scalars[name].set(first);
  }

  /** @throws FileError for entries that are missing, unknown or of another shape; nothing has changed then. */
  load(saved: SavedState): void {
    const kind = this.#kind;
    const has = (name: string): boolean => Object.hasOwn(saved, name);
    const common = [...this.#rules.all[0].slots, ...this.#extra];
    const known = [...new Set([...this.#rules.all.flatMap((rule) => rule.slots), ...this.#extra])];
    const bound = this.#numbers.size > 0 || common.length === 0;
    const count = bound ? this.#slots.length : Object.keys(saved).filter((name) => name.startsWith(`${common[0]}/`)).length;
    const slotsOf = (i: number): readonly string[] =>
      bound ? Object.keys(this.#slots[i]) : known.filter((slot) => common.includes(slot) || has(stateName(slot, i)));
    const expected = new Map<string, Shape>(Object.entries(this.#scalars).map(([name, t]) => [name, t.shape]));
    for (let i = 0; i < count; i++) {
      for (const slot of slotsOf(i))
        expected.set(stateName(slot, i), bound ? this.#slots[i][slot].shape : (saved[stateName(common[0], i)]?.shape ?? []));
    }
    for (const [name, shape] of expected) {
      if (!has(name)) throw new FileError(`${kind}: the saved state has no "${name}"; it belongs to another optimizer or model`);
      const { shape: own, data } = saved[name];
      if (!sameShape(own, shape) || data.length !== sizeOf(shape))
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
    if (!bound) {
      this.#slots = Array.from({ length: count }, (_, i) =>
        Object.fromEntries(slotsOf(i).map((slot) => [slot, zeros(saved[stateName(slot, i)].shape)])),
      );
    }
    for (const [name, t] of Object.entries(this.all())) {
      const { data } = saved[name];
      t.set(t.dtype === "i32" ? Int32Array.from(data) : Float32Array.from(data));
    }
  }
}

/**
 * @file What programs make of weights alone: filters with channels last, filters times the factors of a normalization, gates in another
 * order. It is made once, by a program of its own, and again where weights have changed; weights themselves stay as the file has them, and
 * can be trained. A trace that finds something missing ends in `Missing`, and is made anew when it is there.
 */
import { assign, compile, emptyOn } from "../index.ts";
import type { Backend, Compiled, Tensor } from "../index.ts";

/** Makes a tensor of weights. */
export type Make = (...weights: Tensor[]) => Tensor;

/** What is made of some weights. */
interface Kept {
  readonly weights: readonly Tensor[];
  readonly make: Make;
  readonly shape: readonly number[];
  readonly dtype: Tensor["dtype"];
}

/** Some of that, made by one program, and the versions of the weights that it was made of. */
interface Batch {
  readonly program: Compiled<[], Tensor[]>;
  readonly made: readonly Tensor[];
  readonly weights: readonly Tensor[];
  versions: string;
}

const versionsOf = (weights: readonly Tensor[]): string => weights.map((t) => t.version).join();

/** Thrown by a trace that would make anew, in each run, what can be kept. */
export class Missing extends Error {
  constructor() {
    super("what is made of weights is not there yet");
  }
}

/** What one model keeps. */
export class Keeper {
  readonly #backend: Backend;
  readonly #made = new Map<string, Tensor>();
  readonly #wanted = new Map<string, Kept>();
  readonly #batches: Batch[] = [];
  readonly #numbers = new WeakMap<Tensor, number>();
  #count = 0;
  /** What is being made; null where all is there. */
  #pending: Promise<void> | null = null;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** What `make` makes of weights, which `key` tells from what else is made of them. While tracing. */
  find(key: string, weights: readonly Tensor[], make: Make): Tensor {
    const name = `${key} ${weights.map((t) => this.#numberOf(t)).join()}`;
    const there = this.#made.get(name);
    if (there !== undefined) return there;
    const t = make(...weights);
    this.#wanted.set(name, { weights, make, shape: t.shape, dtype: t.dtype });
    return t;
  }

  /** @throws Missing where a trace has asked for what is not there */
  check(): void {
    if (this.#wanted.size > 0) throw new Missing();
  }

  /** Makes what traces have asked for. Runs that begin together ask for the same, which is made once. */
  fulfil(): Promise<void> {
    return this.#behind(() => this.#fulfil());
  }

  async #fulfil(): Promise<void> {
    const wanted = [...this.#wanted].filter(([name]) => !this.#made.has(name));
    this.#wanted.clear();
    if (wanted.length === 0) return;
    const made: Tensor[] = [];
    try {
      for (const [, { shape, dtype }] of wanted) made.push(await emptyOn(this.#backend, shape, dtype));
      const program = compile(
        (): Tensor[] => {
          wanted.forEach(([, { weights, make }], i) => assign(made[i], make(...weights)));
          return [];
        },
        { backend: this.#backend },
      );
      const batch: Batch = { program, made, weights: [...new Set(wanted.flatMap(([, { weights }]) => weights))], versions: "" };
      await this.#remake(batch);
      this.#batches.push(batch);
    } catch (error) {
      for (const t of made) t.dispose();
      throw error;
    }
    // Not before: a run that begins meanwhile would read what is not there yet.
    wanted.forEach(([name], i) => this.#made.set(name, made[i]));
  }

  /** Makes again what weights that have changed went into. Null where there is nothing to wait for. */
  refresh(): Promise<void> | null {
    const isStale = (b: Batch): boolean => b.versions !== versionsOf(b.weights);
    if (this.#batches.some(isStale))
      void this.#behind(async () => void (await Promise.all(this.#batches.filter(isStale).map((b) => this.#remake(b)))));
    return this.#pending;
  }

  /** Runs `task` when those before it are done. */
  #behind(task: () => Promise<void>): Promise<void> {
    const done = (this.#pending ?? Promise.resolve()).then(task, task);
    const pending = done.finally(() => {
      if (this.#pending === pending) this.#pending = null;
    });
    this.#pending = pending;
    return pending;
  }

  /** Frees what was made, and programs. */
  dispose(): void {
    for (const { program, made } of this.#batches) {
      program.close();
      for (const t of made) t.dispose();
    }
    this.#batches.length = 0;
    this.#made.clear();
  }

  async #remake(batch: Batch): Promise<void> {
    const versions = versionsOf(batch.weights);
    await batch.program();
    batch.versions = versions;
  }

  #numberOf(t: Tensor): number {
    let number = this.#numbers.get(t);
    if (number === undefined) this.#numbers.set(t, (number = this.#count++));
    return number;
  }
}

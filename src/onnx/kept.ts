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

  /** Makes what traces have asked for. */
  async fulfil(): Promise<void> {
    const wanted = [...this.#wanted];
    this.#wanted.clear();
    const made: Tensor[] = [];
    try {
      for (const [, { shape, dtype }] of wanted) made.push(await emptyOn(this.#backend, shape, dtype));
    } catch (error) {
      for (const t of made) t.dispose();
      throw error;
    }
    const program = compile(
      (): Tensor[] => {
        wanted.forEach(([, { weights, make }], i) => assign(made[i], make(...weights)));
        return [];
      },
      { backend: this.#backend },
    );
    const batch: Batch = { program, made, weights: [...new Set(wanted.flatMap(([, { weights }]) => weights))], versions: "" };
    this.#batches.push(batch);
    wanted.forEach(([name], i) => this.#made.set(name, made[i]));
    await this.#remake(batch);
  }

  /** Makes again what weights that have changed went into. Null where there is nothing to wait for. */
  refresh(): Promise<void> | null {
    const stale = this.#batches.filter((b) => b.versions !== versionsOf(b.weights));
    return stale.length === 0 ? null : Promise.all(stale.map((b) => this.#remake(b))).then(() => undefined);
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
    batch.versions = versionsOf(batch.weights);
    await batch.program();
  }

  #numberOf(t: Tensor): number {
    let number = this.#numbers.get(t);
    if (number === undefined) this.#numbers.set(t, (number = this.#count++));
    return number;
  }
}

/**
 * @file Reading an iterable of batches: gone on with over epochs, and begun again. Loaded on demand, and whole in itself, as padding.ts is.
 */
import { kindOf } from "../check.ts";
import { ArgumentError, DataError } from "../errors.ts";
import type { Inputs, Targets } from "./data.ts";

/** What gives batches, which are looked at one after another. */
type Source = Iterable<unknown> | AsyncIterable<unknown> | (() => Iterable<unknown> | AsyncIterable<unknown>);
type IsIterable = (x: unknown) => x is Iterable<unknown> | AsyncIterable<unknown>;

/** @throws ArgumentError for what is no batch. */
function partsOf(who: string, batch: unknown): readonly [Inputs, Targets, Targets?] {
  if (Array.isArray(batch) && (batch.length === 2 || batch.length === 3)) return batch as unknown as readonly [Inputs, Targets, Targets?];
  if (typeof batch === "object" && batch !== null && "xs" in batch && "ys" in batch) return [batch.xs as Inputs, batch.ys as Targets];
  const length = Array.isArray(batch) ? ` of ${batch.length}` : "";
  throw new ArgumentError(`${who}: expected batches [x, y], [x, y, weights] or { xs, ys }, got ${kindOf(batch)}${length}`);
}

/** Reads batches one after another; when there are no more it begins again. */
export class BatchReader {
  readonly #who: string;
  readonly #batches: Source;
  #iterator: Iterator<unknown> | AsyncIterator<unknown> | null = null;

  readonly #isIterable: IsIterable;

  constructor(who: string, batches: Source, isIterable: IsIterable) {
    this.#who = who;
    this.#batches = batches;
    this.#isIterable = isIterable;
  }

  /**
   * The next batch, or null at the end: what comes after that is the first again. @throws ArgumentError for what is no batch or gives
   * none.
   */
  async next(): Promise<readonly [Inputs, Targets, Targets?] | null> {
    this.#iterator ??= this.#begin();
    const { done, value } = await this.#iterator.next();
    if (done === true) {
      this.#iterator = null;
      return null;
    }
    return partsOf(this.#who, await value);
  }

  /** Lets a generator that has not come to its end go. The next batch is the first again. */
  async close(): Promise<void> {
    const iterator = this.#iterator;
    this.#iterator = null;
    await iterator?.return?.();
  }

  /** The error for an iterable that has nothing more to give. */
  spent(what: string): DataError {
    const advice = "a generator object is spent after one pass: pass the generator function";
    return new DataError(`${this.#who}: the iterable gave ${what}; ${advice}`);
  }

  #begin(): Iterator<unknown> | AsyncIterator<unknown> {
    const list: unknown = typeof this.#batches === "function" ? this.#batches() : this.#batches;
    if (!this.#isIterable(list)) {
      const expected = "a function that gives an iterable of batches [x, y]";
      throw new ArgumentError(`${this.#who}: expected ${expected}, got ${String(list)}`);
    }
    return Symbol.asyncIterator in list ? list[Symbol.asyncIterator]() : list[Symbol.iterator]();
  }
}

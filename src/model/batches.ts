/** @file Iterables of batches: what a batch may be, and how one is read, gone on with over epochs, and begun again. */
import { kindOf } from "../check.ts";
import { ArgumentError, DataError } from "../errors.ts";
import { Tensor } from "../tensor.ts";
import type { Inputs, Targets } from "./data.ts";

/** A batch of an iterable: inputs, targets and, optionally, sample weights; `{ xs, ys }` as TensorFlow.js writes it. */
export type Batch = readonly [Inputs, Targets] | readonly [Inputs, Targets, Targets] | { readonly xs: Inputs; readonly ys: Targets };

/** What gives batches, anew each time that it is iterated; a function, such as an (async) generator function, is called for that. */
export type Batches = Iterable<Batch> | AsyncIterable<Batch> | (() => Iterable<Batch> | AsyncIterable<Batch>);

/** Iterable, but no batch after another: the one would give keys and values, the other single samples without targets. */
const isCollection = (x: unknown): boolean => x instanceof Map || x instanceof Set || x instanceof Tensor || ArrayBuffer.isView(x);

const isIterable = (x: unknown): x is Iterable<unknown> | AsyncIterable<unknown> =>
  typeof x === "object" && x !== null && !isCollection(x) && (Symbol.asyncIterator in x || Symbol.iterator in x);

/**
 * True for what yields batches instead of being one array of samples, or makes such a thing anew for each epoch, as a generator
 * function does.
 */
export const isBatches = (x: unknown): x is Batches => typeof x === "function" || (isIterable(x) && !Array.isArray(x));

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
  readonly #batches: Batches;
  #iterator: Iterator<unknown> | AsyncIterator<unknown> | null = null;

  constructor(who: string, batches: Batches) {
    this.#who = who;
    this.#batches = batches;
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
    if (!isIterable(list)) {
      const expected = "a function that gives an iterable of batches [x, y]";
      throw new ArgumentError(`${this.#who}: expected ${expected}, got ${String(list)}`);
    }
    return Symbol.asyncIterator in list ? list[Symbol.asyncIterator]() : list[Symbol.iterator]();
  }
}

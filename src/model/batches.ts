/** @file Iterables of batches: what a batch may be. What reads them (reader.ts) is loaded where one is given. */
import { Tensor } from "../tensor.ts";
import type { Inputs, Targets } from "./data.ts";
import type { BatchReader } from "./reader.ts";

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

/** What reads `batches`. */
export async function readerOf(who: string, batches: Batches): Promise<BatchReader> {
  const { BatchReader } = await import("./reader.ts");
  return new BatchReader(who, batches, isIterable);
}

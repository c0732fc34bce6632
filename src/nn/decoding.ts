/**
 * @file Decoding: a sequence is read a few steps at a time, and layers go on where the last run ended. Positions of steps come from here,
 * and layers that attend hand their new keys and values over and get those of all steps read so far. Nobody decodes by default: the steps
 * of a run are all there are, at positions from 0.
 */
import { LockstepError } from "../errors.ts";
import type { attention } from "../ops/attention.ts";
import type { Tensor, TensorLike } from "../tensor.ts";

/** Keys and values to attend to, with what the op `attention` must know of them. */
export interface Attended {
  /** [batch, keys, heads, features] */
  readonly k: Tensor;
  /** [batch, keys, heads, values] */
  readonly v: Tensor;
  /** Position of the run's first query among the keys: a number, or i32 [batch]. */
  readonly offset: TensorLike;
  /** i32 [batch]: how many keys of each sequence count. Default: all. */
  readonly lengths?: Tensor;
  /** What attends to them, where they are not f32. Default: the op `attention`. */
  readonly attend?: typeof attention;
}

/** What keeps keys and values from run to run, while a model is traced for it. */
export interface Decoding {
  /** The most steps that a sequence can have. */
  readonly capacity: number;
  /** Positions of this run's `time` steps: i32 [time], or [batch, time] where sequences have their own. */
  positions(time: number): Tensor;
  /**
   * Puts k [batch, time, heads, features] and v [batch, time, heads, values] of this run's steps behind those kept of earlier steps.
   * Called once for each call of a layer that attends to itself, in the order of these calls, which is the same in every trace.
   */
  append(k: Tensor, v: Tensor): Attended;
}

let current: Decoding | null = null;

/** Runs `fn` with layers that decode with `decoding`. */
export function withDecoding<R>(decoding: Decoding, fn: () => R): R {
  const outer = current;
  current = decoding;
  try {
    return fn();
  } finally {
    current = outer;
  }
}

/** True while a model is traced for decoding. */
export const isDecoding = (): boolean => current !== null;

/** Where `time` steps are, and how many positions there are; null: at 0 to time - 1. */
export const positionsOf = (time: number): { readonly at: Tensor; readonly count: number } | null =>
  current && { at: current.positions(time), count: current.capacity };

/**
 * What queries attend to, given the keys and values of their own steps. `causal` says whether no query sees a later key, `masked` whether
 * there is a mask of keys. @throws LockstepError for layers that cannot decode.
 */
export function attended(k: Tensor, v: Tensor, causal: boolean, masked: boolean): Attended {
  if (current === null) return { k, v, offset: 0 };
  if (!causal)
    throw new LockstepError("it attends to later steps, which are not there while text is generated; it needs useCausalMask: true");
  if (masked)
    throw new LockstepError("steps with a mask cannot be generated: it would have to hold for steps read before; leave masks out");
  return current.append(k, v);
}

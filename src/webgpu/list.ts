/** @file Lists of dispatches: what encoders write, and of which programs are made. */
import type { Bound } from "./dispatch.ts";
import type { Declared } from "./shader.ts";

export type Space = Bound["place"]["space"];

/** A resource of a dispatch: bytes of a binding, slot or temporary, or nothing. */
export interface Resource {
  readonly binding: number;
  readonly space: Space | "absent";
  readonly index: number;
  readonly offset: number;
  readonly bytes: number;
  readonly writable: boolean;
}

export interface EncodedDispatch {
  readonly label: string;
  readonly text: string;
  readonly entry: string;
  readonly alone: boolean;
  readonly declared: readonly Declared[];
  /** What the text is made of. */
  readonly declarations: ReadonlyMap<string, string>;
  readonly resources: readonly Resource[];
  readonly groups: readonly [number, number, number];
}

/** Dispatches, and lists of them that are done several times. */
export type Listed<T> = T | { readonly steps: number; readonly list: readonly Listed<T>[] };

export interface EncodedPlan {
  readonly list: readonly Listed<EncodedDispatch>[];
  /** Those of the list, in its order, each once. */
  readonly dispatches: readonly EncodedDispatch[];
  /** Bytes of each temporary. Calls take turns with them. */
  readonly temporaries: readonly number[];
  /** Absent outputs of one dispatch at most. */
  readonly absent: number;
}

/** Dispatches in their order, those of a loop once. */
export function* flat<T extends object>(list: readonly Listed<T>[]): Generator<T, undefined> {
  for (const item of list) {
    if ("list" in item) yield* flat(item.list);
    else yield item;
  }
}

/** A list of others in the place of the dispatches. */
export const mapped = <T extends object, R extends object>(list: readonly Listed<T>[], fn: (item: T) => R): Listed<R>[] =>
  list.map((item) => ("list" in item ? { steps: item.steps, list: mapped(item.list, fn) } : fn(item)));

/** How many dispatches a run does. */
export const count = <T extends object>(list: readonly Listed<T>[]): number =>
  list.reduce((sum, item) => sum + ("list" in item ? item.steps * count(item.list) : 1), 0);

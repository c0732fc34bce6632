/** @file Values that are made once, and those of them that make room for others. */
import { TRAINING } from "./training.ts";

/** Anything that maps: Map and WeakMap. */
interface Store<K, V> {
  get(key: K): V | undefined;
  set(key: K, value: V): unknown;
  delete(key: K): boolean;
}

/**
 * What `store` has for `key`, or what `make` gives, from now on. A promise that is rejected is forgotten, so that the next call tries
 * again.
 */
export function once<K, V>(store: Store<K, V>, key: K, make: () => V): V {
  const known = store.get(key);
  if (known !== undefined) return known;
  const value = make();
  store.set(key, value);
  if (value instanceof Promise) value.catch(() => store.delete(key));
  return value;
}

/** Values that a cache keeps, however small: each is objects of some 10 KB as well. */
const MOST_VALUES = 256;

/** Counts how often layers came to compute something else than was traced of them. */
let generation = 0;

/** From now on all that is traced, and kept in an Lru, is made anew: a layer may be part of any function and model. */
export function traceAnew(): void {
  generation++;
}

/** What an Lru keeps. */
interface Kept {
  readonly bytes: number;
  /** True when something else closed it: then it is made again. */
  readonly closed?: boolean;
  close?(): void;
}

interface Entry<V> {
  readonly made: Promise<V>;
  /** Null until it is made. */
  value: V | null;
}

/**
 * Values made once by key. Those not used for longest are closed when there are too many, or too large ones; what is being made, was just
 * made or was used last stays.
 */
export class Lru<V extends Kept> {
  readonly #most: number;
  readonly #mostValues: number;
  /** In the order of their last use. */
  readonly #entries = new Map<string, Entry<V>>();
  /** What was used last, which is the last of them. */
  #last: Entry<V> | null = null;
  #generation = generation;

  /** `most`: bytes that all may have together. */
  constructor(most: number, mostValues = MOST_VALUES) {
    this.#most = most;
    this.#mostValues = mostValues;
  }

  /** What is kept for `key`, or what `make` gives, which is forgotten if it is rejected. */
  get(key: string, make: () => Promise<V>): Promise<V> {
    if (TRAINING && this.#generation !== generation) {
      this.#generation = generation;
      this.clear();
    }
    const kept = this.#entries.get(key);
    const entry = kept === undefined || kept.value?.closed === true ? this.#make(key, make) : kept;
    if (entry !== this.#last) {
      this.#entries.delete(key);
      this.#entries.set(key, (this.#last = entry));
    }
    return entry.made;
  }

  /** Closes all. */
  clear(): void {
    for (const { made, value } of this.#entries.values()) {
      if (value !== null) value.close?.();
      else
        made.then(
          (v) => v.close?.(),
          () => {},
        );
    }
    this.#entries.clear();
    this.#last = null;
  }

  #make(key: string, make: () => Promise<V>): Entry<V> {
    const entry: Entry<V> = { made: make(), value: null };
    // Cleared meanwhile, or made again.
    const gone = (): boolean => this.#entries.get(key) !== entry;
    entry.made.then(
      (value) => {
        if (gone()) return;
        entry.value = value;
        const all = [...this.#entries];
        let [bytes, count] = [all.reduce((sum, [, e]) => sum + (e.value?.bytes ?? 0), 0), all.length];
        // What was used last.
        all.pop();
        for (const [k, e] of all) {
          if (bytes <= this.#most && count <= this.#mostValues) return;
          if (e.value === null || e === entry) continue;
          this.#entries.delete(k);
          bytes -= e.value.bytes;
          count--;
          e.value.close?.();
        }
      },
      () => gone() || this.#entries.delete(key),
    );
    return entry;
  }
}

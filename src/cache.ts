/** @file Values that are made once, and those of them that make room for others. */

/** Anything that maps: Map and WeakMap. */
interface Store<K, V> {
  get(key: K): V | undefined;
  set(key: K, value: V): unknown;
  delete(key: K): boolean;
}

/** What `store` has for `key`, or what `make` gives, from now on. A promise that is rejected is forgotten, so that the next call tries again. */
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

/** Values made once by key. Those not used for longest are closed when there are too many, or too large ones; what is being made, was just made or was used last stays. */
export class Lru<V extends Kept> {
  readonly #most: number;
  readonly #mostValues: number;
  /** In the order of their last use. */
  readonly #entries = new Map<string, Entry<V>>();
  #last: Entry<V> | null = null;
  #bytes = 0;

  /** `most`: bytes that all may have together. */
  constructor(most: number, mostValues = MOST_VALUES) {
    this.#most = most;
    this.#mostValues = mostValues;
  }

  /** What is kept for `key`, or what `make` gives, which is forgotten if it is rejected. */
  get(key: string, make: () => Promise<V>): Promise<V> {
    let entry = this.#entries.get(key);
    if (entry !== undefined && entry === this.#last && entry.value?.closed !== true) return entry.made;
    if (entry !== undefined) this.#entries.delete(key);
    if (entry === undefined || entry.value?.closed === true) {
      this.#bytes -= entry?.value?.bytes ?? 0;
      entry = this.#make(key, make);
    }
    this.#entries.set(key, entry);
    this.#last = entry;
    return entry.made;
  }

  /** Closes all. */
  clear(): void {
    const all = [...this.#entries.values()];
    this.#entries.clear();
    this.#last = null;
    this.#bytes = 0;
    for (const { made, value } of all) {
      if (value !== null) value.close?.();
      else made.then((v) => v.close?.(), () => {});
    }
  }

  #make(key: string, make: () => Promise<V>): Entry<V> {
    const entry: Entry<V> = { made: make(), value: null };
    entry.made.then((value) => {
      // Cleared meanwhile.
      if (this.#entries.get(key) !== entry) return;
      entry.value = value;
      this.#bytes += value.bytes;
      this.#trim(entry);
    }, () => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    });
    return entry;
  }

  #trim(made: Entry<V>): void {
    for (const [key, entry] of this.#entries) {
      if (this.#bytes <= this.#most && this.#entries.size <= this.#mostValues) return;
      if (entry.value === null || entry === made || entry === this.#last) continue;
      this.#entries.delete(key);
      this.#bytes -= entry.value.bytes;
      entry.value.close?.();
    }
  }
}

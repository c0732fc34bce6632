/** @file Values that are made once. */

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

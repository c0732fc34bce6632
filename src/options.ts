/** @file Options of factories over their defaults. */
import { checkFlag, checkOptions } from "./check.ts";

/** Some of the options D. */
export type Given<D> = { readonly [K in keyof D]?: D[K] | undefined };

/**
 * `given` over `defaults`; a value of undefined counts as not given.
 * @throws ArgumentError listing the options for a key that is none of them, and for what is neither true nor false where the default is
 */
export function optionsOf<D extends object>(who: string, defaults: D, given: Given<D> | undefined): D {
  const own = Object.entries(checkOptions(who, given, Object.keys(defaults))).filter(([, value]) => value !== undefined) as [
    keyof D & string,
    unknown,
  ][];
  for (const [key, value] of own) if (typeof defaults[key] === "boolean") checkFlag(who, key, value as boolean);
  return { ...defaults, ...Object.fromEntries(own) };
}

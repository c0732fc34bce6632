/** @file Options of factories over their defaults. */
import { checkFlag, checkOptions, hint } from "./check.ts";
import { ArgumentError } from "./errors.ts";

/** Some of the options D. */
export type Given<D> = { readonly [K in keyof D]?: D[K] | undefined };

/**
 * `given` over `defaults`; a value of undefined counts as not given.
 * @throws ArgumentError listing the options for a key that is none of them, and for what is neither true nor false where the default is
 */
export function optionsOf<D extends object>(who: string, defaults: D, given: Given<D> | undefined): D {
  const own = Object.entries(checkOptions(who, given, Object.keys(defaults))).filter(([, value]) => value !== undefined) as [keyof D & string, unknown][];
  for (const [key, value] of own) if (typeof defaults[key] === "boolean") checkFlag(who, key, value as boolean);
  return { ...defaults, ...Object.fromEntries(own) };
}

/** @throws ArgumentError unless `seed` is an integer of at least 0. */
export function checkSeed(who: string, seed: number): void {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new ArgumentError(`${who}: seed must be a non-negative integer, got ${String(seed)}`);
}

/** @throws ArgumentError unless `value` is a number in [0, 1). */
export function checkPart(who: string, what: string, value: number): void {
  if (!(Number.isFinite(value) && value >= 0 && value < 1)) throw new ArgumentError(`${who}: ${what} must be a number in [0, 1), got ${JSON.stringify(value)}`);
}

/** @throws ArgumentError unless `value` is a finite number above 0. */
export function checkPositive(who: string, what: string, value: number): void {
  if (!(Number.isFinite(value) && value > 0)) throw new ArgumentError(`${who}: ${what} must be a positive number, got ${String(value)}`);
}

/** The error for a name that is not known: it lists the others and points to one that is near. */
export function unknownName(who: string, name: string, known: readonly string[]): ArgumentError {
  return new ArgumentError(`${who}: unknown ${JSON.stringify(name)}; ${hint(String(name), known)}known: ${known.join(", ")}`);
}

/** @throws ArgumentError for a factory itself: without its parentheses it would pass for what it makes, and fail while tracing, with a text that helps nobody. */
export function checkMade(who: string, noun: string, value: unknown, factories: { readonly [name: string]: unknown }): void {
  const name = Object.keys(factories).find((key) => factories[key] === value);
  if (name !== undefined) throw new ArgumentError(`${who}: ${name} makes a ${noun}: write ${name}() or "${name}"`);
}

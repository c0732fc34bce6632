/** @file Checks of what users write: names of options, losses or layers, and numbers. An unknown name is an error that lists the known ones and points to one that is near. */
import { ArgumentError } from "./errors.ts";

/** Letters and digits only: `mean_squared_error`, `Mean-Squared-Error` and `meanSquaredError` are one name. */
const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, "");

/** Letters to insert, delete, replace or swap with their neighbour between two names (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + Number(a[i - 1] !== b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], before[j - 2] + 1);
    }
    [before, last] = [last, row];
  }
  return last[b.length];
}

/** `learningRate`: lr */
const initials = (name: string): string => name.replace(/[a-z0-9]*([A-Z]?)/g, "$1").toLowerCase();

/** `did you mean "accuracy"? `, or nothing where no known name is within a third of the letters or has these initials. */
export function hint(name: string, known: readonly string[]): string {
  const own = plain(name);
  const short = known.find((k) => own.length > 1 && own === k[0].toLowerCase() + initials(k));
  let best = short ?? "";
  let least = short === undefined ? Math.floor(own.length / 3) + 1 : 0;
  // Names are short; a long text is no misspelling, and comparing it would take long.
  for (const k of name.length > 60 ? [] : known) {
    const d = distance(own, plain(k));
    if (d < least) [best, least] = [k, d];
  }
  return best === "" ? "" : `did you mean "${best}"? `;
}

/**
 * `options` itself, `{}` for undefined.
 * @throws ArgumentError unless it is an object, and, where `known` is given, for an option that is none of them.
 */
export function checkOptions<O extends object>(who: string, options: O | undefined, known: readonly string[] | null = null): O {
  if (options === undefined) return {} as O;
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new ArgumentError(`${who}: expected an object of options, got ${options === null || typeof options === "number" ? String(options) : Array.isArray(options) ? "an array" : typeof options}${known === null ? "" : `; known: ${known.join(", ")}`}`);
  }
  const unknown = known === null ? undefined : Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new ArgumentError(`${who}: unknown option "${unknown}"; ${hint(unknown, known ?? [])}known: ${known?.join(", ")}`);
  return options;
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

/** @throws ArgumentError unless `value` is an integer of at least `least`, and below 2^53. */
export function checkCount(who: string, what: string, value: number, least = 1): void {
  if (!Number.isSafeInteger(value) || value < least) throw new ArgumentError(`${who}: ${what} must be an integer >= ${least}, got ${shown(value)}`);
}

/** @throws ArgumentError unless `value` is one of `known`. */
export function checkOneOf<T extends string>(who: string, what: string, value: T, known: readonly T[]): void {
  if (!known.includes(value)) throw new ArgumentError(`${who}: ${what} must be one of ${known.map((k) => JSON.stringify(k)).join(", ")}, got ${JSON.stringify(value)}`);
}

/** @throws ArgumentError unless `value` is a finite number in [low, high]. */
export function checkNumber(who: string, what: string, value: number, low: number, high = Infinity): void {
  if (!(Number.isFinite(value) && value >= low && value <= high)) {
    const range = low === -Infinity ? "" : high === Infinity ? ` >= ${low}` : ` in [${low}, ${high}]`;
    throw new ArgumentError(`${who}: ${what} must be a number${range}, got ${shown(value)}`);
  }
}

/** @throws ArgumentError unless `value` is a finite number above 0. */
export function checkPositive(who: string, what: string, value: number): void {
  if (!(Number.isFinite(value) && value > 0)) throw new ArgumentError(`${who}: ${what} must be a positive number, got ${shown(value)}`);
}

/** @throws ArgumentError unless `value` is a number in [0, 1). Text such as "" compares like a number. */
export function checkPart(who: string, what: string, value: number): void {
  if (!(Number.isFinite(value) && value >= 0 && value < 1)) throw new ArgumentError(`${who}: ${what} must be a number in [0, 1), got ${shown(value)}`);
}

/** @throws ArgumentError unless `value` is true or false: "false" would count as true. */
export function checkFlag(who: string, what: string, value: boolean): void {
  if (typeof value !== "boolean") throw new ArgumentError(`${who}: ${what} must be true or false, got ${shown(value)}`);
}

/** A text in quotes, so that "10" is not taken for the number, and what stands in an object: `dense({ units: 8 })` is TensorFlow.js' way. */
const shown = (value: unknown): string => (typeof value === "string" || String(value) === "[object Object]" ? JSON.stringify(value) : String(value));

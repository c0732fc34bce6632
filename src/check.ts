/**
 * @file Checks of what users write: names of options, losses or layers, and numbers. An unknown name is an error that lists the known ones
 * and points to one that is near.
 */
import { ArgumentError } from "./errors.ts";

/** Letters and digits only: `mean_squared_error`, `Mean-Squared-Error` and `meanSquaredError` are one name. */
export const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, "");

/** Letters to insert, delete, replace or swap with their neighbour between two names (optimal string alignment). */
function distance(a: string, b: string): number {
  const rows: number[][] = [];
  for (let i = 0; i <= a.length; i++) {
    const row = (rows[i] = [i]);
    for (let j = 1; j <= b.length; j++) {
      row[j] = i === 0 ? j : Math.min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + Number(a[i - 1] !== b[j - 1]));
      if (a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], rows[i - 2][j - 2] + 1);
    }
  }
  return rows[a.length][b.length];
}

/** `learningRate`: lr */
const initials = (name: string): string => plain(name[0] + name.slice(1).replace(/[^A-Z]/g, ""));

/**
 * `did you mean "accuracy"? `, or nothing where no known name is within a third of the letters, has these initials, or begins or ends so.
 */
export function hint(name: string, known: readonly string[]): string {
  const own = plain(name);
  let best = "";
  let least = Math.floor(own.length / 3) + 1;
  // Names are short; a long text is no misspelling, and comparing it would take long.
  for (const k of name.length > 60 ? [] : known) {
    const other = plain(k);
    const part = own.length > 3 && (other.startsWith(own) || other.endsWith(own));
    const d = own.length > 1 && own === initials(k) ? 0 : part ? Math.min(1, other.length - own.length) : distance(own, other);
    if (d < least) [best, least] = [k, d];
  }
  return best && `did you mean "${best}"? `;
}

/**
 * `options` itself, `{}` for undefined.
 * @throws ArgumentError unless it is an object, and, where `known` is given, for an option that is none of them.
 */
export function checkOptions<O extends object>(who: string, options: O | undefined, known: readonly string[] | null = null): O {
  if (options === undefined) return {} as O;
  if (Object.prototype.toString.call(options) !== "[object Object]") {
    throw new ArgumentError(
      `${who}: expected an object of options, got ` +
        `${typeof options === "number" ? options : kindOf(options)}${known === null ? "" : `; known: ${known.join(", ")}`}`,
    );
  }
  for (const key of known === null ? [] : Object.keys(options))
    if (!known?.includes(key)) throw unknownName(who, key, known ?? [], "option ");
  return options;
}

/**
 * The error for a name that is not known: it lists the others and points to one that is near. `what` and a space tell what it would be the
 * name of.
 */
export function unknownName(who: string, name: string, known: readonly string[], what = ""): ArgumentError {
  return new ArgumentError(`${who}: unknown ${what}${JSON.stringify(name)}; ${hint(String(name), known)}known: ${known.join(", ")}`);
}

/**
 * @throws ArgumentError for a factory itself: without its parentheses it would pass for what it makes, and fail while tracing, with a text
 * that helps nobody.
 */
export function checkMade(who: string, noun: string, value: unknown, factories: { readonly [name: string]: unknown }): void {
  const name = Object.keys(factories).find((key) => factories[key] === value);
  if (name !== undefined) throw new ArgumentError(`${who}: ${name} makes ${noun}: write ${name}() or "${name}"`);
}

/** @throws ArgumentError unless `value` is an integer of at least `least`, and below 2^53. */
export function checkCount(who: string, what: string, value: number, least = 1): void {
  if (!Number.isSafeInteger(value) || value < least)
    throw new ArgumentError(`${who}: ${what} must be an integer >= ${least}, got ${shown(value)}`);
}

/** @throws ArgumentError unless `value` is one of `known`. */
export function checkOneOf<T extends string>(who: string, what: string, value: T, known: readonly T[]): void {
  if (!known.includes(value)) {
    throw new ArgumentError(`${who}: ${what} must be one of ${known.map((k) => JSON.stringify(k)).join(", ")}, got ${shown(value)}`);
  }
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
  if (!(Number.isFinite(value) && value >= 0 && value < 1))
    throw new ArgumentError(`${who}: ${what} must be a number in [0, 1), got ${shown(value)}`);
}

/** @throws ArgumentError unless `value` is true or false: "false" would count as true. */
export function checkFlag(who: string, what: string, value: boolean): void {
  if (typeof value !== "boolean") throw new ArgumentError(`${who}: ${what} must be true or false, got ${shown(value)}`);
}

/** What came in the place of something else, and what to do about it where that is known. */
export function kindOf(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 40));
  if (value === null || typeof value !== "object") return value === null ? "null" : typeof value;
  const name = value.constructor?.name;
  const keys = Array.isArray(value) || ArrayBuffer.isView(value) ? [] : Object.keys(value);
  const held = keys.length > 0 ? ` with ${keys.slice(0, 6).join(", ")}` : "";
  const kind = /^(Array|Object)$/.test(name) ? `an ${name.toLowerCase()}` : `a ${name || "generator"}`;
  return `${kind}${held}${"then" in value ? "; await it first" : ""}`;
}

/**
 * A text in quotes, so that "10" is not taken for the number, and what stands in an object: `dense({ units: 8 })` is TensorFlow.js' way.
 */
export const shown = (value: unknown): string =>
  typeof value === "string" || String(value) === "[object Object]" ? JSON.stringify(value) : String(value);

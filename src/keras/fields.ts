/** @file The options of a layer, an optimizer or a loss in a file: each is checked before it is used, and none is passed over. */
import { cut, show as plain } from "../io/safetensors.ts";
import { FileError } from "../index.ts";

/** A value for an error, text in quotes, cut short. */
export const show = (value: unknown): string => (typeof value === "string" ? JSON.stringify(cut(value)) : plain(value));

/** The first of some names, for an error. */
export function some(names: Iterable<string>, most = 4): string {
  const all = [...names];
  const first = all.slice(0, most).map((name) => cut(name));
  return `${first.join(", ") || "nothing"}${all.length > most ? ` and ${all.length - most} more` : ""}`;
}

/** An object that was JSON. */
export type Json = { readonly [key: string]: unknown };

export const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);

/** What Keras and TensorFlow.js compute differently under one name. */
export type Dialect = "keras3" | "keras2" | "tfjs";

/** Arrays, tensors and shapes among options may be objects that hold their elements. */
export function unwrapped(value: unknown): unknown {
  if (!isObject(value)) return value;
  const { class_name: kind, config, items } = value;
  if ((kind === "__numpy__" || kind === "__tensor__") && isObject(config)) return config.value;
  return (kind === "__tuple__" || kind === "TensorShape") && Array.isArray(items) ? items : value;
}

/** Options by name. `null` is what is not there. */
export class Fields {
  /** The file and what the options are of, for errors. */
  readonly who: string;
  readonly dialect: Dialect;
  readonly values: Json;
  readonly #seen: Set<string>;

  constructor(who: string, dialect: Dialect, values: unknown, seen: Iterable<string> = []) {
    this.#seen = new Set(seen);
    this.who = cut(who, 240);
    this.dialect = dialect;
    if (!isObject(values)) throw new FileError(`${this.who}: expected options, found ${show(values)}`);
    this.values = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, unwrapped(value)]));
  }

  /** The value; null where it is absent. */
  get(name: string): unknown {
    this.#seen.add(name);
    return (Object.hasOwn(this.values, name) ? this.values[name] : null) ?? null;
  }

  /** The same without an option, which has been looked at. */
  without(name: string): Fields {
    return new Fields(this.who, this.dialect, { ...this.values, [name]: null }, this.#seen);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.values, name) && this.values[name] !== null && this.values[name] !== undefined;
  }

  fault(name: string, expected: string): FileError {
    return new FileError(`${this.who}: ${name} must be ${expected}, found ${show(this.get(name) ?? "nothing")}`);
  }

  #read<T>(name: string, expected: string, fits: (value: unknown) => boolean, otherwise: T | undefined): T {
    const value = this.get(name);
    if (value === null && otherwise !== undefined) return otherwise;
    if (!fits(value)) throw this.fault(name, expected);
    return value as T;
  }

  number(name: string, otherwise?: number): number {
    return this.#read(name, "a number", (v) => Number.isFinite(v), otherwise);
  }

  /** An integer from `least` to 2^31 - 1. */
  count(name: string, otherwise?: number, least = 1): number {
    const fits = (v: unknown): boolean => Number.isInteger(v) && (v as number) >= least && (v as number) < 2 ** 31;
    return this.#read(name, `an integer >= ${least}`, fits, otherwise);
  }

  flag(name: string, otherwise?: boolean): boolean {
    return this.#read(name, "true or false", (v) => typeof v === "boolean", otherwise);
  }

  text(name: string, otherwise?: string): string {
    return this.#read(name, "a text", (v) => typeof v === "string", otherwise);
  }

  list(name: string): readonly unknown[] {
    return this.#read<readonly unknown[]>(name, "a list", Array.isArray, undefined);
  }

  /** @throws FileError unless the option is absent or one of `values`: another one would mean another computation */
  must(name: string, ...values: readonly unknown[]): void {
    const value = this.get(name);
    const same = (v: unknown): boolean => v === value || (Array.isArray(value) && Array.isArray(v) && String(v) === String(value));
    if (value !== null && !values.some(same))
      throw this.fault(
        name,
        values.length === 0 ? "absent: Lockstep has nothing for it" : `${values.map(show).join(" or ")}: Lockstep has nothing else for it`,
      );
  }

  /** Options that change no number. */
  ignore(...names: readonly string[]): void {
    for (const name of names) this.#seen.add(name);
  }

  /** @throws FileError for an option that nobody has asked for */
  done(): void {
    for (const [name, value] of Object.entries(this.values))
      if (!this.#seen.has(name) && value !== null)
        throw new FileError(
          `${this.who}: option ${cut(name)} = ${show(value)} is not known; known are ${[...this.#seen].sort().join(", ")}`,
        );
  }
}

/** A class and its options, as files have objects: `{ class_name, config }`. */
export interface Described {
  readonly className: string;
  readonly config: Json;
  /** Where the class is from; "" in older files. */
  readonly module: string;
  /** Whether the file says that the class is not one of Keras' own, whatever it is called. */
  readonly foreign: boolean;
}

const isForeign = ({ module, registered_name: registered }: Json): boolean =>
  (module !== undefined && !(typeof module === "string" && /^(keras|tf_keras|builtins)(\.|$)/.test(module))) ||
  (typeof registered === "string" && registered.includes(">"));

/** @throws FileError for what describes no object */
export function described(who: string, value: unknown): Described {
  if (isObject(value) && typeof value.class_name === "string") {
    const config = value.config ?? {};
    const module = typeof value.module === "string" ? value.module : "";
    if (isObject(config)) return { className: value.class_name, config, module, foreign: isForeign(value) };
  }
  throw new FileError(`${cut(who, 240)}: expected { class_name, config }, found ${show(value)}`);
}

/** A class or function of Keras'. @throws FileError for one of another's, which is code that the file does not hold */
export function ofKeras(who: string, value: unknown): Described {
  const found = described(who, value);
  if (found.foreign)
    throw new FileError(
      `${cut(who, 240)}: ${show(found.className)} is not Keras' own: it is code of ${found.module === "" ? "another" : cut(found.module)}`,
    );
  return found;
}

/** kernel_size -> kernelSize */
export const camel = (name: string): string => name.replace(/_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

/** kernelSize -> kernel_size */
export const snake = (name: string): string => name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toLowerCase();

/** The group of a class in Keras' files of weights: Conv2DTranspose -> conv2d_transpose. As Keras' to_snake_case. */
export const groupName = (className: string): string =>
  // Its name in Keras' code; files have the other one.
  (className === "GroupQueryAttention" ? "GroupedQueryAttention" : className)
    .replace(/\W+/g, "")
    .replace(/(.)([A-Z][a-z]+)/g, "$1_$2")
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .toLowerCase();

/** @throws FileError for a name that is not in the table, which it lists */
export function known<T>(who: string, what: string, name: string, table: { readonly [name: string]: T }): T {
  if (Object.hasOwn(table, name)) return table[name];
  throw new FileError(`${cut(who, 240)}: ${what} ${show(name)} is not known; known are ${Object.keys(table).join(", ")}`);
}

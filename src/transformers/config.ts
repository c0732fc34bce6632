/** @file Reading config.json: every field is checked before it is used, and what is not known is named. */
import { cut, parseObject, show } from "../io/safetensors.ts";
import { FileError } from "../errors.ts";

/** An object that was JSON. */
export type Json = { readonly [key: string]: unknown };

export { parseObject };

/** A value for errors; texts have quotes, so that they are not taken for numbers or flags. */
const quoted = (value: unknown): string => (typeof value === "string" ? `"${cut(value)}"` : show(value));

const isCount = (v: unknown): boolean => Number.isInteger(v) && (v as number) >= 1 && (v as number) <= 2 ** 30;

/** Fields of a configuration. What a field must be is in the error, with the file that has it. */
export class Config {
  /** The file, for errors. */
  readonly who: string;
  readonly values: Json;

  constructor(who: string, values: Json) {
    this.who = who;
    this.values = values;
  }

  /** Whether the field is there, and not null. */
  has(name: string): boolean {
    return Object.hasOwn(this.values, name) && this.values[name] !== null && this.values[name] !== undefined;
  }

  fault(name: string, expected: string): FileError {
    const found = this.has(name) ? quoted(this.values[name]) : "nothing";
    return new FileError(`${cut(this.who, 120)}: ${name} must be ${expected}, found ${found}`);
  }

  /** The field, or `otherwise` where it is absent; without that it must be there. */
  #read<T>(name: string, expected: string, fits: (value: unknown) => boolean, otherwise: T | undefined): T {
    if (!this.has(name) && otherwise !== undefined) return otherwise;
    const value = this.has(name) ? this.values[name] : undefined;
    if (!fits(value)) throw this.fault(name, expected);
    return value as T;
  }

  /** An integer from 1 to 2^30. */
  count(name: string, otherwise?: number): number {
    return this.#read(name, "an integer >= 1", isCount, otherwise);
  }

  positive(name: string, otherwise?: number): number {
    return this.#read(name, "a positive number", (v) => Number.isFinite(v) && (v as number) > 0, otherwise);
  }

  flag(name: string, otherwise?: boolean): boolean {
    return this.#read(name, "true or false", (v) => typeof v === "boolean", otherwise);
  }

  text(name: string, otherwise?: string): string {
    return this.#read(name, "a text", (v) => typeof v === "string", otherwise);
  }

  /** One of the keys of `known`, as what stands there. */
  oneOf<T>(name: string, known: { readonly [value: string]: T }, otherwise?: string): T {
    const value = this.has(name) ? this.values[name] : otherwise;
    if (typeof value !== "string" || !Object.hasOwn(known, value)) throw this.fault(name, `one of ${Object.keys(known).join(", ")}`);
    return known[value];
  }

  /** A list, of `length` values where that is given. */
  list<T>(name: string, expected: string, fits: (value: unknown) => boolean, length?: number): readonly T[] {
    const all = (v: unknown): boolean => Array.isArray(v) && v.every(fits) && (length === undefined || v.length === length);
    return this.#read<readonly T[]>(name, `a list of ${expected}`, all, undefined);
  }

  /** What is within an object. */
  within(name: string): Config {
    this.#read(name, "an object", (v) => typeof v === "object" && !Array.isArray(v), undefined);
    return new Config(`${this.who}: ${name}`, this.values[name] as Json);
  }

  /** @throws FileError unless the field is absent or what it must be: another value would mean another computation. */
  must(name: string, value: unknown): void {
    if (this.has(name) && this.values[name] !== value) throw this.fault(name, `${quoted(value)}: another value is not supported`);
  }

  /** One count, or two: of rows and of columns. */
  pair(name: string, otherwise: number): readonly [number, number] {
    const size = Array.isArray(this.values[name]) ? null : this.count(name, otherwise);
    const [rows, columns] = size === null ? this.list<number>(name, "rows and columns, two integers >= 1", isCount, 2) : [size, size];
    return [rows, columns];
  }

  /** Ids of tokens below `end`, which may be one number or a list. */
  tokens(name: string, end = Infinity): readonly number[] {
    const value = this.has(name) ? this.values[name] : [];
    const list: unknown[] = Array.isArray(value) ? value : [value];
    if (!list.every((v) => Number.isInteger(v) && (v as number) >= 0 && (v as number) < end))
      throw this.fault(name, `the id of a token or a list of them${end < Infinity ? `, below vocab_size, ${end}` : ""}`);
    return list as number[];
  }
}

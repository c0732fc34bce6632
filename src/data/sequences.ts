/** @file Sequences of unequal length made equally long. */
import { checkCount, checkNumber, checkOneOf, checkOptions, kindOf } from "../check.ts";
import { ArgumentError, DataError } from "../errors.ts";
import type { Rows } from "./encode.ts";

/** A sequence: numbers, or steps that are numbers in (nested) arrays themselves, all of one shape. */
export type Sequence = ArrayLike<number> | readonly Sequence[];

/** Options of `padSequences`. */
export interface PadOptions {
  /** Length of all results. Default: that of the longest sequence. */
  readonly maxLength?: number;
  /** Where `value` is put in sequences that are shorter: before them or behind. Default pre. */
  readonly padding?: "pre" | "post";
  /** Where sequences that are longer lose their steps. Default pre. */
  readonly truncating?: "pre" | "post";
  /** What is put in. Default 0. */
  readonly value?: number;
  /** Default i32. */
  readonly dtype?: "i32" | "f32";
}

const isList = (value: unknown): value is ArrayLike<unknown> =>
  Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));

/**
 * Sequences as rows of one length, `[sequences.length, maxLength]`, or `[sequences.length, maxLength, ...step]` where steps have a
 * shape: as `keras.utils.pad_sequences` (https://keras.io/api/data_loading/timeseries/#pad_sequences-function). Empty sequences become
 * rows of `value`.
 * @throws DataError for no sequence, for what is no number, steps of unequal shapes, and numbers that i32 cannot keep; ArgumentError
 * for bad options
 */
export function padSequences(sequences: readonly Sequence[], options: PadOptions = {}): Rows<Int32Array | Float32Array> {
  checkOptions("padSequences", options, ["maxLength", "padding", "truncating", "value", "dtype"]);
  const { maxLength, padding = "pre", truncating = "pre", value = 0, dtype = "i32" } = options;
  checkOneOf("padSequences", "padding", padding, ["pre", "post"]);
  checkOneOf("padSequences", "truncating", truncating, ["pre", "post"]);
  checkOneOf("padSequences", "dtype", dtype, ["i32", "f32"]);
  checkNumber("padSequences", "value", value, -Infinity);
  if (maxLength !== undefined) checkCount("padSequences", "maxLength", maxLength);
  if (!isList(sequences)) throw new ArgumentError(`padSequences: expected a list of sequences, got ${kindOf(sequences)}`);
  const list = Array.from(sequences as ArrayLike<unknown>, (s, i) => {
    if (!isList(s)) throw new DataError(`padSequences: sequence ${i} must be an array of numbers, got ${kindOf(s)}`);
    return s;
  });
  if (list.length === 0) throw new DataError("padSequences: expected at least one sequence, got none");
  const step: number[] = [];
  for (let first = list.find((s) => s.length > 0)?.[0]; isList(first); first = first[0]) step.push(first.length);
  const length = maxLength ?? list.reduce((most, s) => Math.max(most, s.length), 0);
  const width = step.reduce((a, b) => a * b, 1);
  const size = list.length * length * width;
  const data = dtype === "i32" ? new Int32Array(size) : new Float32Array(size);

  const keep = (v: number, where: () => string): number => {
    if (dtype === "i32" && (v | 0) !== v) throw new DataError(`padSequences: ${where()} ${v}, which i32 cannot keep; give dtype: "f32"`);
    return v;
  };
  data.fill(keep(value, () => "the value"));
  const put = (item: unknown, dim: number, at: number, where: string): number => {
    if (dim < step.length) {
      if (!isList(item) || item.length !== step[dim]) {
        const got = isList(item) ? `${item.length} items` : kindOf(item);
        throw new DataError(`padSequences: ${where} must have steps of shape [${step.join(", ")}], as the first one has; got ${got}`);
      }
      for (let i = 0; i < item.length; i++) at = put(item[i], dim + 1, at, where);
      return at;
    }
    if (typeof item !== "number" && typeof item !== "boolean") {
      const got = typeof item === "string" ? JSON.stringify(item) : kindOf(item);
      throw new DataError(`padSequences: ${where} must have numbers, got ${got}`);
    }
    data[at] = keep(Number(item), () => `${where} has`);
    return at + 1;
  };
  list.forEach((s, row) => {
    const kept = Math.min(s.length, length);
    const from = truncating === "pre" ? s.length - kept : 0;
    let at = (row * length + (padding === "pre" ? length - kept : 0)) * width;
    for (let i = 0; i < kept; i++) at = put(s[from + i], 0, at, `sequence ${row}`);
  });
  return { shape: [list.length, length, ...step], data };
}

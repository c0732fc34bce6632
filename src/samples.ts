/**
 * @file The forms in which people hand over samples, made into tensors: nested arrays, whose rows may be typed arrays, elements with a
 * shape, tensors. All else is an error that names what came.
 */
import { kindOf } from "./check.ts";
import type { TypedArray } from "./dtype.ts";
import { ArgumentError, DataError, ShapeError } from "./errors.ts";
import { naming } from "./naming.ts";
import { sizeOf } from "./shape.ts";
import type { Shape } from "./shape.ts";
import { Tensor, tensor } from "./tensor.ts";

/** Numbers or booleans in arrays of arrays, all rows of one level equally long; the innermost ones may be typed arrays. */
export type NestedData = number | boolean | ArrayBufferView | readonly NestedData[];

/**
 * A tensor, nested arrays, a typed array, or elements with their shape, such as `trainTestSplit` gives; the first dimension counts the
 * samples.
 */
export type Data = Tensor | NestedData | { readonly data: ArrayBufferView | readonly number[]; readonly shape: Shape };

/** Dimensions beyond which nested arrays are taken for ones that hold themselves. */
const MOST_DIMENSIONS = 32;

type Row = ArrayLike<unknown>;

const isTyped = (value: unknown): value is TypedArray => ArrayBuffer.isView(value) && !(value instanceof DataView);
const isRow = (value: unknown): value is Row => Array.isArray(value) || isTyped(value);

/** What came in the place of data, and what to do about it where that is known. */
export function described(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 40));
  if (typeof value !== "object" || value === null || isRow(value)) return kindOf(value);
  const keys = Object.keys(value);
  const name = value.constructor?.name;
  const advice = "then" in value ? ": await it" : "xs" in value ? ": give xs and ys as two arguments" : "";
  const held = keys.length > 0 ? ` with ${keys.slice(0, 6).join(", ")}` : "";
  return `${name === "Object" ? "an object" : `a ${name || "generator"}`}${held}${advice}`;
}

/**
 * Nested arrays as a tensor: f32, bool where all elements are booleans, and what a typed array of the same kind gives where all rows
 * are typed arrays of one kind but doubles. Integers that f32 would round are i32 if all elements are such: class numbers and indices stay what
 * they are.
 */
function nested(data: Row): Tensor {
  const shape: number[] = [];
  let first: unknown = data;
  for (; isRow(first); first = first[0]) {
    shape.push(first.length);
    if (shape.length > MOST_DIMENSIONS) throw new DataError(`expected at most ${MOST_DIMENSIONS} dimensions; does an array hold itself?`);
  }
  const inner = shape.length - 1;
  const width = shape[inner];
  const rows: Row[] = [];
  /** Where in the arrays the next row is, at this depth. */
  const place = (row: number, depth: number): string =>
    shape.slice(0, depth).map((d, k) => `[${Math.floor(row / sizeOf(shape.slice(k + 1, inner))) % d}]`).join("");
  const visit = (row: Row, depth: number): void => {
    if (depth === inner) rows.push(row);
    else {
      for (let i = 0; i < row.length; i++) {
        const item = row[i];
        if (!isRow(item) || item.length !== shape[depth + 1]) {
          const got = isRow(item) ? `${item.length}; padSequences makes them so` : described(item);
          const at = place(rows.length, depth + 1);
          throw new ShapeError(`rows must be equally long: expected ${shape[depth + 1]} items at ${at}, got ${got}`);
        }
        visit(item, depth + 1);
      }
    }
  };
  visit(data, 0);
  const kind = isTyped(rows[0]) ? (rows[0].constructor as new (size: number) => TypedArray) : null;
  if (kind !== null && !(rows[0] instanceof Float64Array) && rows.every((r) => r instanceof kind)) {
    const all = new kind(sizeOf(shape));
    rows.forEach((r, i) => all.set(r as TypedArray, i * width));
    return tensor(all, shape);
  }
  const all = new Float64Array(sizeOf(shape));
  let [booleans, integers, rounded] = [all.length > 0, true, false];
  rows.forEach((row, r) => {
    for (let i = 0; i < width; i++) {
      const v = row[i];
      if (typeof v === "number") {
        booleans = false;
        if (Math.fround(v) !== v) rounded = true;
        if ((v | 0) !== v) integers = false;
      } else if (typeof v !== "boolean") throw new DataError(`expected a number at ${place(r, inner)}[${i}], got ${described(v)}`);
      all[r * width + i] = Number(v);
    }
  });
  return tensor(all, shape, booleans ? "bool" : integers && rounded ? "i32" : "f32");
}

/** Nested or typed arrays as a tensor, of this shape where one is given. */
function fromRow(row: Row, shape?: Shape): Tensor {
  if (isTyped(row) && !((row as unknown) instanceof Float64Array)) return tensor(row, shape);
  const { host, shape: own, dtype } = nested(row);
  return tensor(host as TypedArray, shape ?? own, dtype);
}

/**
 * Data in any of its forms as a tensor.
 * @param who names it in errors: `fit: x`
 * @throws ArgumentError for what is none of the forms, ShapeError for rows of unequal length, DataError for elements that are no numbers
 */
export function toTensor(who: string, data: Data): Tensor {
  if (data instanceof Tensor) return data;
  return naming(who, () => {
    if (isRow(data)) return fromRow(data);
    if (typeof data === "number" || typeof data === "boolean") return tensor(data);
    const { data: elements, shape } = (data ?? {}) as { data?: unknown; shape?: unknown };
    if (!isRow(elements) || !Array.isArray(shape)) {
      const hint = typeof elements === "function" ? "; of a tensor t: { data: await t.data(), shape: t.shape }" : "";
      const forms = "a tensor, nested arrays of numbers, a typed array, or { data, shape }";
      throw new ArgumentError(`expected ${forms}, got ${described(data)}${hint}`);
    }
    return fromRow(elements, shape);
  });
}

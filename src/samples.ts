/** @file The forms in which people hand over samples, made into tensors: nested arrays, whose rows may be typed arrays, elements with a shape, tensors. All else is an error that names what came. */
import { kindOf } from "./check.ts";
import type { TypedArray } from "./dtype.ts";
import { ArgumentError, DataError, ShapeError } from "./errors.ts";
import { naming } from "./naming.ts";
import { sizeOf } from "./shape.ts";
import type { Shape } from "./shape.ts";
import { Tensor, tensor } from "./tensor.ts";

/** Numbers or booleans in arrays of arrays, all rows of one level equally long; the innermost ones may be typed arrays. */
export type NestedData = number | boolean | ArrayBufferView | readonly NestedData[];

/** A tensor, nested arrays, a typed array, or elements with their shape, such as `trainTestSplit` gives; the first dimension counts the samples. */
export type Data = Tensor | NestedData | { readonly data: ArrayBufferView | readonly number[]; readonly shape: Shape };

const FORMS = "a tensor, nested arrays of numbers, a typed array, or { data, shape }";

/** Dimensions beyond which nested arrays are taken for ones that hold themselves. */
const MOST_DIMENSIONS = 32;

type Row = ArrayLike<unknown> & Iterable<unknown>;

const isTyped = (value: unknown): value is TypedArray => ArrayBuffer.isView(value) && !(value instanceof DataView);
const isRow = (value: unknown): value is Row => Array.isArray(value) || isTyped(value);

/** What came in the place of data, and what to do about it where that is known. */
function described(value: unknown): string {
  if (typeof value === "function" || (typeof value === "object" && value !== null && ("next" in value || Symbol.asyncIterator in value))) return "what gives batches: fit and evaluate take it in the place of x and y";
  if (typeof value !== "object" || value === null) return typeof value === "string" ? `the text ${JSON.stringify(value.slice(0, 40))}` : kindOf(value);
  if (typeof (value as Partial<PromiseLike<unknown>>).then === "function") return "a promise: await it first";
  const keys = Object.keys(value);
  if (keys.includes("xs") || keys.includes("ys")) return `an object with ${keys.join(" and ")}: give xs and ys as two arguments, or batches { xs, ys } as an iterable`;
  const name = value.constructor?.name ?? "Object";
  return name === "Object" ? `an object with the keys ${keys.slice(0, 6).join(", ")}` : `a ${name}${"size" in value || "values" in value || "columns" in value ? ": make it nested arrays of its values" : ""}`;
}

/** `[3][1]`, an element's place in nested arrays. */
const placeOf = (path: readonly number[]): string => path.map((i) => `[${i}]`).join("");

/** @throws ShapeError unless the rows of each level are as long as the first one; DataError for what is no row. */
function checkLevels(row: Row, shape: Shape, path: readonly number[]): void {
  const dim = path.length;
  const rows = dim + 1 < shape.length;
  for (let i = 0; rows && i < row.length; i++) {
    const item = row[i];
    const at = [...path, i];
    if (!isRow(item)) throw new DataError(`expected a row of ${shape[dim + 1]} at ${placeOf(at)}, got ${described(item)}`);
    if (item.length !== shape[dim + 1]) throw new ShapeError(`rows must be equally long: ${placeOf(at)} has ${item.length} items, the rows before it ${shape[dim + 1]}; padSequences makes them so`);
    checkLevels(item, shape, at);
  }
}

/** All innermost rows, in order. */
function* innermost(row: Row, depth: number): Generator<Row> {
  if (depth <= 1) yield row;
  else for (let i = 0; i < row.length; i++) yield* innermost(row[i] as Row, depth - 1);
}

/**
 * Nested arrays as a tensor: f32, bool where all elements are booleans, and what a typed array of the same kind gives where all rows are typed arrays of one kind.
 * Integers that f32 would round are i32 if all elements are such: class numbers and indices stay what they are.
 */
function nested(data: Row): Tensor {
  const shape: number[] = [];
  let first: unknown = data;
  for (; isRow(first) && shape.length <= MOST_DIMENSIONS; first = first[0]) shape.push(first.length);
  if (shape.length > MOST_DIMENSIONS) throw new DataError(`expected nested arrays of up to ${MOST_DIMENSIONS} dimensions, got more; does an array hold itself?`);
  checkLevels(data, shape, []);
  const rows = [...innermost(data, shape.length)];
  const width = shape[shape.length - 1];
  const kind = isTyped(rows[0]) ? (rows[0].constructor as new (size: number) => TypedArray) : null;
  if (kind !== null && rows.every((r) => r instanceof kind)) {
    const all = new kind(sizeOf(shape));
    rows.forEach((r, i) => all.set(r as TypedArray, i * width));
    return tensor(all, shape);
  }
  const all = new Float64Array(sizeOf(shape));
  let booleans = all.length > 0;
  let integers = true;
  let rounded = false;
  rows.forEach((row, r) => {
    for (let i = 0; i < width; i++) {
      const v = row[i];
      if (typeof v !== "number") {
        if (typeof v !== "boolean") {
          const at = r * width + i;
          const path = shape.map((d, k) => Math.floor(at / sizeOf(shape.slice(k + 1))) % d);
          throw new DataError(`expected a number at ${placeOf(path)}, got ${described(v)}`);
        }
      } else {
        booleans = false;
        if (Math.fround(v) !== v) rounded = true;
        if (!(Number.isInteger(v) && v >= -(2 ** 31) && v < 2 ** 31)) integers = false;
      }
      all[r * width + i] = Number(v);
    }
  });
  return tensor(all, shape, booleans ? "bool" : integers && rounded ? "i32" : "f32");
}

/**
 * Data in any of its forms as a tensor.
 * @param who names it in errors: `fit: x`
 * @throws ArgumentError for what is none of the forms, ShapeError for rows of unequal length, DataError for elements that are no numbers
 */
export function toTensor(who: string, data: Data): Tensor {
  if (data instanceof Tensor) return data;
  return naming(who, () => {
    if (isTyped(data)) return tensor(data);
    if (Array.isArray(data)) return nested(data);
    if (typeof data === "number" || typeof data === "boolean") return tensor(data);
    const { data: elements, shape } = (data ?? {}) as { data?: unknown; shape?: unknown };
    if (!isRow(elements) || !Array.isArray(shape)) throw new ArgumentError(`expected ${FORMS}, got ${described(data)}${typeof elements === "function" ? ", whose elements have to be read first: { data: await t.data(), shape: t.shape }" : ""}`);
    if (isTyped(elements)) return tensor(elements, shape);
    const flat = nested(elements);
    return tensor(flat.host as TypedArray, shape, flat.dtype);
  });
}

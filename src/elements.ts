/**
 * @file What may become elements of tensors: numbers in nested and typed arrays, checked. No number is changed or wrapped without a word.
 */
import { checkOneOf, kindOf } from "./check.ts";
import { allocate } from "./dtype.ts";
import type { DType, TypedArray } from "./dtype.ts";
import { DataError, DTypeError, ShapeError } from "./errors.ts";
import { showShape, sizeOf } from "./shape.ts";
import type { Shape } from "./shape.ts";

/** Levels of nested arrays, as in NumPy. */
const MAX_RANK = 64;

/** 4 GiB: what WebAssembly's memory can address, and what WebGPU binds at most. */
const MAX_ELEMENTS = 2 ** 30 - 1;

/** True for typed arrays, false for DataView. */
export function isTypedArray(data: unknown): data is ArrayLike<number> & ArrayBufferView {
  return ArrayBuffer.isView(data) && !(data instanceof DataView);
}

/** A level of nested arrays. */
export const isRow = (data: unknown): data is ArrayLike<unknown> => Array.isArray(data) || isTypedArray(data);

/** @throws DTypeError for 64-bit integers. */
export function checkKind(who: string, data: ArrayLike<unknown>): void {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    throw new DTypeError(`${who}: 64-bit integers cannot be kept, got ${kindOf(data)}; use Int32Array.from(data, Number)`);
  }
}

/** What nested arrays hold. */
interface Nested {
  readonly shape: number[];
  /** The numbers, as JavaScript has them. */
  readonly values: Float64Array;
  /** All are booleans. */
  readonly bools: boolean;
  /** What all innermost rows are, if they are typed arrays of one kind. */
  readonly kind: (new (values: Float64Array) => ArrayLike<number>) | null;
}

/** Reads nested arrays. @throws ShapeError for rows of unequal length, DataError for elements that are no numbers, each with the place. */
export function readNested(who: string, data: ArrayLike<unknown>): Nested {
  const shape: number[] = [];
  for (let row: unknown = data; isRow(row); row = row[0]) {
    if (shape.push(row.length) > MAX_RANK) throw new DataError(`${who}: arrays are nested more than ${MAX_RANK} deep; one may hold itself`);
  }
  checkShape(who, shape);
  const values = new Float64Array(sizeOf(shape));
  const place: number[] = [];
  const kinds = new Set<unknown>();
  let at = 0;
  let bools = 0;
  const wrong = (depth: number, expected: string, got: string): string =>
    `expected ${expected} at [${place.slice(0, depth).join("][")}], got ${got}`;
  const fill = (row: unknown, depth: number): void => {
    if (!isRow(row) || row.length !== shape[depth]) {
      const got = isRow(row) ? `${row.length}; padSequences makes them so` : kindOf(row);
      throw new ShapeError(`${who}: rows must be equally long: ${wrong(depth, `${shape[depth]} items`, got)}`);
    }
    const inner = depth === shape.length - 1;
    if (inner) {
      checkKind(who, row);
      kinds.add(row.constructor);
    }
    for (let i = 0; i < row.length; i++) {
      const item = row[i];
      place[depth] = i;
      if (!inner) fill(item, depth + 1);
      else if (typeof item === "number" || typeof item === "boolean") {
        bools += Number(typeof item === "boolean");
        values[at++] = Number(item);
      } else throw new DataError(`${who}: ${wrong(depth + 1, "a number", kindOf(item))}`);
    }
  };
  fill(data, 0);
  const [kind] = kinds;
  return { shape, values, bools: bools > 0 && bools === at, kind: kinds.size === 1 && kind !== Array ? (kind as Nested["kind"]) : null };
}

/**
 * @throws ShapeError unless every dimension is a non-negative integer and there are at most `most` elements (default: what a backend can
 * hold).
 */
export function checkShape(who: string, shape: Shape, most = MAX_ELEMENTS): void {
  if (!Array.isArray(shape)) throw new ShapeError(`${who}: expected a shape such as [2, 3], got ${kindOf(shape)}`);
  for (const d of shape) {
    if (!Number.isInteger(d) || d < 0) throw new ShapeError(`${who}: a dimension must be a non-negative integer, got ${showShape(shape)}`);
  }
  const size = sizeOf(shape);
  if (size > most) {
    throw new ShapeError(`${who}: ${showShape(shape)} has ${size} elements, a tensor has at most ${most} (4 GiB)`);
  }
}

/** `value`, which integers hold without its fraction. @throws DataError where `dtype` does not reach so far; never wraps. */
export function checkRange(who: string, value: number, dtype: DType): number {
  if (dtype === "f32" || dtype === "bool") return value;
  const low = dtype === "i32" ? -(2 ** 31) : 0;
  if (!(value > low - 1 && value < low + 2 ** 32))
    throw new DataError(`${who}: ${value} is out of the range of ${dtype}, ${low} to ${low + 2 ** 32 - 1}`);
  return value;
}

/** The numbers as elements of `dtype`: integers truncate, bools are "not zero". */
export function elements(who: string, values: ArrayLike<number>, dtype: DType): TypedArray {
  const host = allocate(dtype, values.length);
  for (let i = 0; i < values.length; i++) host[i] = dtype === "bool" ? Number(values[i] !== 0) : checkRange(who, values[i], dtype);
  return host;
}

/** f32, for numbers without a dtype. @throws DataError for integers alone, one of which f32 would change. */
export function defaultType(who: string, values: Float64Array): DType {
  const changed = values.find((v) => Math.fround(v) !== v && Number.isSafeInteger(v));
  if (changed !== undefined && values.every(Number.isInteger)) {
    throw new DataError(`${who}: the integer ${changed} would become ${Math.fround(changed)} as f32; give the dtype`);
  }
  return "f32";
}

/**
 * The dtype of JavaScript's numbers, all `whole` or not, beside elements of `dtype`: they follow it where it can hold them (see
 * promote.ts).
 */
export function dtypeBeside(whole: boolean, dtype: DType): DType {
  return !whole ? "f32" : dtype === "bool" ? "i32" : dtype;
}

/** True for Float16Array, which not every engine has. */
export const isHalf = (data: object): boolean => Object.prototype.toString.call(data) === "[object Float16Array]";

/** @throws ArgumentError unless `dtype` is one. */
export function checkDTypeName(who: string, dtype: DType): void {
  checkOneOf(who, "dtype", dtype, ["f32", "i32", "u32", "bool"]);
}

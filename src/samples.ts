/**
 * @file The forms in which people hand over samples, made into tensors: nested arrays, whose rows may be typed arrays, elements with a
 * shape, tensors. All else is an error that names what came.
 */
import { kindOf } from "./check.ts";
import { isRow } from "./elements.ts";
import { ArgumentError } from "./errors.ts";
import type { Shape } from "./shape.ts";
import { make, Tensor } from "./tensor.ts";

/** A text, or texts in arrays, all rows of one level equally long. */
export type Strings = string | readonly Strings[];

/** Numbers or booleans in arrays of arrays, all rows of one level equally long; the innermost ones may be typed arrays. */
export type NestedData = number | boolean | ArrayBufferView | readonly NestedData[];

/**
 * A tensor, nested arrays, a typed array, or elements with their shape, such as `trainTestSplit` gives; the first dimension counts the
 * samples.
 */
export type Data = Tensor | NestedData | { readonly data: ArrayBufferView | readonly number[]; readonly shape: Shape };

/**
 * Integers that f32 would round are i32 if all elements are such: class numbers and indices stay what they are. Other numbers are f32,
 * as they are where models compute.
 */
const sampleType = (_who: string, values: Float64Array): "i32" | "f32" =>
  values.some((v) => Math.fround(v) !== v) && values.every((v) => (v | 0) === v) ? "i32" : "f32";

/**
 * Data in any of its forms as a tensor: what `tensor` makes of it, but numbers get the dtype of samples, and rows that are typed arrays of
 * one kind keep theirs.
 * @param who names it in errors: `fit: x`
 * @throws ArgumentError for what is none of the forms, ShapeError for rows of unequal length, DataError for elements that are no numbers
 */
export function toTensor(who: string, data: Data): Tensor {
  if (data instanceof Tensor) return data;
  const plain = isRow(data) || typeof data === "number" || typeof data === "boolean";
  const { data: elements, shape } = (plain ? { data } : Object(data)) as { data?: unknown; shape?: Shape };
  if (!plain && !(isRow(elements) && Array.isArray(shape))) {
    const hint =
      typeof elements === "function"
        ? "; of a tensor t: { data: await t.data(), shape: t.shape }"
        : "xs" in Object(data)
          ? "; give xs and ys as two arguments"
          : "";
    throw new ArgumentError(`${who}: expected a tensor, nested arrays, a typed array or { data, shape }, got ${kindOf(data)}${hint}`);
  }
  return make(who, elements, shape, undefined, sampleType, true);
}

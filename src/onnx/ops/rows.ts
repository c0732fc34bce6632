/** @file Rows at places that only a run can tell. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";

const { cast, gather, less, reshape, where } = lockstep;

/** Floats that an index outside stands for are NaN, so that it shows. Integers have no such: theirs are of the nearest place. */
export const shown = (t: Tensor, outside: Tensor | null): Tensor =>
  outside === null || t.dtype !== "f32"
    ? t
    : where(reshape(outside, [...outside.shape, ...t.shape.slice(outside.rank).map(() => 1)]), NaN, t);

/** Rows of a table along an axis, at places of any integer type that only a run can tell. */
export function rowsAt(table: Tensor, index: Tensor, axis = 0): Tensor {
  const i = cast(index, "i32");
  const outside = lockstep.or(less(i, 0), lockstep.greaterEqual(i, table.shape[axis]));
  return shown(gather(table, i, axis), reshape(outside, [...table.shape.slice(0, axis).map(() => 1), ...index.shape]));
}

/** @file Strings as people hand them over: nested arrays, which become a row of strings and a shape. */
import { kindOf } from "../check.ts";
import { checkShape } from "../elements.ts";
import { DataError, ShapeError } from "../errors.ts";
import type { Strings } from "../samples.ts";
import type { Shape } from "../shape.ts";

/** Strings in one row, and how they lie in it. */
export interface StringArray {
  readonly values: readonly string[];
  readonly shape: Shape;
}

/** The first thing in nested arrays that is none itself. */
const first = (data: unknown): unknown => (Array.isArray(data) ? first(data[0]) : data);

/** True for nested arrays of strings; what is in them is looked at by `stringsOf`. */
export const isStrings = (data: unknown): data is readonly Strings[] => Array.isArray(data) && typeof first(data) === "string";

/** Half of a pair alone, which UTF-8 cannot hold. */
const LONE = /\p{Surrogate}/gu;

/** The text that UTF-8 holds for `text`. */
export const wellFormed = (text: string): string => text.replace(LONE, "\ufffd");

/** Nested arrays of strings. @throws DataError for what else is in them, ShapeError for rows of unequal length, each with the place */
export function stringsOf(who: string, data: unknown): StringArray {
  if (!Array.isArray(data)) {
    const advice = typeof data === "string" ? "; one text is a list too: [text]" : "";
    throw new DataError(`${who}: expected an array of strings, got ${kindOf(data)}${advice}`);
  }
  const shape: number[] = [];
  for (let row: unknown = data; Array.isArray(row); row = row[0]) shape.push(row.length);
  checkShape(who, shape);
  const values: string[] = [];
  const fill = (row: readonly unknown[], depth: number, place: string): void => {
    for (const [i, item] of row.entries()) {
      const at = `${place}[${i}]`;
      if (depth === shape.length - 1) {
        if (typeof item !== "string") throw new DataError(`${who}: expected a string at ${at}, got ${kindOf(item)}`);
        values.push(wellFormed(item));
      } else if (Array.isArray(item) && item.length === shape[depth + 1]) fill(item as readonly unknown[], depth + 1, at);
      else {
        const got = Array.isArray(item) ? item.length : kindOf(item);
        throw new ShapeError(`${who}: rows must be equally long: expected ${shape[depth + 1]} items at ${at}, got ${got}`);
      }
    }
  };
  fill(data, 0, "");
  return { values, shape };
}

/** A code unit's place in the order of code points: halves of pairs come behind all others. */
const rank = (unit: number): number => (unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800);

/** By code points, which is the order of their bytes in UTF-8; JavaScript's own is by code units. */
export function byCodePoint(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

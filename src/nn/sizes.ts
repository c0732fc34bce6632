/** @file Options of windows in any number of dimensions. */
import { shown } from "../check.ts";
import { ArgumentError } from "../errors.ts";

/** One number for all three directions, or [depth, height, width]. */
export type Triple = number | readonly [number, number, number];

/** A number for each of `rank` dimensions; one stands for all. @throws ArgumentError */
export function sizesOf(who: string, what: string, value: unknown, rank: number, least = 1): readonly number[] {
  const sizes: unknown = typeof value === "number" ? new Array<number>(rank).fill(value) : value;
  if (!Array.isArray(sizes) || sizes.length !== rank || sizes.some((v) => !Number.isSafeInteger(v) || v < least))
    throw new ArgumentError(
      `${who}: ${what} must be an integer >= ${least}${["", "", " or two of them", " or three of them"][rank]}, got ` +
        `${Array.isArray(value) ? JSON.stringify(value) : shown(value)}`,
    );
  return sizes as readonly number[];
}

/** [depth, height, width] of an option that one number may stand for. @throws ArgumentError */
export const tripleOf = (who: string, what: string, value: Triple, least = 1): readonly [number, number, number] =>
  sizesOf(who, what, value, 3, least) as unknown as readonly [number, number, number];

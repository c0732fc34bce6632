/** @file x[key] as NumPy and Keras have it: numbers, slices, new dimensions and "the dimensions between". */
import { FileError, ops, slice, Tensor } from "../index.ts";
import { isObject, show } from "./fields.ts";
import type { Json } from "./fields.ts";

const isEllipsis = (item: unknown): boolean => isObject(item) && item.class_name === "__ellipsis__";

/** `{ start, stop, step }`, which is in the form of an object in files of Keras 3. */
function boundsOf(item: unknown): Json | null {
  if (!isObject(item)) return null;
  const own = item.class_name === "__slice__" && isObject(item.config) ? item.config : item;
  return ["start", "stop", "step"].every((key) => key in own) ? own : null;
}

/** Where a slice of a dimension of `size` begins, and how many elements it has, by Python's rules. */
function rangeOf({ start, stop, step }: Json, size: number): { readonly from: number; readonly count: number; readonly by: number } {
  const whole = [start, stop, step].every((n) => n === null || n === undefined || Number.isInteger(n));
  const by = (step as number | null) ?? 1;
  if (!whole || by < 1) throw new FileError(`a slice of ${show(start)}, ${show(stop)}, ${show(step)} is not read: steps are 1 or more`);
  const place = (n: unknown, otherwise: number): number =>
    n === null || n === undefined ? otherwise : Math.min(size, Math.max(0, (n as number) < 0 ? (n as number) + size : (n as number)));
  const from = place(start, 0);
  return { from, count: Math.max(0, Math.ceil((place(stop, size) - from) / by)), by };
}

/** x[key]. @throws FileError for keys that are no numbers and slices */
export function itemOf(x: Tensor, key: unknown): Tensor {
  const given: unknown[] = Array.isArray(key) ? (key as unknown[]) : [key];
  const taken = given.filter((item) => item !== null && !isEllipsis(item)).length;
  const between = given.findIndex(isEllipsis);
  const all = { start: null, stop: null, step: null };
  const fill = new Array<unknown>(Math.max(0, x.rank - taken)).fill(all);
  const items = between < 0 ? [...given, ...fill] : [...given.slice(0, between), ...fill, ...given.slice(between + 1)];
  if (taken > x.rank || items.some(isEllipsis)) throw new FileError(`${show(key)} are more places than ${x} has dimensions`);
  const [start, size, step, shape]: number[][] = [[], [], [], []];
  let at = 0;
  for (const item of items) {
    if (item === null) {
      shape.push(1);
      continue;
    }
    const length = x.shape[at++];
    const bounds = boundsOf(item);
    if (bounds === null && !Number.isInteger(item)) throw new FileError(`${show(item)} is no place: numbers and slices are read`);
    if (bounds === null) {
      const index = (item as number) < 0 ? (item as number) + length : (item as number);
      if (index < 0 || index >= length) throw new FileError(`there is no element ${String(item)} of ${length}`);
      start.push(index);
      size.push(1);
      step.push(1);
      continue;
    }
    const { from, count, by } = rangeOf(bounds, length);
    start.push(from);
    size.push(count);
    step.push(by);
    shape.push(count);
  }
  // Elements that a slice of nothing begins behind are not there.
  return ops.reshape(
    slice(
      x,
      start.map((s, i) => (size[i] === 0 ? 0 : s)),
      size,
      step,
    ),
    shape,
  );
}

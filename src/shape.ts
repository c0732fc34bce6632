import { ShapeError } from "./errors.ts";

/** Sizes of the dimensions, outermost first; `[]` is a scalar. Every tensor is contiguous and row-major. */
export type Shape = readonly number[];

/** A shape in which a dimension may be null: of any size, which data decide. */
export type OpenShape = readonly (number | null)[];

/** Whether a shape is one of those that `open` stands for. */
export const fits = (shape: Shape, open: OpenShape): boolean =>
  shape.length === open.length && open.every((d, i) => d === null || d === shape[i]);

/** Number of elements. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const d of shape) size *= d;
  return size;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i]);
}

/** `[2, 3]` as it stands in every error text. */
export function showShape(shape: readonly (number | null)[]): string {
  return `[${shape.map(String).join(", ")}]`;
}

/** Strides in elements of a contiguous tensor. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

/** NumPy's broadcasting rule over any number of shapes. @throws ShapeError naming `who` and the shapes. */
export function broadcastShapes(who: string, shapes: readonly Shape[]): Shape {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const out = new Array<number>(rank).fill(1);
  for (const s of shapes) {
    for (let i = 0; i < s.length; i++) {
      const at = rank - s.length + i;
      if (s[i] === out[at] || s[i] === 1) continue;
      if (out[at] !== 1) {
        throw new ShapeError(`${who}: shapes ${shapes.map(showShape).join(" and ")} do not broadcast: dimensions must be equal or 1`);
      }
      out[at] = s[i];
    }
  }
  return out;
}

/** Strides with which `from` reads as `to`: 0 along broadcast dimensions. */
export function broadcastStrides(from: Shape, to: Shape): number[] {
  const own = stridesOf(from);
  const lead = to.length - from.length;
  return to.map((_, i) => (i < lead || from[i - lead] === 1 ? 0 : own[i - lead]));
}

/** A dimension index with negative values counted from the end. @throws ShapeError when out of range. */
export function normalizeAxis(who: string, axis: number, rank: number): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank) {
    throw new ShapeError(`${who}: axis must be an integer in [${-rank}, ${rank - 1}] for rank ${rank}, got ${shownAxis(axis)}`);
  }
  return axis < 0 ? axis + rank : axis;
}

/** `argMax(x, { axis: 0 })` is the way of functions that have more options. */
const shownAxis = (axis: unknown): string =>
  typeof axis === "object" && axis !== null && "axis" in axis ? `options; give the number alone: ${String(axis.axis)}` : String(axis);

/** The same for a list of axes (null: all), sorted, without repeats. */
export function normalizeAxes(who: string, axes: number | readonly number[] | null, rank: number): number[] {
  if (axes === null) return Array.from({ length: rank }, (_, i) => i);
  const list = (Array.isArray(axes) ? axes : [axes]).map((a) => normalizeAxis(who, a, rank));
  return [...new Set(list)].sort((a, b) => a - b);
}

/** Product of the dimensions in `[from, to)`. */
export function sizeBetween(shape: Shape, from: number, to: number): number {
  let size = 1;
  for (let i = from; i < to; i++) size *= shape[i];
  return size;
}

/** A shape as three dimensions: before `axis`, the `count` dimensions from there on, and behind them. */
export function aroundAxes(shape: Shape, axis: number, count = 1): { outer: number; size: number; inner: number } {
  return {
    outer: sizeBetween(shape, 0, axis),
    size: sizeBetween(shape, axis, axis + count),
    inner: sizeBetween(shape, axis + count, shape.length),
  };
}

/**
 * An iteration space and the strides of its operands with dimensions of size 1 dropped and neighbours merged where every operand steps
 * through them evenly. At least one dimension is left.
 */
export function collapse(space: readonly number[], strides: readonly (readonly number[])[]): { dims: number[]; strides: number[][] } {
  const dims: number[] = [];
  const merged: number[][] = strides.map(() => []);
  space.forEach((size, d) => {
    if (size === 1) return;
    const last = dims.length - 1;
    const even = last >= 0 && strides.every((s, i) => merged[i][last] === s[d] * size);
    if (even) {
      dims[last] *= size;
      strides.forEach((s, i) => (merged[i][last] = s[d]));
    } else {
      dims.push(size);
      strides.forEach((s, i) => merged[i].push(s[d]));
    }
  });
  if (dims.length === 0) return { dims: [1], strides: strides.map(() => [0]) };
  return { dims, strides: merged };
}

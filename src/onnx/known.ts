/** @file Arithmetic on elements that are known while tracing: shapes, axes, sizes. In float64, which holds integers to 2^53. */
import type { Shape } from "../index.ts";
import { INTEGERS, isFloat } from "./types.ts";
import type { ElementType } from "./types.ts";
import { Value } from "./value.ts";

/** Lists of more elements are computed by the backend. */
const MOST = 4096;

/** Whether all are known, few, and nothing that is trained. */
export const areKnown = (values: readonly (Value | null)[]): boolean =>
  values.every((v) => v === null || (v.known !== null && v.type !== "string" && v.size <= MOST));

/** A number as a type has it: integers of few bits wrap around, and are 0 where 0 divides, as on the backends; float32 rounds. */
export function fit(type: ElementType, x: number): number {
  if (type === "bool") return Number(x !== 0);
  if (type === "float32") return Math.fround(x);
  const range = INTEGERS[type];
  if (range !== undefined && !Number.isFinite(x)) return 0;
  if (range === undefined || range.bits === 64 || (x >= range.least && x <= range.most)) return x;
  const wrapped = Number(BigInt.asUintN(range.bits, BigInt(Math.trunc(x))));
  return wrapped > range.most ? wrapped - 2 ** range.bits : wrapped;
}

/** NumPy's rule; null where shapes do not fit. */
export function broadcast(shapes: readonly Shape[]): number[] | null {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const out = new Array<number>(rank).fill(1);
  for (const s of shapes) {
    for (let i = 0; i < s.length; i++) {
      const at = rank - s.length + i;
      if (s[i] !== 1 && out[at] !== 1 && s[i] !== out[at]) return null;
      if (s[i] !== 1) out[at] = s[i];
    }
  }
  return out;
}

/** Steps from one element to the next along each dimension; 0 where a dimension of `shape` is repeated to that of `to`. */
export function stridesOf(shape: Shape, to: Shape = shape): number[] {
  const strides = new Array<number>(to.length).fill(0);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1) strides[to.length - shape.length + i] = step;
    step *= shape[i];
  }
  return strides;
}

/** Calls `visit` for each place of `shape` in order, with the place of each operand's element. */
export function forEach(shape: Shape, strides: readonly (readonly number[])[], visit: (at: number, of: number[]) => void): void {
  const size = shape.reduce((n, d) => n * d, 1);
  const index = new Array<number>(shape.length).fill(0);
  const of = strides.map(() => 0);
  for (let at = 0; at < size; at++) {
    visit(at, of);
    for (let d = shape.length - 1; d >= 0; d--) {
      index[d]++;
      strides.forEach((s, k) => (of[k] += s[d]));
      if (index[d] < shape[d]) break;
      strides.forEach((s, k) => (of[k] -= s[d] * shape[d]));
      index[d] = 0;
    }
  }
}

/** `fn` of elements, broadcast; null where shapes do not fit. */
export function mapKnown(type: ElementType, operands: readonly Value[], fn: (...x: number[]) => number): Value | null {
  const shape = broadcast(operands.map((v) => v.shape));
  if (shape === null) return null;
  const out = new Float64Array(shape.reduce((n, d) => n * d, 1));
  const lists = operands.map((v) => v.elements);
  forEach(
    shape,
    operands.map((v) => stridesOf(v.shape, shape)),
    (at, of) => (out[at] = fit(type, fn(...of.map((o, k) => lists[k][o])))),
  );
  return Value.numbers(type, out, shape);
}

/** The type of a float's bits is of no matter to what is computed. */
export const sameKind = (a: ElementType, b: ElementType): boolean => a === b || (isFloat(a) && isFloat(b));

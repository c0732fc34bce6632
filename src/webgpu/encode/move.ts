/** @file GPU encoders of the kernels that move words (kernels/move.wgsl). */
import type { DType } from "../../dtype.ts";
import type { CopyAttrs, FillAttrs, IotaAttrs } from "../../plan/kernels.ts";
import type { Operand } from "../../plan/plan.ts";
import { sizeOf } from "../../shape.ts";
import { assert } from "../../assert.ts";
import type { Bound, DispatchWriter, GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";

/** Invocations of a workgroup. */
const THREADS = 64;
/** Side of a tile of a transpose. */
const TILE = 16;
const COPY_RANK = 6;

/** The type of words that are moved one by one or in fours. */
const wordsOf = (four: boolean): string => (four ? "vec4<u32>" : "u32");

/** The bits of `value` as `dtype` stores it. */
export function elementBits(dtype: DType, value: number): number {
  switch (dtype) {
    case "f32":
      return new Uint32Array(Float32Array.of(value).buffer)[0];
    case "i32":
    case "u32":
      return value >>> 0;
    case "bool":
      return value === 0 ? 0 : 1;
    default:
      return dtype satisfies never;
  }
}

export function fillWith(y: Operand, value: number, out: DispatchWriter): void {
  const count = sizeOf(y.shape);
  if (count === 0) return;
  const four = count % 4 === 0;
  const items = four ? count / 4 : count;
  out.dispatch(
    { file: "move", entry: "fill", constants: { COUNT: items, Element: wordsOf(four), VALUE: elementBits(y.dtype, value) } },
    [write(y)],
    Math.ceil(items / THREADS),
  );
}

/** A dimension of a copy: elements, and how far apart they are in x and in y. */
export interface Dimension {
  readonly size: number;
  readonly x: number;
  readonly y: number;
}

/** y's largest stride first, no sizes of 1, neighbours that are one run in both tensors merged, `COPY_RANK` of them. */
function copyOrder(dimensions: readonly Dimension[]): Dimension[] {
  const order = dimensions.filter((d) => d.size !== 1).sort((a, b) => Math.abs(b.y) - Math.abs(a.y));
  for (let i = order.length - 2; i >= 0; i--) {
    const a = order[i];
    const b = order[i + 1];
    if (a.x === b.x * b.size && a.y === b.y * b.size) order.splice(i, 2, { size: a.size * b.size, x: b.x, y: b.y });
  }
  while (order.length < COPY_RANK) order.unshift({ size: 1, x: 0, y: 0 });
  return order;
}

/** Writes the dispatch of a copy. */
export function encodeCopy(
  out: DispatchWriter,
  x: Bound | null,
  y: Bound | null,
  dimensions: readonly Dimension[],
  xOffset = 0,
  yOffset = 0,
): void {
  let order = copyOrder(dimensions);
  const last = order[COPY_RANK - 1];
  // Where x runs along another dimension than y, that one second to last: the two are turned tile by tile.
  const along = order.findIndex((d, i) => i < COPY_RANK - 1 && d.x === 1 && d.size >= TILE);
  const transposed = last.y === 1 && last.x !== 1 && last.size >= TILE && along >= 0;
  if (transposed) order.splice(COPY_RANK - 2, 0, ...order.splice(along, 1));
  // In steps of four elements where runs of four are aligned in both tensors.
  const four =
    last.x === 1 &&
    last.y === 1 &&
    [last.size, xOffset, yOffset, ...order.slice(0, -1).flatMap((d) => (d.size === 1 ? [] : [d.x, d.y]))].every((n) => n % 4 === 0);
  const unit = four ? 4 : 1;
  if (four) order = order.map((d) => (d === last ? { size: d.size / 4, x: 1, y: 1 } : { size: d.size, x: d.x / 4, y: d.y / 4 }));
  const count = order.reduce((n, d) => n * d.size, 1);
  const [rows, columns] = [order[COPY_RANK - 2].size, order[COPY_RANK - 1].size];
  const outer = count / (rows * columns);
  const constants: { [name: string]: number | string } = {
    Element: wordsOf(four),
    COUNT: transposed ? outer : count,
    X_OFFSET: xOffset / unit,
    Y_OFFSET: yOffset / unit,
  };
  order.forEach((d, i) => Object.assign(constants, { [`SIZE_${i}`]: d.size, [`X_${i}`]: d.x, [`Y_${i}`]: d.y }));
  const groups = transposed ? outer * Math.ceil(rows / TILE) * Math.ceil(columns / TILE) : Math.ceil(count / THREADS);
  out.dispatch({ file: "move", entry: transposed ? "transpose" : "copy", constants }, [x, y], groups);
}

export const copy: GpuEncoder = (call, out) => {
  const { shape, xStrides, yStrides, xOffset, yOffset, fill: filled } = call.attrs as unknown as CopyAttrs;
  const x = call.inputs[0];
  const y = call.outputs[0];
  if (y === null) return;
  assert(shape.length <= COPY_RANK, () => `copy of rank ${shape.length}: at most ${COPY_RANK}`);
  if (filled !== null) fillWith(y, filled, out);
  if (sizeOf(shape) > 0)
    encodeCopy(
      out,
      read(x),
      write(y),
      shape.map((size, i) => ({ size, x: xStrides[i], y: yStrides[i] })),
      xOffset,
      yOffset,
    );
};

export const fill: GpuEncoder = (call, out) => {
  const a = call.attrs as unknown as FillAttrs;
  if (call.outputs[0] !== null) fillWith(call.outputs[0], a.value, out);
};

export const iota: GpuEncoder = (call, out) => {
  const a = call.attrs as unknown as IotaAttrs;
  const y = call.outputs[0];
  if (y === null) return;
  const count = sizeOf(y.shape);
  if (count > 0)
    out.dispatch(
      { file: "move", entry: "iota", constants: { COUNT: count, SIZE: a.size, INNER: a.inner, FLOAT: y.dtype === "f32" } },
      [write(y)],
      Math.ceil(count / THREADS),
    );
};

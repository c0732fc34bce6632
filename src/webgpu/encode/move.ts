/** @file GPU encoders of the kernels that move words (kernels/move.wgsl). */
import type { DType } from "../../dtype.ts";
import { internal } from "../../errors.ts";
import type { CopyAttrs, FillAttrs, IotaAttrs } from "../../plan/kernels.ts";
import type { Operand } from "../../plan/plan.ts";
import { sizeOf } from "../../shape.ts";
import type { DispatchWriter, GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";

/** Invocations of a workgroup. */
const THREADS = 64;
/** Side of a tile of a transpose. */
const TILE = 16;
const COPY_RANK = 6;

/** The bits of `value` as `dtype` stores it. */
function elementBits(dtype: DType, value: number): number {
  switch (dtype) {
    case "f32": return new Uint32Array(Float32Array.of(value).buffer)[0];
    case "i32": case "u32": return value >>> 0;
    case "bool": return value === 0 ? 0 : 1;
    default: return dtype satisfies never;
  }
}

function fillWith(y: Operand, value: number, out: DispatchWriter): void {
  const count = sizeOf(y.shape);
  if (count === 0) return;
  const four = count % 4 === 0;
  const items = four ? count / 4 : count;
  out.dispatch({ file: "move", entry: four ? "fill_vectors" : "fill", constants: { COUNT: items, VALUE: elementBits(y.dtype, value) } }, [write(y)], Math.ceil(items / THREADS));
}

interface Dimension { readonly size: number; readonly x: number; readonly y: number }

/** y's largest stride first, no sizes of 1, neighbours that are one run in both tensors merged, `COPY_RANK` of them. */
function copyOrder(dimensions: readonly Dimension[]): Dimension[] {
  const order = dimensions.filter((d) => d.size !== 1).sort((a, b) => Math.abs(b.y) - Math.abs(a.y));
  for (let i = order.length - 2; i >= 0; i--) {
    const a = order[i], b = order[i + 1];
    if (a.x === b.x * b.size && a.y === b.y * b.size) order.splice(i, 2, { size: a.size * b.size, x: b.x, y: b.y });
  }
  while (order.length < COPY_RANK) order.unshift({ size: 1, x: 0, y: 0 });
  return order;
}

/** The same copy in steps of four elements, or null where runs of four are not aligned in both tensors. */
function inVectors(order: readonly Dimension[], xOffset: number, yOffset: number): Dimension[] | null {
  const last = order[COPY_RANK - 1];
  const outer = order.slice(0, -1);
  const even = last.x === 1 && last.y === 1 && last.size % 4 === 0 && xOffset % 4 === 0 && yOffset % 4 === 0 && outer.every((d) => d.size === 1 || (d.x % 4 === 0 && d.y % 4 === 0));
  return even ? [...outer.map((d) => ({ size: d.size, x: d.x / 4, y: d.y / 4 })), { size: last.size / 4, x: 1, y: 1 }] : null;
}

export const copy: GpuEncoder = (call, out) => {
  const a = call.attrs as unknown as CopyAttrs;
  const x = call.inputs[0], y = call.outputs[0];
  if (y === null) return;
  if (a.shape.length > COPY_RANK) throw internal(`copy of rank ${a.shape.length}: at most ${COPY_RANK}`);
  if (a.fill !== null) fillWith(y, a.fill, out);
  const count = sizeOf(a.shape);
  if (count === 0) return;
  const order = copyOrder(a.shape.map((size, i) => ({ size, x: a.xStrides[i], y: a.yStrides[i] })));
  const last = order[COPY_RANK - 1];
  // Where x runs along another dimension than y, that one second to last: the two are turned tile by tile.
  const along = order.findIndex((d, i) => i < COPY_RANK - 1 && d.x === 1 && d.size >= TILE);
  const transposed = last.y === 1 && last.x !== 1 && last.size >= TILE && along >= 0;
  if (transposed) order.splice(COPY_RANK - 2, 0, ...order.splice(along, 1));
  const four = transposed ? null : inVectors(order, a.xOffset, a.yOffset);
  const unit = four === null ? 1 : 4;
  const constants: { [name: string]: number } = { X_OFFSET: a.xOffset / unit, Y_OFFSET: a.yOffset / unit };
  (four ?? order).forEach((d, i) => Object.assign(constants, { [`SIZE_${i}`]: d.size, [`X_${i}`]: d.x, [`Y_${i}`]: d.y }));
  const buffers = [read(x), write(y)];
  if (!transposed) {
    out.dispatch({ file: "move", entry: four === null ? "copy" : "copy_vectors", constants: { ...constants, COUNT: count / unit } }, buffers, Math.ceil(count / unit / THREADS));
    return;
  }
  const [rows, columns] = [order[COPY_RANK - 2].size, order[COPY_RANK - 1].size];
  const outer = count / (rows * columns);
  out.dispatch({ file: "move", entry: "transpose", constants: { ...constants, COUNT: outer } }, buffers, outer * Math.ceil(rows / TILE) * Math.ceil(columns / TILE));
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
  if (count > 0) out.dispatch({ file: "move", entry: "iota", constants: { COUNT: count, SIZE: a.size, INNER: a.inner, FLOAT: y.dtype === "f32" } }, [write(y)], Math.ceil(count / THREADS));
};

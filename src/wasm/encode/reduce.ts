/** @file Encodes reductions for assembly/reduce.ts, with their prologue where they have one. */
import { assert } from "../../assert.ts";
import type { ReduceAttrs, ReduceOp } from "../../plan/kernels.ts";
import type { Call, Operand } from "../../plan/plan.ts";
import * as O from "../opcodes.ts";
import { read, write } from "../writer.ts";
import type { CommandWriter, Encoder, Word } from "../writer.ts";
import { mapBlock } from "./map.ts";

const CODE: { readonly [op in ReduceOp]: number } = {
  sum: O.REDUCE_SUM,
  max: O.REDUCE_MAX,
  min: O.REDUCE_MIN,
  prod: O.REDUCE_PROD,
  argmax: O.REDUCE_ARGMAX,
  argmin: O.REDUCE_ARGMIN,
};

/** Columns of a cache line: what a piece has at least. */
const LINE = 16;
/** Pieces wanted of a large reduction over rows. */
const ENOUGH_PIECES = 16;

/** Columns of a piece. Those of long matrices in memory are cut finer: cutting the rows would need another pass. */
function columnsOf(outer: number, size: number, inner: number, plain: boolean): number {
  const most = Math.min(inner, O.MAP_TILE);
  if (!plain || outer * size * inner <= O.MAP_PIECE) return most;
  return Math.min(most, Math.max(LINE, Math.ceil((outer * inner) / ENOUGH_PIECES / LINE) * LINE));
}

/** y[inner] = the sums over the columns of x[size, inner]. */
export function columnSum(out: CommandWriter, y: Operand, x: Word, size: number, inner: number): void {
  const per = columnsOf(1, size, inner, true);
  const across = Math.ceil(inner / per);
  out.command(O.REDUCE, across, [O.REDUCE_SUM, 1, size, inner, write(y), x, per, across]);
}

export const reduce: Encoder = (call: Call, out: CommandWriter) => {
  const { op, outer, size, inner, body } = call.attrs as unknown as ReduceAttrs;
  const y = call.outputs[0] as Operand;
  if (outer * inner === 0) return;
  const rows = inner === 1;
  const plain = body === null || size === 0;
  const per = rows ? Math.max(1, Math.floor(O.MAP_PIECE / Math.max(1, size))) : columnsOf(outer, size, inner, plain);
  const across = Math.ceil(inner / per);
  const pieces = rows ? Math.ceil(outer / per) : outer * across;
  // The element type is the values': argmax writes i32 whatever it reads. A prologue's values have the type of its result.
  const type =
    body === null
      ? (call.inputs[0] as Operand).dtype
      : body.results[0] < body.strides.length
        ? (call.inputs[body.results[0]] as Operand).dtype
        : body.steps[body.results[0] - body.strides.length].dtype;
  assert(type === "f32" || type === "i32", () => `reduce of ${type}`);
  const words: Word[] = [
    CODE[op] | (type === "i32" ? 256 : 0),
    outer,
    size,
    inner,
    write(y),
    plain ? read(call.inputs[0]) : 0,
    per,
    across,
  ];
  if (!plain) words.push(...mapBlock(body, call.inputs, [null]));
  out.command(O.REDUCE, pieces, words);
};

/** @file Encoder of scatterUpdate (assembly/scatter.ts). */
import type { ScatterUpdateAttrs } from "../../plan/kernels.ts";
import { SCATTER_UPDATE } from "../opcodes.ts";
import type { Encoder } from "../writer.ts";
import { read, update } from "../writer.ts";
import { split } from "./move.ts";

/** Columns of a piece are a multiple of this: a cache line. */
const LINE = 16;

/** `scatterUpdate(index, updates) -> y` */
export const scatterUpdate: Encoder = (call, out) => {
  const { size, inner, count, halves = false } = call.attrs as unknown as ScatterUpdateAttrs;
  if (size * inner * count === 0) return;
  const { pieces, perPiece } = split(Math.ceil(inner / LINE), LINE * count);
  const sizes = [size, inner, count, perPiece * LINE, Number(halves)];
  out.command(SCATTER_UPDATE, pieces, [...call.inputs.map(read), update(call.outputs[0]), ...sizes]);
};

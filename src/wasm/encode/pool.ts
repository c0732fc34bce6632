/** @file Encoders of pooling (assembly/pool.ts). */
import type { PoolAttrs } from "../../plan/kernels.ts";
import { AVG_POOL, AVG_POOL_GRAD, MAX_POOL, MAX_POOL_GRAD } from "../opcodes.ts";
import type { CommandWriter, Encoder, Word } from "../writer.ts";
import { read, write } from "../writer.ts";
import { split } from "./move.ts";

function command(out: CommandWriter, opcode: number, operands: readonly Word[], a: PoolAttrs, rows: number, workPerRow: number): void {
  if (rows * workPerRow === 0) return;
  const { pieces, perPiece } = split(rows, workPerRow);
  out.command(opcode, pieces, [
    ...operands, a.h, a.w, a.c, a.p, a.q, a.r, a.s, a.strideH, a.strideW, a.padTop >>> 0, a.padLeft >>> 0, rows, perPiece,
  ]);
}

/** Pieces are rows of y: each reads R*S elements for every element of its own. */
function forward(out: CommandWriter, opcode: number, operands: readonly Word[], a: PoolAttrs): void {
  command(out, opcode, operands, a, a.n * a.p, a.q * a.c * a.r * a.s);
}

/** Pieces are rows of dx: each element is touched by as many windows as overlap there. */
function gradient(out: CommandWriter, opcode: number, operands: readonly Word[], a: PoolAttrs): void {
  const overlap = Math.ceil(a.r / a.strideH) * Math.ceil(a.s / a.strideW);
  command(out, opcode, operands, a, a.n * a.h, a.w * a.c * overlap);
}

export const maxPool: Encoder = (call, out) => {
  const a = call.attrs as unknown as PoolAttrs;
  forward(out, MAX_POOL, [read(call.inputs[0]), write(call.outputs[0]), write(call.outputs[1])], a);
};

export const maxPoolGrad: Encoder = (call, out) => {
  const a = call.attrs as unknown as PoolAttrs;
  gradient(out, MAX_POOL_GRAD, [read(call.inputs[0]), read(call.inputs[1]), write(call.outputs[0])], a);
};

export const avgPool: Encoder = (call, out) => {
  const a = call.attrs as unknown as PoolAttrs;
  forward(out, AVG_POOL, [read(call.inputs[0]), write(call.outputs[0]), 0], a);
};

export const avgPoolGrad: Encoder = (call, out) => {
  const a = call.attrs as unknown as PoolAttrs;
  gradient(out, AVG_POOL_GRAD, [read(call.inputs[0]), 0, write(call.outputs[0])], a);
};

/** @file Encoders of pooling (assembly/pool.ts). */
import type { PoolAttrs } from "../../plan/kernels.ts";
import { AVG_POOL, AVG_POOL_GRAD, MAX_POOL, MAX_POOL_GRAD } from "../opcodes.ts";
import type { CommandWriter, Encoder, Word } from "../writer.ts";
import { read, write } from "../writer.ts";
import { split } from "./move.ts";

/** `rows` of so much work each are shared out. */
function command(out: CommandWriter, opcode: number, operands: readonly Word[], a: PoolAttrs, rows: number, workPerRow: number): void {
  if (rows * workPerRow === 0) return;
  const { pieces, perPiece } = split(rows, workPerRow);
  out.command(opcode, pieces, [
    ...operands,
    a.h,
    a.w,
    a.c,
    a.p,
    a.q,
    a.r,
    a.s,
    a.strideH,
    a.strideW,
    a.padTop >>> 0,
    a.padLeft >>> 0,
    rows,
    perPiece,
  ]);
}

/** x -> y and, of max pooling, the index. Pieces are rows of y: each reads R*S elements for every element of its own. */
function forward(opcode: number): Encoder {
  return ({ inputs, outputs, attrs }, out) => {
    const a = attrs as unknown as PoolAttrs;
    command(out, opcode, [read(inputs[0]), write(outputs[0]), write(outputs[1] ?? null)], a, a.n * a.p, a.q * a.c * a.r * a.s);
  };
}

/** dy and, of max pooling, the index -> dx. Pieces are rows of dx: each element is touched by as many windows as overlap there. */
function gradient(opcode: number): Encoder {
  return ({ inputs, outputs, attrs }, out) => {
    const a = attrs as unknown as PoolAttrs;
    const overlap = Math.ceil(a.r / a.strideH) * Math.ceil(a.s / a.strideW);
    command(out, opcode, [read(inputs[0]), read(inputs[1] ?? null), write(outputs[0])], a, a.n * a.h, a.w * a.c * overlap);
  };
}

export const maxPool = forward(MAX_POOL);
export const maxPoolGrad = gradient(MAX_POOL_GRAD);
export const avgPool = forward(AVG_POOL);
export const avgPoolGrad = gradient(AVG_POOL_GRAD);

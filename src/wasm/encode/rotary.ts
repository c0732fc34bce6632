/** @file Encoder of rotary (assembly/rotary.ts). */
import type { RotaryAttrs } from "../../plan/kernels.ts";
import { ROTARY } from "../opcodes.ts";
import type { Encoder } from "../writer.ts";
import { read, write } from "../writer.ts";
import { split } from "./move.ts";

/** Steps a feature costs. */
const ELEMENT_WORK = 2;

/** `rotary(x, cos, sin) -> y` */
export const rotary: Encoder = (call, out) => {
  const { outer, time, heads, dim, half, neighbours, back } = call.attrs as unknown as RotaryAttrs;
  const rows = outer * time * heads;
  if (rows * dim === 0) return;
  const { pieces, perPiece } = split(rows, dim * ELEMENT_WORK);
  const sizes = [rows, time, heads, dim, half, Number(neighbours), Number(back), perPiece];
  out.command(ROTARY, pieces, [...call.inputs.map(read), write(call.outputs[0]), ...sizes]);
};

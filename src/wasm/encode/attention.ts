/** @file Encoders of attention and its gradient (assembly/attention.ts). */
import type { AttentionAttrs } from "../../plan/kernels.ts";
import type { Call, Operand } from "../../plan/plan.ts";
import { ATTENTION, ATTENTION_GRAD } from "../opcodes.ts";
import type { Encoder, Word } from "../writer.ts";
import { f32Word, read, write } from "../writer.ts";

const attrsOf = (call: Call): AttentionAttrs => call.attrs as unknown as AttentionAttrs;

/** What both kernels are told first: sizes, and what says who sees what. */
function common(a: AttentionAttrs, [mask, offset, lengths, key]: readonly (Operand | null)[]): Word[] {
  const kept = 1 - a.rate;
  return [
    ...[a.b, a.tq, a.tk, a.heads, a.kvHeads, a.dim, a.valueDim].map((size) => size),
    f32Word(a.scale),
    Number(a.causal),
    a.window,
    a.offset >>> 0,
    ...[mask, offset, lengths, key].map((operand = null) => read(operand)),
    Number(mask?.dtype === "bool"),
    ...a.maskStrides,
    Math.round(kept * 2 ** 24),
    f32Word(kept > 0 ? 1 / kept : 0),
    a.stream,
  ];
}

/** `attention(q, k, v, mask?, offset?, lengths?, key?) -> y, lse?` */
export const attention: Encoder = (call, out) => {
  const a = attrsOf(call);
  const [q, k, v, ...rules] = call.inputs;
  const pieces = a.b * a.heads;
  if (pieces * a.tq === 0) return;
  out.command(ATTENTION, pieces, [...common(a, rules), ...[q, k, v].map(read), ...[0, 1].map((i) => write(call.outputs[i] ?? null))]);
};

/** `attentionGrad(dy, q, k, v, delta, lse, mask?, offset?, lengths?, key?) -> dq, dk, dv, dscore?` */
export const attentionGrad: Encoder = (call, out) => {
  const a = attrsOf(call);
  const pieces = a.b * a.kvHeads;
  if (pieces === 0) return;
  const operands = [...call.inputs.slice(0, 6).map(read), ...[0, 1, 2, 3].map((i) => write(call.outputs[i] ?? null))];
  out.command(ATTENTION_GRAD, pieces, [...common(a, call.inputs.slice(6)), ...operands]);
};

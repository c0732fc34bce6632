/** @file Encoders of attention and its gradient (assembly/attention.ts and attention/). */
import type { AttentionAttrs } from "../../plan/kernels.ts";
import type { Call, Operand } from "../../plan/plan.ts";
import { ATTENTION, ATTENTION_GRAD, ATTENTION_ROWS, SCRATCH_BYTES } from "../opcodes.ts";
import type { Encoder, Word } from "../writer.ts";
import { f32Word, read, write } from "../writer.ts";
import { encodeCombine } from "./matmul.ts";

/** Queries and keys of a tile where heads are small enough, and the fewest there are: they fit for MOST_FEATURES (src/ops/attention.ts). */
const TILE = 64;
const LEAST_TILE = 8;
/** Rows of a tile of products, at most, and columns of a panel (assembly/gemm.ts). */
const MR = 6;
const NR = 8;
/** Bytes at the beginning of scratch that are no tiles, at most. */
const FIELDS = 2560;
/**
 * With so few queries each key is read for so few multiplications that packing it would cost more: of 512 keys of 64 features a query takes
 * 6 us, a tile of 5 to 8 of them 40 (Xeon with AVX-512).
 */
const FEW_QUERIES = 6;
/** Queries, of all heads, of a piece with few, and keys of a tile of them: KEYS of assembly/attention/rows.ts. */
const ROWS = 8;
const KEYS = 64;
/** Most elements that are widened of f16 at once: they stay in L2. */
const WIDENED = 2 ** 15;
/** With fewer pieces than this the keys of a head are cut into runs, each with a dq of its own. */
const ENOUGH_PIECES = 16;

const attrsOf = (call: Call): AttentionAttrs => call.attrs as unknown as AttentionAttrs;
const up = (n: number, to: number): number => Math.ceil(n / to) * to;

/** What all kernels are told first: sizes, and what says who sees what. */
function common(a: AttentionAttrs, [mask, offset, lengths, key]: readonly (Operand | null)[]): Word[] {
  const kept = 1 - a.rate;
  return [
    ...[a.b, a.tq, a.tk, a.heads, a.kvHeads, a.dim, a.valueDim],
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

/** Queries and keys of a tile: the most whose `bytes` fit into scratch. */
function tilesOf(a: AttentionAttrs, bytes: (queries: number, keys: number) => number): { queries: number; keys: number } {
  for (let size = TILE; ; size /= 2) {
    const queries = Math.min(size, up(a.tq, NR));
    const keys = Math.min(size, up(Math.max(1, a.tk), NR));
    if (size === LEAST_TILE || FIELDS + bytes(queries, keys) <= SCRATCH_BYTES) return { queries, keys };
  }
}

/** `attention(q, k, v, mask?, offset?, lengths?, key?) -> y, lse?` */
export const attention: Encoder = (call, out) => {
  const a = attrsOf(call);
  const [q, k, v, ...rules] = call.inputs;
  if (a.b * a.heads * a.tq === 0) return;
  const { halves = false } = a;
  const operands = [...[q, k, v].map(read), ...[0, 1].map((i) => write(call.outputs[i] ?? null)), Number(halves)];
  if (a.tq <= FEW_QUERIES) {
    const group = a.heads / a.kvHeads;
    const heads = Math.min(group, Math.max(1, Math.floor(ROWS / a.tq)));
    const pieces = a.b * a.kvHeads * Math.ceil(group / heads);
    let keys = KEYS;
    while (halves && keys * (a.dim + a.valueDim) > WIDENED) keys /= 2;
    out.command(ATTENTION_ROWS, pieces, [...common(a, rules), heads, keys, ...operands]);
    return;
  }
  const tiles = tilesOf(
    a,
    (queries, keys) =>
      4 * (a.dim * (queries + up(keys, MR)) + keys * queries + up(a.valueDim, NR) * (keys + queries)) +
      (halves ? 4 * keys * Math.max(a.dim, a.valueDim) : 0),
  );
  const pieces = a.b * a.heads * Math.ceil(a.tq / tiles.queries);
  out.command(ATTENTION, pieces, [...common(a, rules), tiles.queries, tiles.keys, ...operands]);
};

/** `attentionGrad(dy, q, k, v, delta, lse, mask?, offset?, lengths?, key?) -> dq, dk, dv, dscore?` */
export const attentionGrad: Encoder = (call, out) => {
  const a = attrsOf(call);
  const [dq, dk, dv, dScore = null] = call.outputs;
  if (a.b === 0) return;
  const tiles = tilesOf(a, (queries, keys) => {
    const [dim, valueDim] = [a.dim, a.valueDim].map((size) => up(size, NR));
    const ofKeys = keys * (a.dim + a.valueDim + 2 * dim + valueDim);
    const ofQueries = up(queries, MR) * (a.dim + a.valueDim) + queries * (dim + valueDim);
    return 4 * (ofKeys + ofQueries + 3 * queries * keys + 4 * keys);
  });
  const heads = a.b * a.kvHeads;
  const keyTiles = Math.max(1, Math.ceil(a.tk / tiles.keys));
  const perPiece = tiles.keys * Math.ceil(keyTiles / Math.min(keyTiles, Math.ceil(ENOUGH_PIECES / heads)));
  const runs = Math.max(1, Math.ceil(a.tk / perPiece));
  const bytes = 4 * a.b * a.tq * a.heads * a.dim;
  const parts = runs > 1 ? out.shared(runs * bytes) : null;
  out.command(ATTENTION_GRAD, heads * runs, [
    ...common(a, call.inputs.slice(6)),
    tiles.queries,
    tiles.keys,
    perPiece,
    parts === null ? 0 : bytes,
    ...call.inputs.slice(0, 6).map(read),
    parts === null ? write(dq) : parts.write,
    ...[dk, dv, dScore].map(write),
  ]);
  if (parts !== null) {
    const [rows, columns] = [a.b * a.tq * a.heads, a.dim];
    encodeCombine(out, { parts: parts.read, count: runs, bias: 0, y: write(dq), rows, columns, activation: "linear" });
  }
};

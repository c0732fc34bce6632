/**
 * @file GPU encoders of attention and its gradient by subgroup matrices (kernels/attention-matrices/attention.wgsl), in the place of
 * those of encode/attention.ts where sizes are worth it.
 */
import type { AttentionAttrs } from "../../plan/kernels.ts";
import type { Call, Operand } from "../../plan/plan.ts";
import type { AttentionTile, Constants, DispatchWriter, GpuFeatures, GpuKernels, Hooks, Shader } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { BUSY, keysOf } from "./attention-few.ts";
import { common, encodeForward, prepare } from "./attention.ts";
import { constantsOf, entryPoint, fits, padded } from "./attention-pass.ts";
import type { Pass, PassName } from "./attention-pass.ts";
import { fillWith } from "./move.ts";

/**
 * Largest first. The candidates that `npm run bench:gpu -- --matrices` compares. By reckoning for an H200 with 64 features: forward a
 * subgroup reads and writes 8.5 x 128 bytes of workgroup memory for 32 scores, half of it columns, and 13 x 128 bytes backward. At 128
 * bytes a clock for each multiprocessor that bounds both to some 200 TFLOP/s. More rows for each subgroup would read columns less often,
 * but have twice as many sums in registers. Waits for barriers are filled by other workgroups, of which two or three are on a
 * multiprocessor. Tiles of 128 rows read 4 bytes of columns from L2 for a score; backward, where two kinds of scores lie in workgroup
 * memory, that has room for 64.
 */
export const ATTENTION_TILES: readonly AttentionTile[] = [
  { subgroups: 8, rows: 16, columns: 32 },
  { subgroups: 4, rows: 16, columns: 32 },
  { subgroups: 2, rows: 16, columns: 32 },
  { subgroups: 4, rows: 16, columns: 16 },
  { subgroups: 2, rows: 16, columns: 16 },
];
/** Features of a head beyond which sums of 16 rows have no room in registers; and those of results in the pass that has two of them. */
const MOST_FEATURES = 128;
const MOST_OF_TWO = 64;
/** Queries, keys and features below which matrices would mostly multiply zeros. */
const LEAST_ROWS = 16;
const LEAST_FEATURES = 8;

/** Whether they would not mostly multiply zeros, and have room. */
const suits = ({ tq, tk, heads, kvHeads, dim, valueDim }: AttentionAttrs): boolean =>
  Math.min((tq * heads) / kvHeads, tk) >= LEAST_ROWS &&
  Math.min(dim, valueDim) >= LEAST_FEATURES &&
  Math.max(dim, valueDim) <= MOST_FEATURES;

/** A pass of so many workgroups. */
interface PlannedPass extends Pass {
  readonly groups: number;
}

/** The pass with the largest tile of which there are enough to keep a GPU busy, else the most there can be; null where none fits. */
function passOf(name: PassName, a: AttentionAttrs, features: GpuFeatures): PlannedPass | null {
  const { matrices } = features;
  if (matrices === null || a.b === 0 || !suits(a)) return null;
  const parts = name === "keys" ? Math.ceil(Math.max(a.dim, a.valueDim) / MOST_OF_TWO) : 1;
  const rows = name === "keys" ? a.tk : (a.tq * a.heads) / a.kvHeads;
  const passesOf = (tiles: readonly AttentionTile[]): PlannedPass[] =>
    tiles
      .map((tile) => ({
        name,
        tile,
        matrices,
        parts,
        first: padded(a.dim, parts, matrices),
        second: padded(a.valueDim, parts, matrices),
        groups: a.b * a.kvHeads * Math.ceil(rows / (tile.subgroups * tile.rows)) * parts,
      }))
      .filter((pass) => fits(pass, features));
  const [told] = matrices.attention === undefined ? [] : passesOf([matrices.attention]);
  if (told !== undefined) return told;
  const passes = passesOf(ATTENTION_TILES);
  return passes.find(({ groups }) => groups >= BUSY) ?? passes.sort((s, t) => t.groups - s.groups)[0] ?? null;
}

/** The shader of a pass. `own`: constants that it has beside those of all and of its tile. */
const shaderOf = (pass: Pass, constants: Constants, hooks: Hooks, own: Constants = {}): Shader => ({
  file: pass.name === "forward" ? "attention" : "attention-grad",
  entry: "matrices",
  constants: { ...constants, ...constantsOf(pass), ...own },
  hooks,
  body: entryPoint(pass),
  directives: pass.matrices.directives,
});

/** Writes `attention(q, k, v, mask?, offset?, lengths?, key?) -> y, lse?`, and returns true; false, and nothing, where it does not suit. */
function forward(call: Call, out: DispatchWriter): boolean {
  const { attrs, inputs, outputs } = call;
  const a = attrs as unknown as AttentionAttrs;
  const [q, , , mask = null, offset = null, lengths = null, key = null] = inputs;
  const [y, lse = null] = outputs;
  const pass = passOf("forward", a, out.features);
  if (pass === null) return false;
  const { constants, hooks } = common(a, [mask, offset, lengths, key]);
  const facts = prepare(out, a, constants, [offset, lengths, key]);
  const operands = [read(q), null, ...keysOf(call), read(mask), facts];
  encodeForward(out, a, constants, shaderOf(pass, constants, hooks), operands, pass.tile.columns, pass.groups, y as Operand, lse);
  return true;
}

/** Likewise `attentionGrad(dy, q, k, v, delta, lse, mask?, offset?, lengths?, key?) -> dq, dk, dv, dscore?`. */
function backward({ attrs, inputs, outputs }: Call, out: DispatchWriter): boolean {
  const a = attrs as unknown as AttentionAttrs;
  const [dy, q, k, v, delta, lse, mask = null, offset = null, lengths = null, key = null] = inputs;
  const [dq, dk, dv, dscore = null] = outputs as readonly (Operand | null)[];
  const queries = passOf("queries", a, out.features);
  const keys = passOf("keys", a, out.features);
  if (queries === null || keys === null) return false;
  const { constants, hooks } = common(a, [mask, offset, lengths, key]);
  const facts = prepare(out, a, constants, [offset, lengths, key], [lse, delta]);
  if (dscore !== null) fillWith(dscore, 0, out);
  const [rows, others] = [
    [read(q), read(dy)],
    [read(k), read(v)],
  ];
  // Weights of a query add up to 1: half the way, in powers of two, from what each of all keys has to what the only one would have.
  const lifted = { LIFT: 2 ** Math.min(15, Math.round(Math.log2(a.tk) / 2)) };
  const byQueries = [...rows, ...others, read(mask), facts, write(dq), write(dscore)];
  out.dispatch(shaderOf(queries, constants, hooks, { ...lifted, HAS_DSCORE: dscore !== null }), byQueries, queries.groups);
  const byKeys = [...others, ...rows, read(mask), facts, write(dk), write(dv)];
  out.dispatch(shaderOf(keys, constants, hooks, lifted), byKeys, keys.groups);
  return true;
}

/** Encoders that take matrices where they suit, and else do what those given do. */
export const attentionWithMatrices = ({ attention, attentionGrad, ...others }: GpuKernels["encoders"]): GpuKernels["encoders"] => ({
  ...others,
  attention: (call, out) => void (forward(call, out) || attention(call, out)),
  attentionGrad: (call, out) => void (backward(call, out) || attentionGrad(call, out)),
});

/**
 * @file Scaled dot-product attention (Vaswani et al. 2017, arXiv 1706.03762), one kernel each way: softmax is computed while the keys go by
 * and again in the backward pass, so that nothing of the size of all scores is ever kept (FlashAttention 2, Dao 2023, arXiv 2307.08691).
 */
import { apply } from "../apply.ts";
import { checkCount, checkFlag, checkNumber, checkOptions, shown } from "../check.ts";
import { ArgumentError, DTypeError, ShapeError } from "../errors.ts";
import { asTensor, currentGraph, floats } from "../graph.ts";
import type { Attrs, Graph, Op } from "../graph.ts";
import * as kernels from "../kernels.ts";
import { isTraining, randomKey } from "../mode.ts";
import type { AttentionAttrs } from "../plan/kernels.ts";
import { broadcastStrides, sameShape, showShape } from "../shape.ts";
import type { Shape } from "../shape.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { broadcastTo, reshape, sumTo } from "./broadcast.ts";
import { mul, sub } from "./map.ts";
import { transpose } from "./move.ts";
import { toFloat } from "./promote.ts";
import { sum } from "./reduce.ts";

/** Of a query and of a value: what tiles of the kernels have room for. */
const MOST_FEATURES = 2048;

const attrsOf = (attrs: Attrs): AttentionAttrs => attrs as unknown as AttentionAttrs;
const queries = ({ b, tq, heads }: AttentionAttrs, dim: number): Shape => [b, tq, heads, dim];
const keys = ({ b, tk, kvHeads }: AttentionAttrs, dim: number): Shape => [b, tk, kvHeads, dim];

/** (q, k, v, mask?, offset?, lengths?, key?) -> y, lse: shapes and meaning as of the kernel. */
export const attentionOp: Op = {
  name: "attention",
  infer: (_inputs, attrs) => {
    const a = attrsOf(attrs);
    return floats(queries(a, a.valueDim), [a.b, a.heads, a.tq]);
  },
  vjp: TRAINING
    ? ({ dy: [dy, dLse], y: [y, lse], x, needs, attrs }) => {
        const [q, k, v, mask, ...rest] = x;
        const d = dy ?? (currentGraph() as Graph).constant(0, "f32", y.shape);
        let delta = sum(mul(d, y), { axis: -1 });
        if (dLse) delta = sub(delta, transpose(dLse, [0, 2, 1]));
        const [dq, dk, dv, dScore] = apply(attentionGradOp, [d, q, k, v, delta, lse, mask, ...rest], attrs);
        return [dq, dk, dv, mask !== null && needs[3] ? sumTo(dScore, mask.shape) : null, null, null, null];
      }
    : null,
  lower: kernels.attention,
};

/** (dy, q, k, v, delta, lse, mask?, offset?, lengths?, key?) -> dq, dk, dv, dscore */
export const attentionGradOp: Op = {
  name: "attentionGrad",
  infer: (_inputs, attrs) => {
    const a = attrsOf(attrs);
    return floats(queries(a, a.dim), keys(a, a.dim), keys(a, a.valueDim), [a.b, a.heads, a.tq, a.tk]);
  },
  vjp: null,
  gradientOf: "attention",
  lower: ({ inputs, outputs, attrs }) => [{ kernel: kernels.attentionGrad, inputs, outputs, attrs, required: 3 }],
};

/** The same with k and v as `scatterHalves` (scatter.ts) keeps them, u32 of half as many features; k and v have no gradient. */
export const attentionToHalvesOp: Op = { name: "attentionToHalves", infer: attentionOp.infer, vjp: null, lower: kernels.attention };

/** Options of `attention`. */
export interface AttentionOptions {
  /**
   * Which keys each query sees: bool, true where it does, or f32 that is added to the scores (-Infinity hides). Broadcasts to [batch,
   * heads, queries, keys]; it is read as it is, never repeated in memory. Default none.
   */
  readonly mask?: TensorLike | null;
  /** A query sees no key behind its own position, which is `offset` and its index. Default false. */
  readonly causal?: boolean;
  /**
   * Position of the first query among the keys, for `causal` and `window`: a number, or i32 [batch], one for each sequence, which the
   * kernel reads when it runs. Default: as many keys as there are more than queries, so that the last query is at the last key.
   */
  readonly offset?: TensorLike;
  /** A query sees only keys less than so many positions before it and, unless `causal`, behind it. Default: all. */
  readonly window?: number;
  /** i32 [batch]: how many of the keys of each sequence count; the others are not read. Default: all. */
  readonly lengths?: TensorLike;
  /** Factor of the scores. Default 1 / sqrt(features of a query). */
  readonly scale?: number;
  /** Part of the weights that training drops, while the others are multiplied by 1 / (1 - dropout); from 0 to 1. Default 0. */
  readonly dropout?: number;
}

const NAMES = ["mask", "causal", "offset", "window", "lengths", "scale", "dropout"];

/** The operands' sizes. `each`: features of k and v in an element. @throws ShapeError */
function sizesOf(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  each: number,
): Pick<AttentionAttrs, "b" | "tq" | "tk" | "heads" | "kvHeads" | "dim" | "valueDim"> {
  const came = (): string => `got q ${showShape(q.shape)}, k ${showShape(k.shape)} and v ${showShape(v.shape)}`;
  if (q.rank !== 4 || k.rank !== 4 || v.rank !== 4) {
    throw new ShapeError(
      `attention: expected q [batch, queries, heads, features], k [batch, keys, heads, features] and v [batch, keys, heads, values], ` +
        came(),
    );
  }
  const [b, tq, heads, dim] = q.shape;
  const [, tk, kvHeads] = k.shape;
  const valueDim = each * v.shape[3];
  if (k.shape[0] !== b || each * k.shape[3] !== dim || !sameShape(v.shape.slice(0, 3), k.shape.slice(0, 3))) {
    throw new ShapeError(
      `attention: q ${showShape(q.shape)} needs k [${b}, keys, heads, ${dim}] and v [${b}, keys, heads, values] with as many keys and ` +
        `heads, ${came()}`,
    );
  }
  if (dim === 0 || valueDim === 0 || kvHeads === 0 || heads % kvHeads !== 0) {
    throw new ShapeError(
      "attention: expected at least one feature, and heads of q whose number is a multiple of that of the heads of k and v, " +
        `which each serve as many, ${came()}`,
    );
  }
  if (Math.max(dim, valueDim) > MOST_FEATURES) {
    throw new ShapeError(`attention: a head has at most ${MOST_FEATURES} features and values, ${came()}; use more heads`);
  }
  return { b, tq, tk, heads, kvHeads, dim, valueDim };
}

/** The mask and its strides. @throws ShapeError, DTypeError */
function readMask(mask: TensorLike | null, all: Shape): { mask: Tensor | null; maskStrides: readonly number[] } {
  if (mask === null) return { mask, maskStrides: [0, 0, 0, 0] };
  const t = asTensor(mask, "f32", "attention: mask");
  if (t.dtype !== "bool" && t.dtype !== "f32") {
    throw new DTypeError(
      `attention: the mask must be bool (true where a key is seen) or f32 (added to the scores), got ${t}; convert it with ` +
        'cast(mask, "bool")',
    );
  }
  const lead = all.length - t.rank;
  if (lead < 0 || t.shape.some((d, i) => d !== 1 && d !== all[i + lead])) {
    throw new ShapeError(
      `attention: the mask must broadcast to [batch, heads, queries, keys] = ${showShape(all)}, got ${showShape(t.shape)}; ` +
        "dimensions must be equal or 1, from the last one on",
    );
  }
  return { mask: t, maskStrides: broadcastStrides(t.shape, all) };
}

/** i32 [b] of an option that is one number for each sequence, or one for all. @throws ShapeError, DTypeError */
function perSequence(what: string, given: TensorLike, b: number): Tensor {
  const t = asTensor(given, "i32", `attention: ${what}`);
  if (t.dtype !== "i32") throw new DTypeError(`attention: ${what} must be i32, got ${t}; convert it with cast(${what}, "i32")`);
  if (t.size !== 1 && !sameShape(t.shape, [b])) {
    throw new ShapeError(`attention: ${what} must be one number or i32 [${b}], one for each sequence of the batch, got ${t}`);
  }
  return t.size === b ? reshape(t, [b]) : broadcastTo(reshape(t, [1]), [b]);
}

/**
 * softmax(scale q k^T + mask) v for each head: q [batch, queries, heads, features], k [batch, keys, key heads, features] and v [batch,
 * keys, key heads, values] -> [batch, queries, heads, values], f32. Where q has more heads than k and v, their number is a multiple: head
 * h reads key head floor(h / (heads / key heads)) (grouped queries, Ainslie et al. 2023, arXiv 2305.13245). A query that sees no key gives
 * 0. Memory does not grow with the number of scores, and time only with the keys that `causal`, `window` and `lengths` leave: of a cache of
 * keys and values those rows alone are read that a query of the sequence sees by these. What else is in it may be anything, even NaN; but
 * where some queries see a row that others do not, it should be finite: its weight is 0 there, and 0 times NaN may be NaN. Products and
 * scores beyond the range of f32 are no scores: NaN may be where they count.
 * Vaswani et al. 2017, arXiv 1706.03762; Dao 2023, arXiv 2307.08691.
 * @throws ShapeError for shapes that do not belong together, DTypeError for a mask that is neither bool nor f32 and for an offset or
 * lengths that are not i32, ArgumentError for other options out of range.
 */
export function attention(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionOptions = {}): Tensor {
  const [query, key, value] = [q, k, v].map((x) => toFloat("attention", x));
  return attending(attentionOp, query, key, value, options);
}

/** `attention` to keys and values that `scatterHalves` keeps. */
export const attentionToHalves: typeof attention = (q, k, v, options = {}) =>
  attending(attentionToHalvesOp, toFloat("attention", q), k as Tensor, v as Tensor, options);

/** See `attention`. */
function attending(op: Op, query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions): Tensor {
  const o = checkOptions("attention", options, NAMES);
  const halves = op === attentionToHalvesOp;
  const sizes = sizesOf(query, key, value, halves ? 2 : 1);
  const { b, tq, tk, heads, dim } = sizes;
  const { causal = false, window = 0, scale = 1 / Math.sqrt(dim), dropout = 0, offset = tk - tq } = o;
  checkFlag("attention", "causal", causal);
  if (o.window !== undefined) checkCount("attention", "window", window);
  if (!Number.isFinite(Math.fround(scale))) throw new ArgumentError(`attention: scale must be a finite number of f32, got ${shown(scale)}`);
  checkNumber("attention", "dropout", dropout, 0, 1);
  const { mask, maskStrides } = readMask(o.mask ?? null, [b, heads, tq, tk]);
  const fixed = typeof offset === "number";
  if (fixed && !Number.isInteger(offset)) throw new ArgumentError(`attention: offset must be an integer, got ${shown(offset)}`);
  const drops = TRAINING && dropout > 0 && isTraining(query);
  const attrs: AttentionAttrs = {
    ...sizes,
    scale,
    causal,
    window: Math.min(window, 2 ** 30),
    offset: fixed ? Math.max(-(2 ** 29), Math.min(2 ** 29, offset)) : 0,
    maskStrides,
    rate: drops ? dropout : 0,
    stream: drops ? (currentGraph()?.nextStream() ?? 0) : 0,
    ...(halves && { halves }),
  };
  const operands = [
    query,
    key,
    value,
    mask,
    fixed ? null : perSequence("offset", offset, b),
    o.lengths === undefined ? null : perSequence("lengths", o.lengths, b),
    drops ? randomKey() : null,
  ];
  return apply(op, operands, attrs as unknown as Attrs)[0];
}

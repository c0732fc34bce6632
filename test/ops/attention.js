/** @file Cases of attention and its gradient. */
import { apply } from "../../build/esm/apply.js";
import { withMode } from "../../build/esm/mode.js";
import { attention, attentionGradOp, attentionOp, attentionToHalves } from "../../build/esm/ops/attention.js";
import { Random } from "../../build/esm/random.js";
import { toHalves } from "../reference/halves.js";
import { ULP, b, f, fixed, i, u, values } from "./harness.js";

/** Sizes of a case with defaults: as many queries as keys, one head of keys for each of queries. */
function sizes({ batch = 2, tq = 5, tk = tq, heads = 2, kvHeads = heads, dim = 4, valueDim = dim }) {
  return [f([batch, tq, heads, dim]), f([batch, tk, kvHeads, dim]), f([batch, tk, kvHeads, valueDim])];
}

/** Results are means of v, whose elements are about 1; gradients are sums of as many terms as there are keys. */
const close = { scale: 4, tolerance: 64 * ULP, gradTolerance: 2e-5 };

/** Where a gradient is 0: of the only key's score, and of what all keys' scores have in common. Its error is that of what cancels. */
const vanishing = (does) => (does ? { gradTolerance: 1e-3 } : {});

/** A case of the public function: `options` may name further inputs by a function of them. */
const plain = (name, given, options = {}, more = []) => ({
  op: "attention",
  name,
  inputs: [...sizes(given), ...more],
  fn: (q, k, v, ...rest) => attention(q, k, v, typeof options === "function" ? options(...rest) : options),
  ...close,
});

const SHAPES = [
  { dim: 1 },
  { dim: 3, valueDim: 5 },
  { tq: 1, tk: 9, dim: 8 },
  { tq: 4, tk: 4, dim: 16 },
  { tq: 17, heads: 1, dim: 6 },
  { batch: 1, tq: 33, tk: 37, heads: 1, dim: 12 },
  { batch: 1, tq: 70, tk: 65, heads: 1, dim: 8, valueDim: 7 },
  { heads: 6, kvHeads: 2 },
  { heads: 4, kvHeads: 1, tq: 3, tk: 7, dim: 5 },
];
const titleOf = (given) => Object.entries(given).flat().join(" ");

const EMPTY = [{ batch: 0 }, { tq: 0 }, { tq: 0, tk: 3 }, { tk: 0 }, { heads: 0, kvHeads: 1 }];

/** Shapes of masks for 2 sequences, 2 heads, 5 queries, 7 keys. */
const MASKS = [[7], [5, 7], [5, 1], [1, 1, 7], [2, 5, 7], [2, 1, 1, 7], [1, 2, 5, 1], [2, 2, 5, 7], [1], [2, 1, 5, 1]];
const masked = { tq: 5, tk: 7 };

const key = values([12, 345, 6, 1], "u32");
/** A key whose run the traced function is given, as fit does. */
const dropping = (rate, options) => (q, k, v, seed) =>
  withMode({ training: true, key: () => seed }, () => attention(q, k, v, { dropout: rate, ...options }));

const attrs = { b: 2, tq: 5, tk: 6, heads: 4, kvHeads: 2, dim: 3, valueDim: 4, scale: 0.5, causal: true, window: 4, offset: 1 };
const rest = { maskStrides: [0, 0, 6, 1], rate: 0.3, stream: 3 };
const operands = [f([2, 5, 4, 3]), f([2, 6, 2, 3]), f([2, 6, 2, 4])];

/** Keys or values as f16, with what is not a normal number among them. */
const halves = (shape, seed) => {
  const numbers = new Random(seed).normal(shape.reduce((a, b) => a * b, 1));
  [0, 2 ** -20, -(2 ** -24)].forEach((x, at) => (numbers[3 * at] = x));
  return values([...toHalves(numbers)], "u32", [...shape.slice(0, -1), shape.at(-1) / 2]);
};

const INF = Infinity;

export const cases = [
  ...SHAPES.map((given) => plain(titleOf(given), given)),
  ...SHAPES.map((given) => plain(`causal, ${titleOf(given)}`, given, { causal: true })),
  ...EMPTY.map((given) => ({ ...plain(`nothing, ${titleOf(given)}`, given, { causal: true }), grad: false })),
  ...MASKS.map((shape) => plain(`bool mask ${shape}`, masked, (mask) => ({ mask }), [b(shape)])),
  ...MASKS.map((shape) => ({ ...plain(`mask ${shape}`, masked, (mask) => ({ mask }), [f(shape)]), ...vanishing(shape.at(-1) === 1) })),
  plain("mask, grouped, causal, window", { tq: 6, tk: 9, heads: 4, kvHeads: 2 }, (mask) => ({ mask, causal: true, window: 4 }), [
    f([4, 6, 9]),
  ]),
  plain("mask that is not differentiated", masked, (mask) => ({ mask }), [fixed(f([5, 7]))]),
  ...[-20, -3, 0, 2, 40].map((offset) => plain(`causal from ${offset}`, masked, { causal: true, offset })),
  ...[1, 3, 100].flatMap((window) => [
    { ...plain(`window ${window}`, { tq: 9, tk: 12 }, { window }), ...vanishing(window === 1) },
    { ...plain(`causal, window ${window}`, { tq: 9, tk: 12 }, { causal: true, window }), ...vanishing(window === 1) },
  ]),
  plain("offsets of sequences", { batch: 3, tq: 4, tk: 11 }, (offset) => ({ causal: true, offset }), [values([0, -2, 6], "i32")]),
  plain("one offset for all, window", { batch: 3, tq: 4, tk: 11 }, (offset) => ({ window: 3, offset }), [values([5], "i32", [])]),
  plain("offsets far away", { batch: 3, tq: 2, tk: 3 }, (offset) => ({ window: 2 ** 40, offset }), [
    values([2 ** 31 - 1, -(2 ** 31), 1], "i32"),
  ]),
  // Of queries of a group, whose places are multiples.
  ...[{ causal: true }, { window: 3 }, { causal: true, window: 2 ** 40 }].map((options) =>
    plain(
      `offsets far away, grouped, ${titleOf(options)}`,
      { batch: 5, tq: 2, tk: 3, heads: 8, kvHeads: 1 },
      (offset) => ({ ...options, offset }),
      [values([2 ** 31 - 1, -(2 ** 31), -(2 ** 28), 2 ** 28, 0], "i32")],
    ),
  ),
  plain("lengths", { batch: 5, tq: 3, tk: 9 }, (lengths) => ({ lengths }), [values([0, 9, 4, -1, 20], "i32")]),
  plain("lengths, causal, mask", { batch: 3, tq: 7, tk: 9 }, (lengths, mask) => ({ lengths, causal: true, mask }), [
    values([2, 5, 9], "i32"),
    b([3, 1, 1, 9]),
  ]),
  plain("scale", {}, { scale: -1.5 }),
  plain("scale 0", {}, { scale: 0 }),
  {
    ...plain("rows that a mask of -infinity hides", { batch: 1, tq: 3, tk: 4, heads: 1 }, (mask) => ({ mask }), [
      fixed(values([-INF, -INF, -INF, -INF, 0, -INF, 1, -INF, -INF, -INF, -INF, 5], "f32", [3, 4])),
    ]),
  },
  {
    ...plain("NaN and infinity of the mask stay in their rows", { batch: 1, tq: 4, tk: 3, heads: 1 }, (mask) => ({ mask }), [
      fixed(values([NaN, 0, 0, 0, INF, 0, 0, 0, 0, 1, -INF, 2], "f32", [4, 3])),
    ]),
    grad: false,
  },
  {
    op: "attention",
    name: "NaN in keys that nobody sees",
    inputs: [
      f([2, 2, 1, 3]),
      ...[0, 1].map(() => values([1, 2, 3, -1, 0.5, 2, NaN, NaN, NaN, 1, 2, 1, NaN, INF, 1, NaN, 1, 1], "f32", [2, 3, 1, 3])),
      values([0, -1], "i32"),
    ],
    fn: (q, k, v, offset) => attention(q, k, v, { causal: true, offset }),
    ...close,
    grad: false,
  },
  // With few queries, and with a tile of them.
  ...[2, 9].map((tq) => ({
    op: "attention",
    name: `NaN in values of a sequence that its mask hides, ${tq} queries`,
    inputs: [
      f([2, tq, 2, 3]),
      f([2, 3, 2, 3]),
      values([1, 2, 3, -1, 0.5, 2, NaN, INF, -INF, 1, NaN, 1], "f32", [2, 3, 2, 1]),
      values([1, 1, 0, 0, 0, 0], "bool", [2, 1, 1, 3]),
    ],
    fn: (q, k, v, mask) => attention(q, k, v, { mask }),
    ...close,
    grad: false,
  })),
  {
    op: "attention",
    name: "large scores",
    inputs: [f([1, 4, 1, 4], -60, 60), f([1, 6, 1, 4], -60, 60), f([1, 6, 1, 4])],
    fn: (q, k, v) => attention(q, k, v),
    ...close,
    tolerance: 4096 * ULP,
    grad: false,
  },
  ...[0.1, 0.5, 1].map((rate) => ({
    op: "attention",
    name: `dropout ${rate}`,
    inputs: [...sizes({ tq: 9, tk: 21, heads: 4, kvHeads: 2 }), key],
    fn: dropping(rate, { causal: true }),
    ...close,
  })),
  {
    op: "attention",
    name: "everything at once, log-sum-exp",
    inputs: [...operands, f([5, 6]), values([1, 0], "i32"), values([6, 4], "i32"), key],
    fn: (...inputs) => apply(attentionOp, inputs, { ...attrs, ...rest }),
    ...close,
  },
  {
    op: "attention",
    name: "log-sum-exp alone",
    inputs: sizes({ tq: 5, tk: 6, heads: 4, kvHeads: 2, dim: 3, valueDim: 4 }),
    fn: (q, k, v) => apply(attentionOp, [q, k, v, null, null, null, null], { ...attrs, ...rest, causal: false, window: 0, rate: 0 })[1],
    ...close,
  },
  // With few queries, which of GPUs has a kernel of its own, and with tiles of them; groups and tiles of keys that are not whole.
  ...[
    { tq: 1, tk: 70 },
    { tq: 2, tk: 9, dim: 68, valueDim: 4 },
    { tq: 11, tk: 37, dim: 8 },
    { batch: 1, tq: 3, tk: 20, heads: 1, kvHeads: 1, dim: 1028 },
  ].map(({ batch = 2, tq, tk, heads = 4, kvHeads = 2, dim = 16, valueDim = dim }) => ({
    op: "attentionToHalves",
    name: `${tq} queries, ${tk} keys, ${dim} and ${valueDim} features`,
    inputs: [
      f([batch, tq, heads, dim]),
      halves([batch, tk, kvHeads, dim], 1),
      halves([batch, tk, kvHeads, valueDim], 2),
      values([tk - tq, 3].slice(0, batch), "i32"),
      values([tk, 3 + tq].slice(0, batch), "i32"),
    ],
    fn: (q, k, v, offset, lengths) => attentionToHalves(q, k, v, { causal: true, offset, lengths }),
    ...close,
  })),
  {
    op: "attentionGrad",
    name: "everything at once",
    inputs: [f([2, 5, 4, 4]), ...operands, f([2, 5, 4]), f([2, 4, 5], 1, 4), f([5, 6]), values([1, 0], "i32"), values([6, 4], "i32"), key],
    fn: (...inputs) => apply(attentionGradOp, inputs, { ...attrs, ...rest }),
    ...close,
    scale: 64,
  },
];

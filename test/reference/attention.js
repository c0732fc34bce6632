/** @file attention and its gradient, one score after another: no tiles, and the whole row of scores before its softmax. */
import { fromHalves } from "./halves.js";
import { philox } from "./random.js";

/** Dropout's factor of each weight, as a function of its place. */
function factors({ heads, tq, rate, stream }, key) {
  if (!key) return () => 1;
  const [w0, w1, w2, w3] = philox([2 ** 31 + 8, stream, key[2], key[3]], [key[0], key[1]]);
  const least = Math.round((1 - rate) * 2 ** 24);
  let last = { row: -1, block: -1, words: [] };
  return (b, h, i, j) => {
    const row = (b * heads + h) * tq + i;
    const block = Math.floor(j / 4);
    if (last.row !== row || last.block !== block) last = { row, block, words: philox([block, row, w2, w3], [w0, w1]) };
    return last.words[j % 4] >>> 8 < least ? 1 / (1 - rate) : 0;
  };
}

/** A query's position among the keys. */
function positionOf(attrs, offset, b, i) {
  return Math.max(-(2 ** 29), Math.min(2 ** 29, offset ? offset[b] : attrs.offset)) + i;
}

/** Calls `visit` for each query with its scores: { j, score } of the keys that it sees. */
function eachQuery(attrs, [q, k, mask, offset, lengths], call, visit) {
  const { b: batch, tq, tk, heads, kvHeads, dim, scale, causal, window, maskStrides } = attrs;
  const hides = call.inputs.some((operand) => operand?.dtype === "bool");
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const g = Math.floor(h / (heads / kvHeads));
      for (let i = 0; i < tq; i++) {
        const position = positionOf(attrs, offset, b, i);
        const seen = [];
        for (let j = 0; j < tk; j++) {
          if (lengths && j >= lengths[b]) continue;
          if (causal && j > position) continue;
          if (window > 0 && (position - j >= window || (!causal && j - position >= window))) continue;
          const given = mask?.[[b, h, i, j].reduce((at, n, d) => at + n * maskStrides[d], 0)];
          if (hides && !given) continue;
          let score = 0;
          for (let d = 0; d < dim; d++) score += q[((b * tq + i) * heads + h) * dim + d] * k[((b * tk + j) * kvHeads + g) * dim + d];
          seen.push({ j, score: scale * score + (hides ? 0 : (given ?? 0)) });
        }
        visit({ b, h, g, i, seen, query: (b * tq + i) * heads + h, key: (j) => (b * tk + j) * kvHeads + g });
      }
    }
  }
}

export function attention(attrs, [q, keys, values, mask, offset, lengths, key], [y, lse], call) {
  const { heads, tq, valueDim } = attrs;
  const [k, v] = attrs.halves ? [keys, values].map(fromHalves) : [keys, values];
  const factor = factors(attrs, key);
  y.fill(0);
  eachQuery(attrs, [q, k, mask, offset, lengths], call, ({ b, h, i, seen, query, key: keyOf }) => {
    const largest = seen.reduce((m, { score }) => Math.max(m, score), -Infinity);
    const nothing = largest === -Infinity;
    const total = seen.reduce((sum, { score }) => sum + Math.exp(score - largest), 0);
    if (lse) lse[(b * heads + h) * tq + i] = nothing ? Infinity : largest + Math.log(total);
    if (nothing) return;
    for (const { j, score } of seen) {
      const weight = (Math.exp(score - largest) / total) * factor(b, h, i, j);
      for (let d = 0; d < valueDim; d++) y[query * valueDim + d] += weight * v[keyOf(j) * valueDim + d];
    }
  });
}

export function attentionGrad(attrs, [dy, q, k, v, delta, lse, mask, offset, lengths, key], [dq, dk, dv, dScore], call) {
  const { heads, tq, tk, dim, valueDim, scale } = attrs;
  const factor = factors(attrs, key);
  for (const gradient of [dq, dk, dv, dScore]) gradient?.fill(0);
  eachQuery(attrs, [q, k, mask, offset, lengths], call, ({ b, h, i, seen, query, key: keyOf }) => {
    const row = (b * heads + h) * tq + i;
    for (const { j, score } of seen) {
      const p = Math.exp(score - lse[row]);
      const f = factor(b, h, i, j);
      const at = keyOf(j);
      let dp = 0;
      for (let d = 0; d < valueDim; d++) {
        dp += dy[query * valueDim + d] * v[at * valueDim + d];
        dv[at * valueDim + d] += f * p * dy[query * valueDim + d];
      }
      const ds = p * (f * dp - delta[query]);
      if (dScore) dScore[row * tk + j] = ds;
      for (let d = 0; d < dim; d++) {
        dq[query * dim + d] += scale * ds * k[at * dim + d];
        dk[at * dim + d] += scale * ds * q[query * dim + d];
      }
    }
  });
}

/** @file What the tests of generation share: small models with clear opinions, and what they count and compare. */
import * as assert from "uvu/assert";
import { model, sequential } from "../../build/esm/model/model.js";
import * as nn from "../../build/esm/nn/index.js";
import { add } from "../../build/esm/ops/map.js";
import { Random } from "../../build/esm/random.js";
import { tensor } from "../../build/esm/tensor.js";
import { errorOf } from "./helpers.js";

export const VOCABULARY = 13;

/** Weights that no initializer gives, large enough for the likeliest token to be clear. */
export function fill(m, size = 0.6) {
  m.weights.forEach(({ tensor: t }, i) => t.set(new Random(11 + i).normal(t.size).map((v) => v * size)));
  return m;
}

const { dense, embedding, groupedQueryAttention, layerNorm, multiHeadAttention, rmsNorm, swiglu } = nn;
/** A block that attends, between an embedding and a head. */
export const around = (attending, more = {}) => {
  const [tokens, norm, head] = [embedding(VOCABULARY, 8), layerNorm(), dense(VOCABULARY)];
  const positions = more.positions ? nn.positionEmbedding(more.positions) : null;
  return model(
    (x) => {
      const e = tokens.call(x);
      let y = positions === null ? e : add(e, positions.call(e));
      for (const a of attending) y = add(y, a.call(norm.call(y)));
      const logits = head.call(y);
      more.probe?.(logits);
      return logits;
    },
    { inputShape: [null] },
  );
};

export const MODELS = {
  "multi-head attention with learned positions": (more) =>
    around([multiHeadAttention(2, 4, { useCausalMask: true })], { positions: 96, ...more }),
  "grouped queries, turned, in a window": (more) =>
    around(
      [4, 3].map((window) => groupedQueryAttention(4, 4, 2, { useCausalMask: true, rotary: {}, slidingWindow: window })),
      more,
    ),
  "one head of keys, with norms and a gated block": (more) =>
    around(
      [groupedQueryAttention(4, 2, 1, { useCausalMask: true, rotary: {}, queryKeyNorm: 1e-6, useBias: false }), rmsNorm(), swiglu(8)],
      more,
    ),
  "a transformer's decoder with a tied head": (more) => {
    const tokens = nn.tokenAndPositionEmbedding(VOCABULARY, 96, 8);
    const block = nn.transformerDecoder(16, 2, { normalizeFirst: true });
    return model(
      (x) => {
        const logits = tokens.attend(block.call(tokens.call(x)));
        more?.probe?.(logits);
        return logits;
      },
      { inputShape: [null] },
    );
  },
};

export const all = async (iterator) => {
  const out = [];
  for await (const t of iterator) out.push(t);
  return out;
};

export const argMax = (row) => row.indexOf(Math.max(...row));
/** Logits of all steps by the whole forward pass, [time][vocabulary]. */
export const whole = async (m, tokens) => (await (await m.predict(tensor([tokens], undefined, "i32"))).array())[0];

/** A model whose logits behind token t are row t of a table. */
export function table(rows) {
  const e = embedding(rows.length, rows[0].length);
  const m = sequential([e], { inputShape: [null] });
  e.weights[0].tensor.set(Float32Array.from(rows.flat()));
  return m;
}
/** Calls of a backend's methods from here on. */
export function counting(of) {
  const counts = { alloc: 0, free: 0, compile: 0, write: 0, read: 0, run: 0 };
  for (const name of Object.keys(counts)) {
    const method = of[name];
    of[name] = (...args) => {
      counts[name]++;
      return method.apply(of, args);
    };
  }
  return {
    counts,
    stop: () => Object.keys(counts).forEach((name) => delete of[name]),
  };
}

export const refused = async (fn, name, message) => {
  const error = await errorOf(fn);
  assert.is(error.name, name, error.message);
  assert.match(error.message, message);
};

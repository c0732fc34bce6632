/** @file Layers that attend, against loops in double: heads, groups, masks, windows, turns, gates; causality; gradients by differences. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import * as nn from "../../build/esm/nn/index.js";
import { maskOf } from "../../build/esm/nn/masks.js";
import { cast } from "../../build/esm/ops/map.js";
import { tensor } from "../../build/esm/tensor.js";
import { BACKENDS, causal, checkGradients, fill, llama3, made, naive, near, run, stretch, values, weightsOf } from "./attending.js";

test.after(() => Object.values(BACKENDS).forEach((b) => b.close()));

/** Layers, and what they compute. */
const CASES = {
  multiHeadAttention: [() => nn.multiHeadAttention(3, 4), {}],
  "multiHeadAttention, sizes of its own, no bias": [() => nn.multiHeadAttention(2, 4, { valueDim: 5, outputShape: 7, useBias: false }), {}],
  "multiHeadAttention with an output of two dimensions": [() => nn.multiHeadAttention(2, 3, { outputShape: [2, 3] }), {}],
  "multiHeadAttention, causal by its option": [() => nn.multiHeadAttention(2, 4, { useCausalMask: true }), { sees: causal }],
  "multiHeadAttention with a window": [() => nn.multiHeadAttention(2, 4, { slidingWindow: 3 }), { sees: (i, j) => Math.abs(i - j) < 3 }],
  "multiHeadAttention with a gate": [() => nn.multiHeadAttention(2, 4, { useGate: true, valueDim: 3 }), {}],
  groupedQueryAttention: [() => nn.groupedQueryAttention(4, 6, 2), {}],
  "groupedQueryAttention of Mistral": [
    () => nn.groupedQueryAttention(4, 4, 2, { useBias: false, useCausalMask: true, slidingWindow: 3, rotary: { maxWavelength: 1e6 } }),
    { sees: (i, j) => j <= i && i - j < 3, rotary: { maxWavelength: 1e6 } },
  ],
  "groupedQueryAttention with a factor for each frequency": [
    () => nn.groupedQueryAttention(6, 2, 1, { rotary: { frequencyFactors: [1, 2.5, 8] } }),
    { rotary: { frequencyFactors: [1, 2.5, 8] } },
  ],
  "groupedQueryAttention of Qwen 2": [() => nn.groupedQueryAttention(4, 4, 1, { useOutputBias: false, rotary: {} }), { rotary: {} }],
  "groupedQueryAttention of Qwen 3": [
    () => nn.groupedQueryAttention(6, 4, 2, { useBias: false, useCausalMask: true, queryKeyNorm: 1e-6, rotary: {} }),
    { sees: causal, rotary: {}, epsilon: 1e-6 },
  ],
  "groupedQueryAttention of Llama 3": [
    () => nn.groupedQueryAttention(6, 2, 1, { rotary: { maxWavelength: 500, frequencyScaling: llama3, neighbours: true } }),
    { rotary: { maxWavelength: 500, stretch, neighbours: true } },
  ],
  "multiHeadAttention that turns a part, slowly": [
    () => nn.multiHeadAttention(2, 6, { rotary: { rotaryDim: 4, scalingFactor: 2.5, maxWavelength: 100 } }),
    { rotary: { rotaryDim: 4, scalingFactor: 2.5, maxWavelength: 100 } },
  ],
};
for (const [name, [make, expected]] of Object.entries(CASES)) {
  test(`${name} is what loops in double give, and its gradients what differences give`, async () => {
    const x = values(1, 2, 7, 5);
    const layer = await made(make(), x);
    const rows = await x.array();
    const want = rows.flatMap((query) => naive(weightsOf(layer), { query }, expected));
    for (const [label, backend] of Object.entries(BACKENDS))
      near(await run((t) => layer.call(t), [x], backend), want, label === "float64" ? 2e-6 : 1e-5, label);
    await checkGradients((t) => layer.call(t), [x], layer);
  });
}

test("query, value and key of other sizes and lengths: causal counts from the first key, as Keras does", async () => {
  const [query, value, key] = [values(1, 2, 3, 5), values(2, 2, 6, 4), values(3, 2, 6, 7)];
  const layer = await made(nn.multiHeadAttention(2, 4), query, value, key);
  const [q, v, k] = await Promise.all([query, value, key].map((t) => t.array()));
  for (const [options, expected] of [[{}, {}], [{ useCausalMask: true }, { sees: causal }]]) {
    const want = q.flatMap((_, b) => naive(weightsOf(layer), { query: q[b], value: v[b], key: k[b] }, expected));
    near(await run((...xs) => layer.call(...xs, options), [query, value, key]), want, 1e-5, "output");
  }
  await checkGradients((...xs) => layer.call(...xs), [query, value, key], layer);
  const both = await made(nn.multiHeadAttention(2, 4), query, value);
  const want = q.flatMap((_, b) => naive(weightsOf(both), { query: q[b], value: v[b] }, {}));
  near(await run((...xs) => both.call(...xs), [query, value]), want, 1e-5, "key is value");
});

test("a mask says which keys a query sees: of two, three and four dimensions, of any dtype, with the causal one", async () => {
  const x = values(1, 2, 4, 6);
  const layer = await made(nn.multiHeadAttention(2, 3), x);
  const rows = await x.array();
  const pairs = [[1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 1, 1]];
  const want = (useCausalMask) =>
    rows.flatMap((query) => naive(weightsOf(layer), { query }, { sees: (i, j) => pairs[i][j] === 1 && (!useCausalMask || j <= i) }));
  const forms = [
    tensor(pairs),
    tensor([pairs, pairs]),
    tensor([[pairs]]),
    tensor(pairs, undefined, "i32"),
    cast(tensor(pairs), "bool"),
    pairs,
  ];
  for (const mask of forms)
    for (const useCausalMask of [false, true])
      near(await run((t) => layer.call(t, { mask, useCausalMask }), [x]), want(useCausalMask), 1e-5, "output");
});

test("groups are heads of keys and values that are repeated", async () => {
  const x = values(1, 2, 5, 6);
  const grouped = await made(nn.groupedQueryAttention(4, 6, 2), x);
  const whole = await made(nn.multiHeadAttention(6, 4), x);
  const w = weightsOf(grouped);
  for (const { name, tensor: t } of whole.weights) {
    const from = w[name];
    const heads = /^(key|value)/.test(name);
    t.set(
      Float32Array.from({ length: t.size }, (_, i) => {
        const [row, head, size] = [Math.floor(i / 24), Math.floor(i / 4) % 6, i % 4];
        return heads ? from.host[row * 8 + Math.floor(head / 3) * 4 + size] : from.host[i];
      }),
    );
  }
  near(await run((t) => grouped.call(t), [x]), await run((t) => whole.call(t), [x]), 1e-6, "output");
});

test("a later step changes no earlier output of what is causal", async () => {
  const layers = {
    multiHeadAttention: nn.multiHeadAttention(2, 4, { useCausalMask: true, rotary: {} }),
    groupedQueryAttention: nn.groupedQueryAttention(4, 4, 2, { useCausalMask: true, slidingWindow: 4 }),
    attention: nn.attention({ useCausalMask: true, useScale: true }),
    additive: nn.attention({ useCausalMask: true, scoreMode: "concat" }),
    transformerDecoder: nn.transformerDecoder(16, 2, { normalizeFirst: true }),
  };
  const x = values(1, 1, 9, 8);
  for (const [name, layer] of Object.entries(layers)) {
    await made(layer, x);
    const all = await run((t) => layer.call(t), [x]);
    for (const changed of [3, 8]) {
      const other = (await x.data()).map((v, i) => (Math.floor(i / 8) >= changed ? v * -3 + 1 : v));
      const y = await run((t) => layer.call(t), [tensor(other, [1, 9, 8])]);
      assert.equal([...y.slice(0, changed * 8)], [...all.slice(0, changed * 8)], name);
      assert.not.equal([...y.slice(changed * 8)], [...all.slice(changed * 8)], name);
    }
  }
});

test("attention is Keras' layer: dot and concat, scale, masks", async () => {
  const [query, value, key] = [values(1, 2, 3, 4), values(2, 2, 5, 6), values(3, 2, 5, 4)];
  const softmax = (row) => {
    const most = Math.max(...row);
    const shares = row.map((s) => (s === -Infinity ? 0 : Math.exp(s - most)));
    const total = shares.reduce((a, b) => a + b, 0);
    return shares.map((s) => (total === 0 ? 0 : s / total));
  };
  const [q, v, k] = await Promise.all([query, value, key].map((t) => t.array()));
  for (const scoreMode of ["dot", "concat"])
    for (const useScale of [false, true]) {
      const layer = nn.attention({ scoreMode, useScale });
      await run((...xs) => layer.call(...xs), [query, value, key]);
      assert.equal(
        layer.weights.map((w) => [w.name, w.tensor.shape, w.tensor.host[0]]),
        [...(useScale ? [["scale", [], 1]] : []), ...(scoreMode === "concat" ? [["concatScoreWeight", [], 1]] : [])],
      );
      layer.weights.forEach((w, i) => w.tensor.set(Float32Array.of(0.7 - i)));
      const { scale, concatScoreWeight } = weightsOf(layer);
      const factor = scale ? scale.host[0] : 1;
      const seen = [[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]];
      for (const mask of [null, seen])
        for (const useCausalMask of [false, true]) {
          const want = q.flatMap((rows, b) =>
            rows.flatMap((row, i) => {
              const scores = k[b].map((keyRow, j) => {
                if ((mask && !mask[i][j]) || (useCausalMask && j > i)) return -Infinity;
                if (scoreMode === "dot") return factor * row.reduce((a, x, d) => a + x * keyRow[d], 0);
                return concatScoreWeight.host[0] * row.reduce((a, x, d) => a + Math.tanh(factor * (x + keyRow[d])), 0);
              });
              const shares = softmax(scores);
              return v[b][0].map((_, d) => shares.reduce((a, p, j) => a + p * v[b][j][d], 0));
            }),
          );
          const call = (...xs) => layer.call(...xs, { mask, useCausalMask });
          near(await run(call, [query, value, key]), want, 1e-5, `${scoreMode} ${useScale} ${mask !== null} ${useCausalMask}`);
        }
      await checkGradients((...xs) => layer.call(...xs), [query, value, key], layer);
    }
});

test("padding by masks of embeddings: what is padded is what is not there, and the output's mask is the query's", async () => {
  const ids = (...rows) => tensor(rows);
  const tokens = nn.embedding(10, 8, { maskZero: true });
  const layers = {
    multiHeadAttention: nn.multiHeadAttention(2, 4),
    groupedQueryAttention: nn.groupedQueryAttention(4, 2, 1),
    attention: nn.attention(),
    additive: nn.attention({ scoreMode: "concat" }),
    transformerEncoder: nn.transformerEncoder(16, 2),
    "transformerEncoder, normalizing first": nn.transformerEncoder(16, 2, { normalizeFirst: true }),
  };
  for (const [name, layer] of Object.entries(layers)) {
    const call = (x) => layer.call(tokens.call(x));
    await run(call, [ids([5, 7, 9])]);
    fill(layer);
    const short = await run(call, [ids([5, 7, 9])]);
    near((await run(call, [ids([5, 7, 9, 0, 0])])).slice(0, 24), short, 1e-6, name);
    const [mask] = await compile((x) => [maskOf(call(x))])(ids([5, 7, 9, 0]));
    assert.equal([...(await mask.data())], [1, 1, 1, 0], name);
  }
  // Of other lengths: the mask of the values is that of the keys, where these have none.
  const cross = nn.multiHeadAttention(2, 4);
  const other = nn.embedding(10, 6, { maskZero: true });
  const call = (a, b) => cross.call(tokens.call(a), other.call(b));
  await run(call, [ids([1, 2]), ids([3, 4, 5])]);
  near(await run(call, [ids([1, 2]), ids([3, 4, 5, 0])]), await run(call, [ids([1, 2]), ids([3, 4, 5])]), 1e-6, "cross");
  // A query that does not count sees nothing: the output's bias is what is left.
  const bias = (await run(call, [ids([0, 2]), ids([3, 4, 5])])).slice(0, 8);
  near(bias, cross.weights.at(-1).tensor.host, 0, "masked query");
});

test("dropout drops in training alone, other weights in each step, with the mean kept", async () => {
  const x = tensor(new Float32Array(4 * 64 * 8).fill(1), [4, 64, 8]);
  for (const layer of [
    nn.multiHeadAttention(2, 4, { dropout: 0.5 }),
    nn.attention({ dropout: 0.5 }),
    nn.attention({ dropout: 0.5, scoreMode: "concat" }),
  ]) {
    await made(layer, x);
    const still = await run((t) => layer.call(t), [x]);
    const step = compile((t) => layer.call(t), { training: true, seed: 3 });
    const [a, b] = [await (await step(x)).data(), await (await step(x)).data()];
    assert.not.equal([...a], [...b], layer.kind);
    const mean = (y) => y.reduce((s, v) => s + v, 0) / y.length;
    assert.ok(Math.abs(mean(a) - mean(still)) < 0.1 * Math.abs(mean(still)) + 0.02, `${layer.kind}: ${mean(a)} ${mean(still)}`);
    assert.equal(
      [...(await run((t) => layer.call(t, { training: false }), [x], BACKENDS.wasm, { training: true }))],
      [...still],
      layer.kind,
    );
  }
});

test.run();

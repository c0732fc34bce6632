/** @file Layers that attend, against loops in double: heads, groups, masks, windows, turns, gates; causality; gradients by differences. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { ArgumentError, LockstepError, ShapeError } from "../../build/esm/errors.js";
import { valueAndGrad } from "../../build/esm/grad.js";
import { open } from "../../build/esm/init.js";
import { model, sequential } from "../../build/esm/model/model.js";
import * as nn from "../../build/esm/nn/index.js";
import { withDecoding } from "../../build/esm/nn/decoding.js";
import { maskOf, masked } from "../../build/esm/nn/masks.js";
import { cast, mul } from "../../build/esm/ops/map.js";
import { concat, slice } from "../../build/esm/ops/move.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { Random } from "../../build/esm/random.js";
import { tensor } from "../../build/esm/tensor.js";
import { errorOf } from "../model/helpers.js";
import { referenceBackend } from "../reference/index.js";

const BACKENDS = { wasm: await open("wasm"), float64: referenceBackend() };
test.after(() => Object.values(BACKENDS).forEach((b) => b.close()));

/** Normal numbers. */
const values = (seed, ...shape) => tensor(new Random(seed).normal(shape.reduce((a, b) => a * b, 1)), shape);
const near = (a, b, tolerance, what) => {
  assert.is(a.length, b.length, what);
  for (let i = 0; i < a.length; i++)
    if (!(Math.abs(a[i] - b[i]) <= tolerance)) throw new Error(`${what}: element ${i} is ${a[i]}, expected ${b[i]}`);
};
const run = async (fn, inputs, backend = BACKENDS.wasm, options = {}) =>
  (await compile((xs) => fn(...xs), { backend, ...options })(inputs)).data();
/** Numbers no initializer gives, for all weights of a layer that has them. */
const fill = (layer, seed = 5, size = 0.5) =>
  layer.weights.forEach(({ tensor: t }, i) => t.set(new Random(seed + i).normal(t.size).map((v) => v * size)));
/** The layer with weights for these inputs. */
async function made(layer, ...inputs) {
  await run((...xs) => layer.call(...xs), inputs);
  fill(layer);
  return layer;
}
const weightsOf = (layer) => Object.fromEntries(layer.weights.map((w) => [w.name, w.tensor]));

/** x [time, features] kernel [features, heads, size] + bias, as [time][head] of arrays. */
function projected(x, kernel, bias) {
  const [features, heads, size] = kernel.shape;
  return x.map((row) =>
    Array.from({ length: heads }, (_, h) =>
      Array.from({ length: size }, (_, s) => {
        let y = bias ? bias.host[h * size + s] : 0;
        for (let f = 0; f < features; f++) y += row[f] * kernel.host[(f * heads + h) * size + s];
        return y;
      }),
    ),
  );
}

/** A head turned by its position, by Math.cos and Math.sin. */
function turned(
  head,
  position,
  { maxWavelength = 10000, scalingFactor = 1, rotaryDim = head.length, neighbours = false, stretch = (f) => f, frequencyFactors = null },
) {
  const y = [...head];
  const half = rotaryDim / 2;
  for (let i = 0; i < half; i++) {
    const angle = (position * stretch(maxWavelength ** ((-2 * i) / rotaryDim))) / scalingFactor / (frequencyFactors?.[i] ?? 1);
    const [a, b] = neighbours ? [2 * i, 2 * i + 1] : [i, i + half];
    y[a] = head[a] * Math.cos(angle) - head[b] * Math.sin(angle);
    y[b] = head[b] * Math.cos(angle) + head[a] * Math.sin(angle);
  }
  return y;
}

/** Attention of one sample in double. `sees(i, j)` says whether query i sees key j. */
function naive(w, { query, value = query, key = value }, { sees = () => true, rotary = null, epsilon = null }) {
  const norm = (scale) => (head) => {
    const root = Math.sqrt(head.reduce((a, b) => a + b * b, 0) / head.length + epsilon);
    return head.map((v, i) => (v / root) * scale.host[i]);
  };
  const each = (x, fn) => x.map((heads, position) => heads.map((head) => fn(head, position)));
  let q = projected(query, w.queryKernel, w.queryBias);
  let k = projected(key, w.keyKernel, w.keyBias);
  const v = projected(value, w.valueKernel, w.valueBias);
  if (epsilon !== null) [q, k] = [each(q, norm(w.queryNormScale)), each(k, norm(w.keyNormScale))];
  if (rotary !== null) [q, k] = [q, k].map((x) => each(x, (head, p) => turned(head, p, rotary)));
  const gate = w.gateKernel && projected(query, w.gateKernel, w.gateBias);
  const [heads, keyHeads, dim] = [q[0].length, k[0].length, q[0][0].length];
  const [, valueDim, ...output] = w.attentionOutputKernel.shape;
  const width = output.reduce((a, b) => a * b, 1);
  return query.flatMap((_, i) => {
    const out = new Array(width).fill(0).map((_, o) => w.attentionOutputBias?.host[o] ?? 0);
    for (let h = 0; h < heads; h++) {
      const g = Math.floor(h / (heads / keyHeads));
      const scores = k.map((heads, j) => (sees(i, j) ? q[i][h].reduce((a, x, d) => a + x * heads[g][d], 0) / Math.sqrt(dim) : -Infinity));
      const most = Math.max(...scores);
      const shares = scores.map((s) => (s === -Infinity ? 0 : Math.exp(s - most)));
      const total = shares.reduce((a, b) => a + b, 0);
      for (let d = 0; d < valueDim; d++) {
        let y = total === 0 ? 0 : shares.reduce((a, p, j) => a + (p / total) * v[j][g][d], 0);
        if (gate) y /= 1 + Math.exp(-gate[i][h][d]);
        for (let o = 0; o < width; o++) out[o] += y * w.attentionOutputKernel.host[(h * valueDim + d) * width + o];
      }
    }
    return out;
  });
}

const stretch = (f) => {
  const wavelength = (2 * Math.PI) / f;
  if (wavelength > 40) return f / 8;
  if (wavelength < 10) return f;
  const smooth = (40 / wavelength - 1) / (4 - 1);
  return ((1 - smooth) * f) / 8 + smooth * f;
};
const llama3 = { factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaxPositions: 40 };
const causal = (i, j) => j <= i;
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

/** Slopes along one direction of all inputs and weights: the gradient's, and central differences of the float64 reference. */
async function checkGradients(fn, inputs, layer) {
  const backend = BACKENDS.float64;
  const weights = layer.weights.map((w) => w.tensor);
  const loss = (xs) => {
    const y = fn(...xs);
    return sum(mul(y, values(77, ...y.shape)));
  };
  const grads = await compile((xs) => valueAndGrad(() => loss(xs), [...xs, ...weights])().grads, { backend })(inputs);
  const value = compile((xs) => loss(xs), { backend });
  for (const [i, t] of [...inputs, ...weights].entries()) {
    const at = new Float32Array(await t.data());
    const direction = new Random(i).normal(t.size);
    const slope = (await grads[i].data()).reduce((a, g, k) => a + g * direction[k], 0);
    const moved = async (by) => {
      const there = at.map((v, k) => v + by * direction[k]);
      if (i < inputs.length) return (await value(inputs.map((x, k) => (k === i ? tensor(there, t.shape) : x)))).item();
      t.set(there);
      const y = await (await value(inputs)).item();
      t.set(at);
      return y;
    };
    const h = 1 / 128;
    const difference = ((await moved(h)) - (await moved(-h))) / (2 * h);
    const size = Math.sqrt((await grads[i].data()).reduce((a, g) => a + g * g, 0) * t.size);
    if (!(Math.abs(slope - difference) <= 2e-3 * size + 1e-3)) throw new Error(`gradient ${i}: slope ${slope}, difference ${difference}`);
  }
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

test("turned queries and keys agree by their distance alone", async () => {
  const features = 8;
  const [a, b] = [values(1, 1, 1, 1, features), values(2, 1, 1, 1, features)];
  const time = 200;
  const repeat = async (t) =>
    tensor(
      Float32Array.from({ length: time * features }, (_, i) => t.host[i % features]),
      [1, time, 1, features],
    );
  for (const options of [{}, { neighbours: true }, { maxWavelength: 50, scalingFactor: 3 }, { frequencyScaling: llama3 }]) {
    const layer = nn.rotaryEmbedding(options);
    const [q, k] = await Promise.all([a, b].map(async (t) => run((x) => layer.call(x), [await repeat(t)])));
    const product = (i, j) => {
      let y = 0;
      for (let f = 0; f < features; f++) y += q[i * features + f] * k[j * features + f];
      return y;
    };
    for (const distance of [0, 1, 17, 99])
      for (const at of [0, 3, 64, 100]) near([product(at + distance, at)], [product(distance, 0)], 2e-5, `distance ${distance}`);
    assert.ok(Math.abs(product(1, 0) - product(0, 0)) > 1e-3);
  }
});

test("angles are right to the last bit of f32 at positions up to 100,000", async () => {
  const layer = nn.rotaryEmbedding({ maxWavelength: 500000 });
  const time = 100001;
  const x = tensor(
    Float32Array.from({ length: time * 4 }, (_, i) => (i % 4 < 2 ? 1 : 0)),
    [1, time, 4],
  );
  const y = await run((t) => layer.call(t), [x]);
  for (const p of [0, 1, 63, 64, 65, 4095, 4096, 77777, 100000])
    for (const i of [0, 1]) {
      const angle = p * 500000 ** (-i / 2);
      near([y[p * 4 + i], y[p * 4 + i + 2]], [Math.fround(Math.cos(angle)), Math.fround(Math.sin(angle))], 6e-8, `position ${p}`);
    }
});

test("layers of one model share the tables of their angles", async () => {
  const turns = [1, 2, 3].map(() => nn.groupedQueryAttention(4, 2, 1, { rotary: {}, useCausalMask: true }));
  const step = compile((x) => nn.rotaryEmbedding({ rotaryDim: 4 }).call(turns.reduce((y, layer) => layer.call(y), x)));
  const captured = (await step.print(values(1, 1, 7, 8))).match(/capture f32\[7, 2\]/g);
  assert.is(captured.length, 2);
});

test("sinePositionEncoding and positionEmbedding give what is to be added, tokenAndPositionEmbedding the sum", async () => {
  for (const features of [6, 5]) {
    const y = await run((x) => nn.sinePositionEncoding({ maxWavelength: 100 }).call(x), [values(1, 2, 70, features)]);
    const want = Array.from({ length: 2 * 70 * features }, (_, at) => {
      const [p, i] = [Math.floor(at / features) % 70, at % features];
      const angle = p * 100 ** (-(2 * Math.floor(i / 2)) / features);
      return i % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    });
    near(y, want, 1e-6, `${features} features`);
  }
  const x = values(1, 2, 4, 3);
  const positions = await made(nn.positionEmbedding(6), x);
  const table = positions.weights[0].tensor;
  assert.equal([positions.weights[0].name, table.shape], ["embeddings", [6, 3]]);
  assert.equal([...(await run((t) => positions.call(t), [x]))], [...table.host.slice(0, 12), ...table.host.slice(0, 12)]);

  const ids = tensor([[3, 0], [1, 2]], undefined, "i32");
  const both = await made(nn.tokenAndPositionEmbedding(5, 4, 3, { maskZero: true }), ids);
  assert.equal(
    both.weights.map((w) => [w.name, w.tensor.shape]),
    [["tokenEmbeddingEmbeddings", [5, 3]], ["positionEmbeddingEmbeddings", [4, 3]]],
  );
  const [tokens, places] = both.weights.map((w) => w.tensor.host);
  near(
    await run((t) => both.call(t), [ids]),
    [3, 0, 1, 2].flatMap((id, i) => [0, 1, 2].map((f) => tokens[id * 3 + f] + places[(i % 2) * 3 + f])),
    1e-6,
    "sum",
  );
  const [mask] = await compile((t) => [maskOf(both.call(t))])(ids);
  assert.equal([...(await mask.data())], [1, 0, 1, 1]);
});

test("swiglu and geglu are products of three kernels", async () => {
  const x = values(1, 2, 3, 4);
  const silu = (v) => v / (1 + Math.exp(-v));
  const geluTanh = (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)));
  const names = ["gateKernel", "gateBias", "upKernel", "upBias", "downKernel", "downBias"];
  for (const [layer, activation] of [
    [nn.swiglu(5), silu],
    [nn.swiglu(5, { useBias: true, outputDim: 2 }), silu],
    [nn.geglu(5, { approximate: true }), geluTanh],
  ]) {
    await made(layer, x);
    const { useBias, outputDim } = layer.config;
    assert.equal(
      layer.weights.map((w) => w.name),
      names.filter((n) => useBias || n.endsWith("Kernel")),
    );
    const w = weightsOf(layer);
    const product = (row, name) => {
      const [from, to] = w[`${name}Kernel`].shape;
      return Array.from({ length: to }, (_, o) => {
        let y = w[`${name}Bias`]?.host[o] ?? 0;
        for (let i = 0; i < from; i++) y += row[i] * w[`${name}Kernel`].host[i * to + o];
        return y;
      });
    };
    const want = (await x.array()).flat().flatMap((row) => {
      const [gate, up] = [product(row, "gate"), product(row, "up")];
      return product(
        gate.map((g, i) => activation(g) * up[i]),
        "down",
      );
    });
    assert.is(want.length, 6 * (outputDim ?? 4));
    near(await run((t) => layer.call(t), [x]), want, 2e-5, layer.kind);
    await checkGradients((t) => layer.call(t), [x], layer);
  }
});

test("a tied head learns with the embedding: one weight, gradients of both", async () => {
  const tokens = nn.embedding(7, 4);
  const ids = tensor([[1, 2, 1]], undefined, "i32");
  await made(tokens, ids);
  const table = tokens.weights[0].tensor;
  const y = await run((t) => tokens.attend(tokens.call(t)), [ids]);
  const row = (id) => [...table.host.slice(id * 4, id * 4 + 4)];
  near(
    y,
    [1, 2, 1].flatMap((id) => Array.from({ length: 7 }, (_, o) => row(id).reduce((a, v, i) => a + v * row(o)[i], 0))),
    1e-6,
    "logits",
  );
  // sum(E E^T) over all pairs of one id with all others: d/dE has the part of the looked up row and that of the head.
  const [g] = await compile((t) => valueAndGrad(() => sum(tokens.attend(tokens.call(t))), [table])().grads)(ids);
  const total = Array.from({ length: 4 }, (_, i) => [...Array(7).keys()].reduce((a, id) => a + row(id)[i], 0));
  const read = row(1).map((v, i) => 2 * v + row(2)[i]);
  const times = [0, 2, 1, 0, 0, 0, 0];
  near(
    await g.data(),
    times.flatMap((n) => total.map((v, i) => n * v + read[i])),
    1e-5,
    "gradient",
  );
});

test("tiedHead: in sequential the embedding must stand in the same model, and counts once", async () => {
  const build = (options) => {
    const tokens = nn.embedding(7, 4, options);
    return { tokens, net: sequential([tokens, nn.dense(4), nn.tiedHead(tokens, { logitSoftCap: 3 })], { inputShape: [5] }) };
  };
  const { tokens, net } = build();
  assert.is(net.weights.length, 3);
  assert.match(
    net.summary(() => {}),
    /tiedHead \(tiedHead\) +│ \[batch, 5, 7\] +│ +0 │/,
  );
  assert.match(
    net.summary(() => {}),
    /embedding \(embedding\) +│ \[batch, 5, 4\] +│ +28 │/,
  );
  const y = await (await net.predict(tensor([[1, 2, 3, 4, 5]]))).data();
  assert.ok(y.every((v) => Math.abs(v) < 3));
  await net.compile({ loss: "sparseCategoricalCrossentropy", optimizer: "sgd" });
  const before = [...tokens.weights[0].tensor.host];
  await net.fit(tensor([[1, 2, 3, 4, 5]]), tensor([[2, 3, 4, 5, 6]]), { verbose: 0, epochs: 1 });
  const after = [...(await tokens.weights[0].tensor.data())];
  // Row 0 is read by nobody but the head.
  assert.ok(before.some((v, i) => i < 4 && v !== after[i]));
  tokens.trainable = false;
  assert.is(net.parameters.length, 2);

  const alone = nn.embedding(7, 4);
  await made(alone, tensor([[1]]));
  const error = await errorOf(() => sequential([nn.tiedHead(alone)], { inputShape: [5, 4] }));
  assert.instance(error, ArgumentError);
  assert.match(error.message, /layer "tiedHead\/embedding": it calls layer "embedding", which would not learn/);
  const functional = model((x) => alone.attend(nn.activation("relu").call(x)), { inputShape: [5, 4] });
  assert.is(functional.weights.length, 1);
  const within = sequential([tokens, nn.dense(4), (x) => tokens.attend(x)], { inputShape: [5] });
  assert.is(within.weights.length, 3);
  assert.instance(await errorOf(() => nn.tiedHead(nn.dense(3))), ArgumentError);
  const unbuilt = await errorOf(() => nn.embedding(7, 4).attend(values(1, 2, 4)));
  assert.instance(unbuilt, LockstepError);
  assert.match(unbuilt.message, /layer "embedding": attend: it has no weights yet/);
  assert.instance(await errorOf(() => compile((x) => alone.attend(x))(values(1, 2, 5))), ShapeError);
});

test("transformerEncoder and transformerDecoder have KerasHub's weights in its order, and its numbers", async () => {
  const [x, encoder] = [values(1, 2, 5, 8), values(2, 2, 3, 6)];
  const heads = [
    "queryKernel",
    "queryBias",
    "keyKernel",
    "keyBias",
    "valueKernel",
    "valueBias",
    "attentionOutputKernel",
    "attentionOutputBias",
  ];
  const named = (part, names) => names.map((n) => part + n[0].toUpperCase() + n.slice(1));
  const norm = ["gamma", "beta"];
  const [ff, out] = ["feedforwardIntermediateDense", "feedforwardOutputDense"].map((n) => named(n, ["kernel", "bias"]));
  const shape = (layer) => layer.weights.map((w) => w.name);
  const encoding = await made(nn.transformerEncoder(16, 2), x);
  assert.equal(shape(encoding), [
    ...named("selfAttentionLayer", heads),
    ...named("selfAttentionLayerNorm", norm),
    ...named("feedforwardLayerNorm", norm),
    ...ff,
    ...out,
  ]);
  const self = [...named("selfAttention", heads), ...named("selfAttentionLayerNorm", norm)];
  const cross = [...named("crossAttention", heads), ...named("crossAttentionLayerNorm", norm)];
  const rest = [...ff, ...out, ...named("feedforwardLayerNorm", norm)];
  assert.equal(shape(await made(nn.transformerDecoder(16, 2), x)), [...self, ...rest]);
  assert.equal(shape(await made(nn.transformerDecoder(16, 2), x, encoder)), [...self, ...cross, ...rest]);

  // From the parts, written out.
  for (const normalizeFirst of [false, true]) {
    const options = { normalizeFirst, activation: "gelu", layerNormEpsilon: 1e-3 };
    const decoder = await made(nn.transformerDecoder(16, 2, options), x, encoder);
    const part = (layer, prefix) => {
      layer.weights.forEach((w) => w.tensor.set(weightsOf(decoder)[prefix + w.name[0].toUpperCase() + w.name.slice(1)].host));
      return layer;
    };
    const parts = [
      ["selfAttention", nn.multiHeadAttention(2, 4), [x]],
      ["selfAttentionLayerNorm", nn.layerNorm({ epsilon: 1e-3 }), [x]],
      ["crossAttention", nn.multiHeadAttention(2, 4), [x, encoder]],
      ["crossAttentionLayerNorm", nn.layerNorm({ epsilon: 1e-3 }), [x]],
      ["feedforwardIntermediateDense", nn.dense(16, { activation: "gelu" }), [x]],
      ["feedforwardOutputDense", nn.dense(8), [values(1, 2, 5, 16)]],
      ["feedforwardLayerNorm", nn.layerNorm({ epsilon: 1e-3 }), [x]],
    ];
    const p = {};
    for (const [name, layer, inputs] of parts) p[name] = part(await made(layer, ...inputs), name);
    const add = (a, b) => nn.merge.add().call(a, b);
    const step = (t, name, block) => (normalizeFirst ? add(t, block(p[name].call(t))) : p[name].call(add(t, block(t))));
    const written = (t, e) => {
      let y = step(t, "selfAttentionLayerNorm", (z) => p.selfAttention.call(z, z, { useCausalMask: true }));
      y = step(y, "crossAttentionLayerNorm", (z) => p.crossAttention.call(z, e));
      return step(y, "feedforwardLayerNorm", (z) => p.feedforwardOutputDense.call(p.feedforwardIntermediateDense.call(z)));
    };
    near(await run((t, e) => decoder.call(t, e), [x, encoder]), await run(written, [x, encoder]), 1e-5, "decoder");
    await checkGradients((t, e) => decoder.call(t, e), [x, encoder], decoder);
  }
});

test("transformers take masks in their calls", async () => {
  const [x, encoder] = [values(1, 1, 4, 8), values(2, 1, 3, 8)];
  const part = (t, steps) => tensor((t.host ?? []).slice(0, steps * 8), [1, steps, 8]);
  const pairs = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]];
  const encode = await made(nn.transformerEncoder(16, 2), x);
  near(
    (await run((t) => encode.call(t, { paddingMask: [[1, 1, 0, 0]] }), [x])).slice(0, 16),
    await run((t) => encode.call(t), [part(x, 2)]),
    1e-6,
    "paddingMask",
  );
  near(
    await run((t) => encode.call(t, { mask: pairs }), [x]),
    await run((t) => encode.call(t, { useCausalMask: true }), [x]),
    1e-6,
    "mask",
  );
  const decode = await made(nn.transformerDecoder(16, 2), x, encoder);
  near(
    await run((t, e) => decode.call(t, e, { encoderPaddingMask: [[1, 1, 0]] }), [x, encoder]),
    await run((t, e) => decode.call(t, e), [x, part(encoder, 2)]),
    1e-6,
    "encoderPaddingMask",
  );
  near(
    await run((t, e) => decode.call(t, e, { encoderMask: [[[1, 1, 0]], [[1, 1, 0]]].slice(0, 1) }), [x, encoder]),
    await run((t, e) => decode.call(t, e), [x, part(encoder, 2)]),
    1e-6,
    "encoderMask",
  );
  near(
    await run((t, e) => decode.call(t, e, { useCausalMask: false, mask: pairs, paddingMask: [[1, 1, 1, 1]] }), [x, encoder]),
    await run((t, e) => decode.call(t, e), [x, encoder]),
    1e-6,
    "useCausalMask: false",
  );
  assert.match(
    (await errorOf(() => run((t) => decode.call(t), [x]))).message,
    /its first call had an encoder's sequence, this one has none/,
  );
  assert.match((await errorOf(() => run((t) => encode.call(t, t), [x]))).message, /expected one tensor, got 2/);
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

/** A cache of keys and values as tensors that grow: what is read goes in, what is new is noted. */
function caching(capacity, start, kept) {
  const next = [];
  let call = 0;
  return {
    next,
    capacity,
    positions: (time) =>
      tensor(
        Int32Array.from({ length: time }, (_, i) => start + i),
        [time],
      ),
    append: (k, v) => {
      const before = kept[call++];
      const all = before === undefined ? { k, v } : { k: concat([before.k, k], 1), v: concat([before.v, v], 1) };
      next.push(all);
      return { ...all, offset: start };
    },
  };
}

test("decoding: steps read one after another, with keys and values kept, give what all at once give", async () => {
  const time = 6;
  const token = nn.embedding(9, 8);
  const place = nn.positionEmbedding(time);
  const sine = nn.sinePositionEncoding();
  const blocks = [
    nn.transformerDecoder(16, 2, { normalizeFirst: true }),
    nn.groupedQueryAttention(4, 4, 2, { useCausalMask: true, rotary: { maxWavelength: 100 }, slidingWindow: 3 }),
    nn.attention({ useCausalMask: true }),
  ];
  const forward = (ids) => {
    const x = token.call(ids);
    const sum = nn.merge.add().call(x, place.call(x), sine.call(x), nn.rotaryEmbedding().call(x));
    return token.attend(blocks.reduce((y, block) => block.call(y), sum));
  };
  const ids = tensor([[1, 5, 2, 8, 3, 7], [4, 4, 0, 1, 2, 6]], undefined, "i32");
  await run(forward, [ids]);
  blocks.forEach((b, i) => fill(b, 20 * i + 1));
  const all = tensor(await run(forward, [ids]), [2, time, 9]);
  let kept = [];
  for (const [from, to] of [[0, 3], [3, 4], [4, 6]]) {
    const step = compile((part, before) => {
      const cache = caching(time, from, before);
      return { y: withDecoding(cache, () => forward(part)), next: cache.next };
    });
    const part = await compile((t) => slice(t, [0, from], [2, to - from]))(ids);
    const { y, next } = await step(part, kept);
    kept = next;
    assert.is(kept.length, 3);
    near(
      await y.data(),
      await (await compile((t) => slice(t, [0, from, 0], [2, to - from, 9]))(all)).data(),
      1e-5,
      `steps ${from} to ${to}`,
    );
  }
});

test("decoding: positions of each sequence, and what cannot be decoded is refused", async () => {
  const x = values(1, 2, 3, 8);
  const places = [[5, 6, 7], [0, 1, 2]];
  const cache = { capacity: 10, positions: () => tensor(places, undefined, "i32"), append: (k, v) => ({ k, v, offset: 0 }) };
  const turn = nn.rotaryEmbedding();
  const rows = await x.array();
  near(
    await run((t) => withDecoding(cache, () => turn.call(t)), [x]),
    rows.flatMap((steps, b) => steps.flatMap((row, i) => turned(row, places[b][i], {}))),
    1e-6,
    "positions",
  );
  const learned = await made(nn.positionEmbedding(10), x);
  const table = await learned.weights[0].tensor.array();
  near(
    await run((t) => withDecoding(cache, () => learned.call(t)), [x]),
    places.flat().flatMap((p) => table[p]),
    0,
    "learned",
  );
  const short = await made(nn.positionEmbedding(6), x);
  const refused = async (fn, pattern) => {
    const error = await errorOf(() => run((t) => withDecoding(cache, () => fn(t)), [x]));
    assert.instance(error, LockstepError);
    assert.match(error.message, pattern);
  };
  await refused((t) => short.call(t), /it has vectors for 6 positions, got 10/);
  await refused((t) => nn.multiHeadAttention(2, 4).call(t), /layer "multiHeadAttention": it attends to later steps.*useCausalMask: true/);
  await refused((t) => nn.attention({ useCausalMask: true, scoreMode: "concat" }).call(t), /scoreMode: "concat"/);
  const mask = tensor([[1, 1, 1], [1, 1, 0]]);
  await refused(
    (t) => nn.multiHeadAttention(2, 4, { useCausalMask: true }).call(masked(mul(t, 1.5), mask)),
    /steps with a mask cannot be generated/,
  );
});

test("what does not fit is refused with the layer's name", async () => {
  const build = (layer, ...given) => {
    const options = given.filter((g) => g.constructor === Object);
    return run((...xs) => layer.call(...xs, ...options), given.slice(0, given.length - options.length));
  };
  const x = values(1, 2, 3, 4);
  for (const [call, type, pattern] of [
    [
      () => build(nn.multiHeadAttention(2, 4), values(1, 2, 4)),
      ShapeError,
      /layer "multiHeadAttention": expected \[batch, time, features\], got \[2, 4\]/,
    ],
    [() => build(nn.multiHeadAttention(2, 4), x, values(1, 3, 3, 4)), ShapeError, /expected query, value and key of one batch/],
    [
      () => build(nn.multiHeadAttention(2, 4), x, x, values(1, 2, 5, 4)),
      ShapeError,
      /of as many steps, got \[2, 3, 4\], \[2, 3, 4\] and \[2, 5, 4\]/,
    ],
    [() => build(nn.multiHeadAttention(2, 4), x, x, x, x), ArgumentError, /expected at most 3 tensors, got 4/],
    [() => build(nn.multiHeadAttention(2, 4), x, { mask: [[1, 1]] }), ShapeError, /attention: the mask must broadcast to/],
    [
      () => build(nn.multiHeadAttention(2, 4), x, { masks: 1 }),
      ArgumentError,
      /\{ training: true or false, mask, useCausalMask \}, got the option "masks"/,
    ],
    [() => build(nn.multiHeadAttention(2, 4), x, { useCausalMask: 1 }), ArgumentError, /useCausalMask must be true or false/],
    [() => build(nn.dense(2), x, { useCausalMask: true }), ArgumentError, /got the option "useCausalMask"/],
    [() => nn.multiHeadAttention(0, 4), ArgumentError, /multiHeadAttention: numHeads must be an integer >= 1/],
    [() => nn.multiHeadAttention(2), ArgumentError, /multiHeadAttention: keyDim must be an integer/],
    [() => nn.multiHeadAttention({ numHeads: 2, keyDim: 2 }), ArgumentError, /write multiHeadAttention\(numHeads, keyDim, \{ ... \}\)/],
    [() => nn.multiHeadAttention(2, 4, { dropout: 1 }), ArgumentError, /dropout must be a number in \[0, 1\)/],
    [() => nn.multiHeadAttention(2, 4, { valueDim: 0 }), ArgumentError, /valueDim/],
    [() => nn.multiHeadAttention(2, 4, { outputShape: [3, -1] }), ArgumentError, /outputShape/],
    [() => nn.multiHeadAttention(2, 4, { slidingWindow: 0 }), ArgumentError, /slidingWindow/],
    [() => nn.multiHeadAttention(2, 4, { rotary: true }), ArgumentError, /multiHeadAttention: rotary: expected an object of options/],
    [() => nn.multiHeadAttention(2, 4, { rotary: { base: 3 } }), ArgumentError, /multiHeadAttention: rotary: unknown option "base"/],
    [() => nn.groupedQueryAttention(4, 3, 2), ArgumentError, /numQueryHeads must be a multiple of numKeyValueHeads, got 3 and 2/],
    [() => nn.groupedQueryAttention(4, 3, 2, { valueDim: 3 }), ArgumentError, /unknown option "valueDim"/],
    [
      () => build(nn.attention(), x, values(1, 2, 3, 5)),
      ShapeError,
      /layer "attention": expected query and key of as many features, got \[2, 3, 4\] and/,
    ],
    [() => nn.attention({ scoreMode: "add" }), ArgumentError, /scoreMode must be one of "dot", "concat"/],
    [() => nn.rotaryEmbedding({ rotaryDim: 3 }), ArgumentError, /rotaryDim must be even/],
    [
      () => nn.rotaryEmbedding({ frequencyScaling: { factor: 2 } }),
      ArgumentError,
      /rotaryEmbedding: frequencyScaling: lowFrequencyFactor must be a positive number/,
    ],
    [() => nn.rotaryEmbedding({ frequencyScaling: { ...llama3, highFrequencyFactor: 1 } }), ArgumentError, /must be larger/],
    [() => nn.rotaryEmbedding({ frequencyFactors: [1, 0] }), ArgumentError, /frequencyFactors must be a list of positive numbers/],
    [() => build(nn.rotaryEmbedding(), values(1, 2, 3, 5)), ShapeError, /layer "rotaryEmbedding": it turns pairs of features/],
    [() => build(nn.rotaryEmbedding({ rotaryDim: 6 }), x), ShapeError, /it turns 6 features, got/],
    [() => build(nn.positionEmbedding(2), x), ShapeError, /it has vectors for 2 positions, got 3/],
    [() => build(nn.tokenAndPositionEmbedding(2, 2, 2), x), ShapeError, /expected \[batch, time\]/],
    [() => nn.transformerEncoder(16), ArgumentError, /numHeads/],
    [() => nn.transformerDecoder(16, 2, { activation: "rleu" }), ArgumentError, /transformerDecoder: unknown activation "rleu"/],
    [() => build(nn.transformerEncoder(16, 8), x), ShapeError, /4 features cannot be split into 8 heads/],
    [() => nn.swiglu(0), ArgumentError, /swiglu: intermediateDim/],
  ]) {
    const error = await errorOf(call).catch((e) => e);
    assert.instance(error, type, `${error?.message} ${pattern}`);
    assert.match(error.message, pattern);
  }
});

test("frozen before the first call, a layer that makes its parts then is frozen whole", async () => {
  const layer = nn.transformerEncoder(16, 2);
  layer.trainable = false;
  await made(layer, values(1, 1, 3, 8));
  assert.ok(layer.weights.length > 0 && layer.weights.every((w) => !w.trainable));
  layer.trainable = true;
  assert.ok(layer.weights.every((w) => w.trainable));
});

test.run();

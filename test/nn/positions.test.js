/** @file Layers that tell steps apart: turns, sines and learned vectors. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import * as nn from "../../build/esm/nn/index.js";
import { maskOf } from "../../build/esm/nn/masks.js";
import { tensor } from "../../build/esm/tensor.js";
import { BACKENDS, llama3, made, near, run, values } from "./attending.js";

test.after(() => Object.values(BACKENDS).forEach((b) => b.close()));

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

test("sequences without a step stay so", async () => {
  const none = values(1, 2, 0, 8);
  for (const layer of [
    nn.rotaryEmbedding(),
    nn.sinePositionEncoding(),
    nn.positionEmbedding(4),
    nn.multiHeadAttention(2, 4, { rotary: {} }),
  ])
    assert.equal([...(await run((x) => layer.call(x), [none]))], [], layer.kind);
  // Without keys the output is its bias.
  const cross = await made(nn.multiHeadAttention(2, 4, { rotary: {} }), values(1, 2, 3, 8));
  const bias = [...cross.weights.at(-1).tensor.host];
  assert.equal([...(await run((x, y) => cross.call(x, y), [values(1, 2, 3, 8), none]))], new Array(6).fill(bias).flat());
});

test("attentionFactor multiplies what is turned", async () => {
  const x = values(1, 2, 5, 3, 8);
  const turned = (options) => run((t) => nn.rotaryEmbedding(options).call(t), [x]);
  const [plain, scaled, first] = await Promise.all([{}, { attentionFactor: 1.5 }, { attentionFactor: 1.5, rotaryDim: 4 }].map(turned));
  near(
    scaled,
    [...plain].map((v) => 1.5 * v),
    1e-5,
    "all",
  );
  [...first].forEach((v, i) => i % 8 < 4 || assert.is(v, x.host[i]));
  assert.throws(
    () => nn.rotaryEmbedding({ attentionFactor: 0 }),
    /rotaryEmbedding: attentionFactor must be a (finite )?(positive )?number/,
  );
});

test.run();

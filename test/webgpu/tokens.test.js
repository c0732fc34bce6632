/**
 * @file Tests of tokens that models write on WebGPU: how many dispatches one takes, that each reads its weights once, and the text, which
 * is that of the CPU. Of Llama, Qwen 3 (heads are normalized), GPT-2 (layer normalization, learned positions) and GPT-NeoX (layers in
 * parallel).
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/init.js";
import { Decoder } from "../../build/esm/model/decoder.js";
import { generate } from "../../build/esm/model/generate.js";
import { model } from "../../build/esm/model/model.js";
import * as nn from "../../build/esm/nn/index.js";
import { add, mul, ops, Packer, tensor } from "../../build/esm/index.js";
import { Random } from "../../build/esm/random.js";
import { kernelsFor } from "../../build/esm/webgpu/commands.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { openMasked } from "./gpu.js";
import { gpus, partsOf, plansOf } from "./joined.js";

const { dense, embedding, groupedQueryAttention, layerNorm, positionEmbedding, rmsNorm } = nn;
const GPUS = await gpus();
const [own, least] = Object.values(GPUS);
const wide = await openMasked({ software: false });
test.after(() => [own, least, wide].forEach((b) => b.close()));

const LLAMA = { norm: rmsNorm, gated: true, rotary: {} };
const ARCHITECTURES = {
  Llama: LLAMA,
  "Qwen 3": { ...LLAMA, queryKeyNorm: 1e-6 },
  "GPT-2": { norm: layerNorm, useBias: true },
  "GPT-NeoX": { norm: layerNorm, useBias: true, rotary: {}, parallel: true },
};

const SIZES = { vocabulary: 68, width: 64, hidden: 96, layers: 3, heads: 4, keyHeads: 2 };
const POSITIONS = 512;

/** A model of noise, whose matrices are in 4 bits, or with `wide` of the same numbers in f32. */
async function made(architecture, layers, wide) {
  const { norm, gated = false, rotary = null, queryKeyNorm = null, useBias = false, parallel = false } = architecture;
  const { vocabulary, width, hidden, heads, keyHeads } = SIZES;
  const o = { useBias };
  const tokens = embedding(vocabulary, width);
  const places = rotary === null ? positionEmbedding(POSITIONS) : null;
  const blocks = Array.from({ length: layers }, () => ({
    before: norm(),
    attention: groupedQueryAttention(width / heads, heads, gated ? keyHeads : heads, { ...o, useCausalMask: true, rotary, queryKeyNorm }),
    between: norm(),
    gate: dense(hidden, { ...o, activation: "silu" }),
    up: dense(hidden, o),
    down: dense(width, o),
  }));
  const last = norm();
  const m = model((ids) => {
    let x = tokens.call(ids);
    if (places !== null) x = add(x, places.call(x));
    for (const { before, attention, between, gate, up, down } of blocks) {
      const y = add(x, attention.call(before.call(x)));
      const z = between.call(parallel ? x : y);
      x = add(y, down.call(gated ? mul(gate.call(z), up.call(z)) : ops.gelu(up.call(z))));
    }
    return tokens.attend(last.call(x));
  });
  let seed = 0;
  const packed = [];
  m.build([[null]], {
    weights: (_layer, name, shape) => {
      const random = new Random(++seed);
      const isTable = name === "embeddings" && shape[0] === vocabulary;
      if (!isTable && !/kernel$/i.test(name)) {
        const around = /^(gamma|scale|.*Scale)$/.test(name) ? 1 : 0;
        const noise = random.normal(shape.reduce((a, b) => a * b));
        return tensor(
          noise.map((v) => around + v / 8),
          shape,
        );
      }
      const k = isTable ? shape[1] : name === "attentionOutputKernel" ? shape[0] * shape[1] : shape[0];
      const n = shape.reduce((a, b) => a * b) / k;
      const packer = new Packer("q4", n, k);
      for (let r = 0; r < n; r++)
        packer.row(
          r,
          random.normal(k).map((v) => (1.5 * v) / Math.sqrt(k)),
        );
      const t = packer.tensor({ transposed: !isTable, shape });
      packed.push({ t, at: seed - 1 });
      return wide ? tensor(new Float32Array(t.size), shape) : t;
    },
  });
  if (wide) for (const { t, at } of packed) m.weights[at].tensor.set(await t.data());
  return m;
}

test("a token takes seven dispatches a layer, in 4 bits and in f32", async () => {
  for (const [name, architecture] of Object.entries(ARCHITECTURES)) {
    for (const dense of [false, true]) {
      const counts = [];
      for (const layers of [2, 3]) {
        const m = await made(architecture, layers, dense);
        m.moveTo(wide);
        const decoder = new Decoder(m, wide, 1, POSITIONS, SIZES.vocabulary);
        const [plan] = await plansOf(wide, () => decoder.step(1, "likeliest"), true);
        counts.push(encode(plan, wide.features, await kernelsFor(plan)).dispatches.length);
        decoder.close();
      }
      // Of layers in parallel both begin with products.
      assert.is(counts[1] - counts[0], architecture.parallel ? 6 : 7, `${name}${dense ? " in f32" : ""}`);
    }
  }
});

test("a token of a Llama reads each weight once, by whatever an adapter binds", async () => {
  const { vocabulary, layers } = SIZES;
  for (const [name, backend] of Object.entries(GPUS)) {
    const m = await made(LLAMA, layers, false);
    m.moveTo(backend);
    const counts = [];
    for (const [count, cache] of [[1], [4], [1, "f16"]]) {
      const decoder = new Decoder(m, backend, 1, 512, vocabulary, cache);
      const [plan] = await plansOf(backend, () => decoder.step(count, "likeliest"), true);
      const kernels = await kernelsFor(plan);
      const encoded = encode(plan, backend.features, kernels);
      const { dispatches } = encoded;
      const apart = partsOf(encode(plan, backend.features, { ...kernels, joins: [] }));
      const ofLayer = [
        "packed.several",
        "rotary.append",
        "attention-few.few",
        "attention-few.merge",
        ...new Array(3).fill("packed.several"),
      ];
      if (backend === least) ofLayer.splice(2, 0, "scatter.main");
      const parts = partsOf(encoded);
      const labels = parts.filter((l) => ofLayer.includes(l) && (backend === least || l !== "scatter.main"));
      const wanted = [...new Array(layers).fill(ofLayer).flat(), "packed.several"];
      assert.equal(labels.slice(0, wanted.length).sort(), wanted.sort(), `${name}: ${labels}`);
      assert.is(apart.length - parts.length, layers * (18 - ofLayer.length) + 1, `${apart}`);
      // With what is not of layers: the embedding, the head, and the choice of a token.
      assert.ok(dispatches.length < layers * ofLayer.length + 16, `${dispatches.map((d) => d.label)}`);
      counts.push(dispatches.length);
      // The embedding is read as rows, too, and as the head.
      const reads = new Map();
      for (const { resources, label } of dispatches) {
        for (const { space, index } of resources) {
          const storage = space === "binding" && count === 1 ? plan.bindings[index].storage : undefined;
          if (typeof storage === "object" && !label.includes("packed-rows")) reads.set(index, (reads.get(index) ?? 0) + 1);
        }
      }
      if (count === 1) assert.equal([...reads.values()], new Array(7 * layers + 1).fill(1));
      decoder.close();
    }
    // What a loop adds to a step does not grow with the layers.
    assert.ok(counts[1] - counts[0] < 8, `${counts}`);
  }
});

test("the text of a model in 4 bits, and in f32, is that of the CPU in f32", async () => {
  const cpu = await open("wasm");
  const text = async (name, backend, wide) => {
    const m = await made(ARCHITECTURES[name], 2, wide);
    m.moveTo(backend);
    const out = [];
    for await (const t of generate(m, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], { maxTokens: 12, temperature: 0, repetitionPenalty: 1.5 }))
      out.push(t);
    return out;
  };
  for (const [name, ...on] of [
    ["Llama", [least, false]],
    ["Qwen 3", [wide, false]],
    ["GPT-2", [wide, true]],
  ]) {
    const want = await text(name, cpu, true);
    assert.ok(new Set(want).size > 6, `${want}`);
    for (const [backend, dense] of on) assert.equal(await text(name, backend, dense), want, name);
  }
  cpu.close();
});

test.run();

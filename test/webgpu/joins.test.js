/**
 * @file Tests of what WebGPU computes in one dispatch of few rows: products of one input with the normalization before and the steps behind
 * them, turned queries and keys with their caches; on an adapter that binds no more buffers than any must, and without subgroups. How many
 * dispatches a token of a Llama takes, and that each reads its weights once.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/init.js";
import { Decoder } from "../../build/esm/model/decoder.js";
import { generate } from "../../build/esm/model/generate.js";
import { model } from "../../build/esm/model/model.js";
import {
  add,
  assign,
  compile,
  dense,
  embedding,
  groupedQueryAttention,
  matmul,
  mul,
  ops,
  Packer,
  rmsNorm,
  tensor,
} from "../../build/esm/index.js";
import { normalizeLast } from "../../build/esm/ops/norm.js";
import { rotary } from "../../build/esm/ops/rotary.js";
import { scatterHalves, scatterUpdate } from "../../build/esm/ops/scatter.js";
import { FORMATS } from "../../build/esm/packed/layout.js";
import { Random } from "../../build/esm/random.js";
import { kernelsFor } from "../../build/esm/webgpu/commands.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { assertClose, f, packed, prepare, reference, traceForward } from "../ops/harness.js";
import { fromHalves } from "../reference/halves.js";
import { openGpu, openMasked } from "./gpu.js";

/** What WebGPU promises of every adapter. */
const LEAST = { maxStorageBuffersPerShaderStage: 8, maxComputeWorkgroupStorageSize: 16384, maxComputeInvocationsPerWorkgroup: 256 };
const GPUS = {
  "the adapter": await openGpu(),
  "as the least of GPUs": await openMasked({ software: false, limits: LEAST, without: ["subgroups"] }),
};
const [own, least] = Object.values(GPUS);
test.after(() => [own, least].forEach((b) => b.close()));

/** What dispatches do; some do several things that need nothing of each other. */
const partsOf = ({ dispatches }) => dispatches.flatMap((d) => d.label.split("+"));
const labelsOf = async (plan, features) => partsOf(encode(plan, features, await kernelsFor(plan)));

/** `fn` on each GPU as `want` dispatches (or those that a function of the features gives), with the numbers of the reference. */
async function check(what, inputs, fn, want) {
  const { graph, results, data } = traceForward({ inputs, fn });
  const expected = await prepare(reference, graph, results);
  const numbers = await expected.run(data);
  for (const [name, backend] of Object.entries(GPUS)) {
    const program = await prepare(backend, graph, results);
    const labels = await labelsOf(program.plan, backend.features);
    assert.equal(labels, typeof want === "function" ? want(backend.features) : want, `${what}, ${name}`);
    const got = await program.run(data);
    got.forEach((x, k) => assertClose(x, numbers[k], "f32", { tolerance: 2e-5, scale: 8, what: `${what}, ${name}, result ${k}` }));
    program.close();
  }
  expected.close();
}

const norm = (x, gamma) => normalizeLast(x, 1, { gamma, epsilon: 1e-5, centered: false });

test("normalization, products of one input and steps behind them are one dispatch", async () => {
  for (const format of FORMATS) {
    for (const m of [1, 3, 8]) {
      const [x, gamma] = [f([m, 96]), f([96])];
      const weights = (n) => packed([96, n], format);
      await check(
        `three products, ${format}, ${m}`,
        [x, gamma, weights(36), weights(8), weights(4)],
        (a, g, q, k, v) => {
          const z = norm(a, g);
          return [q, k, v].map((w) => matmul(z, w));
        },
        ["packed.several"],
      );
      await check(
        `a gate, ${format}, ${m}`,
        [x, gamma, weights(20), weights(20)],
        (a, g, gate, up) => {
          const z = norm(a, g);
          return mul(ops.silu(matmul(z, gate)), matmul(z, up));
        },
        ["packed.several"],
      );
      await check(`added, ${format}, ${m}`, [x, weights(12), f([m, 12])], (a, w, to) => add(to, matmul(a, w)), ["packed.several"]);
    }
  }
});

test("products with biases and activations, which bind more buffers than any adapter must", async () => {
  const inputs = [f([2, 64]), f([64]), ...[8, 4, 16].flatMap((n) => [packed([64, n], "q8"), f([n])])];
  await check(
    "biases",
    inputs,
    (a, g, ...pairs) => {
      const z = norm(a, g);
      return [0, 1, 2].map((k) => matmul(z, pairs[2 * k], { bias: pairs[2 * k + 1], activation: ["tanh", "linear", "sigmoid"][k] }));
    },
    ({ maxBuffers }) => (maxBuffers >= 11 ? ["packed.several"] : ["norm.layerNorm", "packed.several", "packed.few"]),
  );
});

test("what others read, or would be written while it is read, is computed by itself", async () => {
  const [x, gamma, w] = [f([2, 64]), f([64]), packed([64, 64], "q4")];
  // The normalized rows are a result, and are added again.
  await check("normalized rows", [x, gamma, w], (a, g, b) => [norm(a, g), matmul(norm(a, g), b)], ["norm.layerNorm", "packed.few"]);
  await check("added to themselves", [x, gamma, w], (a, g, b) => add(norm(a, g), matmul(norm(a, g), b)), [
    "norm.layerNorm",
    "packed.several",
  ]);
  await check("a product twice", [x, w], (a, b) => [matmul(a, b), ops.tanh(matmul(a, b))], ["packed.few", "map.main"]);
  // What is added to is what is multiplied, and its place is written; but the result has a place of its own.
  await check("in place", [x, w], (a, b) => [1, 2].reduce((y) => add(y, matmul(y, b)), mul(a, 0.1)), [
    "map.main",
    "packed.few",
    "map.main",
    "packed.several",
  ]);
  // Rows of heads are not those of the product.
  await check("normalized heads", [f([2, 4, 16]), f([16]), w], (a, g, b) => matmul(ops.reshape(norm(a, g), [2, 64]), b), [
    "norm.layerNorm",
    "packed.few",
  ]);
  await check("broadcast", [x, w, f([64])], (a, b, c) => mul(matmul(a, b), c), ["packed.few", "map.main"]);
  await check("of no four rows", [x, packed([64, 6], "q4"), packed([64, 3], "q4")], (a, b, c) => [matmul(a, b), matmul(a, c)], [
    "packed.few",
    "packed.few",
  ]);
});

/** Plans that a backend compiles while `work` runs. */
async function plansOf(backend, work) {
  const { compile: own } = backend;
  const plans = [];
  backend.compile = (plan, ...more) => {
    plans.push(plan);
    return own.call(backend, plan, ...more);
  };
  await work();
  delete backend.compile;
  return plans;
}

test("queries and keys are turned, and keys and values kept, by one dispatch, as f32 or f16", async () => {
  const cpu = await open("wasm");
  const noise = (shape, seed) => tensor(new Random(seed).normal(shape.reduce((a, b) => a * b)), shape);
  // Rows that are outside of the cache, and twice the same.
  for (const rows of [[4], [9], [-1], [0, 8, 3], [2, 2, 5, 2], [7, -1, 7, 12, 1]]) {
    for (const [neighbours, halves] of [false, true].flatMap((n) => [false, true].map((h) => [n, h]))) {
      const n = rows.length;
      const [dim, values] = halves ? [12, 8] : [6, 10];
      const computed = async (backend) => {
        const words = (shape, from) =>
          tensor(
            new Uint32Array(shape.reduce((a, b) => a * b)).map((_, i) => from + i),
            shape,
          );
        const [keys, kept] = halves ? [words([9, 2, 6], 1), words([9, 4], 2)] : [noise([9, 2, 6], 1), noise([9, 10], 2)];
        const angles = [6, 7].map((seed) => noise([n, 2], seed));
        const given = [noise([n, 4, dim], 3), noise([n, 2, dim], 4), noise([n, values], 5), ...angles];
        const scatter = halves ? scatterHalves : scatterUpdate;
        const step = compile(
          (q, k, v, cos, sin, index) => {
            const turned = rotary(q, cos, sin, { neighbours });
            assign(keys, scatter(keys, index, rotary(k, cos, sin, { neighbours })));
            assign(kept, scatter(kept, index, v));
            return turned;
          },
          { backend },
        );
        let y;
        const plans = await plansOf(backend, async () => (y = await step(...given, tensor(Int32Array.from(rows)))));
        return { plan: plans.at(-1), data: await Promise.all([y, keys, kept].map((t) => t.data())) };
      };
      const want = await computed(cpu);
      for (const backend of [own, least]) {
        const { plan, data } = await computed(backend);
        const apart = backend === least ? ["scatter.main"] : [];
        assert.equal(await labelsOf(plan, backend.features), ["rotary.append", ...apart]);
        data.forEach((x, k) => {
          const kept = halves && k > 0;
          const [got, expected] = [x, want.data[k]].map((list) => (kept ? fromHalves(list) : list));
          assertClose(got, expected, "f32", { tolerance: kept ? 2 ** -11 : 4e-7, scale: 4, what: `${rows}, result ${k}` });
        });
      }
    }
  }
  cpu.close();
});

const SIZES = { vocabulary: 68, width: 64, hidden: 96, layers: 3, heads: 4, keyHeads: 2 };

/** A Llama of noise in 4 bits, or with `wide` of the same numbers in f32. */
async function llama({ vocabulary, width, hidden, layers, heads, keyHeads }, wide = false) {
  const o = { useBias: false };
  const tokens = embedding(vocabulary, width);
  const blocks = Array.from({ length: layers }, () => ({
    before: rmsNorm(),
    attention: groupedQueryAttention(width / heads, heads, keyHeads, { ...o, useCausalMask: true, rotary: {} }),
    between: rmsNorm(),
    gate: dense(hidden, { ...o, activation: "silu" }),
    up: dense(hidden, o),
    down: dense(width, o),
  }));
  const norm = rmsNorm();
  const m = model((ids) => {
    let x = tokens.call(ids);
    for (const { before, attention, between, gate, up, down } of blocks) {
      x = add(x, attention.call(before.call(x)));
      const z = between.call(x);
      x = add(x, down.call(mul(gate.call(z), up.call(z))));
    }
    return tokens.attend(norm.call(x));
  });
  let seed = 0;
  const made = [];
  m.build([[null]], {
    weights: (_layer, name, shape) => {
      const random = new Random(++seed);
      if (shape.length === 1)
        return tensor(
          random.normal(shape[0]).map((v) => 1 + v / 8),
          shape,
        );
      const isTable = name === "embeddings";
      const k = isTable ? shape[1] : name === "attentionOutputKernel" ? shape[0] * shape[1] : shape[0];
      const n = shape.reduce((a, b) => a * b) / k;
      const packer = new Packer("q4", n, k);
      for (let r = 0; r < n; r++)
        packer.row(
          r,
          random.normal(k).map((v) => (1.5 * v) / Math.sqrt(k)),
        );
      const t = packer.tensor({ transposed: !isTable, shape });
      made.push(t);
      return wide ? tensor(new Float32Array(t.size), shape) : t;
    },
  });
  const matrices = m.weights.filter(({ tensor: t }) => t.rank > 1);
  if (wide) for (const [k, t] of made.entries()) matrices[k].tensor.set(await t.data());
  return m;
}

test("a token of a Llama: seven dispatches a layer, each weight is read once, and nothing is read of an empty cache", async () => {
  const { vocabulary, layers } = SIZES;
  for (const [name, backend] of Object.entries(GPUS)) {
    const m = await llama(SIZES);
    m.moveTo(backend);
    const counts = [];
    for (const [count, cache] of [[1], [4], [1, "f16"]]) {
      const decoder = new Decoder(m, backend, 1, 512, vocabulary, cache);
      const [plan] = await plansOf(backend, () => decoder.step(count, "likeliest"));
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

test("the text of a Llama in 4 bits is that of the CPU in f32", async () => {
  const cpu = await open("wasm");
  const text = async (backend) => {
    const m = await llama(SIZES, backend === cpu);
    m.moveTo(backend);
    const out = [];
    for await (const t of generate(m, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], { maxTokens: 24, temperature: 0, repetitionPenalty: 1.5 }))
      out.push(t);
    return out;
  };
  const want = await text(cpu);
  assert.ok(new Set(want).size > 6, `${want}`);
  for (const backend of [own, least]) assert.equal(await text(backend), want);
  cpu.close();
});

test.run();

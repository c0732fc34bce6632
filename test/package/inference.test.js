/** @file lockstep/inference: the same predictions as the whole library, without what only training needs. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "lockstep";
import * as I from "lockstep/inference";
import * as onInference from "lockstep/inference/transformers";
import * as onWhole from "lockstep/transformers";
import { json, modelPath } from "../models/index.js";

const text = (name) => readFileSync(new URL(`../../build/${name}.js`, import.meta.url), "utf8");

/**
 * What only training has, as it stands in the whole bundle: names of optimizers, losses, metrics, callbacks and backward kernels, gradient
 * rules, errors.
 */
const TRAINING = [
  "rmsprop",
  "adamax",
  "categoricalCrossentropy",
  "klDivergence",
  "confusionMatrix",
  "topKCategoricalAccuracy",
  "earlyStopping",
  "reduceLrOnPlateau",
  "cosineDecay",
  "lstmGrad",
  "gruGrad",
  "simpleRnnGrad",
  "maxPoolGrad",
  "avgPoolGrad",
  "softmaxGrad",
  "logSoftmaxGrad",
  "conv2dFilterGrad",
  "gradients: expected a scalar",
  "valueAndGrad",
  "call compile({ loss, optimizer }) first",
  "training is part of a traced function",
  "a batch without elements has no mean",
  "assign: the target must be",
  'epsilon"]',
];

test("inference: no optimizer, loss, metric, callback, gradient rule or backward kernel", () => {
  const whole = text("index");
  const inference = text("inference");
  for (const part of TRAINING) {
    assert.ok(whole.includes(part), `the whole bundle has no "${part}" to look for`);
    assert.not(inference.includes(part), `"${part}" is in the inference bundle`);
  }
  assert.not(/\bvjp:\s*(?!null)/.test(inference), "a gradient rule is in the inference bundle");
});

test("inference: its kernels are fewer bytes", () => {
  for (const simd of ["plain", "relaxed"]) {
    const bytes = (prefix) => ["", "-conv", "-recurrent", "-norm"].reduce((sum, part) => sum + text(`${prefix}${simd}${part}`).length, 0);
    assert.ok(bytes("inference-") < 0.85 * bytes(""));
  }
});

test("inference: nothing of training can be called", () => {
  const model = I.sequential([I.dense(2)], { inputShape: [3] });
  for (const name of ["compile", "fit", "evaluate", "save", "toBytes"]) assert.is(model[name], undefined, name);
  for (const name of ["adam", "grad", "valueAndGrad", "gradients", "meanSquaredError"]) assert.is(I[name], undefined, name);
});

/** One model for each kind of network, so that every forward kernel runs. */
const NETWORKS = {
  image: {
    inputShape: [12, 12, 3],
    layers: (F) => [
      F.zeroPadding2d(1),
      F.conv2d(8, 3, { activation: "relu", padding: "same" }),
      F.batchNorm(),
      F.depthwiseConv2d(3),
      F.maxPool2d(2),
      F.separableConv2d(6, 3, { padding: "same" }),
      F.avgPool2d(2),
      F.conv2dTranspose(4, 3, { strides: 2 }),
      F.groupNorm(2),
      F.upSampling2d(2),
      F.cropping2d(1),
      F.leakyRelu(),
      F.flatten(),
      F.dense(10, { activation: "softmax" }),
    ],
  },
  sequence: {
    inputShape: [9, 5],
    layers: (F) => [
      F.normalization({ mean: [1, 2, 3, 4, 5], variance: [1, 2, 1, 2, 1] }),
      F.lstm(8, { returnSequences: true }),
      F.layerNorm(),
      F.gru(7, { returnSequences: true }),
      F.bidirectional(F.simpleRnn(6, { returnSequences: true })),
      F.timeDistributed(F.dense(4, { activation: "gelu" })),
      F.conv1d(5, 3, { padding: "causal" }),
      F.maxPool1d(2),
      F.rmsNorm(),
      F.globalAvgPool1d(),
      F.dropout(0.5),
      F.dense(3, { activation: "logSoftmax" }),
    ],
  },
  text: {
    inputShape: [6],
    layers: (F) => {
      const tokens = F.tokenAndPositionEmbedding(11, 8, 8, { maskZero: true });
      return [
        tokens,
        F.transformerEncoder(16, 2, { dropout: 0.1 }),
        F.transformerDecoder(16, 2, { normalizeFirst: true }),
        F.multiHeadAttention(2, 4, { dropout: 0.1 }),
        F.groupedQueryAttention(4, 4, 2, { rotary: {}, queryKeyNorm: 1e-6, useCausalMask: true, slidingWindow: 4 }),
        F.attention(),
        F.rotaryEmbedding(),
        F.swiglu(12),
        F.geglu(12),
        F.tiedHead(tokens),
      ];
    },
  },
  words: {
    inputShape: [6],
    layers: (F) => [
      F.embedding(11, 4),
      F.permute([2, 1]),
      F.flatten(),
      F.repeatVector(2),
      F.globalMaxPool1d(),
      F.prelu(),
      F.dense(1, { activation: "sigmoid" }),
    ],
  },
};

const folder = mkdtempSync(join(tmpdir(), "lockstep-"));
for (const [name, { inputShape, layers }] of Object.entries(NETWORKS)) {
  test(`inference: a model of kind ${name} that was saved with its training predicts the same bits`, async () => {
    await L.open("wasm", { reproducible: true });
    await I.open("wasm", { reproducible: true });
    const whole = L.sequential(layers(L), { inputShape, seed: 3 });
    const count = inputShape.reduce((a, b) => a * b, 1);
    const x = Float32Array.from({ length: 4 * count }, (_, i) => (/words|text/.test(name) ? (i * 5) % 11 : ((i * 37) % 101) / 50 - 1));
    await whole.compile({ loss: "meanSquaredError", optimizer: "adam" });
    const size = whole.outputShape.reduce((a, b) => a * b, 1);
    const target = Float32Array.from({ length: 4 * size }, (_, i) => (i % 3) / 3);
    await whole.fit({ data: x, shape: [4, ...inputShape] }, { data: target, shape: [4, ...whole.outputShape] }, { epochs: 2, verbose: 0 });
    const file = join(folder, `${name}.safetensors`);
    await whole.save(file);
    const expected = await (await whole.predict({ data: x, shape: [4, ...inputShape] })).data();
    assert.ok(expected.every(Number.isFinite));
    for (const source of [file, readFileSync(file)]) {
      const model = await I.loadModel(source);
      assert.is(
        model.summary(() => {}),
        whole.summary(() => {}),
      );
      assert.equal(await (await model.predict({ data: x, shape: [4, ...inputShape] })).data(), expected);
      // In parts, as for more samples than the batch size.
      assert.equal(await (await model.predict({ data: x, shape: [4, ...inputShape] }, { batchSize: 3 })).data(), expected);
    }
    // Built in code, with the weights of the file.
    const built = I.sequential(layers(I), { inputShape });
    await I.loadWeights(built, readFileSync(file));
    assert.equal(await (await built.predict({ data: x, shape: [4, ...inputShape] })).data(), expected);
    whole.dispose();
  });
}
test.after(() => rmSync(folder, { recursive: true }));

test("inference: a damaged file is refused as by the whole library", async () => {
  const model = L.sequential([L.dense(2)], { inputShape: [3] });
  const file = await model.toBytes();
  file[file.length - 1] ^= 1;
  for (const load of [L.loadModel, I.loadModel]) {
    try {
      await load(file);
      assert.unreachable();
    } catch (error) {
      assert.instance(error, L.FileError);
      assert.match(error.message, /damaged/);
    }
  }
});

/** A safetensors file of one dense layer's kernel [1, 2] and of a tensor that no layer has. */
function fileOf(dtype, kernel, extra) {
  const size = kernel.byteLength;
  const header = JSON.stringify({
    "dense/kernel": { dtype, shape: [1, 2], data_offsets: [0, size] },
    ids: { dtype: "I64", shape: [extra.length], data_offsets: [size, size + extra.byteLength] },
  });
  const length = new DataView(new ArrayBuffer(8));
  length.setBigUint64(0, BigInt(header.length), true);
  return new Uint8Array(
    Buffer.concat([new Uint8Array(length.buffer), Buffer.from(header), new Uint8Array(kernel.buffer), new Uint8Array(extra.buffer)]),
  );
}

test("inference: weights come from floats of every width, integers are told and passed over", async () => {
  const model = I.sequential([I.dense(2, { useBias: false })], { inputShape: [1] });
  for (const [dtype, kernel] of [
    ["F16", Uint16Array.of(0x3c00, 0x4000)],
    ["BF16", Uint16Array.of(0x3f80, 0x4000)],
    ["F32", Float32Array.of(1, 2)],
    ["F64", Float64Array.of(1, 2)],
  ]) {
    await I.loadWeights(model, fileOf(dtype, kernel, BigInt64Array.of(7n, -1n)));
    assert.equal(await (await model.getWeights())[0].array(), [[1, 2]], dtype);
  }
  for (const [dtype, kernel] of [
    ["U8", Uint8Array.of(1, 2)],
    ["I16", Int16Array.of(1, 2)],
    ["BOOL", Uint8Array.of(1, 0)],
    ["I64", BigInt64Array.of(1n, 2n)],
  ]) {
    for (const [F, m] of [[I, model], [L, L.sequential([L.dense(2, { useBias: false })], { inputShape: [1] })]]) {
      const error = await F.loadWeights(m, fileOf(dtype, kernel, BigInt64Array.of(7n))).then(
        () => null,
        (e) => e,
      );
      assert.instance(error, L.FileError);
      assert.is(error.message, `model file: "dense/kernel" holds ${dtype}, the layer needs F32`);
    }
  }
});

test("inference: weights have no elements until they are loaded or set, but those that options give", async () => {
  await I.open("wasm", { reproducible: true });
  const model = I.sequential([I.dense(2, { kernelInitializer: I.initializers.heNormal, kernelRegularizer: I.l2(0.1) })], {
    inputShape: [3],
  });
  assert.equal(
    model.weights.map((w) => w.tensor.shape),
    [[3, 2], [2]],
  );
  for (const use of [
    () => model.predict([[1, 2, 3]]),
    () => model.getWeights(),
    () => model.layers[0].call(I.tensor([[1, 2, 3]])).data(),
  ]) {
    try {
      await use();
      assert.unreachable();
    } catch (error) {
      assert.instance(error, L.LockstepError);
      assert.match(error.message, /never loaded; use loadModel\(\), loadWeights\(\) or setWeights\(\) first/);
    }
  }
  model.setWeights([[[1, 0], [0, 1], [1, 1]], [10, 20]]);
  assert.equal(await (await model.predict([[1, 2, 3]])).array(), [[14, 25]]);
  assert.equal(
    (await model.getWeights()).map((t) => t.size),
    [6, 2],
  );
  const scale = I.sequential([I.normalization({ mean: [1, 2], variance: [4, 9] })], { inputShape: [2] });
  assert.equal(await (await scale.predict([[3, 8]])).array(), [[1, 2]]);
});

test("inference: functions of tensors compile and run", async () => {
  const f = I.compile((x) => I.mul(I.sum(I.square(x)), 2));
  assert.is(await (await f(I.tensor([1, 2, 3]))).item(), 28);
  f.close();
});

test("inference: writes the text that the whole library writes, from its file", async () => {
  const gpt = L.sequential([L.tokenAndPositionEmbedding(20, 64, 16), L.transformerDecoder(32, 2, { normalizeFirst: true }), L.dense(20)], {
    inputShape: [null],
    seed: 4,
  });
  const written = async (lib, model) => {
    const rows = [];
    const options = { maxTokens: 25, seed: 9, topK: 12, topP: 0.9, repetitionPenalty: 1.2 };
    for await (const row of lib.generate(model, [[1, 2, 3], [4]], options)) rows.push(row);
    const session = await lib.generator(model, { capacity: 40 });
    await session.prefill([5, 6, 7, 8]);
    const fork = await session.fork();
    for await (const t of fork.generate([9], options)) rows.push(t);
    for (const s of [session, fork]) s.close();
    return rows;
  };
  const backends = await Promise.all([L, I].map((lib) => lib.open("wasm", { reproducible: true })));
  const want = await written(L, gpt);
  assert.equal(await written(I, await I.loadModel(await gpt.toBytes())), want);
  for (const b of backends) b.close();
});

test("inference: checkpoints open with the same bits as on the whole library", async () => {
  const backends = await Promise.all([L, I].map((lib) => lib.open("wasm", { reproducible: true })));
  const folder = modelPath("llama/stories260K");
  for (const weights of ["f32", "q8", "q4"]) {
    const [whole, own] = await Promise.all([onWhole, onInference].map((lib) => lib.loadPretrained(folder, { weights })));
    assert.instance(own.model.parameters[0], I.Tensor);
    for (const name of ["compile", "fit", "save"]) assert.is(own.model[name], undefined, name);
    const [a, b] = await Promise.all([whole, own].map(async (lm) => (await lm.logits([1, 291, 370, 400])).data()));
    assert.ok(a.length > 0 && a.every(Number.isFinite));
    assert.equal(b, a, weights);
    const written = [[], []];
    for (const [i, lm] of [whole, own].entries())
      for await (const token of lm.generate("Once upon", { maxTokens: 12, seed: 3 })) written[i].push(token);
    assert.equal(written[1], written[0]);
    for (const lm of [whole, own]) lm.dispose();
  }
  for (const b of backends) b.close();
});

test("inference: every architecture opens, and GGUF", async () => {
  const backend = await I.open("wasm", { reproducible: true });
  for (const name of ["llama-rope-scaled", "qwen2-bf16-sharded", "qwen3", "gpt2"]) {
    const folder = modelPath(`hf/${name}`);
    const lm = await onInference.loadPretrained(folder);
    const { input_ids: ids, logits, atol } = json(join(folder, "golden.json"));
    const y = await (await lm.logits(ids)).array();
    assert.ok(
      y.every((row, t) => row.every((v, i) => Math.abs(v - logits[t][i]) <= atol)),
      name,
    );
    lm.dispose();
  }
  const bert = await onInference.loadPretrained(modelPath("hf/bert"));
  assert.is(bert.task, "feature-extraction");
  assert.equal((await bert.encode({ inputIds: [[5, 6, 7]] })).lastHiddenState.shape, [1, 3, 32]);
  const vit = await onInference.loadPretrained(modelPath("hf/vit"));
  assert.is(vit.task, "image-classification");
  const { pixel_values: pixels, pixel_values_shape: shape, logits, atol } = json(join(modelPath("hf/vit"), "golden.json"));
  const classes = await (await vit.logits(I.tensor(Float32Array.from(pixels), shape))).data();
  assert.ok(logits.flat().every((v, i) => Math.abs(v - classes[i]) <= atol));
  const gguf = await onInference.loadPretrained(modelPath("gguf/stories260K-q4_0.gguf"), { task: "text-generation" });
  assert.is((await gguf.logits([1, 2])).shape[1], 512);
  backend.close();
});

test.run();

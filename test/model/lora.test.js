/** LoRA: what adapters compute and learn, that all else stays, and what is in files. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  adam,
  add,
  ArgumentError,
  batchNorm,
  compile,
  conv1d,
  dense,
  earlyStopping,
  embedding,
  FileError,
  generate,
  groupedQueryAttention,
  gradients,
  layerNorm,
  layerStack,
  loadModel,
  LockstepError,
  loadWeights,
  matmul,
  mean,
  model,
  mul,
  multiHeadAttention,
  pack,
  sequential,
  sgd,
  ShapeError,
  sparseCategoricalCrossentropy,
  square,
  swiglu,
  tensor,
  tiedHead,
  timeDistributed,
  transformerDecoder,
  useBackend,
} from "../../build/esm/index.js";
import { loadLora, lora } from "../../build/esm/lora/index.js";
import { insideOf } from "../../build/esm/nn/layer.js";
import { open } from "../../build/esm/init.js";
import { readSafetensors, writeSafetensors } from "../../build/esm/safetensors/index.js";
import { referenceBackend } from "../reference/index.js";

const wasm = await open("wasm");
const reference = referenceBackend();
test.before.each(() => useBackend(wasm));

const wave = (shape, step, scale = 1) => {
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(
    Float32Array.from({ length: size }, (_, i) => scale * Math.sin((i + 1) * step)),
    shape,
  );
};

const near = (got, want, within, what = "") =>
  got.forEach((v, i) => assert.ok(Math.abs(v - want[i]) <= within, `${what} ${i}: ${v}, expected ${want[i]}`));

async function rejects(run, type, pattern) {
  try {
    await run();
  } catch (error) {
    assert.instance(error, type, `${error.constructor.name}: ${error.message}`);
    assert.match(error.message, pattern);
    return;
  }
  assert.unreachable("it was accepted");
}

const text = () => {
  const tokens = embedding(20, 32, { name: "tokens" });
  const options = { name: "attention", useBias: false, useCausalMask: true, rotary: {} };
  const attention = groupedQueryAttention(8, 4, 2, options);
  const block = swiglu(64, { name: "block" });
  return sequential([tokens, attention, layerNorm({ name: "norm" }), block, dense(20, { name: "head" })], { inputShape: [6], seed: 4 });
};
const ids = tensor(
  Int32Array.from({ length: 96 }, (_, i) => (i * i + 3 * i) % 20),
  [16, 6],
);
const next = tensor(
  Int32Array.from({ length: 96 }, (_, i) => (i * i + 5 * i + 1) % 20),
  [16, 6],
);
const learning = { loss: sparseCategoricalCrossentropy({ fromLogits: true }) };

/** Gives adapters values that change something. */
const stir = ({ parameters }, scale = 0.2) => parameters.forEach((p, i) => p.set(wave(p.shape, 0.37 + 0.11 * i, scale).host));

const elements = (net) => Promise.all(net.weights.map(async ({ tensor: t }) => (await t.data()).slice()));

test("a model with new adapters computes what it did; they are its parameters, and weights of its layers", async () => {
  const net = text();
  const before = await (await net.predict(ids)).data();
  const all = net.weights.length;
  const adapters = lora(net, { rank: 4 });
  assert.equal(await (await net.predict(ids)).data(), before);
  assert.equal(
    adapters.modules,
    ["queryKernel", "keyKernel", "valueKernel", "attentionOutputKernel"]
      .map((name) => `attention.${name}`)
      .concat(["gateKernel", "upKernel", "downKernel"].map((name) => `block.${name}`)),
  );
  assert.is(net.weights.length, all + 14);
  assert.equal(net.parameters, adapters.parameters);
  assert.equal(
    net.getLayer("attention").weights.map(({ name, trainable, tensor: { shape } }) => `${name} ${trainable} ${shape}`),
    [
      "queryKernel false 32,4,8",
      "keyKernel false 32,2,8",
      "valueKernel false 32,2,8",
      "attentionOutputKernel false 4,8,32",
      ...["queryKernelLoraA true 32,4", "queryKernelLoraB true 4,32", "keyKernelLoraA true 32,4", "keyKernelLoraB true 4,16"],
      ...["valueKernelLoraA true 32,4", "valueKernelLoraB true 4,16"],
      ...["attentionOutputKernelLoraA true 32,4", "attentionOutputKernelLoraB true 4,32"],
    ],
  );
  assert.match(
    net.summary(() => {}),
    / trainable 2,048 /,
  );
  // Kaiming's uniform, as PEFT begins: within 1 / sqrt(inputs), of its variance.
  const a = await adapters.parameters[0].data();
  assert.ok(a.every((v) => Math.abs(v) <= 1 / Math.sqrt(32)));
  const variance = a.reduce((sum, v) => sum + v * v, 0) / a.length;
  assert.ok(Math.abs(variance * 3 * 32 - 1) < 0.25, String(variance));
  adapters.remove();
  assert.is(net.weights.length, all);
  assert.is(net.parameters.length, all);
  assert.equal(await (await net.predict(ids)).data(), before);
});

/** A model, what it reads, and the kernels that adapters are put beside. */
const CASES = {
  "dense with bias and activation": () => ({
    net: sequential([dense(5, { activation: "tanh" }), dense(3, { activation: "softmax" })], { inputShape: [4] }),
    x: wave([6, 4], 0.7),
    targets: "kernel",
  }),
  "dense over sequences, in a layer around": () => ({
    net: sequential([timeDistributed(dense(5, { activation: "relu" }))], { inputShape: [3, 4] }),
    x: wave([2, 3, 4], 0.7),
    targets: /kernel$/i,
  }),
  "multi-head attention with a gate": () => ({
    net: sequential([multiHeadAttention(2, 3, { useGate: true })], { inputShape: [5, 4] }),
    x: wave([2, 5, 4], 0.7),
    targets: "all-linear",
  }),
  "a feed-forward block with biases": () => ({
    net: sequential([swiglu(6, { useBias: true })], { inputShape: [4] }),
    x: wave([5, 4], 0.7),
    targets: ["gateKernel", "upKernel", "downKernel"],
  }),
  "a decoder": () => ({
    net: sequential([transformerDecoder(8, 2, { normalizeFirst: true, activation: "gelu" })], { inputShape: [5, 4] }),
    x: wave([2, 5, 4], 0.7),
    targets: "all-linear",
  }),
};

for (const [name, make] of Object.entries(CASES))
  for (const useRslora of [false, true])
    test(`${name}: values and gradients are those of kernels W + s A B${useRslora ? ", scaled by the root of the rank" : ""}`, async () => {
      useBackend(reference);
      const { net, x, targets } = make();
      const whole = make().net;
      net.weights.forEach((w, i) => w.tensor.set(wave(w.tensor.shape, 0.9 + 0.13 * i, 0.6).host));
      whole.setWeights(await net.getWeights());
      const adapters = lora(net, { rank: 2, alpha: 3, targets, useRslora });
      stir(adapters, 0.5);
      const scale = 3 / (useRslora ? Math.sqrt(2) : 2);
      const lossOf = (of, params) => compile((input) => gradients(mean(square(add(of.call(input), 0.3))), params()), { training: true });
      // The same with kernels that hold the sum.
      const kernels = [];
      for (const [i, w] of whole.weights.entries()) {
        const own = net.weights.find((o) => net.nameOf(o) === whole.nameOf(w));
        const [a, b] = ["A", "B"].map((m) => net.weights.find((o) => net.nameOf(o) === `${net.nameOf(own)}Lora${m}`)?.tensor);
        if (a === undefined) continue;
        kernels.push({ i, a, b, tensor: w.tensor });
        const [product, base] = [await matmul(a, b).data(), await w.tensor.data()];
        w.tensor.set(base.map((v, k) => v + scale * product[k]));
      }
      assert.is(kernels.length * 2, adapters.parameters.length);
      near(await (await net.predict(x)).data(), await (await whole.predict(x)).data(), 1e-6);
      const got = await lossOf(net, () => net.parameters)(x);
      const want = await lossOf(whole, () => kernels.map((k) => k.tensor))(x);
      for (const [k, { a, b }] of kernels.entries()) {
        const [inputs, rank] = a.shape;
        const dw = tensor(await want[k].data(), [inputs, want[k].size / inputs]);
        const at = net.parameters.indexOf(a);
        near(await got[at].data(), await mul(matmul(dw, b, { transposeB: true }), scale).data(), 2e-6, "dA");
        near(await got[net.parameters.indexOf(b)].data(), await mul(matmul(a, dw, { transposeA: true }), scale).data(), 2e-6, "dB");
        assert.is(rank, 2);
      }
    });

test("fit trains adapters alone: the loss falls, all else stays bit for bit, and it merges", async () => {
  const net = text();
  const base = await elements(net);
  const names = net.weights.map((w) => net.nameOf(w));
  const adapters = lora(net, { rank: 4, alpha: 8, seed: 3 });
  await net.compile({ ...learning, optimizer: adam({ learningRate: 0.01 }) });
  const { history } = await net.fit(ids, next, { epochs: 30, batchSize: 8, verbose: 0 });
  assert.ok(history.loss[29] < 0.7 * history.loss[0], history.loss.join());
  const after = await elements(net);
  net.weights.forEach((w, i) => {
    const at = names.indexOf(net.nameOf(w));
    if (at >= 0) assert.equal(after[i], base[at], net.nameOf(w));
  });
  const trained = await (await net.predict(ids)).data();
  await adapters.merge();
  near(await (await net.predict(ids)).data(), trained, 2e-5);
  assert.equal(
    net.weights.map((w) => net.nameOf(w)),
    names,
  );
  assert.ok(net.weights.every((w) => w.trainable));
  const merged = await elements(net);
  const changed = names.filter((_, i) => merged[i].some((v, k) => v !== base[i][k]));
  assert.equal(
    changed,
    names.filter((name) => /(attention|block)\//.test(name)),
  );
  await rejects(() => adapters.merge(), LockstepError, /merge: the adapters of model "model" were merged/);
  // And again, with others.
  lora(net, { targets: "head/kernel" }).remove();
});

test("a loop of one's own trains them as fit does", async () => {
  const [a, b] = [text(), text()];
  for (const net of [a, b]) lora(net, { rank: 2, targets: ["queryKernel", "valueKernel"] });
  await a.compile({ ...learning, optimizer: sgd({ learningRate: 0.1 }) });
  await a.fit(ids, next, { epochs: 3, batchSize: 16, shuffle: false, verbose: 0 });
  const optimizer = sgd({ learningRate: 0.1 });
  const loss = sparseCategoricalCrossentropy({ fromLogits: true });
  const step = compile(
    (x, y) => {
      const value = mean(loss.call(y, b.call(x)));
      optimizer.update(b.parameters, gradients(value, b.parameters));
      return value;
    },
    { training: true },
  );
  for (let i = 0; i < 3; i++) await step(ids, next);
  for (const [i, p] of a.parameters.entries()) near(await b.parameters[i].data(), await p.data(), 1e-6);
});

test("functions and models that were traced before go on with the adapters, and without them", async () => {
  const inner = sequential([dense(3)], { inputShape: [4] });
  const outer = sequential([inner, dense(2)], { inputShape: [4] });
  const x = wave([2, 4], 0.3);
  const call = compile((input) => outer.call(input));
  const before = await (await outer.predict(x)).data();
  assert.equal(await (await call(x)).data(), before);
  const adapters = lora(inner, { targets: "kernel" });
  stir(adapters);
  const now = await (await outer.predict(x)).data();
  assert.ok(now.some((v, i) => v !== before[i]));
  assert.equal(await (await call(x)).data(), now);
  assert.equal(outer.parameters.length, 4);
  adapters.remove();
  assert.equal(await (await outer.predict(x)).data(), before);
  assert.equal(await (await call(x)).data(), before);
});

test("what was compiled before must be compiled again, and layers beside the adapters may be trained, too", async () => {
  const net = text();
  const optimizer = adam({ learningRate: 0.01 });
  await net.compile({ ...learning, optimizer });
  const adapters = lora(net, { rank: 2 });
  await rejects(() => net.fit(ids, next, { verbose: 0 }), LockstepError, /weights came or went since: call compile/);
  net.getLayer("head").trainable = true;
  await net.compile({ ...learning, optimizer });
  assert.is(net.parameters.length, adapters.parameters.length + 2);
  const base = await elements(net);
  await net.fit(ids, next, { epochs: 1, verbose: 0 });
  const after = await elements(net);
  const changed = net.weights.map((w) => net.nameOf(w)).filter((_, i) => after[i].some((v, k) => v !== base[i][k]));
  assert.ok(changed.every((name) => /LoraB$|^head\//.test(name)) && changed.includes("head/bias"), changed.join());
});

test("a frozen model gets adapters that learn, and is frozen again without them; averages of batchNorm stay", async () => {
  const net = sequential([dense(6), batchNorm(), dense(2)], { inputShape: [4] });
  net.trainable = false;
  const adapters = lora(net, { targets: "kernel" });
  assert.is(net.parameters.length, 4);
  const averages = () => Promise.all([2, 3].map((i) => net.layers[1].weights[i].tensor.data()));
  const before = await averages();
  await net.compile({ loss: "mse", optimizer: sgd({ learningRate: 0.1 }) });
  await net.fit(wave([8, 4], 0.3), wave([8, 2], 0.9), { epochs: 2, verbose: 0 });
  assert.equal(await averages(), before);
  adapters.remove();
  assert.is(net.trainable, false);
  assert.is(net.parameters.length, 0);
});

test("dropout is for training alone, and the same on every backend", async () => {
  const results = [];
  const [x, y] = [wave([16, 6], 0.7), wave([16, 3], 0.3)];
  for (const backend of [wasm, reference]) {
    useBackend(backend);
    const losses = [];
    for (const dropout of [0.5, 0]) {
      const net = sequential([dense(8, { activation: "tanh" }), dense(3)], { inputShape: [6], seed: 2 });
      const adapters = lora(net, { rank: 2, dropout, targets: "kernel", seed: 7 });
      stir(adapters, 0.7);
      losses.push(await (await net.predict(x)).data());
      await net.compile({ loss: "mse", optimizer: sgd({ learningRate: 0.1 }), backend });
      const { history } = await net.fit(x, y, { epochs: 3, batchSize: 8, seed: 5, verbose: 0 });
      losses.push(history.loss, await adapters.parameters[1].data());
    }
    assert.equal(losses[0], losses[3], "predictions");
    assert.ok(Math.abs(losses[1][0] - losses[4][0]) > 0.01, `${losses[1]}, ${losses[4]}`);
    results.push(losses);
  }
  results[0].forEach((values, i) => near(values, results[1][i], 1e-5));
});

/** Puts packed weights in the place of those of the layers named. */
async function packWeights(net, format) {
  for (const l of net.layers) {
    const inside = insideOf(l);
    for (const w of inside.weights) {
      if (!/ernel$/.test(w.name)) continue;
      const { shape, size } = w.tensor;
      const inputs = w.name === "attentionOutputKernel" ? shape[0] * shape[1] : shape[0];
      if (inputs % 32 !== 0) continue;
      const packed = await pack(tensor(await w.tensor.data(), [inputs, size / inputs]), format);
      // pack gives matrices; layers have kernels of other shapes.
      const { Packer } = await import("../../build/esm/packed/pack.js");
      const packer = new Packer(format, size / inputs, inputs);
      const data = await packed.data();
      for (let r = 0; r < size / inputs; r++)
        packer.row(
          r,
          Float32Array.from({ length: inputs }, (_, i) => data[(i * size) / inputs + r]),
        );
      w.tensor = packer.tensor({ transposed: true, shape });
      inside.byName[w.name] = w.tensor;
      (await import("../../build/esm/nn/layer.js")).setOwner(w.tensor, l);
    }
  }
}

for (const format of ["q8", "q4", "q4m", "f16", "bf16"])
  test(`packed weights, ${format}: adapters train beside them, and merge into the format`, async () => {
    useBackend(reference);
    const net = text();
    await packWeights(net, format);
    await net.predict(ids);
    const kernels = () => net.weights.map((w) => w.tensor).filter((t) => String(t).includes(`:${format}`));
    const packed = kernels();
    assert.is(packed.length, 8);
    const base = await Promise.all(packed.map((t) => t.data()));
    const adapters = lora(net, { rank: 4, alpha: 8 });
    await net.compile({ ...learning, optimizer: adam({ learningRate: 0.02 }), backend: reference });
    const stopping = earlyStopping({ monitor: "loss", patience: 100, restoreBestWeights: true });
    const { history } = await net.fit(ids, next, { epochs: 12, batchSize: 16, verbose: 0, callbacks: [stopping] });
    assert.ok(history.loss[11] < 0.9 * history.loss[0], history.loss.join());
    assert.equal(await Promise.all(packed.map((t) => t.data())), base);
    const trained = await (await net.predict(ids)).data();
    const largest = trained.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    await adapters.merge();
    assert.is(kernels().length, packed.length);
    assert.is(kernels().filter((t) => packed.includes(t)).length, packed.length - 7);
    const within = { f16: 2e-3, bf16: 2e-2, q8: 3e-2, q4: 0.5, q4m: 0.5 }[format];
    near(await (await net.predict(ids)).data(), trained, within * largest);
    assert.equal(
      kernels().map((t) => t.shape),
      packed.map((t) => t.shape),
    );
  });

test("adapters in PEFT's form: names, shapes, configuration; they come back, and others take their place", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-lora-"));
  const net = text();
  const first = await (await net.predict(ids)).data();
  const adapters = lora(net, { rank: 2, alpha: 6, targets: ["queryKernel", "downKernel"], dropout: 0.25 });
  stir(adapters);
  const changed = await (await net.predict(ids)).data();
  assert.ok(changed.some((v, i) => Math.abs(v - first[i]) > 1e-3));
  await adapters.save(join(folder, "new", "one"));
  const json = JSON.parse(readFileSync(join(folder, "new", "one", "adapter_config.json"), "utf8"));
  const { peft_type, r, lora_alpha, lora_dropout, use_rslora, target_modules, bias, rank_pattern } = json;
  assert.equal(
    { peft_type, r, lora_alpha, lora_dropout, use_rslora, target_modules, bias, rank_pattern },
    {
      peft_type: "LORA",
      r: 2,
      lora_alpha: 6,
      lora_dropout: 0.25,
      use_rslora: false,
      target_modules: ["queryKernel", "downKernel"],
      bias: "none",
      rank_pattern: {},
    },
  );
  const { tensors, metadata } = await readSafetensors(join(folder, "new", "one", "adapter_model.safetensors"));
  assert.is(metadata.format, "pt");
  assert.equal(
    [...tensors].map(([name, { shape, dtype }]) => `${name} ${dtype} ${shape}`),
    [
      "base_model.model.attention.queryKernel.lora_A.weight F32 2,32",
      "base_model.model.attention.queryKernel.lora_B.weight F32 32,2",
      "base_model.model.block.downKernel.lora_A.weight F32 2,64",
      "base_model.model.block.downKernel.lora_B.weight F32 32,2",
    ],
  );
  const [a, b] = await Promise.all(adapters.parameters.slice(0, 2).map((t) => t.data()));
  const fileA = tensors.get("base_model.model.attention.queryKernel.lora_A.weight").data;
  const fileB = tensors.get("base_model.model.attention.queryKernel.lora_B.weight").data;
  assert.ok(fileA.every((v, i) => v === a[(i % 32) * 2 + Math.floor(i / 32)]));
  assert.ok(fileB.every((v, i) => v === b[(i % 2) * 32 + Math.floor(i / 2)]));

  // Into another model, from the folder, from the files by name, and from one file.
  const bytes = await adapters.toBytes();
  const config = new TextEncoder().encode(JSON.stringify(json));
  const half = await writeSafetensors([...tensors].map(([name, t]) => [name, { ...t, dtype: "BF16" }]));
  const sources = [
    join(folder, "new", "one"),
    join(folder, "new", "one") + "/",
    join(folder, "new", "one", "adapter_model.safetensors"),
    bytes,
    { "adapter_config.json": config, "adapter_model.safetensors": bytes },
    [new File([config], "adapter_config.json"), new File([bytes], "adapter_model.safetensors")],
    { "adapter_config.json": config, "adapter_model.safetensors": half },
  ];
  for (const source of sources) {
    const other = text();
    const loaded = await loadLora(other, source);
    assert.equal([loaded.rank, loaded.alpha, loaded.dropout, loaded.modules], [2, 6, 0.25, adapters.modules]);
    if (source === sources.at(-1)) near(await (await other.predict(ids)).data(), changed, 0.02);
    else assert.equal(await (await other.predict(ids)).data(), changed);
  }

  // One model, several adapters of other values and alphas.
  const many = text();
  const slot = lora(many, { rank: 2, alpha: 1, targets: ["queryKernel", "downKernel"] });
  const empty = await slot.toBytes();
  for (let i = 0; i < 2; i++) {
    await slot.load(bytes);
    assert.is(slot.alpha, 6);
    assert.equal(await (await many.predict(ids)).data(), changed);
    await slot.load(empty);
    assert.is(slot.alpha, 1);
    assert.equal(await (await many.predict(ids)).data(), first);
  }
  rmSync(folder, { recursive: true });
});

test("modules of a checkpoint: targets by their ends, files with their names, and kernels that are one module share A", async () => {
  const make = () => {
    const net = model(
      (() => {
        const attention = multiHeadAttention(2, 4, { name: "h.0.attn" });
        const [up, down] = [dense(16, { name: "h.0.mlp.c_fc" }), dense(8, { name: "h.0.mlp.c_proj" })];
        return (x) => down.call(up.call(add(x, attention.call(x))));
      })(),
      { inputShape: [3, 8], seed: 2 },
    );
    const parts = { queryKernel: 0, keyKernel: 8, valueKernel: 16 };
    net.modules = (layer, weight) => {
      if (weight in parts) return { name: `transformer.${layer}.c_attn`, part: { begin: parts[weight], of: 24 } };
      return { name: `transformer.${layer}${weight === "kernel" ? "" : ".c_proj"}` };
    };
    return net;
  };
  const net = make();
  const x = wave([2, 3, 8], 0.3);
  const adapters = lora(net, { rank: 2, targets: ["c_attn", "mlp.c_proj"] });
  assert.equal(adapters.modules, ["transformer.h.0.attn.c_attn", "transformer.h.0.mlp.c_proj"]);
  assert.equal(adapters.config.target_modules, adapters.modules, "c_proj alone would be the output of attention, too");
  assert.equal(
    net.parameters.map((t) => t.shape.join()),
    ["8,2", "2,8", "2,8", "2,8", "16,2", "2,8"],
  );
  stir(adapters);
  const { tensors } = await readSafetensors(await adapters.toBytes());
  assert.equal(
    [...tensors].map(([name, { shape }]) => `${name} ${shape}`),
    [
      "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight 2,8",
      "base_model.model.transformer.h.0.attn.c_attn.lora_B.weight 24,2",
      "base_model.model.transformer.h.0.mlp.c_proj.lora_A.weight 2,16",
      "base_model.model.transformer.h.0.mlp.c_proj.lora_B.weight 8,2",
    ],
  );
  const want = await (await net.predict(x)).data();
  const other = make();
  const loaded = await loadLora(other, await adapters.toBytes());
  assert.equal(await (await other.predict(x)).data(), want);
  await loaded.merge();
  near(await (await other.predict(x)).data(), want, 1e-5);
  // A part of the module alone has no place for what the others would add.
  const part = make();
  const query = lora(part, { rank: 2, targets: ["queryKernel", "mlp.c_proj"] });
  assert.is(
    (await readSafetensors(await query.toBytes())).tensors.get("base_model.model.transformer.h.0.attn.c_attn.lora_B.weight").shape[0],
    24,
  );
  await rejects(async () => query.load(await adapters.toBytes()), FileError, /c_attn" changes output 8, which has no adapter here/);
  await query.load(await query.toBytes());
});

test("a whole model's file has the adapters, and training goes on where it ended", async () => {
  const make = async () => {
    const net = text();
    lora(net, { rank: 2, alpha: 4, dropout: 0.1, targets: ["queryKernel", "head/kernel"] });
    await net.compile({ ...learning, optimizer: adam({ learningRate: 0.01 }) });
    return net;
  };
  const options = { batchSize: 8, verbose: 0, seed: 1 };
  const whole = await make();
  const { history } = await whole.fit(ids, next, { ...options, epochs: 4 });
  const half = await make();
  await half.fit(ids, next, { ...options, epochs: 2 });
  const bytes = await half.toBytes();
  await rejects(() => loadModel(bytes), FileError, /it has adapters; pass \{ lora \} of lockstep\/lora to loadModel/);
  let adapters = null;
  const again = await loadModel(bytes, { lora: (net, o) => (adapters = lora(net, o)) });
  assert.is(adapters.alpha, 4);
  assert.equal(again.parameters, adapters.parameters);
  assert.equal(await (await again.predict(ids)).data(), await (await half.predict(ids)).data());
  const rest = await again.fit(ids, next, { ...options, epochs: 4, initialEpoch: 2 });
  assert.equal(rest.history.loss, history.loss.slice(2));
  const ends = await elements(whole);
  (await elements(again)).forEach((v, i) => assert.equal(v, ends[i]));
  // Weights alone, into a model with adapters of the same names.
  const third = text();
  lora(third, { rank: 2, alpha: 4, targets: ["queryKernel", "head/kernel"] });
  await loadWeights(third, bytes);
  assert.equal(await (await third.predict(ids)).data(), await (await half.predict(ids)).data());
  // Of a model within another a file has no place for them.
  const inner = sequential([dense(3)], { inputShape: [4] });
  const outer = sequential([inner, dense(2)], { inputShape: [4] });
  lora(inner, { targets: "kernel" });
  await rejects(() => outer.toBytes(), LockstepError, /save: the model within, "model", has adapters; merge/);
  await rejects(() => lora(outer, { targets: "kernel" }), LockstepError, /model\/dense\/kernel has an adapter already, of another model/);
  assert.is(outer.adapters, undefined);
});

test("parts of layers stay as adapters left them when a file says which layers are frozen", async () => {
  const net = sequential([transformerDecoder(16, 2, { name: "block" }), dense(2, { name: "head" })], { inputShape: [3, 8] });
  const adapters = lora(net, { rank: 2 });
  assert.equal(adapters.modules.length, 6);
  await net.compile({ loss: "mse" });
  const again = await loadModel(await net.toBytes(), { lora });
  assert.is(again.parameters.length, adapters.parameters.length);
  assert.is(again.getLayer("block").trainable, true);
  assert.is(again.getLayer("head").trainable, false);
});

test("text is written with adapters, and with other ones by the same session's programs", async () => {
  const tokens = embedding(20, 16);
  const net = sequential([tokens, transformerDecoder(32, 2), tiedHead(tokens)], { inputShape: [null], seed: 9 });
  const write = async () => {
    const out = [];
    for await (const id of generate(net, [1, 2, 3], { maxTokens: 8, temperature: 0 })) out.push(id);
    return out;
  };
  const before = await write();
  const adapters = lora(net, { rank: 4 });
  assert.equal(await write(), before);
  stir(adapters, 1);
  const changed = await write();
  assert.not.equal(changed, before);
  await adapters.merge();
  assert.equal(await write(), changed);
});

test("what cannot be is refused, and says what there is", async () => {
  const net = text();
  await rejects(
    () => lora(net, { targets: "q_proj" }),
    ArgumentError,
    /q_proj matches no kernel of model "model"; there are queryKernel, keyKernel/,
  );
  await rejects(() => lora(net, { targets: ["queryKernal"] }), ArgumentError, /did you mean "queryKernel"\? there are/);
  await rejects(() => lora(net, { targets: "embeddings" }), ArgumentError, /embeddings matches no kernel/);
  await rejects(() => lora(net, { targets: /nothing/g }), ArgumentError, /\/nothing\/g matches no kernel/);
  await rejects(() => lora(net, { targets: () => false }), ArgumentError, /the function matches no kernel/);
  await rejects(() => lora(net, { targets: [] }), ArgumentError, /expected names, regular expressions or functions, got none/);
  await rejects(() => lora(net, { targets: 3 }), ArgumentError, /expected names, regular expressions or functions, got number/);
  await rejects(() => lora(net, { rank: 0 }), ArgumentError, /rank must be an integer >= 1/);
  await rejects(() => lora(net, { rank: 1e9 }), ShapeError, /lora: .*1000000000/);
  await rejects(() => lora(net, { alpha: NaN }), ArgumentError, /alpha must be a number/);
  await rejects(() => lora(net, { dropout: 1 }), ArgumentError, /dropout must be a number in \[0, 1\)/);
  await rejects(() => lora(net, { useRslora: 1 }), ArgumentError, /useRslora must be true or false/);
  await rejects(() => lora(net, { r: 4 }), ArgumentError, /unknown option "r"/);
  await rejects(() => lora({ model: net }), ArgumentError, /expected a model .*; give its model/);
  await rejects(() => lora(sequential([dense(2)])), LockstepError, /not built yet/);
  await rejects(() => lora(sequential([dense(2)], { inputShape: [2] })), ArgumentError, /besides its last layer/);
  await rejects(() => lora(sequential([conv1d(2, 3)], { inputShape: [5, 2] })), ArgumentError, /has no kernels of dense/);
  const stack = sequential([layerStack(swiglu(8), 3), dense(2)], { inputShape: [4] });
  await rejects(
    () => lora(stack),
    ArgumentError,
    /layer "layerStack" stands for 3 layers \(layerStack\), whose gateKernel is one tensor \[3, 4, 8\]/,
  );
  assert.is(lora(stack, { targets: "kernel" }).modules.length, 1);
  const adapters = lora(net, { rank: 2, targets: "queryKernel" });
  await rejects(() => lora(net), LockstepError, /has adapters already/);
  const bytes = await adapters.toBytes();
  const wide = lora(text(), { rank: 3, targets: "queryKernel" });
  await rejects(() => wide.load(bytes), FileError, /is of 32 features, 32 outputs and rank 2, here of 32, 32 and 3/);
  const others = lora(text(), { rank: 2, targets: "keyKernel" });
  await rejects(() => others.load(bytes), FileError, /no adapter of "attention.keyKernel"; it has those of attention.queryKernel/);
  const more = lora(text(), { rank: 2, targets: ["keyKernel", "queryKernel"] });
  await rejects(
    async () => adapters.load(await more.toBytes()),
    FileError,
    /it has an adapter of "attention.keyKernel", here there are those of/,
  );
  await rejects(
    async () => loadLora(sequential([dense(2)], { inputShape: [2] }), bytes),
    FileError,
    /has an adapter of "attention.queryKernel"; model/,
  );
  const { tensors, metadata } = await readSafetensors(bytes);
  const config = JSON.parse(metadata.adapter_config);
  const filed = async (change, file = tensors) => ({
    "adapter_config.json": new TextEncoder().encode(JSON.stringify({ ...config, ...change })),
    "adapter_model.safetensors": await writeSafetensors(file),
  });
  for (const [change, pattern] of [
    [{ peft_type: "IA3" }, /"peft_type" must be LORA, found IA3/],
    [{ use_dora: true }, /"use_dora" must be absent or empty/],
    [{ rank_pattern: { q_proj: 4 } }, /"rank_pattern" must be absent or empty/],
    [{ modules_to_save: ["lm_head"] }, /"modules_to_save" must be absent or empty/],
    [{ bias: "all" }, /"bias" must be "none"/],
    [{ init_lora_weights: "pissa" }, /"init_lora_weights" must be one that leaves the model as it is/],
    [{ r: 1.5 }, /"r" must be an integer of at least 1/],
    [{ r: 4 }, /has matrices \[2, 32\] and \[32, 2\], expected \[4, inputs\] and \[outputs, 4\], as r says/],
    [{ lora_alpha: "8" }, /"lora_alpha" must be a number/],
    [{ lora_dropout: 2 }, /"lora_dropout" must be a number in/],
    [{ use_rslora: true }, /"use_rslora" is true, that of these adapters false/],
  ])
    await rejects(async () => adapters.load(await filed(change)), FileError, pattern);
  const name = "base_model.model.attention.queryKernel.lora_A.weight";
  await rejects(
    async () => adapters.load(await filed({}, [[name, tensors.get(name)]])),
    FileError,
    /no tensor "base_model.model.attention.queryKernel.lora_B.weight", but its other matrix/,
  );
  await rejects(
    async () => adapters.load(await filed({}, [...tensors, ["base_model.model.head.weight", { shape: [1], data: Float32Array.of(1) }]])),
    FileError,
    /alone, found "base_model.model.head.weight"/,
  );
  await rejects(
    async () => adapters.load(await writeSafetensors(tensors)),
    FileError,
    /has no "adapter_config", and without it nobody knows alpha/,
  );
  await rejects(() => adapters.load({ "adapter_model.safetensors": bytes }), FileError, /expected the files adapter_config.json and/);
  await rejects(() => adapters.load("no/such/folder"), FileError, /cannot read "no\/such\/folder\/adapter_config.json"/);
  await rejects(() => adapters.load(3), ArgumentError, /expected a folder, files by name or a safetensors file, got number/);
  adapters.remove();
  for (const call of [
    () => adapters.load(bytes),
    () => adapters.toBytes(),
    () => adapters.save("x"),
    () => adapters.merge(),
    () => adapters.remove(),
  ])
    await rejects(async () => call(), LockstepError, /were removed; call lora\(\) again/);
});

test("a damaged file does not make adapters that it does not hold", async () => {
  const net = sequential([dense(3), dense(2)], { inputShape: [4] });
  lora(net, { rank: 2, targets: "kernel" });
  const { tensors, metadata } = await readSafetensors(await net.toBytes());
  const described = JSON.parse(metadata.lockstep);
  described.lora.rank = 100000000;
  const { checksum } = await import("../../build/esm/io/checksum.js");
  const { encodeRaw, decodeSafetensors } = await import("../../build/esm/io/safetensors.js");
  const raw = [...tensors].map(([name, t]) => [
    name,
    { dtype: "F32", shape: t.shape, bytes: new Uint8Array(t.data.buffer.slice(t.data.byteOffset, t.data.byteOffset + t.data.byteLength)) },
  ]);
  const meta = { ...metadata, lockstep: JSON.stringify(described) };
  delete meta.checksum;
  const sum = checksum(
    meta,
    raw.map(([name, t]) => [name, t, t.bytes]),
  );
  const bytes = encodeRaw(raw, { ...meta, checksum: sum });
  decodeSafetensors(bytes);
  await rejects(() => loadModel(bytes, { lora }), FileError, /kernelLoraA of shape \[4, 100000000\] has 400000000 elements/);
});

test.run();

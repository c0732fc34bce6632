/** @file Gated blocks, tied heads and transformers, against their parts. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { ArgumentError, LockstepError, ShapeError } from "../../build/esm/errors.js";
import { valueAndGrad } from "../../build/esm/grad.js";
import { model, sequential } from "../../build/esm/model/model.js";
import * as nn from "../../build/esm/nn/index.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { tensor } from "../../build/esm/tensor.js";
import { errorOf } from "../model/helpers.js";
import { BACKENDS, checkGradients, made, near, run, values, weightsOf } from "./attending.js";

test.after(() => Object.values(BACKENDS).forEach((b) => b.close()));

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

test("frozen before the first call, a layer that makes its parts then is frozen whole", async () => {
  const layer = nn.transformerEncoder(16, 2);
  layer.trainable = false;
  await made(layer, values(1, 1, 3, 8));
  assert.ok(layer.weights.length > 0 && layer.weights.every((w) => !w.trainable));
  layer.trainable = true;
  assert.ok(layer.weights.every((w) => w.trainable));
});

test.run();

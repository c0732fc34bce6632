/** @file profile and compareModels: what layers take, counted by hand, and that what is timed is what the model computes. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";
import { compareModels, profile } from "../../build/esm/inspect/index.js";
import { opened } from "../../build/esm/inspect/parts.js";
import { layersOfSource } from "../../build/esm/inspect/profile.js";
import { KNOWN_WORK, workOf } from "../../build/esm/inspect/work.js";
import * as kernels from "../../build/esm/kernels.js";
import { errorOf } from "../model/helpers.js";

await L.open("wasm", { reproducible: true });
const untimed = { time: false };

/** Operations and bytes of the layers of a model, by their names. */
async function workIn(layers, x) {
  const model = L.sequential(layers, { inputShape: x.shape.slice(1) });
  const p = await profile(model, x, untimed);
  return Object.fromEntries(p.layers.map((l) => [l.layers.join(" + "), { flops: l.flops, bytes: l.bytes }]));
}

test("profile: every kernel has its work", () => {
  const names = Object.values(kernels).map((k) => k.name);
  assert.ok(names.length > 30);
  assert.equal(
    [...names, "map", "fill"].filter((name) => !KNOWN_WORK.includes(name)),
    [],
  );
  assert.throws(() => workOf({ kernel: "no such", attrs: {}, inputs: [], outputs: [] }), /internal: profile: .*"no such"/);
});

test("profile: a dense layer is 2 m k n, its bias and its activation; bytes are each operand's once", async () => {
  const { dense } = await workIn([L.dense(10, { activation: "relu" })], L.zeros([32, 784]));
  assert.is(dense.flops, 2 * 32 * 784 * 10 + 2 * 320);
  assert.is(dense.bytes, 4 * (32 * 784 + 784 * 10 + 10 + 320));
  const { dense: plain } = await workIn([L.dense(10, { useBias: false })], L.zeros([32, 784]));
  assert.is(plain.flops, 2 * 32 * 784 * 10);
});

test("profile: convolutions by their windows, pooling by comparisons, moves for nothing", async () => {
  const work = await workIn(
    [L.conv2d(16, 3), L.maxPool2d(2), L.depthwiseConv2d(3, { padding: "same" }), L.flatten(), L.dropout(0.5)],
    L.zeros([2, 14, 14, 4]),
  );
  assert.is(work.conv2d.flops, 2 * (12 * 12) * 16 * (3 * 3 * 4) * 2 + 2 * 12 * 12 * 16);
  assert.is(work.maxPool2d.flops, 2 * 6 * 6 * 16 * 4);
  assert.is(work.depthwiseConv2d.flops, 2 * (6 * 6) * 16 * 9 * 2 + 2 * 6 * 6 * 16);
  assert.equal(
    [work.flatten, work.dropout],
    [
      { flops: 0, bytes: 0 },
      { flops: 0, bytes: 0 },
    ],
  );
});

test("profile: recurrent layers by their steps, attention by visible pairs, embeddings by the rows that are read", async () => {
  const { lstm } = await workIn([L.lstm(16)], L.zeros([8, 5, 3]));
  const input = 2 * 8 * 5 * 3 * 64 + 8 * 5 * 64;
  assert.is(lstm.flops, input + 8 * 5 * 16 * (2 * 4 * 16 + 13));
  const q = L.zeros([2, 6, 4, 8]);
  const flops = async (options) => {
    const model = L.model((x) => L.attention(x, x, x, options), { inputShape: [6, 4, 8] });
    return (await profile(model, q, untimed)).flops;
  };
  const perPair = 2 * (8 + 8) + 5;
  assert.is(await flops({}), 2 * 4 * 36 * perPair);
  assert.is(await flops({ causal: true }), 2 * 4 * 21 * perPair);
  assert.is(await flops({ causal: true, window: 2 }), 2 * 4 * (1 + 2 * 5) * perPair);
  const model = L.sequential([L.embedding(1000, 16)], { inputShape: [5] });
  const { bytes } = (await profile(model, L.zeros([3, 5]), untimed)).layers[0].kernels.find((k) => k.kernel === "gather");
  assert.is(bytes, 4 * (15 * 16 + 15 + 15 * 16));
});

test("profile: elementwise work counts its steps, reductions an operation for each element", async () => {
  const model = L.model((x) => L.sum(L.mul(L.add(x, 1), x), { axis: 1 }), { inputShape: [10] });
  const p = await profile(model, L.zeros([4, 10]), untimed);
  assert.is(p.flops, 4 * 10 * 3);
  assert.equal(
    p.layers.map((l) => l.layers),
    [[]],
  );
  assert.match(String(p), /\(no layer\)/);
});

test("profile: loops count each of their steps", async () => {
  const loop = L.model((x) => L.ops.scan((h, t) => [L.tanh(L.add(h, t)), h], L.zeros([4]), L.transpose(x, [1, 0]))[0], { inputShape: [7] });
  const p = await profile(loop, L.zeros([4, 7]), untimed);
  const { flops } = p.layers.flatMap((l) => l.kernels).find((k) => k.kernel === "scan");
  assert.is(flops, 7 * 4 * 2);
});

test("profile: layers that one kernel computes are one row, and each row says which", async () => {
  const layers = [L.conv2d(4, 3, { activation: "gelu" }), L.batchNorm(), L.relu(), L.dropout(0.1), L.flatten(), L.dense(2)];
  const model = L.sequential(layers, { inputShape: [8, 8, 1] });
  const p = await profile(model, L.zeros([2, 8, 8, 1]));
  assert.equal(
    p.layers.map((l) => l.layers),
    [["conv2d", "batchNorm", "relu"], ["dropout"], ["flatten"], ["dense"]],
  );
  assert.equal(p.layers[0].kinds, ["conv2d", "batchNorm", "relu"]);
  assert.is(
    p.layers.reduce((n, l) => n + l.parameters, 0),
    model.weights.reduce((n, w) => n + w.tensor.size, 0),
  );
  assert.equal([p.batch, p.backend, p.model], [2, "wasm", "model"]);
  assert.ok(p.layers[0].ms > 0 && p.layers[3].ms > 0 && p.ms > 0);
  assert.is(p.layers[1].ms, 0);
  const text = String(p);
  assert.match(text, /^Model: "model", 2 samples on wasm, times by clock\n┌/);
  assert.match(text, /│ conv2d \+ batchNorm \+ relu +│/);
  assert.match(text, /\nAs one program: [\d.]+ ms$/);
});

test("profile: names with spaces, of several layers and of models within", () => {
  const names = new Set(["a layer", "a", "b c d", "inner"]);
  assert.equal(layersOfSource("a layer", names), ["a layer"]);
  assert.equal(layersOfSource("a layer b c d a", names), ["a layer", "b c d", "a"]);
  assert.equal(layersOfSource("inner/dense inner/relu", names), ["inner"]);
  assert.equal(layersOfSource("", names), []);
  assert.equal(layersOfSource("result", names), []);
});

test("profile: parts in a row compute what the model computes", async () => {
  const inner = L.sequential([L.dense(6, { activation: "tanh" }), L.layerNorm()], { name: "inner" });
  const shared = L.dense(6);
  const model = L.model(
    (x) => {
      const h = L.add(inner.call(x), shared.call(x));
      return L.softmax(L.mul(shared.call(h), 2));
    },
    { inputShape: [6], seed: 3 },
  );
  const x = L.tensor(
    Float32Array.from({ length: 18 }, (_, i) => Math.sin(i)),
    [3, 6],
  );
  const expected = await (await model.predict(x)).data();
  const { plan, backend, captures } = await model.programs.predict([x]);
  const open = opened(plan);
  const held = [];
  const own = (bytes) => {
    held.push(backend.alloc(bytes));
    return held.at(-1);
  };
  let capture = 0;
  const buffers = open.bindings.map((b) =>
    b.kind === "input" ? x.upload(backend) : b.kind === "capture" ? captures[capture++].upload(backend) : own(b.bytes),
  );
  assert.ok(open.calls.length > 3);
  for (const call of open.calls) {
    const program = await backend.compile({ ...open, calls: [call] });
    backend.run(program, buffers);
    program.close();
  }
  const output = open.bindings.findIndex((b) => b.kind === "output");
  assert.equal(new Float32Array(await backend.read(buffers[output], 0, 4 * expected.length)), expected);
  for (const b of held) backend.free(b);
});

test("profile: models that are not built yet, of several inputs, of bytes, that draw, and of one sample", async () => {
  const model = L.sequential([L.dense(3)]);
  await profile(model, [[1, 2]], untimed);
  assert.equal(model.inputShapes, [[2]]);
  const two = L.model((a, b) => L.add(a, b), { inputShape: [[3], [3]] });
  assert.is((await profile(two, [L.zeros([2, 3]), L.zeros([2, 3])])).flops, 6);
  const bytes = L.sequential([L.flatten(), L.dense(2)], { inputShape: [4, 4] });
  const p = await profile(bytes, L.tensor(new Uint8Array(32), [2, 4, 4]));
  assert.ok(p.ms > 0);
  const noisy = L.model((x) => L.add(x, L.randomNormal(L.randomKey(), [2, 3])), { inputShape: [3] });
  assert.ok((await profile(noisy, L.zeros([2, 3]))).ms >= 0);
});

test("profile: what is no model, and data that do not fit", async () => {
  const model = L.sequential([L.dense(3)], { inputShape: [2] });
  assert.instance(await errorOf(() => profile({}, [[1, 2]])), L.ArgumentError);
  assert.instance(await errorOf(() => profile(model, [[1, 2, 3]])), L.ShapeError);
  assert.instance(await errorOf(() => profile(model, [[1, 2]], { runs: 3 })), L.ArgumentError);
});

async function classifier(units) {
  const model = L.sequential([L.dense(units, { activation: "relu" }), L.dense(3, { activation: "softmax" })], { inputShape: [2] });
  await model.compile({ loss: "sparseCategoricalCrossentropy", metrics: ["accuracy"] });
  return model;
}
const x = Array.from({ length: 50 }, (_, i) => [Math.sin(i), Math.cos(i)]);
const y = x.map((_, i) => i % 3);

test("compareModels: what models measure, their sizes and times, and the table of them", async () => {
  const [small, large] = [await classifier(4), await classifier(64)];
  const comparison = await compareModels({ small, large }, x, y, { batchSize: 16, runs: 2 });
  const [a, b] = comparison.models;
  assert.equal([a.name, b.name], ["small", "large"]);
  assert.equal([a.parameters, b.parameters], [4 * 3 + 5 * 3, 64 * 3 + 65 * 3]);
  assert.equal([a.bytes, b.bytes], [4 * a.parameters, 4 * b.parameters]);
  assert.equal(a.logs, await small.evaluate(x, y, { batchSize: 16 }));
  for (const m of [a, b]) assert.ok(m.latency > 0 && m.latency95 >= m.latency && m.samplesPerSecond > 0);
  const lines = String(comparison).split("\n");
  assert.match(lines[1], /^│ +│ +small │ +large │$/);
  assert.match(lines[3], /^│ loss +│ +[\d.]+ │ +[\d.]+ │$/);
  assert.match(lines[4], /^│ accuracy/);
  assert.match(lines[5], /^│ parameters +│ +27 │ +387 │$/);
});

test("compareModels: without targets nothing is measured but size and time, of packed weights their bytes", async () => {
  const model = L.sequential([L.dense(64)], { inputShape: [64] });
  const comparison = await compareModels({ model }, L.zeros([2, 64]), undefined, { runs: 1 });
  assert.is(comparison.models[0].logs, null);
  assert.not.match(String(comparison), /loss/);
});

test("compareModels: what is refused", async () => {
  const model = L.sequential([L.dense(1)], { inputShape: [2] });
  const plain = await errorOf(() => compareModels({ a: model }, x, y));
  assert.instance(plain, L.LockstepError);
  assert.match(plain.message, /model "a" is not compiled; call compile/);
  assert.instance(await errorOf(() => compareModels({}, x)), L.ArgumentError);
  assert.instance(await errorOf(() => compareModels({ a: 1 }, x)), L.ArgumentError);
  assert.instance(await errorOf(() => compareModels([model], x)), L.ArgumentError);
});

test.run();

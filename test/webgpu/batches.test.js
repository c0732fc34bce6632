/**
 * @file Dispatches that need nothing of each other are one: how many a training step has, which may go together, and that they do what they
 * did before.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { prepare } from "../../bench/models.js";
import { compile } from "../../build/esm/compile.js";
import { layerStack, dense, sequential, sgd, tensor } from "../../build/esm/index.js";
import { gather } from "../../build/esm/ops/gather.js";
import { add, exp, mul } from "../../build/esm/ops/map.js";
import { matmul } from "../../build/esm/ops/matmul.js";
import { transpose } from "../../build/esm/ops/move.js";
import { permutation } from "../../build/esm/ops/random.js";
import { argMax, sum } from "../../build/esm/ops/reduce.js";
import { softmax } from "../../build/esm/ops/softmax.js";
import { together } from "../../build/esm/webgpu/batches.js";
import { kernelsFor } from "../../build/esm/webgpu/commands.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { check } from "../plan/check-graph.js";
import { randomGraph } from "../plan/random-graph.js";
import { openGpu, openMasked } from "./gpu.js";

const gpu = await openGpu();

/**
 * The dispatches of a training step, which is planned and not run, on an adapter that binds `buffers`. On a GPU its convolutions are too
 * small for tiles, which take more of them.
 */
async function stepOf(name, buffers) {
  const backend = await openMasked({ limits: { maxStorageBuffersPerShaderStage: buffers } });
  let encoded;
  backend.compile = async (plan) => {
    encoded = encode(plan, { ...backend.features, winograd: { used: false } }, await kernelsFor(plan));
    throw new Error("planned");
  };
  const { model, x, y } = await prepare(name, backend);
  const failed = await model.fit(x, y, { batchSize: 32, verbose: 0, seed: 1 }).catch((error) => error);
  assert.is(failed.message, "planned");
  backend.close();
  for (const d of encoded.dispatches) assert.ok(d.declared.length <= buffers, `${d.label}: ${d.declared.length} buffers`);
  return encoded.dispatches.length;
}

// One for each call they were 28, 47 and 40.
for (const [name, buffers, most] of [
  ["FFN", 8, 14],
  ["FFN", 12, 13],
  ["CNN", 8, 28],
  ["CNN", 12, 26],
  ["LSTM", 8, 20],
  ["LSTM", 12, 19],
]) {
  test(`a step of the ${name} is ${most} dispatches where ${buffers} buffers are bound`, async () => {
    const count = await stepOf(name, buffers);
    assert.ok(count <= most, `${count} dispatches`);
  });
}

const numbers = (shape, seed = 1) => {
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(
    Float32Array.from({ length: size }, (_, i) => Math.sin(i * 1.7 + seed)),
    shape,
  );
};

test("kernels with workgroups of several sizes, with barriers and without, give the same bits together as alone", async () => {
  const [a, b, c] = [numbers([33, 20]), numbers([20, 17], 2), numbers([7, 50], 3)];
  const index = tensor(Int32Array.of(3, 0, 6, 6), [4]);
  const key = tensor(Uint32Array.of(1, 2, 3, 4), [4]);
  const start = tensor(Int32Array.of(5), [1]);
  const parts = [
    () => exp(a),
    () => matmul(a, b),
    () => matmul(b, a, { transposeA: true, transposeB: true }),
    () => softmax(c),
    () => sum(c, { axis: 0 }),
    () => sum(exp(c), { axis: 1 }),
    () => argMax(c),
    () => gather(c, index),
    () => permutation(key, 1000, { start, count: 300, stream: 7 }),
    () => transpose(c),
  ];
  const before = gpu.statistics().dispatches;
  const all = await compile(() => parts.map((part) => part()), { backend: gpu })();
  const used = gpu.statistics().dispatches - before;
  assert.ok(used <= parts.length / 2, `${used} dispatches`);
  for (const [k, part] of parts.entries()) {
    const alone = await compile(part, { backend: gpu })();
    assert.equal(await all[k].data(), await alone.data(), `part ${k}`);
  }
});

test("random graphs", async () => {
  for (let seed = 1000; seed < 1016; seed++) await check(gpu, randomGraph(seed), 2e-4);
});

test("layers in a loop", async () => {
  const train = async (backend) => {
    const model = sequential([dense(6), layerStack(dense(6, { activation: "tanh" }), 3), dense(2)], { inputShape: [4], seed: 3 });
    await model.compile({ loss: "mse", optimizer: sgd({ learningRate: 0.1 }), backend });
    return (await model.fit(numbers([16, 4]), numbers([16, 2], 5), { epochs: 3, batchSize: 8, verbose: 0, seed: 2 })).history.loss;
  };
  const { open } = await import("../../build/esm/init.js");
  const cpu = await open("wasm", { threads: 1 });
  const [onGpu, onCpu] = [await train(gpu), await train(cpu)];
  onGpu.forEach((loss, i) => assert.ok(Math.abs(loss - onCpu[i]) < 1e-4 * onCpu[i], `epoch ${i}: ${loss}, ${onCpu[i]}`));
  cpu.close();
});

const FEATURES = { maxBuffers: 8, maxWorkgroupBytes: 16384, maxGroups: 65535 };

/** A dispatch that reads and writes buffers by number, of which `text` says what else its kernel has. */
function dispatch(label, reads, writes, { threads = 64, groups = 1, more = {}, body = "" } = {}) {
  const resources = [...reads.map((index) => ({ index, writable: false })), ...writes.map((index) => ({ index, writable: true }))].map(
    (r, binding) => ({ ...r, binding, space: "slot", offset: 0, bytes: 64 }),
  );
  const variables = resources.map(({ binding, writable }) => [
    `b${binding}`,
    `@group(0) @binding(${binding}) var<storage, ${writable ? "read_write" : "read"}> b${binding}: array<f32>;`,
  ]);
  const main = `@compute @workgroup_size(${threads})\nfn main(@builtin(local_invocation_index) i: u32) { ${body} ${resources
    .map((r) => `b${r.binding}[i];`)
    .join(" ")} }`;
  const declarations = new Map([["main", main], ...variables, ...Object.entries(more)]);
  return { label, text: "", entry: "main", declared: [], declarations, resources, groups: [groups, 1, 1] };
}

const labels = (list, features = {}) =>
  together(list, { ...FEATURES, ...features }).map((d) => ("list" in d ? d.list.map((e) => e.label) : d.label));

test("dispatches wait for what they read, write over, and write again", () => {
  const list = [
    dispatch("a", [0], [1]),
    dispatch("b", [1], [2]),
    dispatch("c", [5], [6]),
    dispatch("d", [7], [0]),
    dispatch("e", [8], [1]),
  ];
  // b reads what a writes, d writes what a reads, e writes what b reads.
  assert.equal(labels(list), ["a+c", "b+d", "e"]);
});

test("nothing passes a loop", () => {
  const loop = { steps: 3, list: [dispatch("b", [2], [3]), dispatch("c", [4], [5]), dispatch("d", [3], [2])] };
  assert.equal(labels([dispatch("a", [0], [1]), loop, dispatch("e", [6], [7])]), ["a", ["b+c", "d"], "e"]);
});

test("no more buffers than the adapter binds; one that several read counts once", () => {
  const list = [1, 2, 3, 4, 5].map((k) => dispatch(`${k}`, [0], [k]));
  assert.equal(labels(list, { maxBuffers: 4 }), ["1+2+3", "4+5"]);
});

test("no more workgroup memory than there is; what is declared alike counts once", () => {
  const memory = (length) => ({
    threads: 64,
    body: "tile[0] = 1.0;",
    more: { tile: "var<workgroup> tile: array<f32, LENGTH * 2u>;", LENGTH: `const LENGTH: u32 = ${length};` },
  });
  const list = [dispatch("a", [], [0], memory(1500)), dispatch("b", [], [1], memory(1500)), dispatch("c", [], [2], memory(1000))];
  assert.equal(labels(list), ["a+b", "c"]);
  assert.equal(labels(list, { maxWorkgroupBytes: 32768 }), ["a+b+c"]);
});

test("kernels with barriers need workgroups of their size, others run in any", () => {
  const barrier = { body: "workgroupBarrier();" };
  const list = [
    dispatch("a", [], [0], { threads: 64, ...barrier }),
    dispatch("b", [], [1], { threads: 256, ...barrier }),
    dispatch("c", [], [2], { threads: 128, groups: 3 }),
    dispatch("d", [], [3], { threads: 256, groups: 2, ...barrier }),
  ];
  assert.equal(labels(list), ["a+c", "b+d"]);
  const [first, second] = together(list, FEATURES);
  assert.equal(first.groups, [1 + 6, 1, 1]);
  assert.equal(second.groups, [1 + 2, 1, 1]);
});

test("large ones, and what has something unknown, stay alone", () => {
  const strange = dispatch("b", [], [1]);
  strange.declarations.set("main", strange.declarations.get("main").replace("local_invocation_index", "subgroup_size"));
  const list = [dispatch("a", [], [0], { groups: 5000 }), strange, dispatch("c", [], [2]), dispatch("d", [], [3])];
  assert.equal(labels(list), ["a", "b", "c+d"]);
});

test("names that mean several things get others, what means the same is there once", () => {
  const more = (value) => ({
    half: "fn half(x: f32) -> f32 { return x * FACTOR; }",
    FACTOR: `const FACTOR: f32 = ${value};`,
    one: "fn one() -> f32 { return 1.0; }",
  });
  const body = "let y = half(one());";
  const [{ text, groups, declared, entry }] = together(
    [dispatch("a", [0], [1], { more: more(0.5), body }), dispatch("b", [0], [2], { more: more(2), body })],
    FEATURES,
  );
  assert.is(entry, "batch");
  assert.equal(groups, [2, 1, 1]);
  assert.equal(
    declared.map((d) => d.writable),
    [false, true, true],
  );
  assert.is(text.match(/fn one\b/g).length, 1);
  assert.match(text, /fn half\(x: f32\) -> f32 \{ return x \* FACTOR; \}/);
  assert.match(text, /fn half_m1\(x: f32\) -> f32 \{ return x \* FACTOR_m1; \}/);
  assert.match(text, /let y = half_m1\(one\(\)\);/);
});

test("steps of equal layers share a text", async () => {
  const w = Array.from({ length: 4 }, (_, i) => numbers([8, 8], i));
  let encoded;
  const planned = Object.create(gpu, {
    compile: {
      value: async (plan) => {
        encoded = encode(plan, gpu.features);
        throw new Error("planned");
      },
    },
  });
  const program = compile((x) => w.reduce((y, v) => add(matmul(y, v), mul(sum(y, { axis: 0 }), 2)), x), { backend: planned });
  await program(numbers([5, 8])).catch(() => {});
  const texts = encoded.dispatches.filter((d) => d.entry === "batch").map((d) => d.text);
  assert.is(texts.length, 4);
  assert.is(new Set(texts).size, 1);
});

test.after(() => gpu.close());
test.run();

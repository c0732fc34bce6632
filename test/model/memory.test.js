/** Without a single dispose(): memory stays as it is however long one trains and predicts, and a step allocates nothing. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open } from "../../build/esm/init.js";
import { sequential } from "../../build/esm/model/model.js";
import { conv2d, dense, dropout, flatten, maxPool2d } from "../../build/esm/nn/index.js";
import { tensor } from "../../build/esm/tensor.js";
import { asTensor, batches, network, table } from "./helpers.js";

const backend = await open("wasm");
const data = table(45);
const quiet = { verbose: 0 };
/** What may come and go between two measurements: code that is compiled meanwhile, caches of the engine. */
const HEAP_SLACK = 1.5 * 2 ** 20;

/** Bytes of objects and of array buffers that are in use, after collecting and after finalizers have run. */
async function heap() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    await new Promise((done) => setTimeout(done, 10));
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Less is fine: a collection may free what earlier tests left. */
function assertNotAbove(after, before) {
  for (const key of ["linear", "buffers", "bytes"]) assert.ok(after[key] <= before[key], `${key}: ${after[key]}, before ${before[key]}`);
}

/**
 * @throws unless memory after `repeat` more runs of `work` is what it was after `first`, or less where earlier tests' leavings were
 * collected.
 */
async function assertFlat(first, repeat, work) {
  for (let i = 0; i < first; i++) await work(i);
  const objects = await heap();
  const before = backend.memory();
  for (let i = 0; i < repeat; i++) await work(first + i);
  const grown = (await heap()) - objects;
  const after = backend.memory();
  assertNotAbove(after, before);
  assert.ok(grown < HEAP_SLACK, `the heap grew by ${grown} bytes`);
}

test("the measurements see what is held", async () => {
  const [before, objects] = [backend.memory(), await heap()];
  const held = [];
  for (let i = 0; i < 20; i++) held.push(tensor(new Float32Array(50000)));
  held[0].upload(backend);
  assert.ok(backend.memory().buffers === before.buffers + 1 && backend.memory().bytes >= before.bytes + 200000);
  assert.ok((await heap()) - objects > HEAP_SLACK);
  held[0].dispose();
});

test("10,000 predictions", async () => {
  const m = network();
  const fresh = (i) => ({ data: Float32Array.of(i, 1, 2, 3), shape: [1, 4] });
  await assertFlat(1000, 9000, async (i) => {
    await (await m.predict(fresh(i))).data();
  });
});

test("predictions in several batches", async () => {
  const m = network();
  await assertFlat(20, 300, () => m.predict(data.x, { batchSize: 16 }));
});

test("1,000 steps in 28 calls of fit with fresh arrays, with validation and metrics", async () => {
  const m = sequential([dense(16, { activation: "relu" }), dropout(0.2), dense(1)], { inputShape: [4] });
  await m.compile({ loss: "mse", optimizer: "adam", metrics: ["mae"], backend });
  const copy = ({ data: d, shape }) => ({ data: d.slice(), shape });
  await assertFlat(4, 24, (seed) => m.fit(copy(data.x), copy(data.y), { epochs: 12, batchSize: 16, validationSplit: 0.2, seed, ...quiet }));
});

test("large arrays do not wait for the garbage collector", async () => {
  const m = sequential([flatten(), dense(1)], { inputShape: [64, 64] });
  await m.compile({ loss: "mse", backend });
  const fit = () =>
    m.fit({ data: new Float32Array(256 * 4096), shape: [256, 64, 64] }, { data: new Float32Array(256), shape: [256, 1] }, quiet);
  await fit();
  // What earlier tests left is collected here, so that the next call takes other places; from then on all take the same.
  await heap();
  await fit();
  const before = backend.memory();
  for (let i = 0; i < 20; i++) await fit();
  assertNotAbove(backend.memory(), before);
});

test("tensors that were trained on do not stay on the backend", async () => {
  const m = network();
  await m.compile({ loss: "mse", backend });
  const step = async () => {
    const [x, y] = [asTensor(data.x), asTensor(data.y)];
    await m.fit(x, y, quiet);
    await m.evaluate(x, y);
    return [x, y];
  };
  await step();
  await heap();
  const before = backend.memory();
  const held = [];
  for (let i = 0; i < 10; i++) held.push(await step());
  assertNotAbove(backend.memory(), before);
  assert.is(held.length, 10);
});

test("iterables of batches", async () => {
  const m = network();
  await m.compile({ loss: "mse", backend });
  await assertFlat(30, 150, () => m.fit(batches(data, 16), quiet));
});

test("models that go out of use give their memory back", async () => {
  await assertFlat(10, 60, async (seed) => {
    const m = network({ seed });
    await m.compile({ loss: "mse", backend });
    await m.fit(data.x, data.y, quiet);
    await m.predict(data.x);
    if (seed % 10 === 9) await heap();
  });
});

test("evaluate and save", async () => {
  const m = network();
  await m.compile({ loss: "mse", metrics: ["mae"], backend });
  await m.fit(data.x, data.y, quiet);
  await assertFlat(50, 200, async () => {
    await m.evaluate(data.x, data.y, { batchSize: 16 });
    await m.toBytes();
  });
});

/** The backend, counting allocations. */
function counting() {
  const counter = { allocations: 0 };
  const wrapped = { name: backend.name, limits: backend.limits };
  for (const method of ["free", "write", "read", "compile", "run", "sync", "close"])
    wrapped[method] = (...args) => backend[method](...args);
  wrapped.alloc = (bytes) => {
    counter.allocations++;
    return backend.alloc(bytes);
  };
  return { wrapped, counter };
}

const cnn = () =>
  sequential([conv2d(4, 3, { activation: "relu" }), maxPool2d(2), flatten(), dropout(0.5), dense(3, { activation: "softmax" })], {
    inputShape: [8, 8, 1],
  });

for (const [name, make, x, y, loss] of [
  ["a dense network", () => network({ rate: 0.2 }), data.x, data.y, "mse"],
  [
    "a convolutional network",
    cnn,
    { data: new Float32Array(45 * 64).fill(0.5), shape: [45, 8, 8, 1] },
    { data: new Int32Array(45).fill(1), shape: [45] },
    "sparseCategoricalCrossentropy",
  ],
]) {
  test(`${name}: after the first step of each shape nothing is allocated`, async () => {
    const { wrapped, counter } = counting();
    const m = make();
    await m.compile({ loss, optimizer: "adam", metrics: ["accuracy"], backend: wrapped });
    const counts = [];
    const memory = [];
    const watch = {
      onBatchEnd: () => {
        counts.push(counter.allocations);
        memory.push(JSON.stringify(backend.memory()));
      },
    };
    await m.fit(x, y, { epochs: 30, batchSize: 16, callbacks: [watch], ...quiet });
    assert.is(counts.length, 90);
    assert.ok(counts[0] > 0, "the first step allocates");
    // Step 2 is the first of the smaller last batch.
    assert.is(counts.at(-1), counts[2]);
    assert.is(memory.at(-1), memory[2]);
  });
}

test.after(() => backend.close());
test.run();

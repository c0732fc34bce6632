/**
 * Tests of the WebGPU backend itself: what it asks of the device (counted by wrapping it), device loss, closing, errors.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { create } from "webgpu";
import { compile } from "../../build/esm/compile.js";
import { BackendError, DeviceLostError } from "../../build/esm/errors.js";
import { assign } from "../../build/esm/graph.js";
import { open } from "../../build/esm/init.js";
import { dense } from "../../build/esm/nn/index.js";
import { sequential } from "../../build/esm/model/model.js";
import { add, exp, mul } from "../../build/esm/ops/map.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { tensor, zeros } from "../../build/esm/tensor.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { DAWN, masked, openGpu, withClock } from "./gpu.js";

/** GPUBufferUsage.MAP_READ */
const MAP_READ = 1;

/** A WebGPU entry point whose devices count calls, and which shows the device opened last. `limits`: instead of the adapter's own. */
function watched(limits = {}) {
  const gpu = create(DAWN);
  const watch = { device: null, counts: { submit: 0, createBuffer: 0, staging: 0, createBindGroup: 0, createComputePipelineAsync: 0 } };
  const count = (object, name) => {
    const own = object[name].bind(object);
    object[name] = (...args) => {
      watch.counts[args[0]?.usage & MAP_READ ? "staging" : name]++;
      return own(...args);
    };
  };
  watch.gpu = masked(gpu, {
    limits,
    onDevice(device) {
      for (const name of ["createBuffer", "createBindGroup", "createComputePipelineAsync"]) count(device, name);
      count(device.queue, "submit");
      watch.device = device;
    },
  });
  return watch;
}

const rejects = async (work, type, pattern) => {
  try {
    await work();
  } catch (error) {
    assert.instance(error, type);
    assert.match(error.message, pattern);
    return;
  }
  assert.unreachable("it did not throw");
};

test("a training step makes no buffer or bind group after the first", async () => {
  const watch = watched();
  const backend = await open("webgpu", { gpu: watch.gpu });
  const net = sequential([dense(8, { activation: "relu" }), dense(3, { activation: "softmax" })], { inputShape: [4], seed: 1 });
  await net.compile({ loss: "categoricalCrossentropy", optimizer: "adam", backend });
  const x = tensor(
    Float32Array.from({ length: 64 }, (_, i) => Math.fround((i % 7) / 7)),
    [16, 4],
  );
  const y = tensor(
    Float32Array.from({ length: 48 }, (_, i) => Number(i % 3 === Math.floor(i / 3) % 3)),
    [16, 3],
  );
  const steps = [];
  const onBatchEnd = () => void steps.push({ ...watch.counts });
  await net.fit(x, y, { batchSize: 4, epochs: 3, callbacks: [{ onBatchEnd }], recoverEvery: 0, verbose: 0 });
  assert.is(steps.length, 12);
  for (let i = 2; i < steps.length; i++) {
    assert.is(steps[i].createBindGroup, steps[1].createBindGroup, `bind groups at step ${i}`);
    assert.is(steps[i].createBuffer, steps[1].createBuffer, `buffers at step ${i}`);
    // The end of the first epoch reads more at once than a step does.
    assert.is(steps[i].staging, steps[i < 4 ? 1 : 4].staging, `staging buffers at step ${i}`);
    assert.is(steps[i].createComputePipelineAsync, steps[1].createComputePipelineAsync, `pipelines at step ${i}`);
  }
  net.dispose();
  backend.close();
});

test("steps of an epoch share submissions where they are short, and come to the same bits", async () => {
  const x = tensor(
    Float32Array.from({ length: 160 }, (_, i) => Math.fround((i % 7) / 7)),
    [40, 4],
  );
  const y = tensor(Float32Array.from({ length: 40 }, (_, i) => Math.fround((i % 5) / 5)));
  const trained = (clock) =>
    withClock(clock, async () => {
      const backend = await openGpu();
      const net = sequential([dense(8, { activation: "relu" }), dense(1)], { inputShape: [4], seed: 1 });
      await net.compile({ loss: "mse", optimizer: "adam", backend });
      const before = backend.statistics();
      const { history } = await net.fit(x, y, { batchSize: 1, verbose: 0, recoverEvery: 0 });
      const evaluated = await net.evaluate(x, y, { batchSize: 1 });
      const { runs, submits } = backend.statistics();
      assert.is(runs - before.runs, 80);
      const predicted = await (await net.predict(x, { batchSize: 8 })).data();
      const weights = await Promise.all((await net.getWeights()).map((t) => t.data()));
      await backend.close();
      return { bits: [history.loss, evaluated, predicted, weights], submits: submits - before.submits };
    });
  const long = await trained(1000);
  const short = await trained(0);
  assert.equal(short.bits, long.bits);
  assert.ok(long.submits >= 80 && short.submits < 80 / 3, `${long.submits} submits of long runs, ${short.submits} of short ones`);
});

test("a run that takes its time is one submission, results are pooled", () =>
  withClock(1000, async () => {
    const watch = watched();
    const backend = await open("webgpu", { gpu: watch.gpu });
    const w = zeros([5]);
    const step = compile(
      (x) => {
        assign(w, add(w, x));
        return sum(exp(mul(x, w)));
      },
      { backend },
    );
    const x = tensor([1, 2, 3, 4, 5]);
    for (let i = 0; i < 2; i++) (await step(x)).dispose();
    const before = { ...watch.counts };
    for (let i = 0; i < 5; i++) (await step(x)).dispose();
    assert.equal(watch.counts, { ...before, submit: before.submit + 5 });
    assert.equal([...(await w.data())], [7, 14, 21, 28, 35]);
    backend.close();
  }));

/** A function that adds to what it has, on a device that says that it is done only when it is let, by `held` in turn. */
async function occupied() {
  const watch = watched();
  const backend = await open("webgpu", { gpu: watch.gpu });
  const w = tensor([1]);
  const step = compile(
    (x) => {
      assign(w, add(mul(w, 2), x));
      return mul(w, 1);
    },
    { backend },
  );
  await step(tensor([0]));
  await backend.sync();
  const { queue } = watch.device;
  const own = queue.onSubmittedWorkDone.bind(queue);
  const held = [];
  queue.onSubmittedWorkDone = () => new Promise((done) => held.push(() => own().then(done)));
  const release = () => {
    queue.onSubmittedWorkDone = own;
    for (const done of held.splice(0)) done();
  };
  return { watch, backend, w, step, held, release, submits: () => backend.statistics().submits };
}

const turn = () => new Promise((done) => setTimeout(done, 20));

test("calls that nobody waits for run in order, and a few of them at a time", () =>
  withClock(1000, async () => {
    const { watch, backend, w, step, held } = await occupied();
    const before = watch.counts.submit;
    const calls = Array.from({ length: 12 }, (_, i) => step(tensor([i])));
    await turn();
    assert.is(watch.counts.submit - before, 3);
    for (let i = 0; i < 12; i++) {
      held[i]();
      await calls[Math.min(i + 3, 11)];
      assert.is(watch.counts.submit - before, Math.min(i + 4, 12));
    }
    let want = 2;
    for (let i = 0; i < 12; i++) {
      assert.is(await (await calls[i]).item(), want);
      want = 2 * want + i;
    }
    assert.is(await w.item(), want);
    backend.close();
  }));

test("short runs share submissions while the device is busy: they go with what is read, or when the turn ends", () =>
  withClock(0, async () => {
    const { backend, w, step, release, submits } = await occupied();
    const x = tensor([3]);
    // So that nothing is written in between.
    x.upload(backend);
    const before = submits();
    const made = [];
    for (let i = 0; i < 3; i++) made.push(await step(x));
    assert.is(submits() - before, 1);
    await turn();
    assert.is(submits() - before, 2);
    made.push(await step(x));
    assert.is(submits() - before, 2);
    const last = made[3].item();
    await turn();
    assert.is(submits() - before, 3);
    assert.is(await last, 37);
    release();
    const values = [];
    for (const y of made) values.push(await y.item());
    assert.equal(values, [2, 7, 17, 37]);
    assert.is(await w.item(), 77);
    await backend.close();
  }));

test("many dispatches are submitted before the turn ends", () =>
  withClock(0, async () => {
    const backend = await openGpu();
    const w = tensor([1, 2, 3, 4]);
    // Sums wait for each other.
    const step = compile(
      () => {
        let y = w;
        for (let i = 0; i < 20; i++) y = mul(w, add(sum(y), i));
        assign(w, mul(y, 1e-30));
      },
      { backend },
    );
    await step();
    await backend.sync();
    const before = backend.statistics();
    // At most 128 dispatches together, and the first run at once.
    const together = Math.floor(128 / before.dispatches);
    assert.ok(before.dispatches > 16 && together > 1, `${before.dispatches} dispatches`);
    for (let i = 0; i < 1 + 2 * together; i++) await step();
    const { dispatches, submits } = backend.statistics();
    assert.is(dispatches, before.dispatches * (2 + 2 * together));
    assert.is(submits - before.submits, 3);
    await backend.sync();
    backend.close();
  }));

test("writes, freed buffers and closed programs have what was run before them submitted", () =>
  withClock(0, async () => {
    const { backend, w, step, release, submits } = await occupied();
    const x = tensor([3]);
    x.upload(backend);
    // One that is on its way, and one that waits.
    (await step(x)).dispose();
    (await step(x)).dispose();
    const before = submits();
    w.set([5]);
    assert.is(submits(), before + 1);
    const made = await step(x);
    assert.is(submits(), before + 1);
    made.dispose();
    x.dispose();
    step.close();
    // More than are kept: those that were freed first, which the run uses, are destroyed.
    const many = Array.from({ length: 600 }, () => backend.alloc(12));
    for (const b of many) backend.free(b);
    assert.is(submits(), before + 2);
    release();
    await backend.sync();
    assert.is(await w.item(), 13);
    await backend.close();
  }));

test("what waits to be submitted is not lost when the backend is closed", () =>
  withClock(0, async () => {
    const { backend, w, step, submits } = await occupied();
    const x = tensor([3]);
    x.upload(backend);
    await step(x);
    const before = submits();
    await step(x);
    assert.is(submits(), before);
    await backend.close();
    assert.is(await w.item(), 17);
  }));

test("equal shaders share a pipeline", async () => {
  const watch = watched();
  const backend = await open("webgpu", { gpu: watch.gpu });
  const f = (c) => compile((x) => sum(mul(x, c)), { backend });
  const x = tensor([1, 2, 3]);
  assert.is(await (await f(2)(x)).item(), 12);
  const { createComputePipelineAsync: made } = watch.counts;
  assert.is(await (await f(2)(x)).item(), 12);
  assert.is(watch.counts.createComputePipelineAsync, made);
  backend.close();
});

test("one tensor as an argument and as what is assigned", async () => {
  const backend = await openGpu();
  const w = tensor([1, 2, 3]);
  const step = compile(
    (x) => {
      assign(w, mul(x, 2));
      return add(x, w);
    },
    { backend },
  );
  assert.equal([...(await (await step(w)).data())], [2, 4, 6]);
  assert.equal([...(await (await step(w)).data())], [4, 8, 12]);
  assert.equal([...(await w.data())], [4, 8, 12]);
  backend.close();
});

test("reads see what was enqueued before them and nothing later", async () => {
  const backend = await openGpu();
  const buffer = backend.alloc(8);
  backend.write(buffer, 0, Float32Array.of(1, 2));
  const first = backend.read(buffer, 0, 8);
  backend.write(buffer, 4, Float32Array.of(3));
  const second = backend.read(buffer, 4, 4);
  assert.equal([...new Float32Array(await first)], [1, 2]);
  assert.equal([...new Float32Array(await second)], [3]);
  assert.is((await backend.read(buffer, 0, 0)).byteLength, 0);
  backend.free(buffer);
  assert.equal(backend.memory(), { buffers: 0, bytes: 0 });
  backend.close();
});

test("a lost device: every later call says so, and nothing hangs", async () => {
  const watch = watched();
  const backend = await open("webgpu", { gpu: watch.gpu });
  const step = compile((x) => sum(exp(x)), { backend });
  const x = tensor([1, 2, 3]);
  const y = await step(x);
  const pending = y.data();
  watch.device.destroy();
  await pending.then(
    () => {},
    (error) => assert.instance(error, DeviceLostError),
  );
  await rejects(async () => (await step(x)).data(), DeviceLostError, /device was lost \(destroyed\)/);
  await rejects(async () => backend.alloc(4), DeviceLostError, /was lost/);
  await rejects(() => backend.sync(), DeviceLostError, /was lost/);
  const again = await backend.reopen();
  const buffer = again.alloc(4);
  again.write(buffer, 0, Int32Array.of(7));
  assert.is(new Int32Array(await again.read(buffer, 0, 4))[0], 7);
  backend.close();
  again.close();
});

test("waiting calls end when the backend is closed", async () => {
  const backend = await openGpu();
  const buffer = backend.alloc(4);
  const pending = backend.read(buffer, 0, 4);
  backend.close();
  await rejects(() => pending, BackendError, /closed/);
  await rejects(async () => backend.alloc(4), BackendError, /alloc after close/);
});

test("a tensor that does not fit says so with the numbers, before anything runs", async () => {
  const most = 2 ** 27;
  const backend = await open("webgpu", { gpu: watched({ maxStorageBufferBindingSize: most }).gpu });
  assert.is(backend.limits.maxBytes, most);
  await rejects(async () => backend.alloc(most + 4), BackendError, /134217732 bytes.*134217728/);
  const plan = {
    bindings: [{ kind: "input", shape: [most / 4 + 1], dtype: "f32", bytes: most + 4, written: false }],
    slots: [],
    calls: [],
  };
  await rejects(() => backend.compile(plan), BackendError, /f32\[33554433\] \(input\) needs 134217732 bytes.*134217728/);
  backend.close();
});

test("an adapter with few bindings gets smaller fused bodies", async () => {
  const backend = await open("webgpu", { gpu: watched({ maxStorageBuffersPerShaderStage: 8 }).gpu });
  assert.is(backend.limits.maxOperands, 8);
  const f = compile((...xs) => xs.reduce((a, x) => add(a, x)), { backend });
  const xs = Array.from({ length: 15 }, (_, i) => tensor([i, 1]));
  assert.equal([...(await (await f(...xs)).data())], [105, 15]);
  backend.close();
});

test("dispatches of more than 65,535 groups are folded", () => {
  const place = (index) => ({ space: "binding", index, offset: 0 });
  const size = 65536 * 64 * 3 + 1;
  const y = { place: place(0), shape: [size], dtype: "f32" };
  const plan = { bindings: [], slots: [], calls: [{ kernel: "fill", inputs: [], outputs: [y], attrs: { value: 1 }, source: "" }] };
  const { dispatches } = encode(plan, {
    subgroupSize: 0,
    software: false,
    maxWorkgroupSize: 256,
    maxWorkgroupBytes: 16384,
    maxBuffers: 8,
    maxGroups: 65535,
  });
  const [x, rows, layers] = dispatches[0].groups;
  assert.ok(x <= 65535 && rows <= 65535 && layers === 1 && x * rows >= size / 64);
});

test("a folded dispatch reaches every element", async () => {
  const backend = await openGpu();
  const n = 65536 * 64 + 3;
  const f = compile(() => sum(mul(zeros([n]), 0)), { backend });
  assert.is(await (await f()).item(), 0);
  const g = compile((x) => add(x, 1), { backend });
  const y = await (await g(zeros([n]))).data();
  assert.is(y.length, n);
  assert.ok(y.every((v) => v === 1));
  backend.close();
});

const script = (body, ...flags) =>
  promisify(execFile)(process.execPath, [...flags, "--input-type=module", "--eval", body], {
    cwd: new URL("../..", import.meta.url),
    timeout: 30000,
  });

test("the process ends after close()", async () => {
  const { stdout } = await script(
    'import { open } from "./build/esm/init.js"; const b = await open("webgpu"); const x = b.alloc(4); b.write(x, 0, ' +
      "Int32Array.of(5)); console.log(new Int32Array(await b.read(x, 0, 4))[0]); b.close();",
  );
  assert.is(stdout.trim(), "5");
});

test("closing with a read under way: collecting garbage does not take the ground from under Dawn", async () => {
  const { stdout } = await script(
    `
    import { setImmediate, setTimeout } from "node:timers/promises";
    import { open } from "./build/esm/init.js";
    for (let i = 0; i < 5; i++) {
      const b = await open("webgpu");
      const read = b.read(b.alloc(4), 0, 4);
      await null; // the copy is submitted and mapped
      await null;
      b.close();
      await read.catch((error) => console.log(error.constructor.name));
      for (let j = 0; j < 5; j++) {
        gc();
        await setImmediate();
      }
      await setTimeout(20);
    }`,
    "--expose-gc",
  );
  assert.equal(
    stdout.trim().split("\n"),
    Array.from({ length: 5 }, () => "BackendError"),
  );
});

test("a missing adapter is an error that says what to do", async () => {
  await rejects(() => open("webgpu", { gpu: { requestAdapter: async () => null } }), BackendError, /no adapter was found.*open\("wasm"\)/);
});

test.run();

/** What the GPU holds is bounded, and what only it has is brought home when it is closed. On a device that counts buffers. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { adam, add, assign, compile, dense, mul, open, sequential, sum, tensor, zeros } from "../../build/esm/index.js";
import { entryPoint, masked, openGpu } from "./gpu.js";

const quiet = { verbose: 0 };
const x = tensor(
  Float32Array.from({ length: 160 }, (_, i) => ((i * 37) % 101) / 101),
  [40, 4],
);
const y = tensor(
  Float32Array.from({ length: 40 }, (_, i) => ((i * 13) % 7) / 7),
  [40, 1],
);

/** A backend, its device, and how many buffers there are and pipelines were made. */
async function counted() {
  const seen = { alive: 0, created: 0, pipelines: 0, device: null };
  const gpu = masked(await entryPoint(), {
    onDevice(device) {
      seen.device = device;
      const createBuffer = device.createBuffer.bind(device);
      device.createBuffer = (descriptor) => {
        const buffer = createBuffer(descriptor);
        const destroy = buffer.destroy.bind(buffer);
        let there = true;
        buffer.destroy = () => {
          if (there) seen.alive--;
          there = false;
          destroy();
        };
        seen.alive++;
        seen.created++;
        return buffer;
      };
      const create = device.createComputePipelineAsync.bind(device);
      device.createComputePipelineAsync = (descriptor) => {
        seen.pipelines++;
        return create(descriptor);
      };
    },
  });
  return { backend: await openGpu({ gpu }), seen };
}

test("many shapes: programs, buffers and pipelines make room for others", async () => {
  const { backend, seen } = await counted();
  const f = compile((a) => mul(add(a, 1), 2), { warnAfter: Infinity });
  const SHAPES = 1100;
  for (let n = 1; n <= SHAPES; n++) {
    const out = await f(zeros([n]));
    assert.is((await out.data())[n - 1], 2);
    out.dispose();
    if (n % 4 === 0) assert.is((await add(zeros([n]), 1).data())[n - 1], 1);
  }
  assert.ok(seen.created > SHAPES, `${seen.created} buffers were made`);
  assert.ok(seen.alive < 2300, `${seen.alive} buffers are alive`);
  assert.ok(backend.memory().buffers < 1800, `${backend.memory().buffers} in use`);
  const before = seen.pipelines;
  await f(zeros([1]));
  assert.is(seen.pipelines, before + 1, "the first pipeline had to go");
  await f(zeros([SHAPES]));
  assert.is(seen.pipelines, before + 1, "the last is there");
  f.close();
  await backend.close();
});

async function trained(backend) {
  const model = sequential([dense(8, { activation: "tanh" }), dense(1)], { inputShape: [4], seed: 2 });
  await model.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), backend });
  return model;
}
const numbers = async (model) => Promise.all((await model.getWeights()).map(async (t) => [...(await t.data())]));
const near = (a, b) => a.every((v, i) => Math.abs(v - b[i]) < 1e-5);

test("close(): models and tensors go on, on the CPU and on another device", async () => {
  const gpu = await openGpu();
  const model = await trained(gpu);
  await model.fit(x, y, { epochs: 2, batchSize: 16, seed: 5, ...quiet });
  const predicted = await (await model.predict(x)).data();
  const w = zeros([3]);
  const step = compile((a) => {
    assign(w, add(w, a));
    return mul(a, 2);
  });
  const made = await step(tensor([1, 2, 3]));
  await gpu.close();
  assert.equal([...(await made.data())], [2, 4, 6]);
  assert.equal([...(await w.data())], [1, 2, 3]);
  const cpu = await open("wasm", { reproducible: true, threads: 1 });
  assert.ok(near(await (await model.predict(x)).data(), predicted));
  assert.equal([...(await (await step(tensor([1, 1, 1]))).data())], [2, 2, 2]);
  await model.fit(x, y, { epochs: 3, initialEpoch: 2, batchSize: 16, seed: 5, ...quiet });
  await cpu.close();
  const again = await openGpu();
  await model.fit(x, y, { epochs: 4, initialEpoch: 3, batchSize: 16, seed: 5, ...quiet });
  assert.equal([...(await w.data())], [2, 3, 4]);
  await step(tensor([1, 1, 1]));
  assert.equal([...(await w.data())], [3, 4, 5]);
  // Nobody waits for close(): the numbers come all the same.
  void again.close();
  const weights = await numbers(model);

  const whole = await open("wasm", { reproducible: true, threads: 1 });
  const other = await trained(whole);
  await other.fit(x, y, { epochs: 4, batchSize: 16, seed: 5, ...quiet });
  const expected = await numbers(other);
  weights.forEach((list, i) => assert.ok(list.every((v, k) => Math.abs(v - expected[i][k]) < 1e-4)));
  whole.close();
});

test("weights after fit survive a lost device", async () => {
  const { backend, seen } = await counted();
  const model = await trained(backend);
  await model.fit(x, y, { epochs: 2, batchSize: 16, ...quiet });
  const predicted = await (await model.predict(x)).data();
  const steps = await model.optimizer.iterations.item();
  seen.device.destroy();
  await seen.device.lost;
  const cpu = await open("wasm", { threads: 1 });
  assert.ok(near(await (await model.predict(x)).data(), predicted));
  await model.fit(x, y, { epochs: 1, batchSize: 16, ...quiet });
  assert.is(await model.optimizer.iterations.item(), steps + 3);
  assert.is((await (await compile(() => sum(add(model.weights[1].tensor, 1)))()).item()) > 0, true);
  backend.close();
  cpu.close();
});

test("switching from the GPU to the CPU and back with one model", async () => {
  const gpu = await openGpu();
  const cpu = await open("wasm", { threads: 1 });
  const model = await trained(gpu);
  let before = null;
  for (const backend of [gpu, cpu, gpu, cpu]) {
    await model.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), backend });
    const predicted = await (await model.predict(x)).data();
    if (before !== null) assert.ok(near(predicted, before));
    await model.fit(x, y, { epochs: 1, batchSize: 16, ...quiet });
    before = await (await model.predict(x)).data();
  }
  await gpu.close();
  cpu.close();
});

test.run();

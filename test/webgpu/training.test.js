/**
 * @file The three networks and a small GPT trained on the GPU and on the CPU from one seed, and the choice that `auto` makes. A software
 * adapter takes a second for a step of the CNN, so that one runs fewer steps; LOCKSTEP_STEPS=50 runs all of them as long.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { MODELS, prepare } from "../../bench/models.js";
import { create, globals } from "webgpu";
import {
  adam,
  adamw,
  assign,
  auc,
  compile,
  dense,
  dropout,
  layerNorm,
  layerStack,
  open,
  randomBernoulli,
  sequential,
  sparseCategoricalCrossentropy,
  tensor,
  tokenAndPositionEmbedding,
  transformerDecoder,
  zeros,
} from "../../build/esm/index.js";
import { DAWN, openGpu } from "./gpu.js";

Object.assign(globalThis, globals);
const gpu = await openGpu();
const cpu = await open("wasm", { threads: 1 });
const STEPS = { FFN: 50, LSTM: 50, CNN: 6, GPT: 50 };

/** A small GPT with dropout and, in a loop, layers that are stacked, and rows of numbers of which each follows from the one before. */
async function gpt(backend) {
  const block = () => transformerDecoder(32, 2, { dropout: 0.1, normalizeFirst: true, activation: "gelu" });
  const model = sequential([tokenAndPositionEmbedding(13, 12, 16), block(), layerStack(block(), 2), layerNorm(), dense(13)], {
    inputShape: [12],
    seed: 5,
  });
  const optimizer = adamw({ learningRate: 3e-3, globalClipNorm: 1 });
  await model.compile({ loss: sparseCategoricalCrossentropy({ fromLogits: true }), optimizer, backend });
  const numbers = (from) =>
    tensor(
      Int32Array.from({ length: 64 * 12 }, (_, i) => (5 * (Math.floor(i / 12) + (i % 12) + from)) % 13),
      [64, 12],
    );
  return { model, x: numbers(0), y: numbers(1) };
}

async function losses(name, backend, steps) {
  const { model, x, y } = await (name === "GPT" ? gpt(backend) : prepare(name, backend));
  const seen = [];
  const record = {
    onBatchEnd(_step, { loss }, training) {
      seen.push(loss);
      if (seen.length >= steps) training.stop();
    },
  };
  await model.fit(x, y, { epochs: steps, batchSize: 32, seed: 1, verbose: 0, callbacks: [record] });
  return { seen, model };
}

for (const name of [...Object.keys(MODELS), "GPT"]) {
  test(`${name}: losses on both backends agree within 1 %`, async () => {
    const steps = Number(process.env.LOCKSTEP_STEPS ?? STEPS[name]);
    const [onGpu, onCpu] = [await losses(name, gpu, steps), await losses(name, cpu, steps)];
    assert.is(onGpu.seen.length, steps);
    onGpu.seen.forEach((loss, i) =>
      assert.ok(
        Math.abs(loss - onCpu.seen[i]) <= 0.01 * Math.abs(onCpu.seen[i]),
        `step ${i}: ${loss} on the GPU, ${onCpu.seen[i]} on the CPU`,
      ),
    );
    // What was trained can be read, and is not what it began with.
    const [a, b] = [await (await onGpu.model.getWeights())[0].data(), await (await onCpu.model.getWeights())[0].data()];
    assert.ok(a.every((v, i) => Math.abs(v - b[i]) < 0.01));
    onGpu.model.dispose();
    onCpu.model.dispose();
  });
}

test("random numbers and initial weights are the same bits", async () => {
  const key = tensor(Uint32Array.of(7, 1, 42, 0));
  const draw = (backend) => compile((k) => randomBernoulli(k, 0.3, [4099], { stream: 5 }), { backend })(key);
  assert.equal(await (await draw(gpu)).data(), await (await draw(cpu)).data());
  const weights = async (backend) => {
    const model = sequential([dense(16), dropout(0.5), dense(4)], { inputShape: [8], seed: 11 });
    await model.compile({ loss: "mse", backend });
    return Promise.all((await model.getWeights()).map((w) => w.data()));
  };
  assert.equal(await weights(gpu), await weights(cpu));
});

test("auc counts the same on both backends", async () => {
  const scores = (batch) =>
    tensor(
      Float32Array.from({ length: 300 }, (_, i) => Math.fround(((i * 37 + batch * 11) % 101) / 101)),
      [300, 1],
    );
  const labels = (batch) =>
    tensor(
      Float32Array.from({ length: 300 }, (_, i) => Number(((i * 37 + batch * 11) % 101) + ((i * 13) % 60) > 90)),
      [300, 1],
    );
  for (const metric of [auc(), auc({ curve: "PR" })]) {
    const counted = async (backend) => {
      const state = metric.state.map((s) => zeros(s.shape, s.dtype));
      const step = compile((y, p) => metric.update(y, p, state).forEach((next, i) => assign(state[i], next)), { backend });
      for (const batch of [0, 1, 2]) await step(labels(batch), scores(batch));
      const counts = await Promise.all(state.map((s) => s.data()));
      step.close();
      return { counts: counts.map((c) => [...c]), area: metric.result(counts) };
    };
    const [onGpu, onCpu] = [await counted(gpu), await counted(cpu)];
    assert.is(
      onCpu.counts[0].reduce((a, b) => a + b),
      900,
    );
    assert.equal(onGpu, onCpu);
    assert.ok(onCpu.area > 0.6 && onCpu.area < 0.99, `${onCpu.area}`);
  }
});

test("auto: times both backends, takes one, says which, and leaves no trace", async () => {
  const x = tensor(
    Float32Array.from({ length: 256 }, (_, i) => i / 256),
    [64, 4],
  );
  const y = tensor(
    Float32Array.from({ length: 64 }, (_, i) => i / 64),
    [64, 1],
  );
  let said = "";
  const stream = { write: (text) => (said += text) };
  const trained = async (backend, options) => {
    const model = sequential([dense(8, { activation: "tanh" }), dropout(0.1), dense(1)], { inputShape: [4], seed: 2 });
    await model.compile({ loss: "mse", optimizer: adam(), metrics: ["mae"], backend });
    const { history } = await model.fit(x, y, { epochs: 3, batchSize: 16, seed: 4, ...options });
    return { history, weights: await Promise.all((await model.getWeights()).map(async (w) => [...(await w.data())])) };
  };
  const chosen = await trained("auto", { stream });
  assert.match(said, /^backend: (wasm|webgpu) \(\d+\.\d\d ms a step; (webgpu|wasm) \d+\.\d\d ms\)\n/);
  const plain = await trained(/^backend: wasm/.test(said) ? "wasm" : "webgpu", { verbose: 0 });
  assert.equal(chosen, plain);
});

test("device.destroy() in the middle of fit: training goes on on a new device, with the same weights", async () => {
  const x = tensor(
    Float32Array.from({ length: 256 }, (_, i) => i / 256),
    [64, 4],
  );
  const y = tensor(
    Float32Array.from({ length: 64 }, (_, i) => i / 64),
    [64, 1],
  );
  /** The entry point with its newest device in sight. */
  const watched = () => {
    const entry = create([...DAWN]);
    const seen = {
      device: null,
      opened: 0,
      gpu: {
        requestAdapter: async (options) => {
          const adapter = await entry.requestAdapter(options);
          const request = adapter.requestDevice.bind(adapter);
          adapter.requestDevice = async (descriptor) => {
            seen.opened++;
            return (seen.device = await request(descriptor));
          };
          return adapter;
        },
      },
    };
    return seen;
  };
  const trained = async (destroyAt) => {
    const seen = watched();
    const backend = await open("webgpu", { gpu: seen.gpu });
    let last = backend;
    const reopen = backend.reopen.bind(backend);
    backend.reopen = async () => (last = await reopen());
    const model = sequential([dense(8, { activation: "tanh" }), dropout(0.1), dense(1)], { inputShape: [4], seed: 2 });
    await model.compile({ loss: "mse", optimizer: adam(), backend });
    let steps = 0;
    const saboteur = { onBatchEnd: () => void (++steps === destroyAt && seen.device.destroy()) };
    const { history } = await model.fit(x, y, { epochs: 3, batchSize: 16, seed: 4, verbose: 0, recoverEvery: 3, callbacks: [saboteur] });
    const weights = await Promise.all((await model.getWeights()).map(async (w) => [...(await w.data())]));
    for (const b of new Set([backend, last])) b.close();
    return { history, weights, opened: seen.opened };
  };
  const { warn } = console;
  const said = [];
  console.warn = (text) => said.push(text);
  try {
    const [whole, broken] = [await trained(0), await trained(6)];
    assert.is(whole.opened, 1);
    assert.is(broken.opened, 2);
    assert.match(said.join("\n"), /training goes on from step \d+ of the epoch on webgpu/);
    assert.equal(broken.weights, whole.weights);
    assert.equal(broken.history, whole.history);
  } finally {
    console.warn = warn;
  }
});

test.after(() => {
  gpu.close();
  cpu.close();
});

test.run();

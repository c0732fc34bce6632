/**
 * Tests of memory above 2 GiB, where addresses are above 2^31: the same bits as below, with threads and without, in the background and
 * not.
 */
import { freemem } from "node:os";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { MODELS } from "../../bench/models.js";
import { avgPool2d, conv2d, dense, embedding, flatten, gru, layerNorm, open, reshape, sequential, sgd, tensor } from "lockstep";

const GIB = 2 ** 30;
/** What is below 2^31 and never written: its pages cost nothing. */
const BELOW = 2.2 * GIB;
/** Some systems count reserved pages as used. */
const NEEDED = 4 * GIB;

const noise = (n, seed) => Float32Array.from({ length: n }, (_, i) => (((i + seed) * 7919) % 10007) / 10007 - 0.5);

/** Weights after some training of networks that use most kernels. */
async function trained(backend) {
  const found = {};
  const fit = async (name, model, { loss, optimizer }, x, y) => {
    await model.compile({ loss, optimizer, backend });
    const options = { batchSize: 32, seed: 3, verbose: 0 };
    await model.fit(x, y, { ...options, epochs: 1 });
    // From here on with the workers, which have started.
    await backend.warm();
    await model.fit(x, y, { ...options, epochs: 2, initialEpoch: 1 });
    found[name] = [...(await Promise.all((await model.getWeights()).map((w) => w.data()))), await (await model.predict(x)).data()];
  };
  for (const [name, { make, compile, input, target }] of Object.entries(MODELS)) {
    const y = target(64);
    const options = { loss: compile.loss, optimizer: compile.optimizer() };
    await fit(name, make(), options, tensor(noise(64 * input.reduce((a, b) => a * b, 1), 1), [64, ...input]), tensor(y.data, y.shape));
  }
  const words = tensor(
    Int32Array.from({ length: 64 * 16 }, (_, i) => (i * 31) % 50),
    [64, 16],
  );
  const text = sequential(
    [embedding(50, 32), layerNorm(), gru(64), dense(128, { activation: "gelu" }), dense(3, { activation: "softmax" })],
    { inputShape: [16] },
  );
  await fit(
    "text",
    text,
    { loss: "sparseCategoricalCrossentropy", optimizer: sgd() },
    words,
    tensor(Int32Array.from({ length: 64 }, (_, i) => i % 3)),
  );
  const image = sequential([reshape([16, 16, 1]), conv2d(16, 5, { strides: 2, padding: "same" }), avgPool2d(2), flatten(), dense(4)], {
    inputShape: [256],
  });
  await fit("image", image, { loss: "mse", optimizer: sgd() }, tensor(noise(64 * 256, 5), [64, 256]), tensor(noise(64 * 4, 6), [64, 4]));
  return found;
}

const short = freemem() < NEEDED;
if (short) console.log(`skipped: memory above 2 GiB: ${(freemem() / GIB).toFixed(1)} GiB are free, ${NEEDED / GIB} are needed`);
const run = short ? test.skip : test;

let low = null;
for (const [threads, background] of [[1, false], [1, true], [2, false], [2, true]]) {
  run(`memory above 2 GiB, threads: ${threads}, background: ${background}: training gives the same bits`, async () => {
    if (low === null) {
      const backend = await open("wasm", { threads: 1 });
      low = await trained(backend);
      backend.close();
    }
    const backend = await open("wasm", { threads, background });
    try {
      const below = backend.alloc(BELOW);
      const high = await trained(backend);
      assert.ok(backend.memory().linear > 2 * GIB);
      assert.is(backend.activeThreads, threads);
      for (const [name, tensors] of Object.entries(low)) {
        tensors.forEach((t, i) =>
          assert.ok(Buffer.from(t.buffer).equals(Buffer.from(high[name][i].buffer)), `${name}: tensor ${i} differs`),
        );
      }
      backend.free(below);
    } finally {
      backend.close();
    }
  });
}

run("above 2 GiB bytes are written and read back, and new memory is zero", async () => {
  const backend = await open("wasm", { threads: 1 });
  const below = backend.alloc(BELOW);
  const here = backend.alloc(4096);
  assert.ok(here.address > 2 ** 31);
  assert.ok(new Uint8Array(await backend.read(here, 0, 4096)).every((b) => b === 0));
  const x = noise(1024, 9);
  backend.write(here, 0, x);
  assert.equal(new Float32Array(await backend.read(here, 0, 4096)), x);
  backend.free(below);
  backend.close();
});

test.run();

/**
 * Bytes on the GPU: every case that takes i32 gives the same for elements stored as bytes, models train and predict as on f32, and the
 * data set takes its bytes alone.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { sequential } from "../../build/esm/model/model.js";
import { conv2d, dense, flatten } from "../../build/esm/nn/index.js";
import { div } from "../../build/esm/ops/map.js";
import { tensor } from "../../build/esm/tensor.js";
import { allCases, runOnce, traceForward } from "../ops/harness.js";
import { fingerprint } from "../model/helpers.js";
import { openGpu } from "./gpu.js";
import { checkForward } from "./ops.js";

const gpu = await openGpu();
const quiet = { verbose: 0 };
const bytes = (count) => Uint8Array.from({ length: count }, (_, i) => (i * i * 31 + i * 7) >> 3);

test("the last bytes are written too, whatever their number", async () => {
  for (const size of [1, 2, 3, 4, 5, 17, 1027]) {
    const data = bytes(size + 3).subarray(3);
    const t = tensor(data);
    const buffer = t.upload(gpu);
    assert.equal(new Uint8Array(await gpu.read(buffer, 0, buffer.bytes)).slice(0, size), data.slice());
    t.dispose();
  }
});

test("cases of elements stored as bytes", async () => {
  const stored = Object.values(await allCases())
    .flat()
    .filter(({ inputs }) => inputs.some((spec) => spec.storage === "u8"));
  assert.ok(stored.length > 25);
  for (const c of stored) await checkForward(gpu, c);
});

for (const family of ["gather", "move", "reduce", "softmax"]) {
  test(`${family}: bytes and words give the same`, async () => {
    for (const c of (await allCases())[family].filter(({ inputs }) =>
      inputs.some((spec) => spec.dtype === "i32" && !spec.list && spec.low >= 0 && spec.high < 256),
    )) {
      const inputs = c.inputs.map((spec) =>
        spec.dtype === "i32" && !spec.list && spec.low >= 0 && spec.high < 256 ? { ...spec, storage: "u8" } : spec,
      );
      const words = inputs.map(({ storage, ...spec }) => (storage === "u8" ? spec : { ...spec, storage }));
      assert.equal(
        await runOnce(gpu, traceForward({ ...c, inputs })),
        await runOnce(gpu, traceForward({ ...c, inputs: words })),
        `${c.op}, ${c.name}`,
      );
    }
  });
}

test("fit, evaluate and predict on images of bytes: as on f32, bit for bit", async () => {
  // A sample has 45 bytes: rows begin anywhere in a word.
  const samples = 23;
  const shape = [samples, 5, 3, 3];
  const run = async (Kind) => {
    const m = sequential([(x) => div(x, 255), conv2d(4, 3, { activation: "relu" }), flatten(), dense(3, { activation: "softmax" })], {
      inputShape: [5, 3, 3],
      seed: 1,
    });
    await m.compile({ loss: "sparseCategoricalCrossentropy", optimizer: "adam", backend: gpu });
    const x = { data: Kind.from(bytes(samples * 45)), shape };
    const y = { data: Uint8Array.from({ length: samples }, (_, i) => i % 3), shape: [samples] };
    const before = gpu.memory().bytes;
    let during = Infinity;
    await m.fit(x, y, {
      epochs: 2,
      batchSize: 5,
      seed: 3,
      ...quiet,
      callbacks: [
        { onTrainBegin: () => void (during = gpu.memory().bytes), onBatchEnd: () => void (during = Math.max(during, gpu.memory().bytes)) },
      ],
    });
    return {
      weights: await fingerprint(m),
      evaluated: await m.evaluate(x, y),
      predicted: await (await m.predict(x, { batchSize: 7 })).data(),
      used: during - before,
    };
  };
  const { used: wordsUsed, ...want } = await run(Float32Array);
  for (const Kind of [Uint8Array, Uint8ClampedArray]) {
    const { used, ...got } = await run(Kind);
    assert.equal(got, want, Kind.name);
    assert.ok(used <= wordsUsed, `${used} bytes, ${wordsUsed} for words`);
  }
});

test("a data set of bytes takes its bytes on the device, and no more", () => {
  const before = gpu.memory().bytes;
  const t = tensor(bytes(100003), [100003]);
  t.upload(gpu);
  assert.is(gpu.memory().bytes - before, 100016);
  t.dispose();
});

test.after(() => gpu.close());
test.run();

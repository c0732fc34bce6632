/** Adapters on WebGPU: what they learn, with dropout, and what a merge leaves is that of the CPU. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  adam,
  dense,
  embedding,
  sequential,
  sparseCategoricalCrossentropy,
  swiglu,
  transformerDecoder,
  useBackend,
} from "../../build/esm/index.js";
import { open } from "../../build/esm/init.js";
import { lora } from "../../build/esm/lora/index.js";
import { tensor } from "../../build/esm/tensor.js";
import { openGpu } from "./gpu.js";

const [cpu, gpu] = [await open("wasm"), await openGpu()];
test.after(() => [cpu, gpu].forEach((b) => b.close()));

const numbers = (fn) =>
  tensor(
    Int32Array.from({ length: 96 }, (_, i) => fn(i) % 20),
    [16, 6],
  );
const x = numbers((i) => i * i + 3 * i);
const y = numbers((i) => i * i + 5 * i + 1);

async function tuned(backend) {
  useBackend(backend);
  const layers = [embedding(20, 32), transformerDecoder(64, 4, { normalizeFirst: true }), swiglu(64), dense(20)];
  const net = sequential(layers, { inputShape: [6], seed: 4 });
  const adapters = lora(net, { rank: 4, alpha: 8, dropout: 0.3 });
  const optimizer = adam({ learningRate: 0.01 });
  await net.compile({ loss: sparseCategoricalCrossentropy({ fromLogits: true }), optimizer, backend });
  const { history } = await net.fit(x, y, { epochs: 6, batchSize: 8, verbose: 0 });
  const logits = await (await net.predict(x)).data();
  await adapters.merge();
  return { loss: history.loss, logits, merged: await (await net.predict(x)).data() };
}

test("adapters learn on the GPU what they learn on the CPU, and merge there", async () => {
  const [want, got] = [await tuned(cpu), await tuned(gpu)];
  assert.ok(got.loss[5] < 0.97 * got.loss[0], `${got.loss}`);
  got.loss.forEach((v, i) => assert.ok(Math.abs(v - want.loss[i]) < 1e-3, `${got.loss}, ${want.loss}`));
  got.logits.forEach((v, i) => assert.ok(Math.abs(v - want.logits[i]) < 5e-3, `${v}, ${want.logits[i]}`));
  got.merged.forEach((v, i) => assert.ok(Math.abs(v - got.logits[i]) < 1e-4, `${v}, ${got.logits[i]}`));
});

test.run();

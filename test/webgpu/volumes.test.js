/** Layers of volumes, of films and of cells on WebGPU: what they compute and what they learn is that of the CPU. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";
import { openGpu } from "./gpu.js";

const [cpu, gpu] = [await L.open("wasm"), await openGpu()];
test.after(() => [cpu, gpu].forEach((b) => b.close()));

const numbers = (shape, seed) =>
  L.tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => (((i * 7 + seed) * 37) % 101) / 60 - 0.8),
    shape,
  );

const MODELS = {
  volumes: [
    () => [
      L.zeroPadding3d([0, 1, 0]),
      L.conv3d(4, [2, 3, 3], { padding: "same", groups: 2, activation: "tanh" }),
      L.maxPool3d([1, 2, 2], { padding: "same" }),
      L.conv3dTranspose(3, [3, 2, 2], { strides: [2, 1, 2], padding: "same" }),
      L.avgPool3d([2, 1, 2], { padding: "same" }),
      L.conv3d(1, 2),
      L.upSampling3d([1, 2, 1]),
      L.cropping3d([
        [1, 0],
        [0, 1],
        [0, 0],
      ]),
      L.adaptiveAvgPool3d(2),
      L.adaptiveMaxPool3d([1, 1, 2]),
      L.flatten(),
    ],
    [4, 4, 5, 2],
  ],
  films: [
    () => [L.bidirectional(L.convLstm2d(3, [3, 2], { padding: "same", strides: [1, 2] })), L.globalMaxPool2d(), L.dense(2)],
    [3, 4, 5, 2],
  ],
  cells: [
    () => [L.rnn([L.lstmCell(4), L.gruCell(3)], { returnSequences: true }), L.rnn(L.simpleRnnCell(2), { goBackwards: true })],
    [5, 3],
  ],
};

for (const [name, [layers, inputShape]] of Object.entries(MODELS))
  test(`webgpu: ${name} give and learn what they do on the CPU`, async () => {
    const run = async (backend) => {
      L.useBackend(backend);
      const net = L.sequential(layers(), { inputShape, seed: 3 });
      const x = numbers([4, ...inputShape], 1);
      const before = await (await net.predict(x)).data();
      await net.compile({ loss: "mse", optimizer: L.sgd({ learningRate: 0.1 }), backend });
      const { history } = await net.fit(x, numbers([4, 2], 5), { epochs: 3, batchSize: 4, verbose: 0 });
      return [before, history.loss, await (await net.predict(x)).data(), ...(await Promise.all(net.weights.map((w) => w.tensor.data())))];
    };
    const [want, got] = [await run(cpu), await run(gpu)];
    for (const [k, list] of want.entries())
      for (let i = 0; i < list.length; i++)
        assert.ok(Math.abs(got[k][i] - list[i]) < 1e-4, `${k}, ${i}: ${got[k][i]}, expected ${list[i]}`);
  });

test.run();

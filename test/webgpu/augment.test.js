/** @file Layers that change images in training, and those of classes: on the GPU what they give on the CPU. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { globals } from "webgpu";
import * as L from "../../build/esm/index.js";
import { openGpu } from "./gpu.js";

Object.assign(globalThis, globals);
const gpu = await openGpu();
const cpu = await L.open("wasm", { threads: 1 });

const images = L.tensor(
  Float32Array.from({ length: 3 * 9 * 12 * 2 }, (_, i) => ((i * 37 + 11) % 101) / 50 - 1),
  [3, 9, 12, 2],
);

async function agree(what, layer, x, most) {
  const [a, b] = await Promise.all(
    [gpu, cpu].map(async (backend) => (await L.compile((t) => layer.call(t, { training: true }), { seed: 4, backend })(x)).data()),
  );
  assert.is(a.length, b.length);
  b.forEach((v, i) => assert.ok(Math.abs(a[i] - v) <= most, `${what}: element ${i}: ${a[i]} on the GPU, ${v} on the CPU`));
}

test("images change in the same way", async () => {
  for (const fillMode of ["reflect", "wrap", "constant", "nearest"])
    await agree(`randomRotation ${fillMode}`, L.randomRotation(0.4, { fillMode, fillValue: 0.3 }), images, 1e-3);
  await agree("randomTranslation", L.randomTranslation(0.6, 0.6), images, 1e-4);
  await agree("randomZoom", L.randomZoom(0.9, { widthFactor: 0.4, interpolation: "nearest" }), images, 0);
  await agree("randomContrast", L.randomContrast(0.5, { valueRange: [-0.7, 0.9] }), images, 1e-5);
  await agree("randomBrightness", L.randomBrightness(0.5, { valueRange: [-0.7, 0.9] }), images, 1e-5);
  await agree("randomCrop", L.randomCrop(4, 7), images, 0);
  await agree("resizing", L.resizing(5, 5, { cropToAspectRatio: true, antialias: true }), images, 1e-5);
});

test("classes are the same", async () => {
  const x = L.tensor([0, 1, 2.5, 3, -1, 1.5], [3, 2]);
  for (const outputMode of ["int", "oneHot", "multiHot", "count"])
    await agree(`discretization ${outputMode}`, L.discretization({ binBoundaries: [0, 1.5, 3], outputMode }), x, 0);
  for (const outputMode of ["oneHot", "multiHot", "count"])
    await agree(`categoryEncoding ${outputMode}`, L.categoryEncoding(4, { outputMode }), L.tensor([0, 1, 2, 3, 3, 3], [3, 2]), 0);
});

test.run();

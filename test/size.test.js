/** @file What applications download, in bytes after gzip -9, and the most that it may be. `npm run size` prints the table. */
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { rollup } from "rollup";
import terser from "@rollup/plugin-terser";
import { test } from "uvu";
import * as assert from "uvu/assert";

/** Budgets, a little above what is measured, so that growth is a decision. */
const BUDGETS = {
  "everything: lockstep, WebGPU with its kernels, worker, plain kernels": 189700,
  "lockstep without WebGPU": 119050,
  WebGPU: 33650,
  "WebGPU kernels alone": 16450,
  "plain kernels, as embedded": 34050,
  "plain kernels of the core, as embedded": 12850,
  "plain.wasm": 36100,
  "relaxed.wasm": 38800,
  "training: a convolutional network with adam, with its plain kernels": 87700,
  "training: dense layers with adam, with its plain kernels": 74600,
  "training: a GPT with adamw, and text that it writes, with its plain kernels": 102150,
  "inference: sequential of dense layers, with its plain kernels": 48050,
  "inference: loadModel, with its plain kernels": 76650,
};

const build = (file) => new URL(`../build/${file}`, import.meta.url);
const gzip = (data) => gzipSync(data, { level: 9 }).length;
const file = (name) => gzip(readFileSync(build(name)));

/** `code` with what it imports from the package, as an application's bundler leaves it. */
async function application(code) {
  const files = { lockstep: "index.js", "lockstep/inference": "inference.js", webgpu: "webgpu.js" };
  const bundle = await rollup({
    input: "app",
    onwarn() {},
    plugins: [
      {
        resolveId: (id) => (id === "app" ? id : files[id] ? build(files[id]).pathname : { id, external: true }),
        load: (id) => (id === "app" ? code : null),
      },
    ],
  });
  const { output } = await bundle.generate({ format: "es", plugins: [terser({ module: true, ecma: 2022, compress: { passes: 2 } })] });
  await bundle.close();
  return gzip(output[0].code);
}

test("size: no download is larger than its budget", async () => {
  const library = (await application('export * from "lockstep"')) + file("errors.js");
  const workers = file("pool.js") + file("worker.js");
  const webgpu = await application('export * from "webgpu"');
  const errors = file("errors.js");
  const kernels = file("inference-plain.js");
  const core = file("plain.js");
  const conv = file("plain-conv.js");
  const [norm, attention] = [file("plain-norm.js"), file("plain-attention.js")];
  const plain = core + conv + file("plain-recurrent.js") + norm + attention;
  const sizes = {
    "everything: lockstep, WebGPU with its kernels, worker, plain kernels": library + webgpu + workers + plain,
    "lockstep without WebGPU": library,
    WebGPU: webgpu,
    "WebGPU kernels alone": file("shaders.js"),
    "plain kernels, as embedded": plain,
    "plain kernels of the core, as embedded": core,
    "plain.wasm": file("plain.wasm"),
    "relaxed.wasm": file("relaxed.wasm"),
    "training: a convolutional network with adam, with its plain kernels":
      (await application('export { sequential, conv2d, maxPool2d, flatten, dense, dropout, adam } from "lockstep"')) + errors + core + conv,
    "training: dense layers with adam, with its plain kernels":
      (await application('export { sequential, dense, adam } from "lockstep"')) + errors + core,
    "training: a GPT with adamw, and text that it writes, with its plain kernels":
      (await application(
        'export { sequential, tokenAndPositionEmbedding, transformerDecoder, layerNorm, tiedHead, adamw, generate } from "lockstep"',
      )) +
      errors +
      core +
      norm +
      attention,
    "inference: sequential of dense layers, with its plain kernels":
      (await application('export { sequential, dense, loadWeights } from "lockstep/inference"')) + errors + kernels,
    "inference: loadModel, with its plain kernels":
      (await application('export { loadModel } from "lockstep/inference"')) + errors + kernels,
  };
  for (const [name, bytes] of Object.entries(sizes))
    console.log(`${String(bytes).padStart(7)} of ${String(BUDGETS[name]).padStart(6)}  ${name}`);
  for (const [name, bytes] of Object.entries(sizes))
    assert.ok(bytes <= BUDGETS[name], `${name}: ${bytes} bytes, the budget is ${BUDGETS[name]}`);
  assert.equal(Object.keys(sizes), Object.keys(BUDGETS));
});

test.run();

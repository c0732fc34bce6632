/** @file What applications download, in bytes after gzip -9, and the most that it may be. `npm run size` prints the table. */
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { rollup } from "rollup";
import terser from "@rollup/plugin-terser";
import { test } from "uvu";
import * as assert from "uvu/assert";

/** Budgets, a little above what is measured, so that growth is a decision. */
const BUDGETS = {
  "everything: lockstep, WebGPU with its kernels, worker, plain kernels": 214500,
  "lockstep without WebGPU": 136700,
  WebGPU: 39900,
  "WebGPU kernels alone": 16850,
  "plain kernels, as embedded": 35150,
  "plain kernels of the core, as embedded": 12950,
  "plain.wasm": 37700,
  "relaxed.wasm": 40400,
  "training: a convolutional network with adam, with its plain kernels": 86900,
  "training: dense layers with adam, with its plain kernels": 72900,
  "training: a GPT with adamw, and text that it writes, with its plain kernels": 101500,
  "inference: sequential of dense layers, with its plain kernels": 48200,
  "inference: loadModel, with its plain kernels": 78150,
  "a Llama in 4 bits that writes: lockstep/transformers, with its plain kernels": 125400,
  "a Llama in 4 bits that writes: lockstep/inference/transformers, with its plain kernels": 95500,
  "beside lockstep: lockstep/onnx, of a convolutional network": 34000,
  "beside lockstep: lockstep/keras, loadKeras of a file of Keras 3": 33400,
  "beside lockstep: lockstep/keras, loadTfjs for predictions": 21300,
};

const build = (file) => new URL(`../build/${file}`, import.meta.url);
const gzip = (data) => gzipSync(data, { level: 9 }).length;
const file = (name) => gzip(readFileSync(build(name)));

/** Files that applications hold, or load while they open a checkpoint; what a backend loads is counted apart. */
const BUNDLED = /^\.\/(base|index|inference|safetensors|gguf|(inference-)?transformers[\w-]*)\.js$/;

/** Readers of models of others, without what they share with the library. */
const READERS = /^\.\/(onnx|keras)[\w-]*\.js$/;

/**
 * `code` with what it imports from the package, as an application's bundler leaves it, and of what that loads on demand the files `parts`.
 * `without`: a file that is counted elsewhere.
 */
async function application(code, parts = [], { without = "", bundled = BUNDLED } = {}) {
  const files = {
    lockstep: "index.js",
    "lockstep/inference": "inference.js",
    "lockstep/onnx": "onnx.js",
    "lockstep/keras": "keras.js",
    "lockstep/transformers": "transformers.js",
    "lockstep/inference/transformers": "inference-transformers.js",
    webgpu: "webgpu.js",
  };
  const bundle = await rollup({
    input: "app",
    onwarn() {},
    plugins: [
      {
        resolveId(id) {
          if (id === "app") return id;
          if (files[id]) return build(files[id]).pathname;
          return bundled.test(id) && id !== without ? build(id).pathname : { id, external: true };
        },
        load: (id) => (id === "app" ? code : null),
      },
    ],
  });
  const { output } = await bundle.generate({ format: "es", plugins: [terser({ module: true, ecma: 2022, compress: { passes: 2 } })] });
  await bundle.close();
  const chunks = new Map(output.map((chunk) => [chunk.fileName, chunk]));
  const wanted = ["app", ...parts.map((part) => build(part).pathname)];
  const loaded = new Set(output.filter(({ facadeModuleId }) => wanted.includes(facadeModuleId)).map(({ fileName }) => fileName));
  assert.is(loaded.size, wanted.length, `${parts} are loaded on demand`);
  for (const name of loaded) for (const other of chunks.get(name).imports) if (chunks.has(other)) loaded.add(other);
  return [...loaded].reduce((sum, name) => sum + gzip(chunks.get(name).code), 0);
}

/** A page that opens a Llama in 4 bits and writes text. */
const WRITES = `export async function write(address, say) {
  const lm = await loadPretrained(address, { weights: "q4", backend: "wasm" });
  for await (const { id } of lm.generate([1])) say(id);
}`;

test("size: no download is larger than its budget", async () => {
  const library = await application('export * from "lockstep"');
  const workers = file("pool.js") + file("worker.js");
  const webgpu = await application('export * from "webgpu"', [], { without: "./base.js" });
  const kernels = file("inference-plain.js");
  const core = file("plain.js");
  const conv = file("plain-conv.js");
  const [norm, attention] = [file("plain-norm.js"), file("plain-attention.js")];
  const packed = file("plain-packed.js");
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
      (await application('export { sequential, conv2d, maxPool2d, flatten, dense, dropout, adam } from "lockstep"')) + core + conv,
    "training: dense layers with adam, with its plain kernels":
      (await application('export { sequential, dense, adam } from "lockstep"')) + core,
    "training: a GPT with adamw, and text that it writes, with its plain kernels":
      (await application(
        'export { sequential, tokenAndPositionEmbedding, transformerDecoder, layerNorm, tiedHead, adamw, generate } from "lockstep"',
      )) +
      core +
      norm +
      attention,
    "inference: sequential of dense layers, with its plain kernels":
      (await application('export { sequential, dense, loadWeights } from "lockstep/inference"')) + kernels,
    "inference: loadModel, with its plain kernels": (await application('export { loadModel } from "lockstep/inference"')) + kernels,
    "a Llama in 4 bits that writes: lockstep/transformers, with its plain kernels":
      (await application(`import { loadPretrained } from "lockstep/transformers"; ${WRITES}`, ["transformers-decoders.js"])) +
      core +
      norm +
      attention +
      packed,
    "a Llama in 4 bits that writes: lockstep/inference/transformers, with its plain kernels":
      (await application(`import { loadPretrained } from "lockstep/inference/transformers"; ${WRITES}`, [
        "inference-transformers-decoders.js",
      ])) +
      kernels +
      ["norm", "attention", "packed"].reduce((sum, part) => sum + file(`inference-plain-${part}.js`), 0),
    "beside lockstep: lockstep/onnx, of a convolutional network": await application(
      'export { loadOnnx } from "lockstep/onnx"',
      ["onnx-images.js", "onnx-normalization.js"],
      { bundled: READERS },
    ),
    "beside lockstep: lockstep/keras, loadKeras of a file of Keras 3": await application(
      'export { loadKeras } from "lockstep/keras"',
      ["keras-training.js"],
      { bundled: READERS },
    ),
    "beside lockstep: lockstep/keras, loadTfjs for predictions": await application('export { loadTfjs } from "lockstep/keras"', [], {
      bundled: READERS,
    }),
  };
  for (const [name, bytes] of Object.entries(sizes))
    console.log(`${String(bytes).padStart(7)} of ${String(BUDGETS[name]).padStart(6)}  ${name}`);
  for (const [name, bytes] of Object.entries(sizes))
    assert.ok(bytes <= BUDGETS[name], `${name}: ${bytes} bytes, the budget is ${BUDGETS[name]}`);
  assert.equal(Object.keys(sizes), Object.keys(BUDGETS));
});

test.run();

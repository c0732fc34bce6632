/**
 * @file What a browser downloads, gzipped: the same small programs with each library, bundled and minified, and the kernels that they
 * fetch.
 */
import { build } from "esbuild";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const wasm = {
  tfjs: at("node_modules/@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm"),
  ort: at("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"),
};
/** Lockstep's kernels of one SIMD build, which a bundle loads on demand: the core and the parts that a program needs. */
const kernels = (prefix, ...parts) => ["", ...parts].map((part) => at(`../../build/${prefix}relaxed${part}.js`));
const PARTS = ["-conv", "-recurrent", "-norm"];
/** The backend for the GPU with its kernels. */
const gpu = at("../../build/webgpu.js");

// Programs use what they name, so that a bundler cannot drop more than it could for a user.
const use = (names) => `globalThis.used = [${names}];`;
const PROGRAMS = {
  "Lockstep, all of it, with WebGPU": { where: "..", files: [...kernels("", ...PARTS), gpu], text: 'export * from "lockstep";' },
  "Lockstep, trains and predicts": {
    where: "..",
    files: kernels("", "-conv", "-recurrent"),
    text:
      `import { adam, conv2d, dense, flatten, lstm, maxPool2d, open, sequential, tensor } from "lockstep"; ` +
      `${use("adam, conv2d, dense, flatten, lstm, maxPool2d, open, sequential, tensor")}`,
  },
  "Lockstep, loads a model and predicts": {
    where: "..",
    files: kernels("inference-", ...PARTS),
    text: `import { loadModel, open, tensor } from "lockstep/inference"; ${use("loadModel, open, tensor")}`,
  },
  "Lockstep, predicts with dense layers": {
    where: "..",
    files: kernels("inference-"),
    text: `import { dense, loadWeights, sequential } from "lockstep/inference"; ${use("dense, loadWeights, sequential")}`,
  },
  "jax-js, all of it": { where: ".", text: 'export * from "@jax-js/jax";' },
  "tfjs (core, layers, WASM backend), trains and predicts": {
    where: ".",
    files: [wasm.tfjs],
    text: `import * as tf from "@tensorflow/tfjs-core"; import * as layers from "@tensorflow/tfjs-layers";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
      ${use(
        "tf.train.adam, tf.tensor, tf.setBackend, layers.sequential, layers.layers.dense, layers.layers.conv2d, layers.layers.lstm, " +
          "layers.layers.maxPooling2d, layers.layers.flatten, setWasmPaths",
      )}`,
  },
  "tfjs, all of it (`@tensorflow/tfjs` and WASM backend)": {
    where: ".",
    files: [wasm.tfjs],
    text: 'export * from "@tensorflow/tfjs"; export * as wasm from "@tensorflow/tfjs-backend-wasm";',
  },
  "ORT-web (`onnxruntime-web/wasm`), predicts": {
    where: ".",
    files: [wasm.ort],
    text: `import * as ort from "onnxruntime-web/wasm"; ${use("ort.InferenceSession, ort.Tensor")}`,
  },
};

const gz = (bytes) => gzipSync(bytes, { level: 9 }).length;

/** label -> { js, later, wasm, total } in bytes, or { error }. `later`: JavaScript of dynamic imports. */
export async function sizes() {
  const out = {};
  for (const [label, { where, text, files = [] }] of Object.entries(PROGRAMS)) {
    try {
      const { outputFiles, metafile } = await build({
        stdin: { contents: text, resolveDir: at(where) },
        bundle: true,
        minify: true,
        format: "esm",
        platform: "browser",
        splitting: true,
        outdir: "out",
        write: false,
        metafile: true,
        logLevel: "silent",
        loader: { ".wasm": "file" },
        external: ["node:*"],
      });
      const outputs = Object.entries(metafile.outputs);
      // What the entry imports statically is loaded at once.
      const first = new Set(
        outputs.filter(([, o]) => o.entryPoint === "<stdin>" || (o.entryPoint === undefined && outputs.length === 1)).map(([name]) => name),
      );
      for (const name of first)
        for (const i of metafile.outputs[name].imports) if (i.kind === "import-statement" && !i.external) first.add(i.path);
      const nameOf = (file) => outputs.map(([n]) => n).find((n) => file.path.endsWith(n.slice(n.lastIndexOf("/"))));
      const sum = { js: 0, later: 0, wasm: 0 };
      for (const f of outputFiles) {
        sum[f.path.endsWith(".wasm") ? "wasm" : first.has(nameOf(f)) ? "js" : "later"] += gz(f.contents);
      }
      for (const f of files) if (existsSync(f)) sum[f === gpu ? "js" : "wasm"] += gz(readFileSync(f));
      out[label] = { ...sum, total: sum.js + sum.later + sum.wasm };
    } catch (error) {
      out[label] = { error: String(error.message).split("\n").slice(0, 3).join(" ").slice(0, 200) };
    }
  }
  return out;
}

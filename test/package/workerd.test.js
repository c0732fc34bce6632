/**
 * @file The package in workerd, which compiles no bytes: bundled with the conditions of its tools, it imports the kernels as modules and
 * needs no configuration.
 */
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { basename, join, resolve } from "node:path";
import { build } from "esbuild";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { modelPath } from "../models/index.js";
import { project } from "./packed.js";

/** The program, wherever its package for this platform is. */
const { default: program } = createRequire(import.meta.url)("workerd");

const folder = project("workerd");
const out = join(folder, "out");
mkdirSync(out);
writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "worker", private: true, type: "module" }));
writeFileSync(
  join(folder, "worker.js"),
  `
import { adam, dense, open, sequential } from "lockstep";
import * as inference from "lockstep/inference";
import { loadPretrained } from "lockstep/inference/transformers";
import weights from "./model.safetensors";
import config from "./config.json";

async function answer() {
  const backend = await open("wasm", { reproducible: true, threads: 4 });
  const model = sequential([dense(8, { activation: "tanh" }), dense(1)], { inputShape: [2], seed: 1 });
  await model.compile({ loss: "meanSquaredError", optimizer: adam({ learningRate: 0.01 }) });
  await model.fit([[0, 1], [1, 0]], [[1], [0]], { epochs: 5, verbose: 0 });
  await inference.open("wasm", { reproducible: true });
  const predictor = await inference.loadModel(await model.toBytes());
  const noFile = await inference.loadModel("model.safetensors").catch((error) => error.name + ": " + error.message);
  const relaxed = await open("wasm");
  const trained = await (await model.predict([[1, 1]])).array();
  const predicted = await (await predictor.predict([[1, 1]])).array();
  await inference.open("wasm", { reproducible: true });
  const files = { "config.json": new TextEncoder().encode(JSON.stringify(config)), "model.safetensors": new Uint8Array(weights) };
  const lm = await loadPretrained(files, { task: "text-generation", weights: "q4" });
  const logits = [...(await (await lm.logits([1, 291, 370])).data())];
  return { logits, simd: [backend.simd, relaxed.simd], threads: backend.activeThreads, trained, predicted, noFile };
}
export default { fetch: () => answer().then((value) => Response.json(value), (error) => new Response(error.stack, { status: 500 })) };
`,
);

for (const file of ["config.json", "model.safetensors"]) copyFileSync(join(modelPath("llama/stories260K"), file), join(folder, file));

/** As wrangler does: .wasm files, and data, stay modules of their own. */
const wasmModules = {
  name: "wasm",
  setup: (b) =>
    b.onResolve({ filter: /\.(wasm|safetensors)$/ }, ({ path, resolveDir }) => {
      copyFileSync(resolve(resolveDir, path), join(out, basename(path)));
      return { path: `./${basename(path)}`, external: true };
    }),
};
const { warnings } = await build({
  absWorkingDir: folder,
  entryPoints: ["worker.js"],
  bundle: true,
  format: "esm",
  outdir: out,
  conditions: ["workerd", "worker", "browser"],
  plugins: [wasmModules],
  logLevel: "silent",
});

writeFileSync(
  join(out, "config.capnp"),
  `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "main", worker = .worker)], sockets = [(name = "http", http = (), service = "main")]);
const worker :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js"), (name = "plain.wasm", wasm = embed "plain.wasm"),
    (name = "relaxed.wasm", wasm = embed "relaxed.wasm"), (name = "model.safetensors", data = embed "model.safetensors")],
  compatibilityDate = "2025-09-01",
);
`,
);

/** A port that was free a moment ago. */
const freePort = () =>
  new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

/** Starts workerd, asks once and stops it. */
async function ask() {
  const port = await freePort();
  const child = spawn(program, ["serve", "config.capnp", `--socket-addr=http=127.0.0.1:${port}`], { cwd: out });
  let said = "";
  child.stderr.on("data", (d) => (said += d));
  try {
    for (let tries = 0; ; tries++) {
      const response = await fetch(`http://127.0.0.1:${port}/`).catch(() => null);
      if (response !== null) return { status: response.status, text: await response.text() };
      if (tries === 200 || child.exitCode !== null) throw new Error(`workerd does not answer: ${said}`);
      await new Promise((done) => setTimeout(done, 50));
    }
  } finally {
    child.kill("SIGKILL");
  }
}

test("workerd: the bundle imports the kernels and holds no copy of them as text", () => {
  assert.equal(warnings, []);
  const text = readFileSync(join(out, "worker.js"), "utf8");
  assert.not.match(text, /[A-Za-z0-9+/=]{10000}/);
  assert.match(text, /^import \w+ from "\.\/plain\.wasm"/m);
  assert.ok(existsSync(join(out, "relaxed.wasm")));
});

test("workerd: trains, loads, predicts; one thread; a path is refused with what to do", async () => {
  const { status, text } = await ask();
  assert.is(status, 200, text);
  const { logits, simd, threads, trained, predicted, noFile } = JSON.parse(text);
  assert.equal(simd, ["plain", "relaxed"]);
  assert.is(threads, 1);
  assert.equal(predicted, trained);
  assert.match(noFile, /^FileError: cannot read "model\.safetensors": this runtime has no file system; pass bytes/);
  // The same bits as here.
  const { adam, dense, open, sequential } = await import("lockstep");
  await open("wasm", { reproducible: true });
  const model = sequential([dense(8, { activation: "tanh" }), dense(1)], { inputShape: [2], seed: 1 });
  await model.compile({ loss: "meanSquaredError", optimizer: adam({ learningRate: 0.01 }) });
  await model.fit([[0, 1], [1, 0]], [[1], [0]], { epochs: 5, verbose: 0 });
  assert.equal(trained, await (await model.predict([[1, 1]])).array());
  const { loadPretrained } = await import("lockstep/transformers");
  const lm = await loadPretrained(modelPath("llama/stories260K"), { task: "text-generation", weights: "q4" });
  assert.equal(logits, [...(await (await lm.logits([1, 291, 370])).data())]);
});

test.run();

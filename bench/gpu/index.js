/**
 * @file `npm run bench:gpu`: Lockstep on this machine's GPU, in Node (Dawn) and in Chromium, beside TensorFlow.js and jax-js on the same
 * device and PyTorch. Where no GPU is found, a software adapter stands in on Linux x64, with sizes that it can do. What is measured is
 * written at once, so that a run that ends early keeps what it had: into the section of this adapter in bench/gpu/RESULTS.md, and as JSON
 * into build/bench-gpu, which a later run of single parts goes on from. Options (behind `--`):
 *
 * --quick           fewer rounds, no browser, eight minutes at most
 * --parts A,B       only these: copy, products, attention, networks, gpt, decode, weights, train
 * --columns A,B     only columns whose titles contain one of these: "Lockstep,PyTorch"
 * --text FILE       adds `train`: a GPT on this text until its loss is low enough, five minutes at most
 * --node            no browser
 * --out FOLDER      writes there and not into RESULTS.md
 * --tiles           only products by every tile there is, and convolutions by Winograd's (tiles.js); writes nothing
 * --matrices        only products in f32, f16 and by subgroup matrices with every tile (matrices.js); writes nothing
 * --prepare         measures nothing: makes the other libraries' bundles, all that a machine without a network does not have
 */
import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, platform } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { probeGpu, softwareGpu } from "../../scripts/software-gpu.js";
import { COLUMNS, findTorch, torchArgument } from "./columns.js";
import { section } from "./report.js";
import { BATCH, PARTS } from "./workloads.js";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const bundles = join(root, "build/bench-gpu");
/** The most that a column may take, and all of a quick run. */
const LIMIT_MS = 30 * 60 * 1000;
const QUICK_MS = 460 * 1000;

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    node: { type: "boolean", default: false },
    matrices: { type: "boolean", default: false },
    tiles: { type: "boolean", default: false },
    prepare: { type: "boolean", default: false },
    parts: { type: "string" },
    columns: { type: "string" },
    text: { type: "string" },
    out: { type: "string" },
  },
});
const wantedParts = options.parts?.split(",") ?? PARTS;
for (const part of wantedParts) if (!PARTS.includes(part)) throw new Error(`bench:gpu: unknown part "${part}"; known: ${PARTS.join(", ")}`);
if (options.text !== undefined && !existsSync(options.text)) throw new Error(`bench:gpu: no file ${options.text}`);
if (options.parts?.split(",").includes("train") && options.text === undefined)
  throw new Error("bench:gpu: the part train needs --text FILE, a text to train on");

/** Another library as one module for pages, with its version. Where it was made before, that one: on a machine without a network. */
async function bundle(name, from) {
  const outfile = join(bundles, `${name}.js`);
  const description = join(here, "peers/node_modules", from, "package.json");
  if (!existsSync(description)) {
    if (existsSync(outfile)) return outfile;
    throw new Error(
      `${from} is not installed in bench/gpu/peers; npm run bench:gpu -- --prepare makes its bundle where there is a network`,
    );
  }
  const { build } = await import("esbuild");
  mkdirSync(bundles, { recursive: true });
  await build({
    entryPoints: [join(here, "peers", `${name}.js`)],
    outfile,
    bundle: true,
    format: "esm",
    platform: "browser",
    logLevel: "error",
    define: {
      "process.env.NODE_ENV": '"production"',
      "process.env.VERSION": JSON.stringify(JSON.parse(readFileSync(description, "utf8")).version),
      // With a process TensorFlow.js takes Node for its platform.
      ...(name === "tfjs" ? { process: "undefined" } : {}),
    },
  });
  return outfile;
}
const PACKAGES = { tfjs: "@tensorflow/tfjs", jax: "@jax-js/jax" };

if (options.prepare) {
  for (const [name, from] of Object.entries(PACKAGES)) console.log(await bundle(name, from));
  process.exit(0);
}

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

/** A process that says what it found in lines behind "@". Its last words are the error where it ends without the last one. */
function inProcess(command, args, env, title, tell, timeout) {
  return new Promise((done) => {
    const child = execFile(command, args, { cwd: root, env, maxBuffer: 2 ** 28, timeout, killSignal: "SIGKILL" }, (error, _, stderr) => {
      if (ended) return done(null);
      const words = stderr
        .trim()
        .split("\n")
        .filter((line) => /Error|error/.test(line));
      done(
        error?.killed
          ? `stopped after ${Math.round(timeout / 1000)} s`
          : (words.at(-1) ?? error?.message.split("\n")[0] ?? "it said nothing"),
      );
    });
    let rest = "";
    let ended = false;
    child.stdout.on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines.filter((l) => l.startsWith("@"))) {
        const found = JSON.parse(line.slice(1));
        if (Object.keys(found).length === 0) ended = true;
        else tell(found);
      }
    });
  });
}

async function inNode({ title, module, options: given }, how, { env, software }, tell, timeout) {
  const file = module === "lockstep" ? "./lockstep.js" : await bundle(module, PACKAGES[module]);
  const argument = { module: file, options: given, how, textFile: options.text && resolve(options.text) };
  return inProcess(process.execPath, [join(here, "node.js"), JSON.stringify(argument)], env, title, tell, timeout);
}

async function inPython(column, how, _adapter, tell, timeout) {
  const python = findTorch();
  if (python === null) return "no Python with torch and numpy";
  const argument = torchArgument(column, how, BATCH);
  return inProcess(python, [join(here, "torch_peer.py"), argument], process.env, column.title, tell, timeout);
}

/** A library in a page, which says what it found on its console. */
async function inPage({ module, options: given }, how, { software }, tell, timeout) {
  const file = module === "lockstep" ? "bench/gpu/lockstep.js" : (await bundle(module, PACKAGES[module])).slice(root.length + 1);
  const { withPage } = await import("../../scripts/chromium.js");
  await withPage(
    async (page) => {
      page.on("console", (message) => message.text().startsWith("@") && tell(JSON.parse(message.text().slice(1))));
      const working = page.evaluate(
        async ([path, start, wanted]) => {
          const [library, { measure }] = [await import(path), await import("/bench/gpu/measure.js")];
          await measure(library.start, start, wanted, (line) => console.log(`@${JSON.stringify(line)}`));
        },
        [`/${file}`, given, how],
      );
      const late = new Promise((_, fail) => setTimeout(fail, timeout, new Error(`stopped after ${Math.round(timeout / 1000)} s`)).unref());
      await Promise.race([working, late]);
    },
    { software },
  );
  return null;
}

const WAYS = { node: inNode, python: inPython, page: inPage };

const started = performance.now();
const adapter = await chooseAdapter();
const size = adapter.software ? "software" : "gpu";
console.error(`adapter: ${adapter.name}${adapter.software ? " (software: small sizes)" : ""}`);

for (const alone of ["matrices", "tiles"]) {
  if (!options[alone]) continue;
  execFileSync(process.execPath, [join(here, `${alone}.js`), size], { cwd: root, env: adapter.env, stdio: "inherit", timeout: LIMIT_MS });
  process.exit(0);
}

/** What was found, by column: { version, adapter, rows, error? }. Of an earlier run, what this one does not measure again. */
mkdirSync(bundles, { recursive: true });
const kept = join(options.out ?? bundles, `${adapter.name.replace(/\W+/g, "-").toLowerCase()}.json`);
if (options.out) mkdirSync(options.out, { recursive: true });
const partial = options.parts !== undefined || options.columns !== undefined;
const before = partial && existsSync(kept) ? JSON.parse(readFileSync(kept, "utf8")) : { columns: {}, whole: false };
const state = { columns: before.columns, whole: before.whole || !partial, quick: options.quick };
const names = options.columns?.split(",");
const columns = COLUMNS.filter(({ title, quick, where }) => {
  if (where === "page" && (options.node || options.quick)) return false;
  return names === undefined ? !options.quick || quick : names.some((name) => title.includes(name));
});

function write() {
  writeFileSync(kept, `${JSON.stringify(state, null, 1)}\n`);
  const found = COLUMNS.filter(({ title }) => state.columns[title] !== undefined).map(({ title }) => ({ title, ...state.columns[title] }));
  // Sections have the name that Lockstep gives the adapter: before that is known there is none.
  const named = found.find((c) => c.adapter && c.title.startsWith("Lockstep"))?.adapter;
  const text = section({
    adapter: named ?? adapter.name,
    software: adapter.software,
    size,
    quick: options.quick,
    machine: `Node ${process.versions.node}, ${cpus()[0]?.model.trim()}, ${cpus().length} cores, ${platform()}`,
    date: new Date().toISOString().slice(0, 10),
    columns: found,
  });
  if (options.out) writeFileSync(join(options.out, "section.md"), text);
  if (options.out || !state.whole || named === undefined) return text;
  const results = join(here, "RESULTS.md");
  const [head, ...sections] = (existsSync(results) ? readFileSync(results, "utf8") : "# GPU benchmarks\n").split(/^(?=## )/m);
  const at = sections.findIndex((s) => s.startsWith(`${text.split("\n")[0]}\n`));
  if (at < 0) sections.push(text);
  else sections[at] = text;
  writeFileSync(results, [head, ...sections].map((s) => `${s.trimEnd()}\n`).join("\n"));
  return text;
}

async function measured(column, parts) {
  const left = options.quick ? QUICK_MS - (performance.now() - started) : LIMIT_MS;
  const now = (state.columns[column.title] ??= { rows: {} });
  delete now.error;
  const tell = ({ row, ...rest }) => {
    if (row === undefined) return void Object.assign(now, rest);
    now.rows[row] = rest;
    const figure =
      rest.error ??
      `${rest.ms.toPrecision(3)} ms${rest.loss === undefined ? "" : `, loss ${rest.loss.toFixed(4)} after ${rest.steps} steps`}`;
    console.error(`${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s  ${column.title}: ${row}: ${figure}`);
    write();
  };
  let error = left < 5000 ? "no time was left" : null;
  try {
    error ??= await WAYS[column.where](
      column,
      { size, parts, quick: options.quick, seconds: left / 1000 - 15 },
      adapter,
      tell,
      Math.round(left),
    );
  } catch (failed) {
    error = String(failed.message).split("\n")[0];
  }
  if (error !== null) {
    now.error = `${parts.join(", ")}: ${error}`;
    console.error(`${column.title}: ${error}`);
  }
  write();
}

const partsOf = (column) => column.parts.filter((p) => wantedParts.includes(p));
for (const column of columns) {
  const parts = partsOf(column).filter((p) => p !== "train");
  if (parts.length > 0) await measured(column, parts);
}
// Last: it takes minutes. A quick run trains once, in mixed precision where there is some.
if (options.text !== undefined) {
  const able = columns.filter((c) => partsOf(c).includes("train") && state.columns[c.title]?.error === undefined);
  for (const column of options.quick ? able.slice(-1) : able) await measured(column, ["train"]);
}
console.log(write());

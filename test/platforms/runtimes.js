/** @file The runtimes that run scripts, and what they print. */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { json, modelPath } from "../models/index.js";

export const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const require = createRequire(import.meta.url);

/**
 * A trained Llama as a module, since not every runtime reads files: config.json, the bytes of its weights, and the first case of what it is
 * to say.
 */
function writeStories() {
  const folder = modelPath("llama/stories260K");
  const golden = json(join(folder, "golden.json")).cases[0];
  const parts = {
    CONFIG: new TextDecoder().decode(readFileSync(join(folder, "config.json"))),
    WEIGHTS: readFileSync(join(folder, "model.safetensors")).toString("base64"),
    GOLDEN: golden,
  };
  const text = Object.entries(parts).map(([name, value]) => `export const ${name} = ${JSON.stringify(value)};\n`);
  // Files of build/ itself are packed.
  const file = join(root, "build/platforms/stories260K.js");
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.${process.pid}`, text.join(""));
  renameSync(`${file}.${process.pid}`, file);
  return golden;
}

/** What the Llama of `writeStories` says behind its prompt. */
export const golden = writeStories();

const nodes = join(root, "test/platforms/node");
const newer = (version) => join(nodes, `node_modules/node-${version}/bin/node`);

/** The versions of Node beside the running one, which are installed where they are missing. None but on Linux x64. */
export function newerNodes() {
  if (process.platform !== "linux" || process.arch !== "x64") return [];
  if (!existsSync(newer(24)) || !existsSync(newer(26)))
    execFileSync("npm", ["ci", "--prefix", nodes, "--no-audit", "--no-fund"], { encoding: "utf8" });
  return ["node-24", "node-26"];
}

/** Command lines that run a script. */
const RUNTIMES = {
  node: [process.execPath],
  "node-24": [newer(24)],
  "node-26": [newer(26)],
  deno: [process.execPath, join(dirname(require.resolve("deno/package.json")), "bin.cjs"), "run", "--allow-all"],
  bun: [join(dirname(require.resolve("bun/package.json")), "bin/bun.exe")],
};

/** What test/platforms/in-process.js prints. A process that does not end by itself fails. */
export function runIn(runtime, what, options) {
  const [command, ...args] = RUNTIMES[runtime];
  return new Promise((done, fail) => {
    const child = spawn(command, [...args, join(root, "test/platforms/in-process.js"), what, JSON.stringify(options)], {
      cwd: root,
      env: { ...process.env, DENO_NO_UPDATE_CHECK: "1" },
      timeout: 120_000,
    });
    let output = "";
    let errors = "";
    child.stdout.on("data", (d) => (output += d));
    child.stderr.on("data", (d) => (errors += d));
    child.on("error", fail);
    child.on("close", (code, signal) => {
      if (code !== 0) fail(new Error(`${runtime} ${what}: ended with ${code ?? signal}\n${output}${errors}`));
      else done(JSON.parse(output));
    });
  });
}

let known = null;
/** What Node computes with one thread: the measure for all others. */
export async function expected() {
  known ??= (await runIn("node", "train", { threads: 1 })).results;
  return known;
}

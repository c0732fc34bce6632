/**
 * @file What the package ships, from build/esm: a file for each entry and for each part that is loaded on demand, minified, with
 * source maps that lead to src, and the types that the entries reach. Files are few, since Node takes about 0.3 ms to load each.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import terser from "@rollup/plugin-terser";
import { rollup } from "rollup";
import { forBundlers } from "./transform.js";
import { writeTypes } from "./types.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const esm = join(root, "build/esm");
/** The constant that is false in what only predicts. */
const trainingFile = join(esm, "training.js");

/** Parts that an entry loads when they are needed, those in its folder parts/: webgpu-x.js of src/webgpu/parts/x.ts. */
const partsOf = (entry) =>
  Object.fromEntries(
    readdirSync(join(root, "src", entry, "parts")).map((file) => {
      const part = file.slice(0, -".ts".length);
      return [`${entry}-${part}.js`, `${entry}/parts/${part}.js`];
    }),
  );

/** Whether a module imports src/index.ts, or one that does. */
function isOnIndex(module, seen = new Set()) {
  if (module === "index.js") return true;
  if (seen.has(module)) return false;
  seen.add(module);
  const imports = readFileSync(join(root, "src", module.replace(/\.js$/, ".ts")), "utf8").matchAll(
    /^(?:import|export) (?!type\b)[^"]*? from "(\.[^"]+)\.ts"/gm,
  );
  return Array.from(imports).some(([, name]) => isOnIndex(`${join(dirname(module), name)}.js`, seen));
}

/** Entries which are there a second time on inference.js, with the parts that are on index.js: inference-x.js beside x.js. */
const TWICE = ["transformers"];
const INFERENCE = "inference-";
const TWICE_FILES = Object.fromEntries(TWICE.flatMap((x) => [[`${x}.js`, `${x}/index.js`], ...Object.entries(partsOf(x))]));

const PACKAGE = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** What package.json exports, module by file. What stands on inference.js a second time has its types in a folder of that name. */
const ENTRIES = Object.fromEntries(
  Object.values(PACKAGE.exports)
    .filter(({ types }) => types !== undefined && !types.startsWith("./build/types/inference/"))
    .map(({ types, default: file }) => [file.replace("./build/", ""), types.replace("./build/types/", "").replace(/\.d\.ts$/, ".js")]),
);

/** Packages of others that are bundled with what imports them: those that a reader of a container stands on. */
const isBundled = (id) => Object.hasOwn(PACKAGE.devDependencies, id) && !Object.hasOwn(PACKAGE.peerDependencies, id);

/** What entries have in common: errors, checks, and how files are read. */
const BASE = "base.js";
const BASE_MODULES = [
  "errors.js",
  "check.js",
  "naming.js",
  "shape.js",
  "node/files.js",
  ...readdirSync(join(root, "src/io")).map((file) => `io/${file.slice(0, -".ts".length)}.js`),
].map((module) => join(esm, module));

/** Every file that is shipped, with its module; `base.js` has several. */
const FILES = {
  ...ENTRIES,
  ...TWICE_FILES,
  ...Object.fromEntries(
    Object.entries(TWICE_FILES)
      .filter(([, module]) => isOnIndex(module))
      .map(([file, module]) => [INFERENCE + file, module]),
  ),
  [BASE]: BASE,
  "cli.js": "cli/main.js",
  "webgpu.js": "webgpu/index.js",
  ...partsOf("webgpu"),
  "pool.js": "wasm/pool.js",
  "bar.js": "bar.js",
  "devices.js": "model/devices.js",
  "padding.js": "model/padding.js",
  "reader.js": "model/reader.js",
  "weights.js": "model/weights.js",
  "write.js": "node/write.js",
  "worker.js": "wasm/worker.js",
};
/** Files that are loaded on demand besides. */
const ON_DEMAND = ["pool.js", "bar.js", "devices.js", "padding.js", "reader.js", "weights.js", "write.js"];
const isPart = (file) => /\/parts\//.test(FILES[file]);
/** Each is whole in itself but for errors, so that bundlers keep nothing of what entries share for its sake. */
const isWhole = (file) => ON_DEMAND.includes(file) || /^(webgpu|worker)/.test(file);

/**
 * Modules that are in files of their own, which others import: what entries share, classes above all, and parts loaded on demand. Files on
 * inference.js have that, and what stands on it, in place of index.js.
 */
function sharedFor(file) {
  const shared = new Map();
  if (file === BASE) return shared;
  for (const module of isWhole(file) ? BASE_MODULES.slice(0, 1) : BASE_MODULES) shared.set(module, `./${BASE}`);
  for (const other of Object.keys(FILES)) {
    if (
      other === "inference.js" ||
      other.startsWith(INFERENCE) ||
      !([...Object.keys(ENTRIES), "webgpu.js", ...ON_DEMAND].includes(other) || isPart(other))
    )
      continue;
    const own = other === "index.js" ? "inference.js" : INFERENCE + other;
    shared.set(join(esm, FILES[other]), `./${file.startsWith("inference") && Object.hasOwn(FILES, own) ? own : other}`);
  }
  return shared;
}

/** Reads modules that tsc wrote, with their maps; for `inference` with TRAINING false. `entry`: the file that is written. */
function modules(entry, inference, shared) {
  return {
    name: "modules",
    resolveId(id, importer) {
      if (importer === undefined || importer === BASE) return id;
      if (id === "#kernels" || /^#shaders\b/.test(id)) return join(root, "build", `${id.slice(1)}.js`);
      if (!id.startsWith(".")) return isBundled(id) ? fileURLToPath(import.meta.resolve(id)) : { id, external: true };
      const file = resolve(dirname(importer), id);
      return shared.has(file) && file !== entry ? { id: file, external: "absolute" } : file;
    },
    load(file) {
      if (file === BASE) return BASE_MODULES.map((module) => `export * from ${JSON.stringify(module)};\n`).join("");
      if (inference && file === trainingFile) return { code: "export const TRAINING = false;\n", map: { mappings: "" } };
      const code = readFileSync(file, "utf8");
      if (!file.startsWith(esm)) return { code, map: { mappings: "" } };
      const map = JSON.parse(readFileSync(`${file}.map`, "utf8"));
      map.sources = map.sources.map((source) => resolve(dirname(file), source));
      return { code, map };
    },
    transform: (code, file) => (file.startsWith(esm) ? forBundlers(code) : null),
  };
}

/** A helper that tsc writes asks for a `this` that modules do not have; names that a module passes on need not be used by each file. */
function onwarn(warning) {
  if (["THIS_IS_UNDEFINED", "UNUSED_EXTERNAL_IMPORT"].includes(warning.code)) return;
  throw new Error(`rollup: ${warning.message}`);
}

/** One file. */
async function write(file) {
  const input = file === BASE ? BASE : join(esm, FILES[file]);
  const shared = sharedFor(file);
  const plugins = [modules(input, file.startsWith("inference"), shared)];
  // Getters of the library do nothing but give a value.
  const build = await rollup({ input, onwarn, plugins, treeshake: { propertyReadSideEffects: false } });
  await build.write({
    file: join(root, "build", file),
    format: "es",
    sourcemap: true,
    sourcemapPathTransform: (path, map) => relative(dirname(map), resolve(dirname(map), path)),
    paths: (id) => shared.get(id) ?? id,
    plugins: [
      terser({
        module: true,
        ecma: 2022,
        // Functions of one caller stay out of it: inside they would be parsed with it and again when it calls them, and bundlers of
        // applications put them there anyway.
        compress: { passes: 2, reduce_funcs: false, inline: 1 },
        // What consoles show of a tensor, a model and an error.
        keep_classnames: true,
        // Bundlers of applications read these: which calls may be dropped, and which import is not theirs.
        // ASCII alone: one other character makes engines hold and parse the whole file in two bytes a character. Short lines: of an error
        // that nobody catches Node prints the whole line first, and in a pipe its message was cut off behind 147 KB of code.
        format: { max_line_len: 160, ascii_only: true, preserve_annotations: true, comments: /webpackIgnore|@vite-ignore/ },
      }),
    ],
  });
  await build.close();
}

/** Writes everything. */
export async function bundle() {
  for (const file of Object.keys(FILES)) await write(file);
  const entries = Object.values(ENTRIES).map((module) => module.replace(/\.js$/, ""));
  writeTypes(esm, join(root, "build/types"), entries, TWICE);
}

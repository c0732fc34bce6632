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

/** Modules of src that a module names in one of these ways, by the names of what tsc makes of them. */
const named = (pattern) => (module) =>
  Array.from(
    readFileSync(join(root, "src", module.replace(/\.js$/, ".ts")), "utf8").matchAll(pattern),
    ([, name]) => `${join(dirname(module), name)}.js`,
  );
const importsOf = named(/^(?:import|export) (?!type\b)[^"]*? from "(\.[^"]+)\.ts"/gm);
/** What it loads on demand, and scripts of workers. */
const loadsOf = named(/(?<!typeof )\bimport\("(\.[^"]+)\.ts"\)/g);
const workersOf = named(/\bnew URL\("(\.[^"]+)\.js"/g);

/** A module, those that it names, those that these name, and so on. */
function reached(modules, next) {
  const seen = new Set(modules);
  for (const module of seen) for (const other of next(module)) seen.add(other);
  return seen;
}

/** Whether a module imports src/index.ts, or one that does. */
const isOnIndex = (module) => reached([module], importsOf).has("index.js");

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

/**
 * What entries have in common (errors, checks, how files are read): modules of at least two of those that import no other entry. That of
 * inference.js is in the place of index.js.
 */
const BASE = "base.js";
const alone = Object.values(ENTRIES)
  .filter((module) => module !== "inference.js")
  .map((module) => reached([module], importsOf))
  .filter((modules) => Object.values(ENTRIES).filter((entry) => modules.has(entry)).length === 1);
const COMMON = [...new Set(alone.flatMap((modules) => [...modules]))].filter((m) => alone.filter((modules) => modules.has(m)).length > 1);
const BASE_MODULES = COMMON.map((module) => join(esm, module));

/** What modules of the package load on demand, but for entries and for what is in folders parts/. A folder gives its name to its index. */
const everything = reached([...Object.values(ENTRIES), ...Object.values(TWICE_FILES)], (module) => [
  ...importsOf(module),
  ...loadsOf(module),
]);
const fileOf = (module) => module.replace(/\/index\.js$/, ".js").replace(/.*\//, "");
const filesOf = (modules) => Object.fromEntries(modules.map((module) => [fileOf(module), module]));
const ON_DEMAND = filesOf(
  [...new Set([...everything].flatMap(loadsOf))].filter((m) => !Object.values(ENTRIES).includes(m) && !/(^|\/)parts\//.test(m)),
);
const WORKERS = filesOf([...new Set([...everything].flatMap(workersOf))]);
const GPU_PARTS = partsOf("webgpu");

/**
 * Entries that share classes with their parts are written together with these: in x-common.js is what the entry and its parts have in
 * common, and what some parts alone share is in a file named after a module of it.
 */
const TOGETHER = Object.fromEntries(["onnx", "keras"].map((x) => [`${x}.js`, { [`${x}.js`]: `${x}/index.js`, ...partsOf(x) }]));

/** Every file that is shipped, with its module; `base.js` has several, and parts written together with an entry come with it. */
const FILES = {
  ...ENTRIES,
  ...TWICE_FILES,
  ...Object.fromEntries(
    Object.entries(TWICE_FILES)
      .filter(([, module]) => isOnIndex(module))
      .map(([file, module]) => [INFERENCE + file, module]),
  ),
  [BASE]: BASE,
  ...Object.fromEntries(
    Object.values(PACKAGE.bin).map((file) => [file.replace("build/", ""), file.replace(/^build\/(.*)\.js$/, "$1/main.js")]),
  ),
  ...ON_DEMAND,
  ...GPU_PARTS,
  ...WORKERS,
};
const isPart = (file) => /\/parts\//.test(FILES[file]);
/**
 * Each is whole in itself but for errors, whose module is that of base.js that imports nothing, so that bundlers keep nothing of what
 * entries share for its sake.
 */
const isWhole = (file) => [ON_DEMAND, GPU_PARTS, WORKERS].some((files) => Object.hasOwn(files, file));
const ERRORS = COMMON.filter((module) => importsOf(module).length === 0).map((module) => join(esm, module));

/**
 * Modules that are in files of their own, which others import: what entries share, classes above all, and parts loaded on demand. Files on
 * inference.js have that, and what stands on it, in place of index.js.
 */
function sharedFor(file) {
  const shared = new Map();
  if (file === BASE) return shared;
  for (const module of isWhole(file) ? ERRORS : BASE_MODULES) shared.set(module, `./${BASE}`);
  for (const other of Object.keys(FILES)) {
    if (
      other === "inference.js" ||
      other.startsWith(INFERENCE) ||
      !(Object.hasOwn(ENTRIES, other) || Object.hasOwn(ON_DEMAND, other) || isPart(other))
    )
      continue;
    const own = other === "index.js" ? "inference.js" : INFERENCE + other;
    shared.set(join(esm, FILES[other]), `./${file.startsWith("inference") && Object.hasOwn(FILES, own) ? own : other}`);
  }
  return shared;
}

/** Reads modules that tsc wrote, with their maps; for `inference` with TRAINING false. `own`: the entry that is written, and its parts. */
function modules(own, inference, shared) {
  return {
    name: "modules",
    resolveId(id, importer) {
      if (importer === undefined || importer === BASE) return id;
      if (id === "#kernels" || /^#shaders\b/.test(id)) return join(root, "build", `${id.slice(1)}.js`);
      if (!id.startsWith(".")) return isBundled(id) ? fileURLToPath(import.meta.resolve(id)) : { id, external: true };
      const file = resolve(dirname(importer), id);
      return shared.has(file) && !own.includes(file) ? { id: file, external: "absolute" } : file;
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

/** What the first of some files has in common with others, that they import. */
function commonOf(files) {
  const [own, ...others] = Object.values(files).map((module) => reached([module], importsOf));
  return [...own].filter((module) => others.some((modules) => modules.has(module))).map((module) => join(esm, module));
}

/** One file, or an entry with its parts. */
async function write(file) {
  const files = TOGETHER[file] ?? { [file]: FILES[file] };
  const withoutEnd = (name) => name.replace(/\.js$/, "");
  const entry = withoutEnd(file);
  const input = Object.fromEntries(Object.entries(files).map(([name, m]) => [withoutEnd(name), m === BASE ? BASE : join(esm, m)]));
  const common = file in TOGETHER ? commonOf(files) : [];
  const shared = sharedFor(file);
  const plugins = [modules(Object.values(input), file.startsWith("inference"), shared)];
  // Getters of the library do nothing but give a value.
  const build = await rollup({ input, onwarn, plugins, treeshake: { propertyReadSideEffects: false } });
  await build.write({
    dir: join(root, "build"),
    entryFileNames: "[name].js",
    chunkFileNames: ({ name }) => (name.startsWith(`${entry}-`) ? "[name].js" : `${entry}-shared-[name].js`),
    manualChunks: (id) => (common.includes(id) ? `${entry}-common` : null),
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

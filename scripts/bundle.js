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
const PARTS = Object.fromEntries(
  ["webgpu", "transformers"].flatMap((entry) =>
    readdirSync(join(root, "src", entry, "parts")).map((file) => {
      const part = file.slice(0, -".ts".length);
      return [`${entry}-${part}.js`, `${entry}/parts/${part}.js`];
    }),
  ),
);

/** Every file that is shipped, with its module. */
const FILES = {
  "index.js": "index.js",
  "inference.js": "inference.js",
  "data.js": "data/index.js",
  "safetensors.js": "safetensors/index.js",
  "lora.js": "lora/index.js",
  "gguf.js": "gguf/index.js",
  "transformers.js": "transformers/index.js",
  "keras.js": "keras/index.js",
  "errors.js": "errors.js",
  "webgpu.js": "webgpu/index.js",
  ...PARTS,
  "pool.js": "wasm/pool.js",
  "bar.js": "bar.js",
  "devices.js": "model/devices.js",
  "padding.js": "model/padding.js",
  "reader.js": "model/reader.js",
  "weights.js": "model/weights.js",
  "write.js": "node/write.js",
  "worker.js": "wasm/worker.js",
};
/** Files that are loaded on demand besides. Each is whole in itself but for errors. */
const ON_DEMAND = ["pool.js", "bar.js", "devices.js", "padding.js", "reader.js", "weights.js", "write.js"];
/**
 * Modules that are files of their own, so that others import these: what entries share, classes above all, and parts loaded on demand.
 */
const SHARED = new Map(
  ["index.js", "safetensors.js", "gguf.js", "errors.js", "webgpu.js", ...Object.keys(PARTS), ...ON_DEMAND].map((file) => [
    join(esm, FILES[file]),
    `./${file}`,
  ]),
);

/** Reads modules that tsc wrote, with their maps; for `inference` with TRAINING false. `entry`: the file that is written. */
function modules(entry, inference) {
  return {
    name: "modules",
    resolveId(id, importer) {
      if (importer === undefined) return null;
      if (id === "#kernels" || /^#shaders\b/.test(id)) return join(root, "build", `${id.slice(1)}.js`);
      if (!id.startsWith(".")) return { id, external: true };
      const file = resolve(dirname(importer), id);
      return SHARED.has(file) && file !== entry ? { id: file, external: "absolute" } : file;
    },
    load(file) {
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

/** A helper that tsc writes asks for a `this` that modules do not have. */
function onwarn(warning) {
  if (warning.code === "THIS_IS_UNDEFINED") return;
  throw new Error(`rollup: ${warning.message}`);
}

/** One file. */
async function write(file) {
  const input = join(esm, FILES[file]);
  const plugins = [modules(input, file === "inference.js")];
  // Getters of the library do nothing but give a value.
  const build = await rollup({ input, onwarn, plugins, treeshake: { propertyReadSideEffects: false } });
  await build.write({
    file: join(root, "build", file),
    format: "es",
    sourcemap: true,
    sourcemapPathTransform: (path, map) => relative(dirname(map), resolve(dirname(map), path)),
    paths: (id) => SHARED.get(id) ?? id,
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
  writeTypes(esm, join(root, "build/types"), [
    "index",
    "inference",
    "data/index",
    "safetensors/index",
    "lora/index",
    "gguf/index",
    "transformers/index",
    "keras/index",
  ]);
}

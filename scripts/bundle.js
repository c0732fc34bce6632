/**
 * @file What the package ships, from build/esm: a file for each entry and for each part that is loaded on demand, minified, with
 * source maps that lead to src, and the types that the entries reach. Files are few, since Node takes about 0.3 ms to load each.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import terser from "@rollup/plugin-terser";
import { rollup } from "rollup";
import { called, eager, firstPrediction, smallModel } from "./eager.js";
import { decodeMappings, encodeMappings, forBundlers } from "./transform.js";
import { writeTypes } from "./types.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const esm = join(root, "build/esm");
const shadersFile = join(root, "build/shaders.js");
/** The constant that is false in what only predicts. */
const trainingFile = join(esm, "training.js");

/** Every file that is shipped, with its module. */
const FILES = {
  "index.js": "index.js",
  "inference.js": "inference.js",
  "data.js": "data/index.js",
  "safetensors.js": "safetensors/index.js",
  "errors.js": "errors.js",
  "webgpu.js": "webgpu/index.js",
  "pool.js": "wasm/pool.js",
  "write.js": "node/write.js",
  "worker.js": "wasm/worker.js",
};
/** Modules that are files of their own, so that others import these: classes that all entries share, and parts loaded on demand. */
const SHARED = new Map(["errors.js", "webgpu.js", "pool.js", "write.js"].map((file) => [join(esm, FILES[file]), `./${file}`]));

/** Reads modules that tsc wrote, with their maps; for `inference`, without gradient rules. `kernels`: those of the GPU, and short names of their constants. */
function modules(inference, kernels) {
  return {
    name: "modules",
    resolveId(id, importer) {
      if (importer === undefined) return null;
      if (id === "#kernels" || id === "#shaders") return join(root, "build", `${id.slice(1)}.js`);
      if (!id.startsWith(".")) return { id, external: true };
      const file = resolve(dirname(importer), id);
      return SHARED.has(file) && file !== this.entry ? { id: file, external: "absolute" } : file;
    },
    load(file) {
      if (file === shadersFile) return { code: kernels.shaders, map: { mappings: "" } };
      if (inference && file === trainingFile) return { code: "export const TRAINING = false;\n", map: { mappings: "" } };
      const code = readFileSync(file, "utf8");
      if (!file.startsWith(esm)) return { code, map: { mappings: "" } };
      const map = JSON.parse(readFileSync(`${file}.map`, "utf8"));
      const sources = map.sources.map((source) => resolve(dirname(file), source));
      const constants = file.startsWith(join(esm, "webgpu")) ? kernels.constants : new Map();
      return forBundlers(code, constants, { ...map, sources, mappings: decodeMappings(map.mappings) });
    },
  };
}

/** Warnings that say nothing: ops and their gradients refer to each other, from within functions only. */
function onwarn(warning) {
  if (warning.code === "CIRCULAR_DEPENDENCY" || warning.code === "THIS_IS_UNDEFINED") return;
  throw new Error(`rollup: ${warning.message}`);
}

/** One file. */
async function write(file, kernels) {
  const input = join(esm, FILES[file]);
  const inference = file === "inference.js";
  const plugin = modules(inference, kernels);
  const build = await rollup({ input, onwarn, plugins: [{ ...plugin, resolveId: (id, importer) => plugin.resolveId.call({ entry: input }, id, importer) }] });
  await build.write({
    file: join(root, "build", file),
    format: "es",
    sourcemap: true,
    sourcemapPathTransform: (path, map) => relative(dirname(map), resolve(dirname(map), path)),
    paths: (id) => SHARED.get(id) ?? id,
    plugins: [terser({
      module: true,
      ecma: 2022,
      // Functions of one caller stay out of it: inside they would be parsed with it and again when it calls them, and bundlers of applications put them there anyway.
      compress: { passes: 2, reduce_funcs: false, inline: 1 },
      // What consoles show of a tensor, a model and an error.
      keep_classnames: /^(Tensor|Model|InferenceModel|\w+Error)$/,
      // Bundlers of applications read these: which calls may be dropped, and which import is not theirs.
      // ASCII alone: one other character makes engines hold and parse the whole file in two bytes a character.
      // Short lines: of an error that nobody catches Node prints the whole line first, and in a pipe its message was cut off behind 147 KB of code.
      format: { max_line_len: 160, ascii_only: true, preserve_annotations: true, comments: /webpackIgnore|@vite-ignore/ },
    })],
  });
  await build.close();
}

/** Marks in an entry what the first prediction from `model` calls. */
async function mark(file, model) {
  const path = join(root, "build", file);
  const url = `${pathToFileURL(path)}?`;
  const code = readFileSync(path, "utf8");
  const map = JSON.parse(readFileSync(`${path}.map`, "utf8"));
  const marked = eager(code, await called(`${url}unmarked`, model), { ...map, mappings: decodeMappings(map.mappings) });
  writeFileSync(path, marked.code);
  writeFileSync(`${path}.map`, JSON.stringify({ ...marked.map, mappings: encodeMappings(marked.map.mappings) }));
  // Functions that have become variables must be there before they are called.
  await firstPrediction(`${url}marked`, model);
}

/** Writes everything. `kernels`: the text of the module of GPU kernels, and the names that their constants have there. */
export async function bundle(kernels) {
  for (const file of Object.keys(FILES)) await write(file, kernels);
  const model = await smallModel(pathToFileURL(join(root, "build/index.js")).href);
  for (const file of ["index.js", "inference.js"]) await mark(file, model);
  writeTypes(esm, join(root, "build/types"), ["index", "inference", "data/index", "safetensors/index"]);
}

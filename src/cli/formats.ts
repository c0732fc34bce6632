/**
 * @file Files of models by format: what reads them and what writes them. Entries of the package other than the core are loaded when a file
 * of theirs comes.
 */
import { extraLayers, loadModel } from "../index.ts";
import type { Model, Tensor } from "../index.ts";
import { builtin, readBytes } from "../node/files.ts";
import type { Builtins } from "../node/files.ts";
import { Failure } from "./command.ts";

/** A graph of operators, which is run by names and has no layers. */
export interface Net {
  readonly inputs: readonly { readonly name: string; readonly dtype: string | null; readonly shape: readonly (number | null)[] | null }[];
  readonly outputs: Net["inputs"];
  readonly weights: ReadonlyMap<string, Tensor>;
  run(inputs: { readonly [name: string]: Tensor }): Promise<{ [name: string]: Tensor }>;
}

/** What a file holds. */
export type Opened = { readonly kind: "model"; readonly model: Model } | { readonly kind: "net"; readonly net: Net };

/** A format of models. */
export interface Format {
  /** For `--from` and `--to`. */
  readonly name: string;
  readonly title: string;
  /** How names of files end; of folders, a file in them. */
  readonly endings: readonly string[];
  readonly marker?: string;
  readonly read?: (path: string) => Promise<Opened>;
  readonly write?: (model: Model, path: string) => Promise<void>;
}

/** What an entry of the package has. @throws Failure where this version has no such entry */
async function entry<T>(name: string): Promise<T> {
  try {
    // By a name that is put together: entries that are not there are no mistake of the build.
    return (await import(`lockstep/${name}`)) as T;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ERR_PACKAGE_PATH_NOT_EXPORTED" || code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND")
      throw new Failure(`this version of Lockstep has no lockstep/${name}, which such files need`);
    throw error;
  }
}

async function write(path: string, bytes: Uint8Array): Promise<void> {
  const { writeBytesAtomic } = await import("../node/write.ts");
  await writeBytesAtomic(path, bytes);
}

interface KerasEntry {
  loadKeras(path: string): Promise<Model>;
  saveKeras(model: Model): Promise<Uint8Array>;
  loadTfjs(path: string): Promise<Model>;
  saveTfjs(model: Model): Promise<{ readonly [file: string]: Uint8Array }>;
}

interface OnnxEntry {
  loadOnnx(path: string): Promise<Net>;
  saveOnnx(model: Model): Promise<Uint8Array>;
}

const asModel = async (model: Promise<Model>): Promise<Opened> => ({ kind: "model", model: await model });

/** model.json in a folder, or itself. */
const jsonPath = (path: string): string => (/\.json$/i.test(path) ? path : `${path.replace(/[/\\]+$/, "")}/model.json`);

export const FORMATS: readonly Format[] = [
  {
    name: "lockstep",
    title: "Lockstep",
    endings: [".safetensors"],
    read: async (path) => asModel(loadModel(await readBytes(path), { layers: extraLayers })),
    write: async (model, path) => write(path, await model.toBytes()),
  },
  {
    name: "keras",
    title: "Keras",
    endings: [".keras"],
    read: async (path) => asModel((await entry<KerasEntry>("keras")).loadKeras(path)),
    write: async (model, path) => write(path, await (await entry<KerasEntry>("keras")).saveKeras(model)),
  },
  {
    name: "h5",
    title: "Keras in HDF5",
    endings: [".h5", ".hdf5"],
    read: async (path) => asModel((await entry<KerasEntry>("keras")).loadKeras(path)),
  },
  {
    name: "tfjs",
    title: "TensorFlow.js, model.json and its folder",
    endings: [".json", "/"],
    marker: "model.json",
    read: async (path) => asModel((await entry<KerasEntry>("keras")).loadTfjs(jsonPath(path))),
    async write(model, path) {
      const files = await (await entry<KerasEntry>("keras")).saveTfjs(model);
      const { dirname, join } = builtin("node:path") as Builtins["node:path"];
      const folder = dirname(jsonPath(path));
      await (builtin("node:fs") as Builtins["node:fs"]).promises.mkdir(folder, { recursive: true });
      for (const [name, bytes] of Object.entries(files)) await write(name === "model.json" ? jsonPath(path) : join(folder, name), bytes);
    },
  },
  {
    name: "onnx",
    title: "ONNX",
    endings: [".onnx"],
    read: async (path) => ({ kind: "net", net: await (await entry<OnnxEntry>("onnx")).loadOnnx(path) }),
    write: async (model, path) => write(path, await (await entry<OnnxEntry>("onnx")).saveOnnx(model)),
  },
  {
    name: "transformers",
    title: "Hugging Face, a folder with config.json",
    endings: [".gguf"],
    marker: "config.json",
    async read(path) {
      const { loadPretrained } = await import("../transformers/index.ts");
      const loaded = (await loadPretrained(path, { onProgress: progressLine() })) as unknown as { readonly model: Model };
      return { kind: "model", model: loaded.model };
    },
  },
];

/** Shows on a terminal how far loading is. */
function progressLine(): (progress: { readonly loaded: number; readonly total: number }) => void {
  const { stderr } = process;
  if (!stderr.isTTY) return () => {};
  return ({ loaded, total }) => {
    const part = total > 0 ? Math.min(1, loaded / total) : 0;
    const done = Math.round(30 * part);
    stderr.write(`\r[${"=".repeat(done)}${" ".repeat(30 - done)}] ${(loaded / 1e6).toFixed(0)} of ${(total / 1e6).toFixed(0)} MB`);
    if (loaded >= total) stderr.write("\r\x1b[K");
  };
}

/** Formats as a table for the help. */
export const formatsHelp = (): string =>
  [
    "Formats:",
    ...FORMATS.map(({ name, title, endings, write: writes }) => {
      const names = endings.filter((e) => e !== "/").join(", ");
      return `  ${name.padEnd(14)}${title}: ${names}${writes === undefined ? " (read alone)" : ""}`;
    }),
  ].join("\n");

const named = (name: string): Format => {
  const found = FORMATS.find((f) => f.name === name);
  if (found === undefined) throw new Failure(`unknown format ${JSON.stringify(name)}; known: ${FORMATS.map((f) => f.name).join(", ")}`);
  return found;
};

/** The format of a file that is there. @throws Failure */
async function formatOf(path: string): Promise<Format> {
  const fs = builtin("node:fs") as Builtins["node:fs"];
  const stat = await fs.promises.stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new Failure(`cannot read ${JSON.stringify(path)}: ${error.code === "ENOENT" ? "there is no such file" : error.message}`);
  });
  const found = stat.isDirectory()
    ? FORMATS.find(({ marker }) => marker !== undefined && fs.existsSync(`${path}/${marker}`))
    : FORMATS.find(({ endings }) => endings.some((ending) => path.toLowerCase().endsWith(ending)));
  if (found !== undefined) return found;
  const what = stat.isDirectory() ? "a folder without config.json or model.json" : `a name that says no format; give --from`;
  throw new Failure(`${JSON.stringify(path)} is ${what}: ${FORMATS.map((f) => f.name).join(", ")}`);
}

/** Reads a model. @throws Failure, and what the reader throws */
export async function openModel(path: string, from?: string): Promise<Opened & { readonly format: Format }> {
  const format = from === undefined ? await formatOf(path) : named(from);
  if (format.read === undefined) throw new Failure(`${format.title} is not read`);
  if (from !== undefined) await formatOf(path).catch((error: Error) => (/no such file/.test(error.message) ? Promise.reject(error) : null));
  return { ...(await format.read(path)), format };
}

/** Reads a model of layers. @throws Failure for a graph of operators */
export async function openLayers(path: string, from?: string): Promise<Model> {
  const opened = await openModel(path, from);
  if (opened.kind === "model") return opened.model;
  throw new Failure(`${JSON.stringify(path)} is a graph of operators and has no layers, which this needs`);
}

/** The format that a path to be written asks for. @throws Failure */
export function formatTo(path: string, to?: string): Format & { readonly write: NonNullable<Format["write"]> } {
  const lower = path.toLowerCase();
  const found = to === undefined ? FORMATS.find(({ endings }) => endings.some((ending) => lower.endsWith(ending))) : named(to);
  const writable = FORMATS.filter((f) => f.write !== undefined);
  if (found?.write === undefined) {
    const why = found === undefined ? `${JSON.stringify(path)} has a name that says no format; give --to` : `${found.title} is not written`;
    throw new Failure(`${why}; written are ${writable.map((f) => `${f.name} (${f.endings.join(", ")})`).join(", ")}`);
  }
  return { ...found, write: found.write };
}

/**
 * @file Files of models by format: what reads them and what writes them. Entries of the package other than the core are loaded when a file
 * of theirs comes.
 */
import { extraLayers, loadModel } from "../index.ts";
import type { DType, Model, Tensor } from "../index.ts";
import { builtin } from "../node/files.ts";
import type { Builtins } from "../node/files.ts";
import type { Encoder, ImageClassifier, LanguageModel } from "../transformers/index.ts";
import { Failure, UsageError } from "./command.ts";
import { isFolder, readFile, writeFile } from "./paths.ts";

/** A graph of operators, which is run by names and has no layers. */
export interface Net {
  readonly inputs: readonly { readonly name: string; readonly dtype: string | null; readonly shape: readonly (number | null)[] | null }[];
  readonly outputs: Net["inputs"];
  readonly weights: ReadonlyMap<string, Tensor>;
  run(inputs: { readonly [name: string]: Tensor }): Promise<{ [name: string]: Tensor }>;
}

/** What elements of a type of ONNX compute as; null: as they come. */
export const dtypeOf = (type: string | null): DType | null =>
  type === null || type === "string"
    ? null
    : type === "bool"
      ? "bool"
      : /float/.test(type)
        ? "f32"
        : /^uint(32|64)$/.test(type)
          ? "u32"
          : "i32";

/** What a file holds. `pretrained`: of a checkpoint, with its tokenizer. */
export type Opened =
  | { readonly kind: "model"; readonly model: Model; readonly pretrained?: Encoder | ImageClassifier | LanguageModel }
  | { readonly kind: "net"; readonly net: Net };

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
  /** Writes what it can hold of a graph of operators, and says what that is. */
  readonly writeNet?: (net: Net, path: string) => Promise<string>;
  /** The file that there is once a model was written; default: the path. */
  readonly fileOf?: (path: string) => string;
}

/** The tensors of a graph, without it. */
async function writeWeights({ weights }: Net, path: string): Promise<string> {
  const { writeSafetensors } = await import("../safetensors/index.ts");
  const tensors = await Promise.all([...weights].map(async ([name, t]) => [name, { shape: t.shape, data: await t.data() }] as const));
  await writeFile(path, await writeSafetensors(Object.fromEntries(tensors), { format: "onnx" }));
  const elements = [...weights.values()].reduce((n, t) => n + t.size, 0);
  return `the weights alone, ${elements.toLocaleString("en-US")} elements in ${weights.size} tensors, without the graph`;
}

const keras = (): Promise<typeof import("../keras/index.ts")> => import("../keras/index.ts");
const onnx = (): Promise<typeof import("../onnx/index.ts")> => import("../onnx/index.ts");

const asModel = async (model: Promise<Model>): Promise<Opened> => ({ kind: "model", model: await model });

/** model.json in a folder, or itself. */
const jsonPath = (path: string): string => (/\.json$/i.test(path) ? path : `${path.replace(/[/\\]+$/, "")}/model.json`);

export const FORMATS: readonly Format[] = [
  {
    name: "lockstep",
    title: "Lockstep",
    endings: [".safetensors"],
    read: async (path) => asModel(loadModel(await readFile(path), { layers: extraLayers })),
    write: async (model, path) => writeFile(path, await model.toBytes()),
    writeNet: writeWeights,
  },
  {
    name: "keras",
    title: "Keras",
    endings: [".keras"],
    read: async (path) => asModel((await keras()).loadKeras(path)),
    write: async (model, path) => writeFile(path, await (await keras()).saveKeras(model)),
  },
  {
    name: "h5",
    title: "Keras in HDF5",
    endings: [".h5", ".hdf5"],
    read: async (path) => asModel((await keras()).loadKeras(path)),
  },
  {
    name: "tfjs",
    title: "TensorFlow.js",
    endings: [".json", "/"],
    marker: "model.json",
    read: async (path) => asModel((await keras()).loadTfjs(jsonPath(path))),
    fileOf: jsonPath,
    async write(model, path) {
      const files = await (await keras()).saveTfjs(model);
      const { dirname, join } = builtin("node:path") as Builtins["node:path"];
      const folder = dirname(jsonPath(path));
      await (builtin("node:fs") as Builtins["node:fs"]).promises.mkdir(folder, { recursive: true });
      for (const [name, bytes] of Object.entries(files))
        await writeFile(name === "model.json" ? jsonPath(path) : join(folder, name), bytes);
    },
  },
  {
    name: "onnx",
    title: "ONNX",
    endings: [".onnx"],
    read: async (path) => ({ kind: "net", net: await (await onnx()).loadOnnx(path) }),
    write: async (model, path) => writeFile(path, await (await onnx()).saveOnnx(model)),
  },
  {
    name: "transformers",
    title: "Hugging Face and GGUF",
    endings: [".gguf"],
    marker: "config.json",
    async read(path) {
      const { loadPretrained } = await import("../transformers/index.ts");
      const pretrained = await loadPretrained(path, { onProgress: progressLine() });
      return { kind: "model", model: pretrained.model as Model, pretrained };
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
    ...FORMATS.map(({ name, title, endings, marker, write: writes }) => {
      const folder = marker === undefined ? "" : `a folder with ${marker}, `;
      const names = endings.filter((e) => e !== "/").join(", ");
      return `  ${name.padEnd(14)}${title}: ${folder}${names}${writes === undefined ? " (read, not written)" : ""}`;
    }),
  ].join("\n");

const named = (name: string): Format => {
  const found = FORMATS.find((f) => f.name === name);
  if (found === undefined) throw new UsageError(`unknown format ${JSON.stringify(name)}; known: ${FORMATS.map((f) => f.name).join(", ")}`);
  return found;
};

/** The format of a file that is there. @throws Failure */
function formatOf(path: string): Format {
  const folder = isFolder(path);
  const { existsSync } = builtin("node:fs") as Builtins["node:fs"];
  const found = folder
    ? FORMATS.find(({ marker }) => marker !== undefined && existsSync(`${path}/${marker}`))
    : FORMATS.find(({ endings }) => endings.some((ending) => path.toLowerCase().endsWith(ending)));
  if (found !== undefined) return found;
  if (folder) throw new Failure(`${JSON.stringify(path)} is a folder without config.json or model.json, which would be a model`);
  const known = FORMATS.flatMap(({ endings }) => endings.filter((e) => e !== "/")).join(", ");
  throw new Failure(
    `${JSON.stringify(path)} has a name that says no format (${known}); give --from: ${FORMATS.map((f) => f.name).join(", ")}`,
  );
}

/** Reads a model. @throws Failure, and what the reader throws */
export async function openModel(path: string, from?: string): Promise<Opened & { readonly format: Format }> {
  const format = from === undefined ? formatOf(path) : named(from);
  // With --from nobody has looked yet whether there is anything.
  isFolder(path);
  if (format.read === undefined) throw new Failure(`${format.title} is not read`);
  return { ...(await format.read(path)), format };
}

/** Reads a model of layers. @throws Failure for a graph of operators */
export async function openLayers(path: string, from?: string): Promise<Model> {
  const opened = await openModel(path, from);
  if (opened.kind === "model") return opened.model;
  throw new Failure(
    `${JSON.stringify(path)} is a graph of operators and has no layers, which this needs; lockstep run, bench and summary take it`,
  );
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

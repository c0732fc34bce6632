/** @file Models of Keras: archives of Keras 3, and HDF5 files of Keras 2 and 3. */
import { cut } from "../io/safetensors.ts";
import { bytesOf } from "../io/source.ts";
import { FileError } from "../index.ts";
import type { Backend, BackendName, Config, Layer, LayerLike, Model, ModelSource, OpenShape } from "../index.ts";
import { checkOptions } from "../check.ts";
import { textOf } from "./bytes.ts";
import { described, isObject, show, some } from "./fields.ts";
import type { Described, Dialect, Json } from "./fields.ts";
import { fileName, namedFiles, open, openBeside } from "./files.ts";
import type { ModelFiles, Opened } from "./files.ts";
import { isHdf5, readHdf5 } from "./hdf5.ts";
import { parseJson } from "./json.ts";
import { MODELS, isLayerClass } from "./layers.ts";
import type { Reading } from "./layers.ts";
import { part } from "./part.ts";
import type { Place } from "./place.ts";
import { jsonOf, namedVariables, namesOf, optimizerVariables, textOf as attributeText } from "./legacy.ts";
import { storeOfGroups, storeOfNames, variablesOf } from "./stores.ts";
import type { Named } from "./stores.ts";
import { isVocabulary } from "./text.ts";
import type { Vocabularies } from "./text.ts";
import { layersInOrder, readStructure } from "./topology.ts";
import type { Structure } from "./topology.ts";
import { weightsFrom } from "./variables.ts";
import type { Store, Variable } from "./variables.ts";
import { isZip, readZip } from "./zip.ts";
import type { Archive } from "./zip.ts";

/** Options of `loadKeras`. */
export interface LoadKerasOptions {
  /**
   * Makes layers that Lockstep has not, by their name or class: `Lambda` layers, which hold code, and classes of one's own. They get what
   * the file says of the layer.
   */
  readonly layers?: { readonly [nameOrClass: string]: (config: Config) => LayerLike };
  /** A built model, for a file of weights alone; it is given back with these weights. */
  readonly model?: Model;
  /** Shape of one sample, or a list of shapes, where the file does not say. */
  readonly inputShape?: OpenShape | readonly OpenShape[];
  /** Whether the model comes back compiled where the file has a loss and an optimizer. Default true. */
  readonly compile?: boolean;
  /** For a model that comes back compiled. Default: the backend opened last. */
  readonly backend?: BackendName | Backend;
}

/** What a file is, read. */
interface Contents {
  readonly who: string;
  readonly dialect: Dialect;
  /** See `Reading`. */
  readonly obeys: boolean;
  readonly model: Json | null;
  readonly training: Json | null;
  readonly store: (places: ReadonlyMap<Layer, Place>) => Store;
  /** Names of the layers that have weights, in order; null in files of Keras 3. */
  readonly named: readonly Named[] | null;
  readonly optimizer: () => Promise<readonly Variable[]>;
  /** What it has of vocabularies besides the options of their layers. */
  readonly vocabularies: Vocabularies | null;
}

/** Bytes of one's own are the user's, who may change them; those of a file are read in place. */
const isMemory = (source: unknown): boolean => ArrayBuffer.isView(source) || typeof (source as ArrayBuffer)?.byteLength === "number";

/** `bytes` with elements of 8 bytes where they can be read: moved over what lies before them in their own memory. */
function aligned(bytes: Uint8Array): Uint8Array {
  const { buffer, byteOffset, length } = bytes;
  const off = byteOffset % 8;
  if (off === 0) return bytes;
  const moved = new Uint8Array(buffer, byteOffset - off, length);
  moved.set(bytes);
  return moved;
}

/** Until 3.16 models passed over what their calls of layers say of training. */
const obeys = (version: string): boolean => {
  const [, major, minor] = (/^(\d+)\.(\d+)/.exec(version) ?? ["", "99", "0"]).map(Number);
  return major !== 3 || minor >= 16;
};

const dialectOf = (version: string): Dialect => (/^[12]\./.test(version) ? "keras2" : "keras3");

async function readArchive(who: string, archive: Archive): Promise<Contents> {
  const json = async (name: string): Promise<Json> => parseJson(`${who}: ${name}`, textOf(who, name, await archive.read(name)));
  const WEIGHTS = "model.weights.h5";
  if (!archive.names.includes("config.json"))
    throw new FileError(`${who}: not a model of Keras: the archive has ${some(archive.names, 8)}`);
  const model = await json("config.json");
  if (!archive.names.includes(WEIGHTS)) {
    const npz = archive.names.includes("model.weights.npz")
      ? "; model.weights.npz holds pickled objects, which Keras itself refuses by now"
      : "";
    throw new FileError(`${who}: it has no ${WEIGHTS}${npz}`);
  }
  const file = readHdf5(`${who}: ${WEIGHTS}`, aligned(await archive.read(WEIGHTS)));
  const { compile_config: training = null } = model;
  const assets = new Map<string, string>();
  for (const name of archive.names.filter(isVocabulary)) assets.set(name, textOf(who, name, await archive.read(name)));
  const { keras_version: says = "" } = archive.names.includes("metadata.json") ? await json("metadata.json") : {};
  const version = typeof says === "string" ? says : "";
  return {
    ...ofGroups(who, await variablesOf(file, "/"), assets),
    dialect: dialectOf(version),
    obeys: obeys(version),
    model,
    training: training as Json | null,
  };
}

function ofGroups(who: string, variables: ReadonlyMap<string, Variable>, assets: ReadonlyMap<string, string> = new Map()): Contents {
  const state = [...variables.keys()].filter((name) => /^\/optimizer(\/inner_optimizer)?\/vars\/\d+$/.test(name));
  // One that scales the loss holds the one that learns.
  const inner = state.filter((name) => name.includes("/inner_optimizer/"));
  const numberOf = (name: string): number => Number(name.replace(/^.*\//, ""));
  const stateInOrder = (inner.length > 0 ? inner : state)
    .sort((a, b) => numberOf(a) - numberOf(b))
    .map((name) => variables.get(name) as Variable);
  return {
    who,
    dialect: "keras3",
    obeys: true,
    model: null,
    training: null,
    store: () => storeOfGroups(who, variables),
    named: null,
    optimizer: async () => stateInOrder,
    vocabularies: { assets, variables },
  };
}

async function readOneFile(who: string, bytes: Uint8Array): Promise<Contents> {
  const file = readHdf5(who, bytes);
  const root = file.get("/");
  const model = jsonOf(who, root, "model_config");
  const group = file.has("/model_weights") ? "/model_weights" : "/";
  if (model === null && namesOf(file.get(group), "layer_names").length === 0) {
    if ([...file.keys()].some((path) => /^\/(layers|_layer_checkpoint_dependencies)\//.test(path)))
      return ofGroups(who, await variablesOf(file, "/"));
    throw new FileError(`${who}: an HDF5 file, but none of Keras: it has no model_config, no layer_names and no layers`);
  }
  const version = attributeText(root, "keras_version") ?? attributeText(file.get(group), "keras_version") ?? "2";
  if (/^1\./.test(version)) throw new FileError(`${who}: it was written by Keras ${version}; those of Keras 2 and later are read`);
  const named = await namedVariables(who, file, group);
  return {
    who,
    dialect: dialectOf(version),
    obeys: obeys(version),
    model,
    training: jsonOf(who, root, "training_config"),
    store: () => storeOfNames(who, named),
    named,
    optimizer: () => optimizerVariables(who, file),
    vocabularies: null,
  };
}

/** Weights that Keras has put into several files: https://keras.io/api/models/model_saving_apis/weights_saving_and_loading/ */
async function readShards({ who, json, read }: Opened): Promise<Contents> {
  const { weight_map: map } = json;
  const names = isObject(map) ? [...new Set(Object.values(map).flat())] : [];
  if (names.length === 0 || !names.every((name) => typeof name === "string"))
    throw new FileError(`${who}: a file of JSON, but not the index of weights that Keras writes: it has no weight_map with names of files`);
  const all = new Map<string, Variable>();
  for (const name of names) {
    const file = readHdf5(`${who}: ${cut(name)}`, aligned(await read(fileName(who, name))));
    for (const [path, variable] of await variablesOf(file, "/")) {
      if (all.has(path)) throw new FileError(`${who}: "${cut(path)}" is in two of its files`);
      all.set(path, variable);
    }
  }
  return ofGroups(who, all);
}

/** Says once for a file that it is computed otherwise than it was. */
function tellDtypes(who: string, dtypes: ReadonlySet<string>): void {
  if (dtypes.size > 0) console.warn(`lockstep: ${who}: layers of ${[...dtypes].join(", ")} are computed in float32`);
}

/** Makes the weights of a model. */
function buildWith(
  { model, inputShapes }: Structure,
  { who, places }: { readonly who: string; readonly places: ReadonlyMap<Layer, Place> },
  store: Store,
  given: LoadKerasOptions["inputShape"],
): void {
  const shapes = given === undefined ? inputShapes : ((Array.isArray(given[0]) ? given : [given]) as readonly OpenShape[]);
  if (shapes === null) throw new FileError(`${who}: it does not say of which shape its inputs are; give inputShape, of one sample`);
  const inside = (fn: () => void): void => {
    try {
      fn();
    } catch (cause) {
      const { message } = cause as Error;
      if (cause instanceof FileError && message.startsWith(who)) throw cause;
      throw new FileError(`${who}: its layers do not fit together: ${cut(message, 500)}`, { cause });
    }
  };
  inside(() => model.build(shapes, { weights: weightsFrom(who, store, places) }));
  store.finish();
  for (const [layer, place] of places) {
    // It begins with what its options say, and a file has what it learned.
    if (layer.kind !== "normalization" || place.className !== "Normalization") continue;
    const again = weightsFrom(who, store, places);
    for (const { name, tensor } of layer.weights) tensor.set(again(layer, name, tensor.shape)?.host as Float32Array);
  }
}

/** The model that a description is of. @throws FileError for what is no description of one */
function modelIn(who: string, value: Json): Described {
  const found = described(`${who}: the model`, value);
  if (!MODELS.includes(found.className))
    throw new FileError(`${who}: a model of class ${show(found.className)}, which is code; read are ${MODELS.join(", ")}`);
  const { build_config: build } = value as { readonly build_config?: { readonly input_shape?: unknown } | null };
  // Keras 2 has the layers of a row without more.
  const config = Array.isArray(value.config) ? { layers: value.config as unknown } : found.config;
  return { ...found, config: { build_input_shape: build?.input_shape, ...config } };
}

/** Layers whose names functions have too, in files that do not say where a class is from. */
const AMBIGUOUS = /^(Add|Subtract|Multiply|Maximum|Minimum|Reshape)$/;

/** Whether a member of a graph may be a function: all are that `operationOf` takes for one. */
function mayBeFunction(member: unknown): boolean {
  if (!isObject(member)) return false;
  const { class_name: given, module } = member;
  const className = String(given);
  if (/OpLambda$/.test(className)) return true;
  if (typeof module === "string" && module !== "") return /\.ops\b/.test(module);
  return AMBIGUOUS.test(className) || !(isLayerClass(className) || MODELS.includes(className) || className === "InputLayer");
}

/** Whether there may be functions between the layers of a model, or of one within it. */
function mayCompute(description: Json): boolean {
  const waiting: unknown[] = [description];
  while (waiting.length > 0) {
    const value = waiting.pop();
    if (typeof value !== "object" || value === null) continue;
    if (isObject(value) && Array.isArray(value.layers) && value.layers.some(mayBeFunction)) return true;
    for (const inner of Object.values(value)) waiting.push(inner);
  }
  return false;
}

/**
 * The model that a file describes, with its weights, which `store` reads once all of its layers are known. @throws FileError naming what is
 * wrong or not known
 */
export async function rebuilt(
  file: Pick<Reading, "who" | "dialect" | "obeys" | "vocabularies">,
  description: Json,
  own: Reading["own"],
  store: (places: ReadonlyMap<Layer, Place>) => Promise<Store>,
  inputShape: LoadKerasOptions["inputShape"],
): Promise<Structure> {
  const { who, dialect, obeys, vocabularies } = file;
  const found = modelIn(who, description);
  const { name } = found.config;
  const reading: Reading = {
    who,
    dialect,
    own,
    obeys,
    vocabularies,
    places: new Map(),
    first: new Map(),
    shared: new Map(),
    dtypes: new Set(),
    operations: mayCompute(found.config) ? await part(who, import("./parts/operations.ts")) : null,
    model: (r, l, name, group, outer) => readStructure(r, l, name, group, outer).model,
  };
  const structure = readStructure(reading, found, typeof name === "string" ? name : "", "");
  buildWith(structure, reading, await store(reading.places), inputShape);
  tellDtypes(who, reading.dtypes);
  return structure;
}

/** What Keras writes into a folder (zipped=False, and on Hugging Face) is what it puts into an archive. */
const folderOf = (files: ReadonlyMap<string, ModelSource>): Archive => ({
  names: [...files.keys()],
  read: async (name) => {
    const { bytes } = await bytesOf(name, files.get(name) as ModelSource);
    return isMemory(files.get(name)) ? bytes.slice() : bytes;
  },
});

async function contentsOf(source: ModelSource | ModelFiles): Promise<Contents> {
  const files = namedFiles(source);
  if (files?.has("config.json") === true) return readArchive("loadKeras", folderOf(files));
  if (files !== null) return readShards(await open("loadKeras", source));
  const given = await (source as ModelSource);
  const { who, bytes: read } = await bytesOf("loadKeras", given);
  const bytes = isMemory(given) ? read.slice() : read;
  if (isZip(bytes)) return readArchive(who, readZip(who, bytes));
  if (isHdf5(bytes)) return readOneFile(who, bytes);
  if (bytes[0] === "{".charCodeAt(0)) return readShards(openBeside("loadKeras", given, { who, bytes }));
  throw new FileError(`${who}: neither a .keras archive nor an HDF5 file`);
}

/**
 * Reads a model that Keras saved: a `.keras` archive of Keras 3, or an `.h5` file of Keras 2 or 3; sequential and functional models with
 * models within them. Where the file has a loss and an optimizer the model comes back compiled, and `fit` goes on where Keras' ended. Files
 * of weights alone (`.weights.h5`, those that Keras 2 writes, and `.weights.json` with its parts) are read into `options.model`.
 * @param source a path, address, response, blob, stream or bytes, as in `ModelSource`; several files also by name: those of a folder that
 * Keras wrote, or of weights
 * @throws FileError for a file that cannot be read, is damaged, or has layers, options, activations, initializers, losses or metrics that
 * Lockstep has not, each by its name; ArgumentError for bad options
 */
export async function loadKeras(source: ModelSource | ModelFiles, options: LoadKerasOptions = {}): Promise<Model> {
  const {
    layers = {},
    model: into,
    inputShape,
    compile = true,
    backend,
  } = checkOptions("loadKeras", options, ["layers", "model", "inputShape", "compile", "backend"]);
  const contents = await contentsOf(source);
  const { who } = contents;
  if (into !== undefined) return (await part(who, import("./parts/weights.ts"))).assignInto(into, contents);
  if (contents.model === null) throw new FileError(`${who}: weights without a model; give loadKeras the model that they are of: { model }`);
  const structure = await rebuilt(contents, contents.model, layers, async (places) => contents.store(places), inputShape);
  if (compile && contents.training !== null)
    await (
      await part(who, import("./parts/training.ts"))
    ).resume(who, structure.model, contents, { layers: layersInOrder(structure.layers), optimizer: contents.optimizer }, backend);
  return structure.model;
}

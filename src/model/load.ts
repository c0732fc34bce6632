/**
 * @file Models from files: one safetensors file with the weights and the configuration as JSON in its metadata. What a file
 * holds for training besides is handed on as it is; save.ts, which writes such files, makes it an optimizer again.
 */
import type { TypedArray } from "../dtype.ts";
import { ArgumentError, FileError, ShapeError } from "../errors.ts";
import { anticipate } from "../init.ts";
import { decodeSafetensors, parseObject } from "../io/safetensors.ts";
import { naming } from "../naming.ts";
import { layerFromConfig } from "../nn/config.ts";
import { withContext } from "../nn/layer.ts";
import type { Config } from "../nn/layer.ts";
import { readBytes } from "../node/files.ts";
import { sameShape, showShape, sizeOf } from "../shape.ts";
import type { OpenShape, Shape } from "../shape.ts";
import type { InferenceModel, ModelOptions } from "./inference.ts";
import { sequential } from "./inference.ts";
import { asLayers } from "./layers.ts";
import type { LayerLike } from "./layers.ts";

/** What a model is read from: a path or a file: URL (Node, Deno, Bun), or a file's bytes. */
export type ModelSource = string | URL | Uint8Array | ArrayBuffer;

/** Options of `loadModel` and `loadWeights`. */
export interface LoadOptions {
  /** Makes layers that are not Lockstep's own, by name or kind. */
  readonly layers?: { readonly [nameOrKind: string]: (config: Config) => LayerLike };
}

export const FORMAT = "lockstep";
export const VERSION = 1;

interface Entry { readonly kind: string; readonly name: string; readonly config: Config }
export interface Described {
  readonly format: string;
  readonly version: number;
  readonly name: string;
  readonly seed: number;
  readonly sequential: boolean;
  readonly inputShapes: readonly OpenShape[];
  readonly layers: readonly Entry[];
}

/**
 * FNV-1a goes on with the UTF-16 units of a text. Nothing else before a first prediction runs as often as these two loops. Kept short, they stay below what makes V8 optimize them in the
 * middle of a start: to prepare the first job of its optimizing compiler takes 1.5 ms of the calling thread.
 */
function hashText(hash: number, text: string): number {
  const { imul } = Math;
  const { length } = text;
  for (let i = 0; i < length; i++) hash = imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}

/** And with words: as signed ones, since the engine has unsigned ones above 2^31 on its heap. */
function hashWords(hash: number, words: Int32Array): number {
  const { imul } = Math;
  const { length } = words;
  for (let i = 0; i < length; i++) hash = imul(hash ^ words[i], 0x01000193);
  return hash;
}

/**
 * FNV-1a over metadata, as UTF-16, and the names, shapes and 32-bit words of all tensors in the order of their names: no single
 * changed word goes unnoticed, and hardly any other damage.
 */
export function checksum({ lockstep = "", training = "" }: { readonly [key: string]: string }, tensors: readonly (readonly [string, { readonly shape: Shape; readonly data: TypedArray }])[]): string {
  let hash = hashText(hashText(0x811c9dc5, lockstep), training);
  for (const [name, { shape, data }] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash = hashWords(hashText(hash, `${name} ${showShape(shape)}`), new Int32Array(data.buffer, data.byteOffset, data.length));
  }
  return (hash >>> 0).toString(16).padStart(8, "0");
}

/** A Lockstep file's bytes, decoded and compared with their checksum; a file of someone else's has none. @throws FileError */
function decode(who: string, bytes: Uint8Array): ReturnType<typeof decodeSafetensors> {
  const file = decodeSafetensors(bytes, who);
  const expected = file.metadata.checksum;
  if (file.metadata.lockstep === undefined && expected === undefined) return file;
  const got = checksum(file.metadata, [...file.tensors]);
  if (got !== expected) throw new FileError(`${who}: damaged: it has the checksum ${got}, the file says ${expected ?? "nothing"}`);
  return file;
}

export type Tensors = ReturnType<typeof decodeSafetensors>["tensors"];

export function parse<T>(who: string, key: string, text: string | undefined): T {
  if (text === undefined) throw new FileError(`${who}: not a Lockstep model: its metadata has no "${key}"; to read weights alone use loadWeights(model, file)`);
  return naming(who, () => parseObject(`metadata "${key}"`, text)) as T;
}

const isEntry = (l: Entry | null): boolean => typeof l?.kind === "string" && typeof l.name === "string" && typeof l.config === "object" && l.config !== null;

/** What `make` gives. @throws FileError for every error on the way: a configuration that cannot be followed is damaged. */
export async function rebuilt<R>(who: string, key: string, make: () => R | Promise<R>): Promise<R> {
  try {
    return await make();
  } catch (cause) {
    if (cause instanceof FileError && cause.message.startsWith(who)) throw cause;
    throw new FileError(`${who}: cannot rebuild the model from metadata "${key}": ${(cause as Error).message}`, { cause });
  }
}

async function bytesOf(source: ModelSource): Promise<{ who: string; bytes: Uint8Array }> {
  if (typeof source === "string" || source instanceof URL) return { who: String(source), bytes: await readBytes(source) };
  if (!(source?.byteLength >= 0)) throw new ArgumentError(`model file: expected a path or bytes, such as await response.arrayBuffer(), got ${String(source)}`);
  return { who: "model file", bytes: source instanceof Uint8Array ? source : new Uint8Array(source) };
}

/** Weights of `model` from tensors named `layer/weight`. Checks all before it changes any. */
function assignWeights(who: string, model: InferenceModel, tensors: Tensors): void {
  const found = model.layers.flatMap((l) => l.weights.map((w) => {
    const name = `${l.name}/${w.name}`;
    const t = tensors.get(name);
    if (t === undefined) throw new FileError(`${who}: no tensor "${name}"; it has ${[...tensors.keys()].slice(0, 8).join(", ")}`);
    if (!sameShape(t.shape, w.tensor.shape)) throw new FileError(`${who}: "${name}" has shape ${showShape(t.shape)}, the layer needs ${showShape(w.tensor.shape)}`);
    if (!(t.data instanceof Float32Array)) throw new FileError(`${who}: "${name}" holds ${t.dtype}, the layer needs F32`);
    return { tensor: w.tensor, data: t.data };
  }));
  // The elements are the tensor's own: decoding copied them out of the file.
  for (const { tensor, data } of found) tensor.set(data);
}

/**
 * Reads weights by layer and weight name into a model that has been built. Nothing changes when the file does not fit.
 * @param source a path or file: URL (Node, Deno, Bun), or the file's bytes.
 * @throws FileError
 */
export async function loadWeights(model: InferenceModel, source: ModelSource): Promise<void> {
  const { who, bytes } = await bytesOf(source);
  assignWeights(who, model, decode(who, bytes).tensors);
}

/** A model as a file describes it, with all else that the file holds. `make` makes it of its layers. */
export async function readModel<M extends InferenceModel>(source: ModelSource, { layers: custom = {} }: LoadOptions, make: (layers: readonly LayerLike[], options: ModelOptions) => M): Promise<{ model: M; who: string; metadata: { readonly [key: string]: string }; tensors: Tensors }> {
  anticipate();
  const { who, bytes } = await bytesOf(source);
  const { metadata, tensors } = decode(who, bytes);
  const config = parse<Described>(who, "lockstep", metadata.lockstep);
  if (config.format !== FORMAT) throw new FileError(`${who}: metadata "lockstep" must have the format "${FORMAT}", found ${JSON.stringify(config.format)}`);
  if (config.version !== VERSION) throw new FileError(`${who}: written by format version ${config.version}, this Lockstep reads ${VERSION}`);
  if (!Array.isArray(config.layers) || !config.layers.every(isEntry) || !Array.isArray(config.inputShapes)) throw new FileError(`${who}: metadata "lockstep" is damaged: expected layers and inputShapes`);
  if (!config.sequential) throw new FileError(`${who}: model "${config.name}" was made from a function, which a file cannot hold; build it in code and read its weights with loadWeights(model, file)`);
  const model = await rebuilt(who, "lockstep", () => {
    const layers = config.layers.map((l) => {
      const own = [l.name, l.kind].filter((key) => Object.hasOwn(custom, key)).map((key) => custom[key])[0];
      if (own === undefined && l.config.custom === true) throw new FileError(`${who}: layer "${l.name}" is of the custom kind "${l.kind}"; pass layers: { ${l.kind}: (config) => ... } to loadModel`);
      const [made] = asLayers([own === undefined ? layerFromConfig(l.kind, { ...l.config, name: l.name }) : own(l.config)]);
      made.name = l.name;
      return made;
    });
    // A damaged configuration must not make weights that the file does not hold.
    const mostElements = [...tensors.values()].reduce((n, t) => n + t.data.length, 0);
    const checkWeight = (name: string, shape: Shape): void => {
      if (!(sizeOf(shape) <= mostElements)) throw new ShapeError(`its ${name} of shape ${showShape(shape)} has ${sizeOf(shape)} elements, the file has ${mostElements} in all`);
    };
    return withContext({ checkWeight, traced: anticipate }, () => make(layers, { inputShape: config.inputShapes.length === 1 ? config.inputShapes[0] : config.inputShapes, name: config.name, seed: config.seed }));
  });
  assignWeights(who, model, tensors);
  return { model, who, metadata, tensors };
}

/**
 * Reads a model that `save` wrote; what it holds for training is passed over.
 * @param source a path or file: URL (Node, Deno, Bun), or the file's bytes.
 * @throws FileError for a file that is damaged, of another format or version, or of a model that is a function (rebuild it in code and use loadWeights).
 */
export async function loadModel(source: ModelSource, options: LoadOptions = {}): Promise<InferenceModel> {
  return (await readModel(source, options, sequential)).model;
}

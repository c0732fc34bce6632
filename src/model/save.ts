/**
 * @file Models as files: one safetensors file with the weights, the configuration as JSON in its metadata and, where
 * training is to go on, the optimizer's state. Names are `layer/weight` and `optimizer/name`.
 */
import type { Backend } from "../backend.ts";
import type { TypedArray } from "../dtype.ts";
import { ArgumentError, FileError, LockstepError } from "../errors.ts";
import { resolveBackend } from "../init.ts";
import type { BackendName } from "../init.ts";
import { decodeSafetensors, encodeSafetensors } from "../io/safetensors.ts";
import { layerFromConfig } from "../nn/config.ts";
import { context, withContext } from "../nn/layer.ts";
import type { Config } from "../nn/layer.ts";
import { sameShape, showShape } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { isLossName, lossFromConfig } from "../train/losses.ts";
import type { Loss, LossFunction, LossName } from "../train/losses.ts";
import { describeMetric, metricFromConfig } from "../train/metrics.ts";
import type { MetricName } from "../train/metrics.ts";
import { optimizerFromConfig } from "../train/optimizers.ts";
import { asLayers } from "./layers.ts";
import type { LayerLike } from "./layers.ts";
import type { Model } from "./model.ts";
import { sequential } from "./model.ts";

export interface SaveOptions {
  /** Also what training needs to go on exactly: optimizer, its state, loss and metrics but those that are functions. Default true for a compiled model. */
  readonly optimizer?: boolean;
}

export interface LoadOptions {
  /** Makes layers that are not Lockstep's own, by name or kind. */
  readonly layers?: { readonly [nameOrKind: string]: (config: Config) => LayerLike };
  /** For a model whose loss was a function. Default: the loss that was saved. */
  readonly loss?: LossName | Loss | LossFunction;
  /** For a model that was saved with its training. Default: the backend opened last. */
  readonly backend?: BackendName | Backend;
}

const FORMAT = "lockstep";
const VERSION = 1;

interface Entry { readonly kind: string; readonly name: string; readonly config: Config }
interface Described { readonly format: string; readonly version: number; readonly name: string; readonly seed: number; readonly sequential: boolean; readonly inputShapes: readonly Shape[]; readonly layers: readonly Entry[] }
interface DescribedTraining { readonly loss: { readonly name: string; readonly config: Config }; readonly optimizer: { readonly kind: string; readonly config: Config }; readonly metrics: readonly (string | { readonly name: string; readonly config: Config })[] }

/** The first option of a layer that is a function, which a file cannot hold; null when there is none. */
function functionOption(config: Config): string | null {
  const isCustom = (v: unknown): boolean => typeof v === "object" && v !== null && ((v as { custom?: boolean }).custom === true || Object.values(v).some(isCustom));
  return Object.keys(config).find((key) => isCustom(config[key])) ?? null;
}

function describe(model: Model): Described {
  if (model.inputShapes === null) throw new LockstepError(`save: model "${model.name}" is not built yet: give inputShape, or call fit() or predict() first`);
  for (const l of model.layers) {
    const option = functionOption(l.config);
    if (option !== null) throw new ArgumentError(`save: layer "${l.name}": its ${option} is a function, which a file cannot hold; use a name, or a layer of your own made with layer({ kind, config, ... })`);
  }
  return {
    format: FORMAT, version: VERSION, name: model.name, seed: model.seed, sequential: model.isSequential, inputShapes: model.inputShapes,
    layers: model.layers.map(({ kind, name, config: { name: _, ...config } }) => ({ kind, name, config })),
  };
}

function describeTraining(model: Model): DescribedTraining | null {
  if (model.training === null) return null;
  const { loss, optimizer } = model.training;
  return { loss: { name: loss.name, config: loss.config }, optimizer: { kind: optimizer.kind, config: optimizer.config }, metrics: model.metrics.map(describeMetric).filter((m) => m !== null) };
}

/**
 * FNV-1a over metadata, as UTF-16, and the names, shapes and 32-bit words of all tensors in the order of their names: no single
 * changed word goes unnoticed, and hardly any other damage.
 */
function checksum({ lockstep = "", training = "" }: { readonly [key: string]: string }, tensors: readonly (readonly [string, { readonly shape: Shape; readonly data: TypedArray }])[]): string {
  let hash = 0x811c9dc5;
  const add = (word: number): void => {
    hash = Math.imul(hash ^ word, 0x01000193);
  };
  const addText = (text: string): void => {
    for (let i = 0; i < text.length; i++) add(text.charCodeAt(i));
  };
  addText(lockstep);
  addText(training);
  for (const [name, { shape, data }] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    addText(`${name} ${showShape(shape)}`);
    const words = new Uint32Array(data.buffer, data.byteOffset, data.length);
    for (let i = 0; i < words.length; i++) add(words[i]);
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

/** The file as bytes. */
export async function encodeModel(model: Model, { optimizer = model.training !== null }: SaveOptions): Promise<Uint8Array> {
  const config = describe(model);
  const tensors: { [name: string]: { shape: Shape; data: TypedArray } } = {};
  const named = model.layers.flatMap((l) => l.weights.map((w) => [`${l.name}/${w.name}`, w.tensor] as const));
  const metadata: { [key: string]: string } = { lockstep: JSON.stringify(config) };
  if (optimizer) {
    const training = describeTraining(model);
    if (training === null || model.training === null) throw new ArgumentError("save: optimizer: true needs a model that has been compiled");
    metadata.training = JSON.stringify(training);
    named.push(...Object.entries(model.training.optimizer.state()).map(([name, t]) => [`optimizer/${name}`, t] as const));
  }
  // All reads are asked for at once: a training that goes on meanwhile must not leave a weight of one step beside that of the next.
  const data = await Promise.all(named.map(([, t]) => t.data()));
  named.forEach(([name, t], i) => {
    tensors[name] = { shape: t.shape, data: data[i] };
  });
  metadata.checksum = checksum(metadata, Object.entries(tensors));
  return encodeSafetensors(tensors, metadata);
}

export async function saveModel(model: Model, path: string, options: SaveOptions): Promise<void> {
  const bytes = await encodeModel(model, options);
  const { writeBytesAtomic } = await import("../node/files.ts");
  await writeBytesAtomic(path, bytes);
}

type Tensors = ReturnType<typeof decodeSafetensors>["tensors"];

function parse<T>(who: string, key: string, text: string | undefined): T {
  if (text === undefined) throw new FileError(`${who}: not a Lockstep model: its metadata has no "${key}"; to read weights alone use model.loadWeights()`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FileError(`${who}: metadata "${key}" is no JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== "object" || value === null) throw new FileError(`${who}: metadata "${key}" must be an object, found ${text.slice(0, 80)}`);
  return value as T;
}

const isEntry = (l: Entry | null): boolean => typeof l?.kind === "string" && typeof l.name === "string" && typeof l.config === "object" && l.config !== null;

/** What `make` gives. @throws FileError for every error on the way: a configuration that cannot be followed is damaged. */
async function rebuilt<R>(who: string, key: string, make: () => R | Promise<R>): Promise<R> {
  try {
    return await make();
  } catch (cause) {
    if (cause instanceof FileError && cause.message.startsWith(who)) throw cause;
    throw new FileError(`${who}: cannot rebuild the model from metadata "${key}": ${(cause as Error).message}`, { cause });
  }
}

async function bytesOf(source: string | Uint8Array | ArrayBuffer): Promise<{ who: string; bytes: Uint8Array }> {
  if (typeof source === "string") {
    const { readBytes } = await import("../node/files.ts");
    return { who: source, bytes: await readBytes(source) };
  }
  return { who: "model file", bytes: source instanceof Uint8Array ? source : new Uint8Array(source) };
}

/** Weights of `model` from tensors named `layer/weight`. Checks all before it changes any. */
function assignWeights(who: string, model: Model, tensors: Tensors): void {
  const values = model.layers.flatMap((l) => l.weights.map((w) => {
    const name = `${l.name}/${w.name}`;
    const t = tensors.get(name);
    if (t === undefined) throw new FileError(`${who}: no tensor "${name}"; it has ${[...tensors.keys()].slice(0, 8).join(", ")}`);
    if (!sameShape(t.shape, w.tensor.shape)) throw new FileError(`${who}: "${name}" has shape ${showShape(t.shape)}, the layer needs ${showShape(w.tensor.shape)}`);
    if (!(t.data instanceof Float32Array)) throw new FileError(`${who}: "${name}" holds ${t.dtype}, the layer needs F32`);
    return t.data;
  }));
  model.setWeights(values);
}

/**
 * Reads weights by layer and weight name into a model that has been built. Nothing changes when the file does not fit.
 * @param source a path (Node, Deno, Bun) or the file's bytes.
 * @throws FileError
 */
export async function loadWeights(model: Model, source: string | Uint8Array | ArrayBuffer): Promise<void> {
  const { who, bytes } = await bytesOf(source);
  assignWeights(who, model, decode(who, bytes).tensors);
}

/**
 * Reads a model that `save` wrote. Saved with its training, it comes back compiled and `fit` goes on exactly where it ended
 * (give the same data, seed, and `initialEpoch`).
 * @param source a path (Node, Deno, Bun) or the file's bytes.
 * @throws FileError for a file that is damaged, of another format or version, or of a model that is a function (rebuild it in code and use loadWeights).
 */
export async function loadModel(source: string | Uint8Array | ArrayBuffer, options: LoadOptions = {}): Promise<Model> {
  const { who, bytes } = await bytesOf(source);
  const { metadata, tensors } = decode(who, bytes);
  const config = parse<Described>(who, "lockstep", metadata.lockstep);
  if (config.format !== FORMAT) throw new FileError(`${who}: metadata "lockstep" must have the format "${FORMAT}", found ${JSON.stringify(config.format)}`);
  if (config.version !== VERSION) throw new FileError(`${who}: written by format version ${config.version}, this Lockstep reads ${VERSION}`);
  if (!Array.isArray(config.layers) || !config.layers.every(isEntry) || !Array.isArray(config.inputShapes)) throw new FileError(`${who}: metadata "lockstep" is damaged: expected layers and inputShapes`);
  if (!config.sequential) throw new FileError(`${who}: model "${config.name}" was made from a function, which a file cannot hold; build it in code and read its weights with loadWeights(model, file)`);
  const model = await rebuilt(who, "lockstep", () => {
    const layers = config.layers.map((l) => {
      const custom = options.layers?.[l.name] ?? options.layers?.[l.kind];
      if (custom === undefined && l.config.custom === true) throw new FileError(`${who}: layer "${l.name}" is of the custom kind "${l.kind}"; pass layers: { ${l.kind}: (config) => ... } to loadModel`);
      const [made] = asLayers([custom === undefined ? layerFromConfig(l.kind, { ...l.config, name: l.name }) : custom(l.config)]);
      made.name = l.name;
      return made;
    });
    const mostElements = [...tensors.values()].reduce((n, t) => n + t.data.length, 0);
    return withContext({ ...context(), mostElements }, () => sequential(layers, { inputShape: config.inputShapes.length === 1 ? config.inputShapes[0] : config.inputShapes, name: config.name, seed: config.seed }));
  });
  assignWeights(who, model, tensors);
  if (metadata.training !== undefined) {
    const { loss, optimizer: saved, metrics } = parse<DescribedTraining>(who, "training", metadata.training);
    const optimizer = await rebuilt(who, "training", () => {
      if (options.loss === undefined && (loss.config.custom === true || !isLossName(loss.name))) throw new FileError(`${who}: its loss "${loss.name}" is a function, which a file cannot hold; pass it to loadModel as loss`);
      return optimizerFromConfig(saved.kind, saved.config);
    });
    const backend = await resolveBackend(options.backend);
    await rebuilt(who, "training", () => model.compile({
      loss: options.loss ?? lossFromConfig(loss.name, loss.config), optimizer, backend,
      metrics: metrics.map((m) => (typeof m === "string" ? (m as MetricName) : metricFromConfig(m.name, m.config))),
    }));
    const state = [...tensors].filter(([name]) => name.startsWith("optimizer/"));
    await rebuilt(who, "training", () => optimizer.load(Object.fromEntries(state.map(([name, t]) => [name.slice("optimizer/".length), { shape: t.shape, data: t.data as TypedArray }]))));
  }
  return model;
}

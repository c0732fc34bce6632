/**
 * @file Models as files: one safetensors file with the weights, the configuration as JSON in its metadata and, where
 * training is to go on, the optimizer's state. Names are `layer/weight` and `optimizer/name`.
 */
import type { Backend } from "../backend.ts";
import type { TypedArray } from "../dtype.ts";
import { ArgumentError, FileError, LockstepError } from "../errors.ts";
import type { BackendName } from "../init.ts";
import { decodeSafetensors, encodeSafetensors } from "../io/safetensors.ts";
import { layerFromConfig } from "../nn/config.ts";
import type { Config, Layer } from "../nn/layer.ts";
import { sameShape, showShape } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { lossFromConfig } from "../train/losses.ts";
import { optimizerFromConfig } from "../train/optimizers.ts";
import type { Model } from "./model.ts";
import { sequential } from "./model.ts";

export interface SaveOptions {
  /** Also what training needs to go on exactly: optimizer, its state, loss and metrics. Default true for a compiled model. */
  readonly optimizer?: boolean;
}

export interface LoadOptions {
  /** Makes layers that are not Lockstep's own, by kind. */
  readonly layers?: { readonly [kind: string]: (config: Config) => Layer };
  /** For a model that was saved with its training. Default: the backend opened last. */
  readonly backend?: BackendName | Backend;
}

const FORMAT = "lockstep";
const VERSION = 1;

interface Entry { readonly kind: string; readonly name: string; readonly config: Config }
interface Described { readonly format: string; readonly version: number; readonly name: string; readonly seed: number; readonly sequential: boolean; readonly inputShapes: readonly Shape[]; readonly layers: readonly Entry[] }
interface DescribedTraining { readonly loss: { readonly name: string; readonly config: Config }; readonly optimizer: { readonly kind: string; readonly config: Config }; readonly metrics: readonly string[] }

function describe(model: Model): Described {
  if (model.inputShapes === null) throw new LockstepError(`save: model "${model.name}" is not built yet: give inputShape, or call fit() or predict() first`);
  return {
    format: FORMAT, version: VERSION, name: model.name, seed: model.seed, sequential: model.isSequential, inputShapes: model.inputShapes,
    layers: model.layers.map((l) => ({ kind: l.kind, name: l.name, config: l.config })),
  };
}

function describeTraining(model: Model): DescribedTraining | null {
  if (model.training === null) return null;
  const { loss, optimizer } = model.training;
  return { loss: { name: loss.name, config: loss.config }, optimizer: { kind: optimizer.kind, config: optimizer.config }, metrics: model.metricNames.filter((m): m is string => m !== null) };
}

/** The file as bytes. */
export async function encodeModel(model: Model, { optimizer = model.training !== null }: SaveOptions): Promise<Uint8Array> {
  const config = describe(model);
  const tensors: { [name: string]: { shape: Shape; data: TypedArray } } = {};
  for (const l of model.layers) for (const w of l.weights) tensors[`${l.name}/${w.name}`] = { shape: w.tensor.shape, data: await w.tensor.data() };
  const metadata: { [key: string]: string } = { lockstep: JSON.stringify(config) };
  if (optimizer) {
    const training = describeTraining(model);
    if (training === null || model.training === null) throw new ArgumentError("save: optimizer: true needs a model that has been compiled");
    metadata.training = JSON.stringify(training);
    for (const [name, t] of Object.entries(model.training.optimizer.state())) tensors[`optimizer/${name}`] = { shape: t.shape, data: await t.data() };
  }
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
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new FileError(`${who}: metadata "${key}" is no JSON: ${error instanceof Error ? error.message : String(error)}`);
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
  assignWeights(who, model, decodeSafetensors(bytes, who).tensors);
}

/**
 * Reads a model that `save` wrote. Saved with its training, it comes back compiled and `fit` goes on exactly where it ended
 * (give the same data, seed, and `initialEpoch`).
 * @param source a path (Node, Deno, Bun) or the file's bytes.
 * @throws FileError for a file that is damaged, of another format or version, or of a model that is a function (rebuild it in code and use loadWeights).
 */
export async function loadModel(source: string | Uint8Array | ArrayBuffer, options: LoadOptions = {}): Promise<Model> {
  const { who, bytes } = await bytesOf(source);
  const { metadata, tensors } = decodeSafetensors(bytes, who);
  const config = parse<Described>(who, "lockstep", metadata.lockstep);
  if (config.format !== FORMAT || !Array.isArray(config.layers) || !Array.isArray(config.inputShapes)) throw new FileError(`${who}: metadata "lockstep" is damaged`);
  if (config.version !== VERSION) throw new FileError(`${who}: written by format version ${config.version}, this Lockstep reads ${VERSION}`);
  if (!config.sequential) throw new FileError(`${who}: model "${config.name}" was made from a function, which a file cannot hold; build it in code and read its weights with loadWeights(model, file)`);
  const layers = config.layers.map((l) => {
    const custom = options.layers?.[l.kind];
    if (custom === undefined && l.config.custom === true) throw new FileError(`${who}: layer "${l.name}" is of the custom kind "${l.kind}"; pass layers: { ${l.kind}: (config) => ... } to loadModel`);
    const made = custom === undefined ? layerFromConfig(l.kind, { ...l.config, name: l.name }) : custom(l.config);
    made.name = l.name;
    return made;
  });
  const model = sequential(layers, { inputShape: config.inputShapes.length === 1 ? config.inputShapes[0] : config.inputShapes, name: config.name, seed: config.seed });
  assignWeights(who, model, tensors);
  if (metadata.training !== undefined) {
    const training = parse<DescribedTraining>(who, "training", metadata.training);
    const optimizer = optimizerFromConfig(training.optimizer.kind, training.optimizer.config);
    await model.compile({ loss: lossFromConfig(training.loss.name, training.loss.config), optimizer, metrics: training.metrics, backend: options.backend });
    const state = [...tensors].filter(([name]) => name.startsWith("optimizer/"));
    optimizer.load(Object.fromEntries(state.map(([name, t]) => [name.slice("optimizer/".length), { shape: t.shape, data: t.data as TypedArray }])));
  }
  return model;
}

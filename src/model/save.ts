/**
 * @file Models as files, for training: the file that load.ts reads, with the optimizer's state where training is to go on.
 * Names of tensors are `layer/weight` and `optimizer/name`.
 */
import type { Backend } from "../backend.ts";
import type { TypedArray } from "../dtype.ts";
import { ArgumentError, FileError, LockstepError } from "../errors.ts";
import { resolveBackend } from "../init.ts";
import type { BackendName } from "../init.ts";
import { encodeSafetensors } from "../io/safetensors.ts";
import type { Config, Layer } from "../nn/layer.ts";
import { isCustom } from "../nn/options.ts";
import { writeBytesAtomic } from "../node/files.ts";
import type { Shape } from "../shape.ts";
import { isLossName, lossFromConfig } from "../train/losses.ts";
import type { Loss, LossFunction, LossName } from "../train/losses.ts";
import { describeMetric, metricFromConfig } from "../train/metrics.ts";
import type { MetricName } from "../train/metrics.ts";
import { optimizerFromConfig } from "../train/optimizers.ts";
import { checksum, FORMAT, parse, readModel, rebuilt, VERSION } from "./load.ts";
import type { Described, LoadOptions, ModelSource } from "./load.ts";
import type { Model } from "./model.ts";
import { sequential } from "./model.ts";

/** Options of `save` and `toBytes`. */
export interface SaveOptions {
  /** Also what training needs to go on exactly: optimizer, its state, loss and metrics but those that are functions. Default true for a compiled model. */
  readonly optimizer?: boolean;
}

/** Options of `loadModel`, for a model that is to be trained. */
export interface LoadModelOptions extends LoadOptions {
  /** For a model whose loss was a function. Default: the loss that was saved. */
  readonly loss?: LossName | Loss | LossFunction;
  /** For a model that was saved with its training. Default: the backend opened last. */
  readonly backend?: BackendName | Backend;
}

/** `frozen`: names of layers that are not trainable. */
interface DescribedTraining { readonly loss: { readonly name: string; readonly config: Config }; readonly optimizer: { readonly kind: string; readonly config: Config }; readonly metrics: readonly (string | { readonly name: string; readonly config: Config })[]; readonly frozen?: readonly string[] }

/** The first option of a layer that is a function, which a file cannot hold; null when there is none. */
function functionOption(config: Config): string | null {
  const holdsCustom = (v: unknown): boolean => isCustom(v) || (typeof v === "object" && v !== null && Object.values(v).some(holdsCustom));
  return Object.keys(config).find((key) => holdsCustom(config[key])) ?? null;
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

/** Names of layers that are not trainable; those of models within have their model's name before them. */
function frozenOf(layers: readonly Layer[], path = ""): string[] {
  return layers.flatMap((l) => [...(l.trainable ? [] : [path + l.name]), ...frozenOf(l.layers ?? [], `${path}${l.name}/`)]);
}

function freeze(layers: readonly Layer[], frozen: ReadonlySet<string>, path = ""): void {
  for (const l of layers) {
    l.trainable = !frozen.has(path + l.name);
    freeze(l.layers ?? [], frozen, `${path}${l.name}/`);
  }
}

function describeTraining(model: Model): DescribedTraining | null {
  if (model.training === null) return null;
  const { loss, optimizer } = model.training;
  const frozen = frozenOf(model.layers);
  return { ...(frozen.length > 0 && { frozen }), loss: { name: loss.name, config: loss.config }, optimizer: { kind: optimizer.kind, config: optimizer.config }, metrics: model.metrics.map(describeMetric).filter((m) => m !== null) };
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
  await writeBytesAtomic(path, bytes);
}

/**
 * Reads a model that `save` wrote. Saved with its training, it comes back compiled and `fit` goes on exactly where it ended
 * (give the same data, seed, and `initialEpoch`).
 * @param source a path or file: URL (Node, Deno, Bun), or the file's bytes.
 * @throws FileError for a file that is damaged, of another format or version, or of a model that is a function (rebuild it in code and use loadWeights).
 */
export async function loadModel(source: ModelSource, options: LoadModelOptions = {}): Promise<Model> {
  const { model, who, metadata, tensors } = await readModel(source, options, sequential);
  if (metadata.training !== undefined) {
    const { loss, optimizer: saved, metrics, frozen = [] } = parse<DescribedTraining>(who, "training", metadata.training);
    const optimizer = await rebuilt(who, "training", () => {
      if (options.loss === undefined && (loss.config.custom === true || !isLossName(loss.name))) throw new FileError(`${who}: its loss "${loss.name}" is a function, which a file cannot hold; pass it to loadModel as loss`);
      freeze(model.layers, new Set(frozen));
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

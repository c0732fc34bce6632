/** @file Model: layers with weights, and what people do with them. Training is in fit.ts, files in save.ts. */
import type { Backend } from "../backend.ts";
import { allocate } from "../dtype.ts";
import type { DType, TypedArray } from "../dtype.ts";
import { ArgumentError, LockstepError, ShapeError } from "../errors.ts";
import type { BackendName } from "../init.ts";
import { resolveBackend } from "../init.ts";
import type { Layer, Weight } from "../nn/layer.ts";
import { Slices } from "../pacing.ts";
import { sameShape, showShape, sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { checkShape, Tensor, tensor } from "../tensor.ts";
import type { NestedArray } from "../tensor.ts";
import { lossByName } from "../train/losses.ts";
import type { Loss, LossFunction } from "../train/losses.ts";
import { metricByName } from "../train/metrics.ts";
import type { Metric } from "../train/metrics.ts";
import { optimizerByName } from "../train/optimizers.ts";
import type { Optimizer } from "../train/optimizers.ts";
import type { Logs } from "../train/callbacks.ts";
import { checkBatchSize, readInputs, readTargets, readWeights } from "./data.ts";
import type { Data, Inputs } from "./data.ts";
import { checkNames, runEvaluation, runFit } from "./fit.ts";
import type { Batches, EvaluateOptions, FitOptions, History } from "./fit.ts";
import { asLayers } from "./layers.ts";
import type { LayerLike } from "./layers.ts";
import { Programs, Tally, traceShapes } from "./programs.ts";
import type { Network, Training } from "./programs.ts";
import { encodeModel, saveModel } from "./save.ts";
import type { SaveOptions } from "./save.ts";
import { summaryOf } from "./summary.ts";

export interface ModelOptions {
  /** Shape of one sample, or a list of shapes for several inputs. Without it the model is built when it first sees data. */
  readonly inputShape?: Shape | readonly Shape[];
  /** Default `model`. */
  readonly name?: string;
  /** Seed of the initial weights. The same seed gives the same weights everywhere. Default 0. */
  readonly seed?: number;
}

export interface CompileModelOptions {
  /** A name as in Keras (camelCase), a loss, or a function (yTrue, yPred) => loss per sample. */
  readonly loss: string | Loss | LossFunction;
  /** A name, or an optimizer such as adam({ learningRate: 1e-3 }). Default `rmsprop`, as in Keras. */
  readonly optimizer?: string | Optimizer;
  /** Names or metrics; `accuracy` becomes the kind that fits the loss and the output. Default none. */
  readonly metrics?: readonly (string | Metric | LossFunction)[];
  /** `auto`: the first fit times its step on each backend there is, takes the fastest and says so. Default: the backend opened last. */
  readonly backend?: BackendName | Backend;
}

export interface PredictOptions {
  /** Samples computed together. Default 32. */
  readonly batchSize?: number;
}

/** What `compile` was told, kept until the output's shape is known. */
interface Recipe {
  readonly loss: Loss;
  readonly optimizer: Optimizer;
  readonly metrics: readonly (string | Metric | LossFunction)[];
}

export class Model {
  readonly name: string;
  readonly seed: number;
  /** In the order of their first call. */
  readonly layers: readonly Layer[];
  #forward: (inputs: readonly Tensor[]) => Tensor;
  #sequential: boolean;
  #inputShapes: readonly Shape[] | null = null;
  #outputShape: Shape | null = null;
  readonly #outputs = new Map<Layer, Shape>();
  /** Internal: true until fit has chosen a backend for `auto`. */
  choosing = false;
  #recipe: Recipe | null = null;
  #training: Training | null = null;
  #backend: Backend | null = null;
  #programs: Programs | null = null;
  #tallies: { train: Tally; evaluate: Tally } | null = null;
  #fitting = false;

  /** Use `sequential()` or `model()`. */
  constructor(layers: readonly Layer[], forward: ((inputs: readonly Tensor[]) => Tensor) | null, options: ModelOptions) {
    this.name = options.name ?? "model";
    this.seed = options.seed ?? 0;
    if (!Number.isSafeInteger(this.seed) || this.seed < 0) throw new ArgumentError(`model: seed must be a non-negative integer, got ${this.seed}`);
    this.layers = layers;
    this.#sequential = forward === null;
    this.#forward = forward ?? ((inputs) => layers.reduce((x, l) => l.call(x), inputs[0]));
    if (forward === null) nameLayers(layers);
    if (options.inputShape !== undefined) {
      const shapes = (options.inputShape.length > 0 && Array.isArray(options.inputShape[0]) ? options.inputShape : [options.inputShape]) as readonly Shape[];
      for (const s of shapes) checkShape("inputShape", s);
      this.build(shapes);
    }
  }

  /** True for models made by `sequential`. */
  get isSequential(): boolean {
    return this.#sequential;
  }

  /** Shapes of one sample of each input; null before the model is built. */
  get inputShapes(): readonly Shape[] | null {
    return this.#inputShapes;
  }

  /** Shape of the output for one sample. @throws LockstepError before the model is built. */
  get outputShape(): Shape {
    if (this.#outputShape === null) throw new LockstepError(`model "${this.name}" is not built yet: give inputShape, or call build(), fit() or predict() first`);
    return this.#outputShape;
  }

  /** Weights in layer order, trainable or not. Empty before the model is built. */
  get weights(): readonly Weight[] {
    return this.layers.flatMap((l) => l.weights);
  }

  /** Internal: what compile() set up, for saving. */
  get training(): Training | null {
    return this.#training;
  }

  /** Internal: what compile() was given; null before. */
  get optimizer(): Optimizer | null {
    return this.#recipe?.optimizer ?? null;
  }

  /** Internal: what compile() was told about metrics. */
  get metricNames(): readonly (string | null)[] {
    return (this.#recipe?.metrics ?? []).map((m) => (typeof m === "string" ? m : null));
  }

  /**
   * Makes all weights for inputs of these shapes (without the batch dimension). Harmless when repeated with the same shapes.
   * @throws ShapeError naming the layer that does not fit.
   */
  build(inputShapes: readonly Shape[]): void {
    if (this.#inputShapes !== null) {
      if (this.#inputShapes.length !== inputShapes.length || !this.#inputShapes.every((s, i) => sameShape(s, inputShapes[i]))) {
        throw new ShapeError(`model "${this.name}" was built for inputs ${this.#inputShapes.map(showShape).join(", ")}, got ${inputShapes.map(showShape).join(", ")}`);
      }
      return;
    }
    const found = new Set<Layer>(this.layers);
    this.#outputShape = traceShapes({ forward: this.#forward, seed: this.seed }, inputShapes.map((shape) => ({ shape, dtype: "f32" })), (layer, output) => {
      found.add(layer);
      this.#outputs.set(layer, output.shape.slice(1));
    });
    if (!this.#sequential) {
      (this.layers as Layer[]).push(...found);
      nameLayers(this.layers);
    }
    this.#inputShapes = inputShapes;
    if (this.#recipe !== null) this.#begin(this.#resolve(this.#recipe));
  }

  /**
   * Sets loss, optimizer and metrics, and opens the backend.
   * @throws ArgumentError for unknown names.
   */
  async compile(options: CompileModelOptions): Promise<void> {
    checkNames("compile", options, ["loss", "optimizer", "metrics", "backend"]);
    const metrics = options.metrics ?? [];
    if (!Array.isArray(metrics)) throw new ArgumentError(`compile: metrics must be a list, got ${String(metrics)}`);
    const recipe: Recipe = { loss: lossByName(options.loss), optimizer: optimizerByName(options.optimizer ?? "rmsprop"), metrics };
    const training = this.#resolve(recipe);
    await this.#open(await resolveBackend(options.backend));
    this.choosing = options.backend === "auto";
    this.#recipe = recipe;
    this.#begin(training);
  }

  /**
   * Trains for `epochs` passes over the data. See `FitOptions`; history has one entry for each epoch and name.
   * @param x samples, nested arrays, a tensor, `{ data, shape }`, a list of tensors for several inputs, or an (async) iterable of batches `[x, y]`.
   * @param y targets with as many samples; left out for an iterable.
   * @throws DataError, ShapeError, ArgumentError before anything runs.
   */
  async fit(x: Inputs | Batches, y?: Data | FitOptions, options?: FitOptions): Promise<History> {
    if (this.#fitting) throw new LockstepError("fit: the model is being trained already; await that first");
    this.#fitting = true;
    try {
      return await runFit(this, x, y, options);
    } finally {
      this.#fitting = false;
    }
  }

  /** Loss and metrics over data, by name. Default batchSize 32. */
  async evaluate(x: Inputs, y: Data, options: EvaluateOptions = {}): Promise<Logs> {
    checkNames("evaluate", options, ["batchSize", "sampleWeight"]);
    const { batchSize = 32, sampleWeight } = options;
    checkBatchSize("evaluate", batchSize);
    const data = await this.prepare("evaluate", x, y, sampleWeight);
    try {
      return await runEvaluation(this.state("evaluate"), data, 0, data.samples, Math.min(batchSize, data.samples));
    } finally {
      data.release();
    }
  }

  /**
   * The output for `x`, as a tensor [samples, ...].
   * @throws ShapeError when `x` does not fit the model.
   */
  async predict(x: Inputs, options: PredictOptions = {}): Promise<Tensor> {
    checkNames("predict", options, ["batchSize"]);
    const { batchSize = 32 } = options;
    checkBatchSize("predict", batchSize);
    const inputs = await readInputs("predict", x, this.#inputShapes);
    if (this.#inputShapes === null) this.build(inputs.map((t) => t.shape.slice(1)));
    if (this.#programs === null) await this.#open(await resolveBackend(undefined));
    const programs = this.#programs as Programs;
    const samples = inputs[0].shape[0];
    if (samples <= batchSize) {
      const program = await programs.predict(inputs);
      program.enqueue(inputs);
      return (await program.results())[0];
    }
    const size = sizeOf(this.outputShape);
    let out: TypedArray | null = null;
    let dtype: DType = "f32";
    const slices = new Slices();
    const host = await Promise.all(inputs.map((t) => t.data()));
    for (let from = 0; from < samples; from += batchSize) {
      const count = Math.min(batchSize, samples - from);
      const part = inputs.map((t, i) => {
        const row = t.size / samples;
        return tensor(host[i].subarray(from * row, (from + count) * row), [count, ...t.shape.slice(1)], t.dtype);
      });
      const program = await programs.predict(part);
      program.enqueue(part);
      const [y] = await program.results();
      out ??= allocate(y.dtype, samples * size);
      out.set(await y.data(), from * size);
      dtype = y.dtype;
      await slices.rest();
    }
    return tensor(out as TypedArray, [samples, ...this.outputShape], dtype);
  }

  /** Copies of all weights, in order. */
  async getWeights(): Promise<Tensor[]> {
    return Promise.all(this.weights.map(async ({ tensor: t }) => {
      const data = await t.data();
      return new Tensor(t.shape, t.dtype, null, 0, data.slice() as TypedArray);
    }));
  }

  /** Replaces all weights, in the order of `getWeights`. Nothing changes when one does not fit. @throws ShapeError */
  setWeights(values: readonly (Tensor | TypedArray | NestedArray)[]): void {
    const weights = this.weights;
    if (values.length !== weights.length) throw new ShapeError(`setWeights: model "${this.name}" has ${weights.length} weights, got ${values.length}`);
    const next = weights.map((w, i) => {
      const v = values[i];
      const host = v instanceof Tensor ? v : tensor(v as TypedArray | NestedArray, ArrayBuffer.isView(v) ? w.tensor.shape : undefined);
      if (host.host === null) throw new LockstepError(`setWeights: value ${i} has no elements on the host; await data() first`);
      if (!sameShape(host.shape, w.tensor.shape)) throw new ShapeError(`setWeights: weight ${i} (${this.layerOf(w).name}/${w.name}) has shape ${showShape(w.tensor.shape)}, got ${showShape(host.shape)}`);
      return new Float32Array(host.host);
    });
    next.forEach((data, i) => weights[i].tensor.set(data));
  }

  /** A Keras-like table: layer, output shape, parameters. Prints it, unless `print` is given, and returns it. */
  summary(print: (text: string) => void = console.log): string {
    const text = summaryOf(this, (l) => this.#outputs.get(l) ?? null);
    print(text);
    return text;
  }

  /**
   * Writes the model to one safetensors file: weights, configuration and, unless `optimizer` is false, what training needs to go on exactly.
   * The file appears complete or not at all. Needs a file system (Node, Deno, Bun); elsewhere use `toBytes()`.
   */
  async save(path: string, options: SaveOptions = {}): Promise<void> {
    await saveModel(this, path, options);
  }

  /** What `save` would write. */
  async toBytes(options: SaveOptions = {}): Promise<Uint8Array> {
    return encodeModel(this, options);
  }

  /** Frees the programs that the model holds on its backend. Weights stay; used again, the model makes the programs it needs anew. */
  dispose(): void {
    this.#programs?.clear();
  }

  /** Internal: the layer that a weight belongs to. */
  layerOf(weight: Weight): Layer {
    return this.layers.find((l) => l.weights.includes(weight)) as Layer;
  }

  /** Internal: what fit and evaluate run with. @throws LockstepError before compile(). */
  state(who: string): { training: Training; programs: Programs; train: Tally; evaluate: Tally } {
    if (this.#training === null || this.#tallies === null || this.#programs === null) throw new LockstepError(`${who}: call compile({ loss, optimizer }) first`);
    return { training: this.#training, programs: this.#programs, ...this.#tallies };
  }

  /** Internal: checks data, builds the model where it has not been, and puts the data on the backend. */
  async prepare(who: string, x: Inputs, y: Data, sampleWeight?: Data, classWeight?: { readonly [label: number]: number }): Promise<Prepared> {
    if (this.#recipe === null) throw new LockstepError(`${who}: call compile({ loss, optimizer }) first`);
    if (y === undefined) throw new ArgumentError(`${who}: targets y are missing`);
    const inputs = await readInputs(who, x, this.#inputShapes);
    if (this.#inputShapes === null) this.build(inputs.map((t) => t.shape.slice(1)));
    const samples = inputs[0].shape[0];
    const target = await readTargets(who, y, samples, this.#recipe.loss, this.outputShape);
    const weights = await readWeights(who, sampleWeight, classWeight, target, samples);
    // Tensors of one's own, so that those given do not stay on the backend until they are collected.
    const held: Tensor[] = [];
    const own = (t: Tensor): Tensor => {
      if (t.host === null) return t;
      const copy = new Tensor(t.shape, t.dtype, null, 0, t.host);
      held.push(copy);
      return copy;
    };
    return { inputs: inputs.map(own), y: own(target), weights: weights && own(weights), samples, release: () => held.forEach((t) => t.dispose()) };
  }

  async #open(backend: Backend): Promise<void> {
    if (this.#backend === backend && this.#programs !== null) {
      this.#programs.clear();
      return;
    }
    for (const w of this.weights) await w.tensor.data();
    this.moveTo(backend);
  }

  /** Internal: goes on with another backend; what was on the old one has been recovered or is not needed. */
  moveTo(backend: Backend): void {
    this.#programs?.clear();
    this.#backend = backend;
    const network: Network = { forward: this.#forward, weights: () => this.weights, nameOf: (w) => `${this.layerOf(w).name}/${w.name}`, seed: this.seed };
    this.#programs = new Programs(backend, network);
  }

  /** The metrics that names stand for; null while the output's shape is not known. @throws ArgumentError */
  #resolve({ loss, optimizer, metrics }: Recipe): Training | null {
    const outputShape = this.#outputShape;
    if (outputShape === null) return null;
    const resolved = metrics.map((m) => metricByName(m, { loss, outputShape }));
    const names = ["loss", ...resolved.map((m) => m.name)];
    const twice = names.find((n, i) => names.indexOf(n) !== i);
    if (twice !== undefined) throw new ArgumentError(`compile: two metrics are named "${twice}"; give one of them another name`);
    return { loss, optimizer, metrics: resolved };
  }

  #begin(training: Training | null): void {
    this.#training = training;
    this.#tallies = training === null ? null : { train: new Tally(training.metrics), evaluate: new Tally(training.metrics) };
  }
}

/** Data checked and as tensors; `release` frees copies that were made. */
export interface Prepared {
  readonly inputs: readonly Tensor[];
  readonly y: Tensor;
  readonly weights: Tensor | null;
  readonly samples: number;
  readonly release: () => void;
}

/** kind, kind_1, kind_2 … for layers without a name of their own. @throws ArgumentError for two of one name. */
function nameLayers(layers: readonly Layer[]): void {
  const taken = new Set<string>();
  for (const l of layers) {
    if (l.name === "") continue;
    if (taken.has(l.name)) throw new ArgumentError(`model: two layers are named "${l.name}"; names must differ`);
    taken.add(l.name);
  }
  for (const l of layers) {
    for (let i = 0; l.name === ""; i++) {
      const name = i === 0 ? l.kind : `${l.kind}_${i}`;
      if (!taken.has(name)) l.name = name;
    }
    taken.add(l.name);
  }
}

/**
 * A model of layers in a row.
 * @param layers layers, plain functions of a tensor, or objects with a `call`.
 * @throws ArgumentError for something else, ShapeError naming the layer that does not fit `inputShape`.
 */
export function sequential(layers: readonly LayerLike[], options: ModelOptions = {}): Model {
  if (layers.length === 0) throw new ArgumentError("sequential: expected at least one layer, got none");
  return new Model(asLayers(layers), null, options);
}

/**
 * A model from a function that calls layers: branches, shared layers, several inputs.
 * @param fn takes one tensor per input, with the batch as first dimension, and returns the output. It runs whenever a new batch size is compiled; make the layers outside of it.
 * @example const a = dense(8, { activation: "relu" }), b = dense(8); const m = model((x) => add(a.call(x), b.call(x)), { inputShape: [4] });
 */
export function model(fn: (...inputs: Tensor[]) => Tensor, options: ModelOptions = {}): Model {
  return new Model([], (inputs) => fn(...inputs), options);
}

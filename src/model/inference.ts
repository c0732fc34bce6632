/** @file InferenceModel: layers with weights, and what people do with them short of training. Training is in model.ts. */
import type { Backend } from "../backend.ts";
import { checkCount, checkFlag, checkOptions, kindOf } from "../check.ts";
import { allocate } from "../dtype.ts";
import type { TypedArray } from "../dtype.ts";
import { checkShape } from "../elements.ts";
import { ArgumentError, LockstepError, ShapeError } from "../errors.ts";
import { Graph, trace } from "../graph.ts";
import { resolveBackend } from "../init.ts";
import { keysOf, withMode } from "../mode.ts";
import type { CallOptions } from "../mode.ts";
import { context, counter, layerWith, withContext } from "../nn/layer.ts";
import type { Config, Layer, Parts, Reader, Weight, WeightsOf } from "../nn/layer.ts";
import { CUSTOM } from "../nn/options.ts";
import { naming } from "../naming.ts";
import { optionsOf } from "../options.ts";
import { Slices } from "../pacing.ts";
import { sameShape, showShape } from "../shape.ts";
import type { OpenShape, Shape } from "../shape.ts";
import { Tensor, tensor } from "../tensor.ts";
import type { NestedArray } from "../tensor.ts";
import type { Attr } from "../op.ts";
import { TRAINING } from "../training.ts";
import { readInputs } from "./data.ts";
import type { Inputs, PadTo } from "./data.ts";
import { forwardOf, layersOf, madeInside, nameLayers } from "./layers.ts";
import type { LayerLike } from "./layers.ts";
import { outputNames, outputsOf, tensorsOf } from "./outputs.ts";
import type { Outputs } from "./outputs.ts";
import { openShapes } from "./open.ts";
import type { Shapes } from "./open.ts";
import { runNow, using } from "../run.ts";
import { inputAsFloat, PredictPrograms } from "./predict.ts";
import { summaryOf } from "./summary.ts";
import { dense, elementsOf, View } from "./view.ts";
import type { Samples } from "./view.ts";

/** Options of `sequential()` and `model()`. */
export interface ModelOptions {
  /**
   * Shape of one sample, or a list of shapes for several inputs. A dimension that is null has any size, which each batch decides, and a
   * program is made for each: `[null, 8]` for sequences of 8 features. Without it the model is built when it first sees data.
   */
  readonly inputShape?: OpenShape | readonly OpenShape[];
  /** Default `model`. */
  readonly name?: string;
  /** Seed of the initial weights. The same seed gives the same weights everywhere. Default 0. */
  readonly seed?: number;
}

/** Options of `build`. */
export interface BuildOptions {
  /** Gives the weights, or null for one that has no elements yet. Default: they begin as initializers say. */
  readonly weights?: WeightsOf;
}

/** Options of `predict`. */
export interface PredictOptions {
  /** Samples computed together. Default 32. */
  readonly batchSize?: number;
  /**
   * Lengths that sequences are brought to, so that there are few programs: see `PadTo`. Outputs for steps put in are left out. Default:
   * none.
   */
  readonly padTo?: PadTo;
}

const DEFAULT_NAME = "model";

/** Batches of a prediction that are computed before the results of one have come. */
const BATCHES_AHEAD = 2;

/** What a file holds of a model within another: a function cannot be written to one. */
function nestedConfig(model: InferenceModel<Outputs>): Config {
  const { name, seed, isSequential } = model;
  return {
    ...(name === DEFAULT_NAME ? {} : { name }),
    get model(): Attr {
      if (!isSequential) return CUSTOM;
      return { seed, inputShapes: model.inputShapes, layers: null } as Attr;
    },
  };
}

/** `given` as a weight. @throws ArgumentError for what is no tensor of numbers, ShapeError for one of another shape and for what is none */
function readyWeight(name: string, shape: Shape, given: Tensor | null): Tensor {
  checkShape(`weight "${name}"`, shape);
  const weight = given ?? new Tensor(shape, "f32", null, 0, null);
  if (!(weight instanceof Tensor) || weight.node !== null || weight.dtype !== "f32")
    throw new ArgumentError(`its ${name} must be a tensor f32${showShape(shape)} with elements, or null, got ${kindOf(given)}`);
  if (!sameShape(weight.shape, shape))
    throw new ShapeError(`its ${name} has the shape ${showShape(shape)}, the tensor given for it ${showShape(weight.shape)}`);
  return weight;
}

/** A model that predicts. `lockstep/inference` calls it `Model`; that of `lockstep` extends it by training. */
export class InferenceModel<O extends Outputs = Tensor> {
  readonly name: string;
  readonly seed: number;
  /** True for models made by `sequential`. */
  readonly isSequential: boolean;
  /** In the order of their first call. */
  readonly layers: readonly Layer[];
  /** @internal What it computes. */
  readonly forward: (inputs: readonly Tensor[]) => O;
  #inputShapes: readonly OpenShape[] | null = null;
  #outputShapes: readonly OpenShape[] | null = null;
  #outputNames: readonly string[] = [""];
  /** What the function gave for the shapes that it was built with. */
  #structure: O | null = null;
  #outputs: ReadonlyMap<Layer, OpenShape> = new Map();
  /** How layers read inputs, by their places. */
  #readers: readonly (readonly [Reader, number])[] = [];
  #backend: Backend | null = null;
  #layer: Layer | null = null;
  /** Of a call that is being made: whether it is by `call`, and all outputs, of which a layer gives the first. */
  #direct = false;
  #given: O | null = null;
  /** True while the shapes of its inputs are known from what it was called with alone. */
  #builtWithin = false;
  /** The layers, once they are known, as the parts of `asLayer`. */
  readonly #parts: Parts = [];
  #disposed = false;
  /** @internal What `lora` was told, while its adapters are there. */
  declare adapters?: Config;
  /** @internal Programs on the backend that the model uses; null before it first needs one. */
  protected programs: PredictPrograms | null = null;

  /** Use `sequential()` or `model()`. */
  constructor(layers: readonly Layer[], forward: ((inputs: readonly Tensor[]) => O) | null, options: ModelOptions) {
    const { name, seed, inputShape } = optionsOf<Required<Omit<ModelOptions, "inputShape">> & ModelOptions>(
      "model",
      { name: DEFAULT_NAME, seed: 0, inputShape: undefined },
      options,
    );
    checkCount("model", "seed", seed, 0);
    this.name = name;
    this.seed = seed;
    this.layers = layers;
    this.isSequential = forward === null;
    this.forward = forward ?? ((inputs) => layers.reduce((x, l) => l.call(x), inputs[0]) as O);
    if (forward === null) nameLayers(layers);
    if (inputShape !== undefined) {
      if (!Array.isArray(inputShape))
        throw new ArgumentError(`model: inputShape must be a list of sizes such as [28, 28, 1], got ${JSON.stringify(inputShape)}`);
      const shapes = (Array.isArray(inputShape[0]) ? inputShape : [inputShape]) as readonly OpenShape[];
      for (const s of shapes)
        checkShape(
          "inputShape",
          s.filter((d) => d !== null),
        );
      this.build(shapes);
    }
  }

  /** Shapes of one sample of each input, in which null is any size; null before the model is built. */
  get inputShapes(): readonly OpenShape[] | null {
    return this.#inputShapes;
  }

  /**
   * Shape of the output for one sample; null where it depends on the size of an input. @throws LockstepError before the model is built,
   * and for several outputs.
   */
  get outputShape(): OpenShape {
    const shapes = this.outputShapes;
    if (shapes.length > 1) throw new LockstepError(`model "${this.name}" has ${shapes.length} outputs: see outputShapes`);
    return shapes[0];
  }

  /** As `outputShape`, for each of several outputs. @throws LockstepError before the model is built. */
  get outputShapes(): readonly OpenShape[] {
    if (this.#outputShapes === null)
      throw new LockstepError(`model "${this.name}" is not built yet: give inputShape, or call build(), fit() or predict() first`);
    return this.#outputShapes;
  }

  /**
   * Names of several outputs: keys of the object that the function returns, or for a list those of the layers that gave them. One tensor
   * is [""].
   */
  get outputNames(): readonly string[] {
    return this.#outputNames;
  }

  /** Weights in layer order, trainable or not. Empty before the model is built. */
  get weights(): readonly Weight[] {
    return this.layers.flatMap((l) => l.weights);
  }

  /**
   * The tensors of all weights that are trainable, in layer order: what `valueAndGrad` and optimizers take in a loop of one's own. Empty
   * before the model is built.
   */
  get parameters(): readonly Tensor[] {
    return this.weights.filter((w) => w.trainable).map((w) => w.tensor);
  }

  /**
   * Makes all weights for inputs of these shapes (without the batch dimension; null: any size). Harmless when repeated with the same
   * shapes. `weights` gives tensors in their place, so that nothing is made that a file brings.
   * @throws ShapeError naming the layer that does not fit, or that needs a size that is null, or whose weight came in another shape;
   * ArgumentError for unknown options and weights that are no tensors
   * @example model.build([[null]], { weights: (layer, name) => tensors.get(`${layer.name}/${name}`) ?? null });
   */
  build(inputShapes: readonly OpenShape[], options: BuildOptions = {}): void {
    const { weights: weightOf } = checkOptions("build", options, ["weights"]);
    if (this.#inputShapes !== null) {
      const [own, given] = [this.#inputShapes, inputShapes].map((shapes) => shapes.map(showShape).join(", "));
      if (own !== given) throw new ShapeError(`model "${this.name}" was built for inputs ${own}, got ${given}`);
      return;
    }
    if (this.isSequential && inputShapes.length !== 1)
      throw new ShapeError(`sequential: expected one input, got ${inputShapes.length}; for several use model((a, b) => ...)`);
    const found = new Set<Layer>(this.layers);
    const nextStream = counter();
    // In a loop over layers weights are slices, which the graph here has none of.
    const { firstOf } = context();
    const traceWith = (
      size: number,
    ): Shapes<Shape> & {
      readonly graph: Graph;
      readonly output: O;
      readonly makers: ReadonlyMap<Tensor, Layer>;
      readonly readers: readonly (readonly [Reader, number])[];
    } => {
      // A batch of one tells the shapes.
      const graph = new Graph();
      const layers = new Map<Layer, Shape>();
      const makers = new Map<Tensor, Layer>();
      const readers: (readonly [Reader, number])[] = [];
      const inputs = inputShapes.map((shape) => graph.input({ shape: [1, ...shape.map((d) => d ?? size)], dtype: "f32" }));
      const output = trace(graph, () =>
        withMode({ training: false, key: keysOf(this.seed).ofRun() }, () =>
          withContext(
            {
              seed: this.seed,
              nextStream,
              ...(weightOf && { makeWeight: (layer, name, shape) => readyWeight(name, shape, weightOf(layer, name, shape)) }),
              ...(firstOf && { usedOf: firstOf }),
              called: (layer, y) => {
                // It would not be trained, counted or saved. The layer that calls it is named in front.
                if (this.isSequential && layer.weights.some(({ tensor }) => !this.weights.some((w) => w.tensor === tensor))) {
                  const { name, kind } = layer;
                  throw new ArgumentError(
                    `it calls layer "${name || kind}", which would not learn: list it, layer({ ..., parts: { inner } })`,
                  );
                }
                found.add(layer);
                if (y === null) return;
                layers.set(layer, y.shape.slice(1));
                makers.set(y, layer);
              },
              reads: (input, reader) => {
                const i = inputs.indexOf(input);
                if (i >= 0) readers.push([reader, i]);
                return i >= 0;
              },
            },
            () => this.forward(inputs),
          ),
        ),
      );
      const tensors = naming("model: its function's outputs", () => tensorsOf(output));
      return { graph, output, makers, readers, outputs: tensors.map((t) => t.shape.slice(1)), layers };
    };
    const fixed = inputShapes.flat().includes(null) ? null : traceWith(0);
    const { outputs, layers, traced } = fixed === null ? openShapes(inputShapes, traceWith) : { ...fixed, traced: fixed };
    context().traced?.(traced.graph);
    this.#outputShapes = outputs;
    this.#structure = traced.output;
    this.#readers = traced.readers;
    this.#outputs = layers;
    if (!this.isSequential) {
      (this.layers as Layer[]).splice(0, Infinity, ...found);
      nameLayers(this.layers);
      if (this.#layer?.trainable === false) this.trainable = false;
    }
    this.#outputNames = outputNames(traced.output, (t) => traced.makers.get(t)?.name);
    this.#inputShapes = inputShapes;
    this.builtOnce();
  }

  /**
   * The output for `x`, as a tensor [samples, ...outputShape]; several as the model's function returns them. Dropout is off,
   * normalization uses its moving averages. Needs no `compile()`.
   * @param x samples with the batch as first dimension: a tensor, nested arrays, `{ data, shape }`, or a list of tensors for several
   * inputs. Models compute in f32:
   *   other dtypes are cast on the device, to which bytes go as bytes.
   * @throws ShapeError when `x` does not fit the model, DataError for indices that an embedding does not have, ArgumentError for bad
   * options.
   */
  async predict(x: Inputs, options: PredictOptions = {}): Promise<O> {
    const { batchSize = 32, padTo } = checkOptions("predict", options, ["batchSize", "padTo"]);
    checkCount("predict", "batchSize", batchSize);
    const read = await this.readInputs("predict", x);
    const given = TRAINING && read.some((s) => s instanceof View) ? await Promise.all(read.map(dense)) : (read as readonly Tensor[]);
    // A prediction of a small network takes 3 us, and an await that need not be a tenth of one.
    if (this.#backend === null || this.#backend.closed) await this.follow();
    if (padTo === undefined) return outputsOf(this.#structure as O, await this.#predict(given, batchSize));
    const { padded, unpadded } = await import("./padding.ts");
    const inputs = await padded("predict", given, this.inputShapes as readonly OpenShape[], padTo, tensor);
    const padding = await this.#predict(inputs, batchSize);
    return outputsOf(
      this.#structure as O,
      await Promise.all(padding.map((y, i) => unpadded(y, this.outputShapes[i], given, inputs, tensor))),
    );
  }

  /** The outputs for one batch. */
  #run(inputs: readonly Tensor[]): Promise<Tensor[]> {
    const programs = this.programs as PredictPrograms;
    return using(
      () => programs.predict(inputs),
      inputs,
      (program) => runNow(program, inputs, () => program.results()),
    );
  }

  async #predict(inputs: readonly Tensor[], batchSize: number): Promise<Tensor[]> {
    const samples = inputs[0].shape[0];
    if (samples <= batchSize) return this.#run(inputs);
    const out: TypedArray[] = [];
    let parts: Tensor[] = [];
    const slices = new Slices();
    const host = await Promise.all(inputs.map(async (t) => t.host ?? t.data()));
    const collect = async (made: readonly Tensor[], from: number, count: number): Promise<void> => {
      for (const [i, y] of made.entries()) {
        const size = y.size / count;
        out[i] ??= allocate(y.dtype, samples * size);
        out[i].set(await y.data(), from * size);
        y.dispose();
      }
    };
    // Where results take a while to come, the next batches are computed meanwhile.
    const most = this.#backend?.limits.asynchronous === true ? BATCHES_AHEAD : 0;
    const arriving: Promise<void>[] = [];
    for (let from = 0; from < samples; from += batchSize) {
      const count = Math.min(batchSize, samples - from);
      parts = await this.#run(
        inputs.map((t, i) => {
          const row = t.size / samples;
          return tensor(host[i].subarray(from * row, (from + count) * row), [count, ...t.shape.slice(1)], t.dtype);
        }),
      );
      const arrived = collect(parts, from, count);
      arrived.catch(() => {});
      arriving.push(arrived);
      if (arriving.length > most) await arriving.shift();
      await slices.rest();
    }
    await Promise.all(arriving);
    return parts.map((y, i) => tensor(out[i], [samples, ...y.shape.slice(1)], y.dtype));
  }

  /**
   * Copies of all weights, in the order of `weights`: layers in order, and within a layer as its page lists them (kernel, bias …).
   * @param weights some of them alone
   */
  async getWeights(weights = this.weights): Promise<Tensor[]> {
    return Promise.all(
      weights.map(async ({ tensor: t }) => {
        const data = await t.data();
        return new Tensor(t.shape, t.dtype, null, 0, data.slice() as TypedArray);
      }),
    );
  }

  /**
   * Replaces all weights, in the order of `getWeights`. Nothing changes when one does not fit.
   * @param weights some of them alone
   * @throws ShapeError for another number or shape, ArgumentError for what is no list.
   */
  setWeights(values: readonly (Tensor | TypedArray | NestedArray)[], weights = this.weights): void {
    if (!Array.isArray(values))
      throw new ArgumentError(`setWeights: expected a list of ${weights.length} tensors or arrays, got ${kindOf(values)}`);
    if (values.length !== weights.length)
      throw new ShapeError(`setWeights: model "${this.name}" has ${weights.length} weights, got ${values.length}`);
    const next = weights.map((w, i) => {
      const v = values[i];
      const host = v instanceof Tensor ? v : tensor(v, ArrayBuffer.isView(v) ? w.tensor.shape : undefined, "f32");
      if (host.host === null) throw new LockstepError(`setWeights: value ${i} is not on the host; await data() first`);
      if (!sameShape(host.shape, w.tensor.shape))
        throw new ShapeError(
          `setWeights: weight ${i} (${this.nameOf(w)}) has shape ${showShape(w.tensor.shape)}, got ${showShape(host.shape)}`,
        );
      return new Float32Array(host.host);
    });
    next.forEach((data, i) => weights[i].tensor.set(data));
  }

  /** A Keras-like table: layer, output shape, parameters. Prints it, unless `print` is given, and returns it. */
  summary(print: (text: string) => void = console.log): string {
    if (typeof print !== "function") throw new ArgumentError(`summary: expected a function that prints, got ${kindOf(print)}`);
    const text = summaryOf(this, (l) => this.#outputs.get(l) ?? null);
    print(text);
    return text;
  }

  /**
   * Frees all that the model holds: programs, weights, also those that another model shares, and what `compile` set up. Nobody has to call
   * it, but the memory is free at once instead of when the model is collected. Harmless when repeated; what is done with the model
   * afterwards is a LockstepError.
   */
  dispose(): void {
    this.#disposed = true;
    this.programs?.dispose();
    for (const w of this.weights) w.tensor.dispose();
  }

  /**
   * The output for symbols or tensors, as part of what is traced around: a model is a layer, in `sequential([base, head])`, in `model(fn)`
   * and in `compile(fn)`. Builds the model where it has not been. Behind the inputs may come `{ training }`.
   * @throws ShapeError where inputs do not fit
   */
  call(x: Tensor, ...more: readonly (Tensor | CallOptions | null | undefined)[]): O {
    this.#direct = true;
    try {
      this.asLayer.call(x, ...more);
      return this.#given as O;
    } finally {
      this.#direct = false;
      this.#given = null;
    }
  }

  /**
   * True where all layers are. Setting it sets that of every layer, as in Keras; takes effect with the next `compile`. @throws
   * ArgumentError for what is neither true nor false
   */
  get trainable(): boolean {
    return this.layers.length === 0 ? this.asLayer.trainable : this.layers.every((l) => l.trainable);
  }

  /** As the getter says. */
  set trainable(value: boolean) {
    checkFlag("model", "trainable", value);
    this.asLayer.trainable = value;
    for (const l of this.layers) l.trainable = value;
  }

  /** @internal The model as a layer, whose weights are named layer/weight. */
  get asLayer(): Layer {
    return (this.#layer ??= layerWith(
      {
        kind: "model",
        config: nestedConfig(this),
        mask: "use",
        call: (x, _weights, ...more) => {
          const inputs = [x, ...more].map((t) => {
            if (!(t instanceof Tensor)) throw new ArgumentError(`model "${this.name}": expected tensors, got ${kindOf(t)}`);
            return t;
          });
          this.#buildWithin(inputs.map((t) => t.shape.slice(1)));
          if (this.#parts.length === 0) {
            for (const l of this.layers) this.#parts.push([l, (name) => `${l.name}/${name}`]);
            if (!this.asLayer.trainable) this.trainable = false;
          }
          const called = (l: Layer): void => {
            if (!this.layers.includes(l) && l.weights.length > 0) throw new ArgumentError(madeInside(l));
          };
          const direct = this.#direct;
          const outputs = withContext({ called }, () => this.forward(inputs.map(inputAsFloat)));
          this.#given = outputs;
          const [first, ...others] = tensorsOf(outputs);
          if (others.length > 0 && !direct)
            throw new ArgumentError("a model of several outputs cannot stand in a row; call it in model(fn)");
          return first;
        },
      },
      [],
      this.#parts,
    ));
  }

  /**
   * Builds the model for inputs within what is traced around; where these come with several sizes, such a dimension is of any size,
   * unless `build` has said which.
   */
  #buildWithin(shapes: readonly Shape[]): void {
    const known = this.#inputShapes;
    const fits = (own: OpenShape, shape: Shape): boolean =>
      own.length === shape.length && own.every((d, i) => d === null || d === shape[i]);
    if (known !== null && known.length === shapes.length && known.every((own, i) => fits(own, shapes[i]))) return;
    if (!this.#builtWithin || known === null || known.some((own, i) => own.length !== shapes[i]?.length)) {
      this.build(shapes);
      this.#builtWithin = true;
      return;
    }
    this.#inputShapes = null;
    this.build(known.map((own, i) => own.map((d, k) => (d === shapes[i][k] ? d : null))));
  }

  /** @internal @throws LockstepError when it was disposed */
  checkThere(who: string): void {
    if (this.#disposed) throw new LockstepError(`${who}: model "${this.name}" was disposed; load or build it again`);
  }

  /** @internal Inputs that fit the model, which is built for them where it has not been. */
  async readInputs(who: string, x: Inputs): Promise<Samples[]> {
    this.checkThere(who);
    if (this.#inputShapes === null) this.layers[0]?.begin?.(this, x);
    for (const [reader, i] of this.#readers) x = reader.encode?.(who, x, i, this.#inputShapes as readonly OpenShape[]) ?? x;
    const inputs = await readInputs(who, x, this.#inputShapes);
    if (this.#inputShapes === null) this.build(inputs.map((t) => t.shape.slice(1)));
    for (const [{ check }, i] of this.#readers) await check?.(`${who}: ${inputs.length > 1 ? `x[${i}]` : "x"}`, elementsOf(inputs[i]));
    return inputs;
  }

  /** @internal layer/weight */
  nameOf(weight: Weight): string {
    return `${this.layers.find((l) => l.weights.some((w) => w.tensor === weight.tensor))?.name}/${weight.name}`;
  }

  /** @internal Where it runs, once `follow` has said. */
  get backend(): Backend | null {
    return this.#backend;
  }

  /** @internal Goes over to `backend`. What only the old one has follows when it is used. */
  protected open(backend: Backend): void {
    if (this.#backend === backend) this.programs?.clear();
    else this.moveTo(backend);
  }

  /** @internal Opens the default backend where there is none yet, or where that of the model was closed or lost. */
  async follow(): Promise<void> {
    const last = this.#backend;
    if (last !== null && !last.closed) return;
    const backend = await resolveBackend(undefined);
    // Another call may have come before.
    if (this.#backend === last) this.moveTo(backend);
  }

  /** Goes on with this backend, whichever is the default. What only another one has follows when it is used. */
  moveTo(backend: Backend): void {
    this.programs?.clear();
    this.#backend = backend;
    this.programs = this.programsOn(backend);
  }

  /** @internal The programs of this kind of model. */
  protected programsOn(backend: Backend): PredictPrograms {
    return new PredictPrograms(backend, this);
  }

  /** @internal Called once, when the shapes have become known. */
  protected builtOnce(): void {}
}

/**
 * A model of layers in a row.
 * @param layers layers, plain functions of a tensor, or objects with a `call`.
 * @throws ArgumentError for something else, ShapeError naming the layer that does not fit `inputShape`.
 */
export function sequential(layers: readonly LayerLike[], options: ModelOptions = {}): InferenceModel {
  return new InferenceModel(layersOf(layers), null, options);
}

/**
 * A model from a function that calls layers: branches, shared layers, several inputs.
 * @param fn takes one tensor per input, with the batch as first dimension, and returns the output, or several in a list or an object. It
 * runs whenever a new batch size is compiled; make the layers outside of it.
 * @example const a = dense(8, { activation: "relu" }), b = dense(8); const m = model((x) => add(a.call(x), b.call(x)), { inputShape: [4]
 * });
 */
export function model<O extends Outputs>(fn: (...inputs: Tensor[]) => O, options: ModelOptions = {}): InferenceModel<O> {
  return new InferenceModel([], forwardOf(fn), options);
}

/** @file Model: what people make and train. The training loop is in fit.ts, files in save.ts. */
import { checkCount, checkOptions, unknownName } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import { asTensor } from "../graph.ts";
import type { Layer } from "../nn/layer.ts";
import { add } from "../ops/map.ts";
import { Tensor } from "../tensor.ts";
import type { Logs } from "../train/callbacks.ts";
import type { ClassWeight, Inputs, Targets } from "./data.ts";
import { isBatches } from "./batches.ts";
import type { Batch, Batches } from "./batches.ts";
import { evaluateBatches, runEvaluation, trainBatch } from "./evaluate.ts";
import { runFit } from "./fit.ts";
import type { EvaluateOptions, FitOptions, History } from "./fit.ts";
import { refuse } from "./fit-options.ts";
import { forwardOf, layersOf } from "./layers.ts";
import type { ModelOptions } from "./inference.ts";
import type { LayerLike } from "./layers.ts";
import type { Outputs } from "./outputs.ts";
import { penaltiesOf } from "./programs.ts";
import { encodeModel, saveModel } from "./saving.ts";
import type { SaveOptions } from "./save.ts";
import { LearningModel } from "./learning.ts";
/**
 * A model that learns: what `sequential()` and `model()` of `lockstep` make, and `loadModel()` for files with training. `compile()` sets
 * the loss and the optimizer, `fit()` trains, `evaluate()` measures, `predict()` computes, `save()` and `toBytes()` write a file. Shapes
 * never name the batch dimension.
 */
export class Model<O extends Outputs = Tensor> extends LearningModel<O> {
  /**
   * The layer of this name, or at this place (negative: from the end), as Keras' `get_layer`. @throws ArgumentError listing the names
   * where there is none.
   */
  getLayer(nameOrIndex: string | number): Layer {
    const found = typeof nameOrIndex === "number" ? this.layers.at(nameOrIndex) : this.layers.find((l) => l.name === nameOrIndex);
    if (found === undefined)
      throw unknownName(
        "getLayer",
        String(nameOrIndex),
        this.layers.map((l) => l.name),
        "layer ",
      );
    return found;
  }

  /** Internal: for JavaScript that calls Keras' `add`. @throws ArgumentError always: a model has its layers from the start. @internal */
  add(): never {
    throw new ArgumentError("add: a model has its layers from the start; write sequential([...model.layers, layer])");
  }

  /**
   * Trains for `epochs` passes over the data. See `FitOptions`; `history` has one entry for each epoch and name (loss, metrics, and with
   * validation valLoss …).
   * @param x samples: nested arrays, a tensor, `{ data, shape }`, a list of these for several inputs, or an (async) iterable of batches
   * `[x, y]`, `[x, y, weights]` or `{ xs, ys }`, or a generator function of such.
   * @param y targets with as many samples; left out for an iterable.
   * @throws DataError, ShapeError, ArgumentError before anything runs; LockstepError before `compile()`, while another `fit` runs, and when
   * another model was compiled with the same optimizer since; DeviceLostError where a lost GPU cannot be recovered from; what callbacks
   * throw.
   */
  async fit(x: Inputs | Batches, y?: Targets | FitOptions, options?: FitOptions): Promise<History> {
    return this.alone("fit", () => runFit(this, x, y, options));
  }

  /**
   * Loss and metrics over data, by name: `{ loss, accuracy }`. Dropout is off, normalization uses its moving averages.
   * @param x samples or an iterable of batches, as for `fit`. @param y targets, one for each sample; left out for an iterable.
   * @throws DataError, ShapeError, ArgumentError for data that does not fit; LockstepError before `compile()`.
   */
  async evaluate(x: Inputs | Batches, y?: Targets | EvaluateOptions, options?: EvaluateOptions): Promise<Logs> {
    const iterable = isBatches(x);
    const given = iterable ? (options ?? (y as EvaluateOptions | undefined)) : options;
    const o = checkOptions("evaluate", given, ["batchSize", "sampleWeight", "steps", "padTo"]);
    const { batchSize = 32, sampleWeight, steps = Infinity, padTo } = o;
    checkCount("evaluate", "batchSize", batchSize);
    if (o.steps !== undefined) checkCount("evaluate", "steps", steps);
    if (this.optimizer !== null) await this.follow();
    if (iterable) {
      refuse("evaluate", o, ["batchSize", "sampleWeight"]);
      return evaluateBatches(this, "evaluate", x, steps, padTo);
    }
    const data = await this.prepare("evaluate", x, y as Targets, { sampleWeight, padTo });
    try {
      return await runEvaluation(this.state("evaluate"), data, 0, Math.min(data.samples, steps * batchSize), batchSize);
    } finally {
      data.release();
    }
  }

  /**
   * One step on one batch, as in a loop of one's own: the loss and metrics of this batch alone, before the step. Random layers follow
   * from the model's seed and the optimizer's steps.
   * @param x inputs, @param y targets, as for `fit`.
   * @throws as `fit`
   */
  async trainOnBatch(x: Inputs, y: Targets, options: BatchOptions = {}): Promise<Logs> {
    const { sampleWeight, classWeight } = checkOptions("trainOnBatch", options, ["sampleWeight", "classWeight"]);
    return this.alone("trainOnBatch", () => trainBatch(this, x, y, { sampleWeight, classWeight }));
  }

  /** Loss and metrics of one batch: `evaluate` without batches. @throws as `evaluate` */
  async testOnBatch(x: Inputs, y: Targets, options: Pick<BatchOptions, "sampleWeight"> = {}): Promise<Logs> {
    const { sampleWeight } = checkOptions("testOnBatch", options, ["sampleWeight"]);
    if (this.optimizer !== null) await this.follow();
    return evaluateBatches(this, "testOnBatch", () => [[x, y, sampleWeight] as Batch]);
  }

  /**
   * Writes the model to one safetensors file: weights, configuration and, unless `optimizer` is false, what training needs to go on
   * exactly. The file appears complete or not at all, keeps its mode, and may be a symbolic link. Needs a file system (Node, Deno, Bun);
   * elsewhere use `toBytes()`.
   * A file holds no code: the first save of a model says on the console what of one's own (layers, losses, metrics, named functions)
   * `loadModel` must be given again.
   * @param path a path or file: URL
   * @throws ArgumentError for what a file cannot even name, such as an activation that is a function without a name, and for two
   * weights of one name; LockstepError before the model is built; FileError where writing fails.
   */
  async save(path: string | URL, options: SaveOptions = {}): Promise<void> {
    await saveModel(this, path, options);
  }

  /** What `save` would write, as bytes for `loadModel` or a Blob. @throws as `save`, but no FileError. */
  async toBytes(options: SaveOptions = {}): Promise<Uint8Array> {
    return encodeModel(this, options);
  }

  /**
   * Inside a traced function, what the regularizers of its layers (`kernelRegularizer` and so on) add to the loss, for a loop of one's
   * own: Keras' `sum(model.losses)`. 0 without any.
   */
  penalty(): Tensor {
    return penaltiesOf(this).reduce((sum, penalty) => add(sum, penalty), asTensor(0));
  }
}

/** Options of `trainOnBatch`. */
export interface BatchOptions {
  /** As for `fit`. Default all 1. */
  readonly sampleWeight?: Targets;
  /** As for `fit`. Default all 1. */
  readonly classWeight?: ClassWeight;
}

/**
 * A model of layers in a row.
 * @param layers layers, plain functions of a tensor, or objects with a `call`.
 * @throws ArgumentError for something else, ShapeError naming the layer that does not fit `inputShape`.
 */
export function sequential(layers: readonly LayerLike[], options: ModelOptions = {}): Model {
  return new Model(layersOf(layers), null, options);
}

/**
 * A model from a function that calls layers: branches, shared layers, several inputs.
 * @param fn takes one tensor per input, with the batch as first dimension, and returns the output, or several in a list or an object. It
 * runs whenever a new batch size is compiled; make the layers outside of it.
 * @example const a = dense(8, { activation: "relu" }), b = dense(8);
 * const m = model((x) => add(a.call(x), b.call(x)), { inputShape: [4] });
 */
export function model<O extends Outputs>(fn: (...inputs: Tensor[]) => O, options: ModelOptions = {}): Model<O> {
  return new Model([], forwardOf(fn), options);
}

/**
 * @file LearningModel: an InferenceModel with a loss and an optimizer, and how it reads samples. What is done with it is in fit.ts,
 * evaluate.ts and save.ts.
 */
import type { Backend } from "../backend.ts";
import { checkNumber, checkOptions } from "../check.ts";
import { ArgumentError, LockstepError } from "../errors.ts";
import type { BackendName } from "../init.ts";
import { resolveBackend } from "../init.ts";
import type { Layer } from "../nn/layer.ts";
import { packedIn } from "../dtype.ts";
import { showShape } from "../shape.ts";
import type { OpenShape, Shape } from "../shape.ts";
import { Tensor, tensor } from "../tensor.ts";
import { lossByName } from "../train/losses.ts";
import type { Loss, LossFunction, LossName } from "../train/losses.ts";
import { metricByName } from "../train/metrics.ts";
import type { Metric, MetricName } from "../train/metrics.ts";
import { optimizerByName } from "../train/optimizers.ts";
import type { Optimizer, OptimizerName } from "../train/optimizers.ts";
import { readTargets, readWeights, samplesBefore } from "./data.ts";
import type { ClassWeight, Data, Inputs, PadTo, Targets } from "./data.ts";
import { InferenceModel } from "./inference.ts";
import { logName, perOutput } from "./outputs.ts";
import type { ForOutputs, Outputs } from "./outputs.ts";
import { Programs } from "./programs.ts";
import type { BatchSamples, OutputTraining, Target, TargetSamples, Training } from "./training.ts";
import { Tally } from "./tally.ts";
import { dense, View } from "./view.ts";
import type { Samples } from "./view.ts";
/** What a model learns by: the options of `Model.compile`. */
export interface CompileModelOptions {
  /**
   * A name as in Keras (camelCase), a loss, or a function (yTrue, yPred) => loss per sample, for targets of any shape. For several outputs
   * one for all, or one for each, in a list or by name; those with null or without one are not trained on and take no target.
   */
  readonly loss: ForOutputs<LossOption>;
  /** What the losses of several outputs count in their sum, in a list or by name. Default all 1. */
  readonly lossWeights?: readonly number[] | { readonly [output: string]: number };
  /** A name, or an optimizer such as adam({ learningRate: 1e-3 }). Default `rmsprop`, as in Keras. */
  readonly optimizer?: OptimizerName | Optimizer;
  /**
   * Names or metrics; `accuracy` becomes the kind that fits the loss and the output. For several outputs one or a list of them for each,
   * in a list or by name. Default none.
   */
  readonly metrics?: readonly MetricOption[] | ForOutputs<MetricOption | readonly MetricOption[]>;
  /** `auto`: the first fit times its step on each backend there is, takes the fastest and says so. Default: the backend opened last. */
  readonly backend?: BackendName | Backend;
}

/** A loss by name, as an object, or as a function of targets and predictions. */
type LossOption = LossName | Loss | LossFunction;
/** A metric by name, as an object, or as a function of targets and predictions. */
type MetricOption = MetricName | Metric | LossFunction;

/** What `compile` was told, kept until the outputs' shapes are known. */
interface Recipe extends Pick<CompileModelOptions, "loss" | "lossWeights"> {
  readonly optimizer: Optimizer;
  readonly metrics: NonNullable<CompileModelOptions["metrics"]>;
}

/** @internal What Hugging Face's model calls the linear layer that a kernel is of. */
export interface ModuleName {
  readonly name: string;
  /** The kernel is these of the module's outputs, from the first to before the second, of so many. Default: all of them. */
  readonly part?: { readonly begin: number; readonly of: number };
}

/** @internal Names of modules by layer and weight; null: a checkpoint has no such module. */
export type ModuleNames = (layer: string, weight: string, shape: Shape) => ModuleName | null;

/** A model of whatever outputs. */
export type AnyModel = LearningModel<Outputs>;

/** The model that was last compiled with an optimizer: its state, the number of steps above all, is of one model. */
const owners = new WeakMap<Optimizer, AnyModel>();

/** True for what is one loss and not losses for several outputs. */
const isLoss = (value: unknown): boolean =>
  typeof value === "string" || typeof value === "function" || typeof (value as Partial<Loss> | null)?.call === "function";

/** Layers and those within them, outer ones first, with whether they are trainable. */
function trainability(layers: readonly Layer[], into = new Map<Layer, boolean>()): ReadonlyMap<Layer, boolean> {
  for (const l of layers) {
    into.set(l, l.trainable);
    trainability(l.layers ?? [], into);
  }
  return into;
}

/** True for an object that is a list of things by name, and not data. */
const isPlain = (value: unknown): boolean =>
  typeof value === "object" && value !== null && !ArrayBuffer.isView(value) && !("data" in value && "shape" in value);

/** How samples are to be read. Class weights are for the first `1 - validationSplit` of them. */
export interface SampleOptions {
  readonly sampleWeight?: Targets;
  readonly classWeight?: ClassWeight;
  readonly validationSplit?: number;
  readonly padTo?: PadTo;
}

/** A batch, each sample of which has elements of its own. */
export interface ReadBatch {
  readonly inputs: readonly Tensor[];
  readonly targets: readonly Target[];
  readonly samples: number;
}

/** Data checked and as tensors. */
export interface ReadSamples extends BatchSamples {
  readonly samples: number;
}

/** `release` frees copies that were made. */
export interface Prepared extends ReadSamples {
  readonly release: () => void;
}

/** What a compiled model runs with. */
export type State = { readonly training: Training; readonly programs: Programs; readonly train: Tally; readonly evaluate: Tally };

/** A model that `compile()` tells how to learn. */
export class LearningModel<O extends Outputs = Tensor> extends InferenceModel<O> {
  /** @internal True until fit has chosen a backend for `auto`. */
  choosing = false;
  /** @internal Names of its kernels' modules in the checkpoint that it comes from. */
  declare modules?: ModuleNames;
  #recipe: Recipe | null = null;
  /** Known once the shapes are. */
  #training: Training | null = null;
  /** Made when they are first needed: a model that only predicts does not. */
  #tallies: { train: Tally; evaluate: Tally } | null = null;
  #fitting = false;

  /** @internal What compile() set up, for saving. */
  get training(): Training | null {
    return this.#training;
  }

  /** @internal What compile() was given; null before. */
  get optimizer(): Optimizer | null {
    return this.#recipe?.optimizer ?? null;
  }

  /** @internal What compile() was told about the metrics of a single output. */
  get metrics(): readonly MetricOption[] {
    return this.outputNames[0] === "" ? ((this.#recipe?.metrics ?? []) as readonly MetricOption[]) : [];
  }

  /**
   * Sets loss, optimizer and metrics, and opens the backend. Weights stay as they are; the optimizer starts anew.
   * Programs are made by `fit`, `evaluate` and `predict`, one for each shape of a batch.
   * @throws ArgumentError for unknown names and options, and for two metrics of one name; LockstepError while `fit` runs; BackendError
   * where the backend cannot be opened.
   */
  async compile(options: CompileModelOptions): Promise<void> {
    if (this.#fitting) throw new LockstepError("compile: the model is being trained; await fit first");
    const {
      loss,
      lossWeights,
      metrics = [],
    } = checkOptions("compile", options, ["loss", "lossWeights", "optimizer", "metrics", "backend"]);
    // What is no loss is an error now, whatever the outputs will be.
    const losses =
      isLoss(loss) || typeof loss !== "object" || loss === null
        ? [loss as LossOption]
        : Object.values(loss as { readonly [output: string]: LossOption | null });
    for (const l of losses) if (l !== null) lossByName(l);
    const recipe: Recipe = { loss, lossWeights, optimizer: optimizerByName(options.optimizer ?? "rmsprop"), metrics };
    const training = this.#resolve(recipe);
    this.#tellPacked();
    this.open(await resolveBackend(options.backend));
    this.choosing = options.backend === "auto";
    this.#recipe = recipe;
    owners.set(recipe.optimizer, this);
    this.#begin(training);
  }

  /** Says what `fit` will not train though nobody froze it. Adapters are added for that very reason. */
  #tellPacked(): void {
    const packed = this.weights.filter(({ tensor: t }) => packedIn(t.storage));
    if (packed.length > 0 && this.weights.some(({ trainable, name }) => trainable && !/Lora[AB]$/.test(name)))
      console.warn(
        `lockstep: ${packed.length} of ${this.weights.length} weights of model "${this.name}" are kept in few bits, and fit does not ` +
          'train them: load it with weights: "f32", or add adapters (lockstep/lora)',
      );
  }

  /** @internal Runs a training that no other one of this model or its optimizer may meet. */
  protected async alone<R>(who: string, train: () => Promise<R>): Promise<R> {
    if (this.#fitting) throw new LockstepError(`${who}: the model is being trained already; await that first`);
    const owner = this.optimizer && owners.get(this.optimizer);
    if (owner && owner !== this) {
      throw new LockstepError(
        `${who}: the optimizer of model "${this.name}" was given to model "${owner.name}" since, and counts its steps; compile this ` +
          "one again with an optimizer of its own",
      );
    }
    this.#fitting = true;
    try {
      if (this.#recipe !== null) await this.follow();
      return await train();
    } finally {
      this.#fitting = false;
    }
  }

  /** @internal What fit and evaluate run with. @throws LockstepError before compile(). */
  state(who: string): State {
    const training = this.#training;
    if (training === null || this.programs === null) throw new LockstepError(`${who}: call compile({ loss, optimizer }) first`);
    this.#tallies ??= { train: new Tally(training.outputs), evaluate: new Tally(training.outputs) };
    return { training, programs: this.programs as Programs, ...this.#tallies };
  }

  /** @internal Checks data and builds the model where it has not been. */
  async readSamples(who: string, x: Inputs, y: Targets, options: SampleOptions = {}): Promise<ReadSamples> {
    const { sampleWeight, classWeight, validationSplit = 0, padTo } = options;
    if (this.#recipe === null) throw new LockstepError(`${who}: call compile({ loss, optimizer }) first`);
    if (y === undefined || y === null) {
      const advice = Array.isArray(x) ? "; a list of batches is given as a function: () => list" : "";
      throw new ArgumentError(`${who}: targets y are missing, got ${y}; give them behind x${advice}`);
    }
    let inputs = await this.readInputs(who, x);
    if (padTo !== undefined) {
      const { padded } = await import("./padding.ts");
      inputs = await padded(who, await Promise.all(inputs.map(dense)), this.inputShapes as readonly OpenShape[], padTo, tensor);
      const output = this.outputShapes.find((shape) => shape.includes(null));
      if (output !== undefined)
        throw new ArgumentError(`${who}: padTo would count steps that it puts in, with an output ${showShape([null, ...output])}`);
    }
    const samples = inputs[0].shape[0];
    const { outputNames: names, outputShapes } = this;
    const { outputs } = this.state(who).training;
    if (names.length > 1 && classWeight !== undefined)
      throw new ArgumentError(`${who}: classWeight is for models of one output; use sampleWeight`);
    const each = perOutput<Data>(`${who}: y`, y as ForOutputs<Data>, names, () => false);
    const forOne = (value: unknown): boolean =>
      value instanceof Tensor || !(Array.isArray(value) ? value.length === names.length && typeof value[0] !== "number" : isPlain(value));
    const weights = perOutput<Data>(`${who}: sampleWeight`, sampleWeight as ForOutputs<Data>, names, forOne);
    const targets: TargetSamples[] = [];
    for (const [i, { name, loss }] of outputs.entries()) {
      if (loss === null) continue;
      const where = name === "" ? who : `${who}: output "${name}"`;
      const given = each[i];
      if (given === null) throw new ArgumentError(`${where}: its target is missing in y`);
      const target = await readTargets(where, given, samples, loss, outputShapes[i]);
      const trained = samplesBefore(samples, validationSplit);
      targets.push({
        y: target,
        weights: await readWeights(where, target, weights[i] ?? undefined, { classWeight, samples, trained }),
      });
    }
    return { inputs, targets, samples };
  }

  /** @internal A batch that is given to a program as it is: samples that overlap are copied out of their row. */
  async readBatch(who: string, x: Inputs, y: Targets, options: SampleOptions = {}): Promise<ReadBatch> {
    const { inputs, targets, samples } = await this.readSamples(who, x, y, options);
    return {
      inputs: await Promise.all(inputs.map(dense)),
      targets: await Promise.all(targets.map(async ({ y: target, weights }) => ({ y: await dense(target), weights }))),
      samples,
    };
  }

  /** @internal Samples that can stay on the backend for as long as they are needed. */
  async prepare(who: string, x: Inputs, y: Targets, options: SampleOptions = {}): Promise<Prepared> {
    const { inputs, targets, samples } = await this.readSamples(who, x, y, options);
    // Tensors of one's own, so that those given do not stay on the backend until they are collected.
    const held: Tensor[] = [];
    const own = (t: Tensor): Tensor => {
      if (t.host === null) return t;
      const copy = new Tensor(t.shape, t.dtype, null, 0, t.host);
      held.push(copy);
      return copy;
    };
    const ownSamples = (s: Samples): Samples => (s instanceof View ? new View(own(s.elements), s.shape, s.stride, s.offset) : own(s));
    return {
      inputs: inputs.map(ownSamples),
      targets: targets.map(({ y: target, weights }) => ({ y: ownSamples(target), weights: weights && own(weights) })),
      samples,
      release: () => held.forEach((t) => t.dispose()),
    };
  }

  override dispose(): void {
    super.dispose();
    const { optimizer } = this;
    // So that it can be given to another model.
    if (optimizer !== null && owners.get(optimizer) === this) optimizer.release?.();
    for (const { tensors } of Object.values(this.#tallies ?? {})) for (const t of tensors) t.dispose();
  }

  protected override programsOn(backend: Backend): Programs {
    return new Programs(backend, this);
  }

  protected override builtOnce(): void {
    // The constructor of InferenceModel may build before this class has its fields; there is no recipe then.
    if (#recipe in this && this.#recipe !== null) this.#begin(this.#resolve(this.#recipe));
  }

  /** What names stand for, for each output; null while their shapes are not known. @throws ArgumentError */
  #resolve({ loss, lossWeights, optimizer, metrics }: Recipe): Training | null {
    if (this.inputShapes === null) return null;
    const names = this.outputNames;
    const losses = perOutput<LossOption>("compile: loss", loss, names, isLoss);
    const weights = lossWeights === undefined ? null : perOutput<number>("compile: lossWeights", lossWeights, names, () => false);
    const none = Array.isArray(metrics) && metrics.length === 0;
    const lists = none
      ? names.map(() => metrics)
      : perOutput<MetricOption | readonly MetricOption[]>("compile: metrics", metrics as readonly MetricOption[], names, () => false);
    const outputs = this.outputShapes.map((outputShape, i): OutputTraining => {
      const [own, list, weight] = [losses[i], lists[i] ?? [], weights?.[i] ?? 1];
      checkNumber("compile", "lossWeights", weight, -Infinity);
      if (names[i] === "" && !Array.isArray(list)) throw new ArgumentError(`compile: metrics must be a list, got ${String(list)}`);
      if (own === null) {
        if ((list as readonly unknown[]).length !== 0)
          throw new ArgumentError(`compile: output "${names[i]}" has metrics, which need a loss and so a target`);
        return { name: names[i], loss: null, weight, metrics: [] };
      }
      const resolved = lossByName(own);
      const all = (Array.isArray(list) ? list : [list]) as readonly MetricOption[];
      return { name: names[i], loss: resolved, weight, metrics: all.map((m) => metricByName(m, { loss: resolved, outputShape })) };
    });
    if (outputs.every((o) => o.loss === null)) throw new ArgumentError("compile: expected a loss for one output at least");
    const logs = [
      "loss",
      ...outputs.flatMap((o) => [...(o.name === "" ? [] : [logName(o.name, "loss")]), ...o.metrics.map((m) => logName(o.name, m.name))]),
    ];
    const twice = logs.find((n, i) => logs.indexOf(n) !== i);
    if (twice !== undefined) throw new ArgumentError(`compile: two metrics are named "${twice}"; give one of them another name`);
    // An optimizer that is given again goes on.
    const scale = this.#training?.optimizer === optimizer ? this.#training.scale : null;
    return { outputs, optimizer, trainable: trainability(this.layers), parameters: this.parameters, scale };
  }

  #begin(training: Training | null): void {
    this.#training = training;
    this.#tallies = null;
  }
}

/**
 * @file The programs of a model that learns: training step and evaluation step. A step is one program: it gathers its batch
 * by (shuffled) position, runs forward, loss, gradients and update, and adds to the epoch's loss and metrics, all where
 * the data is. Between steps nothing is written and nothing is read.
 */
import { LockstepError } from "../errors.ts";
import { gradients } from "../grad.ts";
import { asTensor, assign, currentGraph, Graph, symbolOf, trace } from "../graph.ts";
import { add, cast, equal, mul, where } from "../ops/map.ts";
import type { Layer } from "../nn/layer.ts";
import { maskOf } from "../nn/masks.ts";
import { iota } from "../ops/move.ts";
import { permutation } from "../ops/random.ts";
import { seedWords } from "../random.ts";
import { Executable } from "../run.ts";
import { tensor } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";
import { reduceLoss, separateSigmoid } from "../train/losses.ts";
import { SCALING } from "../train/loss-scale.ts";
import type { LossScaling } from "../train/loss-scaling.ts";
import type { Optimizer } from "../train/optimizers.ts";
import { tensorsOf } from "./outputs.ts";
import type { Outputs } from "./outputs.ts";
import { PredictPrograms } from "./predict.ts";
import type { Network } from "./predict.ts";
import type { Tally, Watch } from "./tally.ts";
import { elementsOf, samplesAt } from "./view.ts";
import type { Samples } from "./view.ts";
import { samplesOf } from "./training.ts";
import type { BatchSamples, Result, Target, Training } from "./training.ts";

/** Tells a shuffle from every other use of the seed. */
const SHUFFLE_STREAM = 0x5f5f;

/** Runs `fn` with layers trainable as they were when the model was compiled. */
function asCompiled<R>(trainable: ReadonlyMap<Layer, boolean>, fn: () => R): R {
  const now = Array.from(trainable.keys(), (l) => [l, l.trainable] as const);
  const set = (states: Iterable<readonly [Layer, boolean]>): void => {
    for (const [l, value] of states) l.trainable = value;
  };
  set(trainable);
  try {
    return fn();
  } finally {
    set(now);
  }
}

/** The current positions and seeds of a run over data, read by its programs. */
class Cursor {
  /** u32[4]: seed, epoch. */
  readonly key = tensor(new Uint32Array(4));
  /** Index of the batch's first sample. */
  readonly position = tensor(new Int32Array(1));

  begin(seed: number, epoch: number, position: number): void {
    this.key.set(Uint32Array.of(...seedWords(seed), epoch, 0));
    this.position.set(Int32Array.of(position));
  }

  dispose(): void {
    this.key.dispose();
    this.position.dispose();
  }
}

export interface StepShape {
  /** Samples of this step. */
  readonly count: number;
  /** Samples that a shuffle mixes; 0: in order. */
  readonly shuffled: number;
  /** False: the arguments are the batch itself. */
  readonly resident: boolean;
}

/** A program that takes a step over data. */
interface Step {
  /** Names it among programs. */
  readonly kind: string;
  readonly cursor: Cursor;
  readonly batch: BatchSamples;
  readonly shape: StepShape;
  readonly training: Training;
  readonly tally: Tally;
}

/** The programs of a model that learns. */
export class Programs extends PredictPrograms {
  readonly trainCursor = new Cursor();
  readonly evaluateCursor = new Cursor();

  override dispose(): void {
    super.dispose();
    this.trainCursor.dispose();
    this.evaluateCursor.dispose();
  }

  /** One optimizer step on a batch. Returns nothing: all it does is assigned. */
  async train(batch: BatchSamples, shape: StepShape, training: Training, tally: Tally, watch: Watch | null = null): Promise<Executable> {
    const scaling = await this.#scaling(training);
    const kind = watch === null ? "train" : `train, watched ${watch.id}`;
    return this.#step({ kind, cursor: this.trainCursor, batch, shape, training, tally }, (xs, targets) => {
      const { optimizer } = training;
      const owners = this.network.weights.filter((w) => w.trainable);
      const params = owners.map((w) => w.tensor);
      if (params.length !== training.parameters.length || params.some((p, i) => p !== training.parameters[i]))
        throw new LockstepError("fit: weights came or went since: call compile({ loss, optimizer }) again");
      const watched: { source: string; tensor: Tensor }[] = [];
      const outputs = this.forward(
        xs,
        true,
        () => this.#key(optimizer),
        (layer, y) => {
          if (y !== null) watched.push({ source: `layer ${layer.name}`, tensor: y });
        },
      );
      const { value, results } = this.#losses(training, outputs, targets);
      const grads = gradients(
        scaling?.scaleLoss(value) ?? optimizer.scaleLoss?.(value) ?? value,
        params.map((p) => symbolOf(currentGraph() as Graph, p)),
      );
      if (watch !== null) {
        watched.push({ source: "the loss", tensor: value });
        // Backwards: the gradient that fails first is that of the last layer.
        // Those of a scaled loss may, and are left out then.
        for (let i = optimizer.scaleLoss || scaling ? -1 : grads.length - 1; i >= 0; i--)
          watched.push({ source: `the gradient of ${this.network.nameOf(owners[i])}`, tensor: grads[i] });
        watch.look(
          watched.filter((w) => w.tensor.dtype === "f32"),
          add(optimizer.iterations, 1),
        );
      }
      if (scaling === null) optimizer.update(params, grads);
      else scaling.update(grads, (unscaled) => optimizer.update(params, unscaled));
      return { value, results };
    });
  }

  /** Where products round their operands to f16: what keeps gradients from vanishing there, if the optimizer does not. */
  async #scaling(training: Training): Promise<LossScaling | null> {
    if (!this.backend.limits.halfProducts || training.optimizer.scaleLoss) return null;
    const { DEFAULTS, LossScaling } = await import("./scaling.ts");
    const scaling = new LossScaling(SCALING, DEFAULTS, training.scale);
    const { dynamicScale, stepCounter } = scaling;
    training.scale ??= { dynamicScale, stepCounter };
    return scaling;
  }

  /** Loss and metrics of a batch. */
  evaluate(batch: BatchSamples, shape: StepShape, training: Training, tally: Tally): Promise<Executable> {
    const step = { kind: "evaluate", cursor: this.evaluateCursor, batch, shape, training, tally };
    return this.#step(step, (xs, targets) => this.#losses(training, this.forward(xs, false), targets));
  }

  #step(step: Step, body: (xs: Tensor[], targets: Target[]) => { value: Tensor; results: Result[] }): Promise<Executable> {
    const { kind, cursor, batch: given, shape, training, tally } = step;
    const types = given.targets.map(({ y, weights }) => `${y} ${weights}`);
    return this.cached(`${kind} ${given.inputs.join()} ${types.join()} ${JSON.stringify(shape)} ${tally.id}`, () => {
      const graph = new Graph();
      trace(graph, () =>
        asCompiled(training.trainable, () => {
          const samples = samplesOf(given);
          const data = samples.map((t) => graph.input(elementsOf(t)));
          const batch = shape.resident ? gatherBatch(cursor, samples, data, shape) : data;
          const xs = batch.splice(0, given.inputs.length);
          const targets = given.targets.map(({ weights }) => ({
            y: batch.shift() as Tensor,
            weights: weights && (batch.shift() as Tensor),
          }));
          const { value, results } = body(xs, targets);
          tally.add(value, shape.count, results);
        }),
      );
      return Executable.create(graph, [], this.backend);
    });
  }

  /** Random layers draw by seed and step number, so that a resumed run draws what the whole run would have. */
  #key(optimizer: Optimizer): Tensor {
    // [seed low, seed high, step, 1]
    const at = iota([4]);
    return where(equal(at, 2), cast(optimizer.iterations, "u32"), where(equal(at, 3), asTensor(1, "u32"), this.trainCursor.key));
  }

  /** The loss of all outputs that are trained on, with penalties. */
  #losses({ outputs }: Training, given: Outputs, targets: readonly Target[]): { value: Tensor; results: Result[] } {
    const tensors = tensorsOf(given);
    const terms: Tensor[] = [];
    const results: Result[] = [];
    outputs.forEach(({ loss, weight }, i) => {
      if (loss === null) return;
      const { y, weights } = targets[results.length];
      const prediction = separateSigmoid(tensors[i]);
      const value = reduceLoss(loss.call(y, prediction), weights, maskOf(tensors[i]));
      results.push({ y, prediction, loss: value });
      terms.push(mul(value, weight));
    });
    return { value: [...terms, ...penaltiesOf(this.network)].reduce((a, b) => add(a, b)), results };
  }
}

/** What regularizers add to the loss. */
export const penaltiesOf = ({ weights }: Pick<Network, "weights">): Tensor[] =>
  weights.flatMap((w) => (w.regularizer !== null && w.trainable ? [w.regularizer(w.tensor)] : []));

/** The batch at the cursor, which moves on. `data`: the elements of `samples`. */
function gatherBatch(
  { key, position }: Cursor,
  samples: readonly Samples[],
  data: readonly Tensor[],
  { count, shuffled }: StepShape,
): Tensor[] {
  const index =
    shuffled > 0 ? permutation(key, shuffled, { start: position, count, stream: SHUFFLE_STREAM }) : add(iota([count]), position);
  assign(position, add(position, count));
  return samples.map((s, i) => samplesAt(s, data[i], index));
}

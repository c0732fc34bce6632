/**
 * @file The programs of a model that learns: training step and evaluation step. A step is one program: it gathers its batch
 * by (shuffled) position, runs forward, loss, gradients and update, and adds to the epoch's loss and metrics, all where
 * the data is. Between steps nothing is written and nothing is read.
 */
import { allocate } from "../dtype.ts";
import { gradients } from "../grad.ts";
import { asTensor, assign, currentGraph, Graph, symbolOf, trace } from "../graph.ts";
import { add, cast, equal, greater, isFinite, mul, not, sub, where } from "../ops/map.ts";
import { maskOf } from "../nn/masks.ts";
import { pick } from "../ops/gather.ts";
import { iota } from "../ops/move.ts";
import { permutation } from "../ops/random.ts";
import { sum } from "../ops/reduce.ts";
import { seedWords } from "../random.ts";
import { Executable } from "../run.ts";
import { Tensor, tensor, zeros } from "../tensor.ts";
import { reduceLoss, separateSigmoid } from "../train/losses.ts";
import type { Logs } from "../train/callbacks.ts";
import type { Loss } from "../train/losses.ts";
import type { Metric } from "../train/metrics.ts";
import type { Optimizer } from "../train/optimizers.ts";
import { PredictPrograms } from "./predict.ts";
import type { Network } from "./predict.ts";

/** Tells a shuffle from every other use of the seed. */
const SHUFFLE_STREAM = 0x5f5f;

/** How the model learns. */
export interface Training {
  readonly loss: Loss;
  readonly optimizer: Optimizer;
  readonly metrics: readonly Metric[];
}

let ids = 0;

/** Loss and metrics of an epoch, counted on the device. */
export class Tally {
  /** Names it among programs. */
  readonly id = ids++;
  readonly #metrics: readonly Metric[];
  /** Sum of batch losses times samples, its rounding error, and samples. */
  readonly #loss = [zeros([]), zeros([]), zeros([])];
  readonly #states: readonly (readonly Tensor[])[];
  /** The last batch's loss. */
  readonly last = zeros([]);
  #turn: Promise<unknown> = Promise.resolve();

  constructor(metrics: readonly Metric[]) {
    this.#metrics = metrics;
    this.#states = metrics.map((m) => m.state.map((s) => zeros(s.shape, s.dtype)));
  }

  /** Inside a trace: adds a batch. */
  add(loss: Tensor, samples: number, y: Tensor, prediction: Tensor): void {
    const [sum, error, count] = this.#loss;
    // Kahan: what the last addition lost is put back into the next.
    const term = sub(mul(loss, samples), error);
    const next = add(sum, term);
    assign(sum, next);
    assign(error, sub(sub(next, sum), term));
    assign(count, add(count, samples));
    assign(this.last, loss);
    this.#metrics.forEach((m, i) => {
      const states = this.#states[i];
      m.update(y, prediction, states).forEach((value, k) => assign(states[k], value));
    });
  }

  /** Runs `count` when all that was handed in before is done: two evaluations at once would add to the same sums. */
  alone<R>(count: () => Promise<R>): Promise<R> {
    const result = this.#turn.then(count);
    this.#turn = result.catch(() => {});
    return result;
  }

  /** What a checkpoint must keep. */
  get tensors(): Tensor[] {
    return [...this.#loss, ...this.#states.flat(), this.last];
  }

  reset(): void {
    for (const t of [...this.#loss, ...this.#states.flat()]) t.set(allocate(t.dtype, t.size));
  }

  /** The epoch so far, by name, with `prefix` before each. */
  async read(): Promise<Logs> {
    const [sum, , count] = await Promise.all(this.#loss.map((t) => t.item()));
    const out: { [name: string]: number | number[][] } = { loss: sum / count };
    for (const [i, m] of this.#metrics.entries()) out[m.name] = m.result(await Promise.all(this.#states[i].map((t) => t.data())));
    return out as Logs;
  }
}

/** Where numbers first stopped being finite, kept on the device. */
export class Watch {
  /** Names it among programs. */
  readonly id = ids++;
  /** The first step (from 1) with a number that is not finite; 0: none yet. */
  readonly step = zeros([], "i32");
  /** Not finite elements in each source at that step. */
  #counts: readonly Tensor[] = [];
  #sources: readonly string[] = [];

  /** Inside a trace: looks at `tensors` of this step. */
  look(tensors: readonly { source: string; tensor: Tensor }[], step: Tensor): void {
    const counts = tensors.map(({ tensor: t }) => sum(cast(not(isFinite(t)), "i32")));
    if (this.#counts.length !== counts.length) this.#counts = counts.map(() => zeros([], "i32"));
    this.#sources = tensors.map((t) => t.source);
    const before = greater(this.step, 0);
    this.#counts.forEach((count, i) => assign(count, where(before, count, counts[i])));
    assign(this.step, where(before, this.step, where(greater(counts.reduce(add), 0), step, 0)));
  }

  /** Forgets what it saw. */
  reset(): void {
    this.step.set(new Int32Array(1));
  }

  /** The first source with such an element, or null. */
  async read(): Promise<{ step: number; source: string } | null> {
    const step = await this.step.item();
    if (step === 0) return null;
    const counts = await Promise.all(this.#counts.map((t) => t.item()));
    return { step, source: this.#sources[counts.findIndex((n) => n > 0)] };
  }

  /** What a checkpoint must keep. */
  get tensors(): Tensor[] {
    return [this.step, ...this.#counts];
  }
}

/** The current positions and seeds of a run over data, read by its programs. */
export class Cursor {
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

/** The programs of a model that learns. */
export class Programs extends PredictPrograms {
  readonly trainCursor = new Cursor();
  readonly evaluateCursor = new Cursor();

  override dispose(): void {
    super.dispose();
    this.trainCursor.dispose();
    this.evaluateCursor.dispose();
  }

  /** One optimizer step on a batch of `inputs` and `y` (and sample weights). Returns nothing: all it does is assigned. */
  train(inputs: readonly Tensor[], y: Tensor, weights: Tensor | null, shape: StepShape, training: Training, tally: Tally, watch: Watch | null = null): Promise<Executable> {
    return this.#step(watch === null ? "train" : `train, watched ${watch.id}`, inputs, y, weights, shape, tally, (xs, target, weight) => {
      const { loss, optimizer } = training;
      const owners = this.network.weights.filter((w) => w.trainable);
      const params = owners.map((w) => w.tensor);
      const watched: { source: string; tensor: Tensor }[] = [];
      const output = this.forward(xs, true, () => this.#key(optimizer), (layer, y) => watched.push({ source: `layer ${layer.name}`, tensor: y }));
      const prediction = separateSigmoid(output);
      const value = this.#loss(loss, target, prediction, weight, maskOf(output));
      const grads = gradients(value, params.map((p) => symbolOf(currentGraph() as Graph, p)));
      if (watch !== null) {
        watched.push({ source: "the loss", tensor: value });
        // Backwards: the gradient that fails first is that of the last layer.
        for (let i = grads.length - 1; i >= 0; i--) watched.push({ source: `the gradient of ${this.network.nameOf(owners[i])}`, tensor: grads[i] });
        watch.look(watched.filter((w) => w.tensor.dtype === "f32"), add(optimizer.iterations, 1));
      }
      optimizer.update(params, grads);
      return { value, prediction };
    });
  }

  /** Loss and metrics of a batch. */
  evaluate(inputs: readonly Tensor[], y: Tensor, weights: Tensor | null, shape: StepShape, training: Training, tally: Tally): Promise<Executable> {
    return this.#step("evaluate", inputs, y, weights, shape, tally, (xs, target, weight) => {
      const output = this.forward(xs, false);
      const prediction = separateSigmoid(output);
      return { value: this.#loss(training.loss, target, prediction, weight, maskOf(output)), prediction };
    });
  }

  #step(kind: string, inputs: readonly Tensor[], y: Tensor, weights: Tensor | null, shape: StepShape, tally: Tally, body: (xs: Tensor[], y: Tensor, w: Tensor | null) => { value: Tensor; prediction: Tensor }): Promise<Executable> {
    const key = `${kind} ${inputs.join()} ${y} ${weights} ${JSON.stringify(shape)} ${tally.id}`;
    return this.cached(key, () => {
      const graph = new Graph();
      trace(graph, () => {
        const data = [...inputs, y, ...(weights === null ? [] : [weights])].map((t) => graph.input(t));
        const batch = shape.resident ? gatherBatch(kind !== "evaluate" ? this.trainCursor : this.evaluateCursor, data, shape) : data;
        const xs = batch.slice(0, inputs.length);
        const target = batch[inputs.length];
        const { value, prediction } = body(xs, target, weights === null ? null : batch[inputs.length + 1]);
        tally.add(value, shape.count, target, prediction);
      });
      return Executable.create(graph, [], this.backend);
    });
  }

  /** Random layers draw by seed and step number, so that a resumed run draws what the whole run would have. */
  #key(optimizer: Optimizer): Tensor {
    // [seed low, seed high, step, 1]
    const at = iota([4]);
    return where(equal(at, 2), cast(optimizer.iterations, "u32"), where(equal(at, 3), asTensor(1, "u32"), this.trainCursor.key));
  }

  #loss(loss: Loss, y: Tensor, prediction: Tensor, weights: Tensor | null, mask: Tensor | null): Tensor {
    return penaltiesOf(this.network).reduce((sum, penalty) => add(sum, penalty), reduceLoss(loss.call(y, prediction), weights, mask));
  }
}

/** What regularizers add to the loss. */
export const penaltiesOf = ({ weights }: Pick<Network, "weights">): Tensor[] => weights.flatMap((w) => (w.regularizer !== null && w.trainable ? [w.regularizer(w.tensor)] : []));

/** The batch at the cursor, which moves on. */
function gatherBatch({ key, position }: Cursor, data: readonly Tensor[], { count, shuffled }: StepShape): Tensor[] {
  const index = shuffled > 0 ? permutation(key, shuffled, { start: position, count, stream: SHUFFLE_STREAM }) : add(iota([count]), position);
  assign(position, add(position, count));
  return data.map((t) => pick(t, index));
}

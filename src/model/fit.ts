/** @file The training loop and evaluation: which program runs when, what callbacks and the progress line get to see. */
import type { Backend } from "../backend.ts";
import { once } from "../cache.ts";
import { candidates } from "../init.ts";
import { ArgumentError, DataError, DeviceLostError, LockstepError } from "../errors.ts";
import { Slices } from "../pacing.ts";
import { progress } from "../progress.ts";
import type { Progress, ProgressStream } from "../progress.ts";
import { relieved } from "../relief.ts";
import { inTurn, using } from "../run.ts";
import type { Executable } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import type { Callback, LogHistory, Logs, TrainingHandle } from "../train/callbacks.ts";
import { isBatches, readTargets, readWeights, samplesBefore } from "./data.ts";
import type { Batch, Data, Inputs } from "./data.ts";
import type { Model, Prepared } from "./model.ts";
import { Watch } from "./programs.ts";
import type { Programs, Tally, Training } from "./programs.ts";
import { checkFitOptions } from "./fit-options.ts";
import type { FitOptions } from "./fit-options.ts";
import { describe, time } from "./probe.ts";
import type { Timing } from "./probe.ts";
import { checkpoint, replace } from "./recovery.ts";

export type { EvaluateOptions, FitOptions } from "./fit-options.ts";
/** Batches `[x, y]` or `[x, y, weights]`, read anew for each epoch; a function, such as an (async) generator function, is called for each. */
export type Batches = Iterable<Batch> | AsyncIterable<Batch> | (() => Iterable<Batch> | AsyncIterable<Batch>);

/** One number per epoch and name. */
export interface History {
  /** Numbers of the epochs, counted from 0. */
  readonly epoch: readonly number[];
  /** loss, the metrics, and with validation valLoss and so on. */
  readonly history: LogHistory;
}

type State = { training: Training; programs: Programs; train: Tally; evaluate: Tally };

/** One for each model, so that one program serves all calls of fit. */
const watches = new WeakMap<Model, Watch>();

/** Steps between looks at the watch where a look waits for the device. */
const WATCH_STEPS = 50;

/** Loss and metrics over samples [from, to). One at a time for a model: others wait. */
export function runEvaluation({ training, programs, evaluate }: State, data: Prepared, from: number, to: number, batchSize: number): Promise<Logs> {
  return evaluate.alone(async () => {
    await upload(data, programs);
    evaluate.reset();
    programs.evaluateCursor.begin(0, 0, from);
    const args = argumentsOf(data);
    const slices = new Slices();
    for (let at = from; at < to; at += batchSize) {
      const shape = { count: Math.min(batchSize, to - at), shuffled: 0, resident: true };
      await using(() => programs.evaluate(data.inputs, data.y, data.weights, shape, training, evaluate), args, (program) => inTurn(program, args, () => {}));
      await slices.rest();
    }
    return evaluate.read();
  });
}

const argumentsOf = (d: Pick<Prepared, "inputs" | "y" | "weights">): Tensor[] => [...d.inputs, d.y, ...(d.weights === null ? [] : [d.weights])];

async function upload(data: Prepared, { backend }: Programs): Promise<void> {
  for (const t of argumentsOf(data)) {
    await t.arrival(backend);
    await relieved(backend, () => t.upload(backend));
  }
}

/** @throws ArgumentError naming the option. */
export async function runFit(model: Model, x: Inputs | Batches, y?: Data | FitOptions, options?: FitOptions): Promise<History> {
  if (isBatches(x)) {
    const o = (options ?? y ?? {}) as FitOptions;
    checkFitOptions(o);
    for (const key of ["batchSize", "sampleWeight", "shuffle", "validationSplit"] as const) {
      if (o[key] !== undefined && o[key] !== false && o[key] !== 0) throw new ArgumentError(`fit: ${key} cannot be used with an iterable of batches: batches are taken as they come${key === "sampleWeight" ? "; yield [x, y, weights]" : ""}`);
    }
    return new Fit(model, o).runBatches(x);
  }
  const o = options ?? {};
  checkFitOptions(o);
  const data = await model.prepare("fit", x as Inputs, y as Data, o.sampleWeight, o.classWeight, o.validationData === undefined ? o.validationSplit : 0);
  try {
    return await new Fit(model, o).runResident(data);
  } finally {
    data.release();
  }
}

class Fit {
  readonly #model: Model;
  readonly #options: FitOptions;
  readonly #epochs: number[] = [];
  readonly #history: { [name: string]: (number | number[][])[] } = {};
  readonly #callbacks: readonly Callback[];
  readonly #perBatch: boolean;
  readonly #handle: TrainingHandle;
  /** Set up where a callback wants to hear of numbers that are not finite. */
  readonly #watch: Watch | null;
  #faulted = false;
  #stopped = false;
  #steps = 0;

  constructor(model: Model, options: FitOptions) {
    this.#model = model;
    this.#options = options;
    this.#callbacks = options.callbacks ?? [];
    this.#perBatch = this.#callbacks.some((c) => c.onBatchEnd !== undefined);
    const optimizer = model.optimizer;
    if (optimizer === null) throw new LockstepError("fit: call compile({ loss, optimizer }) first");
    this.#watch = this.#callbacks.some((c) => c.onFault !== undefined) ? once(watches, model, () => new Watch()) : null;
    this.#watch?.reset();
    this.#handle = {
      stop: () => {
        this.#stopped = true;
      },
      weights: async () => Promise.all((await model.getWeights()).map(async (t) => (await t.data()) as Float32Array)),
      setWeights: (w) => model.setWeights(w),
      save: (path) => model.save(path),
      optimizer,
      history: { epoch: this.#epochs, history: this.#history as unknown as LogHistory },
    };
  }

  async runResident(data: Prepared): Promise<History> {
    const { validationSplit = 0, validationData, shuffle = true, seed = 0, batchSize } = this.#options;
    const state = this.#model.state("fit");
    const trained = validationData === undefined ? samplesBefore(data.samples, validationSplit) : data.samples;
    if (validationSplit > 0 && validationData === undefined && trained === data.samples) throw new DataError(`fit: validationSplit ${validationSplit} of ${data.samples} samples leaves none to validate on`);
    if (trained === 0) throw new DataError(`fit: validationSplit ${validationSplit} of ${data.samples} samples leaves none to train on`);
    if (batchSize !== undefined && batchSize > trained) throw new DataError(`fit: batchSize ${batchSize} is larger than the ${trained} samples to train on; use at most ${trained}`);
    const size = Math.min(batchSize ?? 32, trained);
    const validation = validationData === undefined ? null : await this.#model.prepare("fit: validationData", ...validationData);
    const steps = Math.ceil(trained / size);
    const shuffled = shuffle ? trained : 0;
    const args = argumentsOf(data);
    const slices = new Slices();
    const validate = async (): Promise<Logs | null> => {
      const now = this.#model.state("fit");
      if (validation !== null) return runEvaluation(now, validation, 0, validation.samples, size);
      return trained < data.samples ? runEvaluation(now, data, trained, data.samples, size) : null;
    };
    try {
      // Tracing makes the optimizer's state, which the first copy must hold.
      await this.#program(state, data, size, shuffled);
      if (this.#model.choosing) await this.#choose(data, size, shuffled);
      return await this.#run(steps, validate, async (epoch, bar, from, done) => {
        const now = this.#model.state("fit");
        await upload(data, now.programs);
        const last = trained % size || size;
        now.programs.trainCursor.begin(seed, epoch, from * size);
        let program: Executable | null = null;
        for (let step = from; step < steps && !this.#stopped; step++) {
          // A program is looked up when the batch size changes, and again when callbacks made so many others that it had to go.
          if (step === steps - 1) program = null;
          while (program === null || program.closed) program = await this.#program(now, data, step === steps - 1 ? last : size, shuffled);
          await inTurn(program, args, () => {});
          await this.#afterStep(now, bar, step);
          await done(step + 1);
          await slices.rest();
        }
      }, [...args, ...(validation === null ? [] : argumentsOf(validation))]);
    } finally {
      validation?.release();
    }
  }

  async runBatches(batches: Batches): Promise<History> {
    const { validationData, seed = 0 } = this.#options;
    const model = this.#model;
    const validation = validationData === undefined ? null : await model.prepare("fit: validationData", ...validationData);
    const validate = async (): Promise<Logs | null> => (validation === null ? null : runEvaluation(model.state("fit"), validation, 0, validation.samples, 32));
    const slices = new Slices();
    const epochSteps = async (epoch: number, bar: Progress): Promise<void> => {
      let step = 0;
      const list = typeof batches === "function" ? batches() : batches;
      if (typeof list === "function" || !(Array.isArray(list) || isBatches(list))) throw new ArgumentError(`fit: expected a function that gives an (async) iterable of batches [x, y], as a generator function does, got ${String(list)}`);
      for await (const [x, y, w] of list) {
        if (this.#stopped) break;
        const inputs = await model.read("fit", x);
        const now = model.state("fit");
        if (step === 0) now.programs.trainCursor.begin(seed, epoch, 0);
        const samples = inputs[0].shape[0];
        const target = await readTargets("fit", y, samples, now.training.loss, model.outputShape);
        const weights = await readWeights("fit", w, this.#options.classWeight, target, samples);
        const args = argumentsOf({ inputs, y: target, weights });
        const shape = { count: samples, shuffled: 0, resident: false };
        await using(() => now.programs.train(inputs, target, weights, shape, now.training, now.train, this.#watch), args, (program) => inTurn(program, args, () => {}));
        await this.#afterStep(now, bar, step++);
        await slices.rest();
      }
      if (step === 0) throw new DataError(`fit: the iterable gave no batch in epoch ${epoch + 1}; a generator object is spent after one epoch: pass the generator function, or something that can be iterated again`);
    };
    try {
      return await this.#run(null, validate, epochSteps, []);
    } finally {
      validation?.release();
    }
  }

  /** Moves the model to the backend that runs this step fastest. What the timed steps changed is put back. */
  async #choose(data: Prepared, size: number, shuffled: number): Promise<void> {
    const model = this.#model;
    const backends = await candidates();
    if (backends.length > 1) {
      const copy = await checkpoint(0, this.#changing());
      const put = (backend: Backend): void => {
        for (const t of argumentsOf(data)) t.recover();
        copy.recover();
        model.moveTo(backend);
      };
      const timings: Timing[] = [];
      for (const backend of backends) {
        put(backend);
        const now = model.state("fit");
        await upload(data, now.programs);
        now.programs.trainCursor.begin(0, 0, 0);
        const program = await this.#program(now, data, size, shuffled);
        const args = argumentsOf(data);
        timings.push(await time(backend, () => program.enqueue(args)));
      }
      const best = timings.reduce((a, b) => (b.perStep < a.perStep ? b : a));
      put(best.backend);
      if ((this.#options.verbose ?? 1) > 0) (this.#options.stream ?? defaultStream()).write(`${describe(timings, best)}\n`);
    }
    model.choosing = false;
  }

  /** Everything that a training step changes, but its position. */
  #changing(): Tensor[] {
    const { train, evaluate, training } = this.#model.state("fit");
    return [...this.#model.weights.map((w) => w.tensor), ...Object.values(training.optimizer.state()), ...train.tensors, ...evaluate.tensors, ...(this.#watch?.tensors ?? [])];
  }

  async #program(state: State, data: Prepared, count: number, shuffled: number): Promise<Executable> {
    const program = await state.programs.train(data.inputs, data.y, data.weights, { count, shuffled, resident: true }, state.training, state.train, this.#watch);
    await program.arrival([]);
    return program;
  }

  /** Calls one method of all callbacks, one after another. */
  async #tell(call: (callback: Callback, training: TrainingHandle) => void | Promise<void>): Promise<void> {
    for (const c of this.#callbacks) await call(c, this.#handle);
  }

  async #afterStep(state: State, bar: Progress, step: number): Promise<void> {
    const count = this.#steps++;
    const { backend } = state.programs;
    if (this.#perBatch) {
      const logs = { loss: await state.train.last.item() } as Logs;
      await this.#tell((c, training) => c.onBatchEnd?.(count, logs, training));
    }
    // Reading costs a wait for what is under way; where nothing can be it costs nothing.
    if (this.#watch !== null && (!backend.limits.asynchronous || this.#steps % WATCH_STEPS === 0)) await this.#checkFault();
    if (bar.due()) bar.step(step + 1, numbersOf(await state.train.read()));
    else bar.step(step + 1);
  }

  async #checkFault(): Promise<void> {
    const fault = await this.#watch?.read();
    if (!fault || this.#faulted) return;
    this.#faulted = true;
    await this.#tell((c, training) => c.onFault?.(fault.step, fault.source, training));
  }

  /** `epochSteps` runs steps `from` to the end of the epoch and tells `done` after each; it may be called again after a lost device. `inputs`: data on the device. */
  async #run(steps: number | null, validate: () => Promise<Logs | null>, epochSteps: (epoch: number, bar: Progress, from: number, done: (step: number) => Promise<void>) => Promise<void>, inputs: readonly Tensor[]): Promise<History> {
    const { epochs = 1, initialEpoch = 0, verbose = 1 } = this.#options;
    const stream = this.#options.stream ?? defaultStream();
    const bar = progress({ stream, verbose, epochs, steps });
    try {
      await this.#tell((c, training) => c.onTrainBegin?.(training));
      for (let epoch = initialEpoch; epoch < epochs && !this.#stopped; epoch++) {
        bar.beginEpoch(epoch);
        await this.#tell((c, training) => c.onEpochBegin?.(epoch, {} as Logs, training));
        if (this.#model.inputShapes !== null) this.#model.state("fit").train.reset();
        const logs = await this.#withRecovery(steps !== null, inputs, async (from, done) => {
          await epochSteps(epoch, bar, from, done);
          if (this.#watch !== null) await this.#checkFault();
          const all: { [name: string]: number | number[][] } = { ...(await this.#model.state("fit").train.read()) };
          for (const [name, value] of Object.entries((await validate()) ?? {})) all[`val${name[0].toUpperCase()}${name.slice(1)}`] = value;
          return all as Logs;
        });
        this.#epochs.push(epoch);
        for (const [name, value] of Object.entries(logs)) (this.#history[name] ??= []).push(value);
        bar.endEpoch(numbersOf(logs));
        await this.#tell((c, training) => c.onEpochEnd?.(epoch, logs, training));
      }
      await this.#tell((c, training) => c.onTrainEnd?.(training));
    } finally {
      bar.stop();
      // So that a device that is lost afterwards does not take what was learned with it. What cannot be read says so when it is used.
      if (!this.#model.state("fit").programs.backend.limits.hostMemory) await Promise.all(this.#changing().map((t) => t.data())).catch(() => {});
    }
    return { epoch: this.#epochs, history: this.#history as unknown as LogHistory };
  }

  /** Runs an epoch; when the device is lost, goes on from the last copy on another backend. Iterables cannot be rewound: there the error stands, and the model has the weights of the copy. */
  async #withRecovery<R>(rewindable: boolean, inputs: readonly Tensor[], epoch: (from: number, done: (step: number) => Promise<void>) => Promise<R>): Promise<R> {
    const model = this.#model;
    const every = this.#options.recoverEvery ?? 200;
    const needed = every > 0 && this.#model.inputShapes !== null && !model.state("fit").programs.backend.limits.hostMemory;
    let copy = needed ? await checkpoint(0, this.#changing()) : null;
    let seen = this.#steps;
    const done = async (step: number): Promise<void> => {
      if (copy === null || step % every !== 0) return;
      copy = await checkpoint(step, this.#changing());
      seen = this.#steps;
    };
    for (;;) {
      try {
        return await epoch(copy?.step ?? 0, done);
      } catch (error) {
        if (copy === null || !(error instanceof DeviceLostError)) throw error;
        copy.recover();
        if (!rewindable) throw error;
        for (const t of inputs) t.recover();
        this.#steps = seen;
        const next = await replace(model.state("fit").programs.backend);
        model.moveTo(next);
        console.warn(`lockstep: fit: ${error.message}; training goes on from step ${copy.step} of the epoch on ${next.name}`);
        if (next.limits.hostMemory) copy = await checkpoint(copy.step, this.#changing());
      }
    }
  }
}

/** What fits on a line: matrices do not. */
function numbersOf(logs: Logs): { [name: string]: number } {
  return Object.fromEntries(Object.entries(logs).filter((e): e is [string, number] => typeof e[1] === "number"));
}

/** Standard output where the runtime has one; else whole lines on the console. */
function defaultStream(): ProgressStream {
  const { process } = globalThis as { process?: { stdout?: ProgressStream } };
  if (process?.stdout && typeof process.stdout.write === "function") return process.stdout;
  let line = "";
  return {
    write(text) {
      line += text;
      const end = line.lastIndexOf("\n");
      if (end >= 0) console.log(line.slice(0, end));
      line = line.slice(end + 1);
    },
  };
}

/** @file The training loop and evaluation: which program runs when, what callbacks and the progress line get to see. */
import { once } from "../cache.ts";
import { candidates, replace } from "../init.ts";
import { DataError, LockstepError } from "../errors.ts";
import { Slices } from "../pacing.ts";
import { progress } from "../progress.ts";
import type { Progress, ProgressStream } from "../progress.ts";
import type { Weight } from "../nn/layer.ts";
import { inTurn, using } from "../run.ts";
import type { Executable } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import type { Callback, LogHistory, Logs, TrainingHandle } from "../train/callbacks.ts";
import { isBatches, readerOf } from "./batches.ts";
import type { Batches } from "./batches.ts";
import { samplesBefore } from "./data.ts";
import type { Inputs, Targets } from "./data.ts";
import { evaluateBatches, runEvaluation, upload } from "./evaluate.ts";
import type { AnyModel, Prepared, State } from "./learning.ts";
import { saveModel } from "./saving.ts";
import { argumentsOf } from "./training.ts";
import { Watch } from "./tally.ts";
import { checkFitOptions, refuse } from "./fit-options.ts";
import type { FitOptions } from "./fit-options.ts";

export type { EvaluateOptions, FitOptions } from "./fit-options.ts";

/** One number per epoch and name. */
export interface History {
  /** Numbers of the epochs, counted from 0. */
  readonly epoch: readonly number[];
  /** loss, the metrics, and with validation valLoss and so on. */
  readonly history: LogHistory;
}

/** One for each model, so that one program serves all calls of fit. */
const watches = new WeakMap<AnyModel, Watch>();

/** What is evaluated after epochs; null: nothing. `tensors`: those that stay on the device. */
interface Validation {
  readonly tensors: readonly Tensor[];
  readonly run: (() => Promise<Logs>) | null;
  readonly release: () => void;
}

/** The weights of a model but those that are packed, which no step writes. */
const changeable = ({ weights }: Pick<AnyModel, "weights">): readonly Weight[] => weights.filter((w) => w.tensor.storage === undefined);

/** Steps between looks at the watch where a look waits for the device. */
const WATCH_STEPS = 50;

/** @throws ArgumentError naming the option. */
export async function runFit(model: AnyModel, x: Inputs | Batches, y?: Targets | FitOptions, options?: FitOptions): Promise<History> {
  if (isBatches(x)) {
    const o = (options ?? y ?? {}) as FitOptions;
    checkFitOptions(o);
    refuse("fit", o, ["batchSize", "sampleWeight", "shuffle", "validationSplit"]);
    return new Fit(model, o).runBatches(x);
  }
  const o = options ?? {};
  checkFitOptions(o);
  const validationSplit = o.validationData === undefined ? o.validationSplit : 0;
  const data = await model.prepare("fit", x as Inputs, y as Targets, { ...o, validationSplit });
  try {
    return await new Fit(model, o).runResident(data);
  } finally {
    data.release();
  }
}

class Fit {
  readonly #model: AnyModel;
  readonly #options: FitOptions;
  readonly #epochs: number[] = [];
  readonly #history: { [name: string]: (number | number[][])[] } = {};
  readonly #callbacks: readonly Callback[];
  readonly #perBatch: boolean;
  readonly #handle: { -readonly [K in keyof TrainingHandle]: TrainingHandle[K] };
  /** Set up where a callback wants to hear of numbers that are not finite. */
  readonly #watch: Watch | null;
  #faulted = false;
  #stopped = false;
  #steps = 0;

  constructor(model: AnyModel, options: FitOptions) {
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
      weights: async () => Promise.all((await model.getWeights(changeable(model))).map(async (t) => (await t.data()) as Float32Array)),
      setWeights: (w) => model.setWeights(w, changeable(model)),
      save: (path) => saveModel(model, path, {}),
      optimizer,
      get backend() {
        return model.state("fit").programs.backend;
      },
      validates: true,
      position: { epoch: options.initialEpoch ?? 0, step: 0 },
      model,
      history: { epoch: this.#epochs, history: this.#history as unknown as LogHistory },
    };
  }

  async runResident(data: Prepared): Promise<History> {
    const { validationSplit = 0, shuffle = true, seed = 0, batchSize = 32, stepsPerEpoch, validationSteps = Infinity } = this.#options;
    const split = this.#options.validationData === undefined ? validationSplit : 0;
    const trained = samplesBefore(data.samples, split);
    if ((split > 0 && trained === data.samples) || trained === 0) {
      const without = trained === 0 ? "train" : "validate";
      throw new DataError(`fit: validationSplit ${split} of ${data.samples} samples leaves none to ${without} on`);
    }
    const size = Math.min(batchSize, trained);
    const validation = await this.#validation(size);
    // Steps of one pass over the data. An epoch of another number of steps goes on where the one before ended.
    const pass = Math.ceil(trained / size);
    const steps = stepsPerEpoch ?? pass;
    const shuffled = shuffle ? trained : 0;
    const args = argumentsOf(data);
    const slices = new Slices();
    const end = Math.min(data.samples, trained + validationSteps * size);
    const validateSplit = (): Promise<Logs> => runEvaluation(this.#model.state("fit"), data, trained, end, size);
    const validate = trained < data.samples ? validateSplit : validation.run;
    try {
      // Tracing makes the optimizer's state, which the first copy must hold.
      const compile = (): Promise<unknown> => this.#program(this.#model.state("fit"), data, size, shuffled);
      if (this.#recovers) {
        const { compiling } = await import("./devices.ts");
        await compiling(this.#model, compile, () => [...this.#changing(), ...args], replace);
      } else await compile();
      if (this.#model.choosing) {
        const { choose } = await import("./devices.ts");
        const told = await choose(this.#model, await candidates(), args, this.#changing(), async () => {
          const now = this.#model.state("fit");
          await upload(data, now.programs);
          now.programs.trainCursor.begin(0, 0, 0);
          return this.#program(now, data, size, shuffled);
        });
        if (told !== null && (this.#options.verbose ?? 1) > 0) (this.#options.stream ?? defaultStream()).write(`${told}\n`);
        this.#model.choosing = false;
      }
      return await this.#run(
        steps,
        validate,
        async (epoch, bar, from, done) => {
          const now = this.#model.state("fit");
          await upload(data, now.programs);
          const last = trained % size || size;
          let program: Executable | null = null;
          for (let step = from; step < steps && !this.#stopped; step++) {
            const at = (epoch * steps + step) % pass;
            if (at === 0 || step === from) now.programs.trainCursor.begin(seed, Math.floor((epoch * steps + step) / pass), at * size);
            // A program is looked up when the batch size changes, and again when callbacks made so many others that it had to go.
            if (at === 0 || at === pass - 1) program = null;
            while (program === null || program.closed) program = await this.#program(now, data, at === pass - 1 ? last : size, shuffled);
            await inTurn(program, args, () => {});
            await this.#afterStep(now, bar, step);
            await done(step + 1);
            await slices.rest();
          }
        },
        [...args, ...validation.tensors],
      );
    } finally {
      validation.release();
    }
  }

  async runBatches(batches: Batches): Promise<History> {
    const { seed = 0, stepsPerEpoch, classWeight, padTo } = this.#options;
    const model = this.#model;
    this.#handle.position.step = null;
    const validation = await this.#validation(32);
    const reader = await readerOf("fit", batches);
    const slices = new Slices();
    const epochSteps = async (epoch: number, bar: Progress): Promise<void> => {
      let step = 0;
      for (let ended = false; !this.#stopped && step < (stepsPerEpoch ?? Infinity);) {
        const batch = await reader.next();
        if (batch === null) {
          // With a number of steps the epoch goes on with the first batch again, once there is one.
          if (stepsPerEpoch === undefined || ended) break;
          ended = true;
          continue;
        }
        ended = false;
        const [x, y, sampleWeight] = batch;
        const data = await model.readBatch("fit", x, y, { sampleWeight, classWeight, padTo });
        const now = model.state("fit");
        if (step === 0) now.programs.trainCursor.begin(seed, epoch, 0);
        const args = argumentsOf(data);
        const shape = { count: data.samples, shuffled: 0, resident: false };
        const find = (): Promise<Executable> => now.programs.train(data, shape, now.training, now.train, this.#watch);
        await using(find, args, (program) => inTurn(program, args, () => {}));
        await this.#afterStep(now, bar, step++);
        await slices.rest();
      }
      if (this.#stopped) return;
      if (step === 0) throw reader.spent(`no batch in epoch ${epoch + 1}`);
      if (step < (stepsPerEpoch ?? 0)) throw reader.spent(`${step} of the ${stepsPerEpoch} batches of epoch ${epoch + 1}`);
    };
    try {
      return await this.#run(stepsPerEpoch ?? null, validation.run, epochSteps, validation.tensors);
    } finally {
      await reader.close();
      validation.release();
    }
  }

  /** What evaluates validationData, if there is such. */
  async #validation(batchSize: number): Promise<Validation> {
    const { validationData, validationSteps, padTo } = this.#options;
    const model = this.#model;
    const who = "fit: validationData";
    const release = (): void => {};
    if (validationData === undefined) return { tensors: [], run: null, release };
    if (isBatches(validationData)) {
      return { tensors: [], run: () => evaluateBatches(model, who, validationData, validationSteps, padTo), release };
    }
    const [x, y, sampleWeight] = validationData;
    const data = await model.prepare(who, x, y, { sampleWeight, padTo });
    const end = Math.min(data.samples, (validationSteps ?? Infinity) * batchSize);
    return { tensors: argumentsOf(data), run: () => runEvaluation(model.state("fit"), data, 0, end, batchSize), release: data.release };
  }

  /** Everything that a training step changes, but its position. */
  #changing(): Tensor[] {
    const { train, evaluate, training } = this.#model.state("fit");
    return [
      ...changeable(this.#model).map((w) => w.tensor),
      ...Object.values(training.optimizer.state()),
      ...Object.values(training.scale ?? {}),
      ...train.tensors,
      ...evaluate.tensors,
      ...(this.#watch?.tensors ?? []),
    ];
  }

  async #program(state: State, data: Prepared, count: number, shuffled: number): Promise<Executable> {
    const program = await state.programs.train(data, { count, shuffled, resident: true }, state.training, state.train, this.#watch);
    await program.arrival([]);
    return program;
  }

  async #validated(validate: () => Promise<Logs>): Promise<Logs> {
    await this.#tell((c, training) => c.onTestBegin?.({} as Logs, training));
    const logs = await validate();
    await this.#tell((c, training) => c.onTestEnd?.(logs, training));
    return logs;
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

  /**
   * `epochSteps` runs steps `from` to the end of the epoch and tells `done` after each; it may be called again after a lost device.
   * `inputs`: data on the device.
   */
  async #run(
    steps: number | null,
    validate: Validation["run"],
    epochSteps: (epoch: number, bar: Progress, from: number, done: (step: number) => Promise<void>) => Promise<void>,
    inputs: readonly Tensor[],
  ): Promise<History> {
    const { epochs = 1, verbose = 1, validationFreq = 1 } = this.#options;
    const stream = this.#options.stream ?? defaultStream();
    const reporter = verbose === 1 && stream.isTTY === true ? (await import("../bar.ts")).bar : progress;
    const bar = reporter({ stream, verbose, epochs, steps });
    const { optimizer, position } = this.#handle;
    try {
      // A training that failed may have left averages in the weights.
      await optimizer.swapEmaWeights?.(false, this.#handle.backend);
      await this.#tell((c, training) => c.onTrainBegin?.(training));
      for (; position.epoch < epochs && !this.#stopped; position.epoch++) {
        const { epoch } = position;
        bar.beginEpoch(epoch);
        await this.#tell((c, training) => c.onEpochBegin?.(epoch, {} as Logs, training));
        if (this.#model.inputShapes !== null && !position.step) this.#model.state("fit").train.reset();
        const chosen = typeof validationFreq === "number" ? (epoch + 1) % validationFreq === 0 : validationFreq.includes(epoch + 1);
        this.#handle.validates = chosen || validate === null;
        const logs = await this.#withRecovery(inputs, async (from, done) => {
          await epochSteps(epoch, bar, from, done);
          if (this.#watch !== null) await this.#checkFault();
          const all: { [name: string]: number | number[][] } = { ...(await this.#model.state("fit").train.read()) };
          const validated = chosen && validate !== null ? await this.#validated(validate) : ({} as Logs);
          for (const [name, value] of Object.entries(validated)) all[`val${name[0].toUpperCase()}${name.slice(1)}`] = value;
          return all as Logs;
        });
        position.step &&= 0;
        this.#epochs.push(epoch);
        for (const [name, value] of Object.entries(logs)) (this.#history[name] ??= []).push(value);
        bar.endEpoch(numbersOf(logs));
        await this.#tell((c, training) => c.onEpochEnd?.(epoch, logs, training));
      }
      if (this.#epochs.length > 0) await optimizer.finalizeVariableValues?.(this.#handle.backend);
      await this.#tell((c, training) => c.onTrainEnd?.(training));
    } finally {
      bar.stop();
      // So that a device that is lost afterwards does not take what was learned with it. What cannot be read says so when it is used.
      if (this.#mayBeLost) await Promise.all(this.#changing().map((t) => t.data())).catch(() => {});
    }
    return this.#handle.history;
  }

  /** Whether what was learned is on a device alone, once there is something. */
  get #mayBeLost(): boolean {
    return this.#model.inputShapes !== null && !this.#handle.backend.limits.hostMemory;
  }

  /** Whether training goes on where the device is lost. */
  get #recovers(): boolean {
    return this.#mayBeLost && this.#options.recoverEvery !== 0;
  }

  /** Runs an epoch, on a device that may be lost with copies to go on from. */
  async #withRecovery<R>(
    inputs: readonly Tensor[],
    epoch: (from: number, done: (step: number) => Promise<void>) => Promise<R>,
  ): Promise<R> {
    const model = this.#model;
    const { step } = this.#handle.position;
    const from = step ?? 0;
    const { recoverEvery: every = 200 } = this.#options;
    if (!this.#recovers) return epoch(from, async () => {});
    const { recovering } = await import("./devices.ts");
    let seen = this.#steps;
    return recovering(model, { every, from, inputs: step === null ? null : inputs, changing: () => this.#changing() }, epoch, {
      kept: () => {
        seen = this.#steps;
      },
      lost: () => {
        this.#steps = seen;
      },
      replace,
    });
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

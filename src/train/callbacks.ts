/**
 * @file Callbacks: objects whose methods `fit` calls while it trains, and those of Keras 3 (https://keras.io/api/callbacks/)
 * that decide something. Epochs and steps count from 0, as in Keras.
 */
import type { Backend } from "../backend.ts";
import { checkCount, checkFlag, checkNumber, checkOneOf, checkPart } from "../check.ts";
import { ArgumentError, LockstepError, NonFiniteError } from "../errors.ts";
import type { Layer } from "../nn/layer.ts";
import { optionsOf } from "../options.ts";
import type { Tensor } from "../tensor.ts";
import type { LossScale } from "./loss-scaling.ts";
import type { MetricName } from "./metrics.ts";
import type { Optimizer } from "./optimizers.ts";

/**
 * Names of what is one number, whatever its options. `precision`, `recall` and `f1` may be one for each class, `confusionMatrix` is a
 * table, one's own may be either.
 */
export type NumberName = "loss" | "auc" | Exclude<MetricName, "precision" | "recall" | "f1" | "confusionMatrix">;

/** Values by name, those of validation with `val` in front. There are only those that the training has. */
export type ByName<Numbers, All> = { readonly [name in NumberName | `val${Capitalize<NumberName>}`]: Numbers } & {
  readonly [name: string]: All;
};

/** What an epoch or a batch gave, by name: loss, accuracy, valLoss, valAccuracy … */
export type Logs = ByName<number, number | number[][]>;

/** The logs of all epochs, by name. */
export type LogHistory = ByName<readonly number[], readonly (number | number[][])[]>;

/** What callbacks may do to the training that called them. */
export interface TrainingHandle {
  /** Ends training after the current epoch, or after the current batch when called from onBatchEnd. */
  stop(): void;
  /** A copy of all weights of the model, moving averages included. */
  readonly weights: () => Promise<Float32Array[]>;
  /** Puts such a copy back. */
  setWeights(weights: Float32Array[]): void;
  /** Writes the model to a file. */
  save(path: string): Promise<void>;
  readonly optimizer: Optimizer;
  /** Where the model trains. */
  readonly backend: Backend;
  /** False in an epoch that `validationFreq` leaves out: logs have nothing of validation then. */
  readonly validates: boolean;
  /**
   * @internal The epoch that runs or is to run next, and the step of it that it begins with, null where data come in batches, of which none
   * can be chosen. Set by `onTrainBegin` of who goes on where another training ended.
   */
  readonly position: { epoch: number; step: number | null };
  /** @internal The model that is trained. */
  readonly model: {
    readonly layers: readonly Layer[];
    /** With what the epoch has counted so far, and what losses are multiplied by. */
    state(who: string): { readonly train: { readonly tensors: readonly Tensor[] }; readonly training: { scale: LossScale | null } };
  };
  /** Numbers of the past epochs, and their logs by name. */
  readonly history: { readonly epoch: readonly number[]; readonly history: LogHistory };
}

/** Any object with some of these methods; each may be async and is waited for. */
export interface Callback {
  /** Before the first epoch. */
  onTrainBegin?(training: TrainingHandle): void | Promise<void>;
  /** After the last epoch, also where training was stopped. */
  onTrainEnd?(training: TrainingHandle): void | Promise<void>;
  /** Before each epoch; `logs` is empty. */
  onEpochBegin?(epoch: number, logs: Logs, training: TrainingHandle): void | Promise<void>;
  /** After each epoch and its validation, with what both gave. */
  onEpochEnd?(epoch: number, logs: Logs, training: TrainingHandle): void | Promise<void>;
  /** Before each validation; `logs` is empty. */
  onTestBegin?(logs: Logs, training: TrainingHandle): void | Promise<void>;
  /** After each validation, with what it gave: loss, accuracy … */
  onTestEnd?(logs: Logs, training: TrainingHandle): void | Promise<void>;
  /** `step` counts all batches since training began. */
  onBatchEnd?(step: number, logs: Logs, training: TrainingHandle): void | Promise<void>;
  /**
   * A layer's output, the loss or a gradient has NaN or infinite elements for the first time. `step` is the optimizer's step, from 1;
   * `source` says where: "layer conv2d_1", "the loss", "the gradient of conv2d_1/kernel". Having this method turns the check on.
   */
  onFault?(step: number, source: string, training: TrainingHandle): void | Promise<void>;
}

/** Which log a callback watches. */
export interface MonitorOptions {
  /** The log to watch. Default: valLoss where there is validation, else loss. */
  readonly monitor?: string;
  /** Whether smaller or larger is better. Default auto: larger for accuracy, precision, recall, f1 and auc, smaller for everything else. */
  readonly mode?: "auto" | "min" | "max";
}

interface Monitor {
  /**
   * The watched number; null for one of validation in an epoch without. @throws ArgumentError when there is none, listing what there
   * is.
   */
  read(logs: Logs, training: TrainingHandle): number | null;
  /** True when `value` is better than `than` by more than `delta`, or than everything where that is null. Never for NaN. */
  better(value: number, than: number | null, delta: number): boolean;
}

/** Options with their defaults; the log's name has none. */
type Filled<O extends MonitorOptions> = Required<Omit<O, "monitor">> & MonitorOptions;
const MONITOR: Filled<MonitorOptions> = { monitor: undefined, mode: "auto" };

function monitorOf(who: string, { monitor, mode = "auto" }: MonitorOptions): Monitor {
  checkOneOf(who, "mode", mode, ["auto", "min", "max"]);
  if (monitor !== undefined && typeof monitor !== "string")
    throw new ArgumentError(`${who}: monitor must be the name of a log, got ${String(monitor)}`);
  let name = monitor ?? "loss";
  const upward = (): boolean => (mode === "auto" ? /acc|precision|recall|f1|auc/i.test(name) : mode === "max");
  return {
    read(logs, training) {
      // Looked up each time: the same callback may serve a training with validation and one without.
      name = monitor ?? (Object.hasOwn(logs, "valLoss") || training.validates === false ? "valLoss" : "loss");
      if (training.validates === false && /^val[A-Z]/.test(name) && !Object.hasOwn(logs, name)) return null;
      const value = Object.hasOwn(logs, name) ? logs[name] : undefined;
      if (typeof value === "number") return value;
      const numbers = Object.keys(logs).filter((key) => typeof logs[key] === "number");
      throw new ArgumentError(
        `${who}: cannot monitor "${name}": ${value === undefined ? "there is no such log" : "it is not one number"}; there are: ` +
          `${numbers.join(", ") || "none"}`,
      );
    },
    better: (value, than, delta) => {
      const sign = upward() ? 1 : -1;
      return than === null ? sign * value > -Infinity : sign * value - delta > sign * than;
    },
  };
}

/** Options of `earlyStopping`. */
export interface EarlyStoppingOptions extends MonitorOptions {
  /** What counts as better must be better by more than this. Default 0. */
  readonly minDelta?: number;
  /** Epochs without improvement after which training stops. Default 0. */
  readonly patience?: number;
  /** Patience starts again only where this value is beaten, too. */
  readonly baseline?: number | null;
  /** At the end, go back to the weights of the best epoch. Default false. */
  readonly restoreBestWeights?: boolean;
  /** Epochs before this one are not looked at. Default 0. */
  readonly startFromEpoch?: number;
}

/** Stops training when the monitored number has stopped improving. */
export function earlyStopping(options?: EarlyStoppingOptions): Callback {
  const { minDelta, patience, baseline, restoreBestWeights, startFromEpoch, ...watched } = optionsOf<Filled<EarlyStoppingOptions>>(
    "earlyStopping",
    { ...MONITOR, minDelta: 0, patience: 0, baseline: null, restoreBestWeights: false, startFromEpoch: 0 },
    options,
  );
  const monitor = monitorOf("earlyStopping", watched);
  checkNumber("earlyStopping", "minDelta", minDelta, -Infinity);
  checkCount("earlyStopping", "patience", patience, 0);
  checkCount("earlyStopping", "startFromEpoch", startFromEpoch, 0);
  if (baseline !== null) checkNumber("earlyStopping", "baseline", baseline, -Infinity);
  const delta = Math.abs(minDelta);
  let wait = 0;
  let best: number | null = null;
  let weights: Float32Array[] | null = null;
  return {
    onTrainBegin() {
      wait = 0;
      best = null;
      weights = null;
    },
    async onEpochEnd(epoch, logs, training) {
      const value = monitor.read(logs, training);
      if (value === null || epoch < startFromEpoch) return;
      const improved = monitor.better(value, best, delta);
      if (restoreBestWeights && (improved || weights === null)) weights = await training.weights();
      wait++;
      if (improved) {
        best = value;
        if (baseline === null || monitor.better(value, baseline, delta)) wait = 0;
      } else if (wait >= patience && epoch > 0) {
        training.stop();
      }
    },
    onTrainEnd(training) {
      if (weights !== null) training.setWeights(weights);
    },
  };
}

/** Options of `modelCheckpoint`. */
export interface ModelCheckpointOptions extends MonitorOptions {
  /** Save only where the monitored number is better than in all epochs before, those of earlier calls of `fit` included. Default false. */
  readonly saveBestOnly?: boolean;
  /** Save only what is better than this, too: the best of a training that goes on in a new process. Default none. */
  readonly initialValueThreshold?: number | null;
}

/**
 * Saves the model after each epoch.
 * @param path `{epoch}` in it becomes the epoch's number, from 1, and `{name}` that log with four decimals:
 * `model-{epoch}-{valLoss}.safetensors`
 */
export function modelCheckpoint(path: string, options?: ModelCheckpointOptions): Callback {
  const { saveBestOnly, initialValueThreshold, ...watched } = optionsOf<Filled<ModelCheckpointOptions>>(
    "modelCheckpoint",
    { ...MONITOR, saveBestOnly: false, initialValueThreshold: null },
    options,
  );
  if (typeof path !== "string" || path === "")
    throw new ArgumentError(`modelCheckpoint: expected the path of a file, got ${path === "" ? "an empty text" : String(path)}`);
  const monitor = monitorOf("modelCheckpoint", watched);
  if (initialValueThreshold !== null) checkNumber("modelCheckpoint", "initialValueThreshold", initialValueThreshold, -Infinity);
  // Kept from one fit to the next, as in Keras: training that goes on must not overwrite a better model.
  let best = initialValueThreshold;
  return {
    async onEpochEnd(epoch, logs, training) {
      if (saveBestOnly) {
        const value = monitor.read(logs, training);
        if (value === null || !monitor.better(value, best, 0)) return;
        best = value;
      }
      await training.save(
        path.replace(/\{(\w+)\}/g, (_, name: string) => {
          if (name === "epoch") return String(epoch + 1);
          const value = Object.hasOwn(logs, name) ? logs[name] : undefined;
          if (typeof value !== "number")
            throw new ArgumentError(
              `modelCheckpoint: no number "${name}" for the path "${path}"; there are: epoch, ${Object.keys(logs).join(", ")}`,
            );
          return value.toFixed(4);
        }),
      );
    },
  };
}

/**
 * Ends training with a NonFiniteError that names the step and the layer where a number first became NaN or infinite. The
 * check is made where the data is, by looking at bits, and costs a pass over each layer's output.
 */
export function terminateOnNaN(): Callback {
  return {
    onFault(step, source) {
      throw new NonFiniteError(
        `loss became NaN or infinite at step ${step}, ${source}; try a smaller learning rate or clipNorm, and look for extreme ` +
          "numbers in the data",
      );
    },
  };
}

/** Options of `reduceLrOnPlateau`. */
export interface ReduceLrOnPlateauOptions extends MonitorOptions {
  /** What the learning rate is multiplied by, below 1. Default 0.1. */
  readonly factor?: number;
  /** Epochs without improvement after which the rate is reduced. Default 10. */
  readonly patience?: number;
  /** What counts as better must be better by more than this. Default 0.0001. */
  readonly minDelta?: number;
  /** Epochs after a reduction that are not counted. Default 0. */
  readonly cooldown?: number;
  /** The rate is not reduced below this. Default 0. */
  readonly minLr?: number;
}

/** @throws LockstepError, before any training is lost, where the rate follows a schedule. */
function checkSettable(who: string, { kind, config }: Optimizer): void {
  const { kind: schedule } = (config.learningRate ?? {}) as { readonly kind?: string };
  if (schedule !== undefined)
    throw new LockstepError(
      `${who}: the learning rate of ${kind} follows ${schedule} and cannot be set; give ${kind} a number, or leave ${who} out`,
    );
}

/**
 * Reduces the learning rate when the monitored number has stopped improving. When training begins, @throws LockstepError for an optimizer
 * with a schedule.
 */
export function reduceLrOnPlateau(options?: ReduceLrOnPlateauOptions): Callback {
  const { factor, patience, minDelta, cooldown, minLr, ...watched } = optionsOf<Filled<ReduceLrOnPlateauOptions>>(
    "reduceLrOnPlateau",
    { ...MONITOR, factor: 0.1, patience: 10, minDelta: 1e-4, cooldown: 0, minLr: 0 },
    options,
  );
  const monitor = monitorOf("reduceLrOnPlateau", watched);
  checkPart("reduceLrOnPlateau", "factor", factor);
  checkCount("reduceLrOnPlateau", "patience", patience, 0);
  checkCount("reduceLrOnPlateau", "cooldown", cooldown, 0);
  checkNumber("reduceLrOnPlateau", "minDelta", minDelta, -Infinity);
  checkNumber("reduceLrOnPlateau", "minLr", minLr, 0);
  const delta = Math.abs(minDelta);
  let wait = 0;
  let cooling = 0;
  let best: number | null = null;
  return {
    onTrainBegin({ optimizer }) {
      checkSettable("reduceLrOnPlateau", optimizer);
      wait = 0;
      cooling = 0;
      best = null;
    },
    onEpochEnd(_epoch, logs, training) {
      const { optimizer } = training;
      const value = monitor.read(logs, training);
      if (value === null) return;
      if (cooling > 0) {
        cooling--;
        wait = 0;
      }
      if (monitor.better(value, best, delta)) {
        best = value;
        wait = 0;
      } else if (cooling === 0 && ++wait >= patience) {
        const rate = optimizer.learningRate;
        if (rate <= minLr) return;
        optimizer.learningRate = Math.max(rate * factor, minLr);
        cooling = cooldown;
        wait = 0;
      }
    },
  };
}

/**
 * Sets the learning rate of each epoch to `fn(epoch, learningRate so far)`. @throws ArgumentError when that is not a number of at least 0,
 * LockstepError for an optimizer with a schedule.
 */
export function learningRateScheduler(fn: (epoch: number, learningRate: number) => number): Callback {
  if (typeof fn !== "function")
    throw new ArgumentError(`learningRateScheduler: expected a function (epoch, learningRate) => number, got ${String(fn)}`);
  return {
    onTrainBegin: ({ optimizer }) => checkSettable("learningRateScheduler", optimizer),
    onEpochBegin(epoch, _logs, { optimizer }) {
      const rate = fn(epoch, optimizer.learningRate);
      if (typeof rate !== "number" || !Number.isFinite(rate))
        throw new ArgumentError(`learningRateScheduler: the function must return a number, got ${String(rate)} for epoch ${epoch}`);
      optimizer.learningRate = rate;
    },
  };
}

/** Options of `swapEmaWeights`. */
export interface SwapEmaWeightsOptions {
  /** Also while the callbacks behind this one hear of an epoch's end, so that `modelCheckpoint` saves the averages. Default false. */
  readonly swapOnEpoch?: boolean;
}

/**
 * Validates with the moving averages that an optimizer with `useEma: true` keeps, and goes on training with the weights themselves. When
 * training begins, @throws LockstepError for an optimizer that keeps none.
 */
export function swapEmaWeights(options?: SwapEmaWeightsOptions): Callback {
  const { swapOnEpoch } = optionsOf<Required<SwapEmaWeightsOptions>>("swapEmaWeights", { swapOnEpoch: false }, options);
  checkFlag("swapEmaWeights", "swapOnEpoch", swapOnEpoch);
  const swap = async ({ optimizer, backend }: TrainingHandle, averaged: boolean): Promise<void> => {
    if (optimizer.swapEmaWeights === undefined)
      throw new LockstepError(`swapEmaWeights: ${optimizer.kind} keeps no averages; make it with useEma: true`);
    await optimizer.swapEmaWeights(averaged, backend);
  };
  return {
    onTrainBegin: (training) => swap(training, false),
    onTestBegin: (_logs, training) => swap(training, true),
    onTestEnd: (_logs, training) => swap(training, false),
    ...(swapOnEpoch && {
      onEpochBegin: (_epoch, _logs, training) => swap(training, false),
      onEpochEnd: (_epoch, _logs, training) => swap(training, true),
    }),
  };
}

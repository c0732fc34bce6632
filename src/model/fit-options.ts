/** @file The options of `fit` and `evaluate`, and their checks. */
import { checkCount, checkFlag, checkOptions, checkPart, hint, kindOf } from "../check.ts";
import { ArgumentError } from "../errors.ts";
import type { ProgressStream } from "../progress.ts";
import type { Callback } from "../train/callbacks.ts";
import { isBatches } from "./batches.ts";
import type { Batches } from "./batches.ts";
import type { ClassWeight, Inputs, PadTo, Targets } from "./data.ts";

/** Options of `evaluate`. */
export interface EvaluateOptions {
  /** Samples computed together; more than there are: all at once. Default 32. */
  readonly batchSize?: number;
  /** One weight per sample, in the loss alone: metrics count samples as they are. Default all 1. */
  readonly sampleWeight?: Targets;
  /** Batches after which to stop. Default: all. */
  readonly steps?: number;
  /**
   * Lengths that sequences are brought to, so that there are few programs: see `PadTo`. Not for models with an output for each step.
   * Default: none.
   */
  readonly padTo?: PadTo;
}

/** Options of `fit`. */
export interface FitOptions extends Omit<EvaluateOptions, "steps"> {
  /** Passes over the data. Default 1. */
  readonly epochs?: number;
  /** First epoch's number, counted from 0; `epochs` is the number to stop before. For resumed training. Default 0. */
  readonly initialEpoch?: number;
  /** Part of the data, from its end, that is not trained on but evaluated after each epoch. Default 0. */
  readonly validationSplit?: number;
  /** Evaluated after each epoch: data, or an iterable of batches; takes the place of validationSplit. */
  readonly validationData?: readonly [x: Inputs, y: Targets, sampleWeight?: Targets] | Batches;
  /** Batches of validation after which to stop; the next one begins with the first batch again. Default: all. */
  readonly validationSteps?: number;
  /** Validate after every so many epochs only, or after those of a list, which counts from 1. Default 1. */
  readonly validationFreq?: number | readonly number[];
  /**
   * Batches of an epoch. The next epoch goes on where this one ended; what has come to its end, data or an iterable that can be
   * iterated again, begins anew. Default: as many as there are.
   */
  readonly stepsPerEpoch?: number;
  /** Mix the samples anew in each epoch. Default true. */
  readonly shuffle?: boolean;
  /** Drives shuffling and dropout: the same seed gives the same run. Default 0. */
  readonly seed?: number;
  /** Weight of each class in the loss, by class number. Default all 1. */
  readonly classWeight?: ClassWeight;
  /** Called in order. */
  readonly callbacks?: readonly Callback[];
  /**
   * Steps after which weights and optimizer are copied to the host on backends whose device can be lost. Training then goes on from the
   * last copy, on a new device or on WASM. 0: no copies, a lost device ends training with a DeviceLostError. Default 200.
   */
  readonly recoverEvery?: number;
  /** 0: silent; 1: a bar on a terminal, else one line per epoch; 2: one line per epoch. Default 1. */
  readonly verbose?: 0 | 1 | 2;
  /** Where progress is written. Default: standard output, or the console where there is none. */
  readonly stream?: ProgressStream;
}

const FIT_OPTIONS = [
  "batchSize",
  "sampleWeight",
  "padTo",
  "epochs",
  "initialEpoch",
  "validationSplit",
  "validationData",
  "validationSteps",
  "validationFreq",
  "stepsPerEpoch",
  "shuffle",
  "seed",
  "classWeight",
  "callbacks",
  "recoverEvery",
  "verbose",
  "stream",
];
const METHODS = ["onTrainBegin", "onTrainEnd", "onEpochBegin", "onEpochEnd", "onTestBegin", "onTestEnd", "onBatchEnd", "onFault"];

/** @throws ArgumentError for what is no callback: a factory without its parentheses, or an object whose methods nobody would call. */
function checkCallbacks(callbacks: readonly Callback[]): void {
  if (!Array.isArray(callbacks)) throw new ArgumentError(`fit: callbacks must be a list, got ${kindOf(callbacks)}`);
  for (const [i, c] of callbacks.entries() as Iterable<[number, unknown]>) {
    if (typeof c !== "object" || c === null) {
      throw new ArgumentError(
        `fit: callbacks[${i}] must be an object with methods such as onEpochEnd, got ${kindOf(c)}` +
          (typeof c === "function" ? "; call what makes callbacks: earlyStopping(), not earlyStopping" : ""),
      );
    }
    const unknown = Object.keys(c).find(
      (key) =>
        /^on[A-Z_]?[a-z]/.test(key) && !METHODS.includes(key) && typeof (c as { readonly [key: string]: unknown })[key] === "function",
    );
    if (unknown !== undefined || !METHODS.some((m) => m in c)) {
      throw new ArgumentError(
        `fit: callbacks[${i}] has ${unknown === undefined ? "no method that fit calls" : `an unknown method "${unknown}"`}; ` +
          `${hint(unknown ?? "", METHODS)}known: ${METHODS.join(", ")}`,
      );
    }
  }
}

/** @throws ArgumentError for an unknown option or a value out of range. */
export function checkFitOptions(o: FitOptions): void {
  checkOptions("fit", o, FIT_OPTIONS);
  const { epochs = 1, initialEpoch = 0, validationSplit = 0, seed = 0, recoverEvery = 0, verbose = 1, stream } = o;
  checkCount("fit", "recoverEvery", recoverEvery, 0);
  if (o.batchSize !== undefined) checkCount("fit", "batchSize", o.batchSize);
  checkCount("fit", "epochs", epochs);
  checkCount("fit", "initialEpoch", initialEpoch, 0);
  checkPart("fit", "validationSplit", validationSplit);
  checkCount("fit", "seed", seed, 0);
  const data: unknown = o.validationData;
  if (data !== undefined && !isBatches(data) && !(Array.isArray(data) && (data.length === 2 || data.length === 3))) {
    throw new ArgumentError(`fit: validationData must be [x, y], [x, y, weights] or an iterable of batches, got ${kindOf(data)}`);
  }
  for (const key of ["stepsPerEpoch", "validationSteps"] as const) if (o[key] !== undefined) checkCount("fit", key, o[key] as number);
  const { validationFreq = 1 } = o;
  for (const n of Array.isArray(validationFreq) ? validationFreq : [validationFreq]) checkCount("fit", "validationFreq", n as number);
  if (o.shuffle !== undefined) checkFlag("fit", "shuffle", o.shuffle);
  if (![0, 1, 2].includes(verbose)) throw new ArgumentError(`fit: verbose must be 0, 1 or 2, got ${JSON.stringify(verbose)}`);
  if (stream !== undefined && typeof stream?.write !== "function")
    throw new ArgumentError("fit: stream must have a write(text), as process.stdout has");
  if (o.callbacks !== undefined) checkCallbacks(o.callbacks);
}

/** @throws ArgumentError for options that iterables of batches have no use for. */
export function refuse<O extends object>(who: string, options: O, keys: readonly (keyof O & string)[]): void {
  for (const key of keys) {
    const value: unknown = options[key];
    if (value === undefined || value === false || value === 0) continue;
    const advice = key === "sampleWeight" ? "; yield [x, y, weights]" : "";
    throw new ArgumentError(`${who}: ${key} cannot be used with an iterable of batches${advice}`);
  }
}

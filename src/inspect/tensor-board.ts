/** @file The callback that writes event files for TensorBoard. */
import { checkCount, shown } from "../check.ts";
import { ArgumentError } from "../index.ts";
import type { Callback, InferenceModel, Logs, Outputs, TrainingHandle } from "../index.ts";
import { builtin } from "../node/files.ts";
import { optionsOf } from "../options.ts";
import { graphEvent, histogram, recordOf, scalar, summaryEvent, versionEvent } from "./events.ts";
import type { SummaryValue } from "./events.ts";
import { append, inside, makeFolder } from "./files.ts";
import { graphDef } from "./graph-def.ts";
import { topology } from "./topology.ts";

/** Options of `tensorBoard`. */
export interface TensorBoardOptions {
  /** The folder that `tensorboard --logdir` is given; runs `train` and `validation` are folders in it. Default "logs". */
  readonly logDir?: string | URL;
  /** "epoch", or after how many batches the loss of the last one is written, too ("batch": each), which costs time. Default "epoch". */
  readonly updateFreq?: "batch" | "epoch" | number;
  /** After how many epochs histograms of all weights are written. 0: none. Default 0. */
  readonly histogramFreq?: number;
  /** Whether the model's graph is written when training begins, for the tab "Graphs". Default true. */
  readonly writeGraph?: boolean;
}

/** Numbers files of one process that begin in the same second. */
let files = 0;

/** An event file that is made with its first event. */
class EventFile {
  readonly #folder: string;
  #path: string | null = null;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Writes an event, which is made of the seconds of its time. */
  async #append(eventOf: (seconds: number) => Uint8Array): Promise<void> {
    const seconds = Date.now() / 1000;
    if (this.#path === null) {
      await makeFolder(this.#folder);
      const host = builtin("node:os")?.hostname() || "host";
      const { pid = 0 } = (globalThis as { process?: { pid?: number } }).process ?? {};
      this.#path = `${this.#folder}/events.out.tfevents.${Math.floor(seconds)}.${host}.${pid}.${files++}`;
      await append(this.#path, recordOf(versionEvent(seconds)));
    }
    await append(this.#path, recordOf(eventOf(seconds)));
  }

  async write(step: number, values: readonly SummaryValue[]): Promise<void> {
    if (values.length > 0) await this.#append((seconds) => summaryEvent(seconds, step, values));
  }

  async writeGraph(graph: Uint8Array): Promise<void> {
    await this.#append((seconds) => graphEvent(seconds, graph));
  }
}

const isValidation = (name: string): boolean => /^val[A-Z]/.test(name);

/** Scalars of all logs that are numbers. */
const scalarsOf = (logs: Logs, validation: boolean): SummaryValue[] =>
  Object.entries(logs)
    .filter(([name, value]) => typeof value === "number" && isValidation(name) === validation)
    .map(([name, value]) => scalar(`epoch_${validation ? name[3].toLowerCase() + name.slice(4) : name}`, value as number));

/**
 * Writes what TensorBoard shows, as Keras' `TensorBoard`: for each epoch, which counts from 0, `epoch_loss` and so on in the runs `train`
 * and `validation`, and `epoch_learningRate`; with `updateFreq` also `batch_loss` by batch, with `histogramFreq` the weights. Each training
 * begins files of its own. The graph in the run `train` has boxes for inputs, layers, functions between them and outputs. Profiles are not
 * written: see `profile`. Needs a file system (Node, Deno, Bun).
 * @throws ArgumentError for bad options; during training FileError where writing fails
 * @example await model.fit(x, y, { callbacks: [tensorBoard({ logDir: "logs/first" })] });
 */
export function tensorBoard(options?: TensorBoardOptions): Callback {
  const who = "tensorBoard";
  const { logDir, updateFreq, histogramFreq, writeGraph } = optionsOf<Required<TensorBoardOptions>>(
    who,
    { logDir: "logs", updateFreq: "epoch", histogramFreq: 0, writeGraph: true },
    options,
  );
  if (!(logDir instanceof URL) && (typeof logDir !== "string" || logDir === ""))
    throw new ArgumentError(`${who}: logDir must be the path of a folder, got ${shown(logDir)}`);
  if (updateFreq !== "epoch" && updateFreq !== "batch" && !(Number.isSafeInteger(updateFreq) && updateFreq > 0))
    throw new ArgumentError(`${who}: updateFreq must be "epoch", "batch" or a number of batches, got ${shown(updateFreq)}`);
  checkCount(who, "histogramFreq", histogramFreq, 0);
  const every = updateFreq === "batch" ? 1 : updateFreq === "epoch" ? 0 : updateFreq;
  let train: EventFile | null = null;
  let validation: EventFile | null = null;
  const learningRate = async ({ optimizer }: TrainingHandle): Promise<SummaryValue[]> => {
    const rate = await optimizer.state().learningRate?.item();
    return rate === undefined ? [] : [scalar("epoch_learningRate", rate)];
  };
  const weights = async (epoch: number, { model }: TrainingHandle): Promise<SummaryValue[]> => {
    if (histogramFreq === 0 || epoch % histogramFreq !== 0) return [];
    const all = model.layers.flatMap((l) => l.weights.map((w) => [`${l.name}/${w.name}`, w.tensor] as const));
    return Promise.all(all.map(async ([name, t]) => histogram(name, await t.data())));
  };
  return {
    async onTrainBegin({ model }) {
      train = new EventFile(inside(logDir, "train"));
      validation = new EventFile(inside(logDir, "validation"));
      if (writeGraph) await train.writeGraph(graphDef(await topology(who, model as unknown as InferenceModel<Outputs>)));
    },
    async onEpochEnd(epoch, logs, training) {
      await train?.write(epoch, [...scalarsOf(logs, false), ...(await learningRate(training)), ...(await weights(epoch, training))]);
      await validation?.write(epoch, scalarsOf(logs, true));
    },
    // Having the method has every batch waited for.
    ...(every > 0 && {
      async onBatchEnd(step: number, { loss }: Logs) {
        if ((step + 1) % every === 0) await train?.write(step, [scalar("batch_loss", loss)]);
      },
    }),
  };
}

/** @file Models side by side: what they measure, how large they are, how long they take. */
import { checkCount, checkOptions, kindOf } from "../check.ts";
import { ArgumentError, LockstepError, tensor, Tensor } from "../index.ts";
import type { Inputs, Logs, Model, Outputs, Targets } from "../index.ts";
import { bytesOf } from "../dtype.ts";
import { quantile } from "./quantile.ts";
import { showCount, showMetric, showMs, showTable } from "./table.ts";

/** Options of `compareModels`. */
export interface CompareModelsOptions {
  /** Samples computed together: of the measures, and of `samplesPerSecond`. Default 32. */
  readonly batchSize?: number;
  /** Predictions that are timed, of each model and kind, at least. Default 20. */
  readonly runs?: number;
}

/** One of the models that were compared. */
export interface ComparedModel {
  readonly name: string;
  /** Elements of its weights. */
  readonly parameters: number;
  /** Bytes of its weights as they lie in memory. */
  readonly bytes: number;
  /** Loss and metrics over the data, as `evaluate` gives them; null without targets. */
  readonly logs: Logs | null;
  /** Milliseconds of a prediction of one sample: the median. */
  readonly latency: number;
  /** The same that 95 of 100 predictions stay below. */
  readonly latency95: number;
  /** Samples in a second, of batches of `batchSize`. */
  readonly samplesPerSecond: number;
}

/** Models side by side: what `compareModels` gives. As text it is a table with a column for each model. */
export class Comparison {
  readonly models: readonly ComparedModel[];
  /** Samples of a batch. */
  readonly batchSize: number;

  /** @internal */
  constructor(models: readonly ComparedModel[], batchSize: number) {
    this.models = models;
    this.batchSize = batchSize;
  }

  /** A row for each measure, a column for each model. */
  toString(): string {
    const { models } = this;
    const names = [...new Set(models.flatMap((m) => Object.keys(m.logs ?? {})))];
    const measured = (m: ComparedModel, name: string): string => {
      const value = m.logs !== null && Object.hasOwn(m.logs, name) ? m.logs[name] : undefined;
      return typeof value === "number" ? Number(value.toPrecision(4)).toString() : "";
    };
    const rows: [string, (m: ComparedModel) => string][] = [
      ...names
        .filter((name) => models.some((m) => measured(m, name) !== ""))
        .map((name): [string, (m: ComparedModel) => string] => [name, (m) => measured(m, name)]),
      ["parameters", (m) => showCount(m.parameters)],
      ["weights", (m) => showMetric(m.bytes, "B")],
      ["ms for one sample", (m) => showMs(m.latency)],
      ["95 of 100 below", (m) => showMs(m.latency95)],
      [`samples/s, by ${this.batchSize}`, (m) => showMetric(m.samplesPerSecond)],
    ];
    return showTable(
      ["", ...models.map((m) => m.name)].map((title, i) => ({ title, numbers: i > 0 })),
      rows.map(([name, of]) => [name, ...models.map(of)]),
    );
  }
}

/** The first `count` samples of what a model reads. */
async function firstOf(model: Model<Outputs>, x: Inputs, count: number): Promise<Tensor[]> {
  const read = await model.readInputs("compareModels", x);
  return Promise.all(
    read.map(async (t) => {
      if (!(t instanceof Tensor)) throw new ArgumentError("compareModels: x has windows that overlap; give them as a tensor");
      const rows = Math.min(count, t.shape[0]);
      const data = await t.data();
      return tensor(data.slice(0, (rows * t.size) / t.shape[0]), [rows, ...t.shape.slice(1)], t.dtype);
    }),
  );
}

/** Shortest time that predictions are timed for: those of small models are many. */
const LEAST_MS = 200;

/** Milliseconds of predictions by each model in turn, so that what else the machine does meets all alike. */
async function timed(runs: number, predictions: readonly (() => Promise<unknown>)[]): Promise<number[][]> {
  const times: number[][] = predictions.map(() => []);
  // The first ones compile.
  for (const predict of predictions) for (let i = 0; i < 2; i++) await predict();
  const begin = performance.now();
  for (let run = 0; run < runs || performance.now() - begin < LEAST_MS * predictions.length; run++) {
    for (const [i, predict] of predictions.entries()) {
      const from = performance.now();
      await predict();
      times[i].push(performance.now() - from);
    }
  }
  return times;
}

/**
 * Models side by side: loss and metrics over the same data, parameters, bytes, and how long predictions take, of one sample and of
 * batches; models take turns while they are timed.
 * @param models by the names they are to have in the table
 * @param x samples that all of them take, as for `predict`
 * @param y their targets; without them nothing is measured but size and time. With them all models must be compiled.
 * @throws ArgumentError for what are no models, LockstepError for models that are not compiled, otherwise as `predict` and `evaluate`
 * @example console.log(`${await compareModels({ small, large }, xTest, yTest)}`);
 */
export async function compareModels(
  models: { readonly [name: string]: Model<Outputs> | Model },
  x: Inputs,
  y?: Targets,
  options?: CompareModelsOptions,
): Promise<Comparison> {
  const who = "compareModels";
  const { batchSize = 32, runs = 20 } = checkOptions(who, options, ["batchSize", "runs"]);
  checkCount(who, "batchSize", batchSize);
  checkCount(who, "runs", runs);
  const given = Object.entries(checkOptions(who, models)) as [string, Model<Outputs>][];
  if (given.length === 0) throw new ArgumentError(`${who}: expected models by name, { a, b }, got none`);
  for (const [name, model] of given) {
    if (typeof (model as Partial<Model> | null)?.predict !== "function")
      throw new ArgumentError(`${who}: "${name}" must be a model, got ${kindOf(model)}`);
    if (y !== undefined && !model.optimizer)
      throw new LockstepError(`${who}: model "${name}" is not compiled; call compile({ loss, metrics }), or leave the targets out`);
  }
  const logs: (Logs | null)[] = [];
  for (const [, model] of given) logs.push(y === undefined ? null : await model.evaluate(x, y, { batchSize }));
  const single: (() => Promise<unknown>)[] = [];
  const batches: (() => Promise<unknown>)[] = [];
  const held: Tensor[] = [];
  let samples = 0;
  for (const [, model] of given) {
    const [one, batch] = [await firstOf(model, x, 1), await firstOf(model, x, batchSize)];
    held.push(...one, ...batch);
    samples = batch[0].shape[0];
    // On the host, as whoever predicts wants it.
    const done = async (inputs: Tensor[], size: number): Promise<void> => {
      const outputs: unknown = await model.predict(inputs.length === 1 ? inputs[0] : inputs, { batchSize: size });
      const list = outputs instanceof Tensor ? [outputs] : Object.values(outputs as { [name: string]: Tensor });
      await Promise.all(list.map((t) => t.data()));
      for (const t of list) if (!inputs.includes(t)) t.dispose();
    };
    single.push(() => done(one, 1));
    batches.push(() => done(batch, samples));
  }
  const latencies = await timed(runs, single);
  const times = await timed(runs, batches);
  for (const t of held) t.dispose();
  return new Comparison(
    given.map(([name, model], i): ComparedModel => ({
      name,
      parameters: model.weights.reduce((n, { tensor: t }) => n + t.size, 0),
      bytes: model.weights.reduce((n, { tensor: t }) => n + bytesOf(t.size, t.storage), 0),
      logs: logs[i],
      latency: quantile(latencies[i], 0.5),
      latency95: quantile(latencies[i], 0.95),
      samplesPerSecond: (1000 * samples) / quantile(times[i], 0.5),
    })),
    samples,
  );
}

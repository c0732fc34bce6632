/** @file Evaluation, of data and of batches as they come, and single steps of training. */
import { Slices } from "../pacing.ts";
import { relieved } from "../relief.ts";
import { inTurn, using } from "../run.ts";
import type { Logs } from "../train/callbacks.ts";
import { readerOf } from "./batches.ts";
import type { Batches } from "./batches.ts";
import type { Inputs, PadTo, Targets } from "./data.ts";
import type { AnyModel, Prepared, ReadBatch, SampleOptions, State } from "./learning.ts";
import type { Programs } from "./programs.ts";
import { argumentsOf } from "./training.ts";

/** Loss and metrics over samples [from, to). One at a time for a model: others wait. */
export function runEvaluation(
  { training, programs, evaluate }: State,
  data: Prepared,
  from: number,
  to: number,
  batchSize: number,
): Promise<Logs> {
  return evaluate.alone(async () => {
    await upload(data, programs);
    evaluate.reset();
    programs.evaluateCursor.begin(0, 0, from);
    const args = argumentsOf(data);
    const slices = new Slices();
    for (let at = from; at < to; at += batchSize) {
      const shape = { count: Math.min(batchSize, to - at), shuffled: 0, resident: true };
      await using(
        () => programs.evaluate(data, shape, training, evaluate),
        args,
        (program) => inTurn(program, args, () => {}),
      );
      await slices.rest();
    }
    return evaluate.read();
  });
}

/** Loss and metrics over the batches of an iterable, at most `steps` of them. */
export async function evaluateBatches(model: AnyModel, who: string, batches: Batches, steps = Infinity, padTo?: PadTo): Promise<Logs> {
  const reader = await readerOf(who, batches);
  const slices = new Slices();
  const next = async (): Promise<ReadBatch | null> => {
    const batch = await reader.next();
    if (batch === null) return null;
    const [x, y, sampleWeight] = batch;
    return model.readBatch(who, x, y, { sampleWeight, padTo });
  };
  try {
    // The first batch may build the model, which decides what is counted.
    let batch = await next();
    if (batch === null) throw reader.spent("no batch");
    const { programs, training, evaluate } = model.state(who);
    return await evaluate.alone(async () => {
      evaluate.reset();
      for (let step = 1; batch !== null; step++) {
        const data = batch;
        const args = argumentsOf(data);
        const shape = { count: data.samples, shuffled: 0, resident: false };
        await using(
          () => programs.evaluate(data, shape, training, evaluate),
          args,
          (program) => inTurn(program, args, () => {}),
        );
        batch = step < steps ? await next() : null;
        await slices.rest();
      }
      return evaluate.read();
    });
  } finally {
    await reader.close();
  }
}

/** Puts data where the programs are. */
export async function upload(data: Prepared, { backend }: Programs): Promise<void> {
  for (const t of argumentsOf(data)) {
    await t.arrival(backend);
    await relieved(backend, () => t.upload(backend));
  }
}

/** One step on a batch: its loss and metrics. */
export async function trainBatch(model: AnyModel, x: Inputs, y: Targets, options: SampleOptions): Promise<Logs> {
  const data = await model.readBatch("trainOnBatch", x, y, options);
  const { training, programs, train } = model.state("trainOnBatch");
  train.reset();
  programs.trainCursor.begin(model.seed, 0, 0);
  const args = argumentsOf(data);
  const shape = { count: data.samples, shuffled: 0, resident: false };
  await using(
    () => programs.train(data, shape, training, train),
    args,
    (program) => inTurn(program, args, () => {}),
  );
  return train.read();
}

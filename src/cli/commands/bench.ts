/** @file `lockstep bench FILE`: how long predictions take. */
import { DataError, tensor } from "../../index.ts";
import type { Model, Shape, Tensor } from "../../index.ts";
import { profile } from "../../inspect/index.ts";
import { showMetric, showMs, showTable } from "../../inspect/table.ts";
import { Random } from "../../random.ts";
import { sizeOf } from "../../shape.ts";
import { Failure, UsageError } from "../command.ts";
import type { Command } from "../command.ts";
import { formatsHelp, openModel } from "../formats.ts";
import type { Opened } from "../formats.ts";

/** Longest time that one batch size is timed for. */
const MOST_MS = 2000;

/** Shapes of one sample of each input. @throws UsageError where a size is open and not given */
function sampleShapes(opened: Opened, given: readonly string[]): Shape[] {
  const shapes =
    opened.kind === "model"
      ? (opened.model.inputShapes ?? [])
      : opened.net.inputs.map(({ shape }) => (shape === null ? null : shape.slice(1)));
  return shapes.map((shape, i) => {
    const said = given[i]?.split(/[x,]/).map(Number);
    if (said?.some((d) => !Number.isInteger(d) || d < 1))
      throw new UsageError(`--shape must be sizes such as 128 or 224x224x3, got ${given[i]}`);
    if (said !== undefined) return said;
    if (shape === null || shape.includes(null))
      throw new UsageError(
        `input ${i} has sizes that data decide (${shape?.map((d) => d ?? "any").join(" x ") ?? "unknown"}); give --shape for one sample`,
      );
    return shape as Shape;
  });
}

/** Random numbers, or zeros for models that read indices. */
function batchOf(shapes: readonly Shape[], batch: number, dtypes: readonly (string | null)[], zeros: boolean): Tensor[] {
  const random = new Random(1, 0);
  return shapes.map((shape, i) => {
    const full = [batch, ...shape];
    const size = sizeOf(full);
    const isFloat = dtypes[i] === null || /^(f|d)/.test(dtypes[i] ?? "f");
    if (!isFloat) return tensor(new Int32Array(size), full);
    return tensor(zeros ? new Float32Array(size) : random.uniform(size), full);
  });
}

const quantile = (sorted: readonly number[], part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];

/** Milliseconds of runs, in order of size. */
async function timed(runs: number, run: () => Promise<unknown>): Promise<number[]> {
  for (let i = 0; i < 2; i++) await run();
  const times: number[] = [];
  const begin = performance.now();
  for (let i = 0; i < 3 || (i < runs && performance.now() - begin < MOST_MS); i++) {
    const from = performance.now();
    await run();
    times.push(performance.now() - from);
  }
  return times.sort((a, b) => a - b);
}

const dataOf = (out: unknown): Promise<unknown> =>
  Promise.all((Array.isArray(out) || !("data" in (out as object)) ? Object.values(out as object) : [out]).map((t: Tensor) => t.data()));

export const bench: Command = {
  name: "bench",
  summary: "Time the predictions of a model",
  usage: "FILE [options]",
  least: 1,
  most: 1,
  options: {
    batch: { value: "SIZES", short: "b", help: "samples of a prediction; default 1,32" },
    shape: { value: "SHAPE", multiple: true, help: "of one sample, such as 224x224x3, where the model leaves it open; for each input" },
    runs: { value: "N", help: "most predictions that are timed; default 200, for 2 s at most" },
    layers: { help: "also what each layer takes, of the last batch size" },
    json: { help: "as JSON" },
    from: { value: "FORMAT", help: "the format of FILE, where its name does not say it" },
  },
  more: formatsHelp,
  async run(given, out) {
    const [path] = given.arguments;
    const runs = given.count("runs", 200);
    const batches = (given.list("batch") ?? ["1", "32"]).map(Number);
    const wrong = batches.find((n) => !Number.isInteger(n) || n < 1);
    if (wrong !== undefined || batches.length === 0)
      throw new UsageError(`--batch must be numbers of samples such as 1,32, got ${given.text("batch")}`);
    const from = performance.now();
    const opened = await openModel(path, given.text("from"));
    const loadMs = performance.now() - from;
    const shapes = sampleShapes(opened, given.texts("shape"));
    // A graph may be of one batch size alone.
    const only = opened.kind === "net" ? opened.net.inputs[0]?.shape?.[0] : null;
    if (only && given.text("batch") === undefined) batches.splice(0, Infinity, only);
    if (given.flag("layers") && opened.kind === "net") throw new Failure(`${path} is a graph of operators; its layers are not known`);
    const dtypes = opened.kind === "model" ? shapes.map(() => null) : opened.net.inputs.map((i) => i.dtype);
    const predict = async (inputs: readonly Tensor[]): Promise<unknown> => {
      if (opened.kind === "net")
        return dataOf(await opened.net.run(Object.fromEntries(opened.net.inputs.map(({ name }, i) => [name, inputs[i]]))));
      const model: Model = opened.model;
      return dataOf(await model.predict(inputs.length === 1 ? inputs[0] : inputs, { batchSize: inputs[0].shape[0] }));
    };
    const results: { batch: number; firstMs: number; medianMs: number; p95Ms: number; samplesPerSecond: number; runs: number }[] = [];
    let last: Tensor[] = [];
    for (const batch of batches) {
      let inputs = batchOf(shapes, batch, dtypes, false);
      const start = performance.now();
      try {
        await predict(inputs);
      } catch (error) {
        // Models of tokens read indices.
        if (!(error instanceof DataError)) throw error;
        inputs = batchOf(shapes, batch, dtypes, true);
        await predict(inputs);
      }
      const firstMs = performance.now() - start;
      const times = await timed(runs, () => predict(inputs));
      const medianMs = quantile(times, 0.5);
      results.push({
        batch,
        firstMs,
        medianMs,
        p95Ms: quantile(times, 0.95),
        samplesPerSecond: (1000 * batch) / medianMs,
        runs: times.length,
      });
      last = inputs;
    }
    const layers = given.flag("layers") && opened.kind === "model" ? await profile(opened.model, last.length === 1 ? last[0] : last) : null;
    if (given.flag("json")) {
      const of = layers && { method: layers.method, ms: layers.ms, layers: layers.layers };
      return out.result(JSON.stringify({ file: path, loadMs, shapes, results, ...(of && { profile: of }) }, null, 2));
    }
    out.result(`${path}: samples of ${shapes.map((s) => s.join(" x ") || "a number").join(" and ")}; read in ${showMs(loadMs)} ms`);
    out.result(
      showTable(
        ["Batch", "First ms", "Median ms", "95 of 100 below", "Samples/s", "Runs"].map((title) => ({ title, numbers: true })),
        results.map((r) => [
          String(r.batch),
          showMs(r.firstMs),
          showMs(r.medianMs),
          showMs(r.p95Ms),
          showMetric(r.samplesPerSecond),
          String(r.runs),
        ]),
      ),
    );
    if (layers !== null) out.result(String(layers));
  },
};

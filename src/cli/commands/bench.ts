/** @file `lockstep bench FILE`: how long predictions take. */
import { DataError, LockstepError, tensor } from "../../index.ts";
import type { DType, OpenShape, Shape, Tensor } from "../../index.ts";
import { profile } from "../../inspect/index.ts";
import { quantile } from "../../inspect/quantile.ts";
import { showMetric, showMs, showSizes, showTable } from "../../inspect/table.ts";
import { Random } from "../../random.ts";
import { sizeOf } from "../../shape.ts";
import { Failure, UsageError } from "../command.ts";
import type { Command } from "../command.ts";
import { formatsHelp, openModel } from "../formats.ts";
import type { Opened } from "../formats.ts";
import { byInput, compute, readInputs, slotsOf } from "../running.ts";

/** Longest time that one batch size is timed for. */
const MOST_MS = 2000;

/** An input: its shape, whose first size is null where batches decide it. */
interface Input {
  readonly name: string;
  readonly dtype: DType | null;
  readonly shape: readonly [number | null, ...Shape] | readonly [];
}

const shown = (shape: OpenShape | null): string => (shape === null ? "unknown" : showSizes(shape, "a number"));

/** What a model takes. `given`: shapes of one sample that users say. @throws UsageError where a size is open and not given */
function inputsOf(opened: Opened, given: readonly string[]): Input[] {
  const slots = slotsOf(opened);
  const said = byInput("shape", given, slots);
  return slots.map(({ name, dtype, shape }, i): Input => {
    // Of a graph: numbers alone, or with the batch as the file has it.
    const whole = opened.kind === "net" ? opened.net.inputs[i].shape : null;
    const first = whole?.[0] ?? null;
    const sizes = said[i]?.split(/[x,]/).map(Number);
    if (sizes?.some((d) => !Number.isInteger(d) || d < 1))
      throw new UsageError(`--shape must be sizes such as 128 or 224x224x3, got ${said[i]}`);
    if (sizes !== undefined) return { name, dtype, shape: [first, ...sizes] };
    if (whole?.length === 0) return { name, dtype, shape: [] };
    if (shape === null || shape.includes(null)) {
      const option = name === "" ? "--shape SIZES" : `--shape ${name}=SIZES`;
      throw new UsageError(`input ${name || i} has sizes that data decide (${shown(shape)}); give them for one sample: ${option}`);
    }
    return { name, dtype, shape: [first, ...(shape as Shape)] };
  });
}

/** Random numbers, or zeros for models that read indices. */
function batchOf(inputs: readonly Input[], batch: number, zeros: boolean): Tensor[] {
  const random = new Random(1, 0);
  return inputs.map(({ shape, dtype }) => {
    const full = shape.map((d) => d ?? batch);
    const size = sizeOf(full);
    if (dtype !== null && dtype !== "f32") return tensor(new Int32Array(size), full, dtype);
    return tensor(zeros ? new Float32Array(size) : random.uniform(size), full);
  });
}

/** Milliseconds of runs. */
async function timed(runs: number, run: () => Promise<unknown>): Promise<number[]> {
  for (let i = 0; i < 2; i++) await run();
  const times: number[] = [];
  const begin = performance.now();
  for (let i = 0; i < 3 || (i < runs && performance.now() - begin < MOST_MS); i++) {
    const from = performance.now();
    await run();
    times.push(performance.now() - from);
  }
  return times;
}

/** A prediction whose results are read, as whoever predicts wants them. */
async function predict(opened: Opened, inputs: readonly Tensor[]): Promise<void> {
  const outputs = await compute(opened, inputs, Math.max(1, inputs[0].shape[0] ?? 1));
  await Promise.all(outputs.map(([, t]) => t.data()));
  for (const [, t] of outputs) if (!inputs.includes(t)) t.dispose();
}

interface Result {
  readonly batch: number;
  readonly firstMs: number;
  readonly medianMs: number;
  readonly p95Ms: number;
  readonly samplesPerSecond: number;
  readonly runs: number;
}

/** Times of predictions from what `dataOf` gives; zeros are asked for where other numbers are no indices of the model's. */
async function measured(
  opened: Opened,
  batch: number,
  runs: number,
  dataOf: (zeros: boolean) => Tensor[],
): Promise<{ readonly result: Result; readonly data: Tensor[] }> {
  let data = dataOf(false);
  let start = performance.now();
  try {
    await predict(opened, data);
  } catch (error) {
    const others = error instanceof DataError ? dataOf(true) : data;
    if (others === data) throw error;
    data = others;
    start = performance.now();
    await predict(opened, data);
  }
  const firstMs = performance.now() - start;
  const times = await timed(runs, () => predict(opened, data));
  const medianMs = quantile(times, 0.5);
  const samplesPerSecond = (1000 * batch) / medianMs;
  return { result: { batch, firstMs, medianMs, p95Ms: quantile(times, 0.95), samplesPerSecond, runs: times.length }, data };
}

/** Batch sizes. @throws UsageError for what is none, and for one that a graph is not made for */
function batchesOf(text: string | undefined, list: readonly string[], inputs: readonly Input[]): number[] {
  const batches = list.map(Number);
  if (batches.length === 0 || batches.some((n) => !Number.isInteger(n) || n < 1))
    throw new UsageError(`--batch must be numbers of samples such as 1,32, got ${text}`);
  if (inputs.some(({ shape }) => shape[0] === null)) return batches;
  const only = inputs.find(({ shape }) => shape.length > 0)?.shape[0] ?? 1;
  const wrong = batches.find((n) => n !== only);
  if (text !== undefined && wrong !== undefined)
    throw new UsageError(`the graph is made for batches of ${only} alone, got --batch ${text}`);
  return [only];
}

export const bench: Command = {
  name: "bench",
  summary: "Time the predictions of a model",
  usage: "FILE [options]",
  least: 1,
  most: 1,
  options: {
    batch: { value: "SIZES", short: "b", help: "samples of a prediction; default 1,32" },
    shape: {
      value: "SHAPE",
      multiple: true,
      help: "of one sample, such as 224x224x3, where the model leaves it open; for several inputs in order, or of ONNX NAME=SHAPE",
    },
    input: {
      value: "INPUT",
      short: "i",
      multiple: true,
      help: "data to predict from, as of lockstep run; default: random numbers, of indices 0",
    },
    runs: { value: "N", help: "most predictions that are timed; default 200, for 2 s at most" },
    layers: { help: "also what each layer takes, of the last batch size" },
    json: { help: "as JSON" },
    from: { value: "FORMAT", help: "the format of FILE, where its name does not say it" },
  },
  more: formatsHelp,
  async run(given, out) {
    const [path] = given.arguments;
    const runs = given.count("runs", 200);
    const files = given.texts("input");
    if (files.length > 0 && (given.text("batch") ?? given.text("shape")) !== undefined)
      throw new UsageError("--input says how many samples there are and their shape: give it without --batch and --shape");
    const from = performance.now();
    const opened = await openModel(path, given.text("from"));
    const loadMs = performance.now() - from;
    if (given.flag("layers") && opened.kind === "net") throw new Failure(`${path} is a graph of operators; its layers are not known`);
    const read = files.length > 0 ? await readInputs(opened, files) : null;
    const inputs = read === null ? inputsOf(opened, given.texts("shape")) : [];
    const text = given.text("batch");
    const batches = read === null ? batchesOf(text, given.list("batch") ?? ["1", "32"], inputs) : [read[0].shape[0] ?? 1];
    const results: Result[] = [];
    let last: Tensor[] = [];
    for (const batch of batches) {
      for (const t of last) t.dispose();
      try {
        const { result, data } = await measured(opened, batch, runs, (zeros) => read ?? batchOf(inputs, batch, zeros));
        results.push(result);
        last = data;
      } catch (error) {
        if (error instanceof LockstepError) throw new Failure(`batch of ${batch}: ${error.message}`);
        throw error;
      }
    }
    const layers = given.flag("layers") && opened.kind === "model" ? await profile(opened.model, last.length === 1 ? last[0] : last) : null;
    const shapes = last.map((t) => t.shape.slice(1));
    if (given.flag("json")) {
      const of = layers && { method: layers.method, ms: layers.ms, layers: layers.layers };
      return out.result(JSON.stringify({ file: path, loadMs, shapes, results, ...(of && { profile: of }) }, null, 2));
    }
    out.result(`${path}: samples of ${shapes.map(shown).join(" and ")}; read in ${showMs(loadMs)} ms`);
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

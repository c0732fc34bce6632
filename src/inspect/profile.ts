/** @file What each layer of a model takes of a run: time, floating-point operations, bytes. */
import { checkOptions, kindOf } from "../check.ts";
import { ArgumentError, Tensor } from "../index.ts";
import type { InferenceModel, Inputs, Layer, Outputs } from "../index.ts";
import type { DeviceBuffer } from "../backend.ts";
import type { Call, Plan } from "../plan/plan.ts";
import type { Executable } from "../run.ts";
import { timeParts } from "./parts.ts";
import type { TimingMethod } from "./parts.ts";
import { showCount, showMetric, showMs, showRate, showTable } from "./table.ts";
import { workOf } from "./work.ts";
import type { Work } from "./work.ts";

/** One run of a kernel. */
export interface KernelProfile extends Work {
  /** Its name: matmul, conv2d, map (elementwise, fused) … */
  readonly kernel: string;
  /** Shape of its output. */
  readonly shape: readonly number[];
}

/** What one layer takes, or several that run as one. */
export interface LayerProfile extends Work {
  /** Names of layers: several where elementwise work of them was fused into one kernel; none for functions outside of layers. */
  readonly layers: readonly string[];
  /** What made them: dense, conv2d … */
  readonly kinds: readonly string[];
  /** Milliseconds of one run. */
  readonly ms: number;
  /** Elements of their weights. */
  readonly parameters: number;
  /** In the order of their runs. */
  readonly kernels: readonly KernelProfile[];
}

/** What a run of a model takes: what `profile` gives. As text it is a table. */
export class Profile {
  /** Name of the model. */
  readonly model: string;
  /** `wasm` or `webgpu`. */
  readonly backend: string;
  /** Samples of the run. */
  readonly batch: number;
  /**
   * `clock`: each layer's kernels are a program of their own, timed by the runtime's clock; `timestamp-query`: the same, by the GPU's;
   * `clock of repeated runs`: the same, on a GPU that tells no times, where each program runs ten times before it is waited for.
   */
  readonly method: TimingMethod;
  /** In the order of their first run. Layers that cost nothing, as dropout, have 0. */
  readonly layers: readonly LayerProfile[];
  /**
   * Milliseconds of the whole program: less than the sum of the layers where threads need not meet between them.
   */
  readonly ms: number;

  /** @internal */
  constructor(from: Pick<Profile, "model" | "backend" | "batch" | "method" | "layers" | "ms">) {
    this.model = from.model;
    this.backend = from.backend;
    this.batch = from.batch;
    this.method = from.method;
    this.layers = from.layers;
    this.ms = from.ms;
  }

  /** Floating-point operations of all layers; a multiply-add is two. */
  get flops(): number {
    return this.layers.reduce((sum, l) => sum + l.flops, 0);
  }

  /** Bytes that all kernels read and write. */
  get bytes(): number {
    return this.layers.reduce((sum, l) => sum + l.bytes, 0);
  }

  /** A table: layers with their time, its part of the sum, operations, bytes, and both per second. */
  toString(): string {
    const sum = this.layers.reduce((ms, l) => ms + l.ms, 0);
    const rate = (work: number, ms: number): string => (ms > 0 && work > 0 ? showRate(work / ms / 1e6) : "");
    const numbers = (ms: number, { flops, bytes }: Work): string[] => [
      showMs(ms),
      sum > 0 ? `${((100 * ms) / sum).toFixed(1)}` : "",
      showMetric(flops),
      rate(flops, ms),
      showMetric(bytes, "B"),
      rate(bytes, ms),
    ];
    const rows = this.layers.map((l) => [
      l.layers.length === 0 ? "(no layer)" : l.layers.join(" + "),
      showCount(l.parameters),
      ...numbers(l.ms, l),
    ]);
    const parameters = showCount(this.layers.reduce((n, l) => n + l.parameters, 0));
    const columns = ["Layer", "Parameters", "ms", "%", "FLOPs", "GFLOP/s", "Bytes", "GB/s"].map((title, i) => ({ title, numbers: i > 0 }));
    const batch = `${this.batch} sample${this.batch === 1 ? "" : "s"}`;
    return [
      `Model: "${this.model}", ${batch} on ${this.backend}, times by ${this.method}`,
      showTable(columns, [...rows, null, ["Sum", parameters, ...numbers(sum, this)]]),
      `As one program: ${showMs(this.ms)} ms`,
    ].join("\n");
  }
}

/** Options of `profile`. */
export interface ProfileOptions {
  /** False: operations and bytes alone, without a run that is timed; `ms` are 0. Default true. */
  readonly time?: boolean;
}

/** @internal What is used of a model besides public names. */
interface Runs {
  readonly backend: Executable["backend"] | null;
  readonly programs: { predict(inputs: readonly Tensor[]): Promise<Executable> };
}

/** The layers that a call is of, by the places of their names in what the planner wrote down: names of up to three, each with a path. */
export function layersOfSource(source: string, names: ReadonlySet<string>): string[] {
  const found = new Set<string>();
  const words = source.split(" ");
  for (let from = 0; from < words.length;) {
    // Names may have spaces: the longest that is known.
    let end = words.length;
    const nameOf = (): string => words.slice(from, end).join(" ").split("/")[0];
    while (end > from + 1 && !names.has(nameOf())) end--;
    if (names.has(nameOf())) found.add(nameOf());
    from = end;
  }
  return [...found];
}

interface Group {
  readonly layers: Set<string>;
  readonly calls: number[];
}

/** Calls by layers. Layers that one call is of are one group. */
function grouped({ calls }: Plan, names: ReadonlySet<string>): Group[] {
  const groups: Group[] = [];
  calls.forEach((call, i) => {
    const layers = layersOfSource(call.source, names);
    const same = groups.filter((g) => (layers.length === 0 ? g.layers.size === 0 : layers.some((l) => g.layers.has(l))));
    const into = same.shift() ?? { layers: new Set(), calls: [] };
    if (!groups.includes(into)) groups.push(into);
    for (const other of same) {
      for (const l of other.layers) into.layers.add(l);
      into.calls.push(...other.calls);
      groups.splice(groups.indexOf(other), 1);
    }
    for (const l of layers) into.layers.add(l);
    into.calls.push(i);
  });
  for (const g of groups) g.calls.sort((a, b) => a - b);
  return groups;
}

const elements = (layers: readonly Layer[]): number => layers.reduce((n, l) => n + l.weights.reduce((m, w) => m + w.tensor.size, 0), 0);

/** Runs of calls that stand together and are of one group: their places, and the group's. */
function runsOf(groups: readonly Group[], calls: number): { readonly calls: number[]; readonly group: number }[] {
  const runs: { calls: number[]; group: number }[] = [];
  for (let i = 0; i < calls; i++) {
    const group = groups.findIndex((g) => g.calls.includes(i));
    if (runs.at(-1)?.group === group) (runs.at(-1) as { calls: number[] }).calls.push(i);
    else runs.push({ calls: [i], group });
  }
  return runs;
}

const kernelProfile = (call: Call): KernelProfile => ({
  kernel: call.kernel,
  shape: call.outputs.find((o) => o !== null)?.shape ?? [],
  ...workOf(call),
});

/**
 * Time, floating-point operations and bytes of each layer in a prediction of one batch, on the backend that the model runs on. Each
 * layer's kernels are timed as a program of their own, 3 to 50 times for at most about 1.5 s, after one run that is not counted.
 * Elementwise work that the planner fused over several layers makes them one row.
 * @param model a model that is built, or becomes so by `x`
 * @param x one batch, as for `predict`
 * @throws as `predict`; ArgumentError for what is no model and for windows that overlap
 * @example console.log(String(await profile(model, tensor(batch))));
 */
export async function profile<O extends Outputs>(model: InferenceModel<O>, x: Inputs, options?: ProfileOptions): Promise<Profile> {
  const { time = true } = checkOptions("profile", options, ["time"]);
  if (typeof (model as Partial<typeof model> | null)?.predict !== "function")
    throw new ArgumentError(`profile: expected a model, got ${kindOf(model)}`);
  const samples = await model.readInputs("profile", x);
  const inputs = samples.filter((s) => s instanceof Tensor);
  if (inputs.length < samples.length) throw new ArgumentError("profile: x has windows that overlap; give one batch of them as a tensor");
  await model.follow();
  const { programs } = model as unknown as Runs;
  const program = await programs.predict(inputs);
  program.begin();
  try {
    await program.arrival(inputs);
    return await measured(model as unknown as InferenceModel<Outputs>, program, inputs, time);
  } finally {
    program.done();
  }
}

async function measured(
  model: InferenceModel<Outputs>,
  { plan, backend, captures }: Executable,
  inputs: readonly Tensor[],
  time: boolean,
): Promise<Profile> {
  const byName = new Map(model.layers.map((l) => [l.name, l]));
  const groups = grouped(plan, new Set(byName.keys()));
  const runs = runsOf(groups, plan.calls.length);
  const held: DeviceBuffer[] = [];
  const own = (bytes: number, data: ArrayBufferView | null): DeviceBuffer => {
    const buffer = backend.alloc(bytes);
    held.push(buffer);
    if (data !== null) backend.write(buffer, 0, data);
    return buffer;
  };
  const ms = groups.map(() => 0);
  let whole = 0;
  let method: TimingMethod = "clock";
  try {
    if (time && runs.length > 0) {
      const given = inputs.map((t) => t.upload(backend));
      let [input, capture] = [0, 0];
      // An input beyond those of the model is the random key of what draws.
      const buffers = plan.bindings.map((b) => {
        if (b.kind === "input") return given[input++] ?? own(b.bytes, new Uint32Array(b.bytes / 4));
        return b.kind === "capture" ? captures[capture++].upload(backend) : own(b.bytes, null);
      });
      const times = await timeParts(
        backend,
        plan,
        buffers,
        runs.map((r) => r.calls),
      );
      runs.forEach(({ group }, i) => (ms[group] += times.parts[i]));
      ({ whole, method } = times);
    }
  } finally {
    for (const buffer of held) backend.free(buffer);
  }
  const layers = groups.map(({ layers: names, calls }, i): LayerProfile => {
    const of = model.layers.filter((l) => names.has(l.name));
    const kernels = calls.map((c) => kernelProfile(plan.calls[c]));
    return {
      layers: of.map((l) => l.name),
      kinds: of.map((l) => l.kind),
      ms: ms[i],
      flops: kernels.reduce((n, k) => n + k.flops, 0),
      bytes: kernels.reduce((n, k) => n + k.bytes, 0),
      parameters: elements(of),
      kernels,
    };
  });
  const idle = model.layers.filter((l) => !layers.some((p) => p.layers.includes(l.name)));
  const free = idle.map((l): LayerProfile => ({
    layers: [l.name],
    kinds: [l.kind],
    ms: 0,
    flops: 0,
    bytes: 0,
    parameters: elements([l]),
    kernels: [],
  }));
  // In the order of the model's layers; functions outside of layers last.
  const place = ({ layers: names }: LayerProfile): number => {
    const first = model.layers.findIndex((l) => names.includes(l.name));
    return first < 0 ? Infinity : first;
  };
  return new Profile({
    model: model.name,
    backend: backend.name,
    batch: inputs[0].shape[0],
    method,
    layers: [...layers, ...free].sort((a, b) => (place(a) === place(b) ? 0 : place(a) - place(b))),
    ms: whole,
  });
}

/**
 * @file Parts of a plan as programs of their own, and how long each takes. What lies between calls is bound to each of them, so that they
 * compute in a row what the whole plan computes.
 */
import type { Backend, DeviceBuffer, Program } from "../backend.ts";
import { ELEMENT_BYTES } from "../dtype.ts";
import type { Binding, Call, Operand, Plan } from "../plan/plan.ts";
import { quantile } from "./quantile.ts";

/** Longest time that one plan is timed for, and the fewest and most rounds of all its parts. */
const MOST_MS = 1500;
const LEAST_ROUNDS = 3;
const MOST_ROUNDS = 50;
/** Where the clock's steps are longer, times of rounds are averaged and their median says nothing. */
const COARSE_MS = 0.02;
/** Runs of one part between two looks at the clock, on a device that runs behind and tells no times. */
const REPEATS = 10;

/** How times were measured. */
export type TimingMethod = "clock" | "timestamp-query" | "clock of repeated runs";

/** Milliseconds, of one run each. */
export interface PartTimes {
  readonly parts: readonly number[];
  readonly whole: number;
  readonly method: TimingMethod;
}

/** `plan` with its slots as bindings behind the others. */
export function opened(plan: Plan): Plan {
  const first = plan.bindings.length;
  const bound = (o: Operand | null): Operand | null =>
    o === null || o.place.space !== "slot" ? o : { ...o, place: { ...o.place, space: "binding", index: first + o.place.index } };
  const slots = plan.slots.map((bytes): Binding => ({
    kind: "output",
    shape: [Math.ceil(bytes / ELEMENT_BYTES)],
    dtype: "f32",
    bytes,
    written: true,
  }));
  const calls = plan.calls.map((call): Call => ({ ...call, inputs: call.inputs.map(bound), outputs: call.outputs.map(bound) }));
  return { ...plan, bindings: [...plan.bindings, ...slots], slots: [], calls };
}

const median = (values: readonly number[]): number => quantile(values, 0.5);
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** The least step of the clock that is seen. */
function clockStep(): number {
  let least = Infinity;
  for (let i = 0; i < 5; i++) {
    const from = performance.now();
    let now = from;
    while (now === from) now = performance.now();
    least = Math.min(least, now - from);
  }
  return least;
}

/** What is used of a WebGPU device: declared here, since lib.dom has it from TypeScript 6 on only. */
interface TimedDevice {
  readonly features: ReadonlySet<string>;
  readonly queue: { submit(commands: readonly unknown[]): void };
  createQuerySet(o: { readonly type: "timestamp"; readonly count: number }): { destroy(): void };
  createBuffer(o: { readonly size: number; readonly usage: number }): TimedBuffer;
  createCommandEncoder(): {
    resolveQuerySet(set: unknown, first: number, count: number, to: TimedBuffer, offset: number): void;
    copyBufferToBuffer(from: TimedBuffer, fromOffset: number, to: TimedBuffer, toOffset: number, size: number): void;
    finish(): unknown;
  };
}

interface TimedBuffer {
  mapAsync(mode: number): Promise<void>;
  getMappedRange(): ArrayBuffer;
  unmap(): void;
  destroy(): void;
}

/** A program of the WebGPU backend. */
interface TimedProgram extends Program {
  encode(encoder: unknown, buffers: readonly DeviceBuffer[], pass: object): void;
}

// GPUBufferUsage and GPUMapMode, which runtimes without a global WebGPU do not have.
const MAP_READ = 0x1;
const COPY_SRC = 0x4;
const COPY_DST = 0x8;
const QUERY_RESOLVE = 0x200;
const TIMESTAMP_BYTES = 8;
/** Timestamps of a query set (WebGPU's limit). */
const MOST_TIMESTAMPS = 4096;

/** Times of programs by the GPU's own clock, one list for each round. */
async function byTimestamps(
  backend: Backend,
  device: TimedDevice,
  programs: readonly Program[],
  buffers: readonly DeviceBuffer[],
  rounds: (once: () => Promise<void>) => Promise<void>,
): Promise<number[][]> {
  const count = 2 * programs.length;
  const size = count * TIMESTAMP_BYTES;
  const querySet = device.createQuerySet({ type: "timestamp", count });
  const resolved = device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
  const staging = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
  const times: number[][] = [];
  try {
    await rounds(async () => {
      // What is enqueued before is submitted first.
      await backend.sync();
      const encoder = device.createCommandEncoder();
      programs.forEach((program, i) => {
        const timestampWrites = { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
        (program as TimedProgram).encode(encoder, buffers, { timestampWrites });
      });
      encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
      device.queue.submit([encoder.finish()]);
      await staging.mapAsync(MAP_READ);
      const stamps = new BigUint64Array(staging.getMappedRange().slice(0));
      staging.unmap();
      // Nanoseconds. Clocks of some devices step back now and then.
      times.push(programs.map((_, i) => Math.max(0, Number(stamps[2 * i + 1] - stamps[2 * i])) / 1e6));
    });
  } finally {
    querySet.destroy();
    resolved.destroy();
    staging.destroy();
  }
  return times;
}

/**
 * Times the parts of `plan`, lists of the places of calls that stand together, and the plan as a whole.
 * @param buffers one for each binding of the plan
 * @throws BackendError where there is no memory for what lies between calls a second time
 */
export async function timeParts(
  backend: Backend,
  plan: Plan,
  buffers: readonly DeviceBuffer[],
  parts: readonly (readonly number[])[],
): Promise<PartTimes> {
  const { asynchronous } = backend.limits;
  const between: DeviceBuffer[] = [];
  const programs: Program[] = [];
  try {
    const open = opened(plan);
    for (const bytes of plan.slots) between.push(backend.alloc(bytes));
    const bound = [...buffers, ...between];
    for (const part of parts) programs.push(await backend.compile({ ...open, calls: part.map((i) => open.calls[i]) }));
    programs.push(await backend.compile(open));
    // What a run costs that computes nothing.
    programs.push(await backend.compile({ ...open, calls: [] }));
    // Threads of the CPU.
    await (backend as Partial<{ warm(): Promise<void> }>).warm?.();
    for (const program of programs) backend.run(program, bound);
    await backend.sync();
    const rounds = async (once: () => Promise<void>): Promise<void> => {
      const begin = performance.now();
      for (let i = 0; i < LEAST_ROUNDS || (i < MOST_ROUNDS && performance.now() - begin < MOST_MS); i++) await once();
    };
    const { device } = backend as { readonly device?: TimedDevice };
    const stamped = device?.features.has("timestamp-query") === true && 2 * programs.length <= MOST_TIMESTAMPS;
    let times: number[][] = [];
    if (stamped) times = await byTimestamps(backend, device, programs, bound, rounds);
    else {
      // A device that runs behind is waited for, which takes longer than most parts: their runs are repeated.
      const repeats = asynchronous ? REPEATS : 1;
      await rounds(async () => {
        const row: number[] = [];
        for (const program of programs) {
          const from = performance.now();
          for (let i = 0; i < repeats; i++) backend.run(program, bound);
          if (asynchronous) await backend.sync();
          row.push((performance.now() - from) / repeats);
        }
        times.push(row);
      });
    }
    const typical = clockStep() > COARSE_MS ? mean : median;
    const all = programs.map((_, i) => typical(times.map((row) => row[i])));
    const nothing = all.pop() as number;
    const [whole, ...own] = [all.pop() as number, ...all].map((ms) => Math.max(0, ms - nothing));
    return { parts: own, whole, method: stamped ? "timestamp-query" : asynchronous ? "clock of repeated runs" : "clock" };
  } finally {
    for (const program of programs) program.close();
    for (const buffer of between) backend.free(buffer);
  }
}

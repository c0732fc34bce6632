/**
 * @file Which of several ways to the same bits is the fastest on the adapter that is there: each is timed once, beside what the program
 * does, and what was found is kept by the adapter's name. Loaded by the first plan with products, and nothing depends on it: where
 * anything fails, the usual ways stay.
 */
import type { Binding, Call, Plan } from "../../plan/plan.ts";
import type { Pending } from "../adapter.ts";
import type { Buffers, GpuMemory } from "../buffers.ts";
import type { Bound, Choice, GpuEncoder, Tuner } from "../dispatch.ts";
import type { GpuProgram } from "../program.ts";
import { findStore } from "../store.ts";
import type { Store } from "../store.ts";

/** From the first unknown choice to the first timing: programs that are compiled together, and begin to run, come first. */
const DELAY_MS = 500;
/** Least time between two looks at a clock, for which a way is repeated. */
const LEAST_MS = 2;
const MOST_REPEATS = 64;
/** Bytes of operands that are taken beside those of the program. */
const MOST_BYTES = 2 ** 28;
/** Times of each way, of which the least counts; after the first, ways that take so many times the least are out. */
const ROUNDS = 4;
const HOPELESS = 1.5;
/** What another way must gain: less is noise. */
const LEAST_GAIN = 1.03;

/** A way, ready to be timed. */
export interface Timed {
  /** Milliseconds of one run. */
  time(): Promise<number>;
  close(): void;
}

/** What compiles a plan whose only kernel is `encoder`, over buffers of its own. */
type Prepare = (plan: Plan, encoder: GpuEncoder) => Promise<Timed>;

/** The backend as a tuner uses it. */
interface Machine {
  readonly device: GPUDevice;
  readonly pending: Pending;
  readonly buffers: Buffers;
  closed(): boolean;
  compile(plan: Plan, encoder: GpuEncoder): Promise<GpuProgram>;
}

/** A plan of one call, `repeats` times, whose bindings are the operands of `choice`; and its encoder for each way. */
function planOf(choice: Choice, repeats: number): { plan: Plan; encoder: (way: number) => GpuEncoder } {
  const bindings: Binding[] = [];
  const operands = choice.operands.map((o): Bound | null => {
    if (o === null) return null;
    const { bytes, access } = o;
    bindings.push({ kind: "input", shape: [bytes], dtype: "f32", bytes, written: access !== "read" });
    return { ...o, place: { space: "binding", index: bindings.length - 1, offset: 0 } };
  });
  const call: Call = { kernel: "timed", inputs: [], outputs: [], attrs: {}, source: "" };
  return {
    plan: { bindings, slots: [], calls: Array.from({ length: repeats }, () => call), kernels: {} },
    encoder: (way) => (_, out) => choice.encode(out, way, operands),
  };
}

/** What is computed, and what is chosen from. */
const nameOf = ({ key, ways }: Choice): string => `${key}: ${ways.join(" | ")}`;

/** Knows, or finds out. */
export class TileTuner implements Tuner {
  readonly #prepare: Prepare;
  readonly #store: Store | null;
  readonly #delay: number;
  /** Names of ways by those of choices. */
  readonly #known: Map<string, string>;
  readonly #unknown = new Map<string, Choice>();
  /** What compiles programs anew that were compiled without knowing. */
  readonly #again: (() => Promise<void>)[] = [];
  #working: Promise<void> | null = null;
  /** It keeps a process alive that waits for it, and no other. */
  #timer: { ref?(): void; unref?(): void } | number = 0;
  #awaited = false;
  #stopped = false;
  /** Answers that were given without knowing. */
  guesses = 0;

  constructor(prepare: Prepare, store: Store | null, known: ReadonlyMap<string, string>, delay = DELAY_MS) {
    this.#prepare = prepare;
    this.#store = store;
    this.#known = new Map(known);
    this.#delay = delay;
  }

  choose(choice: Choice): number {
    const name = nameOf(choice);
    const way = this.#known.get(name);
    if (way !== undefined) return Math.max(0, choice.ways.indexOf(way));
    if (this.#stopped || choice.ways.length < 2 || choice.operands.reduce((sum, o) => sum + (o?.bytes ?? 0), 0) > MOST_BYTES) return 0;
    this.guesses++;
    this.#unknown.set(name, choice);
    return 0;
  }

  /** Has what was not known timed later, and then `again` called, which compiles a program anew. */
  later(again: () => Promise<void>): void {
    this.#again.push(again);
    if (this.#stopped || this.#working !== null) return;
    this.#working = this.#work()
      .catch(() => this.stop())
      .finally(() => (this.#working = null));
  }

  /** Resolves when nothing is left to be timed. */
  async settled(): Promise<void> {
    this.#awaited = true;
    if (typeof this.#timer === "object") this.#timer.ref?.();
    while (this.#working !== null) await this.#working;
  }

  /** Nothing is timed any more. */
  stop(): void {
    this.#stopped = true;
    this.#unknown.clear();
    this.#again.length = 0;
  }

  async #work(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#timer = setTimeout(resolve, this.#delay);
      if (typeof this.#timer === "object" && !this.#awaited) this.#timer.unref?.();
    });
    while (this.#unknown.size > 0 || this.#again.length > 0) {
      const found = new Map<string, string>();
      for (const [name, choice] of this.#unknown) {
        // Where that fails, in want of memory for example, the usual way stays until the next program.
        const fastest = await this.#fastest(choice).catch(() => null);
        if (this.#stopped) return;
        const way = choice.ways[fastest ?? 0];
        this.#unknown.delete(name);
        this.#known.set(name, way);
        if (fastest !== null) found.set(name, way);
      }
      for (const again of this.#again.splice(0)) await again();
      if (found.size > 0) await this.#store?.add(found).catch(() => {});
    }
  }

  async #fastest(choice: Choice): Promise<number> {
    const once = planOf(choice, 1);
    const first = await this.#prepare(once.plan, once.encoder(0));
    let ms;
    try {
      await first.time();
      ms = await first.time();
    } finally {
      first.close();
    }
    const repeats = Math.max(1, Math.min(MOST_REPEATS, Math.ceil(LEAST_MS / ms)));
    const { plan, encoder } = planOf(choice, repeats);
    const timed: Timed[] = [];
    try {
      for (let way = 0; way < choice.ways.length && !this.#stopped; way++) timed.push(await this.#prepare(plan, encoder(way)));
      // The first run pays for what a driver puts off until then.
      for (const way of timed) if (!this.#stopped) await way.time();
      const least = timed.map(() => Infinity);
      for (let round = 0; round < ROUNDS; round++) {
        const bound = HOPELESS * Math.min(...least);
        for (let way = 0; way < timed.length && !this.#stopped; way++)
          if (round === 0 || least[way] <= bound) least[way] = Math.min(least[way], await timed[way].time());
      }
      const best = least.indexOf(Math.min(...least));
      return least[best] * LEAST_GAIN < least[0] ? best : 0;
    } finally {
      for (const way of timed) way.close();
    }
  }
}

/** GPUBufferUsage and GPUMapMode, which runtimes without a global WebGPU do not have. */
const MAP_READ = 0x1;
const COPY_SRC = 0x4;
const COPY_DST = 0x8;
const QUERY_RESOLVE = 0x200;
/** Two timestamps. */
const STAMPS_BYTES = 16;

/** Times by the GPU's own clock, of which nothing else is seen that it does meanwhile, or null where that cannot be read. */
function stampsOf(device: GPUDevice): {
  readonly pass: GPUComputePassDescriptor;
  resolve(encoder: GPUCommandEncoder): void;
  read(): Promise<number>;
  close(): void;
} | null {
  if (!device.features.has("timestamp-query")) return null;
  const querySet = device.createQuerySet({ type: "timestamp", count: 2 });
  const resolved = device.createBuffer({ size: STAMPS_BYTES, usage: QUERY_RESOLVE | COPY_SRC });
  const staging = device.createBuffer({ size: STAMPS_BYTES, usage: MAP_READ | COPY_DST });
  return {
    pass: { timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } },
    resolve(encoder) {
      encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, STAMPS_BYTES);
    },
    async read() {
      await staging.mapAsync(MAP_READ);
      const [from, to] = new BigUint64Array(staging.getMappedRange().slice(0));
      staging.unmap();
      return Number(to - from) / 1e6;
    },
    close() {
      for (const part of [querySet, resolved, staging]) part.destroy();
    },
  };
}

/** A plan ready to be timed. Errors of what is done here are found in scopes: none of them is to meet the program. */
export async function prepared(machine: Machine, plan: Plan, encoder: GpuEncoder): Promise<Timed> {
  const { device, pending, buffers } = machine;
  const program = await machine.compile(plan, encoder);
  device.pushErrorScope("out-of-memory");
  const memory: GpuMemory[] = plan.bindings.map(({ bytes }) => buffers.alloc(bytes));
  const full = await pending.add(device.popErrorScope());
  const clock = stampsOf(device);
  const close = (): void => {
    program.close();
    for (const m of memory) buffers.free(m);
    clock?.close();
  };
  if (full !== null) {
    close();
    buffers.trim();
    throw new Error(full.message);
  }
  return {
    close,
    async time() {
      if (machine.closed()) throw new Error("the device is gone");
      device.pushErrorScope("validation");
      const commands = device.createCommandEncoder();
      program.encode(commands, memory, clock?.pass);
      clock?.resolve(commands);
      const from = performance.now();
      device.queue.submit([commands.finish()]);
      const scope = pending.add(device.popErrorScope());
      const done = clock?.read() ?? device.queue.onSubmittedWorkDone().then(() => performance.now() - from);
      const [ms, invalid] = await Promise.all([pending.add(done), scope]);
      if (invalid !== null) throw new Error(invalid.message);
      // A clock that steps back says nothing.
      return ms > 0 ? ms : Infinity;
    },
  };
}

/**
 * A tuner that knows what was found on the adapter before.
 * @param keep true: where the user's programs keep such things; text: a folder
 */
export async function createTuner(machine: Machine & { readonly adapter: string }, keep: true | string): Promise<TileTuner> {
  const store = await findStore(keep, machine.adapter);
  const known = (await store?.read().catch(() => null)) ?? new Map<string, string>();
  return new TileTuner((plan, encoder) => prepared(machine, plan, encoder), store, known);
}

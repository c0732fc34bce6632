/** @file Executable: a finished graph made ready on a backend and run. Also ops outside of any trace, as one-op plans. */
import type { Backend, DeviceBuffer, Program } from "./backend.ts";
import { Lru, once } from "./cache.ts";
import { ELEMENT_BYTES, view } from "./dtype.ts";
import type { TypedArray } from "./dtype.ts";
import { LockstepError, OutOfMemoryError } from "./errors.ts";
import { attrsKey, Graph, trace } from "./graph.ts";
import type { Op } from "./graph.ts";
import { defaultBackend } from "./init.ts";
import { nextTask, Turns } from "./pacing.ts";
import { buildPlan } from "./plan/build.ts";
import type { Attrs } from "./op.ts";
import type { Plan } from "./plan/plan.ts";
import { relieved, sparesOf } from "./relief.ts";
import type { Spare } from "./relief.ts";
import { Tensor } from "./tensor.ts";

/** Bytes that programs of eager ops may hold: they are made again in 0.2 ms. */
const MOST_EAGER = 64 * 2 ** 20;
/**
 * Part of its memory that the programs of one function or model may hold on a backend: room for a training step, an evaluation and other
 * models beside them.
 */
const MOST_PROGRAMS = 1 / 4;
/** About what the objects of a plan take for each of its calls. */
const CALL_BYTES = 4096;

/**
 * What an executable holds on its backend. Knows nothing of the executable, whose tensors are to be collected when nobody has it any
 * more.
 */
class Held implements Spare {
  readonly backend: Backend;
  readonly program: Program;
  readonly staging: readonly (DeviceBuffer | null)[][];
  /** Those who are about to run it, or to read its results. */
  users = 0;
  closed = false;
  #released = false;

  constructor(backend: Backend, program: Program, staging: readonly (DeviceBuffer | null)[][]) {
    this.backend = backend;
    this.program = program;
    this.staging = staging;
    sparesOf(backend).add(this);
  }

  /** At once, or when the last user is done. */
  close(): void {
    this.closed = true;
    if (this.users > 0 || this.#released) return;
    this.#released = true;
    sparesOf(this.backend).delete(this);
    this.program.close();
    for (const b of this.staging.flat()) if (b !== null) this.backend.free(b);
  }

  spare(): void {
    if (this.users === 0) this.close();
  }
}

/** Executables that nobody closed: functions and models that went out of use. */
const collected = new FinalizationRegistry<Held>((held) => held.close());

/** A planned and compiled graph on one backend. Holds its commands, temporaries, and staging buffers for inputs and results. */
export class Executable {
  readonly plan: Plan;
  /** Where it runs. */
  readonly backend: Backend;
  /** Tensors with elements that the function uses. */
  readonly captures: readonly Tensor[];
  readonly #program: Program;
  /** Staging buffers, made when an input first comes from the host. */
  readonly #inputs: (DeviceBuffer | null)[];
  readonly #outputs: (DeviceBuffer | null)[];
  readonly #assigned: readonly Tensor[];
  readonly #nextKey: Graph["nextKey"];
  readonly #types: readonly Tensor[];
  readonly #buffers: DeviceBuffer[];
  readonly #held: Held;

  private constructor(backend: Backend, plan: Plan, program: Program, graph: Graph, results: readonly Tensor[]) {
    this.plan = plan;
    this.backend = backend;
    this.#program = program;
    this.#types = results;
    this.captures = [...graph.captures.keys()];
    this.#assigned = [...graph.assigns.keys()];
    this.#nextKey = graph.nextKey;
    this.#inputs = graph.inputs.map(() => null);
    this.#outputs = results.map(() => null);
    this.#buffers = new Array<DeviceBuffer>(plan.bindings.length);
    this.#held = new Held(backend, program, [this.#inputs, this.#outputs]);
    collected.register(this, this.#held, this);
  }

  /** True after close(), and when the program had to make room. */
  get closed(): boolean {
    return this.#held.closed;
  }

  /** About what it holds: temporaries, commands, staging buffers, and the objects of its plan. */
  get bytes(): number {
    const { bindings, calls } = this.plan;
    return bindings.reduce((n, b) => (b.kind === "capture" ? n : n + b.bytes), this.#program.bytes + calls.length * CALL_BYTES);
  }

  /** Plans and compiles `graph` for `backend`. */
  static async create(
    graph: Graph,
    results: readonly Tensor[],
    backend: Backend,
    placing?: Parameters<typeof buildPlan>[3],
  ): Promise<Executable> {
    // Tracing, planning and encoding a training step take some 10 ms each before the engine has optimized them: a page gets its turns in
    // between.
    const turn = backend.limits.asynchronous ? nextTask : async (): Promise<void> => {};
    await turn();
    const plan = buildPlan(graph, results, backend.limits, placing);
    await turn();
    return new Executable(backend, plan, await relieved(backend, () => backend.compile(plan)), graph, results);
  }

  /** Closing waits until `done` was called as often: nobody takes the program away in between. */
  begin(): void {
    this.#held.users++;
  }

  /** See `begin`. */
  done(): void {
    this.#held.users--;
    if (this.#held.closed) this.#held.close();
  }

  /** What to wait for until all that a run reads is on the backend or on the host; null: nothing. */
  arrival(inputs: readonly Tensor[]): Promise<unknown> | null {
    let arrivals: Promise<unknown>[] | null = null;
    const look = (t: Tensor): void => {
      const arrival = t.arrival(this.backend);
      if (arrival !== null) (arrivals ??= []).push(arrival);
    };
    inputs.forEach(look);
    this.captures.forEach(look);
    return arrivals && Promise.all(arrivals);
  }

  /**
   * Enqueues one run. `given` as the graph's inputs but the key, already checked. Results are read with `results()`. `instead`: tensors
   * that are read and assigned in the place of captures.
   */
  enqueue(given: readonly Tensor[], instead: ReadonlyMap<Tensor, Tensor> | null = null): void {
    if (this.closed && this.#held.users === 0) throw new LockstepError("a program was run after it had been closed");
    const inputs = this.#nextKey === null ? given : [...given, this.#nextKey()];
    const buffers = this.#buffers;
    const { hostMemory } = this.backend.limits;
    let b = 0;
    for (let i = 0; i < inputs.length; i++) {
      const { host } = inputs[i];
      let buffer = inputs[i].on(this.backend);
      if (buffer === null && host !== null) {
        buffer = this.#inputs[i] ??= this.backend.alloc(this.plan.bindings[i].bytes);
        this.backend.write(buffer, 0, host);
      }
      // Without elements there is nothing to upload: that says why.
      buffers[b++] = buffer ?? inputs[i].upload(this.backend);
    }
    for (const t of this.captures) buffers[b++] = (instead?.get(t) ?? t).upload(this.backend);
    for (let i = 0; i < this.#outputs.length; i++) {
      const buffer = this.#outputs[i] ?? this.backend.alloc(this.#types[i].size * ELEMENT_BYTES);
      if (hostMemory) this.#outputs[i] = buffer;
      buffers[b++] = buffer;
    }
    this.backend.run(this.#program, buffers);
    for (const t of this.#assigned) (instead?.get(t) ?? t).markDeviceNewer();
  }

  /** The results of the last enqueued run: on the host where that costs no more than a copy, else as device tensors. */
  async results(): Promise<Tensor[]> {
    const buffers = this.#buffers.slice(this.#buffers.length - this.#types.length);
    return Promise.all(
      this.#types.map(async ({ shape, dtype, size }, i) => {
        const staged = this.#outputs[i] !== null;
        const bytes = staged ? await this.backend.read(buffers[i], 0, size * ELEMENT_BYTES) : null;
        const result = new Tensor(shape, dtype, null, 0, bytes && view(dtype, bytes, 0, size));
        if (!staged) result.adopt(this.backend, buffers[i]);
        return result;
      }),
    );
  }

  /** Gives back commands, temporaries and staging buffers. Harmless when repeated. */
  close(): void {
    collected.unregister(this);
    this.#held.close();
  }
}

/** A cache for the programs of one function or model. */
export function programCache({ limits: { maxBytes, hostMemory } }: Backend): Lru<Executable> {
  // A GPU has several times what it binds at once.
  return new Lru(hostMemory ? maxBytes * MOST_PROGRAMS : maxBytes);
}

/** What is run: a program, or one with other tensors in the place of some that it captures. */
export interface Runnable extends Pick<Executable, "backend" | "begin" | "done"> {
  enqueue(inputs: readonly Tensor[]): void;
}

/** Enqueues a run of `program`, once there is room for what it reads, and calls `then` right after it, before any other run. */
export function runNow<T>(program: Runnable, inputs: readonly Tensor[], then: () => T | Promise<T>): T | Promise<T> {
  try {
    program.enqueue(inputs);
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    let made: { readonly value: T | Promise<T> } | undefined;
    const again = (): void => {
      program.enqueue(inputs);
      made = { value: then() };
    };
    return holding(program, async () => {
      await relieved(program.backend, again);
      return (made as NonNullable<typeof made>).value;
    });
  }
  return then();
}

/** What `work` gives. Until then nobody takes the program away. */
async function holding<T>(program: Runnable, work: () => T | Promise<T>): Promise<T> {
  program.begin();
  try {
    return await work();
  } finally {
    program.done();
  }
}

const turns = new WeakMap<Backend, Turns>();

/** `runNow`, when its turn has come on a backend that is behind. */
export function inTurn<T>(program: Runnable, inputs: readonly Tensor[], then: () => T | Promise<T>): T | Promise<T> {
  const { backend } = program;
  if (!backend.limits.asynchronous) return runNow(program, inputs, then);
  const next = once(turns, backend, () => new Turns(backend));
  const run = (): T | Promise<T> => next.take(() => runNow(program, inputs, then));
  return next.free ? run() : holding(program, run);
}

/**
 * What `run` makes of the program that `find` gives, once what it reads is there. What had to make room between being found and being
 * used is found again.
 */
export async function using<T>(
  find: () => Promise<Executable>,
  inputs: readonly Tensor[],
  run: (program: Executable) => T | Promise<T>,
): Promise<T> {
  let program = await find();
  while (program.closed) program = await find();
  program.begin();
  try {
    const arrival = program.arrival(inputs);
    if (arrival !== null) await arrival;
    return await run(program);
  } finally {
    program.done();
  }
}

const eagerPrograms = new WeakMap<Backend, Lru<Executable>>();

/**
 * Runs one op at once: a one-op plan on the default backend, cached by op, shapes and attributes. Elements follow; `data()` waits for them.
 */
export function runEagerly(op: Op, inputs: readonly (Tensor | null)[], attrs: Attrs): readonly Tensor[] {
  const graph = new Graph();
  const present = inputs.filter((t) => t !== null);
  const results = trace(graph, () => {
    const symbols = inputs.map((t) => (t === null ? null : graph.input(t)));
    return graph.add(op, symbols, attrs);
  });
  const key = `${op.name}(${inputs.map(String).join()})${attrsKey(attrs)}`;
  return awaited(results, async () => {
    const backend = await defaultBackend();
    const programs = once(eagerPrograms, backend, () => new Lru<Executable>(MOST_EAGER));
    return using(
      () => programs.get(key, () => Executable.create(graph, results, backend)),
      present,
      (program) => elementsOf(program, present),
    );
  });
}

/** Tensors of the types of `symbols`, whose elements `run` gives later. */
function awaited(symbols: readonly Tensor[], run: () => Promise<readonly TypedArray[]>): readonly Tensor[] {
  const outputs = symbols.map((t) => new Tensor(t.shape, t.dtype, null, 0, null));
  const done = run();
  outputs.forEach((t, i) => t.fulfil(done.then((all) => all[i])));
  return outputs;
}

/** The elements of the results of a run. */
async function elementsOf(program: Executable, inputs: readonly Tensor[]): Promise<readonly TypedArray[]> {
  const made = await runNow(program, inputs, () => program.results());
  return Promise.all(made.map((t) => t.data()));
}

/** Runs what `build` adds to a graph at once, on the default backend. Elements follow; `data()` waits for them. */
export function runGraph(build: (graph: Graph) => readonly Tensor[]): readonly Tensor[] {
  const graph = new Graph();
  const results = trace(graph, () => build(graph));
  return awaited(results, async () => {
    const backend = await defaultBackend();
    return using(
      () => Executable.create(graph, results, backend),
      [],
      async (program) => {
        try {
          return await elementsOf(program, []);
        } finally {
          program.close();
        }
      },
    );
  });
}

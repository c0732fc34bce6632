/** @file Executable: a finished graph made ready on a backend and run. Also ops outside of any trace, as one-op plans. */
import type { Backend, DeviceBuffer, Program } from "./backend.ts";
import { once } from "./cache.ts";
import { ELEMENT_BYTES, view } from "./dtype.ts";
import { LockstepError } from "./errors.ts";
import { attrsKey, Graph, trace } from "./graph.ts";
import type { Op } from "./graph.ts";
import { defaultBackend } from "./init.ts";
import { nextTask, Turns } from "./pacing.ts";
import { buildPlan } from "./plan/build.ts";
import type { Attrs, Plan } from "./plan/plan.ts";
import { Tensor } from "./tensor.ts";

/** What an executable holds on its backend. */
interface Held {
  readonly backend: Backend;
  readonly program: Program;
  readonly staging: readonly (readonly (DeviceBuffer | null)[])[];
}

function release({ backend, program, staging }: Held): void {
  program.close();
  for (const b of staging.flat()) if (b !== null) backend.free(b);
}

/** Executables that nobody closed: functions and models that went out of use. */
const collected = new FinalizationRegistry<Held>(release);

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
  #closed = false;

  private constructor(backend: Backend, plan: Plan, program: Program, graph: Graph, results: readonly Tensor[]) {
    this.plan = plan;
    this.backend = backend;
    this.#program = program;
    this.#types = results;
    this.captures = [...graph.captures.keys()];
    this.#assigned = [...graph.assigns.keys()];
    this.#nextKey = graph.nextKey;
    this.#inputs = graph.inputs.map(() => null);
    this.#outputs = results.map((t) => (backend.limits.hostMemory ? backend.alloc(t.size * ELEMENT_BYTES) : null));
    this.#buffers = new Array<DeviceBuffer>(plan.bindings.length);
    this.#held = { backend, program, staging: [this.#inputs, this.#outputs] };
    collected.register(this, this.#held, this);
  }

  /** True after close(). */
  get closed(): boolean {
    return this.#closed;
  }

  /** Plans and compiles `graph` for `backend`. */
  static async create(graph: Graph, results: readonly Tensor[], backend: Backend): Promise<Executable> {
    // Tracing, planning and encoding a training step take some 10 ms each before the engine has optimized them: a page gets its turns in between.
    const turn = backend.limits.asynchronous ? nextTask : async (): Promise<void> => {};
    await turn();
    const plan = buildPlan(graph, results, backend.limits);
    await turn();
    return new Executable(backend, plan, await backend.compile(plan), graph, results);
  }

  /** Enqueues one run. `given` as the graph's inputs but the key, already checked. Results are read with `results()`. */
  enqueue(given: readonly Tensor[]): void {
    if (this.#closed) throw new LockstepError("a program was run after it had been closed");
    const inputs = this.#nextKey === null ? given : [...given, this.#nextKey()];
    const buffers = this.#buffers;
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
    for (const t of this.captures) buffers[b++] = t.upload(this.backend);
    for (let i = 0; i < this.#outputs.length; i++) buffers[b++] = this.#outputs[i] ?? this.backend.alloc(this.#types[i].size * ELEMENT_BYTES);
    this.backend.run(this.#program, buffers);
    for (const t of this.#assigned) t.markDeviceNewer();
  }

  /** The results of the last enqueued run: on the host where that costs no more than a copy, else as device tensors. */
  async results(): Promise<Tensor[]> {
    const buffers = this.#buffers.slice(this.#buffers.length - this.#types.length);
    return Promise.all(this.#types.map(async ({ shape, dtype, size }, i) => {
      const staged = this.#outputs[i] !== null;
      const bytes = staged ? await this.backend.read(buffers[i], 0, size * ELEMENT_BYTES) : null;
      const result = new Tensor(shape, dtype, null, 0, bytes && view(dtype, bytes, 0, size));
      if (!staged) result.adopt({ backend: this.backend, buffer: buffers[i] });
      return result;
    }));
  }

  /** Gives back commands, temporaries and staging buffers. Harmless when repeated. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    collected.unregister(this);
    release(this.#held);
  }
}

const turns = new WeakMap<Backend, Turns>();

/** Enqueues a run of `program`, when its turn has come on a backend that is behind, and calls `then` right after it, before any other run. */
export function inTurn<T>(program: Executable, inputs: readonly Tensor[], then: () => T | Promise<T>): T | Promise<T> {
  const { backend } = program;
  const enqueue = (): T | Promise<T> => {
    program.enqueue(inputs);
    return then();
  };
  return backend.limits.asynchronous ? once(turns, backend, () => new Turns(backend)).take(enqueue) : enqueue();
}

const eagerPrograms = new WeakMap<Backend, Map<string, Promise<Executable>>>();

/** Runs one op at once: a one-op plan on the default backend, cached by op, shapes and attributes. Elements follow; `data()` waits for them. */
export function runEagerly(op: Op, inputs: readonly (Tensor | null)[], attrs: Attrs): readonly Tensor[] {
  const graph = new Graph();
  const present = inputs.filter((t) => t !== null);
  const results = trace(graph, () => {
    const symbols = inputs.map((t) => (t === null ? null : graph.input(t)));
    return graph.add(op, symbols, attrs);
  });
  const key = `${op.name}(${inputs.map(String).join()})${attrsKey(attrs)}`;
  const outputs = results.map((t) => new Tensor(t.shape, t.dtype, null, 0, null));
  const done = (async () => {
    const backend = await defaultBackend();
    for (const t of present) await t.ready();
    const programs = once(eagerPrograms, backend, () => new Map<string, Promise<Executable>>());
    const executable = await once(programs, key, () => Executable.create(graph, results, backend));
    for (const t of present) if (t.host === null && t.on(backend) === null) await t.data();
    executable.enqueue(present);
    return Promise.all((await executable.results()).map((t) => t.data()));
  })();
  outputs.forEach((t, i) => t.fulfil(done.then((all) => all[i])));
  return outputs;
}

/**
 * @file The workers that run command lists: together with the thread that calls `run`, or all by themselves while that
 * thread only awaits (queue.ts). They start when the first program large enough is compiled and join when they are ready;
 * until then, and where they cannot start, the calling thread does all. Results are the same bits for any number of threads.
 */
import { BackendError } from "../errors.ts";
import { SCRATCH_BYTES, SYNC_BYTES } from "./opcodes.ts";
import { abort, hand, quit } from "./sync.ts";
import { spawn } from "./spawn.ts";
import type { Handle } from "./spawn.ts";
import type { WorkerSource } from "./threads.ts";
import type { Order, Reply, WorkerStart } from "./worker.ts";

export interface PoolOptions {
  readonly threads: number;
  /** `threads` where worker 0 leads, `threads - 1` where the caller is thread 0. */
  readonly workers: number;
  /** The kernels: the core, or the whole, and parts by their numbers. There may be more for the next workers. */
  readonly modules: readonly (WebAssembly.Module | undefined)[];
  readonly memory: WebAssembly.Memory;
  readonly source: WorkerSource | undefined;
  /** Address of so many bytes that are never given back. */
  readonly alloc: (bytes: number) => number;
}

/** Workers started together. Each crew has words of its own: a straggler of an aborted one can never disturb the next. */
interface Crew {
  readonly sync: number;
  readonly handles: Handle[];
  /** Worker 0, where it leads. */
  lead: Handle | null;
  ready: boolean;
  /** The lead keeps the process alive. */
  kept: boolean;
  /** Ends the wait for workers that have not answered yet. */
  readonly giveUp: (() => void)[];
}

/** A worker that has not answered by then will not: a network that stalls, a script that is none of ours. */
const START_LIMIT_MS = 30_000;

export class Pool {
  /** Hears the lead's answers, in order. */
  onReply: (reply: Reply) => void = () => {};
  /** Hears of a worker that died after the crew was ready; the crew has been dismissed. */
  onDeath: (error: BackendError) => void = () => {};
  readonly #options: PoolOptions;
  /** Address of the workers' working memory, one after another; 0: not taken yet. */
  #scratch = 0;
  #crew: Crew | null = null;
  #starting: Promise<void> | null = null;
  #problem: string | null = null;
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  get threads(): number {
    return this.#options.threads;
  }

  /** True when all workers wait for jobs. */
  get ready(): boolean {
    return this.#crew?.ready === true;
  }

  /** Where the threads meet. Only while ready. */
  get sync(): number {
    return this.#crew?.sync ?? 0;
  }

  /** Why the workers could not start, or null. */
  get problem(): string | null {
    return this.#problem;
  }

  /**
   * Starts the workers; resolves when they wait for jobs, or when they cannot. Harmless when repeated; where they could not start it does
   * not try again.
   */
  start(): Promise<void> {
    this.#starting ??= this.#launch();
    return this.#starting;
  }

  /** Hands a job to the workers; the caller is thread 0. */
  hand(list: number, end: number): void {
    hand(this.#options.memory, this.sync, list, end);
  }

  /** Sends an order to the worker that leads. Answers come to `onReply`. */
  order(order: Order): void {
    this.#keepLead(true);
    this.#crew?.lead?.post(order);
  }

  /** The lead has answered everything. */
  rest(): void {
    this.#keepLead(false);
  }

  /** After an aborted run: ends all workers; the next `start` makes new ones. */
  reset(): void {
    this.#dismiss();
    this.#starting = null;
  }

  /** Others in place of the workers that there are or that are starting, with all modules that there are by now. Not during a run. */
  renew(): void {
    if (this.#crew === null) return;
    this.reset();
    void this.start();
  }

  /** Lets the workers end. */
  close(): void {
    this.#closed = true;
    this.#dismiss();
  }

  #keepLead(alive: boolean): void {
    const crew = this.#crew;
    if (crew === null || crew.kept === alive) return;
    crew.kept = alive;
    crew.lead?.keep(alive);
  }

  #dismiss(): void {
    const crew = this.#crew;
    this.#crew = null;
    if (crew === null) return;
    const { memory } = this.#options;
    abort(memory, crew.sync);
    quit(memory, crew.sync);
    for (const h of crew.handles) h.terminate();
    for (const giveUp of crew.giveUp) giveUp();
  }

  async #launch(): Promise<void> {
    const { alloc, memory, workers, threads } = this.#options;
    if (this.#closed) return;
    let sync: number;
    try {
      // Taken now, so that memory does not grow at some later moment.
      this.#scratch ||= alloc(workers * SCRATCH_BYTES);
      sync = alloc(SYNC_BYTES);
    } catch (error) {
      return this.#giveUp((error as Error).message);
    }
    new Uint8Array(memory.buffer, sync, SYNC_BYTES).fill(0);
    const crew: Crew = { sync, handles: [], lead: null, ready: false, kept: false, giveUp: [] };
    this.#crew = crew;
    const problems = await Promise.all(
      Array.from({ length: workers }, (_, i) => this.#hire(crew, threads - workers + i, this.#scratch + i * SCRATCH_BYTES)),
    );
    // Dismissed meanwhile: others that start in their place are waited for.
    if (this.#crew !== crew) return this.#closed ? undefined : (this.#starting ?? undefined);
    const problem = problems.find((p) => p !== null) ?? null;
    crew.ready = problem === null;
    this.#problem = null;
    if (problem === null) return;
    this.#dismiss();
    this.#giveUp(problem, '; if their script is not beside the library, give its address: open("wasm", { worker })');
  }

  #giveUp(problem: string, advice = ""): void {
    this.#problem = problem;
    console.warn(`lockstep: wasm: worker threads could not start, one thread does all: ${problem}${advice}`);
  }

  /** Starts one worker. Resolves with null when it waits for jobs, or with what went wrong. */
  #hire(crew: Crew, thread: number, scratch: number): Promise<string | null> {
    const { modules, memory, threads, source } = this.#options;
    const start: Omit<WorkerStart, "lock"> = { modules: [...modules], memory, thread, threads, scratch, sync: crew.sync };
    return new Promise((done) => {
      const timer = setTimeout(() => died(`no answer within ${START_LIMIT_MS / 1000} s`), START_LIMIT_MS);
      const died = (why: string): void => {
        clearTimeout(timer);
        done(why);
        if (this.#crew !== crew || !crew.ready) return;
        this.reset();
        this.onDeath(new BackendError(`wasm: a worker stopped: ${why}; the next large program starts new ones`));
      };
      crew.giveUp.push(() => died("it is not needed any more"));
      let handle: Handle | null = null;
      const message = (data: unknown): void => {
        if (data === "loaded") handle?.post({ ...start, lock: handle.lock } satisfies WorkerStart);
        else if (data === "ready") {
          clearTimeout(timer);
          handle?.keep(false);
          handle?.watch();
          done(null);
        } else if (thread === 0 && this.#crew === crew) this.onReply(data as Reply);
      };
      try {
        handle = spawn(source, { message, died });
        crew.handles.push(handle);
        if (thread === 0) crew.lead = handle;
      } catch (error) {
        died(error instanceof Error ? error.message : String(error));
      }
    });
  }
}

/**
 * @file The workers that run command lists together with the thread that calls `run`. They start when the first program
 * large enough is compiled and join when they are ready; until then, and after a failure, one thread does all. Results
 * are the same bits for any number of threads, so nobody needs to know.
 */
import { SYNC_ABORT, SYNC_ARRIVED, SYNC_END, SYNC_JOB, SYNC_LIST, SYNC_QUIT } from "./opcodes.ts";
import type { WorkerStart } from "./worker.ts";

/** The little that worker_threads and Web Workers have in common. */
interface Handle {
  post(start: WorkerStart): void;
  /** It waits for jobs: from now on it does not keep the process alive. */
  idle(): void;
  terminate(): void;
}

type Listener = (message: string) => void;

/** Starts a worker; `message` hears what it posts, `failed` when it could not start or died. */
async function spawn(url: URL, message: Listener, failed: () => void): Promise<Handle> {
  const Web = (globalThis as { Worker?: typeof Worker }).Worker;
  if (Web !== undefined) {
    const worker = new Web(url, { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<string>) => message(data);
    worker.onerror = failed;
    return { post: (start) => worker.postMessage(start), idle: () => {}, terminate: () => worker.terminate() };
  }
  const { Worker: NodeWorker } = await import("node:worker_threads");
  const worker = new NodeWorker(url);
  worker.on("message", message);
  worker.on("error", failed);
  worker.on("exit", failed);
  return { post: (start) => worker.postMessage(start), idle: () => worker.unref(), terminate: () => void worker.terminate() };
}

/** True where the calling thread may wait for others: everywhere but on a page's main thread. */
export function mayBlock(): boolean {
  return typeof (globalThis as { window?: unknown; document?: unknown }).document === "undefined";
}

export class Pool {
  readonly threads: number;
  readonly #words: () => Int32Array;
  readonly #sync: number;
  readonly #start: Omit<WorkerStart, "thread" | "threads">;
  readonly #scratchOf: (thread: number) => number;
  #workers: Handle[] = [];
  #ready = 0;
  #starting: Promise<void> | null = null;
  #broken = false;
  #job = 0;

  /** `scratchOf` gives each worker's working memory, `words` a view of the memory as it is now. */
  constructor(threads: number, start: Omit<WorkerStart, "thread" | "threads" | "scratch">, scratchOf: (thread: number) => number, words: () => Int32Array) {
    this.threads = threads;
    this.#start = { ...start, scratch: 0 };
    this.#sync = start.sync;
    this.#scratchOf = scratchOf;
    this.#words = words;
  }

  /** True when all workers wait for jobs. */
  get ready(): boolean {
    return !this.#broken && this.#ready === this.threads - 1;
  }

  /** Starts the workers; resolves when they wait for jobs, or when they cannot. Harmless when repeated. */
  start(): Promise<void> {
    this.#starting ??= this.#launch();
    return this.#starting;
  }

  /** Hands a job to the workers. The caller then runs its own share as thread 0. */
  hand(list: number, end: number): void {
    const words = this.#words();
    const at = (offset: number): number => (this.#sync + offset) >> 2;
    words[at(SYNC_LIST)] = list;
    words[at(SYNC_END)] = end;
    this.#job = (this.#job + 1) | 0;
    Atomics.store(words, at(SYNC_JOB), this.#job);
    Atomics.notify(words, at(SYNC_JOB));
  }

  /** After an aborted run: ends all workers; the next `start` makes new ones. */
  reset(): void {
    for (const w of this.#workers) w.terminate();
    this.#workers = [];
    this.#ready = 0;
    this.#starting = null;
    this.#broken = false;
    const words = this.#words();
    for (const offset of [SYNC_ARRIVED, SYNC_ABORT, SYNC_QUIT, SYNC_JOB]) Atomics.store(words, (this.#sync + offset) >> 2, 0);
    this.#job = 0;
  }

  /** Lets the workers end. */
  close(): void {
    const words = this.#words();
    Atomics.store(words, (this.#sync + SYNC_QUIT) >> 2, 1);
    Atomics.add(words, (this.#sync + SYNC_JOB) >> 2, 1);
    Atomics.notify(words, (this.#sync + SYNC_JOB) >> 2);
    this.#broken = true;
    for (const w of this.#workers) w.terminate();
    this.#workers = [];
  }

  async #launch(): Promise<void> {
    const url = new URL("./worker.js", import.meta.url);
    const waits = Array.from({ length: this.threads - 1 }, (_, i) => new Promise<void>((done) => {
      // Taken now, so that memory does not grow at some later moment.
      const scratch = this.#scratchOf(i + 1);
      let handle: Handle | null = null;
      const failed = (): void => {
        // A worker that died would be waited for in vain: one thread does all until the next large program starts new ones.
        if (handle !== null && this.#workers.includes(handle)) this.reset();
        done();
      };
      const message: Listener = (text) => {
        if (text === "loaded") handle?.post({ ...this.#start, scratch, thread: i + 1, threads: this.threads });
        if (text === "ready") {
          this.#ready++;
          handle?.idle();
          done();
        }
      };
      spawn(url, message, failed).then((h) => {
        handle = h;
        this.#workers.push(h);
      }, failed);
    }));
    await Promise.all(waits);
  }
}

/** @file How a worker is started in each runtime, and how its end is noticed. */
import type { Worker as ThreadWorker } from "node:worker_threads";
import { scope, workerThreads } from "./threads.ts";
import type { WorkerSource } from "./threads.ts";

/** What Web Workers and worker_threads have in common. */
export interface Handle {
  post(message: unknown): void;
  /** Whether it keeps the process alive: not while it waits for work. */
  keep(alive: boolean): void;
  terminate(): void;
  /** A lock for the worker to hold as long as it lives, where that is how its end is noticed. */
  readonly lock: string | null;
  /** The worker holds its lock. */
  watch(): void;
}

export interface Listeners {
  message(data: unknown): void;
  /** It could not start, threw, or ended; called once at least, `why` for people. */
  died(why: string): void;
}

function ofThread(worker: ThreadWorker, { message, died }: Listeners): Handle {
  worker.on("message", message);
  worker.on("messageerror", (error: Error) => died(error.message));
  worker.on("error", (error: Error) => died(error.message));
  worker.on("exit", (code: number) => died(`it ended with code ${code}`));
  return {
    post: (m) => worker.postMessage(m),
    keep: (alive) => (alive ? worker.ref() : worker.unref()),
    terminate: () => void worker.terminate(),
    lock: null,
    watch: () => {},
  };
}

function ofWeb(worker: Worker, { message, died }: Listeners): Handle {
  worker.onmessage = ({ data }: MessageEvent) => message(data);
  worker.onmessageerror = () => died("a message could not be read");
  worker.onerror = (event) => {
    event.preventDefault();
    died(event.message || "its script was not found, or a Content-Security-Policy forbids it");
  };
  // Only Bun tells.
  worker.addEventListener("close", () => died("it ended"));
  // Only in Bun.
  const own = worker as { ref?: () => void; unref?: () => void };
  // No event tells of a Web Worker that was terminated. But its locks are released.
  const locks = scope().document === undefined && workerThreads() !== undefined ? undefined : scope().navigator?.locks;
  const lock = locks === undefined ? null : `lockstep ${crypto.randomUUID()}`;
  return {
    post: (m) => worker.postMessage(m),
    keep: (alive) => (alive ? own.ref?.() : own.unref?.()),
    terminate: () => worker.terminate(),
    lock,
    watch: () => void (lock !== null && locks?.request(lock, () => died("it ended"))),
  };
}

/**
 * Starts a worker. Deno and Bun have Web Workers too, but theirs do not tell when they end, and Deno's keep the process alive:
 * worker_threads do neither, and start as fast (until they wait for jobs: Deno 29 ms, Bun 14 ms, Node 20 24 ms, Chromium's Web Workers 23
 * ms; 2-core x64).
 */
export function spawn(source: WorkerSource | undefined, listeners: Listeners): Handle {
  if (typeof source === "function") {
    const worker = source();
    return typeof (worker as ThreadWorker).on === "function"
      ? ofThread(worker as ThreadWorker, listeners)
      : ofWeb(worker as Worker, listeners);
  }
  const threads = workerThreads();
  if (threads !== undefined) {
    // Not in one expression with import.meta.url: Vite and webpack would copy the file as an asset, beside the worker that they make of it
    // below.
    const here = import.meta.url;
    return ofThread(
      new threads.Worker(source === undefined ? new URL("./worker.js", here) : /^\w\w+:/.test(String(source)) ? new URL(source) : source),
      listeners,
    );
  }
  if (source !== undefined) return ofWeb(new Worker(source, { type: "module" }), listeners);
  return ofWeb(new Worker(new URL("./worker.js", import.meta.url), { type: "module" }), listeners);
}

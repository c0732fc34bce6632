/** @file Whether this place has threads, and how many make sense. What starts them, pool.ts, is loaded when they are first needed. */
import { ArgumentError } from "../errors.ts";

/**
 * Where the script of the workers comes from: its address, or a function that starts one. For bundlers that do not follow
 * `new Worker(new URL("./worker.js", import.meta.url), { type: "module" })`. The function may return a Web Worker or one of
 * `node:worker_threads`.
 */
export type WorkerSource = URL | string | (() => unknown);

interface Scope {
  readonly document?: unknown;
  readonly crossOriginIsolated?: boolean;
  readonly Worker?: typeof Worker;
  readonly navigator?: { readonly hardwareConcurrency?: number; readonly userAgent?: string; readonly locks?: LockManager };
  /** getBuiltinModule: Node 20.16, Deno 2.1, Bun 1.2. Unlike an import it concerns no bundler. */
  readonly process?: { readonly versions?: { readonly node?: string }; readonly getBuiltinModule?: NodeJS.Process["getBuiltinModule"] };
}

const MOST_THREADS = 64;
const MOST_AUTO_THREADS = 8;

/** @internal What this place may have. */
export const scope = (): Scope => globalThis as Scope;

/** @internal worker_threads where there are any and no page: Node, Deno, Bun. */
export function workerThreads({ process, document, Worker } = scope()): typeof import("node:worker_threads") | undefined {
  return document === undefined || Worker === undefined ? process?.getBuiltinModule?.("node:worker_threads") : undefined;
}

/** Why there can be no threads here, or null where workers can be started and memory shared. */
function obstacle(): string | null {
  const { crossOriginIsolated, navigator, process, Worker } = scope();
  // With its compatibility flags on it has the names, but nothing behind them.
  if (navigator?.userAgent === "Cloudflare-Workers") return "workerd has no threads";
  if (crossOriginIsolated === false)
    return (
      "the page is not cross-origin isolated: serve it with the headers Cross-Origin-Opener-Policy: same-origin and " +
      "Cross-Origin-Embedder-Policy: require-corp"
    );
  if (typeof SharedArrayBuffer === "undefined") return "this runtime has no shared memory";
  // Node has worker_threads; loading them, 1 to 2 ms of a start, waits for the first large program.
  return Worker === undefined && process?.versions?.node === undefined && workerThreads() === undefined
    ? "this runtime has no workers"
    : null;
}

/** True on a page's main thread, which may not wait for others. (Node with a DOM library may.) */
function onPage(): boolean {
  if (scope().document === undefined) return false;
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0);
    return false;
  } catch {
    // Not allowed, or there is no shared memory.
    return true;
  }
}

/** Cores that this process may use. Node 20 has no navigator. */
function cores(): number {
  const { navigator, process } = scope();
  return navigator?.hardwareConcurrency ?? process?.getBuiltinModule?.("node:os").availableParallelism() ?? 1;
}

/** @internal How work is done here. */
export interface Arrangement {
  /** What was asked for. */
  readonly threads: number;
  /** Workers to start: one fewer than threads where the calling thread takes part, none where there are no threads. */
  readonly workers: number;
  /** The calling thread does not wait in `run`: there is a queue. */
  readonly queued: boolean;
  /** Why there are fewer threads than asked for, or null. */
  readonly problem: string | null;
}

/** @internal @throws ArgumentError for options out of range. */
export function arrange(wanted: "auto" | number, background: boolean | undefined, source: WorkerSource | undefined): Arrangement {
  if (wanted !== "auto" && (!Number.isInteger(wanted) || wanted < 1 || wanted > MOST_THREADS))
    throw new ArgumentError(`open: threads must be "auto" or an integer from 1 to ${MOST_THREADS}, got ${String(wanted)}`);
  if (background !== undefined && typeof background !== "boolean")
    throw new ArgumentError(`open: background must be true or false, got ${String(background)}`);
  if (source !== undefined && typeof source !== "string" && typeof source !== "function" && !(source instanceof URL))
    throw new ArgumentError(`open: worker must be an address or a function that starts a worker, got ${String(source)}`);
  const page = onPage();
  const missing = obstacle();
  const threads = wanted !== "auto" ? wanted : missing !== null ? 1 : Math.min(cores(), MOST_AUTO_THREADS);
  let workers = 0;
  let problem: string | null = null;
  if (missing !== null) {
    if (wanted !== "auto" && wanted > 1) console.warn(`lockstep: wasm: one thread instead of ${wanted}: ${missing}`);
    if (wanted !== 1) problem = missing;
  } else if (background ?? (page && threads > 1)) workers = threads;
  else if (!page) workers = threads - 1;
  else if (threads > 1) problem = "a page's main thread may not wait for others, and background: false keeps the work on it";
  return { threads, workers, queued: page || background === true, problem };
}

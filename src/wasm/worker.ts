/**
 * @file What runs in a worker of the pool: an instance of the kernels on the shared memory. Threads from 1 on wait for jobs
 * inside WebAssembly and never return to the event loop until they are told to quit. Thread 0, where it is a worker, takes
 * orders from its queue (queue.ts) one after another, as messages, and answers each.
 */
import { abort, hand } from "./sync.ts";
import { environment, join } from "./table.ts";

/** What a worker is told once, at its start. */
export interface WorkerStart {
  /** The core, or the whole, and parts by their numbers. */
  readonly modules: readonly (WebAssembly.Module | undefined)[];
  readonly memory: WebAssembly.Memory;
  readonly thread: number;
  readonly threads: number;
  readonly scratch: number;
  readonly sync: number;
  /** Name of a lock to hold from before the first job to the end, or null. */
  readonly lock: string | null;
}

/** Something to do, after everything that was ordered before. Addresses and lengths are bytes. */
export type Order =
  /** `patches`: addresses and the words to put there first, in turn. `shared`: worth sharing among threads. */
  | { readonly kind: "run"; readonly list: number; readonly end: number; readonly patches: Uint32Array | null; readonly shared: boolean }
  | { readonly kind: "copy"; readonly from: number; readonly to: number; readonly length: number };

/** The answer to an order: what went wrong, or null. */
export interface Reply {
  readonly failed: string | null;
}

interface Port {
  post(message: unknown): void;
  receive(handler: (message: unknown) => void): void;
}

interface Exports extends WebAssembly.ModuleImports {
  run(list: number, end: number, thread: number, threads: number, scratch: number, sync: number): number;
  work(thread: number, threads: number, scratch: number, sync: number): void;
}

/** worker_threads where they started this worker, else the port of a Web Worker. */
function connect(): Port {
  const { process } = globalThis as { process?: { getBuiltinModule?: NodeJS.Process["getBuiltinModule"] } };
  const parentPort = process?.getBuiltinModule?.("node:worker_threads")?.parentPort;
  if (parentPort) return { post: (m) => parentPort.postMessage(m), receive: (handler) => void parentPort.on("message", handler) };
  const scope = globalThis as unknown as {
    postMessage(m: unknown): void;
    onmessage: ((e: { data: unknown }) => void) | null;
    onmessageerror: (() => void) | null;
  };
  scope.onmessageerror = () => {
    // An error that nobody catches is what the other side hears of.
    throw new Error("a message could not be read");
  };
  return { post: (m) => scope.postMessage(m), receive: (handler) => (scope.onmessage = ({ data }) => handler(data)) };
}

/** @throws Error when a run was aborted, and traps. */
function perform(order: Order, { memory, threads, scratch, sync }: WorkerStart, { run }: Exports): void {
  // Another thread may have grown the memory: grow(0) makes this one see its new size.
  const reach = order.kind === "run" ? order.end : Math.max(order.from, order.to) + order.length;
  if (reach > memory.buffer.byteLength) memory.grow(0);
  if (order.kind === "copy") {
    new Uint8Array(memory.buffer).copyWithin(order.to, order.from, order.from + order.length);
    return;
  }
  const { list, end, patches, shared } = order;
  const words = new Uint32Array(memory.buffer);
  for (let i = 0; patches !== null && i < patches.length; i += 2) words[patches[i] >>> 2] = patches[i + 1];
  if (shared && threads > 1) hand(memory, sync, list, end);
  if (run(list, end, 0, shared ? threads : 1, scratch, sync) === 0) throw new Error("a worker stopped in the middle of a run");
}

const port = connect();
let begun: { start: WorkerStart; exports: Exports } | null = null;

function begin(start: WorkerStart): void {
  const env = environment(start.memory);
  const exports = new WebAssembly.Instance(start.modules[0] as WebAssembly.Module, { env }).exports as unknown as Exports;
  start.modules.forEach((part, number) => {
    if (number > 0 && part !== undefined) join(number, new WebAssembly.Instance(part, { env, core: exports }), env);
  });
  begun = { start, exports };
  port.post("ready");
  if (start.thread === 0) return;
  try {
    exports.work(start.thread, start.threads, start.scratch, start.sync);
  } catch {
    // A trap: the others must not wait for this thread.
    abort(start.memory, start.sync);
  }
}

port.receive((message) => {
  if (begun === null) {
    const start = message as WorkerStart;
    if (start.lock === null) return begin(start);
    navigator.locks
      .request(start.lock, () => {
        begin(start);
        return new Promise(() => {});
      })
      .catch((error) =>
        queueMicrotask(() => {
          throw error;
        }),
      );
    return;
  }
  try {
    perform(message as Order, begun.start, begun.exports);
    port.post({ failed: null } satisfies Reply);
  } catch (error) {
    abort(begun.start.memory, begun.start.sync);
    port.post({ failed: error instanceof Error ? error.message : String(error) } satisfies Reply);
  }
});
port.post("loaded");

/**
 * @file What runs in a worker of the pool: an instance of the kernels on the shared memory, which waits for jobs inside
 * WebAssembly and never returns to the event loop until it is told to quit.
 */
import { SYNC_ABORT, SYNC_GENERATION } from "./opcodes.ts";

/** What a worker is told once, at its start. */
export interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly thread: number;
  readonly threads: number;
  readonly scratch: number;
  readonly sync: number;
}

interface Port {
  post(message: string): void;
  receive(handler: (start: WorkerStart) => void): void;
}

async function connect(): Promise<Port> {
  const scope = globalThis as { postMessage?: (m: string) => void; onmessage?: ((e: { data: WorkerStart }) => void) | null; WorkerGlobalScope?: unknown };
  if (typeof scope.WorkerGlobalScope !== "undefined" && typeof scope.postMessage === "function") {
    return { post: (m) => scope.postMessage?.(m), receive: (handler) => (scope.onmessage = ({ data }) => handler(data)) };
  }
  const { parentPort } = await import("node:worker_threads");
  return { post: (m) => parentPort?.postMessage(m), receive: (handler) => parentPort?.once("message", handler) };
}

connect().then((port) => {
  port.receive((start) => {
    const { module, memory, thread, threads, scratch, sync } = start;
    const { work } = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as { work(thread: number, threads: number, scratch: number, sync: number): void };
    port.post("ready");
    try {
      work(thread, threads, scratch, sync);
    } catch {
      // A trap: the others must not wait for this thread.
      const words = new Int32Array(memory.buffer);
      Atomics.store(words, (sync + SYNC_ABORT) >> 2, 1);
      Atomics.notify(words, (sync + SYNC_GENERATION) >> 2);
    }
    port.post("ended");
  });
  port.post("loaded");
});

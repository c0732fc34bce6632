/** @file The words at which threads meet (SYNC_ in opcodes.ts), as JavaScript sets them. `sync` is their address. */
import { SYNC_ABORT, SYNC_END, SYNC_GENERATION, SYNC_JOB, SYNC_LIST, SYNC_QUIT } from "./opcodes.ts";

/** Hands the commands in [list, end) to the workers that wait. The caller then runs its own share as thread 0. */
export function hand(memory: WebAssembly.Memory, sync: number, list: number, end: number): void {
  const words = new Int32Array(memory.buffer);
  words[(sync + SYNC_LIST) >>> 2] = list;
  words[(sync + SYNC_END) >>> 2] = end;
  Atomics.add(words, (sync + SYNC_JOB) >>> 2, 1);
  Atomics.notify(words, (sync + SYNC_JOB) >>> 2);
}

/** Those at a barrier, and those that come to one, give up. */
export function abort(memory: WebAssembly.Memory, sync: number): void {
  const words = new Int32Array(memory.buffer);
  Atomics.store(words, (sync + SYNC_ABORT) >>> 2, 1);
  Atomics.notify(words, (sync + SYNC_GENERATION) >>> 2);
}

/** Those that wait for a job return. */
export function quit(memory: WebAssembly.Memory, sync: number): void {
  const words = new Int32Array(memory.buffer);
  Atomics.store(words, (sync + SYNC_QUIT) >>> 2, 1);
  Atomics.add(words, (sync + SYNC_JOB) >>> 2, 1);
  Atomics.notify(words, (sync + SYNC_JOB) >>> 2);
}

/**
 * @file What is done about a backend that is full before an error says so: handles that nobody has any more are collected, then programs
 * that can be made again go.
 */
import type { Backend } from "./backend.ts";
import { once } from "./cache.ts";
import { OutOfMemoryError } from "./errors.ts";
import { nextTask } from "./pacing.ts";

/** Something on a backend that can be made again. */
export interface Spare {
  /** Frees it, if nobody uses it right now. */
  spare(): void;
}

const all = new WeakMap<Backend, Set<Spare>>();

/** What there is to spare on `backend`. */
export const sparesOf = (backend: Backend): Set<Spare> => once(all, backend, () => new Set());

/** Tries after the first, with waits of 1, 2, 4 ... ms: a collection may take that long. */
const TRIES = 9;
/** The try before which programs go. */
const SPARE = 5;
/**
 * Engines collect when array buffers of so many bytes come and go, later tries of more; these are never written, so they take no memory.
 */
const PRESSURE_BYTES = 64 * 2 ** 20;
/** Most of one buffer, as a power of two times the above: V8 collects at once where buffers grow by half of the largest heap. */
const MOST_PRESSURE = 5;

/**
 * Time for handles that have gone out of use to be collected. Their finalizers run in tasks of their own, so loops that only await promises
 * leave them none; and engines do not know how large what they stand for is, so without the pressure they would see no need to look.
 */
async function collect(tries: number): Promise<void> {
  let seen = 0;
  try {
    // What nobody reads, bundlers leave out.
    seen = new ArrayBuffer(PRESSURE_BYTES * 2 ** Math.min(tries, MOST_PRESSURE)).byteLength;
  } catch {
    // No address space: pressure enough.
  }
  if (seen >= 0) await nextTask();
  await new Promise((done) => setTimeout(done, 2 ** tries));
}

/**
 * What `work` gives. Where `backend` is out of memory it makes room and calls `work` again, so it must be something that can be repeated.
 * @throws what `work` does in the end
 */
export async function relieved<T>(backend: Backend, work: () => T | Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof OutOfMemoryError) || tries === TRIES) throw error;
      if (tries === SPARE) for (const s of sparesOf(backend)) s.spare();
      await collect(tries);
    }
  }
}

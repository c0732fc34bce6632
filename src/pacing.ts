/** @file How loops of many runs leave room for others: turns of the event loop, and a bound on what they enqueue ahead. */
import type { Backend } from "./backend.ts";

/** Milliseconds of work after which other tasks get a turn. */
const SLICE_MS = 16;

/**
 * Runs that an asynchronous backend may be behind, or groups of short ones that it takes together: enough to keep it busy, not so many
 * that they pile up.
 */
const RUNS_IN_FLIGHT = 3;

/** Resolves in a new task, after tasks, events and frames that wait have had their turn. */
export const nextTask: () => Promise<void> =
  typeof setImmediate === "function"
    ? () => new Promise((done) => setImmediate(done))
    : () =>
        new Promise((done) => {
          const { port1, port2 } = new MessageChannel();
          port1.onmessage = () => {
            port1.close();
            done();
          };
          port2.postMessage(null);
        });

/** Gives other tasks a turn when enough time has passed. */
export class Slices {
  #since = performance.now();
  readonly #most: number;

  /** `most`: milliseconds between turns. */
  constructor(most = SLICE_MS) {
    this.#most = most;
  }

  /** True when others are due; then `rest()`. */
  get due(): boolean {
    return performance.now() - this.#since >= this.#most;
  }

  async rest(): Promise<void> {
    if (!this.due) return;
    await nextTask();
    this.#since = performance.now();
  }
}

/** The runs that an asynchronous backend has not finished, and who comes next. Errors of a run are thrown by later calls to the backend. */
export class Turns {
  readonly #backend: Backend;
  readonly #running = new Set<Promise<void>>();
  #waiting = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** True when the next one need not wait. */
  get free(): boolean {
    return this.#waiting === 0 && this.#running.size < RUNS_IN_FLIGHT;
  }

  /** What `enqueue` returns, called in the order of these calls and when the backend is less than RUNS_IN_FLIGHT runs behind. */
  take<T>(enqueue: () => T | Promise<T>): T | Promise<T> {
    if (this.free) return this.#enqueue(enqueue);
    this.#waiting++;
    const mine = this.#turn.then(async () => {
      if (this.#running.size >= RUNS_IN_FLIGHT) await Promise.race(this.#running);
      this.#waiting--;
      return { made: this.#enqueue(enqueue) };
    });
    this.#turn = mine.catch(() => {});
    return mine.then(({ made }) => made);
  }

  #enqueue<T>(enqueue: () => T): T {
    const made = enqueue();
    const done = this.#backend.caughtUp();
    if (!this.#running.has(done)) {
      this.#running.add(done);
      void done.then(() => void this.#running.delete(done));
    }
    return made;
  }
}

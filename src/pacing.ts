/** @file How loops of many runs leave room for others: turns of the event loop, and a bound on what they enqueue ahead. */
import type { Backend } from "./backend.ts";

/** Milliseconds of work after which other tasks get a turn. */
const SLICE_MS = 16;

/** Runs that an asynchronous backend may be behind: enough to keep it busy, not so many that they pile up. */
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
  #turn: Promise<unknown> = Promise.resolve();

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** What `enqueue` returns, called in the order of these calls and when the backend is less than RUNS_IN_FLIGHT runs behind. */
  take<T>(enqueue: () => T | Promise<T>): Promise<T> {
    const mine = this.#turn.then(async () => {
      if (this.#running.size >= RUNS_IN_FLIGHT) await Promise.race(this.#running);
      const made = enqueue();
      const done = this.#backend.caughtUp().then(() => void this.#running.delete(done));
      this.#running.add(done);
      return { made };
    });
    this.#turn = mine.catch(() => {});
    return mine.then(({ made }) => made);
  }
}

/** @file Turns for other tasks during long work. */

/** Milliseconds of work after which other tasks get a turn. */
const SLICE_MS = 16;

const nextTask: () => Promise<void> = typeof setImmediate === "function"
  ? () => new Promise((done) => setImmediate(done))
  : () => new Promise((done) => {
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

  async rest(): Promise<void> {
    if (performance.now() - this.#since < SLICE_MS) return;
    await nextTask();
    this.#since = performance.now();
  }
}

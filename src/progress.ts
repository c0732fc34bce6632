/**
 * @file The progress of `fit`, in Keras' words: one line per epoch. On a terminal it is a bar redrawn in place (bar.ts).
 * Knows no runtime: it writes text to whatever it is given.
 */

/** What is written to; Node's, Deno's and Bun's `process.stdout` is one. */
export interface ProgressStream {
  /** Takes the next piece of text. */
  write(text: string): unknown;
  /** True for a terminal, which understands carriage return and colours. */
  readonly isTTY?: boolean;
  /** Width of the terminal in characters; read at every draw, so that resizing works. Default 80. */
  readonly columns?: number;
}

export interface ProgressOptions {
  readonly stream: ProgressStream;
  /** 0: silent. Else one line per epoch. */
  readonly verbose?: 0 | 1 | 2;
  readonly epochs: number;
  /** Steps of an epoch; null where nobody knows before the end. */
  readonly steps: number | null;
  /** Milliseconds from any origin. Default `performance.now`. */
  readonly now?: () => number;
}

/** Values by name, such as `loss`, `accuracy`, `valLoss`. */
export type Metrics = { readonly [name: string]: number };

export interface Progress {
  /** `epoch` counts from 0. */
  beginEpoch(epoch: number): void;
  /** Whether a step reported now would be drawn: read metrics back from a device only then. */
  due(): boolean;
  /** `done` steps of the epoch are finished. Without `metrics` the last ones stay on the line. */
  step(done: number, metrics?: Metrics): void;
  /** Ends the epoch's line, with all metrics, those of validation included. */
  endEpoch(metrics: Metrics): void;
  /** Leaves the cursor on a line of its own when training ends inside an epoch. Any number of calls. */
  stop(): void;
}

/** What the steps of an epoch take, in milliseconds. */
export class StepTimes {
  finished = 0;
  readonly #now: () => number;
  #began = 0;
  #first: number | null = null;

  constructor(now: () => number) {
    this.#now = now;
  }

  begin(): void {
    [this.finished, this.#began, this.#first] = [0, this.#now(), null];
  }

  step(done: number): void {
    this.finished = done;
    this.#first ??= this.#now();
  }

  /** Since the epoch began. */
  get all(): number {
    return this.#now() - this.#began;
  }

  /** Of one step. The first step plans and compiles, so it counts only while it is the only one. */
  get each(): number {
    const { finished } = this;
    if (this.#first === null || finished === 0) return 0;
    return finished > 1 ? (this.#now() - this.#first) / (finished - 1) : this.#first - this.#began;
  }
}

/** A reporter for one run of `fit`. */
export function progress({ stream, verbose, epochs, now = () => performance.now() }: ProgressOptions): Progress {
  const times = new StepTimes(now);
  let epoch = 0;
  return {
    beginEpoch(index) {
      epoch = index;
      times.begin();
    },
    due: () => false,
    step: (done) => times.step(done),
    endEpoch(metrics) {
      if (verbose === 0) return;
      const parts = [`Epoch ${epoch + 1}/${epochs}`, showSeconds(times.all), showStepTime(times.each), ...showMetrics(metrics)];
      stream.write(`${parts.join(" - ")}\n`);
    },
    stop() {},
  };
}

/** `accuracy: 0.9731`, `loss: 0.0883`, …: by name, those of validation last. */
export function showMetrics(metrics: Metrics): string[] {
  const names = Object.keys(metrics);
  const validation = (name: string): number => Number(/^val[A-Z_]/.test(name));
  names.sort((a, b) => validation(a) - validation(b) || (a < b ? -1 : 1));
  return names.map((name) => `${name}: ${showValue(metrics[name])}`);
}

/** Four decimals, or scientific where they would show little more than zeros. */
function showValue(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Math.abs(value) > 1e-3) return value.toFixed(4);
  return value.toExponential(4).replace(/e([+-])(\d)$/, "e$10$2");
}

/** `7s`, `1:05`, `2:03:04`. */
export function showSeconds(milliseconds: number): string {
  const whole = Math.max(0, Math.round(milliseconds / 1000));
  const two = (n: number): string => String(n).padStart(2, "0");
  if (whole >= 3600) return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return whole >= 60 ? `${Math.floor(whole / 60)}:${two(whole % 60)}` : `${whole}s`;
}

/** `12ms/step` */
export function showStepTime(milliseconds: number): string {
  if (milliseconds >= 1000) return `${Math.round(milliseconds / 1000)}s/step`;
  return milliseconds >= 1 || milliseconds === 0 ? `${Math.round(milliseconds)}ms/step` : `${Math.round(milliseconds * 1000)}us/step`;
}

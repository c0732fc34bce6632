/**
 * @file The progress of `fit`, in Keras' words: on a terminal a bar redrawn in place, elsewhere one line per epoch.
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
  /** 0: silent. 1 (default): a bar on a terminal, else as 2. 2: one line per epoch. */
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

const REDRAW_MS = 100;
const BAR_CELLS = 20;
const MIN_BAR_CELLS = 5;
const DEFAULT_COLUMNS = 80;
const BOLD = "\x1b[1m";
const GREEN = "\x1b[32m";
const GREY = "\x1b[90m";
const RESET = "\x1b[0m";
const CLEAR_TO_END = "\x1b[K";

/** A reporter for one run of `fit`. */
export function progress(options: ProgressOptions): Progress {
  const { stream, verbose = 1, epochs, steps, now = () => performance.now() } = options;
  const silent = verbose === 0;
  const bar = verbose === 1 && stream.isTTY === true;
  let epoch = 0;
  let finished = 0;
  let shown: Metrics = {};
  let began = 0;
  let firstStepAt: number | null = null;
  let drawnAt = -Infinity;
  let open = false;

  /** Milliseconds per step. The first step plans and compiles, so it counts only while it is the only one. */
  function stepTime(time: number): number {
    if (firstStepAt === null || finished === 0) return 0;
    return finished > 1 ? (time - firstStepAt) / (finished - 1) : firstStepAt - began;
  }

  const due = (): boolean => bar && now() - drawnAt >= REDRAW_MS;

  function draw(final: boolean): void {
    const time = now();
    const perStep = stepTime(time);
    const total = final ? finished : steps;
    const seconds = final || steps === null ? (time - began) / 1000 : (perStep * (steps - finished)) / 1000;
    const count = total === null ? `${finished}/?` : `${String(finished).padStart(String(total).length)}/${total}`;
    const fraction = total === null ? null : finished / Math.max(1, total);
    const width = (stream.columns || DEFAULT_COLUMNS) - 1; // a terminal may wrap as soon as its last column is written
    const line = fitLine(count, fraction, `${showSeconds(seconds)} ${showStepTime(perStep)}`, showMetrics(shown), width, final);
    stream.write(`\r${line}${CLEAR_TO_END}`);
    drawnAt = time;
    open = true;
  }

  return {
    beginEpoch(index) {
      epoch = index;
      finished = 0;
      shown = {};
      firstStepAt = null;
      drawnAt = -Infinity;
      began = now();
      if (bar) stream.write(`Epoch ${epoch + 1}/${epochs}\n`);
    },
    due,
    step(done, metrics) {
      finished = done;
      firstStepAt ??= now();
      if (metrics) shown = metrics;
      if (due()) draw(false);
    },
    endEpoch(metrics) {
      shown = metrics;
      if (silent) return;
      if (bar) {
        draw(true);
        stream.write("\n");
        open = false;
      } else {
        const time = now();
        const parts = [
          `Epoch ${epoch + 1}/${epochs}`,
          showSeconds((time - began) / 1000),
          showStepTime(stepTime(time)),
          ...showMetrics(shown),
        ];
        stream.write(`${parts.join(" - ")}\n`);
      }
    },
    stop() {
      if (open) stream.write("\n");
      open = false;
    },
  };
}

/**
 * One line of at most `width` characters: the bar shrinks, then goes, then the timing goes, then metrics from the end. What is
 * `final` is not drawn over and may wrap: it loses the bar only, or what early stopping watches would often be missing.
 */
function fitLine(
  count: string,
  fraction: number | null,
  timing: string,
  metrics: readonly string[],
  width: number,
  final: boolean,
): string {
  const tail = [timing, ...metrics].join(" - ");
  const room = width - count.length - tail.length - 2;
  if (fraction !== null && room >= MIN_BAR_CELLS) {
    return `${BOLD}${count}${RESET} ${showBar(fraction, Math.min(BAR_CELLS, room))} ${tail}`;
  }
  let line = `${count} ${tail}`;
  if (final) return line;
  for (let kept = metrics.length; line.length > width && kept >= 0; kept--) {
    line = [count, ...metrics.slice(0, kept)].join(" - ");
  }
  return line.slice(0, Math.max(0, width));
}

/** Half cells: `━━━━╸━━━━━`, the part to come in grey. */
function showBar(fraction: number, cells: number): string {
  const halves = Math.round(Math.min(1, Math.max(0, fraction)) * cells * 2);
  const done = "━".repeat(halves >> 1) + (halves & 1 ? "╸" : "");
  return `${GREEN}${done}${GREY}${"━".repeat(cells - done.length)}${RESET}`;
}

/** `accuracy: 0.9731`, `loss: 0.0883`, …: by name, those of validation last. */
function showMetrics(metrics: Metrics): string[] {
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
function showSeconds(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (n: number): string => String(n).padStart(2, "0");
  if (whole >= 3600) return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return whole >= 60 ? `${Math.floor(whole / 60)}:${two(whole % 60)}` : `${whole}s`;
}

function showStepTime(milliseconds: number): string {
  if (milliseconds >= 1000) return `${Math.round(milliseconds / 1000)}s/step`;
  return milliseconds >= 1 || milliseconds === 0 ? `${Math.round(milliseconds)}ms/step` : `${Math.round(milliseconds * 1000)}us/step`;
}

/** @file The bar that shows the progress of `fit` on a terminal, redrawn in place: loaded on demand, since pages have no terminal. */
import { showMetrics, showSeconds, showStepTime, StepTimes } from "./progress.ts";
import type { Metrics, Progress, ProgressOptions } from "./progress.ts";

const REDRAW_MS = 100;
const BAR_CELLS = 20;
const MIN_BAR_CELLS = 5;
const DEFAULT_COLUMNS = 80;
const BOLD = "\x1b[1m";
const GREEN = "\x1b[32m";
const GREY = "\x1b[90m";
const RESET = "\x1b[0m";
/** Without colors where the user wants none (https://no-color.org). */
const isPlain = (): boolean => Boolean((globalThis as { process?: { env?: { NO_COLOR?: string } } }).process?.env?.NO_COLOR);
const CLEAR_TO_END = "\x1b[K";

/** A reporter for one run of `fit` on a terminal. */
export function bar({ stream, epochs, steps, now = () => performance.now() }: ProgressOptions): Progress {
  const times = new StepTimes(now);
  let shown: Metrics = {};
  let drawnAt = -Infinity;
  let open = false;

  const due = (): boolean => now() - drawnAt >= REDRAW_MS;

  function draw(final: boolean): void {
    const { finished, each } = times;
    const total = final ? finished : steps;
    const time = final || steps === null ? times.all : each * (steps - finished);
    const count = total === null ? `${finished}/?` : `${String(finished).padStart(String(total).length)}/${total}`;
    const fraction = total === null ? null : finished / Math.max(1, total);
    const width = (stream.columns || DEFAULT_COLUMNS) - 1; // a terminal may wrap as soon as its last column is written
    const line = fitLine(count, fraction, `${showSeconds(time)} ${showStepTime(each)}`, showMetrics(shown), width, final);
    stream.write(`\r${line}${CLEAR_TO_END}`);
    drawnAt = now();
    open = true;
  }

  return {
    beginEpoch(epoch) {
      shown = {};
      drawnAt = -Infinity;
      times.begin();
      stream.write(`Epoch ${epoch + 1}/${epochs}\n`);
    },
    due,
    step(done, metrics) {
      times.step(done);
      if (metrics) shown = metrics;
      if (due()) draw(false);
    },
    endEpoch(metrics) {
      shown = metrics;
      draw(true);
      stream.write("\n");
      open = false;
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
    const shown = isPlain() ? count : `${BOLD}${count}${RESET}`;
    return `${shown} ${showBar(fraction, Math.min(BAR_CELLS, room))} ${tail}`;
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
  // What is to come must differ by more than its color then.
  if (isPlain()) return done + "─".repeat(cells - done.length);
  return `${GREEN}${done}${GREY}${"━".repeat(cells - done.length)}${RESET}`;
}

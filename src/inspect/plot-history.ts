/** @file How a training went, as a drawing: one panel for each log, with that of validation in it. */
import { checkCount, checkFlag, checkOptions, kindOf, unknownName } from "../check.ts";
import { ArgumentError, DataError } from "../index.ts";
import type { History } from "../index.ts";
import { Drawing, textWidth } from "./drawing.ts";
import type { Mark } from "./drawing.ts";
import { validationOf } from "./logs.ts";

/** Options of `plotHistory`. */
export interface PlotHistoryOptions {
  /** Names of logs, each with a panel of its own, in which that of validation is too. Default: all that are numbers. */
  readonly logs?: readonly string[];
  /** Pixels of the whole drawing. Default 640. */
  readonly width?: number;
  /** Pixels of each panel. Default 240. */
  readonly height?: number;
  /**
   * Powers of ten at even distances, for losses that fall over several of them. Panels with numbers of 0 and below stay as they are.
   * Default false.
   */
  readonly logScale?: boolean;
}

const COLORS = { training: "#1f6feb", validation: "#d9480f" };
const GRID = "#ddd";
const MARGIN = { left: 64, right: 16, top: 30, bottom: 34 };
const TICKS = 5;
/** Longer numbers have no room beside the panel. */
const MOST_DIGITS = 7;

interface Series {
  readonly label: string;
  readonly color: string;
  readonly values: readonly number[];
  /** Numbers of the epochs that they are of. */
  readonly epochs: readonly number[];
}

/** Round numbers from below `low` to above `high`, about `count` of them. */
export function ticksOf(low: number, high: number, count: number): number[] {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / Math.max(1, count - 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((m) => m * power >= rough * (1 - 1e-9)) ?? 10);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Epochs of a log that is not there for all of them: those of validation, by `validationFreq`, end with the last. */
function seriesOf(history: History, name: string, label: string, color: string): Series | null {
  const values: unknown = Object.hasOwn(history.history, name) ? history.history[name] : undefined;
  if (!Array.isArray(values) || values.length === 0 || values.some((v) => typeof v !== "number")) return null;
  const { epoch } = history;
  if (values.length === epoch.length) return { label, color, values: values as number[], epochs: epoch };
  // Every so many epochs: where that is not even, the places are not known, and the last ones are taken.
  const every = Math.max(1, Math.floor(epoch.length / values.length));
  return { label, color, values: values as number[], epochs: values.map((_, i) => epoch[Math.min(epoch.length, (i + 1) * every) - 1]) };
}

function panel(name: string, series: readonly Series[], top: number, width: number, height: number, logScale: boolean): Mark[] {
  const finite = series.flatMap((s) => s.values.filter(Number.isFinite));
  if (finite.length === 0) finite.push(0, 1);
  const byPowers = logScale && finite.every((v) => v > 0);
  const scaled = (v: number): number => (byPowers ? Math.log10(v) : v);
  const low = Math.min(...finite.map(scaled));
  const high = Math.max(...finite.map(scaled));
  const ticks = byPowers && high - low >= 1 ? ticksOf(low, high, TICKS).filter(Number.isInteger) : ticksOf(low, high, TICKS);
  const [bottomTick, topTick] = [Math.min(low, ticks[0]), Math.max(high, ticks[ticks.length - 1])];
  const epochs = series.flatMap((s) => s.epochs);
  const [first, last] = [Math.min(...epochs), Math.max(...epochs)];
  const [x0, x1] = [MARGIN.left, width - MARGIN.right];
  const [y0, y1] = [top + height - MARGIN.bottom, top + MARGIN.top];
  // Epochs count from 1 for people, as in the progress line.
  const x = (epoch: number): number => (first === last ? (x0 + x1) / 2 : x0 + ((epoch - first) / (last - first)) * (x1 - x0));
  const y = (value: number): number => y0 + ((scaled(value) - bottomTick) / (topTick - bottomTick || 1)) * (y1 - y0);
  const yOf = (tick: number): number => y0 + ((tick - bottomTick) / (topTick - bottomTick || 1)) * (y1 - y0);
  const marks: Mark[] = [{ type: "text", x: x0, y: top + 18, text: name, bold: true }];
  for (const tick of ticks) {
    const shown = byPowers ? Number((10 ** tick).toPrecision(3)) : Number(tick.toPrecision(6));
    const text = String(shown).length > MOST_DIGITS ? shown.toExponential() : String(shown);
    marks.push({ type: "line", points: [[x0, yOf(tick)], [x1, yOf(tick)]], stroke: GRID });
    marks.push({ type: "text", x: x0 - 6, y: yOf(tick) + 4, text, anchor: "end", fill: "#555" });
  }
  const epochTicks = ticksOf(first + 1, last + 1, Math.min(10, last - first + 1)).filter(
    (t) => Number.isInteger(t) && t > first && t <= last + 1,
  );
  for (const tick of epochTicks)
    marks.push({ type: "text", x: x(tick - 1), y: y0 + 16, text: String(tick), anchor: "middle", fill: "#555" });
  marks.push({ type: "line", points: [[x0, y0], [x1, y0]], stroke: "#888" });
  marks.push({ type: "text", x: (x0 + x1) / 2, y: y0 + 30, text: "epoch", anchor: "middle", fill: "#555" });
  let legend = x1;
  for (const s of [...series].reverse()) {
    legend -= textWidth(s.label);
    marks.push({ type: "text", x: legend, y: top + 18, text: s.label, fill: s.color });
    legend -= 16;
  }
  for (const { values, epochs: at, color } of series) {
    // What is not finite interrupts the line.
    let run: (readonly [number, number])[] = [];
    const end = (): void => {
      if (run.length > 1) marks.push({ type: "line", points: run, stroke: color, width: 2 });
      if (run.length === 1 || values.length <= 30) for (const [px, py] of run) marks.push({ type: "dot", x: px, y: py, fill: color });
      run = [];
    };
    values.forEach((v, i) => (Number.isFinite(v) ? run.push([x(at[i]), y(v)]) : end()));
    end();
  }
  return marks;
}

/**
 * How a training went, as a drawing: a panel for the loss and for each metric, with training and validation in it, over the epochs, which
 * count from 1 here. Logs that are tables or lists (confusionMatrix) have none.
 * @param history what `fit` gave
 * @throws ArgumentError for what is no history, unknown logs and bad options, DataError for a history without an epoch
 * @example plotHistory(await model.fit(x, y, { epochs: 20 })).draw(document.querySelector("canvas"), devicePixelRatio);
 */
export function plotHistory(history: History, options?: PlotHistoryOptions): Drawing {
  const who = "plotHistory";
  const o = checkOptions(who, options, ["logs", "width", "height", "logScale"]);
  const { width = 640, height = 240, logScale = false } = o;
  checkCount(who, "width", width, 120);
  checkCount(who, "height", height, 100);
  checkFlag(who, "logScale", logScale);
  const { epoch, history: byName } = Object(history) as Partial<History>;
  if (!Array.isArray(epoch) || typeof byName !== "object" || byName === null)
    throw new ArgumentError(`${who}: expected what fit() gave, { epoch, history }, got ${kindOf(history)}`);
  if (epoch.length === 0) throw new DataError(`${who}: the history has no epoch`);
  const drawable = Object.keys(byName).filter((name) => seriesOf(history, name, "", "") !== null);
  const isValidation = (name: string): boolean => drawable.some((other) => validationOf(other) === name);
  for (const name of o.logs ?? []) if (!drawable.includes(name)) throw unknownName(who, name, drawable, "log ");
  const names = o.logs ?? drawable.filter((name) => !isValidation(name));
  if (names.length === 0) throw new DataError(`${who}: the history has no log that is one number for each epoch`);
  const marks = names.flatMap((name, i) => {
    const series = [
      seriesOf(history, name, "training", isValidation(name) ? COLORS.validation : COLORS.training),
      isValidation(name) ? null : seriesOf(history, validationOf(name), "validation", COLORS.validation),
    ].filter((s) => s !== null);
    return panel(name, series, i * height, width, height, logScale);
  });
  return new Drawing(
    `Training over ${epoch.length} epoch${epoch.length === 1 ? "" : "s"}: ${names.join(", ")}`,
    width,
    names.length * height,
    marks,
  );
}

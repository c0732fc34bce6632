/** @file Tables and numbers as text. */

/** A column: what stands above it, and whether it is of numbers, which end at one line. */
export interface Column {
  readonly title: string;
  readonly numbers?: boolean;
}

const line = (widths: readonly number[], left: string, middle: string, right: string): string =>
  left + widths.map((w) => "─".repeat(w + 2)).join(middle) + right;

/** Characters that take two places on a terminal: those of East Asia, and pictures. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/gu;
/** Those that take none: they stand over the one before, or join two. */
const NONE = /[\p{Mn}\p{Me}\p{Cf}]/gu;

/** Places that a text takes on a terminal, or where letters are equally wide. */
export const placesOf = (text: string): number => {
  // What most texts are.
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  const seen = text.replace(NONE, "");
  return [...seen].length + (seen.match(WIDE)?.length ?? 0);
};

/** Line ends and what else moves a terminal's cursor, as a place. */
const oneLine = (text: string): string => text.replace(/\p{Cc}+/gu, " ");

/** A table with lines around it, as `summary()` prints. A row that is null is a line across. */
export function showTable(columns: readonly Column[], table: readonly (readonly string[] | null)[]): string {
  const rows = table.map((row) => row?.map(oneLine) ?? null);
  const titles = columns.map(({ title }) => oneLine(title));
  const widths = titles.map((title, c) => rows.reduce((most, r) => Math.max(most, placesOf(r?.[c] ?? "")), placesOf(title)));
  const cells = (row: readonly string[]): string =>
    `│ ${row
      .map((cell, c) => {
        const room = " ".repeat(widths[c] - placesOf(cell));
        return columns[c].numbers ? room + cell : cell + room;
      })
      .join(" │ ")} │`;
  return [
    line(widths, "┌", "┬", "┐"),
    cells(titles),
    line(widths, "├", "┼", "┤"),
    ...rows.map((row) => (row === null ? line(widths, "├", "┼", "┤") : cells(row))),
    line(widths, "└", "┴", "┘"),
  ].join("\n");
}

/** 1,234,567 */
export const showCount = (n: number): string => Math.round(n).toLocaleString("en-US");

/** Sizes, of which null is any; `none` where there are none. */
export const showSizes = (shape: readonly (number | null)[], none: string): string => shape.map((d) => d ?? "any").join(" x ") || none;

/** 1 row, 2 rows. */
export const showMany = (n: number, noun: string): string => `${showCount(n)} ${noun}${n === 1 ? "" : "s"}`;

/** `value` with a prefix of three powers of ten and three digits: 1.23 M. */
export function showMetric(value: number, unit = ""): string {
  const prefixes = ["", "K", "M", "G", "T", "P"];
  let i = 0;
  let v = value;
  for (; v >= 999.5 && i < prefixes.length - 1; i++) v /= 1000;
  const digits = i === 0 ? String(Number(v.toPrecision(3))) : v.toPrecision(3);
  return `${digits} ${prefixes[i]}${unit}`.trimEnd();
}

/** A rate with three digits, and with all before the point where there are more: 0.0123, 1.2, 12,346. */
export const showRate = (rate: number): string => (rate >= 1000 ? showCount(rate) : Number(rate.toPrecision(3)).toString());

/** Milliseconds with three digits: 0.0123 ms, 12.3 ms. */
export const showMs = (ms: number): string =>
  ms === 0 ? "0" : ms >= 100 ? ms.toFixed(0) : ms >= 0.001 ? Number(ms.toPrecision(3)).toString() : ms.toFixed(4);

/** @file Tables and numbers as text. */

/** A column: what stands above it, and whether it is of numbers, which end at one line. */
export interface Column {
  readonly title: string;
  readonly numbers?: boolean;
}

const line = (widths: readonly number[], left: string, middle: string, right: string): string =>
  left + widths.map((w) => "─".repeat(w + 2)).join(middle) + right;

/** A table with lines around it, as `summary()` prints. A row that is null is a line across. */
export function showTable(columns: readonly Column[], rows: readonly (readonly string[] | null)[]): string {
  const widths = columns.map(({ title }, c) => Math.max(title.length, ...rows.map((r) => r?.[c].length ?? 0)));
  const cells = (row: readonly string[]): string =>
    `│ ${row.map((cell, c) => (columns[c].numbers ? cell.padStart(widths[c]) : cell.padEnd(widths[c]))).join(" │ ")} │`;
  return [
    line(widths, "┌", "┬", "┐"),
    cells(columns.map(({ title }) => title)),
    line(widths, "├", "┼", "┤"),
    ...rows.map((row) => (row === null ? line(widths, "├", "┼", "┤") : cells(row))),
    line(widths, "└", "┴", "┘"),
  ].join("\n");
}

/** 1,234,567 */
export const showCount = (n: number): string => Math.round(n).toLocaleString("en-US");

/** `value` with a prefix of three powers of ten and three digits: 1.23 M. */
export function showMetric(value: number, unit = ""): string {
  const prefixes = ["", "K", "M", "G", "T", "P"];
  let i = 0;
  let v = value;
  for (; v >= 999.5 && i < prefixes.length - 1; i++) v /= 1000;
  const digits = i === 0 ? String(Math.round(v)) : v.toPrecision(3);
  return `${digits} ${prefixes[i]}${unit}`.trimEnd();
}

/** Milliseconds with three digits: 0.0123 ms, 12.3 ms. */
export const showMs = (ms: number): string =>
  ms === 0 ? "0" : ms >= 100 ? ms.toFixed(0) : ms >= 0.001 ? Number(ms.toPrecision(3)).toString() : ms.toFixed(4);

/**
 * @file Tables of comma-separated values (RFC 4180) as one matrix of f32. A column whose every cell is a number is
 * numeric; one where no cell is, is categorical and becomes the index of its category. Anything between the two is far
 * more often a fault in the file than an intention, so it is an error unless the caller names the column.
 */
import { checkOneOf, checkOptions, hint } from "../check.ts";
import { ArgumentError, DataError } from "../errors.ts";

/** Options of `parseCsv`. */
export interface CsvOptions {
  /**
   * Whether the first record names the columns. "auto" (default): it does when none of its cells is a number but one of the second record's
   * is.
   */
  readonly header?: boolean | "auto";
  /** One character. Default ",". */
  readonly delimiter?: string;
  /** Columns to return, by name or index, in this order. Default: all. Columns left out may hold anything. */
  readonly columns?: readonly (string | number)[];
  /** Columns to read as categories even where cells look like numbers, by name or index. */
  readonly categorical?: readonly (string | number)[];
  /**
   * What becomes of cells without a value. `"error"` (default): they are refused. `"keep"`: in a column of numbers empty cells, NaN, NA,
   * N/A, null, none and ? become NaN; in one of texts an empty cell is the category "".
   */
  readonly missing?: "error" | "keep";
}

/** A table of numbers: what `parseCsv` read. */
export interface Table {
  /** Names in the order of the matrix. Without a header a column is named by its index: "0", "1", … */
  readonly columns: string[];
  readonly rows: number;
  /** `[rows, columns]`, row-major. */
  readonly values: Float32Array;
  /** For each categorical column its distinct texts, sorted by code unit; a value `i` in the matrix stands for the text `i`. */
  readonly categories: Record<string, string[]>;
}

/** One record: its cells and the line where it starts, counted from 1. */
interface Row {
  readonly line: number;
  readonly cells: readonly string[];
}

const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;
const NOT_A_VALUE = /^([+-]?(nan|inf|infinity)|)$/i;
const MISSING = /^([+-]?nan|#?n\/?a|<na>|null|none|\?|)$/i;

/**
 * Reads a whole table.
 * @throws DataError naming line and column: for a record with more or fewer cells than the first, an empty or NaN or
 * infinite cell, a text in a numeric column or a number in a categorical one, a broken quotation, no rows at all.
 * ArgumentError for an unknown column or a delimiter that is not one character.
 */
export function parseCsv(text: string, options: CsvOptions = {}): Table {
  const {
    header = "auto",
    delimiter = ",",
    columns,
    categorical = [],
    missing = "error",
  } = checkOptions("csv", options, ["header", "delimiter", "columns", "categorical", "missing"]);
  if (typeof text !== "string")
    throw new ArgumentError(
      "csv: expected the text of the table, got " +
        `${ArrayBuffer.isView(text) ? "bytes; decode them with new TextDecoder().decode(bytes)" : typeof text}`,
    );
  if (header !== "auto" && typeof header !== "boolean")
    throw new ArgumentError(`csv: header must be true, false or "auto", got ${JSON.stringify(header)}`);
  checkOneOf("csv", "missing", missing, ["error", "keep"]);
  for (const [what, list] of Object.entries({ columns, categorical }))
    if (list !== undefined && !Array.isArray(list))
      throw new ArgumentError(`csv: ${what} must be a list of names or indices, got ${typeof list}`);
  if (typeof delimiter !== "string" || delimiter.length !== 1 || delimiter === '"' || delimiter === "\n" || delimiter === "\r") {
    throw new ArgumentError(`csv: delimiter must be one character other than a quote or a line break, got ${JSON.stringify(delimiter)}`);
  }
  const rows = records(text, delimiter);
  checkWidth(rows);
  const first = rows.at(0)?.cells ?? [];
  const hasHeader = header === "auto" ? looksLikeHeader(rows) : header;
  const names = hasHeader ? [...first] : first.map((_, i) => String(i));
  if (hasHeader) rows.shift();
  if (rows.length === 0) throw new DataError(`csv: expected at least one row of data, found ${hasHeader ? "only a header" : "none"}`);
  checkNames(names);

  const chosen = columns ? columns.map((c) => columnIndex(c, names)) : names.map((_, i) => i);
  const forced = new Set(categorical.map((c) => columnIndex(c, names)));
  const values = new Float32Array(rows.length * chosen.length);
  const categories: [string, string[]][] = [];
  chosen.forEach((column, at) => {
    const cells = rows.map((row) => row.cells[column]);
    const keep = missing === "keep";
    if (!keep) checkPresent(rows, column, names);
    const said = keep ? rows.filter((row) => !MISSING.test(row.cells[column].trim())) : rows;
    if (!forced.has(column) && (said.length === 0 || isNumeric(said, column, names))) {
      for (let i = 0; i < rows.length; i++) values[i * chosen.length + at] = keep && MISSING.test(cells[i].trim()) ? NaN : Number(cells[i]);
      checkFinite(said, column, names);
    } else {
      const own = keep ? cells.map((cell) => (cell.trim() === "" ? "" : cell)) : cells;
      const texts = [...new Set(own)].sort();
      const index = new Map(texts.map((t, i) => [t, i]));
      for (let i = 0; i < rows.length; i++) values[i * chosen.length + at] = index.get(own[i])!;
      categories.push([names[column], texts]);
    }
  });
  return { columns: chosen.map((i) => names[i]), rows: rows.length, values, categories: Object.fromEntries(categories) };
}

/** Cells of the first record; none of an empty text. @throws DataError for a broken quotation */
export const firstRecord = (text: string, delimiter: string): readonly string[] => records(text, delimiter, 1)[0]?.cells ?? [];

/** Splits text into records, at most so many. Lines may end in LF, CR LF or CR; empty lines at the end are no records. */
function records(text: string, delimiter: string, most = Infinity): Row[] {
  let end = text.length;
  while (end > 0 && isBreak(text[end - 1])) end--;
  const rows: Row[] = [];
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  let line = 1;
  while (at < end && rows.length < most) {
    const start = line;
    const cells: string[] = [];
    for (;;) {
      let cell: string;
      if (text[at] === '"') {
        const close = closingQuote(text, at, end, line);
        cell = text.slice(at + 1, close).replaceAll('""', '"');
        line += lineBreaks(cell);
        at = close + 1;
        if (at < end && text[at] !== delimiter && !isBreak(text[at])) {
          throw new DataError(
            `csv: line ${line}: expected ${JSON.stringify(delimiter)} or the end of the line after a closing quote, found ` +
              `${JSON.stringify(text[at])}`,
          );
        }
      } else {
        const begin = at;
        while (at < end && text[at] !== delimiter && !isBreak(text[at])) at++;
        cell = text.slice(begin, at);
        if (cell.includes('"')) {
          throw new DataError(
            `csv: line ${line}: a cell with quotes must be quoted as a whole and its quotes doubled, found ${JSON.stringify(cell)}`,
          );
        }
      }
      cells.push(cell);
      if (at >= end || text[at] !== delimiter) break;
      at++;
    }
    rows.push({ line: start, cells });
    if (text[at] === "\r" && text[at + 1] === "\n") at++;
    at++;
    line++;
  }
  return rows;
}

function isBreak(character: string): boolean {
  return character === "\n" || character === "\r";
}

function lineBreaks(text: string): number {
  return text.match(/\r\n|\n|\r/g)?.length ?? 0;
}

function closingQuote(text: string, open: number, end: number, line: number): number {
  for (let at = open + 1; ; at += 2) {
    at = text.indexOf('"', at);
    if (at < 0 || at >= end) throw new DataError(`csv: line ${line}: expected a closing quote, found the end of the text`);
    if (text[at + 1] !== '"') return at;
  }
}

function checkWidth(rows: readonly Row[]): void {
  for (const { line, cells } of rows) {
    if (cells.length !== rows[0].cells.length) {
      const found = cells.length === 1 && cells[0] === "" ? "an empty line" : `${cells.length}`;
      throw new DataError(`csv: line ${line}: expected ${rows[0].cells.length} cells as in the first record, found ${found}`);
    }
  }
}

function looksLikeHeader(rows: readonly Row[]): boolean {
  return rows.length > 1 && !rows[0].cells.some(isNumber) && rows[1].cells.some(isNumber);
}

function isNumber(cell: string): boolean {
  return NUMBER.test(cell.trim());
}

function checkNames(names: readonly string[]): void {
  const seen = new Set<string>();
  const twice = names.find((name) => seen.size === seen.add(name).size);
  if (twice !== undefined) throw new DataError(`csv: line 1: column names must be unique, found ${JSON.stringify(twice)} twice`);
}

function columnIndex(column: string | number, names: readonly string[]): number {
  const index = typeof column === "number" ? column : names.indexOf(column);
  if (!(index in names)) {
    throw new ArgumentError(
      `csv: no column ${JSON.stringify(column)}; ${hint(String(column), names)}the columns are ` +
        `${names.map((n) => JSON.stringify(n)).join(", ")}`,
    );
  }
  return index;
}

/** "line 7, column "age"", as it stands in error texts. */
function place(row: Row, column: number, names: readonly string[]): string {
  return `csv: line ${row.line}, column ${JSON.stringify(names[column])}`;
}

function checkPresent(rows: readonly Row[], column: number, names: readonly string[]): void {
  for (const row of rows) {
    const cell = row.cells[column];
    if (NOT_A_VALUE.test(cell.trim())) {
      throw new DataError(
        `${place(row, column, names)}: expected a value, found ${cell === "" ? "an empty cell" : JSON.stringify(cell)}; fill in or ` +
          "drop missing values first",
      );
    }
  }
}

/** Whether a column holds numbers. The smaller part of a mixed one is taken to be the fault. */
function isNumeric(rows: readonly Row[], column: number, names: readonly string[]): boolean {
  const numbers = rows.reduce((count, row) => count + Number(isNumber(row.cells[column])), 0);
  if (numbers === rows.length || numbers === 0) return numbers > 0;
  const mostly = numbers * 2 >= rows.length;
  const odd = rows.find((row) => isNumber(row.cells[column]) !== mostly)!;
  throw new DataError(
    `${place(odd, column, names)}: expected a ${mostly ? "number" : "text"} like most of the column, found ` +
      `${JSON.stringify(odd.cells[column])}; ` +
      "name the column in `categorical` to read all of it as text",
  );
}

function checkFinite(rows: readonly Row[], column: number, names: readonly string[]): void {
  for (const row of rows) {
    if (!Number.isFinite(Math.fround(Number(row.cells[column])))) {
      throw new DataError(
        `${place(row, column, names)}: expected a number in the range of f32, found ${JSON.stringify(row.cells[column])}`,
      );
    }
  }
}

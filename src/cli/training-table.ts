/** @file A table to be trained on: which columns are read and how, what its target is, and what becomes of gaps. */
import type { Table } from "../data/index.ts";
import { Failure, UsageError } from "./command.ts";
import type { Given, Output } from "./command.ts";
import { checkTexts, columnOf, encodeTable, fewNumbers, presentOf, readTable, widthOf } from "./tabular.ts";
import type { Column, Encoded, Recipe } from "./tabular.ts";
import type { Csv } from "./texts.ts";

/** Fewer rows leave nothing to measure with. */
const LEAST_ROWS = 10;
/** The most numbers of a whole table: 1 GB. */
const MOST_NUMBERS = 2 ** 28;
/** From so many different texts on it is looked whether a column says something. */
const MANY_TEXTS = 20;

const quoted = (names: readonly string[]): string => names.map((name) => JSON.stringify(name)).join(", ");

/** What is done about cells without a value. */
type Missing = "fill" | "drop" | null;

function missingOf(given: Given): Missing {
  const missing = given.text("missing") ?? null;
  if (missing !== null && missing !== "fill" && missing !== "drop")
    throw new UsageError(`--missing must be fill or drop, got ${JSON.stringify(missing)}`);
  return missing;
}

/** Names of columns that an option has; a name may have commas itself. @throws Failure */
function namesOf(given: Given, option: string, { path, header }: Csv): readonly string[] {
  const names = given
    .texts(option)
    .flatMap((text) => (header.includes(text) ? [text] : text.split(",").map((part) => part.trim())))
    .filter((name) => name !== "");
  const unknown = names.find((name) => !header.includes(name));
  if (unknown !== undefined) throw new Failure(`${path} has no column ${JSON.stringify(unknown)}; there are ${header.join(", ")}`);
  return names;
}

/** Rows of a column that have no value. */
function gapsOf(table: Table, name: string): number[] {
  const blank = Object.hasOwn(table.categories, name) ? table.categories[name].indexOf("") : NaN;
  const rows: number[] = [];
  columnOf(table, name).forEach((v, i) => Object.is(v, blank) && rows.push(i));
  return rows;
}

/** The rows that are trained on: those with a target, and where gaps are to be dropped those without any. @throws Failure */
function keptRows({ path }: Csv, table: Table, target: string, missing: Missing, out: Output): readonly number[] {
  const gaps = table.columns.map((name) => ({ name, rows: gapsOf(table, name) })).filter(({ rows }) => rows.length > 0);
  const empty = gaps.find(({ rows }) => rows.length === table.rows);
  if (empty !== undefined) throw new Failure(`${path}: column ${JSON.stringify(empty.name)} has no values; --exclude ${empty.name}`);
  if (gaps.length > 0 && missing === null) {
    const said = gaps
      .map(({ name, rows }) => `${JSON.stringify(name)} in ${rows.length} rows, the first being row ${rows[0] + 1}`)
      .join("; ");
    throw new Failure(
      `${path}: some of the ${table.rows} rows have no value in a column: ${said}\n` +
        "  --missing fill takes the mean of the column, and for texts a category of its own\n" +
        "  --missing drop leaves such rows out\n" +
        "  --exclude leaves columns out",
    );
  }
  const dropped = new Set(gaps.filter(({ name }) => missing === "drop" || name === target).flatMap(({ rows }) => rows));
  if (dropped.size > 0) out.note(`${dropped.size} of ${table.rows} rows are left out: they have no value in a column`);
  return Array.from({ length: table.rows }, (_, i) => i).filter((i) => !dropped.has(i));
}

/** Texts of a column that are in these rows, numbers in their order. */
function textsIn(table: Table, name: string, rows: readonly number[]): string[] {
  const values = columnOf(table, name);
  const there = new Set(rows.map((i) => values[i]));
  const texts = table.categories[name].filter((_, i) => there.has(i));
  return texts.every((t) => t.trim() !== "" && Number.isFinite(Number(t))) ? texts.sort((a, b) => Number(a) - Number(b)) : texts;
}

/** Names of the classes of the target; undefined where it is of numbers. @throws Failure, UsageError */
function classesOf(csv: Csv, table: Table, target: string, rows: readonly number[], given: Given, out: Output): string[] | undefined {
  const task = given.text("task");
  if (task !== undefined && task !== "classification" && task !== "regression")
    throw new UsageError(`--task must be classification or regression, got ${JSON.stringify(task)}`);
  const all = columnOf(table, target);
  const values = rows.map((i) => all[i]);
  const isText = Object.hasOwn(table.categories, target);
  if (isText && task === "regression") throw new Failure(`the target ${target} is of texts, which are classes and no numbers`);
  const distinct = new Set(values).size;
  if (distinct === 1) {
    const [value] = isText ? textsIn(table, target, rows).map((t) => JSON.stringify(t)) : values;
    throw new Failure(`the target ${target} is ${value} in every row`);
  }
  if (!isText && task !== "classification" && (task === "regression" || !fewNumbers(values))) return undefined;
  const own = isText ? table : readTable(csv, { columns: [target], categorical: [target], missing: "keep" });
  const classes = textsIn(own, target, rows);
  if (classes.length !== distinct)
    throw new Failure(`${csv.path}: the target ${target} has numbers that are written in several ways: ${quoted(classes.slice(0, 20))}`);
  if (classes.length > rows.length / 2)
    throw new Failure(`the target ${target} has ${classes.length} different values in ${rows.length} rows: too many to be told apart`);
  if (!isText && task === undefined)
    out.note(`the target has ${classes.length} whole numbers: taken for classes; --task regression for numbers`);
  return classes;
}

/** Says what of the columns is of little use. */
function tellOf(table: Table, columns: readonly Column[], rows: readonly number[], out: Output): void {
  const isConstant = ({ name }: Column): boolean => {
    const values = columnOf(table, name);
    return rows.every((i) => Object.is(values[i], values[rows[0]]));
  };
  const constant = columns.filter(isConstant).map((c) => c.name);
  if (constant.length > 0) out.note(`the same in every row, and so of no use: ${constant.join(", ")}`);
  for (const { name, categories = [] } of columns)
    if (categories.length > MANY_TEXTS && categories.length > rows.length / 2)
      out.note(
        `column ${JSON.stringify(name)} has ${categories.length} different texts in ${rows.length} rows, such as ` +
          `${JSON.stringify(categories[0])}: of those that come once nothing is learned; --exclude it, or give its parts as columns`,
      );
}

/**
 * Reads the table, and decides what its target is. Numbers that are missing are NaN, and the recipe has no `fill` yet that is a number:
 * that is known when the rows to be trained on are.
 */
export function prepare(csv: Csv, given: Given, out: Output): { recipe: Recipe; encoded: Encoded } {
  const { path, header } = csv;
  const target = given.text("target");
  if (target === undefined) throw new UsageError(`say which column is to be predicted: --target COLUMN; there are ${header.join(", ")}`);
  if (!header.includes(target)) {
    const what =
      header.length === 1 ? `${path} has one column, ${JSON.stringify(header[0])}: say what is between cells by --delimiter` : "";
    const unnamed = header.some((name) => name !== "" && Number.isFinite(Number(name))) ? "; the first line must name the columns" : "";
    throw new Failure(what || `${path} has no column ${JSON.stringify(target)}; there are ${header.join(", ")}${unnamed}`);
  }
  const excluded = namesOf(given, "exclude", csv);
  if (excluded.includes(target)) throw new UsageError(`the target ${target} cannot be excluded`);
  const unnamed = header.indexOf("");
  if (unnamed >= 0) out.note(`column ${unnamed + 1} has no name and is left out`);
  const names = header.filter((name) => name !== "" && !excluded.includes(name));
  if (names.length < 2) throw new Failure("there is no column left to predict from");
  const missing = missingOf(given);
  const categorical = namesOf(given, "categorical", csv).filter((name) => names.includes(name));
  const table = readTable(csv, { columns: names, categorical, missing: "keep" });
  checkTexts(csv, table);
  const rows = keptRows(csv, table, target, missing, out);
  if (rows.length < LEAST_ROWS)
    throw new Failure(`${rows.length} rows are too few to train and to measure with; expected ${LEAST_ROWS} at least`);
  const classes = classesOf(csv, table, target, rows, given, out);
  const columns = names
    .filter((name) => name !== target)
    .map((name): Column => {
      if (Object.hasOwn(table.categories, name)) return { name, categories: textsIn(table, name, rows) };
      return missing === "fill" ? { name, fill: NaN } : { name };
    });
  const width = widthOf(columns);
  if (rows.length * width > MOST_NUMBERS) {
    const [widest] = [...columns].sort((a, b) => (b.categories?.length ?? 1) - (a.categories?.length ?? 1));
    throw new Failure(
      `${path}: ${rows.length} rows of ${width} numbers each are too many; column ${JSON.stringify(widest.name)} alone has ` +
        `${widest.categories?.length ?? 1} different texts: --exclude ${widest.name}`,
    );
  }
  tellOf(table, columns, rows, out);
  const recipe: Recipe = { version: 1, target, columns, ...(classes !== undefined && { classes }) };
  return { recipe, encoded: encodeTable(csv, recipe, true, rows) };
}

/** Means of columns over rows that have them, and variances; one that is always the same counts as it is. */
export function statistics(data: Float32Array, width: number): { mean: number[]; variance: number[] } {
  const columns = Array.from({ length: width }, (_, c) =>
    presentOf(Float32Array.from({ length: data.length / width }, (_r, i) => data[i * width + c])),
  );
  const mean = columns.map((values) => values.reduce((a, b) => a + b, 0) / (values.length || 1));
  const variance = columns.map((values, c) => {
    // Sums are rounded: of equal numbers the mean may be another.
    if (values.every((v) => v === values[0])) return 1;
    return values.reduce((sum, v) => sum + (v - mean[c]) ** 2, 0) / values.length;
  });
  return { mean, variance };
}

/** The deviations that normalization and targets of 32 bits have room for, and what of its size a column must differ by at least. */
const DEVIATIONS = [1e-6, 1e18] as const;
const LEAST_PART = 1e-5;

/** Looks at how columns of numbers are spread. @throws Failure for what floats of 32 bits would make nothing of */
export function checkScales(
  path: string,
  { columns }: Pick<Recipe, "columns">,
  { mean, variance }: ReturnType<typeof statistics>,
  out: Output,
): void {
  let at = 0;
  for (const column of columns) {
    const [size, deviation] = [Math.abs(mean[at]), Math.sqrt(variance[at])];
    at += widthOf([column]);
    if (column.categories !== undefined) continue;
    const name = JSON.stringify(column.name);
    if (deviation < DEVIATIONS[0] || deviation > DEVIATIONS[1])
      throw new Failure(`${path}: numbers of column ${name} deviate by ${deviation.toPrecision(2)}; give it in another unit`);
    if (deviation < LEAST_PART * size)
      out.note(
        `column ${name} differs by little for its size, of which floats of 32 bits keep few digits: subtract what all have in common`,
      );
  }
}

/** Puts the means of the rows that are trained on where numbers are missing, and says in the recipe what they are. */
export function filled(recipe: Recipe, mean: readonly number[], ...parts: readonly Float32Array[]): Recipe {
  for (const data of parts) for (let i = 0; i < data.length; i++) if (Number.isNaN(data[i])) data[i] = mean[i % mean.length];
  let at = 0;
  const columns = recipe.columns.map((column): Column => {
    const own = mean[at];
    at += widthOf([column]);
    return column.fill === undefined ? column : { ...column, fill: own };
  });
  return { ...recipe, columns };
}

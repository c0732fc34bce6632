/**
 * @file Tables as what a model reads: columns of numbers as they are, columns of texts as one number for each category, 0 or 1. What a
 * model was trained with is kept in its file, so that other tables become the same.
 */
import type { Model } from "../index.ts";
import { parseCsv } from "../data/index.ts";
import type { Table } from "../data/index.ts";
import { checksum } from "../io/checksum.ts";
import { naming } from "../naming.ts";
import { Failure } from "./command.ts";
import type { Csv } from "./texts.ts";

/** One column that a model reads. */
export interface Column {
  readonly name: string;
  /** Its texts; absent: it is of numbers. */
  readonly categories?: readonly string[];
  /** Of numbers: what stands for a cell without one. Absent: each row must have its number. */
  readonly fill?: number;
}

/** What a model was trained with. */
export interface Recipe {
  readonly version: 1;
  readonly target: string;
  readonly columns: readonly Column[];
  /** Of a classifier, the names of what it tells apart. */
  readonly classes?: readonly string[];
}

/** Rows for a model. */
export interface Encoded {
  readonly x: { readonly data: Float32Array; readonly shape: readonly [number, number] };
  /** Class numbers, or numbers; null where they were not asked for. */
  readonly y: Float32Array | null;
}

/** How many numbers a row becomes. */
export const widthOf = (columns: readonly Column[]): number => columns.reduce((n, c) => n + (c.categories?.length ?? 1), 0);

/** The most texts that an error lists. */
const MOST_SHOWN = 20;

const quoted = (text: string): string => (text === "" ? "an empty cell" : JSON.stringify(text));
const listed = (names: readonly string[]): string => names.map((name) => (name === "" ? '""' : name)).join(", ");

/** Whether these numbers stand for kinds of things: few different whole ones. */
export const fewNumbers = (values: ArrayLike<number>): boolean => {
  const distinct = new Set(Array.from(values));
  return distinct.size <= 10 && distinct.size >= 2 && [...distinct].every(Number.isInteger);
};

/** One column of a table. */
export function columnOf({ columns, rows, values }: Table, name: string): Float32Array {
  const at = columns.indexOf(name);
  return Float32Array.from({ length: rows }, (_, i) => values[i * columns.length + at]);
}

/** Numbers of a column without those that are missing. */
export const presentOf = (values: Float32Array): Float32Array => values.filter((v) => !Number.isNaN(v));

/** Reads a table. @throws DataError as `parseCsv`, naming the file */
export const readTable = (csv: Csv, options: NonNullable<Parameters<typeof parseCsv>[1]>): Table =>
  naming(csv.path, () => parseCsv(csv.text, { header: true, delimiter: csv.delimiter, ...options }));

/** @throws Failure for texts that are numbers as other countries write them */
export function checkTexts({ path }: Csv, { categories }: Table): void {
  const commas = Object.keys(categories).find((name) => categories[name].every((t) => /^[+-]?[\d.]*\d,\d+$/.test(t)));
  if (commas === undefined) return;
  const such = categories[commas][0];
  throw new Failure(`${path}: column ${JSON.stringify(commas)} has numbers with commas, such as ${such}; write them with points`);
}

/**
 * Reads a table as the recipe says. `withTarget`: also what is to be predicted; `only`: these rows alone. @throws DataError as `parseCsv`;
 * Failure for columns that are missing or of another kind, and texts that are not known
 */
export function encodeTable(csv: Csv, recipe: Recipe, withTarget: boolean, only?: readonly number[]): Encoded {
  const { columns, target, classes } = recipe;
  const { path, header } = csv;
  const wanted = [...columns.map((c) => c.name), ...(withTarget ? [target] : [])];
  const missing = wanted.find((name) => !header.includes(name));
  if (missing !== undefined) {
    const why = missing === target ? "is what the model predicts" : `the model was trained with: ${listed(columns.map((c) => c.name))}`;
    throw new Failure(`${path} has no column ${JSON.stringify(missing)}, which ${why}; it has ${listed(header)}`);
  }
  const texts = columns.filter((c) => c.categories !== undefined).map((c) => c.name);
  const gaps = only !== undefined || columns.some((c) => c.fill !== undefined || c.categories?.includes("") === true);
  const table = readTable(csv, {
    columns: wanted,
    categorical: [...texts, ...(withTarget && classes !== undefined ? [target] : [])],
    missing: gaps ? "keep" : "error",
  });
  const rows = only ?? Array.from({ length: table.rows }, (_, i) => i);
  const valuesOf = (name: string): Float32Array => {
    const all = columnOf(table, name);
    return only === undefined ? all : Float32Array.from(only, (i) => all[i]);
  };
  const where = (name: string, i: number): string => `${path}: row ${rows[i] + 1} has in column ${JSON.stringify(name)}`;
  /** Places of texts among those that are known. */
  const placesOf = (name: string, known: readonly string[]): Float32Array => {
    const own = table.categories[name];
    const places = own.map((t) => known.indexOf(t));
    const values = valuesOf(name);
    const unknown = values.findIndex((v) => places[v] < 0);
    if (unknown < 0) return values.map((v) => places[v]);
    const shown = known.length > MOST_SHOWN ? `${listed(known.slice(0, MOST_SHOWN))} and ${known.length - MOST_SHOWN} more` : listed(known);
    throw new Failure(`${where(name, unknown)} ${quoted(own[values[unknown]])}, which the model was not trained with: it knows ${shown}`);
  };
  const numbersOf = (name: string, fill?: number): Float32Array => {
    const values = valuesOf(name);
    if (Object.hasOwn(table.categories, name))
      throw new Failure(`${where(name, 0)} ${quoted(table.categories[name][values[0]])}; the model was trained with numbers there`);
    const gap = fill === undefined ? values.findIndex(Number.isNaN) : -1;
    if (gap >= 0) throw new Failure(`${where(name, gap)} no value, which no row had in training`);
    return fill === undefined ? values : values.map((v) => (Number.isNaN(v) ? fill : v));
  };
  const width = widthOf(columns);
  const data = new Float32Array(rows.length * width);
  let at = 0;
  for (const { name, categories, fill } of columns) {
    if (categories === undefined) numbersOf(name, fill).forEach((v, i) => (data[i * width + at] = v));
    else placesOf(name, categories).forEach((place, i) => (data[i * width + at + place] = 1));
    at += categories?.length ?? 1;
  }
  const y = withTarget ? (classes === undefined ? numbersOf(target) : placesOf(target, classes)) : null;
  return { x: { data, shape: [rows.length, width] }, y };
}

/** A file of a model with its recipe. */
export async function encodeWithRecipe(model: Model, recipe: Recipe): Promise<Uint8Array> {
  const { readSafetensors, writeSafetensors } = await import("../safetensors/index.ts");
  const { metadata, tensors } = await readSafetensors(await model.toBytes({ optimizer: false }), { raw: true });
  const said: { [key: string]: string } = { ...metadata, table: JSON.stringify(recipe) };
  said.checksum = checksum(
    said,
    [...tensors].map(([name, t]) => [name, t, t.bytes]),
  );
  return writeSafetensors(tensors, said);
}

/** The recipe in a file; null where there is none. */
export async function recipeIn(path: string): Promise<Recipe | null> {
  const { openSafetensors } = await import("../safetensors/index.ts");
  const { metadata } = await openSafetensors(path);
  if (metadata.table === undefined) return null;
  const recipe = JSON.parse(metadata.table) as Recipe;
  if (recipe.version !== 1 || !Array.isArray(recipe.columns)) throw new Failure(`${path}: what it says of its table is of another version`);
  return recipe;
}

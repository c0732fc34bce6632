/**
 * @file Tables as what a model reads: columns of numbers as they are, columns of texts as one number for each category, 0 or 1. What a
 * model was trained with is kept in its file, so that other tables become the same.
 */
import type { Model } from "../index.ts";
import { parseCsv } from "../data/index.ts";
import type { Table } from "../data/index.ts";
import { checksum } from "../io/checksum.ts";
import { readBytes } from "../node/files.ts";
import { Failure } from "./command.ts";

/** One column that a model reads. */
interface Column {
  readonly name: string;
  /** Its texts; absent: it is of numbers. */
  readonly categories?: readonly string[];
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
  /** Class numbers, or numbers; null where the table has no such column. */
  readonly y: Float32Array | null;
}

const widthOf = ({ columns }: Recipe): number => columns.reduce((n, c) => n + (c.categories?.length ?? 1), 0);

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

/** What a table is trained with. */
export function recipeOf(table: Table, target: string, classes: readonly string[] | undefined): Recipe {
  const columns = table.columns
    .filter((name) => name !== target)
    .map((name): Column => (Object.hasOwn(table.categories, name) ? { name, categories: table.categories[name] } : { name }));
  return { version: 1, target, columns, ...(classes !== undefined && { classes }) };
}

/** Reads a table as the recipe says. @throws DataError as `parseCsv`; Failure for columns that are missing and texts that are not known */
export function encodeTable(text: string, recipe: Recipe, delimiter: string): Encoded {
  const { columns, target, classes } = recipe;
  const texts = columns.filter((c) => c.categories !== undefined).map((c) => c.name);
  // The target need not be there: that is what a model is asked for.
  const header = parseHeader(text, delimiter);
  const missing = columns.find((c) => !header.includes(c.name));
  if (missing !== undefined)
    throw new Failure(
      `the table has no column ${JSON.stringify(missing.name)}; the model was trained with ${columns.map((c) => c.name).join(", ")}`,
    );
  const known = header.includes(target);
  const table = parseCsv(text, {
    header: true,
    delimiter,
    columns: [...columns.map((c) => c.name), ...(known ? [target] : [])],
    categorical: [...texts, ...(known && classes !== undefined ? [target] : [])],
  });
  const width = widthOf(recipe);
  const data = new Float32Array(table.rows * width);
  let at = 0;
  for (const { name, categories } of columns) {
    const values = columnOf(table, name);
    const places = categories === undefined ? null : table.categories[name].map((t) => categories.indexOf(t));
    const unknown = places?.indexOf(-1) ?? -1;
    if (unknown >= 0)
      throw new Failure(
        `column ${JSON.stringify(name)} has ${JSON.stringify(table.categories[name][unknown])}, which the model was not trained with`,
      );
    for (let i = 0; i < table.rows; i++) {
      if (places === null) data[i * width + at] = values[i];
      else data[i * width + at + places[values[i]]] = 1;
    }
    at += categories?.length ?? 1;
  }
  let y: Float32Array | null = null;
  if (known) {
    y = columnOf(table, target);
    if (classes !== undefined) {
      const places = table.categories[target].map((t) => classes.indexOf(t));
      const unknown = places.indexOf(-1);
      if (unknown >= 0)
        throw new Failure(`the target has ${JSON.stringify(table.categories[target][unknown])}, which is none of ${classes.join(", ")}`);
      y = y.map((v) => places[v]);
    }
  }
  return { x: { data, shape: [table.rows, width] }, y };
}

/** Names of the columns, without reading the rest. */
export function parseHeader(text: string, delimiter: string): readonly string[] {
  const first = parseCsv(text.slice(0, /[\r\n]/.exec(text)?.index ?? text.length), { header: false, delimiter });
  return first.columns.map((column, i) => first.categories[column]?.[0] ?? String(first.values[i]));
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
  if (!/\.safetensors$/i.test(path)) return null;
  const { readSafetensors } = await import("../safetensors/index.ts");
  const { metadata } = await readSafetensors(await readBytes(path), { names: [] });
  if (metadata.table === undefined) return null;
  const recipe = JSON.parse(metadata.table) as Recipe;
  if (recipe.version !== 1 || !Array.isArray(recipe.columns)) throw new Failure(`${path}: what it says of its table is of another version`);
  return recipe;
}

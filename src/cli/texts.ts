/** @file Files of text: what their bytes mean, tables of comma-separated values among them. */
import { naming } from "../naming.ts";
import { firstRecord } from "../data/csv.ts";
import { Failure, UsageError } from "./command.ts";
import { readFile } from "./paths.ts";

/** Bytes as text: UTF-8, or UTF-16 where a mark at the beginning says so. @throws Failure for what is neither */
export function decodeText(path: string, bytes: Uint8Array): string {
  const [first, second] = bytes;
  const utf16 = first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : null;
  try {
    return new TextDecoder(utf16 ?? "utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Failure(`${path} is no text in UTF-8; save it as UTF-8 (iconv -f latin1 -t utf-8 of older programs' files)`);
  }
}

/** Reads a file of text. @throws FileError, Failure */
export const readText = async (path: string): Promise<string> => decodeText(path, await readFile(path));

/** A table as text. */
export interface Csv {
  readonly path: string;
  readonly text: string;
  readonly delimiter: string;
  /** Names of its columns. */
  readonly header: readonly string[];
}

/** Whether a name is that of a table. */
export const isTable = (path: string): boolean => /\.[ct]sv$/i.test(path);

/** What is between cells where nobody says it, in the order in which it is looked for. */
const DELIMITERS = [",", ";", "\t"];

/** How the help says what is taken for it. */
export const DELIMITER_HELP = "tables: between cells; default a comma, a semicolon or a tab, as the first line has it";

/** Opens a table. @throws FileError, Failure, UsageError for a delimiter that is none, DataError for a broken quotation */
export async function openCsv(path: string, said: string | undefined): Promise<Csv> {
  const given = said === "\\t" || said === "tab" ? "\t" : said;
  if (given !== undefined && (given.length !== 1 || /["\r\n]/.test(given)))
    throw new UsageError(`--delimiter must be one character such as ";", or tab, got ${JSON.stringify(said)}`);
  const text = await readText(path);
  if (text.trim() === "") throw new Failure(`${path} is empty`);
  const delimiter = given ?? DELIMITERS.reduce((best, d) => (cellsBy(text, d) > cellsBy(text, best) ? d : best));
  return { path, text, delimiter, header: naming(path, () => firstRecord(text, delimiter)) };
}

/** How many cells the first line has with this between them. */
function cellsBy(text: string, delimiter: string): number {
  try {
    return firstRecord(text, delimiter).length;
  } catch {
    return 0;
  }
}

/** A cell of a table that is written. */
export const csvCell = (value: string, delimiter: string): string =>
  value.includes(delimiter) || /["\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;

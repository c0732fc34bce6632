/** @file The callback that writes the logs of epochs to a table of comma-separated values. */
import { ArgumentError, FileError } from "../index.ts";
import type { Callback, Logs, TrainingHandle } from "../index.ts";
import { optionsOf } from "../options.ts";
import { append, overwrite, readIfThere } from "./files.ts";
import { validationOf } from "./logs.ts";

/** Options of `csvLogger`. */
export interface CsvLoggerOptions {
  /** Between cells. Default ",". */
  readonly separator?: string;
  /** Write behind what the file has, whose first line names the columns. Default false: begin anew. */
  readonly append?: boolean;
}

const cell = (value: unknown, separator: string): string => {
  const text = value === undefined ? "NA" : typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.includes(separator) || /["\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** The columns for logs of an epoch: those of validation also where `validationFreq` leaves it out in this one. */
function columnsOf(logs: Logs, { validates }: TrainingHandle): string[] {
  const names = Object.keys(logs);
  return ["epoch", ...names, ...(validates ? [] : names.map(validationOf))];
}

/**
 * Writes the logs of each epoch to a CSV file, as Keras' `CSVLogger`: a line of names, `epoch` first, which counts from 0, then a line for
 * each epoch, written when it ends. `NA` stands where an epoch has no such log. Needs a file system (Node, Deno, Bun).
 * @param filename a path or file: URL
 * @throws ArgumentError for bad options; during training FileError where writing fails, and for a file whose columns are others
 */
export function csvLogger(filename: string | URL, options?: CsvLoggerOptions): Callback {
  const o = optionsOf<Required<CsvLoggerOptions>>("csvLogger", { separator: ",", append: false }, options);
  const { separator } = o;
  if (!(filename instanceof URL) && (typeof filename !== "string" || filename === ""))
    throw new ArgumentError(`csvLogger: expected the path of a file, got ${filename === "" ? "an empty text" : String(filename)}`);
  if (typeof separator !== "string" || separator.length !== 1)
    throw new ArgumentError(`csvLogger: separator must be one character, got ${JSON.stringify(separator)}`);
  let columns: readonly string[] | null = null;
  return {
    async onTrainBegin() {
      columns = null;
      const before = o.append ? await readIfThere(filename) : null;
      if (before !== null && before.length > 0) {
        const [header] = new TextDecoder().decode(before).split(/\r?\n/, 1);
        columns = header.split(separator);
        if (before.at(-1) !== 10) await append(filename, "\n");
      } else await overwrite(filename, "");
    },
    async onEpochEnd(epoch, logs, training) {
      const own = columnsOf(logs, training);
      let text = "";
      if (columns === null) {
        columns = own;
        text = `${own.map((name) => cell(name, separator)).join(separator)}\n`;
      }
      const missing = own.find((name) => Object.hasOwn(logs, name) && !columns?.includes(name));
      if (missing !== undefined)
        throw new FileError(`csvLogger: "${String(filename)}" has the columns ${columns.join(", ")}, and none for "${missing}"`);
      const values: { readonly [name: string]: unknown } = { ...logs, epoch };
      await append(filename, `${text}${columns.map((name) => cell(values[name], separator)).join(separator)}\n`);
    },
  };
}

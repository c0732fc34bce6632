/** @file What a command of the command line is: its options, how they are read, and what `--help` says of it. */
import { hint } from "../check.ts";

/** Something that the user wrote is not as it must be: exit code 2, with a pointer to `--help`. */
export class UsageError extends Error {}

/** What was asked for cannot be done: exit code 1. Its message is all that is shown. */
export class Failure extends Error {}

/** The exit code of what Ctrl-C has ended, as shells have it. */
export const INTERRUPTED = 130;

/** An option. */
export interface Option {
  /** Of its value, for the help; absent: a flag. */
  readonly value?: string;
  readonly help: string;
  /** One letter. */
  readonly short?: string;
  /** May be given several times. */
  readonly multiple?: boolean;
}

/** What was given to a command. */
export interface Given {
  readonly arguments: readonly string[];
  /** The last value of an option. */
  text(name: string): string | undefined;
  texts(name: string): readonly string[];
  flag(name: string): boolean;
  /** @throws UsageError for what is no number in the range */
  number(name: string, fallback: number, least: number, most?: number): number;
  /** A whole number. @throws UsageError */
  count(name: string, fallback: number, least?: number): number;
  /** Names or numbers with commas between. */
  list(name: string): readonly string[] | undefined;
}

/** Where commands write to: results, and what is told besides. */
export interface Output {
  result(text: string): void;
  /** A part of a result, without a line's end. */
  part(text: string): void;
  note(text: string): void;
}

/** A command. */
export interface Command {
  readonly name: string;
  /** In a line. */
  readonly summary: string;
  /** What stands behind the name: `FILE [options]`. */
  readonly usage: string;
  /** How many arguments it takes. */
  readonly least: number;
  readonly most: number;
  readonly options: { readonly [name: string]: Option };
  /** What else the help says: examples, formats. */
  readonly more?: () => string;
  /** Resolves to the exit code; nothing: 0. */
  run(given: Given, out: Output): Promise<number | void>;
}

/** Options that all commands have. */
export const COMMON: { readonly [name: string]: Option } = {
  backend: { value: "NAME", help: "wasm (default), or webgpu, which needs the package webgpu" },
  threads: { value: "N", help: "threads of the CPU; default: one for each core, at most 8" },
  help: { short: "h", help: "show this" },
};

/** How wide texts are: as the terminal, and where there is none, or a very wide one, so much. */
const COLUMNS = 100;
/** Narrower than that a column of help says nothing. */
const LEAST_COLUMNS = 24;

/** Words in lines of at most so many letters. */
function lines(text: string, width: number): string[] {
  const all = [""];
  for (const word of text.split(" ")) {
    const last = all[all.length - 1];
    if (last !== "" && last.length + 1 + word.length > width) all.push(word);
    else all[all.length - 1] = last === "" ? word : `${last} ${word}`;
  }
  return all;
}

/** Two columns, the right one in lines that the terminal has room for. */
const column = (rows: readonly (readonly [string, string])[]): string => {
  const left = Math.max(...rows.map(([name]) => name.length)) + 2;
  const right = Math.max(LEAST_COLUMNS, Math.min(process.stdout.columns || COLUMNS, COLUMNS) - left - 3);
  return rows.map(([name, text]) => `  ${name.padEnd(left)}${lines(text, right).join(`\n  ${" ".repeat(left)}`)}`).join("\n");
};

const optionLine = ([name, o]: readonly [string, Option]): readonly [string, string] => [
  `${o.short === undefined ? "    " : `-${o.short}, `}--${name}${o.value === undefined ? "" : ` ${o.value}`}`,
  o.help,
];

/** What `lockstep COMMAND --help` shows. */
export function helpOf(command: Command): string {
  const options = Object.entries({ ...command.options, ...COMMON }).map(optionLine);
  const more = command.more?.();
  const parts = [command.summary, `Usage: lockstep ${command.name} ${command.usage}`, `Options:\n${column(options)}`];
  return `${[...parts, ...(more === undefined ? [] : [more])].join("\n\n")}\n`;
}

/** What `lockstep --help` shows. */
export function overview(commands: readonly Command[], version: string): string {
  return `lockstep ${version}: train and run neural networks in JavaScript

Usage: lockstep COMMAND [arguments] [options]

Commands:
${column(commands.map((c) => [c.name, c.summary]))}

Options:
${column([
  ["-h, --help", "show this, or behind a command what it takes"],
  ["-v, --version", "show the version"],
])}

Exit codes: 0 done, 1 it could not be done, 2 it was not asked for rightly, 130 interrupted.
`;
}

/** Reads what stands behind the name of a command. @throws UsageError */
export function parse(command: Command, args: readonly string[]): Given {
  const options = { ...command.options, ...COMMON };
  const values = new Map<string, string[]>();
  const positional: string[] = [];
  const { parseArgs } = process.getBuiltinModule("node:util");
  // Node's own reader splits what was written; what is wrong with it is said here, with names that are near.
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(options).map(([name, { value, short }]) => [
        name,
        { type: value === undefined ? ("boolean" as const) : ("string" as const), ...(short !== undefined && { short }) },
      ]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  for (const token of tokens) {
    if (token.kind === "positional") positional.push(token.value);
    if (token.kind !== "option") continue;
    const { name, rawName, value, inlineValue } = token;
    if (!Object.hasOwn(options, name))
      throw new UsageError(`unknown option ${rawName}; ${hint(name, Object.keys(options)).replace('"', '"--')}`.replace(/;? $/, ""));
    const option = options[name];
    if (option.value === undefined && inlineValue) throw new UsageError(`--${name} takes no value, got ${JSON.stringify(value)}`);
    // Values may be negative numbers, but are no options.
    if (option.value !== undefined && (value === undefined || (!inlineValue && /^--?[a-z]/i.test(value))))
      throw new UsageError(`--${name} needs a value: --${name} ${option.value}`);
    if (values.has(name) && !option.multiple) throw new UsageError(`--${name} is given twice`);
    values.set(name, [...(values.get(name) ?? []), value ?? ""]);
  }
  const text = (name: string): string | undefined => values.get(name)?.at(-1);
  const number = (name: string, fallback: number, least: number, most = Infinity): number => {
    const given = text(name);
    const value = given === undefined ? fallback : given.trim() === "" ? NaN : Number(given);
    if (!(Number.isFinite(value) && value >= least && value <= most)) {
      const range = most === Infinity ? `of at least ${least}` : `from ${least} to ${most}`;
      throw new UsageError(`--${name} must be a number ${range}, got ${JSON.stringify(given)}`);
    }
    return value;
  };
  const given: Given = {
    arguments: positional,
    text,
    texts: (name) => values.get(name) ?? [],
    flag: (name) => values.has(name),
    number,
    count(name, fallback, least = 1) {
      const value = number(name, fallback, least);
      if (!Number.isSafeInteger(value)) throw new UsageError(`--${name} must be a whole number, got ${String(text(name))}`);
      return value;
    },
    list: (name) =>
      text(name)
        ?.split(",")
        .map((part) => part.trim())
        .filter((part) => part !== ""),
  };
  if (!given.flag("help") && (positional.length < command.least || positional.length > command.most)) {
    const wanted = command.least === command.most ? String(command.least) : `${command.least} to ${command.most}`;
    throw new UsageError(`expected ${wanted} argument${wanted === "1" ? "" : "s"} (${command.usage}), got ${positional.length}`);
  }
  return given;
}

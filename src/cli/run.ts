/** @file Finds the command, runs it, and makes exit codes of errors. */
import { hint } from "../check.ts";
import { LockstepError, open } from "../index.ts";
import type { Backend } from "../index.ts";
import { bench } from "./commands/bench.ts";
import { compare } from "./commands/compare.ts";
import { convert } from "./commands/convert.ts";
import { info } from "./commands/info.ts";
import { run } from "./commands/run.ts";
import { summary } from "./commands/summary.ts";
import { train } from "./commands/train.ts";
import { Failure, helpOf, overview, parse, UsageError } from "./command.ts";
import type { Command, Given, Output } from "./command.ts";
import { version } from "./version.ts";

const COMMANDS: readonly Command[] = [info, summary, convert, run, train, bench, compare];

/** Opens the backend that the options name, as the default of all that follows. */
async function openBackend(given: Given): Promise<Backend> {
  const name = given.text("backend") ?? "wasm";
  if (name !== "wasm" && name !== "webgpu") throw new UsageError(`--backend must be wasm or webgpu, got ${JSON.stringify(name)}`);
  const threads = given.text("threads") === undefined ? "auto" : given.count("threads", 1);
  return name === "webgpu" ? open("webgpu") : open("wasm", { threads });
}

/** What the operating system refuses: files that may not be read, disks that are full. And memory that there is not. */
const isOfSystem = (error: unknown): boolean =>
  error instanceof Error && ("syscall" in error || /allocation failed|invalid (array|typed array) length/i.test(error.message));

const text = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Runs the command line. Resolves to the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const { stdout, stderr } = process;
  // Whoever reads may have enough, as `head` has.
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") stderr.write(`lockstep: cannot write the result: ${error.message}\n`);
    process.exit(error.code === "EPIPE" ? 0 : 1);
  });
  const out: Output = {
    result: (line) => void stdout.write(`${line}\n`),
    part: (text) => void stdout.write(text),
    note: (line) => void stderr.write(`${line}\n`),
  };
  // Warnings of the library are no results.
  console.warn = (...parts: unknown[]) => out.note(parts.map(String).join(" "));
  const [first, ...rest] = args;
  const asksHelp = first === "help" && rest.length > 0;
  const name = asksHelp ? rest[0] : first;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    (name === undefined ? out.note : out.result)(overview(COMMANDS, version()).trimEnd());
    return name === undefined ? 2 : 0;
  }
  if (name === "--version" || name === "-v") {
    out.result(version());
    return 0;
  }
  const command = COMMANDS.find((c) => c.name === name);
  if (command === undefined) {
    const known = COMMANDS.map((c) => c.name);
    if (name.startsWith("-")) {
      out.note(`lockstep: the command comes first, options behind it: lockstep COMMAND ${name}; commands: ${known.join(", ")}`);
      return 2;
    }
    out.note(`lockstep: unknown command ${JSON.stringify(name)}; ${hint(name, known)}known: ${known.join(", ")}`);
    return 2;
  }
  try {
    const given = parse(command, asksHelp ? ["--help"] : rest);
    if (given.flag("help")) {
      out.result(helpOf(command).trimEnd());
      return 0;
    }
    const backend = command === info ? null : await openBackend(given);
    try {
      return (await command.run(given, out)) ?? 0;
    } finally {
      // A device keeps the process alive.
      await backend?.close();
    }
  } catch (error) {
    if (error instanceof UsageError) {
      out.note(`lockstep ${name}: ${error.message}\nTry: lockstep ${name} --help`);
      return 2;
    }
    const known = error instanceof Failure || error instanceof LockstepError || isOfSystem(error);
    out.note(`lockstep ${name}: ${known ? text(error) : `this is a mistake of Lockstep: ${(error as Error).stack ?? text(error)}`}`);
    return 1;
  }
}

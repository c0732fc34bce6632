/** @file What the examples share: options, files, and how results are shown. */
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

/** Command-line options: --data, --epochs, --samples, --steps, --seed, --prompt, --out, --verbose. Numbers are numbers. */
export function options(defaults) {
  const { values } = parseArgs({
    options: {
      data: { type: "string" },
      epochs: { type: "string" },
      samples: { type: "string" },
      steps: { type: "string" },
      prompt: { type: "string" },
      seed: { type: "string" },
      out: { type: "string" },
      verbose: { type: "string" },
    },
  });
  const numbers = Object.fromEntries(
    ["epochs", "samples", "steps", "seed", "verbose"].filter((k) => values[k] !== undefined).map((k) => [k, Number(values[k])]),
  );
  for (const [name, value] of Object.entries(numbers)) {
    if (!Number.isInteger(value) || value < 0) throw new Error(`--${name} must be an integer of at least 0, got "${values[name]}"`);
  }
  return { seed: 1, verbose: 1, ...defaults, ...values, ...numbers };
}

/** The path of a data file: the one named by the user, the one under LOCKSTEP_DATA, or null. */
export function dataFile(named, name) {
  if (named !== undefined) return named;
  const folder = process.env.LOCKSTEP_DATA;
  if (!folder) return null;
  const path = join(folder, name);
  return existsSync(path) ? path : null;
}

export const readText = (path) => readFileSync(path, "utf8");
export const readBytes = (path) => new Uint8Array(readFileSync(path));

/** Where the trained model goes: --out, or a new temporary folder. */
export const modelPath = (out, name) => out ?? join(mkdtempSync(join(tmpdir(), "lockstep-")), name);

export const percent = (x) => `${(100 * x).toFixed(1)} %`;

/** One line per pair. */
export function report(title, pairs) {
  console.log(`\n${title}`);
  for (const [name, value] of Object.entries(pairs)) console.log(`  ${name.padEnd(22)} ${value}`);
}

/** Runs `main` when its file is what node was started with. What is wrong with options or data is one line, not a stack. */
export async function start(url, main) {
  if (process.argv[1] === undefined || url !== pathToFileURL(process.argv[1]).href) return;
  try {
    await main();
  } catch (error) {
    console.error(`error: ${error.message}`);
    process.exitCode = 1;
  }
}

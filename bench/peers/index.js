/**
 * @file `npm run bench:peers`: Lockstep side by side with other libraries in one interleaved run, written to bench/RESULTS.md.
 * `-- --quick`: fewer and shorter turns, nothing written; `-- WORD ...`: only tasks whose name contains one of the words, nothing written;
 * `-- --write`: written all the same.
 */
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { writeSection } from "../sections.js";
import { firstPredictions, measure } from "./measure.js";
import { participants, starters } from "./peers.js";
import { tables, targets } from "./report.js";
import { NETS, TASKS } from "./workloads.js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const flags = process.argv.slice(2).filter((a) => a.startsWith("--"));
const words = process.argv.slice(2).filter((a) => !a.startsWith("--"));
for (const f of flags) if (!["--quick", "--write"].includes(f)) throw new Error(`bench: unknown option ${f}; known: --quick, --write`);
const quick = flags.includes("--quick");
const write = flags.includes("--write") || (!quick && words.length === 0);

const began = performance.now();
install(here("."));
install(here("../node/"));

const tasks = Object.keys(TASKS).filter((name) => words.length === 0 || words.some((w) => name.includes(w)));
const whole = words.length === 0;
const people = participants();
const settings = quick ? { rounds: 3, sliceMs: 25, warmMs: 100 } : { rounds: 15, sliceMs: 80, warmMs: 400 };
const machine = `${cpus()[0]?.model.trim()}, ${cpus().length} cores`;
const load = [loadavg()[0]];
console.log(
  `${machine}, load ${load[0].toFixed(2)}, ${new Date().toISOString().slice(0, 10)}; medians of ${settings.rounds} turns of ` +
    `${settings.sliceMs} ms`,
);

const say = (name, figures) => {
  console.log(`\n${name} (${TASKS[name].unit})`);
  for (const [id, f] of Object.entries(figures)) {
    const range = f.error ? "" : `${f.median.toPrecision(4).padStart(10)}   ${f.low.toPrecision(3)} .. ${f.high.toPrecision(3)}`;
    const share = f.error ? "" : `${f.cpus.toFixed(2)} cpus, ${Math.round(100 * f.kept)} % undisturbed${f.busy ? " (too few)" : ""}`;
    console.log(`  ${people[id].label.padEnd(40)} ${f.error ? `– ${f.error}` : `${range}   ${share}`}`);
  }
};
const { versions, figures } = await measure(people, { ...settings, tasks, say });
load.push(loadavg()[0]);
const starts = whole ? await firstPredictions(starters(NETS.FFN), quick ? 2 : 9) : null;
const sizes = whole ? await (await import("./sizes.js")).sizes() : null;

const result = { versions, figures, starts, sizes };
const text = [
  `${machine}; ${new Date().toISOString().slice(0, 10)}; load ${load.map((l) => l.toFixed(1)).join(" to ")} of which this run is ` +
    "about 1. " +
    `Medians of ${settings.rounds} turns of ${settings.sliceMs} ms, all libraries taking turns, each in a process of its own; time ` +
    "in which others had the processor is left out; every result was compared with Lockstep's before it was timed.",
  `### Targets\n\n${targets(result)}`,
  tables(result, people),
].join("\n\n");
if (write) {
  writeSection("bench:peers", text);
  console.log("\nwritten to bench/RESULTS.md");
} else console.log(`\n${text}`);
console.log(`${((performance.now() - began) / 1000).toFixed(0)} s`);

/**
 * `npm ci` there unless it has been done since the lock file changed. A library that cannot be installed is missing from the tables, no
 * more.
 */
function install(folder) {
  const done = `${folder}node_modules/.package-lock.json`;
  if (existsSync(done) && statSync(done).mtimeMs > statSync(`${folder}package-lock.json`).mtimeMs) return;
  const npm = process.env.npm_execpath;
  const args = ["ci", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  const { status } = npm
    ? spawnSync(process.execPath, [npm, ...args], { stdio: "inherit" })
    : spawnSync("npm", args, { stdio: "inherit", shell: process.platform === "win32" });
  if (status !== 0) console.warn(`bench: npm ci in ${folder} failed; going on with what is there`);
}

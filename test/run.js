/**
 * @file Runs test files, each in a process of its own, as many at a time as there are cores, and adds up what uvu reports.
 *
 *   node test/run.js [name ...]   those whose path contains one of the names
 *   node test/run.js --quick      the few that say most in little time: `npm run check`
 *   node test/run.js --times      also prints which took longest, on the clock and of the processors
 *
 * A file that reports no test at all counts as failed: uvu passes silently when `test.run()` is forgotten. Files in webgpu/ run on a
 * software adapter on Linux x64 (LOCKSTEP_GPU=own: on the machine's own) and elsewhere on the machine's own; where there is none they are
 * skipped, which is counted, or, with CI=true, fail. So are files in web/ where no Chromium starts.
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { probeGpu, softwareGpu } from "../scripts/software-gpu.js";

const here = dirname(fileURLToPath(import.meta.url));
const flags = new Set(process.argv.slice(2).filter((arg) => arg.startsWith("--")));
const names = process.argv.slice(2).filter((arg) => !arg.startsWith("--"));
for (const flag of flags) if (flag !== "--quick" && flag !== "--times") throw new Error(`unknown option ${flag}; known: --quick, --times`);

/** For `--quick`: types, the op table and the layers on WebAssembly and on the float64 reference, and the planner. */
const QUICK = [
  "ops/forward",
  "ops/gradient",
  "ops/completeness",
  "ops/promote",
  "ops/storage",
  "ops/edges",
  "types",
  "lines",
  "conformance/layers",
  "conformance/losses",
  "nn/layers",
  "nn/masking",
  "reference",
  "reference-gradients",
  "graph",
  "tensor",
  "plan/build",
  "plan/fuse",
  "dependencies",
].map((name) => `${name}.test.js`);

/** Those that take longest, in this order first, so that none of them is begun when all others are through. See `--times`. */
const FIRST = [
  "webgpu/ops",
  "webgpu/chromium",
  "webgpu/deno-ops",
  "webgpu/conformance",
  "webgpu/devices",
  "webgpu/lost",
  "webgpu/recurrent",
  "webgpu/deno",
  "model/mnist",
  "webgpu/training",
  "model/baselines",
  "webgpu/shipped",
  "webgpu/lifetime",
  "bundlers/bundlers",
  "size",
  "ops/sums",
  "io/fuzz",
].map((name) => `${name}.test.js`);
/** Those that mostly wait, for other processes and for each other's: one at a time runs beside those that compute. */
const WAITING = ["platforms/", "web/", "package/workerd"];

const place = (file) => (FIRST.includes(file) ? FIRST.indexOf(file) : FIRST.length);
const files = readdirSync(here, { recursive: true })
  .map((path) => String(path).replaceAll("\\", "/"))
  .filter((f) => f.endsWith(".test.js") && (names.length === 0 || names.some((n) => f.includes(n))))
  .filter((f) => !flags.has("--quick") || QUICK.includes(f))
  .sort()
  .sort((a, b) => place(a) - place(b));

// Cases and data of others: a folder with conformance/, data/ and models/. Tests that need them are registered only where they are.
const beside = resolve(here, "../../shared");
const env = { ...process.env, FORCE_COLOR: "0" };
if (env.LOCKSTEP_SHARED === undefined && existsSync(beside)) env.LOCKSTEP_SHARED = beside;
if (env.LOCKSTEP_DATA === undefined && env.LOCKSTEP_SHARED !== undefined) env.LOCKSTEP_DATA = join(env.LOCKSTEP_SHARED, "data");

const onGpu = (file) => file.startsWith("webgpu/");
const gpuEnv = { ...env };
let gpu = { name: null };
if (files.some(onGpu)) {
  if (env.LOCKSTEP_GPU !== "own") Object.assign(gpuEnv, softwareGpu());
  gpu = await probeGpu(gpuEnv);
  console.log(gpu.missing ? `webgpu: ${gpu.missing}` : `webgpu: ${gpu.name}`);
}

const inChromium = (file) => file.startsWith("web/");
let noChromium = null;
if (files.some(inChromium))
  noChromium = await import("../scripts/chromium.js").then(
    (m) => m.chromiumMissing(),
    (error) => error.message,
  );

/** What a test file needs that is not here, or null. */
function missing(file) {
  if (gpu.missing && onGpu(file)) return `no WebGPU adapter: ${gpu.missing}`;
  return noChromium !== null && inChromium(file) ? `no Chromium: ${noChromium}` : null;
}

/** Only what hangs takes so long: on a machine that does a great deal else, half as long has been seen. */
const LIMIT_MS = 45 * 60 * 1000;

/**
 * Seconds that processors have worked for children that have ended, and for theirs: Linux tells (times 14 and 15 of
 * https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html in hundredths), elsewhere NaN.
 */
function worked() {
  if (!existsSync("/proc/self/stat")) return NaN;
  const fields = readFileSync("/proc/self/stat", "latin1")
    .replace(/^.*\) /s, "")
    .split(" ");
  return (Number(fields[13]) + Number(fields[14])) / 100;
}
let counted = worked();

function run(file) {
  return new Promise((done) => {
    const started = performance.now();
    const child = spawn(process.execPath, ["--expose-gc", join(here, file)], { cwd: join(here, ".."), env: onGpu(file) ? gpuEnv : env });
    let output = "";
    let processor = 0;
    child.stdout.on("data", (d) => (output += d));
    child.stderr.on("data", (d) => (output += d));
    const timer = setTimeout(() => {
      output += `\nstopped after ${LIMIT_MS / 60000} minutes\n`;
      child.kill("SIGKILL");
    }, LIMIT_MS);
    child.on("exit", () => {
      // Nothing else has ended since the last time, unless in the same moment.
      const now = worked();
      processor = now - counted;
      counted = now;
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      const figure = (name) => Number(new RegExp(`^\\s*${name}:\\s+(\\d+)`, "m").exec(output)?.[1] ?? 0);
      const [total, passed, skipped] = [figure("Total"), figure("Passed"), figure("Skipped")];
      const broken = total === 0 || (code !== 0 && total === passed);
      const seconds = (performance.now() - started) / 1000;
      done({ file, output, passed, skipped, failed: total - passed + Number(broken), seconds, processor });
    });
  });
}

let passed = 0;
let failed = 0;
let skipped = 0;
const ran = [];
async function worker(queue) {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const lack = missing(file);
    if (lack !== null) {
      const fail = process.env.CI === "true";
      if (fail) failed++;
      else skipped++;
      console.log(`${fail ? "FAIL" : "SKIP"} ${file.padEnd(44)} ${lack}`);
      continue;
    }
    const r = await run(file);
    passed += r.passed;
    failed += r.failed;
    ran.push(r);
    const verdict = `${r.failed === 0 ? "ok  " : "FAIL"} ${file.padEnd(44)}`;
    const others = `${r.failed ? `${r.failed} failed ` : ""}${r.skipped ? `${r.skipped} SKIPPED ` : ""}`;
    console.log(`${verdict} ${String(r.passed).padStart(5)} passed ${others}(${r.seconds.toFixed(1)} s)`);
    if (r.failed > 0) console.log(r.output.replace(/^/gm, "     "));
  }
}

const waits = (file) => WAITING.some((name) => file.startsWith(name));
const computing = files.filter((file) => !waits(file));
const waiting = files.filter(waits);
const began = performance.now();
// The largest take some 4 GB.
const atOnce = Math.max(1, Math.min(availableParallelism(), Math.floor(totalmem() / 2 ** 32)));
await Promise.all([worker(waiting), ...Array.from({ length: atOnce }, () => worker(computing))]);

if (flags.has("--times")) {
  const row = (seconds, processor, what) =>
    console.log(`${seconds.toFixed(1).padStart(8)} s ${processor.toFixed(1).padStart(8)} s  ${what}`);
  console.log("\nOn the clock, of processors, file:");
  for (const r of ran.sort((a, b) => b.processor - a.processor || b.seconds - a.seconds).slice(0, 40)) row(r.seconds, r.processor, r.file);
  row((performance.now() - began) / 1000, worked(), "all");
}
const lacking = skipped > 0 ? `, ${skipped} files SKIPPED for want of a WebGPU adapter or Chromium` : "";
console.log(`\n${passed} passed, ${failed} failed${lacking}`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;

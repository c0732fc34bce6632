/**
 * @file Runs test files, each in a process of its own, and adds up what uvu reports. `node test/run.js [name ...]` runs
 * those whose path contains one of the names. A file that reports no test at all counts as failed: uvu passes silently
 * when `test.run()` is forgotten. Files in webgpu/ run on a software adapter on Linux x64 (LOCKSTEP_GPU=own: on the machine's
 * own) and elsewhere on the machine's own; where there is none they are skipped, which is counted, or, with CI=true, fail. So are
 * files in web/ where no Chromium starts.
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { probeGpu, softwareGpu } from "../scripts/software-gpu.js";

const here = dirname(fileURLToPath(import.meta.url));
const names = process.argv.slice(2);
const files = readdirSync(here, { recursive: true })
  .map(String)
  .filter((f) => f.endsWith(".test.js") && (names.length === 0 || names.some((n) => f.includes(n))))
  .sort();

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
if (files.some(inChromium)) noChromium = await import("../scripts/chromium.js").then((m) => m.chromiumMissing(), (error) => error.message);

/** What a test file needs that is not here, or null. */
function missing(file) {
  if (gpu.missing && onGpu(file)) return `no WebGPU adapter: ${gpu.missing}`;
  return noChromium !== null && inChromium(file) ? `no Chromium: ${noChromium}` : null;
}

const LIMIT_MS = 15 * 60 * 1000;

function run(file) {
  return new Promise((done) => {
    const started = performance.now();
    const child = spawn(process.execPath, ["--expose-gc", join(here, file)], { cwd: join(here, ".."), env: onGpu(file) ? gpuEnv : env });
    let output = "";
    child.stdout.on("data", (d) => (output += d));
    child.stderr.on("data", (d) => (output += d));
    const timer = setTimeout(() => {
      output += `\nstopped after ${LIMIT_MS / 60000} minutes\n`;
      child.kill("SIGKILL");
    }, LIMIT_MS);
    child.on("close", (code) => {
      clearTimeout(timer);
      const total = Number(/^\s*Total:\s+(\d+)/m.exec(output)?.[1] ?? 0);
      const passed = Number(/^\s*Passed:\s+(\d+)/m.exec(output)?.[1] ?? 0);
      const skipped = Number(/^\s*Skipped:\s+(\d+)/m.exec(output)?.[1] ?? 0);
      const broken = total === 0 || (code !== 0 && total === passed);
      done({ file, output, passed, skipped, failed: total - passed + Number(broken), seconds: (performance.now() - started) / 1000 });
    });
  });
}

const queue = [...files];
let passed = 0;
let failed = 0;
let skipped = 0;
async function worker() {
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
    console.log(`${r.failed === 0 ? "ok  " : "FAIL"} ${relative(here, join(here, r.file)).padEnd(44)} ${String(r.passed).padStart(5)} passed ${r.failed ? `${r.failed} failed ` : ""}${r.skipped ? `${r.skipped} SKIPPED ` : ""}(${r.seconds.toFixed(1)} s)`);
    if (r.failed > 0) console.log(r.output.replace(/^/gm, "     "));
  }
}
await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker));
console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} files SKIPPED for want of a WebGPU adapter or Chromium` : ""}`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;

/** @file Test files of this folder run in Deno, whose wgpu and naga are another implementation than Chromium's and Node's Dawn and Tint. */
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const deno = join(dirname(createRequire(import.meta.url).resolve("deno/package.json")), "bin.cjs");

/** Runs a test file in Deno and reads uvu's summary: { total, passed, output }. */
function runInDeno(file) {
  return new Promise((done, fail) => {
    const args = [deno, "run", "--allow-all", "--unstable-webgpu", file];
    const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, DENO_NO_UPDATE_CHECK: "1" } });
    let output = "";
    child.stdout.on("data", (d) => (output += d));
    child.stderr.on("data", (d) => (output += d));
    child.on("error", fail);
    child.on("close", () => {
      const figure = (name) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(output)?.[1] ?? 0);
      done({ total: figure("Total"), passed: figure("Passed"), output });
    });
  });
}

/** A test that runs another file, which has at least so many tests, in Deno. */
export function testInDeno(file, least) {
  test(`${file} in Deno`, async () => {
    const { total, passed, output } = await runInDeno(`test/webgpu/${file}`);
    assert.is(passed, total, output);
    assert.ok(total >= least, `${total} tests\n${output}`);
  });
}

/** The types of the package as those who use it see them: types/usage.ts compiles, with an error on each line that must not. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const project = fileURLToPath(new URL("types/tsconfig.json", import.meta.url));

function tsc(...args) {
  const manifest = require.resolve("typescript-7/package.json");
  const script = join(dirname(manifest), JSON.parse(readFileSync(manifest, "utf8")).bin.tsc);
  return spawnSync(process.execPath, [script, ...args], { encoding: "utf8" });
}

test("types of the public API", () => {
  const { status, stdout, stderr } = tsc("-p", project);
  assert.is(status, 0, stdout + stderr);
});

test("src/webgpu is typed against @webgpu/types", () => {
  const own = fileURLToPath(new URL("../src/webgpu/tsconfig.json", import.meta.url));
  const { status, stdout, stderr } = tsc("-p", own, "--listFiles");
  assert.is(status, 0, stdout + stderr);
  const files = stdout.split("\n");
  assert.ok(files.filter((file) => file.includes("/src/webgpu/")).length > 10, stdout);
  // Nothing else there declares WebGPU.
  const declares = (file) => /^(interface|declare var) GPU(Device|Buffer|Queue)\b/m.test(readFileSync(file, "utf8"));
  assert.equal(
    files.filter((file) => file.endsWith(".d.ts") && declares(file)).map((file) => file.replace(/^.*node_modules\//, "")),
    ["@webgpu/types/dist/index.d.ts"],
  );
});

test.run();

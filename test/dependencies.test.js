/** @file What may import what in src/ (.dependency-cruiser.cjs): layers that know nothing of those above them, and no circle. */
import { createRequire } from "node:module";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { cruise } from "dependency-cruiser";
import extractTSConfig from "dependency-cruiser/config-utl/extract-ts-config";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = fileURLToPath(new URL("..", import.meta.url));
const { forbidden, options } = createRequire(import.meta.url)("../.dependency-cruiser.cjs");
process.chdir(root);
const tsConfig = extractTSConfig("tsconfig.json");

/** The rules that files break, as `rule: from -> to`. */
async function broken(files) {
  const { output } = await cruise(files, { ...options, ruleSet: { forbidden }, validate: true }, undefined, { tsConfig });
  return {
    seen: output.modules.length,
    violations: output.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`),
  };
}

test("layers of src know nothing of those above them, and there is no circle", async () => {
  const { seen, violations } = await broken(["src"]);
  assert.equal(violations, []);
  const own = readdirSync("src", { recursive: true }).filter((f) => f.endsWith(".ts"));
  assert.ok(seen >= own.length, `${seen} of ${own.length} modules were looked at`);
});

test.run();

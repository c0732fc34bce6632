/** @file Runs every JavaScript block of the README and of docs/, and the examples, as a reader would. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = join(root, "build", "readme");
mkdirSync(folder, { recursive: true });

const blocksOf = (path) => [...readFileSync(join(root, path), "utf8").matchAll(/^```js\n([\s\S]*?)^```/gm)].map((m) => m[1]);

function run(args, env = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8", env: { ...process.env, ...env } });
  assert.is(status, 0, `${args.join(" ")}: ${stderr}\n${stdout}`);
  return stdout;
}

function runner(code, name) {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, code);
  return () => run([file]);
}

const outputs = blocksOf("README.md").map((code, i) => runner(code, `block-${i}`));

test("README: there are blocks to run", () => {
  assert.is(outputs.length, 3);
});

test("README: the first model learns the circle", () => {
  const text = outputs[0]();
  assert.match(text, /Model: "model"/);
  const [, accuracy] = /accuracy (\d\.\d+)/.exec(text.slice(text.lastIndexOf("loss "))) ?? [];
  assert.ok(Number(accuracy) > 0.9, text);
  assert.ok(Number(text.trim().split("\n").at(-1)) > 0.8, text);
});

test("README: save, load, go on", () => {
  outputs[1]();
});

test("README: a function of tensors finds its weights", () => {
  const text = outputs[2]();
  const [a, b] = [...text.slice(0, text.indexOf("%0")).matchAll(/\[ (-?[\d.]+) \]/g)].map((m) => Number(m[1]));
  assert.ok(Math.abs(a - 2) < 0.05 && Math.abs(b - 3) < 0.05, text);
  assert.match(text, /matmul/);
});

const guides = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md")).map((name) => [name, blocksOf(join("docs", name))]);

test("docs: there are blocks to run", () => {
  assert.ok(guides.flatMap(([, blocks]) => blocks).length >= 4);
});

for (const [name, blocks] of guides) {
  for (const [i, code] of blocks.entries()) {
    test(`docs/${name}: block ${i} prints what its comments say`, () => {
      const promised = [...code.matchAll(/^\s*console\.log\(.*\); \/\/ (.*)$/gm)].map((m) => m[1]);
      assert.ok(promised.length > 0);
      assert.equal(runner(code, `${name}-${i}`)().trim().split("\n"), promised);
    });
  }
}

/** The figure of a line that an example reports. */
const figure = (text, name) => Number(new RegExp(`^  ${name}\\s+(-?[\\d.]+)`, "m").exec(text)?.[1]);
// Without LOCKSTEP_DATA the examples make up their own data, as on a machine that has nothing else.
const bare = { LOCKSTEP_DATA: "" };

test("examples/ffn.js: trains, saves, reloads, predicts", () => {
  const out = join(folder, "ffn.safetensors");
  rmSync(out, { force: true });
  const text = run(["examples/ffn.js", "--verbose", "0", "--out", out], bare);
  assert.ok(figure(text, "accuracy") > 72, text);
  assert.ok(existsSync(out));
});

test("examples/cnn.js: reads drawn digits", () => {
  const text = run(["examples/cnn.js", "--verbose", "0", "--samples", "2000", "--epochs", "4"], bare);
  assert.ok(figure(text, "accuracy") > 90, text);
});

test("examples/lstm.js: beats persistence", () => {
  const text = run(["examples/lstm.js", "--verbose", "0"], bare);
  assert.ok(figure(text, "ratio") < 1, text);
});

test("examples: a file named by the user is read", () => {
  const file = join(folder, "table.csv");
  const rows = Array.from({ length: 200 }, (_, i) => [...Array.from({ length: 8 }, (_, k) => ((i * (k + 3)) % 17) - 8), Number((i * 3) % 17 > 8)].join());
  writeFileSync(file, rows.join("\n"));
  const text = run(["examples/ffn.js", "--verbose", "0", "--data", file], bare);
  assert.match(text, /40 held-out rows/);
  assert.ok(figure(text, "accuracy") > 90, text);
});

test.run();

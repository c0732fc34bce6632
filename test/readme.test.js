/** @file Runs every JavaScript block of the README and of docs/, and the examples, as a reader would. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = join(root, "build", "readme");
mkdirSync(folder, { recursive: true });
// Models that blocks load.
if (!existsSync(join(folder, "models"))) symlinkSync(join(root, "test/models"), join(folder, "models"), "junction");

const blocksOf = (path) => [...readFileSync(join(root, path), "utf8").matchAll(/^```js\n([\s\S]*?)^```/gm)].map((m) => m[1]);

function run(args, env = {}, cwd = root) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd, encoding: "utf8", env: { ...process.env, ...env } });
  assert.is(status, 0, `${args.join(" ")}: ${stderr}\n${stdout}`);
  return stdout;
}

/** Runs a block in a folder of its own, where it may leave files. */
function runner(code, name) {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, code);
  return () => run([file], {}, folder);
}

const outputs = blocksOf("README.md").map((code, i) => runner(code, `block-${i}`));

test("README: there are blocks to run", () => {
  assert.is(outputs.length, 2);
});

test("README: two screens of short lines", () => {
  const lines = readFileSync(join(root, "README.md"), "utf8").trimEnd().split("\n");
  assert.ok(lines.length <= 110, `${lines.length} lines`);
  assert.equal(
    lines.filter((line) => line.length > 110),
    [],
  );
});

test("README: the first model learns the circle", () => {
  const text = outputs[0]();
  assert.match(text, /Model: "model"/);
  const [, accuracy] = /accuracy (\d\.\d+)/.exec(text.slice(text.lastIndexOf("loss "))) ?? [];
  assert.ok(Number(accuracy) > 0.9, text);
  assert.ok(Number(text.trim().split("\n").at(-1)) > 0.8, text);
});

test("README: save, load, go on as if it had never stopped", () => {
  const losses = outputs[1]()
    .match(/\d\.\d+(e-\d+)?/g)
    .map(Number);
  assert.is(losses.length, 6);
  assert.ok(losses[5] < 0.6 * losses[0], losses.join());
  // The same without the file between.
  const whole = blocksOf("README.md")[1]
    .replace("epochs: 3", "epochs: 6")
    .replace(/^const file[\s\S]*$/m, "console.log(first.history.loss);\n");
  assert.equal(
    runner(whole, "block-1-whole")()
      .match(/\d\.\d+(e-\d+)?/g)
      .map(Number),
    losses,
  );
});

const pages = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md"));
const guides = pages.map((name) => [name, blocksOf(join("docs", name))]);

test("docs: there are blocks to run", () => {
  assert.ok(guides.flatMap(([, blocks]) => blocks).length >= 10);
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

/** What a heading is called in an address, as GitHub makes it. */
const anchor = (heading) =>
  heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");

test("README and docs: links and pictures lead to what is there", () => {
  let count = 0;
  for (const page of ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", ...pages.map((name) => `docs/${name}`)]) {
    for (const [, target] of readFileSync(join(root, page), "utf8").matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [path, hash] = target.split("#");
      const file = path === "" ? join(root, page) : join(root, dirname(page), path);
      assert.ok(existsSync(file), `${page}: ${target}`);
      if (hash !== undefined)
        assert.ok(
          [...readFileSync(file, "utf8").matchAll(/^#+ (.*)$/gm)].some(([, heading]) => anchor(heading) === hash),
          `${page}: ${target}`,
        );
      count++;
    }
  }
  assert.ok(count > 15, `${count} links`);
});

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
  const out = join(folder, "cnn.safetensors");
  const text = run(["examples/cnn.js", "--verbose", "0", "--samples", "2000", "--epochs", "4", "--out", out], bare);
  assert.ok(figure(text, "accuracy") > 90, text);
});

test("examples/lstm.js: beats persistence", () => {
  const text = run(["examples/lstm.js", "--verbose", "0", "--out", join(folder, "lstm.safetensors")], bare);
  assert.ok(figure(text, "ratio") < 1, text);
});

test("examples/gpt.js: learns to write, saves, reloads, generates", () => {
  const file = join(folder, "text.txt");
  writeFileSync(file, "to be, or not to be: that is the question. ".repeat(60));
  const out = join(folder, "gpt.safetensors");
  rmSync(out, { force: true });
  const text = run(["examples/gpt.js", "--data", file, "--steps", "60", "--prompt", "to be", "--out", out], bare);
  assert.ok(figure(text, "held-out loss") < 1, text);
  assert.match(text, /step 60: loss .* tokens\/s/);
  assert.ok(existsSync(out));
  assert.is(text.trimEnd().split("\n\n").at(-1).length, "to be".length + 500);
});

test("examples/chat.js: goes on with what is typed, and says when there is no model", () => {
  const model = "test/models/gguf/stories260K-q4_0.gguf";
  const text = run(["examples/chat.js", model, "--prompt", "Once upon a time", "--tokens", "8"]);
  assert.match(text, /^Once upon a time, there was a little girl\n\(5 tokens read, 8 written, [\d.]+ tokens\/s\)\n$/);
  const { status, stderr } = spawnSync(process.execPath, ["examples/chat.js", "nowhere"], { cwd: root, encoding: "utf8" });
  assert.is(status, 1);
  assert.match(stderr, /no config\.json/);
});

test("examples: a file named by the user is read", () => {
  const file = join(folder, "table.csv");
  const rows = Array.from({ length: 200 }, (_, i) =>
    [...Array.from({ length: 8 }, (_, k) => ((i * (k + 3)) % 17) - 8), Number((i * 3) % 17 > 8)].join(),
  );
  writeFileSync(file, rows.join("\n"));
  const text = run(["examples/ffn.js", "--verbose", "0", "--data", file, "--out", join(folder, "table.safetensors")], bare);
  assert.match(text, /40 held-out rows/);
  assert.ok(figure(text, "accuracy") > 90, text);
});

test.run();

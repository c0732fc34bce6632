/**
 * @file Lines of code, comments and documents are short enough for two files side by side. Rows of tables in Markdown, which cannot be
 * wrapped, may be longer. Code is as Prettier writes it (`npm run format`).
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as prettier from "prettier";
import { test } from "uvu";
import * as assert from "uvu/assert";

const LONGEST = 140;
const FOLDERS = ["src", "assembly", "kernels", "scripts", "test", "bench", "examples", "docs"];
/** What people write: not recorded data, nor snapshots. */
const WRITTEN = /\.(js|ts|wgsl|md|html|css|py)$/;

const root = fileURLToPath(new URL("..", import.meta.url));

/** Files of a folder of the repository, without packages installed somewhere in it. */
const filesOf = (folder) =>
  readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : filesOf(path);
    return WRITTEN.test(path) ? [path] : [];
  });

/** "path:line: how long" of each line that is too long. */
function longLines(path) {
  const lines = readFileSync(join(root, path), "utf8").split("\n");
  const isLong = (line) => line.length > LONGEST && !(path.endsWith(".md") && line.startsWith("|"));
  return lines.flatMap((line, i) => (isLong(line) ? [`${path}:${i + 1}: ${line.length} characters`] : []));
}

for (const folder of [...FOLDERS, "."]) {
  test(`lines: ${folder === "." ? "documents" : folder}`, () => {
    const files = folder === "." ? readdirSync(root).filter((name) => name.endsWith(".md")) : filesOf(folder);
    assert.ok(files.length > 0, "nothing was read");
    const long = files.flatMap(longLines);
    assert.is(long.length, 0, `${long.length} lines are longer than ${LONGEST} characters:\n${long.join("\n")}`);
  });
}

/** Sums of texts that were found as Prettier writes them, by these rules: it takes 15 s for all files. */
const KNOWN = join(root, "build/formatted.json");
const RULES = ["prettier.config.js"];

test("code is as Prettier writes it: npm run format", async () => {
  const rules = prettier.version + RULES.map((file) => readFileSync(join(root, file), "utf8")).join();
  const known = new Set(existsSync(KNOWN) ? JSON.parse(readFileSync(KNOWN, "utf8")) : []);
  const good = [];
  const bad = [];
  for (const path of FOLDERS.flatMap(filesOf).map((file) => join(root, file))) {
    const { ignored } = await prettier.getFileInfo(path, { ignorePath: join(root, ".prettierignore") });
    if (ignored) continue;
    const text = readFileSync(path, "utf8");
    const sum = createHash("sha256").update(rules).update(path).update(text).digest("base64");
    const isGood = known.has(sum) || (await prettier.check(text, { ...(await prettier.resolveConfig(path)), filepath: path }));
    (isGood ? good : bad).push(isGood ? sum : path);
  }
  mkdirSync(join(root, "build"), { recursive: true });
  writeFileSync(KNOWN, JSON.stringify(good));
  assert.ok(good.length + bad.length > 300, "code was read");
  assert.is(bad.length, 0, `npm run format would change\n${bad.join("\n")}`);
});

test.run();

/** @file Stages of the build that need not be done again: what they are made of, and what they made, is as it was. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A hash of files by name and content, those of folders at any depth. A file that is not there counts as such. */
function hashOf(paths) {
  const hash = createHash("sha256");
  const add = (path) => {
    if (!existsSync(path)) hash.update(`${path} is missing\n`);
    else if (statSync(path).isDirectory()) for (const name of readdirSync(path).sort()) add(join(path, name));
    else hash.update(`${path}\n`).update(createHash("sha256").update(readFileSync(path)).digest());
  };
  paths.forEach(add);
  return hash.digest("hex");
}

/** What is installed, with versions: compilers are inputs too. */
const INSTALLED = "node_modules/.package-lock.json";

/**
 * Does `work`, unless files and folders named by `inputs`, and the files of build/ whose names `outputs` matches, are those of the last
 * time. What these were is kept in build/`name`.hash.
 */
export async function unlessUnchanged(name, inputs, outputs, work) {
  const record = `build/${name}.hash`;
  const from = `${process.version} ${hashOf([...inputs, INSTALLED])}`;
  const state = () =>
    `${from} ${hashOf(
      readdirSync("build")
        .filter((file) => outputs.test(file) && !file.endsWith(".hash"))
        .sort()
        .map((file) => `build/${file}`),
    )}\n`;
  if (existsSync(record) && readFileSync(record, "utf8") === state()) {
    console.log(`build: ${name} are as they were`);
    return;
  }
  rmSync(record, { force: true });
  await work();
  writeFileSync(record, state());
}

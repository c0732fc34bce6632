/**
 * @file The declarations that the package ships: those that tsc writes without what is marked @internal (its option stripInternal), of the
 * modules that the entries reach, under names that every compiler resolves.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Names of modules in declarations: `from "./x.ts"`, `import("./x.ts")`. */
const NAMES = /((?:from |import\()"\.[^"]+)\.ts"/g;

/** Copies what `entries` reach from `declarations`, where tsc wrote all, to `out`. */
export function writeTypes(declarations, out, entries) {
  rmSync(out, { recursive: true, force: true });
  // What is added while a set is walked is walked too.
  const reached = new Set(entries);
  for (const module of reached) {
    const text = readFileSync(join(declarations, `${module}.d.ts`), "utf8");
    for (const [, name] of text.matchAll(NAMES)) reached.add(join(dirname(module), name.slice(name.indexOf('"') + 1)));
    const target = join(out, `${module}.d.ts`);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text.replace(NAMES, '$1.js"').replace(/^\/\/# sourceMappingURL.*\n?/m, ""));
  }
}

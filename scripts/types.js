/**
 * @file The declarations that the package ships: those that tsc writes without what is marked @internal (its option stripInternal), of the
 * modules that the entries reach, under names that every compiler resolves.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

/** Names of modules in declarations: `from "./x.ts"`, `import("./x.ts")`. */
const NAMES = /((?:from |import\()"\.[^"]+)\.ts"/g;

/**
 * Copies what `entries` reach from `declarations`, where tsc wrote all, to `out`. Those of the folders `twice` are there a second time in
 * `out`/inference, where `inference` stands in place of `index`.
 */
export function writeTypes(declarations, out, entries, twice) {
  rmSync(out, { recursive: true, force: true });
  /** Where a module is, for those of the folder `own`, or, null, for all others. */
  const placeOf = (module, own) => (own === null ? module : module === "index" ? "inference" : `inference/${module}`);
  const write = (modules, own) => {
    // What is added while a set is walked is walked too.
    const reached = new Set(modules);
    for (const module of reached) {
      const place = placeOf(module, own);
      const text = readFileSync(join(declarations, `${module}.d.ts`), "utf8").replace(NAMES, (_, before) => {
        const name = join(dirname(module), before.slice(before.indexOf('"') + 1));
        const isOwn = own === null || name === "index" || name.startsWith(`${own}/`);
        if (own === null || name.startsWith(`${own}/`)) reached.add(name);
        const path = relative(dirname(place), `${isOwn ? placeOf(name, own) : name}.js`).replaceAll("\\", "/");
        return `${before.slice(0, before.indexOf('"') + 1)}${path.startsWith(".") ? path : `./${path}`}"`;
      });
      const target = join(out, `${place}.d.ts`);
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, text.replace(/^\/\/# sourceMappingURL.*\n?/m, ""));
    }
  };
  write(entries, null);
  for (const folder of twice) write([`${folder}/index`], folder);
}

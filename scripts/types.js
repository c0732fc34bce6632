/**
 * @file The declarations that the package ships: of those that tsc wrote, what the entries reach. A third of what tsc writes is between the library's own modules.
 * Relies on how tsc prints declarations: every statement starts in the first column, its doc comment before it.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const IDENTIFIER = /[A-Za-z_$][\w$]*/g;

/** Statements of a declaration file, each with the comments before it. */
function statementsOf(text) {
  const found = [];
  let open = "";
  let comment = false;
  for (const line of text.split("\n")) {
    const starts = !comment && /^(import|export|declare|type|interface|const|function|class)\b/.test(line);
    if (starts && /^(import|export|declare|type|interface|const|function|class)\b/m.test(open)) {
      // A comment that stands before this statement belongs to it.
      const [, before, comments] = /^([\s\S]*?)((?:\/\*\*(?:(?!\*\/)[\s\S])*\*\/\s*)*)$/.exec(open);
      found.push(before);
      open = comments;
    }
    open += `${line}\n`;
    if (/^\s*\/\*\*/.test(line)) comment = true;
    if (line.includes("*/")) comment = false;
  }
  if (open.trim() !== "") found.push(open);
  return found;
}

/** Members of classes that are for the library's own modules: those that say so, and those for derived classes. */
const INTERNAL = /^    (?:\/\*\* Internal: (?:(?!\*\/)[\s\S])*\*\/\n    (?!\/\*)|protected ).*\n(?:     .*\n|    \}.*\n)*/gm;

const code = (statement) => statement.replace(/\/\*[\s\S]*?\*\//g, "");

/** [exported name, name inside] of `{ a, b as c }`. */
const pairsOf = (list) => list.split(",").map((item) => item.trim().replace(/^type /, "")).filter(Boolean).map((item) => {
  const [inner, outer = inner] = item.split(/ as /);
  return { inner, outer };
});

function parse(esm, file) {
  const module = { file, statements: [], imports: new Map(), reexports: new Map(), stars: [] };
  const target = (specifier) => join(dirname(file), specifier.replace(/\.ts$/, ""));
  const entries = statementsOf(readFileSync(join(esm, `${file}.d.ts`), "utf8").replace(INTERNAL, ""));
  for (const text of entries) {
    const plain = code(text);
    const from = / from "(\.[^"]+)"/.exec(plain)?.[1];
    const statement = { text, declares: [], uses: new Set(plain.match(IDENTIFIER)), from: from && target(from), kind: "declaration", used: false };
    if (from !== undefined && /^import/m.test(plain)) {
      statement.kind = "import";
      const space = /\* as (\w+)/.exec(plain)?.[1];
      if (space) module.imports.set(space, { statement, name: "*" });
      for (const { inner, outer } of pairsOf(/\{([^}]*)\}/.exec(plain)?.[1] ?? "")) module.imports.set(outer, { statement, name: inner });
    } else if (from !== undefined) {
      statement.kind = "export";
      const space = /export (?:type )?\* as (\w+)/.exec(plain)?.[1];
      if (space) module.reexports.set(space, { statement, name: "*" });
      else if (/export (?:type )?\*/.test(plain)) module.stars.push(statement);
      for (const { inner, outer } of pairsOf(/\{([^}]*)\}/.exec(plain)?.[1] ?? "")) module.reexports.set(outer, { statement, name: inner });
    } else {
      statement.declares = [...plain.matchAll(/^(?:export )?(?:declare )?(?:abstract )?(?:const|let|function|class|interface|type|enum|namespace)\s+([\w$]+)/gm)].map((m) => m[1]);
      for (const m of plain.matchAll(/import\("(\.[^"]+)"\)(?:\.([\w$]+))?/g)) (statement.inline ??= []).push({ file: target(m[1]), name: m[2] ?? "*" });
    }
    module.statements.push(statement);
  }
  return module;
}

/** Writes what `entries` reach from `esm` to `out`, under names that every compiler resolves. */
export function writeTypes(esm, out, entries) {
  const modules = new Map();
  const load = (file) => modules.get(file) ?? modules.set(file, parse(esm, file)).get(file);
  const seen = new Set();
  const use = (module, statement) => {
    if (statement.used) return;
    statement.used = true;
    for (const name of statement.uses) want(module.file, name, true);
    for (const { file, name } of statement.inline ?? []) want(file, name);
  };
  /** `name` of a module, as exported or, `inside`, as its statements know it. False where it is not there. */
  function want(file, name, inside = false) {
    const key = `${file} ${name} ${inside}`;
    const module = load(file);
    const declared = module.statements.filter((s) => s.declares.includes(name));
    const imported = inside ? module.imports.get(name) : undefined;
    const passed = inside ? undefined : module.reexports.get(name);
    const here = name === "*" || declared.length > 0 || imported !== undefined || passed !== undefined;
    if (seen.has(key)) return here || module.stars.length > 0;
    seen.add(key);
    if (name === "*") {
      for (const s of module.statements) if (s.kind === "declaration" && /^export /m.test(code(s.text))) use(module, s);
      for (const outer of module.reexports.keys()) want(file, outer);
      for (const s of module.stars) want(s.from, "*");
    }
    for (const s of declared) use(module, s);
    for (const link of [imported, passed]) {
      if (link === undefined) continue;
      (link.statement.names ??= new Set()).add(name);
      want(link.statement.from, link.name);
    }
    if (!here && !inside) return module.stars.some((s) => want(s.from, name));
    return here;
  }
  for (const entry of entries) want(entry, "*");

  rmSync(out, { recursive: true, force: true });
  for (const [file, { statements, stars }] of modules) {
    const kept = statements.flatMap((s) => {
      if (s.kind === "declaration") return s.used || (s.declares.length === 0 && code(s.text).trim() !== "") ? [s.text] : [];
      if (stars.includes(s)) return [s.text];
      if (s.names === undefined) return [];
      const list = /\{[^}]*\}/.exec(s.text);
      if (list === null) return [s.text];
      const names = pairsOf(list[0].slice(1, -1)).filter(({ outer }) => s.names.has(outer)).map(({ inner, outer }) => (inner === outer ? inner : `${inner} as ${outer}`));
      return [`${s.text.slice(0, list.index)}{ ${names.join(", ")} }${s.text.slice(list.index + list[0].length)}`];
    });
    const needs = kept.some((text) => text.includes("[Symbol.dispose]")) ? '/// <reference lib="esnext.disposable" />\n' : "";
    const text = needs + kept.join("").replace(/(from |import\()"(\.[^"]+)\.ts"/g, '$1"$2.js"');
    // A module of which nothing is left is still named by `export *`.
    const target = join(out, `${file}.d.ts`);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, /^export/m.test(text) ? text : `${text}export {};\n`);
  }
}

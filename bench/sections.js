/**
 * @file RESULTS.md holds what benchmarks write and what people explain. A benchmark owns the lines between `<!-- NAME: begin -->` and
 * `<!-- NAME: end -->`; everything else is written by hand and left as it is.
 */
import { readFileSync, writeFileSync } from "node:fs";

const FILE = new URL("RESULTS.md", import.meta.url);

const LONGEST = 140;

/** Prose as people wrap it; rows of tables cannot be. */
export function wrapped(markdown) {
  const lines = [];
  for (let line of markdown.split("\n")) {
    while (line.length > LONGEST && !line.startsWith("|")) {
      const at = line.lastIndexOf(" ", LONGEST);
      if (at < 0) break;
      lines.push(line.slice(0, at));
      line = line.slice(at + 1);
    }
    lines.push(line);
  }
  return lines.join("\n");
}

/** Replaces the section `name`, or appends it. */
export function writeSection(name, markdown, file = FILE) {
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const text = readFileSync(file, "utf8");
  const section = `${begin}\n${wrapped(markdown.trim())}\n${end}`;
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 !== to < 0 || from > to) throw new Error(`RESULTS.md: section "${name}" needs both "${begin}" and "${end}", in this order`);
  writeFileSync(file, from < 0 ? `${text.trimEnd()}\n\n${section}\n` : text.slice(0, from) + section + text.slice(to + end.length));
}

/** A Markdown table. */
export const table = (head, rows) => [head, head.map(() => "---"), ...rows].map((r) => `| ${r.join(" | ")} |`).join("\n");

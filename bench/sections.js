/**
 * @file RESULTS.md holds what benchmarks write and what people explain. A benchmark owns the lines between `<!-- NAME: begin -->` and
 * `<!-- NAME: end -->`; everything else is written by hand and left as it is.
 */
import { readFileSync, writeFileSync } from "node:fs";

const FILE = new URL("RESULTS.md", import.meta.url);

/** Replaces the section `name`, or appends it. */
export function writeSection(name, markdown, file = FILE) {
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const text = readFileSync(file, "utf8");
  const section = `${begin}\n${markdown.trim()}\n${end}`;
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if ((from < 0) !== (to < 0) || from > to) throw new Error(`RESULTS.md: section "${name}" needs both "${begin}" and "${end}", in this order`);
  writeFileSync(file, from < 0 ? `${text.trimEnd()}\n\n${section}\n` : text.slice(0, from) + section + text.slice(to + end.length));
}

/** A Markdown table. */
export const table = (head, rows) => [head, head.map(() => "---"), ...rows].map((r) => `| ${r.join(" | ")} |`).join("\n");

/**
 * @file Several dispatches as one. Its workgroups are dealt to them, and each is a function that is told which of its own it is. What they
 * declare alike they share; of names that mean several things the later ones get another. A kernel that knows nothing of its workgroup
 * (no barrier, no memory, no subgroups) may run in one of any size, others only in one of theirs.
 */
import { once } from "../cache.ts";
import type { EncodedDispatch, Resource } from "./list.ts";
import { moduleText, namesIn, WORD } from "./shader.ts";
import type { Declared } from "./shader.ts";

type Declarations = EncodedDispatch["declarations"];

/** What to know of a dispatch's text. */
export interface Measured {
  /** Invocations of a workgroup, and of its first dimension. */
  readonly threads: number;
  readonly width: number;
  /** True where it needs workgroups of just that many. */
  readonly whole: boolean;
  /** Bytes of workgroup memory by all that says what a variable is. */
  readonly memory: ReadonlyMap<string, number>;
  /** Types of its bindings. */
  readonly types: ReadonlyMap<number, string>;
  /** What its entry point takes, in order. */
  readonly builtins: readonly string[];
}

/** A dispatch that becomes part of another. */
export interface Member {
  readonly dispatch: EncodedDispatch;
  readonly own: Measured;
}

const ENTRY = /^@compute\s*@workgroup_size\(([^)]*)\)\s*fn\s+(\w+)\(([^]*?)\)\s*\{/;
const BUILTIN = /@builtin\((\w+)\)\s*/g;
const STORAGE = /@binding\((\d+)\)\s*var<storage[^>]*>\s*\w+\s*:\s*([^;]*);/;
/** A type of what is in workgroup memory, with how many elements, for which a word is enough. (The build writes vec4f for vec4<f32>.) */
const ELEMENT = /^(?:vec([24])[fhiu]|[fiu]32|f16|atomic<u32>)$/;
/** What entry points may take, of an invocation: the number of its workgroup, and its own in it. */
const ARGUMENTS: { readonly [builtin: string]: (own: Measured, groups: readonly number[]) => string } = {
  workgroup_id: (_, [x, y]) => `vec3<u32>(at % ${x}u, at / ${x}u % ${y}u, at / ${x * y}u)`,
  num_workgroups: (_, groups) => `vec3<u32>(${groups.map((n) => `${n}u`).join(", ")})`,
  local_invocation_index: () => "local",
  local_invocation_id: ({ width }) => `vec3<u32>(local % ${width}u, local / ${width}u, 0u)`,
};

/** Names that the declaration of `name` uses of others. */
const uses = (name: string, declarations: Declarations): Set<string> =>
  new Set(namesIn(declarations.get(name) as string).filter((word) => word !== name && declarations.has(word)));

const OPERATIONS: { readonly [op: string]: (a: number, b: number) => number } = {
  "*": (a, b) => a * b,
  "/": (a, b) => Math.floor(a / b),
  "%": (a, b) => a % b,
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
};

/** The value of a constant expression of u32, or NaN where that is more than sums and products of numbers and of constants. */
function valueOf(text: string, declarations: Declarations): number {
  const constant = (name: string): string => /^const\s+\w+\s*(?::\s*u32\s*)?=([^;]*);$/.exec(declarations.get(name) ?? "")?.[1] ?? "?";
  let rest = text.replace(WORD, (name) => String(valueOf(constant(name), declarations))).replace(/\s+|(?<=\d)u\b/g, "");
  const result = (_: string, a: string, op: string, b: string): string => String(OPERATIONS[op](Number(a), Number(b)));
  for (let before = ""; before !== rest;) {
    before = rest;
    rest = rest.replace(/\((\d+)\)/, "$1");
    const product = rest.replace(/(?<![*/%\d])(\d+)([*/%])(\d+)/, result);
    rest = product === rest ? rest.replace(/(?<![*/%\d])(\d+)([+-])(\d+)(?![*/%\d])/, result) : product;
  }
  return Number(rest);
}

/** What to know of a dispatch to make it part of another; null where its text has something that this file does not know. */
export function measured({ entry, declarations, alone }: EncodedDispatch): Measured | null {
  if (alone) return null;
  const [, size, , parameters] = ENTRY.exec(declarations.get(entry) as string) ?? [];
  if (size === undefined) return null;
  const [width, height = 1] = size.split(",").map((n) => valueOf(n, declarations));
  const builtins = [...parameters.matchAll(BUILTIN)].map(([, name]) => name);
  const memory = new Map<string, number>();
  const types = new Map<number, string>();
  let whole = false;
  /** A type without names of this text. */
  const resolved = (type: string): string =>
    type.replace(WORD, (word) => /^alias\s+\w+\s*=\s*([^;]*);/.exec(declarations.get(word) ?? "")?.[1] ?? word);
  for (const [name, declaration] of declarations) {
    whole ||= /\b(?:workgroupBarrier|storageBarrier|workgroupUniformLoad|subgroup)/.test(declaration);
    const [, binding, bound] = STORAGE.exec(declaration) ?? [];
    if (binding !== undefined) types.set(Number(binding), resolved(bound));
    const [, type] = /^var<workgroup>\s*\w+\s*:\s*([^;]*);$/.exec(declaration) ?? [];
    if (type === undefined) continue;
    whole = true;
    const [, element, length] = /^array<(.*),([^,]*)>$/.exec(type) ?? [null, type, "1"];
    const fits = ELEMENT.exec(resolved(element));
    memory.set(closure(name, declarations), fits === null ? NaN : 4 * Number(fits[1] ?? 1) * valueOf(length, declarations));
  }
  const known =
    [width * height, ...memory.values()].every(Number.isFinite) &&
    builtins.every((b) => b in ARGUMENTS) &&
    // Bindings of a type that is declared here would have to be given its name.
    [...types.values()].every((type) => (type.match(WORD) ?? []).every((word) => !declarations.has(word)));
  return known ? { threads: width * height, width, whole, memory, types, builtins } : null;
}

/** A declaration with all that it needs. */
const closure = (name: string, declarations: Declarations): string =>
  `${declarations.get(name)}${[...uses(name, declarations)].map((used) => closure(used, declarations)).join("")}`;

/** Names what a dispatch binds, as what: those of several that are the same are one binding. An absent output is nobody else's. */
export const bindingOf = ({ space, index, offset, writable, binding }: Resource, { types }: Measured, member: number): string =>
  `${space} ${index} ${offset} ${types.get(binding)}${writable && space === "absent" ? ` of ${member}` : ""}`;

/** Workgroups of `threads` invocations that do what those of a dispatch do. */
const groupsOf = ({ groups: [x, y, z] }: EncodedDispatch, own: Measured, threads: number): number =>
  Math.ceil((x * y * z * own.threads) / threads);

/** What the one dispatch for `members` declares besides bindings. The k-th has its binding b as `bindings[k].get(b)`. */
function declarationsOf(
  members: readonly Member[],
  threads: number,
  bindings: readonly ReadonlyMap<number, number>[],
): Map<string, string> {
  const made = new Map<string, string>();
  /** What a name stands for, and by which name. */
  const meanings = new Map<string, string>();
  const branches: string[] = [];
  let first = 0;
  members.forEach(({ dispatch, own }, k) => {
    const { entry, declarations, groups } = dispatch;
    const names = new Map<string, string>();
    const named = (name: string): string =>
      once(names, name, () => {
        const declaration = declarations.get(name) as string;
        const [, binding] = STORAGE.exec(declaration) ?? [];
        if (binding !== undefined) return `buffer_${bindings[k].get(Number(binding))}`;
        const others = new Map([...uses(name, declarations)].map((word) => [word, named(word)]));
        // Members of a struct are not what is at module scope.
        const struct = declaration.startsWith("struct");
        const text = declaration
          .replace(ENTRY, (all) => all.replace(/^[^]*?(?=fn)/, "").replace(BUILTIN, ""))
          .replace(WORD, (word, at: number, all: string) =>
            struct && /^\s*:/.test(all.slice(at + word.length)) ? word : (others.get(word) ?? word),
          );
        return once(meanings, text, () => {
          const free = made.has(name) ? `${name}_m${k}` : name;
          made.set(free, free === name ? text : text.replace(new RegExp(`(?<![.\\w@])${name}(?!\\w)`), free));
          return free;
        });
      });
    const call = `${named(entry)}(${own.builtins.map((b) => ARGUMENTS[b](own, groups)).join(", ")});`;
    const last = first + groupsOf(dispatch, own, threads);
    const lines =
      own.threads === threads
        ? [`let at = group - ${first}u;`, call]
        : [
            `let number = (group - ${first}u) * ${threads}u + index;`,
            `let at = number / ${own.threads}u;`,
            `let local = number % ${own.threads}u;`,
            `if (at < ${groups[0] * groups[1] * groups[2]}u) { ${call} }`,
          ];
    branches.push(`if (group < ${last}u) {\n${lines.join("\n")}\n}`);
    first = last;
  });
  made.set(
    "batch",
    `@compute @workgroup_size(${threads})\n` +
      `fn batch(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) index: u32) {\n` +
      `let group = id.x;\nlet local = index;\n${branches.join(" else ")}\n}`,
  );
  return made;
}

/** Makes one dispatch of several. Those that differ in their buffers alone share a text. */
export class Merger {
  readonly #ids = new Map<Declarations, number>();
  readonly #made = new Map<string, Pick<EncodedDispatch, "text" | "declarations">>();

  /** @param threads invocations of a workgroup: what the members that need workgroups of their own size need */
  merged(members: readonly Member[], threads: number): EncodedDispatch {
    const numbers = new Map<string, number>();
    const resources: Resource[] = [];
    const declared: Declared[] = [];
    const types: string[] = [];
    let absent = 0;
    const bindings = members.map(({ dispatch, own }, k) => {
      const entries = dispatch.resources.map((r): [number, number] => {
        const binding = once(numbers, bindingOf(r, own, k), () => numbers.size);
        const bytes = Math.max(r.bytes, resources[binding]?.bytes ?? 0);
        const index = r.writable && r.space === "absent" ? ++absent : r.index;
        resources[binding] = { ...r, binding, index, bytes };
        declared[binding] = { binding, writable: r.writable };
        const access = r.writable ? "read_write" : "read";
        types[binding] = `@group(0) @binding(${binding}) var<storage, ${access}> buffer_${binding}: ${own.types.get(r.binding)};`;
        return [r.binding, binding];
      });
      return new Map(entries);
    });
    const label = members.map(({ dispatch }) => dispatch.label).join("+");
    const groups = [members.reduce((sum, { dispatch, own }) => sum + groupsOf(dispatch, own, threads), 0), 1, 1] as const;
    const key = members.map(({ dispatch }, k) => {
      const id = once(this.#ids, dispatch.declarations, () => this.#ids.size);
      return `${id} ${dispatch.groups.join()} ${[...bindings[k].values()].join()}`;
    });
    const made = once(this.#made, `${threads};${key.join(";")};${types.join("")}`, () => {
      const declarations = declarationsOf(members, threads, bindings);
      types.forEach((type, i) => declarations.set(`buffer_${i}`, type));
      return { text: moduleText(declarations.values()), declarations };
    });
    return { label, entry: "batch", alone: false, declared, resources, groups, ...made };
  }
}

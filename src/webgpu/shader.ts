/**
 * @file WGSL of one dispatch: a kernel's file with its constants and body put in, of which what the entry point reaches is
 * kept, with the library functions (kernels/math.wgsl and others) that this calls. A file may therefore declare several
 * entry points with bindings of their own under the same numbers. Where subgroups are used, the module says so.
 */
import shaders from "#shaders";
import { assert } from "../assert.ts";
import type { Constants, GpuKernels, Shader } from "./dispatch.ts";
import { storeHalves } from "./half.ts";

/** Files whose functions any kernel may call. */
const LIBRARIES = ["index", "math", "steps", "activation", "recurrent", "gemm", "rows", "half", "bytes", "philox"];

/** A binding that a shader declares. */
export interface Declared {
  readonly binding: number;
  readonly writable: boolean;
}

export interface ShaderText {
  readonly text: string;
  readonly entry: string;
  /** In order of `binding`. */
  readonly declared: readonly Declared[];
  /** What is at module scope, by name. */
  readonly declarations: ReadonlyMap<string, string>;
}

/**
 * `const`, `var`, `fn`, `struct` or `alias` at module scope, by name. Names bound twice (variables of different entry points never are) are
 * refused.
 */
type Declarations = ReadonlyMap<string, string>;

/** Splits WGSL without comments into its module-scope declarations. */
function declarationsOf(file: string, text: string): Declarations {
  const found = new Map<string, string>();
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const ch = text[i];
    if (ch === "{" || ch === "(") depth++;
    else if (ch === "}" || ch === ")") depth--;
    if (depth > 0 || (ch !== ";" && ch !== "}")) continue;
    const declaration = text.slice(from, i + 1).trim();
    from = i + 1;
    if (declaration === ";") continue;
    const name = /^(?:@\w+(?:\([^)]*\))?\s*)*(?:fn|const|struct|alias|var(?:<[^>]*>)?)\s+(\w+)/.exec(declaration)?.[1];
    assert(name !== undefined, () => `${file}.wgsl: unknown declaration ${declaration.slice(0, 80)}`);
    assert(
      () => !found.has(name),
      () => `${file}.wgsl: repeated declaration ${name}`,
    );
    found.set(name, declaration);
  }
  return found;
}

/** What a function declares. */
const OWN = /\b(?:let|var|const)\s+(\w+)|[(,]\s*(?:@\w+\(\w+\)\s*)?(\w+)\s*:/g;

/** Names that stand for something at module scope, and not for a member (`v.x`), an attribute or a number. */
export const WORD = /(?<![.@\w])[A-Za-z_]\w*/g;

/** Names in a declaration. A function's own variables and parameters are not those of the module. */
export function namesIn(declaration: string): string[] {
  const own = new Set([...declaration.matchAll(OWN)].map(([, variable, parameter]) => variable ?? parameter));
  return (declaration.match(WORD) ?? []).filter((word) => !own.has(word));
}

let libraries: Declarations | null = null;

function fileText(file: string, files: GpuKernels["shaders"] = shaders): string {
  assert(
    () => Object.hasOwn(files, file),
    () => `no file ${file}.wgsl`,
  );
  return files[file];
}

/** What the libraries declare. */
function library(): Declarations {
  return (libraries ??= declarationsOf("libraries", LIBRARIES.map((file) => fileText(file)).join("\n")));
}

/**
 * A constant with its value. Where the file does not say f32, or the build left the constant out, numbers are u32, negative ones wrapped
 * around.
 */
function constant(name: string, value: Constants[string], declared = ""): string {
  if (typeof value === "string") return `alias ${name} = ${value};`;
  if (typeof value === "object") return `const ${name} = vec2<u32>(${value.join()});`;
  if (typeof value === "boolean") return `const ${name} = ${value};`;
  return `const ${name}: ${/:\s*f32/.test(declared) ? `f32 = ${value}` : `u32 = ${value >>> 0}`};`;
}

/**
 * @param files of the core and of parts, by name
 * @param halves bindings that hold f16
 * @param halfTiles whether products have their operands as f16 in workgroup memory
 * @throws Error (internal) for a file, entry point, hook or body block that is not there.
 */
export function shaderText(
  { file, entry = "main", constants, hooks = {}, body, directives = [] }: Shader,
  files: GpuKernels["shaders"],
  halves: ReadonlySet<number> = new Set(),
  halfTiles = false,
): ShaderText {
  let source = fileText(file, files);
  if (body !== undefined) {
    const block = /^\/\/ body$[^]*^\/\/ end body$/m;
    assert(
      () => block.test(source),
      () => `${file}.wgsl has no body`,
    );
    source = source.replace(block, () => body);
  }
  const all = new Map([...library(), ...declarationsOf(file, source.replace(/^\/\/.*$/gm, ""))]);
  const find = (name: string): string | undefined => {
    const [, op, type = "f32"] = /^op_([A-Za-z\d]+)(?:_(\w+))?$/.exec(name) ?? [];
    if (op === undefined || all.has(name)) return all.get(name);
    const scalar = type === "f32" ? all.get(`f32_${op}`) : undefined;
    return (
      scalar?.replace(`f32_${op}`, name) ??
      all
        .get(`any_${op}`)
        ?.replace(`any_${op}`, name)
        .replaceAll("Scalar", type === "bool" ? "u32" : type)
    );
  };
  for (const [name, value] of Object.entries(constants)) all.set(name, constant(name, value, all.get(name)));
  for (const [name, target] of Object.entries(hooks)) {
    const found = find(target);
    assert(found !== undefined, () => `${file}.wgsl has no function ${target}`);
    all.set(name, found.replace(target, name));
  }
  const stored = halves.size > 0 || halfTiles ? storeHalves(all, halves, halfTiles) : (declaration: string): string => declaration;
  assert(
    () => all.has(entry),
    () => `${file}.wgsl has no entry point ${entry}`,
  );

  const kept = new Map<string, string>();
  const wanted = [entry];
  for (let name = wanted.pop(); name !== undefined; name = wanted.pop()) {
    if (kept.has(name)) continue;
    const found = find(name);
    if (found === undefined) continue;
    const declaration = stored(found);
    kept.set(name, declaration);
    wanted.push(...namesIn(declaration));
  }
  // What is noted last is written first.
  for (const directive of directives) kept.set(directive, `${directive};`);
  const declared = [...kept.values()]
    .map((d) => /@binding\((\d+)\)\s*var<storage(?:,\s*(\w+))?>/.exec(d))
    .filter((m) => m !== null)
    .map((m) => ({ binding: Number(m[1]), writable: m[2] === "read_write" }))
    .sort((a, b) => a.binding - b.binding);
  assert(
    () => declared.every((d, i) => i === 0 || d.binding !== declared[i - 1].binding),
    () => `${file}.wgsl: ${entry} reaches two variables of one binding`,
  );
  return { text: moduleText(kept.values()), entry, declared, declarations: kept };
}

/** A module of these declarations. */
export function moduleText(declarations: Iterable<string>): string {
  const lines = [...declarations];
  // Joins run over as many invocations as a subgroup has, which no analysis can tell to be the same for all of them.
  if (lines.some((d) => /\bsubgroup[A-Z]\w*\(/.test(d))) lines.push("diagnostic(off, subgroup_uniformity);", "enable subgroups;");
  if (lines.some((d) => /\bf16\b/.test(d))) lines.push("enable f16;");
  return lines.reverse().join("\n");
}

/** @file Models in several files: one of JSON, which names the others, and these, which lie beside it. */
import { bytesOf, pathOf } from "../io/source.ts";
import { builtin } from "../node/files.ts";
import { FileError } from "../index.ts";
import type { ModelSource } from "../index.ts";
import { textOf } from "./bytes.ts";
import { show, some } from "./fields.ts";
import type { Json } from "./fields.ts";
import { parseJson } from "./json.ts";

/** The files of a model by their names: `{ "model.json": file, "weights.bin": file }`, a `Map`, or a list of `File`s. */
export type ModelFiles =
  { readonly [name: string]: ModelSource } | ReadonlyMap<string, ModelSource> | readonly (Blob & { readonly name: string })[];

/** The file of JSON, and how a file beside it is read. */
export interface Opened {
  readonly who: string;
  readonly json: Json;
  readonly read: (name: string) => Promise<Uint8Array>;
}

const MOST_JSON = 2 ** 28;

/** The last part of a path: the files of a model lie in one folder. @throws FileError for a path that leaves it */
export function fileName(who: string, path: string): string {
  const name = path.replace(/^\.\//, "");
  if (name === "" || /^[/\\]|^[a-z][a-z\d+.-]*:|(^|[/\\])\.\.([/\\]|$)|[\0?#]/i.test(name))
    throw new FileError(`${who}: a file of weights at ${show(path)} is not beside it, and is not opened`);
  return name;
}

function jsonIn(who: string, bytes: Uint8Array): Json {
  if (bytes.length > MOST_JSON) throw new FileError(`${who}: ${bytes.length} bytes are no model.json`);
  const text = textOf(who, "model.json", bytes);
  if (/^\s*\[/.test(text))
    throw new FileError(
      `${who}: a list, such as a manifest of weights, which does not say what layers they are of; a file of a model has both ` +
        "(modelTopology and weightsManifest)",
    );
  return parseJson(who, text);
}

/** What lies beside a path or an address. */
function beside(address: string): (name: string) => string {
  if (pathOf(address) !== null && !/^file:/i.test(address)) {
    const path = builtin("node:path");
    return (name) => (path === undefined ? `${address.replace(/[^/]*$/, "")}${name}` : path.join(path.dirname(address), name));
  }
  // On pages addresses may be relative.
  const { location } = globalThis as { location?: { readonly href: string } };
  const base = new URL(address, location?.href);
  return (name) => {
    const url = new URL(name, base);
    url.search = base.search;
    return url.href;
  };
}

const isList = (source: object): source is readonly (Blob & { readonly name: string })[] => Array.isArray(source);

/** Files by name; null for what is one file. */
export function namedFiles(source: unknown): ReadonlyMap<string, ModelSource> | null {
  if (source instanceof Map) return source as ReadonlyMap<string, ModelSource>;
  if (typeof source !== "object" || source === null) return null;
  if (isList(source)) return new Map(source.map((file) => [file.name, file]));
  const plain = [Object.prototype, null].includes(Object.getPrototypeOf(source) as null);
  return plain && Object.keys(source).some((name) => name.endsWith(".json")) ? new Map(Object.entries(source)) : null;
}

/** @throws FileError for what is no JSON */
export async function open(by: string, source: ModelSource | ModelFiles): Promise<Opened> {
  const files = namedFiles(source);
  if (files !== null) {
    const name = files.has("model.json") ? "model.json" : [...files.keys()].find((key) => key.endsWith(".json"));
    if (name === undefined) throw new FileError(`${by}: no file of JSON, such as model.json, among ${some(files.keys(), 8)}`);
    const json = jsonIn(name, (await bytesOf(by, files.get(name) as ModelSource)).bytes);
    const read = async (file: string): Promise<Uint8Array> => {
      const found = files.get(file) ?? files.get(file.replace(/^.*\//, ""));
      if (found === undefined)
        throw new FileError(`${name}: the file of weights ${show(file)} was not given; there are ${some(files.keys(), 8)}`);
      return (await bytesOf(file, found)).bytes;
    };
    return { who: name, json, read };
  }
  const given = (await (source as ModelSource)) as unknown;
  return openBeside(by, given, await bytesOf(by, given as ModelSource));
}

/** What lies beside a file of JSON that has been read. @throws FileError for what is no JSON */
export function openBeside(by: string, given: unknown, { who, bytes }: { readonly who: string; readonly bytes: Uint8Array }): Opened {
  const json = jsonIn(who, bytes);
  const address = typeof given === "string" || given instanceof URL ? String(given) : ((given as Partial<Response>).url ?? "");
  const place = address === "" ? null : beside(address);
  const read = async (name: string): Promise<Uint8Array> => {
    if (place === null)
      throw new FileError(
        `${who}: its weights are in the file ${show(name)}; give ${by} both by name: { "model.json": ..., ${show(name)}: ... }`,
      );
    return (await bytesOf(name, place(name))).bytes;
  };
  return { who, json, read };
}

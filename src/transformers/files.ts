/** @file The files of a model: a folder, an address with files below it, or files by name. */
import { rangesOf } from "../io/ranges.ts";
import type { RangeSource, Ranges } from "../io/ranges.ts";
import { cut } from "../io/safetensors.ts";
import { cannotRead, pathOf } from "../io/source.ts";
import { ArgumentError, FileError } from "../index.ts";
import type { ModelSource } from "../index.ts";
import { fileState } from "../node/files.ts";
import { parseObject } from "./config.ts";
import type { Json } from "./config.ts";
import { paged } from "./pages.ts";
import type { Reading } from "./pages.ts";
import { part } from "./part.ts";

/** Files by name: those of a folder that was dropped on a page, for example, also a `FileList` as it is. */
export type NamedFiles =
  ReadonlyMap<string, ModelSource | RangeSource> | { readonly [name: string]: ModelSource | RangeSource } | ArrayLike<NamedFile>;

/** A `File`. */
export interface NamedFile extends BlobLike {
  readonly name: string;
  /** Its place in a folder that was picked. */
  readonly webkitRelativePath?: string;
}

/** A `Blob`. */
export interface BlobLike {
  /** All of its bytes. */
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** Files that can be opened by name. */
export interface Folder {
  /** What errors call it. */
  readonly who: string;
  has(name: string): Promise<boolean>;
  /** Null where there is no such file. */
  open(name: string): Promise<RangeSource | null>;
  /** A file as text; null where there is no such file. */
  text(name: string): Promise<string | null>;
  /** A file as JSON, which must be an object; null where there is no such file. */
  json(name: string): Promise<Json | null>;
}

/** The most that a file of JSON may have: the largest tokenizers have 33 MB. */
const MOST_JSON_BYTES = 2 ** 28;

/** A folder by how it opens files. Files are opened once. */
function folderOf(who: string, find: (name: string) => Promise<Ranges | null>, { signal }: Reading): Folder {
  const opened = new Map<string, Promise<RangeSource | null>>();
  const open = (name: string): Promise<RangeSource | null> => {
    const known = opened.get(name);
    if (known !== undefined) return known;
    const opening = find(name).then((ranges) => (ranges === null ? null : paged(ranges, signal)));
    opened.set(name, opening);
    return opening;
  };
  const text = async (name: string): Promise<string | null> => {
    const file = await open(name);
    if (file === null) return null;
    opened.delete(name);
    if (file.size > MOST_JSON_BYTES) throw new FileError(`${who}: ${name} has ${file.size} bytes, at most ${MOST_JSON_BYTES} are read`);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(await file.read(0, file.size)));
    } catch (cause) {
      if (cause instanceof TypeError) throw new FileError(`${who}: ${name} must be UTF-8`, { cause });
      throw cause;
    }
  };
  return {
    who,
    open,
    text,
    has: async (name) => (await open(name)) !== null,
    json: async (name) => {
      const content = await text(name);
      return content === null ? null : parseObject(`${who}: ${name}`, content);
    },
  };
}

/** Nothing at an address, as servers say it: some give 403 for what is not there, those of single pages their page. */
const ABSENT = /HTTP status (404|403|410)|the answer is an HTML page/;

async function ifThere(find: () => Promise<Ranges>): Promise<Ranges | null> {
  try {
    return await find();
  } catch (error) {
    if (error instanceof FileError && ABSENT.test(error.message)) return null;
    throw error;
  }
}

const inMap = (files: ReadonlyMap<string, ModelSource | RangeSource>, reading: Reading): Folder =>
  folderOf(
    "files",
    async (name) => {
      const file = files.get(name);
      return file === undefined ? null : rangesOf(name, file, reading);
    },
    reading,
  );

/** What names begin with: those of files that were picked or dropped may have their folder's in front. Null: no config.json. */
function rootOf(names: readonly string[]): string | null {
  const [config] = names.filter((name) => /(^|\/)config\.json$/.test(name)).sort((a, b) => a.length - b.length);
  return config === undefined ? null : config.slice(0, -"config.json".length);
}

/** Whether a name is that of a GGUF file. */
const isGguf = (name: string): boolean => /\.gguf([?#]|$)/i.test(name);

/** Files by name, null for what is one file. */
function namedFiles(source: NamedFiles | RangeSource | BlobLike): ReadonlyMap<string, ModelSource | RangeSource> | null {
  if (source instanceof Map) return source;
  // Also lists that are no arrays; of what can be gone through, bytes are none.
  if (Symbol.iterator in source && !ArrayBuffer.isView(source))
    return new Map(Array.from(source as unknown as ArrayLike<NamedFile>, (f) => [f.webkitRelativePath || f.name, f]));
  const isPlain = Object.getPrototypeOf(source) === Object.prototype;
  if (!isPlain || typeof (source as Partial<RangeSource>).read === "function") return null;
  return new Map(Object.entries(source as { readonly [name: string]: ModelSource }));
}

/** What is to be opened: a folder, or one file. */
export type Opened = { readonly folder: Folder } | { readonly file: RangeSource };

/** @throws ArgumentError for what is no source, FileError for what cannot be read */
export async function openSource(source: string | URL | NamedFiles | RangeSource | BlobLike, reading: Reading): Promise<Opened> {
  const what = "loadPretrained";
  if (typeof source === "string" || source instanceof URL) {
    const who = String(source);
    const path = pathOf(who);
    const atAddress = async (address: string): Promise<Ranges> => {
      const { cache } = reading;
      if (cache === false) return rangesOf(address, address, reading);
      const { cached } = await part(import("./parts/cache.ts"));
      return cached(address, { ...reading, cache });
    };
    if (isGguf(who)) return { file: paged(await (path === null ? atAddress(who) : rangesOf(who, who, reading)), reading.signal) };
    if (path === null) {
      const base = who.endsWith("/") ? who : `${who}/`;
      return { folder: folderOf(who, (name) => ifThere(() => atAddress(base + name)), reading) };
    }
    const base = String(path).replace(/\/$/, "");
    const isThere = async (place: string): Promise<boolean> => (await fileState(place).catch(() => null)) !== null;
    if (await isThere(base)) throw cannotRead(who, "it is a file; expected the folder of a model, or a file whose name ends with .gguf");
    const find = async (name: string): Promise<Ranges | null> => {
      const place = `${base}/${name}`;
      const at = /^file:/i.test(place) ? new URL(place) : place;
      return (await fileState(at).catch(() => null)) === null ? null : rangesOf(place, at, reading);
    };
    return { folder: folderOf(who, find, reading) };
  }
  if (source === null || typeof source !== "object")
    throw new ArgumentError(`${what}: expected a folder's path, an address, files by name or a GGUF file, got ${cut(String(source))}`);
  const files = namedFiles(source);
  if (files === null) return { file: paged(await rangesOf(what, source as BlobLike, reading), reading.signal) };
  const gguf = [...files].find(([name]) => isGguf(name));
  const root = rootOf([...files.keys()]);
  if (gguf !== undefined && root === null) return { file: paged(await rangesOf(gguf[0], gguf[1], reading), reading.signal) };
  const byName = new Map(
    [...files].flatMap(([name, file]) => (name.startsWith(root ?? "") ? [[name.slice((root ?? "").length), file]] : [])),
  );
  return { folder: inMap(byName, reading) };
}

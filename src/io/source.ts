/** @file Where files come from: paths, addresses, bytes, and what the web hands them out as. */
import { ArgumentError, FileError } from "../errors.ts";
import { builtin, readBytes } from "../node/files.ts";
import { cut } from "./safetensors.ts";

type GivenSource =
  | string
  | URL
  | ArrayBufferView
  | ArrayBufferLike
  | { arrayBuffer(): Promise<ArrayBuffer> }
  | { getReader(): unknown }
  | AsyncIterable<Uint8Array>;

/**
 * What a file is read from, or a promise of it: a path (Node, Deno, Bun), an address (http:, https:, blob:, data: or file:, as text or
 * `URL`; on pages also relative), a `Response`, `Blob`, `File`, a stream of bytes (a `ReadableStream`, or one of Node's), or the bytes
 * themselves (an `ArrayBuffer` or a view of one).
 */
export type ModelSource = GivenSource | PromiseLike<GivenSource>;

/** True for what `fetch` takes: addresses, and on pages and their workers, where there are no files, relative ones. */
const isAddress = (name: string): boolean =>
  /^(https?|blob|data):/i.test(name) || (builtin("node:fs") === undefined && (globalThis as { location?: unknown }).location !== undefined);

/** The file that `name` names; null for what `fetch` takes. @throws FileError for other addresses, which no file is called */
export function pathOf(name: string): string | URL | null {
  if (isAddress(name)) return null;
  const kind = /^(?!file:)[a-z][a-z\d+.-]+:(?=\/\/)/i.exec(name);
  if (kind) {
    throw cannotRead(name, `expected a path or an address with http:, https:, file:, blob: or data:, got ${kind[0]}; give its bytes`);
  }
  return /^file:/i.test(name) ? new URL(name) : name;
}

export const cannotRead = (who: string, why: string, cause?: unknown): FileError =>
  new FileError(`cannot read "${cut(who, 120)}": ${why}`, { cause });

/** @internal What a promise of the web gives. @throws FileError for what it rejects with. */
export async function arrived<T>(who: string, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    const { message, cause } = error as Error;
    // Node says "fetch failed" and keeps the reason to itself.
    throw cannotRead(who, cause instanceof Error ? `${message}: ${cause.message}` : message, error);
  }
}

/** @internal @throws FileError for an answer that is no file. */
export function checkResponse(who: string, { ok, status, statusText, headers }: Response): void {
  if (!ok) throw cannotRead(who, `the answer is HTTP status ${status} ${statusText}`);
  if (headers.get("content-type")?.startsWith("text/html")) throw cannotRead(who, "the answer is an HTML page");
}

/** @internal @throws FileError where the source cannot be read, ArgumentError for what is none. */
export async function bytesOf(what: string, given: ModelSource): Promise<{ readonly who: string; readonly bytes: Uint8Array }> {
  const source = await given;
  if (typeof source === "string" || source instanceof URL) {
    const who = String(source);
    const path = pathOf(who);
    return path === null ? bytesOf(who, arrived(who, fetch(who))) : { who, bytes: await readBytes(path) };
  }
  const of = Object(source) as Partial<Response & File & ReadableStream & ArrayBuffer & AsyncIterable<Uint8Array>>;
  const who = cut(of.url || of.name || what, 120);
  if (ArrayBuffer.isView(source)) return { who, bytes: new Uint8Array(source.buffer, source.byteOffset, source.byteLength) };
  if (of.byteLength !== undefined) return { who, bytes: new Uint8Array(source as ArrayBuffer) };
  if (of.arrayBuffer !== undefined) {
    if (of.headers !== undefined) checkResponse(who, source as Response);
    return { who, bytes: new Uint8Array(await arrived(who, (source as Response).arrayBuffer())) };
  }
  if (of.locked) throw cannotRead(who, "the stream is locked, something else reads it; release its reader or give the bytes");
  if (of.getReader !== undefined || of[Symbol.asyncIterator] !== undefined) {
    // Runtimes that know other streams than those of the web take them here too; one that has been read from is refused.
    return bytesOf(who, arrived(who, (async () => new Response(source as ReadableStream))()));
  }
  const kind = Object.prototype.toString.call(source).slice(8, -1);
  throw new ArgumentError(`${what}: expected a path, an address, bytes, a Blob, a Response or a stream, got ${kind}`);
}

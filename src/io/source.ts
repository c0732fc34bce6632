/** @file Where files come from: paths, addresses, bytes, and what the web hands them out as. */
import { ArgumentError, FileError } from "../errors.ts";
import { builtin, readBytes } from "../node/files.ts";

type GivenSource = string | URL | ArrayBufferView | ArrayBufferLike
  | { arrayBuffer(): Promise<ArrayBuffer> } | { getReader(): unknown } | AsyncIterable<Uint8Array>;

/**
 * What a file is read from, or a promise of it: a path (Node, Deno, Bun), an address (http:, https:, blob:, data: or file:, as text or `URL`; on pages also relative), a
 * `Response`, `Blob`, `File`, a stream of bytes (a `ReadableStream`, or one of Node's), or the bytes themselves (an `ArrayBuffer` or a view of one).
 */
export type ModelSource = GivenSource | PromiseLike<GivenSource>;

/** A name for error texts. Addresses may hold the whole file. */
const short = (name: string): string => (name.length > 120 ? `${name.slice(0, 117)}...` : name);

/** True for what `fetch` takes: addresses, and on pages and their workers, where there are no files, relative ones. */
export const isAddress = (name: string): boolean =>
  /^(https?|blob|data):/i.test(name) || (builtin("node:fs") === undefined && (globalThis as { location?: unknown }).location !== undefined);

export const cannotRead = (who: string, why: string, cause?: unknown): FileError => new FileError(`cannot read "${short(who)}": ${why}`, { cause });

/** What a promise of the web gives. @throws FileError for what it rejects with. */
export async function arrived<T>(who: string, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    const { message, cause } = error as Error;
    // Node says "fetch failed" and keeps the reason to itself.
    throw cannotRead(who, cause instanceof Error ? `${message}: ${cause.message}` : message, error);
  }
}

/** @throws FileError for an answer that is no file. */
export function checkResponse(who: string, { ok, status, statusText, headers }: Response): void {
  if (!ok) throw cannotRead(who, `the answer is HTTP status ${status} ${statusText}`);
  if (headers.get("content-type")?.startsWith("text/html")) throw cannotRead(who, "the answer is an HTML page; is the address right?");
}

/** @throws FileError where the source cannot be read, ArgumentError for what is none. */
export async function bytesOf(what: string, given: ModelSource): Promise<{ readonly who: string; readonly bytes: Uint8Array }> {
  const source = await given;
  if (typeof source === "string" || source instanceof URL) {
    const name = String(source);
    if (!isAddress(name)) return { who: name, bytes: await readBytes(/^file:/i.test(name) ? new URL(name) : name) };
    return bytesOf(name, arrived(name, fetch(name)));
  }
  const who = short((source as { url?: string })?.url || (source as { name?: string })?.name || what);
  const { byteLength, arrayBuffer, getReader, [Symbol.asyncIterator]: chunks } = (source ?? {}) as Partial<Response & ReadableStream & ArrayBuffer>;
  if (ArrayBuffer.isView(source)) return { who, bytes: new Uint8Array(source.buffer, source.byteOffset, source.byteLength) };
  if (byteLength !== undefined && byteLength >= 0) return { who, bytes: new Uint8Array(source as ArrayBuffer) };
  if (typeof arrayBuffer === "function") {
    const { headers } = source as Response;
    if (headers !== undefined) checkResponse(who, source as Response);
    return { who, bytes: new Uint8Array(await arrived(who, (source as Response).arrayBuffer())) };
  }
  if (getReader !== undefined) return bytesOf(who, new Response(source as ReadableStream));
  if (chunks !== undefined) return bytesOf(who, collected(who, source as AsyncIterable<Uint8Array>));
  throw new ArgumentError(`${what}: expected a path, an address, bytes, a Blob, a Response or a stream, got ${Object.prototype.toString.call(source).slice(8, -1)}`);
}

async function collected(who: string, source: AsyncIterable<Uint8Array>): Promise<Blob> {
  const chunks: Uint8Array[] = [];
  await arrived(who, (async () => {
    for await (const chunk of source) chunks.push(chunk);
  })());
  return new Blob(chunks as BlobPart[]);
}

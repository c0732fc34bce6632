/** @file Parts of files: what a disk, a server and a blob can give without the rest. */
import { FileError } from "../errors.ts";
import { arrived, bytesOf, cannotRead, checkResponse, pathOf } from "./source.ts";
import type { ModelSource } from "./source.ts";
import { fileState, readRange } from "../node/files.ts";

/** What is looked at of an `AbortSignal`, which it must be. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason: unknown;
}

/** A file of one's own making, of which parts can be read: a cache, an archive, a bundle. */
export interface RangeSource {
  /** What errors call it. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Bytes [begin, end), which are within the size. */
  read(begin: number, end: number): Promise<Uint8Array> | Uint8Array;
}

/** A file of which parts can be read. */
export interface Ranges {
  readonly who: string;
  /** Null where nobody says. */
  readonly size: number | null;
  /** What has been read already: the file begins with it. */
  readonly begin: Uint8Array;
  /** What tells it from another file at the same address, where a server says that. */
  readonly version?: string | null;
  /**
   * Bytes [begin, end), which are within the size; in `into`, where the source can put them there: whoever reads a large file would leave
   * as much behind for the collector. @throws FileError for fewer.
   */
  read(begin: number, end: number, into?: Uint8Array): Promise<Uint8Array>;
}

const isRangeSource = (source: unknown): source is RangeSource =>
  typeof (source as Partial<RangeSource> | null)?.read === "function" && typeof (source as RangeSource).size === "number";

/** What is read of a source of one's own. @throws FileError for a size that is none and for other lengths than were asked for */
async function ofRangeSource({ name, size, read }: RangeSource): Promise<Ranges> {
  if (!Number.isSafeInteger(size) || size < 0) throw cannotRead(name, `its size must be a number of bytes, got ${String(size)}`);
  const part = async (begin: number, end: number): Promise<Uint8Array> => {
    const bytes: unknown = await read(begin, end);
    if (!(bytes instanceof Uint8Array) || bytes.length !== end - begin)
      throw cannotRead(
        name,
        `asked for bytes ${begin} to ${end - 1}, its read() gave ${bytes instanceof Uint8Array ? bytes.length : "no"} bytes`,
      );
    return bytes;
  };
  return { who: name, size, begin: await part(0, Math.min(FIRST_BYTES, size)), read: part };
}

/** What is read at first, so that most headers need no second request. */
const FIRST_BYTES = 2 ** 16;

const inMemory = (who: string, bytes: Uint8Array): Ranges => ({
  who,
  size: bytes.length,
  begin: bytes,
  read: async (begin, end) => bytes.subarray(begin, end),
});

interface Answer {
  readonly bytes: Uint8Array;
  readonly whole: boolean;
  readonly size: number | null;
  /** Tells an answer from one about another file. */
  readonly version: string | null;
}

/** What a server answers when it is asked for bytes [begin, end), or for all. @internal */
export async function answerFor(who: string, range: readonly [number, number] | null, network: NetworkOptions): Promise<Response> {
  const { signal, headers } = network;
  const asked = fetch(who, {
    headers: { ...headers, ...(range && { Range: `bytes=${range[0]}-${range[1] - 1}` }) },
    ...(signal && { signal: signal as AbortSignal }),
  });
  const response = await arrived(who, asked);
  checkResponse(who, response);
  return response;
}

/** Where the bytes of an answer are in their file, [from, end), and how many that has. */
export interface Place {
  readonly from: number;
  readonly end: number;
  readonly size: number;
}

/** Null where the server does not say, which those of other origins may hide. @internal */
export function placeOf({ status, headers, body }: Response): Place | null {
  if (body === null || headers.has("content-encoding")) return null;
  if (status === 206) {
    const [, from, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers.get("content-range") ?? "") ?? [];
    const place = { from: Number(from), end: Number(last) + 1, size: Number(size) };
    return place.from < place.end && place.end <= place.size ? place : null;
  }
  const size = headers.get("content-length");
  return size === null ? null : { from: 0, end: Number(size), size: Number(size) };
}

/** What tells a file from another at the same address. @internal */
export const versionOf = ({ headers }: Response): string | null => headers.get("etag") ?? headers.get("last-modified");

/** A part of what is at an address, or all of it where the server does not give parts. */
async function partOf(who: string, begin: number, end: number, response: Response): Promise<Answer> {
  const bytes = new Uint8Array(await arrived(who, response.arrayBuffer()));
  const { headers } = response;
  // Servers of other origins may hide both.
  const [, from = String(begin), size = "*"] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "") ?? [];
  const whole = response.status !== 206;
  if (!whole && (Number(from) !== begin || bytes.length > end - begin)) {
    throw cannotRead(who, `asked for bytes ${begin} to ${end - 1}, the server sent ${bytes.length} bytes from ${from} on`);
  }
  return { bytes, whole, size: size === "*" ? null : Number(size), version: versionOf(response) };
}

/** How files are read over the network. */
export interface NetworkOptions {
  /** Ends requests. */
  readonly signal?: Signal | undefined;
  /** Sent with requests. */
  readonly headers?: Headings | undefined;
  /**
   * What is read of an answer as it comes, and of those that follow, `first` bytes at once; null where it cannot be. Default: parts are
   * asked for one by one, and an answer that is the whole file is kept in memory.
   */
  readonly streamed?: (who: string, response: Response, first: number) => Promise<Ranges | null>;
}

/** Headers of requests by name. */
export interface Headings {
  readonly [name: string]: string;
}

async function overHttp(who: string, network: NetworkOptions): Promise<Ranges> {
  const response = await answerFor(who, [0, FIRST_BYTES], network);
  const streamed = await network.streamed?.(who, response, FIRST_BYTES);
  if (streamed) return streamed;
  const first = await partOf(who, 0, FIRST_BYTES, response);
  if (first.whole) return { ...inMemory(who, first.bytes), version: first.version };
  // A shorter answer ends with the file.
  const size = first.size ?? (first.bytes.length < FIRST_BYTES ? first.bytes.length : null);
  return {
    who,
    size,
    begin: first.bytes,
    version: first.version,
    async read(begin, end) {
      const { bytes, whole, version } = await partOf(who, begin, end, await answerFor(who, [begin, end], network));
      if (version !== first.version) throw cannotRead(who, "it has changed since its header was read");
      const part = whole ? bytes.subarray(begin, end) : bytes;
      if (part.length < end - begin) {
        throw new FileError(`${who}: the file is truncated: bytes ${begin} to ${end - 1} are wanted, ${part.length} of them are there`);
      }
      return part;
    },
  };
}

/** @throws FileError where the source cannot be read, ArgumentError for what is none. */
export async function rangesOf(what: string, given: ModelSource | RangeSource, network: NetworkOptions = {}): Promise<Ranges> {
  if (isRangeSource(given)) return ofRangeSource({ name: given.name, size: given.size, read: (begin, end) => given.read(begin, end) });
  const source = await given;
  if (typeof source === "string" || source instanceof URL) {
    const who = String(source);
    if (/^https?:/i.test(who)) return overHttp(who, network);
    const path = pathOf(who);
    const state = path === null ? null : await fileState(path);
    if (path !== null && state !== null) {
      const read = (begin: number, end: number, into?: Uint8Array): Promise<Uint8Array> => readRange(path, state, begin, end, into);
      return { who, size: state.size, begin: await read(0, Math.min(FIRST_BYTES, state.size)), read };
    }
  } else if (typeof Blob === "function" && source instanceof Blob) {
    const who = (source as File).name ?? what;
    const read = async (begin: number, end: number): Promise<Uint8Array> =>
      new Uint8Array(await arrived(who, source.slice(begin, end).arrayBuffer()));
    return { who, size: source.size, begin: await read(0, FIRST_BYTES), read };
  }
  const { who, bytes } = await bytesOf(what, source);
  return inMemory(who, bytes);
}

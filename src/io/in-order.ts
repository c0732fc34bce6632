/**
 * @file Files of servers that give no ranges, read as they come: nothing is kept but what is asked for, which must be in order; what was
 * passed over begins anew.
 */
import { FileError } from "../errors.ts";
import { arrived, cannotRead, checkResponse } from "./source.ts";
import type { Ranges, Signal } from "./ranges.ts";

/** One answer that is under way, of all that share it: servers and pages allow few at a time. */
export interface Line {
  current: Stream | null;
}

/** What arrives of a file. */
class Stream {
  /** Bytes that were taken. */
  at = 0;
  readonly #who: string;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(who: string, body: ReadableStream<Uint8Array>) {
    this.#who = who;
    this.#reader = body.getReader();
  }

  /** The next bytes, in `out`, all of which they fill; null: they are passed over. @throws FileError where the file ends before */
  async take(count: number, out: Uint8Array | null): Promise<void> {
    for (let done = 0; done < count;) {
      if (this.#rest.length === 0) {
        const { value } = await arrived(this.#who, this.#reader.read());
        if (value === undefined) throw cannotRead(this.#who, `it is truncated: it ends at byte ${this.at}`);
        this.#rest = value;
      }
      const part = this.#rest.subarray(0, count - done);
      out?.set(part, done);
      this.#rest = this.#rest.subarray(part.length);
      done += part.length;
      this.at += part.length;
    }
  }

  close(): void {
    this.#reader.cancel().catch(() => {});
  }
}

const versionOf = ({ headers }: Response): string | null => headers.get("etag") ?? headers.get("last-modified");

/** How much an answer says that it has, where that is the file's size; null where it is encoded, or says nothing. */
function sizeOf({ headers, body }: Response): number | null {
  const length = headers.get("content-length");
  return body === null || length === null || headers.has("content-encoding") ? null : Number(length);
}

/**
 * The file that `response` begins to give, `first` bytes of which are read at once; null where its size is not known. One answer of those
 * that share `line` is open at a time.
 */
export async function inOrder(
  who: string,
  response: Response,
  first: number,
  line: Line,
  signal: Signal | undefined,
): Promise<Ranges | null> {
  const size = sizeOf(response);
  if (size === null) return null;
  const version = versionOf(response);
  const streamOf = (answer: Response): Stream => {
    line.current?.close();
    return (line.current = new Stream(who, answer.body as ReadableStream<Uint8Array>));
  };
  let stream = streamOf(response);
  const again = async (): Promise<void> => {
    line.current?.close();
    line.current = null;
    const answer = await arrived(who, fetch(who, { ...(signal && { signal: signal as AbortSignal }) }));
    checkResponse(who, answer);
    if (sizeOf(answer) !== size || versionOf(answer) !== version) throw cannotRead(who, "it has changed since its header was read");
    stream = streamOf(answer);
  };
  const begin = new Uint8Array(Math.min(first, size));
  await stream.take(begin.length, begin);
  if (begin.length === size) line.current = null;
  return {
    who,
    size,
    begin,
    version,
    async read(from, to, into) {
      if (line.current !== stream || from < stream.at) await again();
      if (to > size) throw new FileError(`${who}: bytes ${from} to ${to - 1} are wanted, it has ${size}`);
      const out = into?.subarray(0, to - from) ?? new Uint8Array(to - from);
      await stream.take(from - stream.at, null);
      await stream.take(out.length, out);
      return out;
    },
  };
}

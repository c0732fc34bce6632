/**
 * @file Files of servers, read as they come: a few large requests, whose answers are taken from as bytes are needed, and of what follows
 * the next one is on its way by then. Nothing is kept but what is asked for. Servers that give no ranges are read from the beginning.
 */
import { FileError } from "../errors.ts";
import { answerFor, placeOf, versionOf } from "./ranges.ts";
import type { NetworkOptions, Place, Ranges } from "./ranges.ts";
import { arrived, cannotRead } from "./source.ts";

/** What is under way of one file, of all that share it: servers and pages allow few at a time. */
export interface Line {
  close: () => void;
}

/** The most that is asked for at once. Requests grow up to that, so that a header does not bring megabytes with it. */
const MOST_BYTES = 2 ** 24;

/** What is not wanted is passed over, where it is little beside what another request takes. */
const SKIP_BYTES = 2 ** 18;

/** What arrives of a file. */
class Stream {
  /** Where in the file the next byte is, and the first behind the last. */
  at: number;
  readonly end: number;
  /** Whether it might go on where it broke off: some of it came, and it did not end by itself. */
  broken = false;
  readonly #who: string;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(who: string, { body }: Response, { from, end }: Place) {
    this.at = from;
    this.end = end;
    this.#who = who;
    this.#reader = (body as ReadableStream<Uint8Array>).getReader();
  }

  /** The next bytes, in `out`, all of which they fill; null: they are passed over. @throws FileError where the file ends before */
  async take(count: number, out: Uint8Array | null): Promise<void> {
    for (let done = 0; done < count;) {
      if (this.#rest.length === 0) {
        const { value } = await arrived(this.#who, this.#reader.read());
        this.broken = value !== undefined;
        if (value === undefined) throw cannotRead(this.#who, `it is truncated: it ends at byte ${this.at} of ${this.end}`);
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

/**
 * The file that `response` begins to give, `first` bytes of which are read at once; null where nobody says how large it is. Of the files
 * that share `line` one is read at a time.
 */
export async function inOrder(who: string, response: Response, first: number, line: Line, network: NetworkOptions): Promise<Ranges | null> {
  const place = placeOf(response);
  if (place === null || place.from > 0) return null;
  const { size } = place;
  const parts = response.status === 206;
  const version = versionOf(response);
  let stream: Stream | null = new Stream(who, response, place);
  /** The answer behind that of `stream`. */
  let next: Promise<Stream> | null = null;
  /** How much is asked for. */
  let length = first;
  const close = (): void => {
    stream?.close();
    next?.then((s) => s.close()).catch(() => {});
    stream = next = null;
  };
  const ask = async (from: number): Promise<Stream> => {
    const answer = await answerFor(who, parts ? [from, Math.min(size, from + length)] : null, network);
    const got = placeOf(answer);
    if (got?.size !== size || versionOf(answer) !== version) throw cannotRead(who, "it has changed since its header was read");
    if (answer.status === 206 && got.from !== from)
      throw cannotRead(who, `asked for bytes from ${from} on, the server sent those from ${got.from} on`);
    return new Stream(who, answer, got);
  };
  /** The stream that has the byte at `from`, of which `wanted` are to be read. */
  const streamAt = async (from: number, wanted: number): Promise<Stream> => {
    if (line.close !== close) {
      line.close();
      line.close = close;
    }
    // Not too far to pass over what is between.
    if (stream === null || from < stream.at || (parts && from - stream.at > SKIP_BYTES)) {
      close();
      length = wanted;
      stream = await ask(from);
    } else if (from >= stream.end) {
      const coming = next ?? ask(stream.end);
      next = null;
      stream = await coming;
    }
    return stream;
  };
  const take = async (from: number, out: Uint8Array, ahead: boolean): Promise<void> => {
    const to = from + out.length;
    for (let at = from; at < to;) {
      const s = await streamAt(at, to - at);
      try {
        await s.take(Math.min(at, s.end) - s.at, null);
        if (at < s.end) await s.take(Math.min(to, s.end) - at, out.subarray(at - from));
      } catch (error) {
        // A connection that broke is followed by another.
        close();
        if (!parts || !s.broken) throw error;
      }
      at = Math.max(at, s.at);
      if (!ahead || next !== null || stream === null || s.end === size || s.end - s.at > length / 2) continue;
      length = Math.min(MOST_BYTES, 2 * length);
      next = ask(s.end);
      next.catch(() => {});
    }
  };
  const begin = new Uint8Array(Math.min(first, place.end));
  await take(0, begin, false);
  if (place.end === size && begin.length === size) close();
  return {
    who,
    size,
    begin,
    version,
    async read(from, to, into) {
      if (to > size) throw new FileError(`${who}: bytes ${from} to ${to - 1} are wanted, it has ${size}`);
      const out = into?.subarray(0, to - from) ?? new Uint8Array(to - from);
      await take(from, out, parts);
      return out;
    },
  };
}

/** @file Files in pages: neighbouring tensors come with one request, and what is held of a file is one page. */
import type { NetworkOptions, RangeSource, Ranges, Signal } from "../io/ranges.ts";
import { FileError } from "../errors.ts";

/** How files are read. */
export interface Reading {
  readonly signal: Signal | undefined;
  readonly headers: NetworkOptions["headers"];
  readonly streamed: NetworkOptions["streamed"];
  /** A folder for copies of what comes over the network, true for the default one, false for none. */
  readonly cache: boolean | string;
}

/** A page is a small part of a file, so that what is held is little beside what is loaded. */
const pageBytes = (size: number): number => Math.min(2 ** 18, Math.max(2 ** 14, Math.ceil(size / 128)));

/** @throws what the signal says, where it is aborted */
export function stopIfAborted(signal: Signal | undefined): void {
  if (signal?.aborted) throw signal.reason;
}

/**
 * `ranges` read in pages, the last of which is kept. What it gives is good until the next read, which may take the same memory.
 * @throws FileError where nobody says how large the file is
 */
export function paged({ who, size, begin, read }: Ranges, signal: Signal | undefined): RangeSource {
  if (size === null) throw new FileError(`cannot read "${who}": the server does not say how large it is`);
  // All of it is there.
  if (begin.length === size) return { name: who, size, read: (from, to) => begin.subarray(from, to) };
  let memory: Uint8Array = new Uint8Array(pageBytes(size));
  let last: { readonly from: number; readonly bytes: Uint8Array } = { from: 0, bytes: begin };
  /** Reads a page from `from` on. What of the last one it begins with is not read again: answers that come in order cannot go back. */
  const turn = async (from: number, to: number): Promise<void> => {
    const known = from >= last.from ? last.bytes.subarray(from - last.from) : last.bytes.subarray(0, 0);
    const next = to - from > memory.length ? new Uint8Array(to - from) : memory;
    next.set(known);
    last = { from, bytes: next.subarray(0, 0) };
    memory = next;
    const end = Math.min(size, from + next.length);
    const rest = next.subarray(known.length, end - from);
    const bytes = await read(from + known.length, end, rest);
    if (bytes.buffer !== rest.buffer || bytes.byteOffset !== rest.byteOffset) rest.set(bytes);
    last = { from, bytes: next.subarray(0, end - from) };
  };
  return {
    name: who,
    size,
    async read(from, to) {
      stopIfAborted(signal);
      if (from < last.from || to > last.from + last.bytes.length) await turn(from, to);
      return last.bytes.subarray(from - last.from, to - last.from);
    },
  };
}

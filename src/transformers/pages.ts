/** @file Files in pages: neighbouring tensors come with one request, and what is held of a file is one page. */
import type { RangeSource, Ranges } from "../io/ranges.ts";
import { FileError } from "../index.ts";

/** A page is a small part of a file, so that what is held is little beside what is loaded. */
const pageBytes = (size: number): number => Math.min(2 ** 22, Math.max(2 ** 14, Math.ceil(size / 64)));

/** @throws what the signal says, where it is aborted */
export function stopIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw signal.reason;
}

/**
 * `ranges` read in pages, the last of which is kept. What is asked for that is larger than a page is read as it is. @throws FileError where
 * nobody says how large the file is
 */
export function paged({ who, size, begin, read }: Ranges, signal: AbortSignal | undefined): RangeSource {
  if (size === null) throw new FileError(`cannot read "${who}": the server does not say how large it is`);
  // All of it is there.
  if (begin.length === size) return { name: who, size, read: (from, to) => begin.subarray(from, to) };
  const page = pageBytes(size);
  let last: { readonly from: number; readonly bytes: Uint8Array } = { from: 0, bytes: begin };
  const within = (from: number, to: number): Uint8Array | null =>
    from >= last.from && to <= last.from + last.bytes.length ? last.bytes.subarray(from - last.from, to - last.from) : null;
  return {
    name: who,
    size,
    async read(from, to) {
      stopIfAborted(signal);
      const known = within(from, to);
      if (known !== null) return known;
      if (to - from >= page) return read(from, to);
      last = { from, bytes: new Uint8Array(0) };
      last = { from, bytes: await read(from, Math.min(size, from + page)) };
      return within(from, to) as Uint8Array;
    },
  };
}

/** @file A file whose header was read. */
import { headerLength, LENGTH_BYTES, readHeader } from "../io/safetensors.ts";
import type { Header } from "../io/safetensors.ts";
import { rangesOf } from "../io/ranges.ts";
import type { RangeSource } from "../io/ranges.ts";
import type { ModelSource } from "../io/source.ts";
import { naming } from "../naming.ts";

/** A header, and the way to bytes of the data. */
export interface Opened extends Header {
  readonly who: string;
  read(begin: number, end: number): Promise<Uint8Array>;
}

/** Reads the header of a file. `what`: who asks, for errors. @throws as `openSafetensors` */
export async function opened(what: string, source: ModelSource | RangeSource): Promise<Opened> {
  const { who, size, begin, read } = await rangesOf(what, source);
  const length = naming(who, () => headerLength(begin, size));
  const start = LENGTH_BYTES + length;
  const bytes = start <= begin.length ? begin.subarray(LENGTH_BYTES, start) : await read(LENGTH_BYTES, start);
  const header = naming(who, () => readHeader(bytes, size === null ? null : size - start));
  return {
    ...header,
    who,
    read: async (from, to) => (start + to <= begin.length ? begin.subarray(start + from, start + to) : read(start + from, start + to)),
  };
}

/** @file Datasets in chunks: each is read, uncompressed and put where it belongs. */
import { Bytes, checkExpansion, inflated } from "./bytes.ts";
import { DEFLATE, FLETCHER32, SHUFFLE } from "./hdf5-types.ts";
import type { Filter } from "./hdf5-types.ts";

/** A dataset in chunks: shapes in elements of `size` bytes; a chunk's key says how large it is and where its data belong. */
export interface Chunked {
  readonly shape: readonly number[];
  readonly size: number;
  readonly chunk: readonly number[];
  readonly filters: readonly Filter[];
  readonly chunks: readonly { readonly at: number | null; readonly key: number }[];
}

/** Byte k of all elements, then byte k + 1: back to elements. */
function unshuffled(bytes: Uint8Array, size: number): Uint8Array {
  const count = Math.floor(bytes.length / size);
  const out = bytes.slice();
  for (let k = 0; k < size; k++) for (let i = 0; i < count; i++) out[i * size + k] = bytes[k * count + i];
  return out;
}

/** Fletcher's checksum of 16-bit big-endian words, as HDF5 computes it. */
function fletcher32(bytes: Uint8Array): number {
  let [low, high] = [0, 0];
  for (let i = 0; i < bytes.length; i += 2) {
    low = (low + ((bytes[i] << 8) | (bytes[i + 1] ?? 0))) % 65535;
    high = (high + low) % 65535;
  }
  return (high << 16) | low;
}

/** The elements of a dataset. @throws FileError where chunks are missing or damaged */
export async function readChunks(file: Bytes, path: string, { shape, size, chunk, filters, chunks }: Chunked): Promise<Uint8Array> {
  if (chunk.some((d) => d < 1)) throw file.fault(`damaged: "${path}" has chunks of no size`);
  const length = shape.reduce((a, b) => a * b, size);
  const chunkLength = chunk.reduce((a, b) => a * b, size);
  const expected = shape.reduce((n, d, i) => n * Math.ceil(d / chunk[i]), 1);
  if (chunks.length !== expected) throw file.fault(`"${path}" should have ${expected} chunks, ${chunks.length} are there`);
  const stored = chunks.reduce((n, { key }) => n + file.u32(key), 0);
  const compressed = filters.some(({ id }) => id === DEFLATE);
  checkExpansion(file.who, path, expected * chunkLength, compressed ? stored : Math.ceil(stored / 100));
  if (!compressed && expected * chunkLength > stored) throw file.fault(`damaged: the chunks of "${path}" are too short`);
  const out = new Uint8Array(length);
  const placed = new Set<string>();
  for (const { at, key } of chunks) {
    const offsets = shape.map((_, i) => file.u64(key + 8 + 8 * i));
    const where = offsets.join();
    if (at === null || placed.has(where) || offsets.some((o, i) => o % chunk[i] !== 0 || o >= shape[i]))
      throw file.fault(`damaged: a chunk of "${path}" is not where it should be`);
    placed.add(where);
    const raw = file.slice(at, file.u32(key));
    place(out, await uncompressed(file, path, raw, file.u32(key + 4), filters, chunkLength, size), { shape, chunk, offsets, size });
  }
  return out;
}

/** Undoes the filters, the last first; those in `skipped` were not applied to this chunk. */
async function uncompressed(
  file: Bytes,
  path: string,
  raw: Uint8Array,
  skipped: number,
  filters: readonly Filter[],
  length: number,
  size: number,
): Promise<Uint8Array> {
  let bytes = raw;
  // Behind deflated bytes there may be a checksum of what they were.
  for (let i = filters.length - 1; i >= 0; i--) {
    const { id, values } = filters[i];
    if ((skipped & (1 << i)) !== 0) continue;
    const checked = filters.slice(0, i).some((f, k) => f.id === FLETCHER32 && (skipped & (1 << k)) === 0);
    if (id === DEFLATE) bytes = await inflated(`${file.who}: ${path}`, "deflate", bytes, length + (checked ? 4 : 0));
    else if (id === SHUFFLE) bytes = unshuffled(bytes, values[0] === undefined || values[0] < 1 ? size : Math.min(values[0], length));
    else {
      const end = bytes.length - 4;
      if (end < 0 || new Bytes(file.who, bytes).u32(end) !== fletcher32(bytes.subarray(0, end)) >>> 0)
        throw file.fault(`damaged: a chunk of "${path}" does not have the checksum that it should`);
      bytes = bytes.subarray(0, end);
    }
  }
  if (bytes.length !== length) throw file.fault(`damaged: a chunk of "${path}" has ${bytes.length} bytes, expected ${length}`);
  return bytes;
}

/** Puts the part of a chunk that lies inside of the dataset into `out`, row by row. */
function place(
  out: Uint8Array,
  bytes: Uint8Array,
  { shape, chunk, offsets, size }: { shape: readonly number[]; chunk: readonly number[]; offsets: readonly number[]; size: number },
): void {
  const rank = shape.length;
  const counts = chunk.map((d, i) => Math.min(d, shape[i] - offsets[i]));
  const row = (counts[rank - 1] ?? 1) * size;
  const rows = counts.slice(0, -1).reduce((a, b) => a * b, 1);
  for (let r = 0; r < rows; r++) {
    let [rest, from, to] = [r, 0, offsets[rank - 1] ?? 0];
    let [fromStride, toStride] = [chunk[rank - 1] ?? 1, shape[rank - 1] ?? 1];
    for (let d = rank - 2; d >= 0; d--) {
      const index = rest % counts[d];
      rest = Math.floor(rest / counts[d]);
      from += index * fromStride;
      to += (offsets[d] + index) * toStride;
      fromStride *= chunk[d];
      toStride *= shape[d];
    }
    out.set(bytes.subarray(from * size, from * size + row), to * size);
  }
}

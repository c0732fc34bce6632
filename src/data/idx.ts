/**
 * @file IDX, the format of MNIST: two zero bytes, a type code, the number of dimensions, each dimension as a big-endian
 * u32, then the elements in row-major order, big-endian. Described at http://yann.lecun.com/exdb/mnist/.
 */
import { ArgumentError, FileError } from "../errors.ts";
import type { Shape } from "../shape.ts";
import { showShape, sizeOf } from "../shape.ts";

/** The typed arrays that IDX has a type code for. */
export type IdxData = Uint8Array | Int8Array | Int16Array | Int32Array | Float32Array | Float64Array;

/** Shape and elements of an IDX file. */
export interface IdxFile {
  readonly shape: Shape;
  /** Row-major elements in the file's own type, a copy. */
  readonly data: IdxData;
}

interface Format {
  readonly bytes: number;
  /** `elements` covers exactly the elements. */
  read(elements: DataView): IdxData;
}

/** By type code. */
const FORMATS: { readonly [code: number]: Format } = {
  0x08: { bytes: 1, read: (v) => fill(new Uint8Array(v.byteLength), (i) => v.getUint8(i)) },
  0x09: { bytes: 1, read: (v) => fill(new Int8Array(v.byteLength), (i) => v.getInt8(i)) },
  0x0b: { bytes: 2, read: (v) => fill(new Int16Array(v.byteLength / 2), (i) => v.getInt16(2 * i)) },
  0x0c: { bytes: 4, read: (v) => fill(new Int32Array(v.byteLength / 4), (i) => v.getInt32(4 * i)) },
  0x0d: { bytes: 4, read: (v) => fill(new Float32Array(v.byteLength / 4), (i) => v.getFloat32(4 * i)) },
  0x0e: { bytes: 8, read: (v) => fill(new Float64Array(v.byteLength / 8), (i) => v.getFloat64(8 * i)) },
};

function fill<T extends IdxData>(out: T, element: (i: number) => number): T {
  for (let i = 0; i < out.length; i++) out[i] = element(i);
  return out;
}

/** @throws ArgumentError for what is no Uint8Array, such as a path. */
function checkBytes(bytes: Uint8Array, who: string): void {
  if (!(bytes instanceof Uint8Array))
    throw new ArgumentError(
      `${who}: expected the bytes of a file as a Uint8Array, got ${Object.prototype.toString.call(bytes).slice(8, -1)}`,
    );
}

const MAGIC_BYTES = 4;
/** The most that gzip data may unpack to. */
const MOST_BYTES = 2 ** 31;
const GZIP_MAGIC = [0x1f, 0x8b];

/**
 * Reads an IDX file that is not compressed.
 * @param who what the bytes are, usually a path, for error texts
 * @throws FileError when it is not IDX, of an unknown type, or shorter or longer than its dimensions say
 */
export function parseIdx(bytes: Uint8Array, who = "idx"): IdxFile {
  checkBytes(bytes, who);
  const header = readHeader(bytes, who);
  if (header === null)
    throw new FileError(
      `${who}: ${bytes[3]} dimensions need a header of ${MAGIC_BYTES + 4 * bytes[3]} bytes, the file has ${bytes.length}; it is truncated`,
    );
  const { format, shape, start } = header;
  const expected = dataBytes(header);
  const found = bytes.length - start;
  if (found !== expected) {
    throw new FileError(
      `${who}: shape ${showShape(shape)} needs ${expected} bytes of data, found ` +
        `${found}${found < expected ? "; the file is truncated" : ""}`,
    );
  }
  return { shape, data: format.read(new DataView(bytes.buffer, bytes.byteOffset + start, found)) };
}

interface Header {
  readonly format: Format;
  readonly shape: Shape;
  /** Where the elements begin. */
  readonly start: number;
}

const dataBytes = ({ format, shape }: Header): number => (shape.includes(0) ? 0 : sizeOf(shape) * format.bytes);

/** Null where `bytes` end before the header does. @throws FileError when they are not IDX or of an unknown type. */
function readHeader(bytes: Uint8Array, who: string): Header | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < MAGIC_BYTES || bytes[0] !== 0 || bytes[1] !== 0) {
    throw new FileError(
      `${who}: an IDX file starts with two zero bytes, a type code and a rank, found ${hex(bytes.subarray(0, MAGIC_BYTES))}`,
    );
  }
  const format = FORMATS[bytes[2]];
  if (format === undefined) {
    throw new FileError(`${who}: the IDX type code must be one of ${hex(Object.keys(FORMATS).map(Number))}, found ${hex([bytes[2]])}`);
  }
  const rank = bytes[3];
  const start = MAGIC_BYTES + 4 * rank;
  if (bytes.length < start) return null;
  return { format, shape: Array.from({ length: rank }, (_, i) => view.getUint32(MAGIC_BYTES + 4 * i)), start };
}

/** Reads an IDX file as it is or compressed with gzip, as MNIST comes. @throws FileError like `parseIdx` and `gunzip`. */
export async function readIdx(bytes: Uint8Array, who = "idx"): Promise<IdxFile> {
  checkBytes(bytes, who);
  const compressed = GZIP_MAGIC.every((byte, i) => bytes[i] === byte);
  if (!compressed) return parseIdx(bytes, who);
  // What unpacks to more than its header says is refused there, not at the end of whatever it holds.
  return parseIdx(
    await unpack(bytes, who, MOST_BYTES, (head) => {
      const header = head.length < MAGIC_BYTES ? null : readHeader(head, who);
      return header && header.start + dataBytes(header);
    }),
    who,
  );
}

/**
 * Decompresses gzip with the platform's DecompressionStream.
 * @param options.who what the bytes are, for error texts
 * @param options.maxBytes refuse to produce more than this, 2 GiB by default: a small file can claim to hold any amount
 * @throws FileError when the bytes are not gzip, truncated, corrupted or too large
 */
export async function gunzip(bytes: Uint8Array, options: { who?: string; maxBytes?: number } = {}): Promise<Uint8Array> {
  const { who = "gzip", maxBytes = MOST_BYTES } = options;
  checkBytes(bytes, who);
  return unpack(bytes, who, maxBytes, null);
}

/** `lengthOf` says from the first bytes how many there will be, or null while it needs more of them. */
async function unpack(
  bytes: Uint8Array,
  who: string,
  maxBytes: number,
  lengthOf: ((head: Uint8Array) => number | null) | null,
): Promise<Uint8Array> {
  const reader = new Blob([new Uint8Array(bytes)]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  let expected: number | null = null;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.length;
      if (size > maxBytes) break;
      chunks.push(value);
      if (expected === null && lengthOf !== null) expected = lengthOf(joined(chunks, size));
      if (expected !== null && size > expected)
        throw new FileError(`${who}: the gzip data unpacks to more than the ${expected} bytes that its header speaks of`);
    }
  } catch (cause) {
    if (cause instanceof FileError) {
      await reader.cancel();
      throw cause;
    }
    throw new FileError(`${who}: expected intact gzip data, found: ${(cause as Error).message}`, { cause });
  }
  if (size > maxBytes) {
    await reader.cancel();
    throw new FileError(`${who}: the gzip data unpacks to more than the ${maxBytes} bytes allowed`);
  }
  return joined(chunks, size);
}

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const out = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}

function hex(bytes: Uint8Array | readonly number[]): string {
  return bytes.length === 0 ? "nothing" : Array.from(bytes, (b) => `0x${b.toString(16).padStart(2, "0")}`).join(" ");
}

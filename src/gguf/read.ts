/** @file Reading GGUF files (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): metadata, and tensors when they are asked for. */
import { checkCount, hint } from "../check.ts";
import { ArgumentError, DTypeError, FileError } from "../errors.ts";
import { rangesOf } from "../io/ranges.ts";
import type { RangeSource } from "../io/ranges.ts";
import { cut } from "../io/safetensors.ts";
import type { ModelSource } from "../io/source.ts";
import { naming } from "../naming.ts";
import { showShape, sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { BLOCK_TYPES, countOf, FLOAT_TYPES, floatsOf } from "./blocks.ts";
import { Cursor } from "./reader.ts";

/** A value of the metadata. Integers of 64 bits that are no exact numbers are `bigint`s. */
export type GgufValue = number | bigint | boolean | string | readonly GgufValue[];

/** What a file says of a tensor. */
export interface GgufInfo {
  /** F32, F16, BF16, Q8_0, Q4_K … */
  readonly type: string;
  /** In elements, outermost dimension first: the reverse of how files list it. */
  readonly shape: Shape;
  readonly byteLength: number;
  /** Bytes from the start of the file. */
  readonly offset: number;
}

/** A file whose header was read. */
export interface GgufFile {
  readonly version: number;
  /** By key, in the order of the file. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** By name, in the order of the file. */
  readonly tensors: ReadonlyMap<string, GgufInfo>;
  /**
   * Elements as f32. @throws FileError for a name that the file does not have, DTypeError for types other than F32, F16, BF16, Q8_0, Q4_0,
   * Q4_1, Q4_K, Q5_K and Q6_K
   */
  read(name: string): Promise<{ readonly type: string; readonly shape: Shape; readonly data: Float32Array }>;
  /**
   * Bytes [begin, end) of a tensor, default all. The bytes may be shared with the source.
   * @throws FileError for a name that the file does not have, ArgumentError for a range outside of the tensor
   */
  readBytes(name: string, begin?: number, end?: number): Promise<Uint8Array>;
}

const MAGIC = 0x46554747;
const DEFAULT_ALIGNMENT = 32;
/** What ggml allows. */
const MOST_DIMENSIONS = 4;
/** Arrays within arrays: nobody writes them deeper. */
const MOST_DEPTH = 4;

/** Readers of values by their type, with the least bytes of each. */
const STRING = 8;
const ARRAY = 9;
const SCALARS: { readonly [type: number]: { readonly bytes: number; readonly read: (view: DataView, at: number) => GgufValue } } = {
  0: { bytes: 1, read: (v, at) => v.getUint8(at) },
  1: { bytes: 1, read: (v, at) => v.getInt8(at) },
  2: { bytes: 2, read: (v, at) => v.getUint16(at, true) },
  3: { bytes: 2, read: (v, at) => v.getInt16(at, true) },
  4: { bytes: 4, read: (v, at) => v.getUint32(at, true) },
  5: { bytes: 4, read: (v, at) => v.getInt32(at, true) },
  6: { bytes: 4, read: (v, at) => v.getFloat32(at, true) },
  7: { bytes: 1, read: (v, at) => v.getUint8(at) !== 0 },
  10: { bytes: 8, read: (v, at) => exact(v.getBigUint64(at, true)) },
  11: { bytes: 8, read: (v, at) => exact(v.getBigInt64(at, true)) },
  12: { bytes: 8, read: (v, at) => v.getFloat64(at, true) },
};

const exact = (value: bigint): number | bigint => (Number.isSafeInteger(Number(value)) ? Number(value) : value);

async function valueOf(cursor: Cursor, what: string, type: number, depth: number): Promise<GgufValue> {
  if (type === STRING) return cursor.text(what);
  if (type === ARRAY) return arrayOf(cursor, what, depth + 1);
  if (!Object.hasOwn(SCALARS, type)) throw new FileError(`${what} has the unknown type ${type}`);
  const { bytes, read } = SCALARS[type];
  return read(await cursor.view(what, bytes), 0);
}

async function arrayOf(cursor: Cursor, what: string, depth: number): Promise<readonly GgufValue[]> {
  if (depth > MOST_DEPTH) throw new FileError(`${what} is nested too deep`);
  const type = await cursor.u32(`the type of ${what}`);
  const count = await cursor.length(`the length of ${what}`);
  const scalar = Object.hasOwn(SCALARS, type) ? SCALARS[type] : null;
  cursor.checkCount(`elements of ${what}`, count, scalar?.bytes ?? (type === STRING ? 8 : 12));
  if (scalar !== null) {
    const view = await cursor.view(what, count * scalar.bytes);
    return Array.from({ length: count }, (_, i) => scalar.read(view, i * scalar.bytes));
  }
  const out: GgufValue[] = [];
  for (let i = 0; i < count; i++) out.push(await valueOf(cursor, what, type, depth));
  return out;
}

async function metadataOf(cursor: Cursor, count: number): Promise<Map<string, GgufValue>> {
  // A key's length, its value's type, a byte.
  cursor.checkCount("keys", count, 13);
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const key = await cursor.text(`key ${i}`);
    const what = `key "${cut(key)}"`;
    if (metadata.has(key)) throw new FileError(`${what} stands there twice`);
    metadata.set(key, await valueOf(cursor, what, await cursor.u32(`the type of ${what}`), 0));
  }
  return metadata;
}

/** A tensor's shape, type and where it is behind the header. */
async function infoOf(cursor: Cursor, what: string): Promise<Omit<GgufInfo, "byteLength">> {
  const rank = await cursor.u32(`the number of dimensions of ${what}`);
  if (rank > MOST_DIMENSIONS) throw new FileError(`${what} has ${rank} dimensions, at most ${MOST_DIMENSIONS} are allowed`);
  const shape: number[] = [];
  for (let d = 0; d < rank; d++) shape.unshift(await cursor.length(`a dimension of ${what}`));
  const number = await cursor.u32(`the type of ${what}`);
  if (!Object.hasOwn(BLOCK_TYPES, number)) throw new FileError(`${what} has the unknown type ${number}`);
  return { type: BLOCK_TYPES[number].name, shape, offset: await cursor.length(`the offset of ${what}`) };
}

/** Bytes of a tensor. @throws FileError where its rows are no whole blocks */
function bytesIn(what: string, type: string, shape: Shape): number {
  const block = Object.values(BLOCK_TYPES).find(({ name }) => name === type);
  const { size, bytes } = block as { size: number; bytes: number };
  const columns = shape[shape.length - 1] ?? 1;
  if (columns % size !== 0) throw new FileError(`${what}: rows of ${columns} elements are no whole blocks of ${size}, which ${type} has`);
  const total = (sizeOf(shape) / size) * bytes;
  if (!Number.isSafeInteger(total)) throw new FileError(`${what} has the impossible shape ${showShape(shape)}`);
  return total;
}

/** Tensors must lie in the file, aligned, and may not overlap. */
function checkPlaces(tensors: ReadonlyMap<string, GgufInfo>, start: number, size: number, alignment: number): void {
  let end = start;
  let last = "the header";
  for (const [name, { offset, byteLength }] of [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.byteLength - b.byteLength)) {
    const what = `tensor "${cut(name)}"`;
    if ((offset - start) % alignment !== 0)
      throw new FileError(`${what} must be aligned to ${alignment} bytes, it begins at ${offset - start} of the data`);
    if (!(offset + byteLength <= size))
      throw new FileError(`${what} ends at byte ${offset + byteLength}, the file has ${size}: it is truncated or damaged`);
    if (byteLength === 0) continue;
    if (offset < end) throw new FileError(`${what} begins at byte ${offset}, within ${last}`);
    end = offset + byteLength;
    last = what;
  }
}

async function headerOf(cursor: Cursor, size: number): Promise<Pick<GgufFile, "version" | "metadata" | "tensors">> {
  if ((await cursor.u32("the beginning")) !== MAGIC) throw new FileError('it is no GGUF file: it must begin with "GGUF"');
  const version = await cursor.u32("the version");
  if (version !== 2 && version !== 3)
    throw new FileError(`it is of GGUF version ${version}, versions 2 and 3 are read${version > 0xffff ? "; it may be big-endian" : ""}`);
  const count = await cursor.length("the number of tensors");
  const metadata = await metadataOf(cursor, await cursor.length("the number of keys"));
  // A name's length, rank, type, offset.
  cursor.checkCount("tensors", count, 24);
  const infos = new Map<string, Omit<GgufInfo, "byteLength">>();
  for (let i = 0; i < count; i++) {
    const name = await cursor.text(`the name of tensor ${i}`);
    const what = `tensor "${cut(name)}"`;
    if (infos.has(name)) throw new FileError(`${what} stands there twice`);
    infos.set(name, await infoOf(cursor, what));
  }
  const alignment = metadata.get("general.alignment") ?? DEFAULT_ALIGNMENT;
  if (typeof alignment !== "number" || !Number.isInteger(alignment) || alignment < 1 || alignment % 8 !== 0)
    throw new FileError(`general.alignment must be a multiple of 8, found ${cut(String(alignment))}`);
  const start = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = new Map(
    Array.from(infos, ([name, info]) => {
      const byteLength = bytesIn(`tensor "${cut(name)}"`, info.type, info.shape);
      return [name, { ...info, offset: start + info.offset, byteLength }];
    }),
  );
  checkPlaces(tensors, start, size, alignment);
  return { version, metadata, tensors };
}

const named = async <T>(who: string, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    return naming(cut(who, 120), () => {
      throw error;
    });
  }
};

/**
 * Reads a file's header, and its tensors when they are asked for: of files on disk, servers that give ranges, and blobs only the bytes
 * that are needed.
 * @param source a path, address, response, blob, stream or bytes, as `loadModel` takes them, or a `RangeSource`
 * @throws FileError for what cannot be read and every departure from the format, ArgumentError for what is no source
 * @example const file = await openGguf("model.gguf"); console.log(file.metadata.get("general.architecture"));
 */
export async function openGguf(source: ModelSource | RangeSource): Promise<GgufFile> {
  const ranges = await rangesOf("openGguf", source);
  const { who, size, begin } = ranges;
  if (size === null) throw new FileError(`cannot read "${cut(who, 120)}": the server does not say how large it is`);
  const header = await named(who, () => headerOf(new Cursor(ranges, size), size));
  const infoFor = (name: string): GgufInfo => {
    const info = header.tensors.get(name);
    if (info === undefined)
      throw new FileError(
        `${cut(who, 120)}: no tensor "${cut(name)}"; ${hint(name, [...header.tensors.keys()].slice(0, 1000))}it has ${header.tensors.size}`,
      );
    return info;
  };
  const bytesOf = async (from: number, to: number): Promise<Uint8Array> =>
    to <= begin.length ? begin.subarray(from, to) : to > from ? ranges.read(from, to) : new Uint8Array(0);
  return {
    ...header,
    read: async (name) => {
      const { type, shape, offset, byteLength } = infoFor(name);
      if (!FLOAT_TYPES.includes(type)) throw new DTypeError(`tensor "${cut(name)}": ${type} is not read as numbers; read its bytes`);
      return { type, shape, data: dequantize(type, await bytesOf(offset, offset + byteLength)) };
    },
    readBytes: async (name, first = 0, last) => {
      const { offset, byteLength } = infoFor(name);
      const end = last ?? byteLength;
      checkCount("readBytes", "begin", first, 0);
      checkCount("readBytes", "end", end, first);
      if (end > byteLength) throw new ArgumentError(`readBytes: "${cut(name)}" has ${byteLength} bytes, asked for ${first} to ${end - 1}`);
      return bytesOf(offset + first, offset + end);
    },
  };
}

/**
 * Elements of whole blocks of a type as f32: what ggml's own dequantization gives.
 * @param type F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K, Q5_K or Q6_K
 * @param out where they are written, from its beginning on; default: an array of their own. It is what is returned
 * @throws DTypeError for other types, ArgumentError for bytes that are no whole blocks and for an `out` that is too short
 */
export function dequantize(type: string, bytes: Uint8Array, out?: Float32Array): Float32Array {
  if (!FLOAT_TYPES.includes(type)) throw new DTypeError(`dequantize: ${cut(String(type))} is none of ${FLOAT_TYPES.join(", ")}`);
  const count = bytes instanceof Uint8Array ? countOf(type, bytes.length) : NaN;
  if (!Number.isInteger(count)) throw new ArgumentError(`dequantize: expected a Uint8Array of whole blocks of ${type}`);
  const into = out ?? new Float32Array(count);
  if (!(into instanceof Float32Array) || into.length < count)
    throw new ArgumentError(`dequantize: expected a Float32Array of at least ${count} elements to write to`);
  floatsOf(type, bytes, into.subarray(0, count));
  return into;
}

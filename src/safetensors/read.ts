/** @file Reading safetensors files: all of one, or only the tensors that are asked for. */
import { checkCount, checkOptions, hint, kindOf } from "../check.ts";
import type { TypedArray } from "../dtype.ts";
import { ArgumentError, FileError } from "../errors.ts";
import { cut, decodeSafetensors } from "../io/safetensors.ts";
import type { Entry, RawTensor } from "../io/safetensors.ts";
import type { RangeSource } from "../io/ranges.ts";
import { bytesOf } from "../io/source.ts";
import type { ModelSource } from "../io/source.ts";
import { naming } from "../naming.ts";
import type { Shape } from "../shape.ts";
import { converted } from "./dtypes.ts";
import type { SafetensorsDType } from "./dtypes.ts";
import { opened } from "./header.ts";
import type { Opened } from "./header.ts";

/** What the header of a file says of a tensor. */
export interface SafetensorsInfo {
  readonly dtype: SafetensorsDType;
  /** In elements. */
  readonly shape: Shape;
  readonly byteLength: number;
}

/** A tensor that was read: `tensor(data, shape)` makes one of Lockstep's of it. */
export interface SafeTensor {
  /** The file's. */
  readonly dtype: SafetensorsDType;
  readonly shape: Shape;
  /**
   * A copy of the elements, row-major: F32, F16, BF16, F8 and F64 as f32, exactly but F64, which is rounded; I32, I16, I8, U16, U8 and I64
   * as i32; U32 and U64 as u32; BOOL as 0 and 1 in a Uint32Array, of which `tensor(data, shape, "bool")` makes booleans.
   */
  readonly data: TypedArray;
}

/** A tensor as the file has it: little-endian elements, row-major, in memory of their own. */
export interface RawSafeTensor {
  readonly dtype: SafetensorsDType;
  readonly shape: Shape;
  readonly bytes: Uint8Array;
}

/** What a file holds. */
export interface Safetensors<T> {
  readonly metadata: { readonly [key: string]: string };
  /** By name, in the order of the header. */
  readonly tensors: Map<string, T>;
}

/** A file whose header was read. */
export interface SafetensorsFile {
  readonly metadata: { readonly [key: string]: string };
  /** By name, in the order of the header. */
  readonly tensors: ReadonlyMap<string, SafetensorsInfo>;
  /**
   * A tensor's elements. @throws FileError for a name that the file does not have and elements that do not fit, DTypeError for F4,
   * F6 and C64.
   */
  read(name: string): Promise<SafeTensor>;
  /** A tensor's bytes. @throws FileError for a name that the file does not have. */
  readRaw(name: string): Promise<RawSafeTensor>;
  /**
   * Bytes [begin, end) of a tensor, so that a large one need never be in memory whole: rows of a matrix, for example. The bytes may be
   * shared with the source.
   * @throws FileError for a name that the file does not have, ArgumentError for a range outside of the tensor
   */
  readBytes(name: string, begin: number, end: number): Promise<Uint8Array>;
}

/** Options of `readSafetensors`. */
export interface SafetensorsOptions {
  /**
   * Which tensors to read, by name or by a function. Of files on disk, servers that give ranges, and blobs the others are not
   * read. Default all.
   */
  readonly names?: readonly string[] | ((name: string) => boolean);
  /** True for bytes instead of elements. Default false. */
  readonly raw?: boolean;
}

function entryOf({ who, tensors }: { readonly who: string; readonly tensors: ReadonlyMap<string, Entry> }, name: string): Entry {
  const entry = tensors.get(name);
  if (entry !== undefined) return entry;
  const names = [...tensors.keys()];
  const some = names
    .slice(0, 8)
    .map((n) => cut(n))
    .join(", ");
  const more = names.length > 8 ? ` and ${names.length - 8} more` : "";
  throw new FileError(`${who}: no tensor "${cut(name)}"; ${hint(name, names.slice(0, 1000))}it has ${some}${more}`);
}

const rawOf = ({ dtype, shape }: Entry, bytes: Uint8Array): RawTensor => ({ dtype, shape, bytes: new Uint8Array(bytes) });

const tensorOf = (who: string, name: string, { dtype, shape }: Entry, bytes: Uint8Array): SafeTensor => ({
  dtype: dtype as SafetensorsDType,
  shape,
  data: naming(who, () => converted(name, dtype, bytes)),
});

/** Parts that follow one another are read together, up to so many bytes. */
const RUN_BYTES = 2 ** 26;

/** Bytes of the tensors, in the order of the data. */
async function* parts(
  entries: readonly (readonly [string, Entry])[],
  read: Opened["read"],
): AsyncGenerator<readonly [string, Entry, Uint8Array]> {
  const order = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  for (let i = 0; i < order.length;) {
    const { begin } = order[i][1];
    let next = i + 1;
    while (next < order.length && order[next][1].begin === order[next - 1][1].end && order[next][1].end - begin <= RUN_BYTES) next++;
    const { end } = order[next - 1][1];
    const bytes = end > begin ? await read(begin, end) : new Uint8Array(0);
    for (; i < next; i++) yield [...order[i], bytes.subarray(order[i][1].begin - begin, order[i][1].end - begin)];
  }
}

/**
 * Reads a file's header, and its tensors when they are asked for: of files on disk, servers that give ranges, and blobs only the bytes
 * of that tensor. Nothing stays open.
 * @param source a path, address, response, blob, stream or bytes, as `loadModel` takes them, or a `RangeSource`
 * @throws FileError for what cannot be read and every departure from the format, ArgumentError for what is no source
 * @example const file = await openSafetensors("https://example.org/model.safetensors"); const { data, shape } = await
 * file.read("wte.weight");
 */
export async function openSafetensors(source: ModelSource | RangeSource): Promise<SafetensorsFile> {
  const file = await opened("openSafetensors", source);
  const read = async (name: string): Promise<Uint8Array> => {
    const { begin, end } = entryOf(file, name);
    return end > begin ? file.read(begin, end) : new Uint8Array(0);
  };
  return {
    metadata: file.metadata,
    tensors: new Map(
      Array.from(file.tensors, ([name, { dtype, shape, begin, end }]) => [
        name,
        { dtype: dtype as SafetensorsDType, shape, byteLength: end - begin },
      ]),
    ),
    read: async (name) => tensorOf(file.who, name, entryOf(file, name), await read(name)),
    readRaw: async (name) => rawOf(entryOf(file, name), await read(name)) as RawSafeTensor,
    readBytes: async (name, begin, end) => {
      const entry = entryOf(file, name);
      const size = entry.end - entry.begin;
      checkCount("readBytes", "begin", begin, 0);
      checkCount("readBytes", "end", end, begin);
      if (end > size) throw new ArgumentError(`readBytes: "${cut(name)}" has ${size} bytes, asked for ${begin} to ${end - 1}`);
      return end > begin ? file.read(entry.begin + begin, entry.begin + end) : new Uint8Array(0);
    },
  };
}

/**
 * Reads tensors of a file, all of them or those that `names` tells.
 * @param source a path, address, response, blob, stream or bytes, as `loadModel` takes them
 * @throws FileError for what cannot be read, every departure from the format, names that the file does not have and elements that do not
 * fit (I64 beyond i32, F64 beyond f32), DTypeError for F4, F6 and C64 unless `raw`, ArgumentError for unknown options and what is no source
 * @example const { tensors } = await readSafetensors("model.safetensors", { names: (name) => name.startsWith("encoder.") });
 */
export async function readSafetensors(
  source: ModelSource,
  options: SafetensorsOptions & { readonly raw: true },
): Promise<Safetensors<RawSafeTensor>>;
export async function readSafetensors(
  source: ModelSource,
  options?: SafetensorsOptions & { readonly raw?: false },
): Promise<Safetensors<SafeTensor>>;
export async function readSafetensors(
  source: ModelSource,
  options: SafetensorsOptions = {},
): Promise<Safetensors<SafeTensor | RawSafeTensor>> {
  const { names, raw = false } = checkOptions("readSafetensors", options, ["names", "raw"]);
  if (names !== undefined && typeof names !== "function" && !Array.isArray(names)) {
    throw new ArgumentError(`readSafetensors: names must be a list or a function, got ${kindOf(names)}`);
  }
  let file: Opened;
  if (names === undefined) {
    const { who, bytes } = await bytesOf("readSafetensors", source);
    const { data, ...header } = decodeSafetensors(bytes, who);
    file = { ...header, who, read: async (begin, end) => data.subarray(begin, end) };
  } else {
    file = await opened("readSafetensors", source);
  }
  const { metadata, tensors: all, who } = file;
  const wanted = new Set(names === undefined ? all.keys() : typeof names === "function" ? [...all.keys()].filter(names) : names);
  for (const name of wanted) entryOf(file, name);
  const entries = [...all].filter(([name]) => wanted.has(name));
  // In the order of the header, whatever that of the data.
  const tensors = new Map<string, SafeTensor | RawSafeTensor>(entries.map(([name]) => [name, undefined as never]));
  for await (const [name, entry, bytes] of parts(entries, file.read)) {
    tensors.set(name, raw ? (rawOf(entry, bytes) as RawSafeTensor) : tensorOf(who, name, entry, bytes));
  }
  return { metadata, tensors };
}

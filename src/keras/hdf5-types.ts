/** @file What HDF5 says of data: element types, shapes, compression and where the bytes lie (HDF5 File Format Specification 3.0, IV.A). */
import type { Bytes } from "./bytes.ts";

/** Sizes of places and lengths in a file. */
export interface Sizes {
  readonly offset: 4 | 8;
  readonly length: 4 | 8;
  /** Places count from here. */
  readonly base: number;
}

/** Kinds of elements, each with its bytes in `size`. */
export interface ElementType {
  /** float16, int8 … as NumPy calls them; string, opaque. `strings`: text of any length, which lies elsewhere. */
  readonly name: string;
  readonly size: number;
  readonly bigEndian: boolean;
}

/** A field of a message, read from its beginning. */
export const word = (file: Bytes, at: number, size: 4 | 8): number => (size === 4 ? file.u32(at) : file.u64(at));

/** A place in the file; null for "nowhere". */
export function placeOf(file: Bytes, at: number, { offset, base }: Sizes): number | null {
  file.check(at, offset);
  for (let i = 0; i < offset; i++) if (file.all[at + i] !== 0xff) return word(file, at, offset) + base;
  return null;
}

const FIXED = 0;
const FLOAT = 1;
const STRING = 3;
const OPAQUE = 5;
const ENUM = 8;
const VARIABLE = 9;

const CLASSES = ["integers", "floats", "times", "strings", "bit fields", "opaque bytes", "structures", "references"];

/** A float's layout, from bit offset to exponent bias, by its size. */
const FLOATS: { readonly [size: number]: readonly number[] } = {
  2: [0, 16, 10, 5, 0, 10, 15],
  4: [0, 32, 23, 8, 0, 23, 127],
  8: [0, 64, 52, 11, 0, 52, 1023],
};
const BFLOAT16 = [0, 16, 7, 8, 0, 7, 127];

/** The type that a message at `at` says. @throws FileError for kinds of elements that no weight has */
export function elementType(file: Bytes, at: number): ElementType {
  const kind = file.u8(at) & 15;
  const bits = file.u8(at + 1);
  const size = file.u32(at + 4);
  if (size < 1) throw file.fault("damaged: elements of no size");
  const bigEndian = (bits & 1) !== 0;
  if (kind === FIXED) {
    const whole = file.u16(at + 8) === 0 && file.u16(at + 10) === 8 * size;
    if (!whole || ![1, 2, 4, 8].includes(size)) throw file.fault(`integers of ${file.u16(at + 10)} bits in ${size} bytes are not read`);
    return { name: `${(bits & 8) !== 0 ? "int" : "uint"}${8 * size}`, size, bigEndian };
  }
  if (kind === FLOAT) {
    const says = [file.u16(at + 8), file.u16(at + 10), ...[12, 13, 14, 15].map((k) => file.u8(at + k)), file.u32(at + 16)];
    if (size === 2 && BFLOAT16.every((n, i) => n === says[i])) return { name: "bfloat16", size, bigEndian };
    if (!Object.hasOwn(FLOATS, size) || FLOATS[size].some((n, i) => n !== says[i]))
      throw file.fault(`floats of ${size} bytes in another layout than IEEE 754 are not read`);
    return { name: `float${8 * size}`, size, bigEndian };
  }
  if (kind === STRING) return { name: "string", size, bigEndian: false };
  if (kind === OPAQUE) return { name: "opaque", size, bigEndian: false };
  // h5py's bools are an enumeration of bytes.
  if (kind === ENUM) return { ...elementType(file, at + 8), name: "bool" };
  if (kind === VARIABLE && (bits & 15) === 1) return { name: "strings", size, bigEndian: false };
  throw file.fault(`${CLASSES[kind] ?? (kind === VARIABLE ? "lists of any length" : `elements of kind ${kind}`)} are not read`);
}

const MOST_RANK = 32;

/** The shape that a message says; null for a dataset of nothing. */
export function spaceOf(file: Bytes, at: number, sizes: Sizes): readonly number[] | null {
  const version = file.u8(at);
  const rank = file.u8(at + 1);
  if ((version !== 1 && version !== 2) || rank > MOST_RANK) throw file.fault("damaged: the shape of a dataset cannot be read");
  if (version === 2 && file.u8(at + 3) === 2) return null;
  const first = at + (version === 1 ? 8 : 4);
  return Array.from({ length: rank }, (_, i) => word(file, first + i * sizes.length, sizes.length));
}

/** Number of elements. @throws FileError for one that cannot be */
export function countOf(file: Bytes, shape: readonly number[]): number {
  const count = shape.reduce((a, b) => a * b, 1);
  if (!Number.isSafeInteger(count)) throw file.fault(`damaged: a dataset of shape [${shape.slice(0, 8).join(", ")}]`);
  return count;
}

/** What was done to chunks, in the order of writing. */
export interface Filter {
  readonly id: number;
  readonly values: readonly number[];
}

export const DEFLATE = 1;
export const SHUFFLE = 2;
export const FLETCHER32 = 3;
const FILTERS = [DEFLATE, SHUFFLE, FLETCHER32];

/** @throws FileError for compression that is not read */
export function filtersOf(file: Bytes, at: number): readonly Filter[] {
  const version = file.u8(at);
  const count = file.u8(at + 1);
  if ((version !== 1 && version !== 2) || count > 32) throw file.fault("damaged: the compression of a dataset cannot be read");
  let next = at + (version === 1 ? 8 : 2);
  return Array.from({ length: count }, () => {
    const id = file.u16(next);
    const named = version === 1 || id >= 256;
    const nameLength = named ? file.u16(next + 2) : 0;
    next += named ? 4 : 2;
    const values = file.u16(next + 2);
    next += 4 + (version === 1 ? Math.ceil(nameLength / 8) * 8 : nameLength);
    file.check(next, 4 * values);
    const filter = { id, values: Array.from({ length: values }, (_, i) => file.u32(next + 4 * i)) };
    next += 4 * (version === 1 && values % 2 === 1 ? values + 1 : values);
    if (!FILTERS.includes(id)) throw file.fault(`chunks are compressed by filter ${id}; deflate, shuffle and fletcher32 are read`);
    return filter;
  });
}

/** Where the bytes of a dataset lie. */
export type Layout =
  | { readonly kind: "whole"; readonly at: number | null; readonly length: number }
  | { readonly kind: "chunks"; readonly tree: number | null; readonly chunk: readonly number[] };

const COMPACT = 0;
const CONTIGUOUS = 1;
const CHUNKED = 2;

/** @throws FileError for layouts that only HDF5's latest format has */
export function layoutOf(file: Bytes, at: number, sizes: Sizes): Layout {
  const version = file.u8(at);
  const damaged = (): Error => file.fault("damaged: the layout of a dataset cannot be read");
  if (version === 1 || version === 2) {
    const [rank, kind] = [file.u8(at + 1), file.u8(at + 2)];
    if (rank > MOST_RANK + 1) throw damaged();
    const dims = at + 8 + (kind === COMPACT ? 0 : sizes.offset);
    const size = Array.from({ length: rank }, (_, i) => file.u32(dims + 4 * i));
    if (kind === COMPACT) return { kind: "whole", at: dims + 4 * rank + 4, length: file.u32(dims + 4 * rank) };
    const place = placeOf(file, at + 8, sizes);
    if (kind === CONTIGUOUS) return { kind: "whole", at: place, length: Infinity };
    if (kind === CHUNKED) return { kind: "chunks", tree: place, chunk: size.slice(0, -1) };
    throw damaged();
  }
  if (version !== 3 && version !== 4) throw damaged();
  const kind = file.u8(at + 1);
  if (kind === COMPACT) return { kind: "whole", at: at + 4, length: file.u16(at + 2) };
  if (kind === CONTIGUOUS)
    return { kind: "whole", at: placeOf(file, at + 2, sizes), length: word(file, at + 2 + sizes.offset, sizes.length) };
  if (kind !== CHUNKED) throw damaged();
  if (version === 4) throw file.fault('chunks as libver="latest" writes them are not read; write the file with libver="earliest"');
  const rank = file.u8(at + 2);
  if (rank < 1 || rank > MOST_RANK + 1) throw damaged();
  const dims = at + 3 + sizes.offset;
  const chunk = Array.from({ length: rank - 1 }, (_, i) => file.u32(dims + 4 * i));
  return { kind: "chunks", tree: placeOf(file, at + 3, sizes), chunk };
}

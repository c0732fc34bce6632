/**
 * @file HDF5 files, as far as Keras, h5py and pandas write them: groups in both forms, attributes, datasets in one piece or in chunks
 * (HDF5 File Format Specification 3.0). Nothing of a file is believed: each place is looked at once, so that no file goes round in a
 * circle, and nothing is allocated that is not backed by bytes which are there. Links that leave the file are refused, as Keras does.
 */
import { Bytes } from "./bytes.ts";
import { lookup3 } from "./hdf5-checksum.ts";
import { readChunks } from "./hdf5-chunks.ts";
import { countOf, elementType, filtersOf, layoutOf, placeOf, spaceOf, word } from "./hdf5-types.ts";
import type { ElementType, Filter, Layout, Sizes } from "./hdf5-types.ts";
import { littleEndian, stringsOf } from "./hdf5-values.ts";
import type { Attribute } from "./hdf5-values.ts";
import type { FileError } from "../index.ts";

export type { Attribute } from "./hdf5-values.ts";

/** Elements as they are stored: float32, int8 … as NumPy calls them. */
export interface Dataset {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Little-endian and row-major; where they lie in the file, if they can be read there. @throws FileError */
  bytes(): Promise<Uint8Array>;
  /** Of a dataset of text. @throws FileError */
  strings(): Promise<readonly string[]>;
}

/** A group or a dataset. */
export interface Node {
  readonly attributes: ReadonlyMap<string, Attribute>;
  readonly dataset: Dataset | null;
}

/** All that a file has by its path, which begins with "/". */
export type Hdf5File = ReadonlyMap<string, Node>;

interface Message {
  readonly type: number;
  readonly at: number;
  readonly size: number;
}

const SIGNATURE = "\x89HDF\r\n\x1a\n";
const MOST_DEPTH = 64;

const SPACE = 1;
const LINK_INFO = 2;
const TYPE = 3;
const LINK = 6;
const EXTERNAL = 7;
const LAYOUT = 8;
const FILTERS = 11;
const ATTRIBUTE = 12;
const CONTINUATION = 16;
const SYMBOLS = 17;
const ATTRIBUTE_INFO = 21;
/** Those that are looked at must not be shared between objects, which is written otherwise. */
const KNOWN = new Set([SPACE, TYPE, LAYOUT, FILTERS, ATTRIBUTE, LINK]);
const SHARED = 2;

/** Where a file begins that has something else in front. */
function beginOf(file: Bytes): number {
  for (let at = 0; at + 8 <= file.all.length; at = at === 0 ? 512 : at * 2) if (file.is(at, SIGNATURE)) return at;
  throw file.fault("not an HDF5 file: it does not begin as one");
}

/** True for what begins as an HDF5 file does. */
export const isHdf5 = (bytes: Uint8Array): boolean => new Bytes("", bytes).is(0, SIGNATURE);

/** Walks a file. */
class Reader {
  readonly file: Bytes;
  readonly sizes: Sizes;
  readonly #visited = new Set<number>();
  readonly #nodes = new Map<string, Node>();
  /** Text that may still be read: references to one text many times are no reason to hold it so often. */
  readonly #budget: { left: number };

  constructor(file: Bytes) {
    this.file = file;
    this.#budget = { left: 4 * file.all.length };
    const begin = beginOf(file);
    const version = file.u8(begin + 8);
    if (version > 3) throw file.fault(`superblocks of version ${version} are not read`);
    const [offset, length] = version < 2 ? [file.u8(begin + 13), file.u8(begin + 14)] : [file.u8(begin + 9), file.u8(begin + 10)];
    if ((offset !== 4 && offset !== 8) || (length !== 4 && length !== 8)) throw file.fault("damaged: places of an unknown size");
    const first = begin + (version === 0 ? 24 : version === 1 ? 28 : 12);
    this.sizes = { offset, length, base: 0 };
    const base = placeOf(file, first, this.sizes);
    if (base !== begin) throw file.fault("damaged: it says that it begins elsewhere");
    this.sizes = { offset, length, base };
    if (version >= 2) this.checkSum(begin, 12 + 4 * offset);
    const root = version < 2 ? placeOf(file, first + 5 * offset, this.sizes) : placeOf(file, first + 3 * offset, this.sizes);
    this.object("/", root, 0);
  }

  get nodes(): Hdf5File {
    return this.#nodes;
  }

  /** @throws FileError unless the checksum of [at, at + length) stands behind it */
  checkSum(at: number, length: number): void {
    if (lookup3(this.file.slice(at, length)) !== this.file.u32(at + length)) throw this.file.fault("damaged: a checksum does not fit");
  }

  /** Notes that what lies here has been read. @throws FileError for what is read twice: no file of Keras has that, circles do */
  once(at: number | null): number {
    if (at === null || this.#visited.has(at)) throw this.file.fault("damaged: a part of the file is referred to twice, or not at all");
    this.#visited.add(at);
    return at;
  }

  /** What stands in the header of an object. */
  messages(at: number): Message[] {
    return this.file.is(at, "OHDR") ? this.newMessages(at) : this.oldMessages(at);
  }

  oldMessages(at: number): Message[] {
    const { file, sizes } = this;
    if (file.u8(at) !== 1) throw file.fault("damaged: an object's header cannot be read");
    const messages: Message[] = [];
    const blocks: [number, number][] = [[at + 16, file.u32(at + 8)]];
    for (const [begin, length] of blocks) {
      file.check(begin, length);
      for (let from = begin; from + 8 <= begin + length;) {
        const [type, size, flags] = [file.u16(from), file.u16(from + 2), file.u8(from + 4)];
        file.check(from + 8, size);
        this.take(messages, { type, at: from + 8, size }, flags);
        if (type === CONTINUATION)
          blocks.push([this.once(placeOf(file, from + 8, sizes)), word(file, from + 8 + sizes.offset, sizes.length)]);
        from += 8 + size;
      }
    }
    return messages;
  }

  newMessages(at: number): Message[] {
    const { file, sizes } = this;
    const flags = file.u8(at + 5);
    if (file.u8(at + 4) !== 2) throw file.fault("damaged: an object's header cannot be read");
    const sizeAt = at + 6 + ((flags & 0x20) !== 0 ? 16 : 0) + ((flags & 0x10) !== 0 ? 4 : 0);
    const wide = 1 << (flags & 3);
    const first = wide === 1 ? file.u8(sizeAt) : wide === 2 ? file.u16(sizeAt) : wide === 4 ? file.u32(sizeAt) : file.u64(sizeAt);
    this.checkSum(at, sizeAt + wide + first - at);
    const head = (flags & 4) !== 0 ? 6 : 4;
    const messages: Message[] = [];
    const blocks: [number, number][] = [[sizeAt + wide, first]];
    for (const [begin, length] of blocks) {
      for (let from = begin; from + head <= begin + length;) {
        const [type, size] = [file.u8(from), file.u16(from + 1)];
        file.check(from + head, size);
        this.take(messages, { type, at: from + head, size }, file.u8(from + 3));
        if (type === CONTINUATION) {
          const block = this.once(placeOf(file, from + head, sizes));
          const whole = word(file, from + head + sizes.offset, sizes.length);
          if (!file.is(block, "OCHK") || whole < 8) throw file.fault("damaged: an object's header cannot be read");
          this.checkSum(block, whole - 4);
          blocks.push([block + 4, whole - 8]);
        }
        from += head + size;
      }
    }
    return messages;
  }

  take(messages: Message[], message: Message, flags: number): void {
    if (KNOWN.has(message.type) && (flags & SHARED) !== 0) throw this.file.fault("types that datasets share are not read");
    messages.push(message);
  }

  object(path: string, place: number | null, depth: number): void {
    const { file, sizes } = this;
    if (depth > MOST_DEPTH) throw file.fault(`groups within groups, more than ${MOST_DEPTH} deep`);
    const messages = this.messages(this.once(place));
    const all = (type: number): readonly Message[] => messages.filter((m) => m.type === type);
    const one = (type: number): number | null => all(type)[0]?.at ?? null;
    if (all(EXTERNAL).length > 0) throw file.fault(`"${path}" has its data in another file, which is not opened`);
    const info = one(ATTRIBUTE_INFO);
    if (info !== null && placeOf(file, info + 2 + ((file.u8(info + 1) & 1) !== 0 ? 2 : 0), sizes) !== null)
      throw file.fault(`the attributes of "${path}" are as libver="latest" writes many of them, which is not read`);
    const attributes = new Map(all(ATTRIBUTE).map(({ at, size }) => this.attribute(at, size)));
    const layout = one(LAYOUT);
    this.#nodes.set(path, { attributes, dataset: layout === null ? null : this.dataset(path, layout, one) });
    if (layout !== null) return;
    for (const [name, at] of this.links(path, all(LINK), one(LINK_INFO), one(SYMBOLS))) {
      const inner = path === "/" ? `/${name}` : `${path}/${name}`;
      if (this.#nodes.has(inner)) throw file.fault(`"${inner}" is twice in the file`);
      this.object(inner, at, depth + 1);
    }
  }

  /** Names and places of what a group holds. */
  links(path: string, links: readonly Message[], info: number | null, symbols: number | null): [string, number | null][] {
    const { file, sizes } = this;
    if (info !== null && placeOf(file, info + 2 + ((file.u8(info + 1) & 1) !== 0 ? 8 : 0), sizes) !== null)
      throw file.fault(`the members of "${path}" are as libver="latest" writes many of them, which is not read`);
    const found = links.map(({ at }): [string, number | null] => {
      const flags = file.u8(at + 1);
      let next = at + 2;
      const type = (flags & 8) !== 0 ? file.u8(next++) : 0;
      next += ((flags & 4) !== 0 ? 8 : 0) + ((flags & 16) !== 0 ? 1 : 0);
      const wide = 1 << (flags & 3);
      const length = wide === 1 ? file.u8(next) : wide === 2 ? file.u16(next) : file.u32(next);
      const name = this.text(next + wide, length);
      if (type !== 0) throw this.foreign(path, name);
      return [name, placeOf(file, next + wide + length, sizes)];
    });
    return symbols === null ? found : [...found, ...this.symbols(path, symbols)];
  }

  foreign(path: string, name: string): FileError {
    return this.file.fault(
      `"${path === "/" ? "" : path}/${name}" is a link to elsewhere, which no file of weights needs and is not followed`,
    );
  }

  text(at: number, length: number): string {
    return new TextDecoder().decode(this.file.slice(at, length));
  }

  symbols(path: string, at: number): [string, number | null][] {
    const { file, sizes } = this;
    const heap = this.once(placeOf(file, at + sizes.offset, sizes));
    if (!file.is(heap, "HEAP")) throw file.fault("damaged: the names of a group cannot be read");
    const length = word(file, heap + 8, sizes.length);
    const names = placeOf(file, heap + 8 + 2 * sizes.length, sizes) ?? 0;
    file.check(names, length);
    const found: [string, number | null][] = [];
    for (const table of this.leaves(placeOf(file, at, sizes), 0, 0, sizes.length)) {
      const place = this.once(table.at);
      if (!file.is(place, "SNOD")) throw file.fault("damaged: a group cannot be read");
      const count = file.u16(place + 6);
      const each = 2 * sizes.offset + 24;
      for (let i = 0; i < count; i++) {
        const entry = place + 8 + i * each;
        const from = word(file, entry, sizes.offset);
        if (from >= length) throw file.fault("damaged: a name lies outside of its group's names");
        const end = file.all.indexOf(0, names + from);
        const name = this.text(names + from, Math.min(end < 0 ? Infinity : end, names + length) - names - from);
        if (file.u32(entry + 2 * sizes.offset) === 2) throw this.foreign(path, name);
        found.push([name, placeOf(file, entry + sizes.offset, sizes)]);
      }
    }
    return found;
  }

  /** What a tree of version 1 has at its lowest level, with the places of the keys in front. */
  leaves(root: number | null, type: number, depth: number, keySize: number): { readonly at: number | null; readonly key: number }[] {
    const { file, sizes } = this;
    const at = this.once(root);
    if (!file.is(at, "TREE") || file.u8(at + 4) !== type || depth > 16) throw file.fault("damaged: a tree cannot be read");
    const level = file.u8(at + 5);
    const count = file.u16(at + 6);
    const each = keySize + sizes.offset;
    file.check(at + 8 + 2 * sizes.offset, count * each);
    return Array.from({ length: count }, (_, i) => {
      const key = at + 8 + 2 * sizes.offset + i * each;
      const child = placeOf(file, key + keySize, sizes);
      return level === 0 ? [{ at: child, key }] : this.leaves(child, type, depth + 1, keySize);
    }).flat();
  }

  attribute(at: number, size: number): [string, Attribute] {
    const { file, sizes } = this;
    const version = file.u8(at);
    if (version < 1 || version > 3) throw file.fault("damaged: an attribute cannot be read");
    if (version > 1 && (file.u8(at + 1) & 3) !== 0) throw file.fault("types that attributes share are not read");
    const lengths = [2, 4, 6].map((k) => file.u16(at + k));
    const [nameSize, typeSize, spaceSize] = version === 1 ? lengths.map((n) => Math.ceil(n / 8) * 8) : lengths;
    const first = at + (version === 3 ? 9 : 8);
    const name = this.text(first, lengths[0]).replace(/\0.*$/s, "");
    const shape = spaceOf(file, first + nameSize + typeSize, sizes) ?? [0];
    const begin = first + nameSize + typeSize + spaceSize;
    const type = elementType(file, first + nameSize);
    const count = countOf(file, shape);
    file.check(begin, count * type.size);
    if (begin + count * type.size > at + size) throw file.fault(`damaged: attribute "${name}" is longer than it should be`);
    const bytes = file.slice(begin, count * type.size);
    if (type.name === "string" || type.name === "strings")
      return [name, { shape, dtype: "string", strings: stringsOf(file, sizes, type, bytes, count, this.#budget), bytes: null }];
    return [name, { shape, dtype: type.name, strings: null, bytes: littleEndian(bytes, type) }];
  }

  dataset(path: string, at: number, one: (type: number) => number | null): Dataset {
    const { file, sizes } = this;
    const [space, typeAt, filterAt] = [one(SPACE), one(TYPE), one(FILTERS)];
    if (space === null || typeAt === null) throw file.fault(`damaged: "${path}" has no shape or no type`);
    const shape = spaceOf(file, space, sizes) ?? [0];
    const type = elementType(file, typeAt);
    const layout = layoutOf(file, at, sizes);
    const filters = filterAt === null ? [] : filtersOf(file, filterAt);
    const bytes = async (): Promise<Uint8Array> => this.elements(path, shape, type, layout, filters);
    return {
      dtype: type.name === "strings" ? "string" : type.name,
      shape,
      bytes: async () => littleEndian(await bytes(), type),
      strings: async () => stringsOf(file, sizes, type, await bytes(), countOf(file, shape), this.#budget),
    };
  }

  async elements(
    path: string,
    shape: readonly number[],
    type: ElementType,
    layout: Layout,
    filters: readonly Filter[],
  ): Promise<Uint8Array> {
    const { file } = this;
    const length = countOf(file, shape) * type.size;
    if (layout.kind === "whole") {
      if (length === 0) return new Uint8Array(0);
      if (layout.at === null || filters.length > 0 || layout.length < length)
        throw file.fault(`damaged: "${path}" has no data, or less than its shape says`);
      return file.slice(layout.at, length);
    }
    if (layout.chunk.length !== shape.length || layout.tree === null) {
      if (length === 0) return new Uint8Array(0);
      throw file.fault(`damaged: the chunks of "${path}" are missing`);
    }
    const chunks = this.leaves(layout.tree, 1, 0, 8 + 8 * (shape.length + 1));
    // Datasets are read when they are asked for, and may be again.
    this.#visited.clear();
    return readChunks(file, path, { shape, size: type.size, chunk: layout.chunk, filters, chunks });
  }
}

/** The groups and datasets of a file by their paths. @throws FileError for what is none, or damaged, or not as Keras writes it */
export const readHdf5 = (who: string, bytes: Uint8Array): Hdf5File => new Reader(new Bytes(who, bytes)).nodes;

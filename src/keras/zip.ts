/** @file Zip archives: members are read where they lie, and written as they are, as Keras writes them. */
import { Bytes, checkExpansion, inflated, textOf } from "./bytes.ts";

/** An archive. */
export interface Archive {
  readonly names: readonly string[];
  /** A member's bytes, not copied where they are stored as they are. @throws FileError for damaged ones */
  read(name: string): Promise<Uint8Array>;
}

const DIRECTORY_END = 0x06054b50;
const DIRECTORY_END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const ENTRY = 0x02014b50;
const MEMBER = 0x04034b50;
const MOST_COMMENT = 0xffff;
const STORED = 0;
const DEFLATED = 8;

interface Entry {
  readonly method: number;
  readonly checksum: number;
  readonly stored: number;
  readonly size: number;
  readonly at: number;
}

/** True for what begins as an archive does. */
export const isZip = (bytes: Uint8Array): boolean => bytes.length >= 4 && new Bytes("", bytes).u32(0) === MEMBER;

/** Where the directory lies. */
function directoryOf(file: Bytes): { readonly count: number; readonly at: number; readonly length: number } {
  const least = Math.max(0, file.all.length - 22 - MOST_COMMENT);
  for (let end = file.all.length - 22; end >= least; end--) {
    if (file.u32(end) !== DIRECTORY_END) continue;
    const [count, length, at] = [file.u16(end + 10), file.u32(end + 12), file.u32(end + 16)];
    if (end >= 20 && file.u32(end - 20) === LOCATOR_64) {
      const large = file.u64(end - 20 + 8);
      if (file.u32(large) !== DIRECTORY_END_64) throw file.fault("damaged: the directory of the archive is not where it should be");
      return { count: file.u64(large + 32), length: file.u64(large + 40), at: file.u64(large + 48) };
    }
    return { count, at, length };
  }
  throw file.fault("the archive is truncated: it has no directory");
}

/** What of sizes and places stands in the field of large archives. */
function largeField(file: Bytes, at: number, length: number, small: readonly number[]): number[] {
  const values = [...small];
  for (let from = at; from + 4 <= at + length; from += 4 + file.u16(from + 2)) {
    if (file.u16(from) !== 1) continue;
    let next = from + 4;
    small.forEach((value, i) => {
      if (value !== 0xffffffff) return;
      values[i] = file.u64(next);
      next += 8;
    });
  }
  return values;
}

/** The archive that `bytes` are. @throws FileError for what is none, or has two members of one name, or encrypted ones */
export function readZip(who: string, bytes: Uint8Array): Archive {
  const file = new Bytes(who, bytes);
  const { count, at, length } = directoryOf(file);
  file.check(at, length);
  const entries = new Map<string, Entry>();
  let from = at;
  for (let i = 0; i < count; i++) {
    if (file.u32(from) !== ENTRY) throw file.fault("damaged: the directory of the archive has something else than members");
    const [flags, method, checksum] = [file.u16(from + 8), file.u16(from + 10), file.u32(from + 16)];
    const [nameLength, moreLength, commentLength] = [file.u16(from + 28), file.u16(from + 30), file.u16(from + 32)];
    const name = textOf(who, "a name in the archive", file.slice(from + 46, nameLength));
    const small = [file.u32(from + 24), file.u32(from + 20), file.u32(from + 42)];
    const [size, stored, place] = largeField(file, from + 46 + nameLength, moreLength, small);
    if (entries.has(name)) throw file.fault(`"${name}" is twice in the archive`);
    if ((flags & 1) !== 0) throw file.fault(`"${name}" is encrypted`);
    if (method !== STORED && method !== DEFLATED) throw file.fault(`"${name}" is compressed by method ${method}; deflate is read`);
    entries.set(name, { method, checksum, stored, size, at: place });
    from += 46 + nameLength + moreLength + commentLength;
  }
  return {
    names: [...entries.keys()],
    async read(name) {
      const entry = entries.get(name);
      if (entry === undefined) throw file.fault(`it has no "${name}"; it has ${[...entries.keys()].slice(0, 8).join(", ") || "nothing"}`);
      if (file.u32(entry.at) !== MEMBER) throw file.fault(`damaged: "${name}" is not where the directory says`);
      const raw = file.slice(entry.at + 30 + file.u16(entry.at + 26) + file.u16(entry.at + 28), entry.stored);
      if (entry.method === STORED && entry.size !== entry.stored) throw file.fault(`damaged: "${name}" is said to have two sizes`);
      checkExpansion(who, name, entry.size, entry.stored);
      const content = entry.method === STORED ? raw : await inflated(`${who}: ${name}`, "deflate-raw", raw, entry.size);
      if (crc32(content) !== entry.checksum) throw file.fault(`damaged: "${name}" does not have the checksum that it should`);
      return content;
    },
  };
}

/** Tables for four bytes at a time. */
let tables: readonly Uint32Array[] | null = null;

function tablesOf(): readonly Uint32Array[] {
  const first = Uint32Array.from({ length: 256 }, (_, n) => {
    let c = n;
    for (let k = 0; k < 8; k++) c = (c & 1) !== 0 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    return c >>> 0;
  });
  const all = [first];
  for (let k = 1; k < 4; k++) all.push(all[k - 1].map((c) => first[c & 255] ^ (c >>> 8)));
  return all;
}

/** CRC-32 as zip has it (ISO 3309), four bytes at a time. */
export function crc32(bytes: Uint8Array): number {
  const [a, b, c, d] = (tables ??= tablesOf());
  let crc = 0xffffffff;
  let i = 0;
  for (; i + 4 <= bytes.length; i += 4) {
    crc ^= bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
    crc = d[crc & 255] ^ c[(crc >>> 8) & 255] ^ b[(crc >>> 16) & 255] ^ a[crc >>> 24];
  }
  for (; i < bytes.length; i++) crc = a[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Day 1 of what zip can say: the same model is the same bytes. */
const DATE = 0x21;
/** Of the data, so that elements can be read where they lie. */
const ALIGNMENT = 8;

/** An archive of these members, not compressed. */
export function writeZip(members: readonly (readonly [name: string, bytes: Uint8Array])[]): Uint8Array {
  const encoder = new TextEncoder();
  const heads: { name: Uint8Array; bytes: Uint8Array; at: number; padding: number; checksum: number }[] = [];
  let at = 0;
  for (const [text, bytes] of members) {
    const name = encoder.encode(text);
    // A field of its own, of at least 4 bytes, moves the data to where it is aligned.
    const free = (ALIGNMENT - ((at + 30 + name.length) % ALIGNMENT)) % ALIGNMENT;
    const padding = free > 0 && free < 4 ? free + ALIGNMENT : free;
    heads.push({ name, bytes, at, padding, checksum: crc32(bytes) });
    at += 30 + name.length + padding + bytes.length;
  }
  const directory = at;
  const size = directory + heads.reduce((n, { name }) => n + 46 + name.length, 0) + 22;
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  const common = (from: number, { checksum, bytes, name }: (typeof heads)[number]): void => {
    view.setUint16(from, 20, true);
    view.setUint16(from + 2, 0x800, true);
    view.setUint16(from + 8, DATE, true);
    view.setUint32(from + 10, checksum, true);
    view.setUint32(from + 14, bytes.length, true);
    view.setUint32(from + 18, bytes.length, true);
    view.setUint16(from + 22, name.length, true);
  };
  let to = directory;
  for (const head of heads) {
    const { name, bytes, at: from, padding } = head;
    view.setUint32(from, MEMBER, true);
    common(from + 4, head);
    view.setUint16(from + 28, padding, true);
    out.set(name, from + 30);
    if (padding > 0) {
      view.setUint16(from + 30 + name.length, 0xd935, true);
      view.setUint16(from + 32 + name.length, padding - 4, true);
    }
    out.set(bytes, from + 30 + name.length + padding);
    view.setUint32(to, ENTRY, true);
    view.setUint16(to + 4, 20, true);
    common(to + 6, head);
    view.setUint32(to + 42, from, true);
    out.set(name, to + 46);
    to += 46 + name.length;
  }
  view.setUint32(to, DIRECTORY_END, true);
  view.setUint16(to + 8, heads.length, true);
  view.setUint16(to + 10, heads.length, true);
  view.setUint32(to + 12, to - directory, true);
  view.setUint32(to + 16, directory, true);
  return out;
}

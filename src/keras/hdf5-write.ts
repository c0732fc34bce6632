/**
 * @file HDF5 files as h5py writes them by default (superblock 0, groups of symbol tables, datasets in one piece), which every HDF5 library
 * reads (HDF5 File Format Specification 3.0).
 */
import type { Shape } from "../index.ts";

/** A dataset to be written. */
export interface Written {
  readonly shape: Shape;
  readonly data: Float32Array | Int32Array | Uint32Array;
}

/** A group by the names of what it holds, sorted. */
type Tree = Map<string, Tree | Written>;

const NOWHERE = 2n ** 64n - 1n;
/** Names in a table, and tables in a node, are at most twice as many. */
const LEAF_K = 4;
const LEAST_K = 16;
const TABLE_BYTES = 8 + 2 * LEAF_K * 40;
const SUPERBLOCK_BYTES = 96;

const isTree = (node: Tree | Written): node is Tree => node instanceof Map;

/** Files are compared by bytes, as C does. */
const inOrder = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function treeOf(datasets: ReadonlyMap<string, Written>): Tree {
  const root: Tree = new Map();
  for (const [path, dataset] of datasets) {
    const names = path.split("/").filter((name) => name !== "");
    const last = names.pop() as string;
    let at = root;
    for (const name of names) {
      if (!at.has(name)) at.set(name, new Map());
      at = at.get(name) as Tree;
    }
    at.set(last, dataset);
  }
  return root;
}

/** Bytes that grow, with places that are multiples of 8. */
class Output {
  #bytes = new Uint8Array(2 ** 16);
  #view = new DataView(this.#bytes.buffer);
  end = 0;

  /** A place for `length` bytes, which are 0. */
  place(length: number): number {
    const at = this.end;
    this.end += Math.ceil(length / 8) * 8;
    if (this.end > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.end, 2 * this.#bytes.length));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }

  u8(at: number, ...values: readonly number[]): void {
    for (const [i, value] of values.entries()) this.#view.setUint8(at + i, value);
  }

  u16(at: number, value: number): void {
    this.#view.setUint16(at, value, true);
  }

  u32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  u64(at: number, value: number | bigint): void {
    this.#view.setBigUint64(at, BigInt(value), true);
  }

  text(at: number, text: string): void {
    this.set(at, new TextEncoder().encode(text));
  }

  set(at: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, at);
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.end);
  }
}

/** An object's header of these messages. */
function header(out: Output, messages: readonly (readonly [type: number, size: number, write: (at: number) => void])[]): number {
  const sizes = messages.map(([, size]) => Math.ceil(size / 8) * 8);
  const length = sizes.reduce((a, b) => a + b + 8, 0);
  const begin = out.place(16 + length);
  out.u8(begin, 1);
  out.u16(begin + 2, messages.length);
  out.u32(begin + 4, 1);
  out.u32(begin + 8, length);
  let at = begin + 16;
  for (const [i, [type, , write]] of messages.entries()) {
    out.u16(at, type);
    out.u16(at + 2, sizes[i]);
    write(at + 8);
    at += 8 + sizes[i];
  }
  return begin;
}

function dataset(out: Output, { shape, data }: Written): number {
  const at = data.byteLength === 0 ? NOWHERE : out.place(data.byteLength);
  if (typeof at === "number") out.set(at, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  const float = data instanceof Float32Array;
  return header(out, [
    [
      1,
      8 + 8 * shape.length,
      (to) => {
        out.u8(to, 1, shape.length);
        for (const [i, d] of shape.entries()) out.u64(to + 8 + 8 * i, d);
      },
    ],
    [
      3,
      float ? 20 : 12,
      (to) => {
        // Little-endian: IEEE 754 singles, or integers of 32 bits.
        out.u8(to, float ? 0x11 : 0x10, ...(float ? [0x20, 0x1f] : [data instanceof Int32Array ? 8 : 0]));
        out.u32(to + 4, 4);
        out.u16(to + 10, 32);
        if (!float) return;
        out.u8(to + 12, 23, 8, 0, 23);
        out.u32(to + 16, 127);
      },
    ],
    [5, 4, (to) => out.u8(to, 2, 2, 2, 0)],
    [
      8,
      18,
      (to) => {
        out.u8(to, 3, 1);
        out.u64(to + 2, at);
        out.u64(to + 10, data.byteLength);
      },
    ],
  ]);
}

interface Group {
  readonly header: number;
  readonly tree: number;
  readonly heap: number;
}

function group(out: Output, tree: Tree, k: number): Group {
  const encoder = new TextEncoder();
  const members = [...tree]
    .sort(([a], [b]) => inOrder(a, b))
    .map(([name, node]) => ({ name, node: isTree(node) ? group(out, node, k) : dataset(out, node) }));
  // Names, each with a 0 behind it; the first is none.
  const places: number[] = [];
  let length = 8;
  for (const { name } of members) {
    places.push(length);
    length += Math.ceil((encoder.encode(name).length + 1) / 8) * 8;
  }
  const names = out.place(length);
  for (const [i, { name }] of members.entries()) out.text(names + places[i], name);
  const heap = out.place(32);
  out.text(heap, "HEAP");
  out.u64(heap + 8, length);
  // No free block.
  out.u64(heap + 16, 1);
  out.u64(heap + 24, names);

  const at = out.place(24 + (4 * k + 1) * 8);
  const tables = Math.ceil(members.length / (2 * LEAF_K));
  out.text(at, "TREE");
  out.u16(at + 6, tables);
  out.u64(at + 8, NOWHERE);
  out.u64(at + 16, NOWHERE);
  for (let t = 0; t < tables; t++) {
    const table = out.place(TABLE_BYTES);
    const part = members.slice(t * 2 * LEAF_K, (t + 1) * 2 * LEAF_K);
    out.text(table, "SNOD");
    out.u8(table + 4, 1);
    out.u16(table + 6, part.length);
    for (const [i, { node }] of part.entries()) {
      const entry = table + 8 + 40 * i;
      out.u64(entry, places[t * 2 * LEAF_K + i]);
      out.u64(entry + 8, typeof node === "number" ? node : node.header);
      if (typeof node === "number") continue;
      out.u32(entry + 16, 1);
      out.u64(entry + 24, node.tree);
      out.u64(entry + 32, node.heap);
    }
    // Between two tables stands the last name of the first.
    out.u64(at + 32 + 16 * t, table);
    out.u64(at + 40 + 16 * t, places[t * 2 * LEAF_K + part.length - 1]);
  }
  const own = header(out, [
    [
      17,
      16,
      (to) => {
        out.u64(to, at);
        out.u64(to + 8, heap);
      },
    ],
  ]);
  return { header: own, tree: at, heap };
}

/** The most members that a group has. */
const mostMembers = (tree: Tree): number =>
  [...tree.values()].reduce((most, node) => Math.max(most, isTree(node) ? mostMembers(node) : 0), tree.size);

/** A file of these datasets by their paths. */
export function writeHdf5(datasets: ReadonlyMap<string, Written>): Uint8Array {
  const tree = treeOf(datasets);
  const k = Math.max(LEAST_K, Math.ceil(mostMembers(tree) / (4 * LEAF_K)));
  const out = new Output();
  out.place(SUPERBLOCK_BYTES);
  const root = group(out, tree, k);
  out.u8(0, 0x89);
  out.text(1, "HDF\r\n\x1a\n");
  out.u8(13, 8, 8);
  out.u16(16, LEAF_K);
  out.u16(18, k);
  out.u64(32, NOWHERE);
  out.u64(40, out.end);
  out.u64(48, NOWHERE);
  out.u64(64, root.header);
  out.u32(72, 1);
  out.u64(80, root.tree);
  out.u64(88, root.heap);
  return out.bytes;
}

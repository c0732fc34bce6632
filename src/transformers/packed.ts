/** @file Weights in few bits: how each tensor of a file is kept, and its rows packed while they are read. */
import { Packer } from "../index.ts";
import type { Backend, PackedFormat, Tensor } from "../index.ts";
import { sizeOf } from "../shape.ts";
import type { StoredTensor } from "./checkpoint.ts";
import { PARTS, VALUES } from "./scratch.ts";
import type { Scratch } from "./scratch.ts";
import type { Wanted } from "./design.ts";

/**
 * How weights are kept: `stored`, as the file has them where they are packed there (F16, BF16, Q8_0, Q4_0; Q4_1 and Q4_K become q4m, Q5_K
 * and Q6_K q8); or all in one format. What is no matrix of a product is f32 in any case.
 */
export type WeightFormat = "stored" | "f32" | PackedFormat;
export const WEIGHT_FORMATS: readonly WeightFormat[] = ["stored", "f32", "f16", "bf16", "q8", "q4", "q4m"];

/** What types of a file are kept as. */
const STORED: { readonly [dtype: string]: PackedFormat } = {
  F16: "f16",
  BF16: "bf16",
  Q8_0: "q8",
  Q4_0: "q4",
  Q4_1: "q4m",
  Q4_K: "q4m",
  Q5_K: "q8",
  Q6_K: "q8",
};

/** Rows of `k` elements that products read, [outputs, inputs] or [tokens, features]; null for weights that are no such matrix. */
export function rowsOf({ shape, source }: Wanted): { readonly rows: number; readonly k: number } | null {
  if (source.matrix === undefined) return null;
  const size = sizeOf(shape);
  const k = source.matrix === "rows" ? shape[shape.length - 1] : source.transposed ? sizeOf(source.shape.slice(1)) : source.shape[0];
  return size === 0 ? null : { rows: size / k, k };
}

/** How `wanted` is kept; null: as f32. */
export function formatOf(wanted: Wanted, stored: StoredTensor, format: WeightFormat): PackedFormat | null {
  const matrix = rowsOf(wanted);
  const own = STORED[stored.dtype] as PackedFormat | undefined;
  const chosen = format === "stored" ? (own ?? "f32") : format;
  if (matrix === null || chosen === "f32") return null;
  if (chosen === "f16" || chosen === "bf16" || matrix.k % 32 === 0) return chosen;
  // Rows of no whole blocks.
  return own === "bf16" ? "bf16" : "f16";
}

const half = (bytes: Uint8Array, at: number): number => bytes[at] | (bytes[at + 1] << 8);

/** Blocks of 32 that are taken over as they are, by the file's type: their bytes, and how one is read. */
const BLOCKS: {
  readonly [dtype: string]: { readonly bytes: number; readonly read: (bytes: Uint8Array, at: number, q: Int8Array) => [number, number] };
} = {
  Q8_0: {
    bytes: 34,
    read: (bytes, at, q) => {
      for (let i = 0; i < 32; i++) q[i] = bytes[at + 2 + i];
      return [half(bytes, at), 0];
    },
  },
  Q4_0: {
    bytes: 18,
    read: (bytes, at, q) => {
      nibbles(bytes, at + 2, q);
      return [half(bytes, at), 0];
    },
  },
  Q4_1: {
    bytes: 20,
    read: (bytes, at, q) => {
      nibbles(bytes, at + 4, q);
      return [half(bytes, at), half(bytes, at + 2)];
    },
  },
};

/** The lower halves of 16 bytes are the first 16 numbers. */
function nibbles(bytes: Uint8Array, at: number, q: Int8Array): void {
  for (let i = 0; i < 16; i++) {
    q[i] = bytes[at + i] & 15;
    q[i + 16] = bytes[at + i] >> 4;
  }
}

/** Types whose rows are packed without becoming f32, where they are kept in this format. */
const TAKEN_OVER: { readonly [dtype: string]: PackedFormat } = { F16: "f16", BF16: "bf16", Q8_0: "q8", Q4_0: "q4", Q4_1: "q4m" };

/** Packs rows of a tensor as they are read, and puts the whole on `backend`. */
export class PackedSink {
  readonly #wanted: Wanted;
  readonly #stored: StoredTensor;
  readonly #packer: Packer;
  /** Rows of the file are inputs, so that blocks are of columns. */
  readonly #columns: boolean;

  /** `window`: memory for what is packed. */
  constructor(backend: Backend, wanted: Wanted, stored: StoredTensor, format: PackedFormat, window: Scratch) {
    const { rows, k } = rowsOf(wanted) as { rows: number; k: number };
    this.#wanted = wanted;
    this.#stored = stored;
    this.#columns = wanted.source.matrix === "kernel" && !wanted.source.transposed;
    const memory = window.bytes(this.#columns ? Packer.bytes(format, 4 * Math.ceil(rows / 4), k) : 2 ** 17);
    this.#packer = new Packer(format, rows, k, { backend, memory });
  }

  put(first: number, count: number, bytes: Uint8Array): void {
    const { source } = this.#wanted;
    const { dtype } = this.#stored;
    const packer = this.#packer;
    const { k } = packer;
    if (this.#columns) {
      const width = this.#stored.shape[this.#stored.shape.length - 1];
      const from = source.columns?.[0] ?? 0;
      const values = this.#floats(count * width, bytes);
      for (let at = 0; at < count; at += 32) {
        const part = PARTS.take(Math.min(32, count - at));
        for (let r = 0; r < packer.rows; r++) {
          for (let i = 0; i < part.length; i++) part[i] = values[(at + i) * width + from + r];
          packer.part(r, (first + at) / 32, part);
        }
      }
      return;
    }
    if (TAKEN_OVER[dtype] !== packer.format) {
      const values = this.#floats(count * k, bytes);
      // Views of each would be much for the collector.
      const row = PARTS.take(k);
      for (let r = 0; r < count; r++) {
        for (let i = 0; i < k; i++) row[i] = values[r * k + i];
        packer.row(first + r, row);
      }
      return;
    }
    const block = BLOCKS[dtype] as (typeof BLOCKS)[string] | undefined;
    if (block === undefined) {
      const halves = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
      const bits = new Uint16Array(halves.buffer, halves.byteOffset, halves.length / 2);
      for (let r = 0; r < count; r++) packer.halves(first + r, bits.subarray(r * k, (r + 1) * k));
      return;
    }
    const q = new Int8Array(32);
    const each = k / 32;
    for (let i = 0; i < count * each; i++) {
      const [scale, minimum] = block.read(bytes, i * block.bytes, q);
      packer.block(first + Math.floor(i / each), i % each, q, scale, minimum);
    }
  }

  #floats(count: number, bytes: Uint8Array): Float32Array {
    const values = VALUES.take(count);
    this.#stored.floats(bytes, values);
    return values;
  }

  /** The weight, once all rows have been put. */
  get tensor(): Tensor {
    const { shape, source } = this.#wanted;
    return this.#packer.tensor({ transposed: source.matrix === "kernel", shape });
  }

  /** Gives back what it holds. */
  dispose(): void {
    this.#packer.dispose();
  }
}

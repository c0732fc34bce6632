/**
 * @file Elements of tensors in GGUF files as f32, block by block: what ggml's own `dequantize_row_*` gives, in f32 arithmetic and its
 * order, so that results are the same bits. Layouts: https://github.com/ggml-org/ggml, ggml-common.h and ggml-quants.c.
 */
import { elements, halfBits } from "../io/safetensors.ts";

/** Reads a block of `bytes` at `at` into `out` at `to`. `scratch`: f32 of what is read as a half. */
type ReadBlock = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void;

/** A type of elements: how many a block holds, its bytes, and how it is read; null for what is not. */
export interface BlockType {
  readonly name: string;
  readonly size: number;
  readonly bytes: number;
  readonly read: ReadBlock | null;
}

const words = new Uint32Array(1);
const float = new Float32Array(words.buffer);

/** The half at `at`. */
function half(bytes: Uint8Array, at: number): number {
  words[0] = halfBits(bytes[at] | (bytes[at + 1] << 8));
  return float[0];
}

const { fround } = Math;

/** 32 values: a scale and 4 bits each, of which 8 is zero. */
const q4_0: ReadBlock = (bytes, at, out, to) => {
  const d = half(bytes, at);
  for (let i = 0; i < 16; i++) {
    const pair = bytes[at + 2 + i];
    out[to + i] = ((pair & 15) - 8) * d;
    out[to + i + 16] = ((pair >> 4) - 8) * d;
  }
};

/** 32 values: a scale, a minimum and 4 bits each. */
const q4_1: ReadBlock = (bytes, at, out, to) => {
  const d = half(bytes, at);
  const least = half(bytes, at + 2);
  for (let i = 0; i < 16; i++) {
    const pair = bytes[at + 4 + i];
    out[to + i] = fround((pair & 15) * d) + least;
    out[to + i + 16] = fround((pair >> 4) * d) + least;
  }
};

/** 32 values: a scale and a byte each. */
const q8_0: ReadBlock = (bytes, at, out, to) => {
  const d = half(bytes, at);
  for (let i = 0; i < 32; i++) out[to + i] = ((bytes[at + 2 + i] << 24) >> 24) * d;
};

/** Scale and minimum of part `j` of the eight of a block of 256: 6 bits each, in 12 bytes. */
function scaleOf(bytes: Uint8Array, at: number, j: number): readonly [scale: number, least: number] {
  if (j < 4) return [bytes[at + j] & 63, bytes[at + j + 4] & 63];
  const low = bytes[at + j + 4];
  return [(low & 15) | ((bytes[at + j - 4] >> 6) << 4), (low >> 4) | ((bytes[at + j] >> 6) << 4)];
}

/** 256 values of 4 bits, or 5 where `high` bytes hold one more of each, in eight parts with a scale and a minimum. */
const fourOrFive =
  (high: number): ReadBlock =>
  (bytes, at, out, to) => {
    const d = half(bytes, at);
    const dmin = half(bytes, at + 2);
    const [scales, highs, lows] = [at + 4, at + 16, at + 16 + high];
    for (let j = 0; j < 8; j++) {
      const [scale, least] = scaleOf(bytes, scales, j);
      const [step, base] = [fround(d * scale), fround(dmin * least)];
      for (let i = 0; i < 32; i++) {
        const pair = bytes[lows + (j >> 1) * 32 + i];
        const more = high > 0 && ((bytes[highs + i] >> j) & 1) === 1 ? 16 : 0;
        const q = (j % 2 === 0 ? pair & 15 : pair >> 4) + more;
        out[to + j * 32 + i] = fround(step * q) - base;
      }
    }
  };

/** 256 values of 6 bits, 32 of which is zero, in sixteen parts with a scale of a byte. */
const q6_k: ReadBlock = (bytes, at, out, to) => {
  const d = half(bytes, at + 208);
  for (let part = 0; part < 2; part++) {
    const [low, high, scale] = [at + part * 64, at + 128 + part * 32, at + 192 + part * 8];
    for (let k = 0; k < 4; k++) {
      for (let i = 0; i < 32; i++) {
        const byte = bytes[low + (k % 2) * 32 + i];
        const q = ((k < 2 ? byte & 15 : byte >> 4) | (((bytes[high + i] >> (2 * k)) & 3) << 4)) - 32;
        const s = (bytes[scale + 2 * k + (i >> 4)] << 24) >> 24;
        out[to + part * 128 + k * 32 + i] = fround(d * s) * q;
      }
    }
  }
};

const plain = (name: string, bytes: number, read: ReadBlock | null = null): BlockType => ({ name, size: 1, bytes, read });

/** Types by their numbers in files. Those without `read` are known by their size alone. */
export const BLOCK_TYPES: { readonly [type: number]: BlockType } = {
  0: plain("F32", 4),
  1: plain("F16", 2),
  2: { name: "Q4_0", size: 32, bytes: 18, read: q4_0 },
  3: { name: "Q4_1", size: 32, bytes: 20, read: q4_1 },
  6: { name: "Q5_0", size: 32, bytes: 22, read: null },
  7: { name: "Q5_1", size: 32, bytes: 24, read: null },
  8: { name: "Q8_0", size: 32, bytes: 34, read: q8_0 },
  9: { name: "Q8_1", size: 32, bytes: 36, read: null },
  10: { name: "Q2_K", size: 256, bytes: 84, read: null },
  11: { name: "Q3_K", size: 256, bytes: 110, read: null },
  12: { name: "Q4_K", size: 256, bytes: 144, read: fourOrFive(0) },
  13: { name: "Q5_K", size: 256, bytes: 176, read: fourOrFive(32) },
  14: { name: "Q6_K", size: 256, bytes: 210, read: q6_k },
  15: { name: "Q8_K", size: 256, bytes: 292, read: null },
  16: { name: "IQ2_XXS", size: 256, bytes: 66, read: null },
  17: { name: "IQ2_XS", size: 256, bytes: 74, read: null },
  18: { name: "IQ3_XXS", size: 256, bytes: 98, read: null },
  19: { name: "IQ1_S", size: 256, bytes: 50, read: null },
  20: { name: "IQ4_NL", size: 32, bytes: 18, read: null },
  21: { name: "IQ3_S", size: 256, bytes: 110, read: null },
  22: { name: "IQ2_S", size: 256, bytes: 82, read: null },
  23: { name: "IQ4_XS", size: 256, bytes: 136, read: null },
  24: plain("I8", 1),
  25: plain("I16", 2),
  26: plain("I32", 4),
  27: plain("I64", 8),
  28: plain("F64", 8),
  29: { name: "IQ1_M", size: 256, bytes: 56, read: null },
  30: plain("BF16", 2),
  34: { name: "TQ1_0", size: 256, bytes: 54, read: null },
  35: { name: "TQ2_0", size: 256, bytes: 66, read: null },
  39: { name: "MXFP4", size: 32, bytes: 17, read: null },
};

/** Types by name. */
const BY_NAME: ReadonlyMap<string, BlockType> = new Map(Object.values(BLOCK_TYPES).map((type) => [type.name, type]));

/** Types whose elements `floatsOf` gives. */
export const FLOAT_TYPES: readonly string[] = ["F32", "F16", "BF16"].concat(
  Object.values(BLOCK_TYPES)
    .filter(({ read }) => read !== null)
    .map(({ name }) => name),
);

/** Elements of whole blocks as f32, for a type of `FLOAT_TYPES`, in `out`. */
export function floatsOf(type: string, bytes: Uint8Array, out: Float32Array): void {
  if (type === "F32") return out.set(elements(Float32Array, 4, bytes));
  if (type === "F16" || type === "BF16") {
    const halves = elements(Uint16Array, 2, bytes);
    const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
    if (type === "F16") for (let i = 0; i < halves.length; i++) bits[i] = halfBits(halves[i]);
    else for (let i = 0; i < halves.length; i++) bits[i] = halves[i] << 16;
    return;
  }
  const { size, bytes: blockBytes, read } = BY_NAME.get(type) as BlockType;
  for (let at = 0, to = 0; at < bytes.length; at += blockBytes, to += size) (read as ReadBlock)(bytes, at, out, to);
}

/** Elements that `bytes` of a type hold. */
export function countOf(type: string, bytes: number): number {
  const { size, bytes: blockBytes } = BY_NAME.get(type) as BlockType;
  return (bytes / blockBytes) * size;
}

/**
 * @file Weights in 4 bits (MatMulNBits of com.microsoft), packed as Lockstep's products read them while they are read from the file: in
 * place of 8 times as much as words. Their scales become halves.
 */
import { Packer } from "../index.ts";
import type { Backend, Tensor } from "../index.ts";
import type { NodeProto } from "./proto.ts";
import { encoded } from "./tensors.ts";
import type { Constant, Stored } from "./tensors.ts";

/** Elements that share a scale in packed weights. */
const BLOCK = 32;
/** Smaller matrices stay as they are: their products round nothing. */
const FEWEST = 2 ** 16;
/** Halves are as exact as they can be from here on, and end there. */
const [LEAST, MOST] = [2 ** -14, 65504];

/** A matrix [n, k] of 4 bits, `size` elements of a row with a scale each, by the names of constants. */
export interface Quantized {
  readonly weights: string;
  readonly scales: string;
  readonly zeros: string | null;
  readonly n: number;
  readonly k: number;
  readonly size: number;
}

/** The constants that nodes multiply by, and that nothing else reads. */
export function quantizedOf(
  nodes: readonly NodeProto[],
  constants: ReadonlyMap<string, Stored>,
  readers: ReadonlyMap<string, number>,
): Quantized[] {
  const own = (name: string | undefined): boolean => name !== undefined && constants.has(name) && readers.get(name) === 1;
  return nodes.flatMap(({ op, domain, inputs: [, weights, scales, zeros = "", groups = ""], attributes }) => {
    if (op !== "MatMulNBits" || domain !== "com.microsoft") return [];
    const number = (name: string, absent: number): number => (attributes.has(name) ? Number(attributes.get(name)?.i ?? 0n) : absent);
    const [bits, size, n, k] = [number("bits", 4), number("block_size", 32), number("N", 0), number("K", 0)];
    const fits = bits === 4 && size > 0 && size % BLOCK === 0 && k % BLOCK === 0 && n * k >= FEWEST && groups === "";
    if (!fits || !own(weights) || !own(scales) || (zeros !== "" && !own(zeros))) return [];
    const sizeIn = (name: string): number => (constants.get(name)?.shape ?? []).reduce((p, d) => p * d, 1);
    const blocks = Math.ceil(k / size);
    if (sizeIn(weights) !== (n * blocks * size) / 2 || sizeIn(scales) !== n * blocks) return [];
    // Elements that are listed one by one in the file are few.
    const isRaw = (name: string): boolean => constants.get(name)?.elements === null;
    if (!isRaw(weights) || constants.get(weights)?.type !== "uint8") return [];
    return [{ weights, scales, zeros: zeros === "" ? null : zeros, n, k, size }];
  });
}

/** Reads elements [begin, end) of a constant. */
export type ReadPart = (stored: Stored, begin: number, end: number) => Promise<Constant>;

/** The matrix [n, k] on `backend`; null where halves would not hold its scales. */
export async function packed(
  { weights, scales, zeros, n, k, size }: Quantized,
  constants: ReadonlyMap<string, Stored>,
  backend: Backend,
  read: ReadPart,
  whole: (stored: Stored) => Promise<Constant>,
): Promise<Tensor | null> {
  const stored = constants.get(weights) as Stored;
  const blocks = Math.ceil(k / size);
  const rowBytes = (blocks * size) / 2;
  const factors = (await whole(constants.get(scales) as Stored)).elements as ArrayLike<number>;
  const zero = zeros === null ? null : await whole(constants.get(zeros) as Stored);
  const zeroRow = Math.ceil(blocks / 2);
  if (zero !== null && zero.elements.length !== n * (zero.type === "uint8" ? zeroRow : blocks)) return null;
  const zeroAt = (row: number, block: number): number => {
    if (zero === null) return 8;
    const list = zero.elements as ArrayLike<number>;
    return zero.type === "uint8" ? (list[row * zeroRow + (block >> 1)] >> (4 * (block & 1))) & 15 : list[row * blocks + block];
  };
  const minimums = Float64Array.from(factors, (s, i) => -zeroAt(Math.floor(i / blocks), i % blocks) * s);
  const isHalf = (x: number): boolean => x === 0 || (Math.abs(x) >= LEAST && Math.abs(x) <= MOST);
  if (!Array.prototype.every.call(factors, isHalf) || !minimums.every((x) => Math.abs(x) <= MOST)) return null;
  const isCentred = minimums.every((x, i) => x === -8 * factors[i]);
  const [scaleBits, minimumBits] = [factors, minimums].map((list) => new Uint16Array(encoded("float16", list).buffer));
  const packer = new Packer(isCentred ? "q4" : "q4m", n, k, { backend });
  try {
    const rows = Math.max(1, Math.floor(2 ** 16 / rowBytes));
    const q = new Int8Array(BLOCK);
    for (let first = 0; first < n; first += rows) {
      const last = Math.min(n, first + rows);
      const bytes = (await read(stored, first * rowBytes, last * rowBytes)).elements as ArrayLike<number>;
      for (let row = first; row < last; row++) {
        for (let b = 0; b < k / BLOCK; b++) {
          const at = (row - first) * rowBytes + (b * BLOCK) / 2;
          for (let i = 0; i < BLOCK; i++) q[i] = (bytes[at + (i >> 1)] >> (4 * (i & 1))) & 15;
          const scale = row * blocks + Math.floor((b * BLOCK) / size);
          packer.block(row, b, q, scaleBits[scale], isCentred ? 0 : minimumBits[scale]);
        }
      }
    }
    return packer.tensor();
  } catch (error) {
    packer.dispose();
    throw error;
  }
}

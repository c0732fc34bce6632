/**
 * @file How packed matrices lie in memory (docs/packed.md): rows of k elements, in groups of 4 rows whose elements alternate, so that 16
 * bytes are 4 rows by 4 (or 8) elements of k, and a sum for each row is in a lane of its own. The twins are assembly/packed.ts and
 * kernels/packed/.
 */
import { ArgumentError, DataError } from "../errors.ts";
import { unknownName } from "../check.ts";

/**
 * Formats of packed weights. `f16`, `bf16`: halves. In blocks of 32 elements: `q8`: 8-bit integers times a scale (f16), 8.5 bits an
 * element, as GGUF's Q8_0; `q4`: 4-bit integers less 8 times a scale, 4.5 bits, Q4_0; `q4m`: 4-bit integers times a scale plus a minimum,
 * 5 bits, Q4_1.
 */
export type PackedFormat = "f16" | "bf16" | "q8" | "q4" | "q4m";

export const FORMATS: readonly PackedFormat[] = ["f16", "bf16", "q8", "q4", "q4m"];

/** Elements that share a scale. */
export const BLOCK = 32;
/** Rows whose elements alternate. */
export const GROUP = 4;
const HALF_BYTES = 2;
const LANE_BYTES = 16;

/** Where the parts of a matrix in blocks are. */
export interface Layout {
  readonly blocks: number;
  /** Bytes of a block of 4 rows. */
  readonly unit: number;
  /** Where the scales begin, and the minimums. */
  readonly scales: number;
  readonly minimums: number;
  /** Of everything: whole words. */
  readonly bytes: number;
}

/** True for halves, false for integers in blocks. */
export const isHalves = (format: PackedFormat): boolean => format === "f16" || format === "bf16";

/** @throws ArgumentError for an unknown format */
export function checkFormat(who: string, format: string): asserts format is PackedFormat {
  if (!FORMATS.includes(format as PackedFormat)) throw unknownName(who, String(format), FORMATS, "format ");
}

/** @throws ArgumentError where rows of `k` elements are no whole blocks */
export function checkBlocks(who: string, format: PackedFormat, k: number): void {
  if (!isHalves(format) && k % BLOCK !== 0) {
    throw new ArgumentError(
      `${who}: ${format} has blocks of ${BLOCK} elements, and ${k} along the axis that is summed over are no whole blocks; use "f16"`,
    );
  }
}

/** The layout of `rows` rows of `k` elements. */
export function layoutOf(format: PackedFormat, rows: number, k: number): Layout {
  if (isHalves(format)) {
    const bytes = Math.ceil((rows * k) / 2) * 4;
    return { blocks: 0, unit: 0, scales: bytes, minimums: bytes, bytes };
  }
  const blocks = k / BLOCK;
  const unit = format === "q8" ? GROUP * BLOCK : (GROUP * BLOCK) / 2;
  const units = Math.ceil(rows / GROUP) * blocks;
  const scales = units * unit;
  const minimums = scales + units * GROUP * HALF_BYTES;
  return { blocks, unit, scales, minimums, bytes: minimums + (format === "q4m" ? units * GROUP * HALF_BYTES : 0) };
}

/** The byte of the element `i` of a block within its unit, for row `lane` of the group; for 4 bits, `nibble` tells which half. */
export const byteOf = (format: PackedFormat, lane: number, i: number): number =>
  (format === "q8" ? i >> 2 : i >> 3) * LANE_BYTES + lane * 4 + (i & 3);

/** Whether the element `i` of a block is in the upper 4 bits of its byte. */
export const isUpper = (i: number): boolean => (i & 4) !== 0;

/** Which unit holds block `b` of `row`. */
export const unitOf = ({ blocks }: Layout, row: number, b: number): number => Math.floor(row / GROUP) * blocks + b;

const WORD = new Uint32Array(1);
const FLOAT = new Float32Array(WORD.buffer);

/** The f32 nearest to `x` as bits. */
export function bitsOf(x: number): number {
  FLOAT[0] = x;
  return WORD[0];
}

/** The bits of the half nearest to `x` (ties to even). @throws DataError where it is beyond f16 */
export function toHalf(who: string, x: number): number {
  const bits = bitsOf(x);
  const sign = (bits >>> 16) & 0x8000;
  const size = Math.abs(x);
  if (!(size < 65520)) throw new DataError(`${who}: ${x} is beyond f16, which ends at 65504; use "bf16" or f32`);
  // Below 2^-14 halves are multiples of 2^-24: the addition rounds.
  if (size < 2 ** -14) {
    FLOAT[0] = size + 0.5;
    return sign | (WORD[0] - 0x3f000000);
  }
  const low = bits & 0x7fffffff;
  return sign | ((low - 0x38000000 + 0xfff + ((low >> 13) & 1)) >> 13);
}

/** The bits of the bfloat16 nearest to `x` (ties to even). @throws DataError where it is beyond its range, or NaN */
export function toBfloat(who: string, x: number): number {
  const bits = bitsOf(x);
  const rounded = (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  if ((rounded & 0x7f80) === 0x7f80) throw new DataError(`${who}: ${x} is beyond bf16`);
  return rounded;
}

/** The exponents of f32 and f16 count from numbers that are so far apart. */
const REBIAS = 2 ** 112;

/** What the half with these bits is. */
export function fromHalf(half: number): number {
  WORD[0] = (half & 0x7fff) << 13;
  const size = FLOAT[0] * REBIAS;
  const value = size < 65536 ? size : size === 65536 ? Infinity : NaN;
  return half & 0x8000 ? -value : value;
}

/** What the bfloat16 with these bits is. */
export function fromBfloat(bits: number): number {
  WORD[0] = bits << 16;
  return FLOAT[0];
}

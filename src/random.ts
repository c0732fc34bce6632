/**
 * @file Random numbers on the host: the same Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2,
 * 3", 2011) and the same permutations as the kernels. Logarithm, sine and cosine are computed here with + - * / and
 * square roots only, so that every engine gives the same bits.
 */
import { ArgumentError } from "./errors.ts";

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** The high 32 bits of a product of two 32-bit words. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const cross = aHigh * bLow + ((aLow * bLow) >>> 16);
  const middle = aLow * bHigh + (cross & 0xffff);
  return (aHigh * bHigh + (cross >>> 16) + (middle >>> 16)) >>> 0;
}

function philoxInto(out: Uint32Array, at: number, c0: number, c1: number, c2: number, c3: number, k0: number, k1: number): void {
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, c0);
    const low0 = Math.imul(M0, c0);
    const high1 = mulHigh(M1, c2);
    const low1 = Math.imul(M1, c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1 >>> 0;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0 >>> 0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  out[at] = c0;
  out[at + 1] = c1;
  out[at + 2] = c2;
  out[at + 3] = c3;
}

/** The Philox4x32-10 block of four words for a counter of four words and a key of two. */
export function philox4x32(counter: ArrayLike<number>, key: ArrayLike<number>): Uint32Array {
  const out = new Uint32Array(4);
  philoxInto(out, 0, counter[0] >>> 0, counter[1] >>> 0, counter[2] >>> 0, counter[3] >>> 0, key[0] >>> 0, key[1] >>> 0);
  return out;
}

/** A seed as the two words of a key: low, high. @throws ArgumentError unless it is an integer in [0, 2^53). */
export function seedWords(seed: number): readonly [number, number] {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new ArgumentError(`random: the seed must be an integer in [0, 2^53), got ${seed}`);
  return [seed >>> 0, Math.floor(seed / 4294967296)];
}

/** ln(v 2^-24) for integers v in [1, 2^24]: 2 atanh s = 2 (s + s^3/3 + ...) with s = (m - 1) / (m + 1), |s| < 0.172. */
function logOf24(v: number): number {
  let e = 31 - Math.clz32(v);
  let m = v / (1 << e);
  if (m > Math.SQRT2) {
    m /= 2;
    e++;
  }
  const s = (m - 1) / (m + 1);
  const u = s * s;
  let sum = 0;
  for (let k = 23; k >= 1; k -= 2) sum = sum * u + 1 / k;
  return (e - 24) * Math.LN2 + 2 * s * sum;
}

/** [sin, cos] of 2 pi v 2^-24 for integers v in [0, 2^24). */
function turnOf24(v: number): readonly [number, number] {
  const quarter = (v + (1 << 21)) >> 22;
  return sinCos(quarter, (v - quarter * (1 << 22)) * (Math.PI / (1 << 23)));
}

/** [sin, cos] of `quarter` quarters of a turn and r radians: Taylor series for r within an eighth turn. */
export function sinCos(quarter: number, r: number): readonly [number, number] {
  const u = r * r;
  let sin = 1;
  let cos = 1;
  for (let k = 18; k >= 2; k -= 2) {
    sin = 1 - (sin * u) / (k * (k + 1));
    cos = 1 - (cos * u) / (k * (k - 1));
  }
  sin *= r;
  switch (quarter & 3) {
    case 0:
      return [sin, cos];
    case 1:
      return [cos, -sin];
    case 2:
      return [-sin, -cos];
    default:
      return [-cos, sin];
  }
}

/** Box & Muller's pairs of independent normal numbers, in double, from words two by two; an odd last word gives one. */
function normalsOf(bits: Uint32Array): Float64Array {
  const out = new Float64Array(bits.length);
  for (let i = 0; i < bits.length; i += 2) {
    const radius = Math.sqrt(-2 * logOf24((bits[i] >>> 8) + 1));
    const [sin, cos] = turnOf24(bits[i + 1] >>> 8);
    out[i] = radius * cos;
    out[i + 1] = radius * sin;
  }
  return out;
}

/**
 * A source of random numbers. Draw n (n = 0, 1, ...: each call of a method is one draw) gives what the kernel `random`
 * gives for the key (seed low, seed high, n, 0) and the same stream: `bits` and `uniform` bit for bit, `normal` up to
 * the rounding of f32 arithmetic. Equal seeds and streams give equal sequences on every engine.
 */
export class Random {
  readonly seed: number;
  readonly stream: number;
  /** The number of draws so far; with seed and stream the whole state. */
  draws = 0;

  /**
   * @param seed an integer in [0, 2^53)
   * @param stream an integer in [0, 2^32) that tells apart independent sequences of one seed
   * @throws ArgumentError for others
   */
  constructor(seed: number, stream = 0) {
    seedWords(seed);
    if (!Number.isInteger(stream) || stream < 0 || stream >= 2 ** 32)
      throw new ArgumentError(`Random: stream must be an integer in [0, 2^32), got ${stream}`);
    this.seed = seed;
    this.stream = stream;
  }

  /** `count` words with all bits random. */
  bits(count: number): Uint32Array {
    return this.#blocks(count, this.draws++, 0).slice(0, count);
  }

  /** `count` numbers in [0, 1), multiples of 2^-24. */
  uniform(count: number): Float32Array {
    const bits = this.bits(count);
    // Float32Array.from(bits, f) goes by iterators: 137 ns a number in place of 24.
    return new Float32Array(count).map((_, i) => (bits[i] >>> 8) / (1 << 24));
  }

  /** `count` numbers of mean 0 and variance 1. */
  normal(count: number): Float32Array {
    return new Float32Array(normalsOf(this.#blocks(count, this.draws++, 0)).subarray(0, count));
  }

  /**
   * `count` numbers of the normal distribution of mean 0 and variance 1 cut off at -2 and 2 (variance 0.774): numbers
   * outside are left out and the sequence goes on, as Keras resamples.
   */
  truncatedNormal(count: number): Float32Array {
    const out = new Float32Array(count);
    const draw = this.draws++;
    for (let n = 0, block = 0; n < count;) {
      const bits = this.#blocks(count - n, draw, block);
      block += bits.length / 4;
      for (const value of normalsOf(bits)) {
        if (n < count && value > -2 && value < 2) out[n++] = value;
      }
    }
    return out;
  }

  /** The words of whole blocks from number `block` on, at least `count`. */
  #blocks(count: number, draw: number, block: number): Uint32Array {
    if (!Number.isInteger(count) || count < 0 || count > 2 ** 31)
      throw new ArgumentError(`Random: count must be an integer in [0, 2^31], got ${count}`);
    const [low, high] = seedWords(this.seed);
    const out = new Uint32Array(Math.ceil(count / 4) * 4);
    for (let at = 0; at < out.length; at += 4) philoxInto(out, at, block + at / 4, this.stream, draw, 0, low, high);
    return out;
  }
}

const FEISTEL_ROUNDS = 24;

function mix(v: number, roundKey: number): number {
  const x = (v ^ roundKey) >>> 0;
  return Math.imul(Math.imul(x, M0) ^ mulHigh(x, M0), M1) >>> 0;
}

/**
 * The pseudo-random permutation of 0 .. size-1 that the kernel `permutation` computes, bit for bit: a Feistel network
 * with cycle walking (Mitchell et al., "Bandwidth-Optimal Random Shuffling for GPUs", 2021).
 * @param size an integer in [0, 2^31)
 * @param key four words: seed low, seed high and two counters
 * @throws ArgumentError for another size
 */
export function permutation(size: number, key: ArrayLike<number>, stream = 0): Int32Array {
  if (!Number.isInteger(size) || size < 0 || size >= 2 ** 31)
    throw new ArgumentError(`permutation: size must be an integer in [0, 2^31), got ${size}`);
  const at = permutationOf(size, key, stream);
  const out = new Int32Array(size);
  for (let i = 0; i < size; i++) out[i] = at(i);
  return out;
}

/** The same permutation as a function of the position, for sizes too large to hold. `size` is at least 1. */
export function permutationOf(size: number, key: ArrayLike<number>, stream = 0): (position: number) => number {
  const roundKeys = new Uint32Array(FEISTEL_ROUNDS);
  for (let i = 0; i < FEISTEL_ROUNDS; i += 4) {
    philoxInto(roundKeys, i, 0x80000000 + i / 4, stream >>> 0, key[2] >>> 0, key[3] >>> 0, key[0] >>> 0, key[1] >>> 0);
  }
  const bits = Math.max(32 - Math.clz32(size - 1), 1);
  const high = bits >> 1;
  const low = bits - high;
  const lowMask = 2 ** low - 1;
  const feistel = (v: number): number => {
    let left = v >>> low;
    let right = v & lowMask;
    for (let round = 0; round < FEISTEL_ROUNDS; round += 2) {
      left ^= (mix(right, roundKeys[round]) >>> 1) >>> (31 - high);
      right ^= mix(left, roundKeys[round + 1]) >>> (32 - low);
    }
    return (left << low) | right;
  };
  return (position) => {
    let v = feistel(position);
    while (v >= size) v = feistel(v);
    return v;
  };
}

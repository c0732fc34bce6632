/**
 * @file Blocks of 32 numbers as few bits. Scales are rounded to f16 first and numbers divided by what they then are, so that the error of
 * the scale does not add up with that of the integer.
 */
import { DataError } from "../errors.ts";
import { BLOCK, fromHalf, toHalf } from "./layout.ts";

/** A block as it is stored: integers (q8: -127 to 127, 4 bits: 0 to 15), the scale and the minimum as bits of f16. */
export interface Block {
  readonly q: Int8Array;
  scale: number;
  minimum: number;
}

export const block = (): Block => ({ q: new Int8Array(BLOCK), scale: 0, minimum: 0 });

/** Beyond this a block of zeros is nearer than any scale. */
const inverse = (scale: number): number => (scale === 0 ? 0 : 1 / scale);

/** Least and most, which are found by loops over places: iterators took 60 ns an element. */
const ENDS = { low: 0, high: 0 };

function extremes(who: string, x: Float32Array): { readonly low: number; readonly high: number } {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < x.length; i++) {
    const v = x[i];
    // Of NaN, too.
    if (!(v - v === 0)) throw new DataError(`${who}: ${v} cannot be packed in few bits`);
    if (v < low) low = v;
    if (v > high) high = v;
  }
  ENDS.low = low;
  ENDS.high = high;
  return ENDS;
}

/** 8 bits: x is q scale, where the largest |x| is 127. */
export function quantize8(who: string, x: Float32Array, out: Block): void {
  const { low, high } = extremes(who, x);
  out.scale = toHalf(who, Math.max(-low, high, 0) / 127);
  const factor = inverse(fromHalf(out.scale));
  const { q } = out;
  for (let i = 0; i < BLOCK; i++) {
    const n = Math.round(x[i] * factor);
    q[i] = n < -127 ? -127 : n > 127 ? 127 : n;
  }
}

/**
 * The sum of squared errors of 4 bits in the last scale that was tried, and the scale that is best for the same integers (0: none is better
 * than another). Here and below nothing is allocated: what loading leaves to the collector counts beside a model in few bits.
 */
const FIT = new Float64Array(2);

/** `bits`: of the scale. Integers, unlike fractions, are handed over without an allocation. */
function fit4(x: Float32Array, bits: number): void {
  const scale = fromHalf(bits);
  const factor = inverse(scale);
  let error = 0;
  let up = 0;
  let down = 0;
  for (let i = 0; i < BLOCK; i++) {
    const n = Math.floor(x[i] * factor + 0.5);
    const q = n < -8 ? -8 : n > 7 ? 7 : n;
    const d = x[i] - q * scale;
    error += d * d;
    up += x[i] * q;
    down += q * q;
  }
  FIT[0] = error;
  FIT[1] = down === 0 ? 0 : up / down;
}

/**
 * 4 bits: x is (q - 8) scale. The number farthest from 0 is -8, or -7 as where the other end is as far: of these scales, and of the one
 * that is best (least squares) for the integers that the first gives, the one with the least error.
 */
export function quantize4(who: string, x: Float32Array, out: Block): void {
  const { low, high } = extremes(who, x);
  const most = -low > high ? low : high;
  let least = Infinity;
  let best = 0;
  for (let tried = 0; tried < 3; tried++) {
    const bits = toHalf(who, tried === 1 ? best : most / (tried === 0 ? -8 : -7));
    fit4(x, bits);
    if (tried === 0) best = FIT[1];
    if (FIT[0] < least) {
      least = FIT[0];
      out.scale = bits;
    }
  }
  const factor = inverse(fromHalf(out.scale));
  const { q } = out;
  for (let i = 0; i < BLOCK; i++) {
    const n = Math.floor(x[i] * factor + 0.5);
    q[i] = n < -8 ? 0 : n > 7 ? 15 : n + 8;
  }
}

/** 4 bits: x is q scale + minimum. */
export function quantize4m(who: string, x: Float32Array, out: Block): void {
  const { low, high } = extremes(who, x);
  out.minimum = toHalf(who, low);
  const minimum = fromHalf(out.minimum);
  out.scale = toHalf(who, (high - minimum) / 15);
  const factor = inverse(fromHalf(out.scale));
  const { q } = out;
  for (let i = 0; i < BLOCK; i++) {
    const n = Math.round((x[i] - minimum) * factor);
    q[i] = n < 0 ? 0 : n > 15 ? 15 : n;
  }
}

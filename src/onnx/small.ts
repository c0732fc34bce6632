/** @file Floats of 8 and 4 bits (Micikevicius et al. 2022, arXiv 2209.05433; the OCP's microscaling formats). They are computed as f32. */
import * as lockstep from "../index.ts";
import type { Tensor } from "../index.ts";

/** How such a float lies: a sign, unless it has none, an exponent and a fraction. */
export interface SmallFloat {
  readonly bits: number;
  /** Bits of the fraction. */
  readonly fraction: number;
  /** Exponent of the smallest number that is not subnormal. */
  readonly least: number;
  readonly most: number;
  /** What there is beyond the largest number: infinity and NaN, NaN alone, which then has no other place than -0, or nothing. */
  readonly beyond: "infinity" | "nan" | "minus zero" | "nothing";
}

/** By the names of their types. */
const FORMATS: { readonly [type: string]: SmallFloat | undefined } = {
  float8e4m3fn: { bits: 8, fraction: 3, least: -6, most: 448, beyond: "nan" },
  float8e4m3fnuz: { bits: 8, fraction: 3, least: -7, most: 240, beyond: "minus zero" },
  float8e5m2: { bits: 8, fraction: 2, least: -14, most: 57344, beyond: "infinity" },
  float8e5m2fnuz: { bits: 8, fraction: 2, least: -15, most: 57344, beyond: "minus zero" },
  float4e2m1: { bits: 4, fraction: 1, least: 0, most: 6, beyond: "nothing" },
};

/** Null for types that are none of these. */
export const smallFloatOf = (type: string): SmallFloat | null => (Object.hasOwn(FORMATS, type) ? (FORMATS[type] ?? null) : null);

/** Of its bits. */
export function smallFloat({ bits, fraction, least, most, beyond }: SmallFloat, code: number): number {
  const top = 2 ** (bits - 1);
  if (beyond === "minus zero" && code === top) return NaN;
  const [sign, rest] = code >= top ? [-1, code - top] : [1, code];
  const [exponent, part] = [Math.floor(rest / 2 ** fraction), (rest % 2 ** fraction) / 2 ** fraction];
  const size = exponent === 0 ? part * 2 ** least : (1 + part) * 2 ** (exponent - 1 + least);
  if (size <= most) return sign * size;
  return beyond === "infinity" && part === 0 ? sign * Infinity : NaN;
}

/** 2 to the power of an exponent of 8 bits: what blocks of microscaling formats are scaled by. */
export const powerOfTwo = (code: number): number => (code === 255 ? NaN : 2 ** (code - 127));

/**
 * Floats rounded to those of a format, halves to the even one. `saturates`: what is larger than the largest becomes that; else infinity
 * where there is one, and NaN. All steps are exact on every device: they multiply by powers of two.
 */
export function rounded({ fraction, least, most, beyond }: SmallFloat, x: Tensor, saturates: boolean): Tensor {
  const magnitude = lockstep.abs(x);
  let power: Tensor | number = 2 ** least;
  // The power of two below: bits of its exponent one after another.
  for (const step of [16, 8, 4, 2, 1]) {
    const next: Tensor | number = typeof power === "number" ? power * 2 ** step : lockstep.mul(power, 2 ** step);
    power = lockstep.where(lockstep.greaterEqual(magnitude, next), next, power) as Tensor;
  }
  const unit = lockstep.mul(power, 2 ** -fraction);
  const y = lockstep.mul(lockstep.round(lockstep.div(x, unit)), unit);
  const isLarge = lockstep.greater(lockstep.abs(y), most);
  const largest = lockstep.where(lockstep.less(x, 0), -most, most);
  const limit = saturates || beyond === "nothing" ? largest : beyond === "infinity" ? lockstep.mul(largest, Infinity) : NaN;
  const within = lockstep.where(isLarge, limit, y);
  // Where there is no NaN, 0 stands for it.
  return beyond === "nothing" ? lockstep.where(lockstep.equal(x, x), within, 0) : within;
}

/** The same of a number. */
export function roundedNumber({ fraction, least, most, beyond }: SmallFloat, x: number, saturates: boolean): number {
  const unit = 2 ** (Math.max(least, Math.floor(Math.log2(Math.abs(x) || 2 ** least))) - fraction);
  const steps = x / unit;
  const low = Math.floor(steps);
  const up = steps - low > 0.5 || (steps - low === 0.5 && low % 2 !== 0);
  const y = (up ? low + 1 : low) * unit;
  if (!(Math.abs(y) > most) && Number.isFinite(x)) return y;
  if (Number.isNaN(x)) return beyond === "nothing" ? 0 : x;
  return Math.sign(x) * (saturates || beyond === "nothing" ? most : beyond === "infinity" ? Infinity : NaN);
}

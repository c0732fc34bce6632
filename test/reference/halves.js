/** @file Numbers as f16, two in a word, the first in its lower half. */

/** The bits of the f16 nearest to x, of two equally near the even one; beyond 65504 infinity. */
function bitsOf(x) {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  if (Number.isNaN(x)) return 0x7e00;
  const size = Math.abs(x);
  if (size > 65504) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const units = size / 2 ** (exponent - 10);
  const below = Math.floor(units);
  const rest = units - below;
  // In units of the last place: 1024 is the leading bit of normal numbers, which the exponent stands for.
  return sign | ((exponent + 14) * 1024 + below + Number(rest > 0.5 || (rest === 0.5 && below % 2 === 1)));
}

function numberOf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

export const toHalves = (numbers) =>
  Float64Array.from({ length: numbers.length / 2 }, (_, i) => (bitsOf(numbers[2 * i]) | (bitsOf(numbers[2 * i + 1]) << 16)) >>> 0);

export const fromHalves = (words) =>
  Float64Array.from({ length: 2 * words.length }, (_, i) => numberOf((words[i >> 1] >>> (16 * (i & 1))) & 0xffff));

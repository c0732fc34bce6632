/** @file The natural logarithm by + - * / only: what it gives may reach weights, and `Math.log` differs between engines. */

/**
 * ln(x) for finite x > 0, in double: x = m 2^e with m near 1, then 2 atanh(s) = 2 (s + s^3/3 + ...), s = (m - 1) / (m + 1), |s| < 0.172.
 */
export function naturalLog(x: number): number {
  let m = x;
  let e = 0;
  for (; m > Math.SQRT2; m /= 2) e++;
  for (; m < Math.SQRT1_2; m *= 2) e--;
  const s = (m - 1) / (m + 1);
  const u = s * s;
  let sum = 0;
  for (let k = 23; k >= 1; k -= 2) sum = sum * u + 1 / k;
  return e * Math.LN2 + 2 * s * sum;
}

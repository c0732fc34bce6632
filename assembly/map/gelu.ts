/**
 * @file gelu and its slope as a single step of map: one exponential for both, where the steps of x Phi(x) take one for erf and another for
 * the density, and pass eleven times over the tile.
 *
 * Words, each the slot of a tile: y, x and slope, which is x where nobody wants it; then one that is not used.
 *   y = x Phi(x);  slope = Phi(x) + x phi(x)
 * With a = |x|, 1 - Phi(a) = exp(-a^2 / 2) R(t) for t = 1 / (1 + p a), and R is smooth in t: Abramowitz & Stegun, "Handbook of Mathematical
 * Functions" (1964), 26.2.17, with their p and a polynomial of three terms more, fitted to a relative error of 1.2e-7. Phi is what is left
 * of 1 or, for negative x, this very product, which keeps its digits where 1 + erf has lost them. y and slope may be the memory of x.
 */
import { GELU } from "../constants";
import { slotPointer } from "../map";
import { at, c, expBounded, MINUS_HALF, ONE } from "../math";
import { madd } from "../simd";

/** Of t. */
const P: usize = GELU + 32;
/** phi(0) = 1 / sqrt(2 pi) */
const DENSITY: usize = GELU + 36;

export function gelu(words: usize, scratch: usize, bytes: usize): void {
  let y = slotPointer(scratch, load<u32>(words, 4));
  let x = slotPointer(scratch, load<u32>(words, 8));
  let slope = slotPointer(scratch, load<u32>(words, 12));
  const sloped = load<u32>(words, 12) != load<u32>(words, 8);
  for (const end = x + bytes; x < end; x += 16, y += 16, slope += 16) {
    const v = v128.load(x);
    const one = c(ONE);
    const e = expBounded(f32x4.mul(f32x4.mul(v, c(MINUS_HALF)), v));
    const t = f32x4.div(one, madd(f32x4.abs(v), c(P), one));
    let r = madd(at(GELU, 0), t, at(GELU, 1));
    r = madd(r, t, at(GELU, 2));
    r = madd(r, t, at(GELU, 3));
    r = madd(r, t, at(GELU, 4));
    r = madd(r, t, at(GELU, 5));
    r = madd(r, t, at(GELU, 6));
    r = madd(r, t, at(GELU, 7));
    const tail = f32x4.mul(f32x4.mul(r, t), e);
    const phi = v128.bitselect(tail, f32x4.sub(one, tail), f32x4.lt(v, f32x4.splat(0)));
    if (sloped) v128.store(slope, madd(v, f32x4.mul(e, c(DENSITY)), phi));
    v128.store(y, f32x4.mul(v, phi));
  }
}

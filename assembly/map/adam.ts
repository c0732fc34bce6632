/**
 * @file adam: Kingma & Ba's update of one parameter as a single step of map. As twelve steps over tiles it takes three times as long as
 * memory does, since only the first and the last of them touch memory while the others run.
 *
 * Words, each the slot of a tile: w1, w, m, v; a word that is not used, m1, v1, g, size; and one more, c1, c2, epsilon, one that is not
 * used. size, c1, c2 and epsilon are single numbers, of whose tiles one vector is read.
 *   m1 = m + (g - m) c1;  v1 = v + (g^2 - v) c2;  w1 = w - m1 size / (sqrt(v1) + epsilon)
 * An output may be the same memory as any of the inputs.
 */
import { slotPointer } from "../map";
import { madd } from "../simd";

export function adam(p: usize, scratch: usize, bytes: usize): void {
  let w1 = slotPointer(scratch, load<u32>(p, 4));
  let w = slotPointer(scratch, load<u32>(p, 8));
  let m = slotPointer(scratch, load<u32>(p, 12));
  let v = slotPointer(scratch, load<u32>(p, 16));
  let m1 = slotPointer(scratch, load<u32>(p, 24));
  let v1 = slotPointer(scratch, load<u32>(p, 28));
  let g = slotPointer(scratch, load<u32>(p, 32));
  const size = v128.load(slotPointer(scratch, load<u32>(p, 36)));
  const c1 = v128.load(slotPointer(scratch, load<u32>(p, 44)));
  const c2 = v128.load(slotPointer(scratch, load<u32>(p, 48)));
  const epsilon = v128.load(slotPointer(scratch, load<u32>(p, 52)));
  for (const end = g + bytes; g < end; g += 16, w += 16, m += 16, v += 16, w1 += 16, m1 += 16, v1 += 16) {
    const gradient = v128.load(g);
    const mean = v128.load(m);
    const square = v128.load(v);
    const weight = v128.load(w);
    const newMean = madd(f32x4.sub(gradient, mean), c1, mean);
    const newSquare = madd(f32x4.sub(f32x4.mul(gradient, gradient), square), c2, square);
    v128.store(m1, newMean);
    v128.store(v1, newSquare);
    v128.store(w1, f32x4.sub(weight, f32x4.div(f32x4.mul(newMean, size), f32x4.add(f32x4.sqrt(newSquare), epsilon))));
  }
}

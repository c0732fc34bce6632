/**
 * @file What follows a product's sums: the activation, on rows that are still in cache. (The bias is where the sums
 * start, and relu is a maximum at the store, so neither comes here.)
 */
import { activate } from "./activation";
import { storeTail } from "./simd";

/** y = activation(y) on `rows` rows of `cols` elements that are `ld` bytes apart. */
export function epilogue(y: usize, ld: u32, rows: u32, cols: u32, activation: u32): void {
  for (; rows; rows--, y += ld) {
    let p = y;
    let n = cols;
    for (; n >= 4; n -= 4, p += 16) v128.store(p, activate(activation, v128.load(p)));
    if (n) storeTail(p, activate(activation, v128.load(p)), n);
  }
}

/**
 * @file What follows a product's sums: the activation, on rows that are still in cache. (The bias is where the sums
 * start, and relu is a maximum at the store, so neither comes here.)
 */
import { activateRow } from "./activation";

/** y = activation(y) on `rows` rows of `cols` elements that are `ld` bytes apart. */
export function epilogue(y: usize, ld: u32, rows: u32, cols: u32, activation: u32): void {
  for (; rows; rows--, y += ld) activateRow(activation, y, y, cols);
}

/** @file The addresses in the commands of a loop's body. The loop itself is in run.ts. */

/**
 * Sets the words of a loop at `c` that move, at the beginning of a step. `table`: how many words there are, and for each: which one, its
 * value at the first step, what is added for each step before.
 */
export function beginStep(c: usize, table: usize, step: u32): void {
  let entry = table + 4;
  for (let left = load<u32>(table); left > 0; left--) {
    store<u32>(c + (load<u32>(entry) << 2), load<u32>(entry, 4) + step * load<u32>(entry, 8));
    entry += 12;
  }
}

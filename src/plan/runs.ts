/** @file Which bytes are taken: a set of ranges of addresses, those that touch joined to one run. */

/** The least index from which on `holds` does, in a list of `length` where it goes on to hold once it does. */
export function least(length: number, holds: (index: number) => boolean): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

export class Runs {
  /** Begins and ends, in order. */
  readonly #from: number[] = [];
  readonly #to: number[] = [];

  /** Adds the bytes in [from, to). */
  add(from: number, to: number): void {
    const [begins, ends] = [this.#from, this.#to];
    const first = least(ends.length, (i) => ends[i] >= from);
    let next = first;
    while (next < begins.length && begins[next] <= to) next++;
    const joined = next > first;
    ends.splice(first, next - first, joined ? Math.max(to, ends[next - 1]) : to);
    begins.splice(first, next - first, joined ? Math.min(from, begins[first]) : from);
  }

  /** The end of the first run that has bytes of [from, to), or 0. */
  endWithin(from: number, to: number): number {
    const [begins, ends] = [this.#from, this.#to];
    const i = least(ends.length, (k) => ends[k] > from);
    return i < ends.length && begins[i] < to ? ends[i] : 0;
  }
}

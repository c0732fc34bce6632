/** @file Memory that pieces of tensors are read into. */

/** Memory for pieces, used again for every one: as much would be left for the collector otherwise as is loaded. */
class Scratch {
  #memory = new Float32Array(0);

  /** `size` elements, good until the next call. */
  take(size: number): Float32Array {
    if (this.#memory.length < size) this.#memory = new Float32Array(size);
    return this.#memory.subarray(0, size);
  }

  /** Gives the memory back, once a model is loaded. */
  release(): void {
    this.#memory = new Float32Array(0);
  }
}

export const [VALUES, PARTS] = [new Scratch(), new Scratch()];

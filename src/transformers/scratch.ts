/** @file Memory that pieces of tensors are read into. */

/** Memory for pieces, used again for every one: as much would be left for the collector otherwise as is loaded. */
export class Scratch {
  #memory = new ArrayBuffer(0);

  /** `size` bytes or more, good until the next call. */
  bytes(size: number): ArrayBuffer {
    if (this.#memory.byteLength < size) this.#memory = new ArrayBuffer(size);
    return this.#memory;
  }

  /** `size` elements, good until the next call. */
  take(size: number): Float32Array {
    return new Float32Array(this.bytes(4 * size), 0, size);
  }

  /** Gives the memory back. */
  release(): void {
    this.#memory = new ArrayBuffer(0);
  }
}

/** What is put there is used before anything is waited for, so that all who load share them. */
export const [VALUES, PARTS] = [new Scratch(), new Scratch()];
